"""A small network that tells the scores of a face from its latent alone: edits follow its slopes."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from facegan.core.random_streams import Stream, rng
from facegan.faces.compose import Progress
from facegan.faces.latents import Latents

HIDDEN = 192
EPOCHS = 25
_BATCH = 256
_RATE = 2e-3
_DECAY = 0.1
_DROPOUT = 0.3


class Scorer(nn.Module):
    """Latents (B, latent_dim) -> scores (B, A): L z + W3 silu(W2 silu(W1 z + b1) + b2) + b3.

    Unlike the classifier after the generator it is smooth: following its gradient changes what a face shows, and finds
    no pictures that only the classifier mistakes.
    """

    def __init__(self, latent_dim: int, outputs: int) -> None:
        super().__init__()
        self.linear = nn.Linear(latent_dim, outputs, bias=False)
        self.first = nn.Linear(latent_dim, HIDDEN)
        self.second = nn.Linear(HIDDEN, HIDDEN)
        self.last = nn.Linear(HIDDEN, outputs)

    def forward(self, z: Tensor) -> Tensor:
        h = F.dropout(F.silu(self.first(z)), _DROPOUT, self.training)
        h = F.dropout(F.silu(self.second(h)), _DROPOUT, self.training)
        return self.linear(z) + self.last(h)

    @torch.no_grad()
    def with_slopes(self, z: NDArray[np.float64], rows: list[int]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The scores `rows` (B, K), and their derivatives by z (B, K, latent_dim)."""
        latents = torch.from_numpy(np.asarray(z, np.float32))
        h = self.first(latents)
        slope1, h = _silu_slope(h), F.silu(h)
        h = self.second(h)
        slope2, h = _silu_slope(h), F.silu(h)
        scores = (self.linear(latents) + self.last(h))[:, rows]
        back = (self.last.weight[rows] * slope2[:, None]) @ self.second.weight
        slopes = (back * slope1[:, None]) @ self.first.weight + self.linear.weight[rows]
        return scores.double().numpy(), slopes.double().numpy()


def _silu_slope(x: Tensor) -> Tensor:
    s = x.sigmoid()
    return s * (1 + x * (1 - s))


def fit_scorer(
    z: Latents, scores: NDArray[np.float32], seed: int = 0, on_progress: Progress = lambda done, total: None
) -> Scorer:
    """A network whose squared error on these latents and scores is small.

    AdamW with a one-cycle rate, dropout and weight decay, for EPOCHS passes over the faces.
    """
    inputs, wanted = torch.from_numpy(z), torch.from_numpy(scores)
    steps = EPOCHS * max(1, len(z) // _BATCH)
    noise = rng(seed, Stream.CLASSIFIER, 2)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(noise.integers(2**63)))
        network = Scorer(z.shape[1], scores.shape[1]).train()
        adam = torch.optim.AdamW(network.parameters(), lr=_RATE, weight_decay=_DECAY)
        rate = torch.optim.lr_scheduler.OneCycleLR(adam, _RATE, total_steps=steps)
        for step in range(steps):
            on_progress(step, steps)
            rows = torch.from_numpy(noise.integers(0, len(z), _BATCH))
            loss = ((network(inputs[rows]) - wanted[rows]) ** 2).mean()
            adam.zero_grad()
            loss.backward()
            adam.step()
            rate.step()
    on_progress(steps, steps)
    return network.eval().requires_grad_(False)
