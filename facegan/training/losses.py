"""Adversarial losses and penalties, as pure functions of tensors that take noise as an argument; OBJECTIVES pairs them.

`docs/mathematics.md` has the derivations.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


def wasserstein_estimate(real_scores: Tensor, fake_scores: Tensor) -> Tensor:
    """How far apart the critic scores real images and fakes: mean(D(real)) - mean(D(fake)).

    This is the dual form of the Wasserstein-1 distance with this critic in the place of the best one (Arjovsky et al.
    2017, arXiv:1701.07875, eq. 2). It estimates the distance only while the critic's slope is near one.

    Args:
        real_scores, fake_scores: (B,), any real numbers; only their difference means something.

    Returns:
        Scalar. The critic minimises the negative of this, plus the penalty.
    """
    return real_scores.mean() - fake_scores.mean()


def ordered(real_scores: Tensor, fake_scores: Tensor) -> Tensor:
    """The share of pairs in which the critic scores the real image higher than the fake: 0.5 if it cannot tell them.

    Args:
        real_scores, fake_scores: (B,), paired by position.

    Returns:
        Scalar in [0, 1], of the scores' type.
    """
    return (real_scores > fake_scores).to(real_scores.dtype).mean()


def generator_loss(fake_scores: Tensor) -> Tensor:
    """The generator's loss, minus the mean score of the fakes: -mean(D(G(z))) (Gulrajani et al. 2017, alg. 1, line 12).

    Args:
        fake_scores: (B,).
    """
    return -fake_scores.mean()


def mix(real: Tensor, fake: Tensor, share: Tensor) -> Tensor:
    """Images between a real one and a fake: share*real + (1 - share)*fake (Gulrajani et al. 2017, algorithm 1, line 6).

    Args:
        real, fake: (B, 3, H, W), any unit, both the same.
        share: (B, 1, 1, 1), uniform in [0, 1]. Given, never drawn here.
    """
    return torch.lerp(fake, real, share)


def slope_norms(critic: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    """How steep the critic is at each image: ||d critic(x)/dx||_2 over all its pixels.

    Args:
        critic: images (B, 3, H, W) -> scores (B,). With batch norm the result is the slope of the batch's summed score.
        images: (B, 3, H, W), in the unit in which a slope of one is wanted. Detached here.

    Returns:
        (B,), differentiable with respect to the critic's parameters: a second backward pass runs through it.
    """
    images = images.detach().requires_grad_(True)
    (gradients,) = torch.autograd.grad(critic(images).sum(), images, create_graph=True)
    return gradients.flatten(1).norm(dim=1)


def gradient_penalty(norms: Tensor, target: float = 1.0) -> Tensor:
    """How far the slopes stray from the target, squared and averaged: mean((norm - target)^2).

    With target 1, at mixed images, it is the two-sided penalty of WGAN-GP (Gulrajani et al. 2017, arXiv:1704.00028,
    eq. 3). With target 0, at real images, it is R1 and at fakes R2 (Mescheder et al. 2018, arXiv:1801.04406, eq. 9 and
    10). Their weight is gamma/2, so the mean over both kinds of images, times gamma, is R1 + R2.

    Args:
        norms: (B,), from `slope_norms`.
        target: the slope that is wanted.

    Returns:
        Scalar, not yet multiplied by the penalty weight: the trainer does that.
    """
    return (norms - target).square().mean()


def relativistic_loss(scores: Tensor, others: Tensor) -> Tensor:
    """A loss that is small where each score exceeds the one that it is paired with: mean(softplus(-(score - other))).

    This is relativistic pairing (Jolicoeur-Martineau 2018, arXiv:1807.00734, eq. 9): the critic wants each real image
    to score higher than the fake that it is paired with, and the generator wants the reverse. A fake is judged against
    a real image, not against one threshold for all fakes, so that dropping a mode raises the generator's loss (Sun et
    al. 2020, arXiv:2011.04926).

    Args:
        scores, others: (B,), paired by position.

    Returns:
        Scalar, ln 2 where the pairs are equal.
    """
    return F.softplus(others - scores).mean()


@dataclass(frozen=True)
class Objective:
    """What critic and generator minimise. Only differences of scores count, so a critic's last bias gets no gradient.

    Attributes:
        critic, generator: (real scores (B,), fake scores (B,)) -> scalar to minimise.
        mixes: whether the penalty is taken at mixed images; else at the real images and the fakes, both.
        slope: the slope that the penalty wants there.
        relative: whether the generator's loss looks at real scores.
    """

    critic: Callable[[Tensor, Tensor], Tensor]
    generator: Callable[[Tensor, Tensor], Tensor]
    mixes: bool
    slope: float
    relative: bool


OBJECTIVES: dict[str, Objective] = {
    "wgan-gp": Objective(
        critic=lambda real, fake: -wasserstein_estimate(real, fake),
        generator=lambda real, fake: generator_loss(fake),
        mixes=True,
        slope=1.0,
        relative=False,
    ),
    "r3gan": Objective(
        critic=relativistic_loss,
        generator=lambda real, fake: relativistic_loss(fake, real),
        mixes=False,
        slope=0.0,
        relative=True,
    ),
}
"""WGAN-GP (Gulrajani et al. 2017, arXiv:1704.00028), and relativistic pairing with R1 and R2 (R3GAN, Huang et al. 2024,
arXiv:2501.05441, section 2)."""
