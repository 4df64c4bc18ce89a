"""The training step as a reader of the paper writes it in PyTorch: what facegan's own step is compared with.

Gulrajani et al. 2017 (arXiv:1704.00028), algorithm 1, line by line, over a preset's own networks with torch's own
layers: default memory layout, one critic pass for each kind of images, `create_graph=True`, plain Adam. If the preset
has them, the losses are those of Huang et al. 2024 (arXiv:2501.05441).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from facegan.config import Adam, Config
from facegan.networks import build_critic, build_generator
from facegan.networks.keras import DoublingConv2d, HalvingConv2d
from facegan.training.noise import Masks, StepNoise


class SparingLeakyReLU(nn.Module):
    """LeakyReLU as the product x·m, m = 1 where x > 0 and `slope` elsewhere, with m a constant for autograd.

    Its value and its first and second derivative equal LeakyReLU's wherever those exist. Only the graph differs: ATen's
    second backward of `leaky_relu` returns a tensor of zeros for the input, and autograd then carries these zeros
    through every layer below, to inputs and weights. A product with a constant has no such edge.
    """

    def __init__(self, slope: float) -> None:
        super().__init__()
        self.slope = slope

    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            multiplier = torch.full_like(x, self.slope).masked_fill_(x > 0, 1)
        return x * multiplier


class Textbook:
    """Generator, critic and their optimisers, stepped by algorithm 1; the counterpart of `Trainer`.

    Args:
        config: what to build. Averaged weights and falling learning rates are left out, as the algorithm has neither.
        sparing: replace the critic's LeakyReLU by `SparingLeakyReLU`.
    """

    def __init__(self, config: Config, device: torch.device, *, sparing: bool = False) -> None:
        self.config, self.device = config, device
        self.generator = build_generator(config).to(device).to(memory_format=torch.contiguous_format)
        self.critic = build_critic(config).to(device).to(memory_format=torch.contiguous_format)
        for network in (self.generator, self.critic):
            replace_layers(network, {HalvingConv2d: as_torch(nn.Conv2d), DoublingConv2d: as_torch(nn.ConvTranspose2d)})
        if sparing:
            replace_layers(self.critic, {nn.LeakyReLU: lambda layer: SparingLeakyReLU(layer.negative_slope)})
        self.generator_optimiser = _adam(self.generator, config.training.generator)
        self.critic_optimiser = _adam(self.critic, config.training.critic)

    def step(self, reals: Tensor, noise: StepNoise) -> None:
        """One update of the critic, and one of the generator where `noise` has latents for it.

        Args:
            reals: (B, 3, size, size) in [-1, 1].
            noise: from `torch_noise`; with dropout it has masks for a fourth pass, the generator's.
        """
        low, high = self.config.networks.pixel_range
        reals = (reals + 1) * ((high - low) / 2) + low if low != -1 else reals
        self.update_critic(reals, noise)
        if noise.generator_latents is not None:
            self.update_generator(noise.generator_latents, reals, noise.keep[3] if noise.keep else None)

    def update_critic(self, reals: Tensor, noise: StepNoise) -> None:
        """Lines 3 to 9 of algorithm 1; `reals` in the networks' unit."""
        with torch.no_grad():
            fakes = self.generator(noise.critic_latents)
        self.critic_optimiser.zero_grad()
        self.critic_loss(reals, fakes, noise).backward()
        self.critic_optimiser.step()

    def update_generator(self, latents: Tensor, reals: Tensor, keep: Masks | None = None) -> None:
        """Lines 11 and 12. The critic is not frozen: its gradients are computed too, and thrown away."""
        self.generator_optimiser.zero_grad()
        scores = self._score(self.generator(latents), keep)
        if self.config.training.objective == "wgan-gp":
            loss = -scores.mean()
        else:
            loss = F.softplus(self._score(reals, keep) - scores).mean()
        loss.backward()
        self.generator_optimiser.step()

    def critic_loss(self, reals: Tensor, fakes: Tensor, noise: StepNoise) -> Tensor:
        """mean D(fake) - mean D(real) + weight·mean((||dD(mixed)/dmixed||_2 - 1)²), lines 6 and 7.

        With R3GAN's objective: mean softplus(D(fake) - D(real)) + weight/2·(mean ||dD/dreal||² + mean ||dD/dfake||²).
        """
        keep_real, keep_fake, keep_mixed = noise.keep[:3] or (None, None, None)
        weight = self.config.training.penalty_weight
        if self.config.training.objective == "wgan-gp":
            real_scores, fake_scores = self._score(reals, keep_real), self._score(fakes, keep_fake)
            _, slopes = self._slopes(noise.mix * reals + (1 - noise.mix) * fakes, keep_mixed)
            return fake_scores.mean() - real_scores.mean() + weight * ((slopes - 1) ** 2).mean()
        real_scores, real_slopes = self._slopes(reals, keep_real)
        fake_scores, fake_slopes = self._slopes(fakes, keep_fake)
        penalty = weight / 2 * ((real_slopes**2).mean() + (fake_slopes**2).mean())
        return F.softplus(fake_scores - real_scores).mean() + penalty

    def _slopes(self, images: Tensor, keep: Masks | None) -> tuple[Tensor, Tensor]:
        """Scores, and the norm of each score's gradient in the pixels of its image."""
        images = images.detach().requires_grad_(True)
        scores = self._score(images, keep)
        (slopes,) = torch.autograd.grad(scores, images, torch.ones_like(scores), create_graph=True)
        return scores, slopes.flatten(1).norm(2, dim=1)

    def _score(self, images: Tensor, keep: Masks | None) -> Tensor:
        scores: Tensor = self.critic(images, keep) if keep else self.critic(images)
        return scores


def torch_noise(config: Config, critic: nn.Module, device: torch.device, *, generator: bool) -> StepNoise:
    """Draw a step's noise from torch's global generator, at the cost that `randn`, `rand` and `nn.Dropout` have.

    Args:
        critic: the critic, for which dropout masks are drawn if it has dropout.
        generator: whether the step also updates the generator.
    """
    batch, latent_dim = config.training.batch_size, config.networks.latent_dim
    mask_shapes: Sequence[tuple[int, ...]] = critic.mask_shapes  # type: ignore[assignment]
    stays = 1 - getattr(config.networks, "critic_dropout", 0.0)

    def masks() -> Masks:
        return [torch.empty(batch, *s, dtype=torch.bool, device=device).bernoulli_(stays) for s in mask_shapes]

    return StepNoise(
        critic_latents=torch.randn(batch, latent_dim, device=device),
        mix=torch.rand(batch, 1, 1, 1, device=device),
        generator_latents=torch.randn(batch, latent_dim, device=device) if generator else None,
        keep=tuple(masks() for _ in range(4 if generator else 3)) if mask_shapes else (),
        augment=None,
        updates_generator=generator,
    )


def replace_layers(network: nn.Module, replacements: Mapping[type[nn.Module], Callable[[Any], nn.Module]]) -> None:
    for parent in list(network.modules()):
        for name, child in parent.named_children():
            if make := replacements.get(type(child)):
                setattr(parent, name, make(child))


def as_torch(kind: type[nn.Module]) -> Callable[[nn.Module], nn.Module]:
    """Make facegan's convolutions into torch's own, from which they differ only by shortcuts in `forward`."""

    def make(layer: nn.Module) -> nn.Module:
        layer.__class__ = kind
        return layer

    return make


def _adam(network: nn.Module, numbers: Adam) -> torch.optim.Adam:
    return torch.optim.Adam(network.parameters(), lr=numbers.lr, betas=(numbers.beta1, numbers.beta2), eps=numbers.eps)
