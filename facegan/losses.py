"""The losses of WGAN-GP: pure functions of tensors, noise is an argument. `docs/mathematics.md` has the derivation."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def wasserstein_estimate(real_scores: Tensor, fake_scores: Tensor) -> Tensor:
    """How far apart the critic sees the two: mean(D(real)) - mean(D(fake)).

    The dual form of the Wasserstein-1 distance, as far as this critic has found it (Arjovsky et al. 2017,
    arXiv:1701.07875, eq. 2). It estimates the distance only while the critic's slope is near one.

    Args:
        real_scores, fake_scores: (B,), any real numbers; only their difference means something.

    Returns:
        Scalar. The critic minimises minus this, plus the penalty.
    """
    return real_scores.mean() - fake_scores.mean()


def generator_loss(fake_scores: Tensor) -> Tensor:
    """Minus what the critic thinks of the fakes: -mean(D(G(z))) (Gulrajani et al. 2017, algorithm 1, line 12).

    Args:
        fake_scores: (B,).
    """
    return -fake_scores.mean()


def mix(real: Tensor, fake: Tensor, share: Tensor) -> Tensor:
    """Points between pairs: share*real + (1 - share)*fake (Gulrajani et al. 2017, algorithm 1, line 6).

    Args:
        real, fake: (B, 3, H, W), any unit, both the same.
        share: (B, 1, 1, 1), uniform in [0, 1]. Given, never drawn here.
    """
    return torch.lerp(fake, real, share)


def slope_norms(critic: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    """How steep the critic is at each image: ||d critic(x)/dx||_2 over all its pixels.

    Args:
        critic: images (B, 3, H, W) -> scores (B,). With batch norm it is the slope of the batch's sum.
        images: (B, 3, H, W), in the unit in which a slope of one is wanted. Detached here.

    Returns:
        (B,), differentiable with respect to the critic's parameters: a second backward pass runs through it.
    """
    images = images.detach().requires_grad_(True)
    (gradients,) = torch.autograd.grad(critic(images).sum(), images, create_graph=True)
    return gradients.flatten(1).norm(dim=1)


def gradient_penalty(norms: Tensor) -> Tensor:
    """How far the slopes stray from one, squared and averaged: mean((norm - 1)^2).

    The penalty of WGAN-GP (Gulrajani et al. 2017, arXiv:1704.00028, eq. 3), two-sided.

    Args:
        norms: (B,), from `slope_norms` at mixed images.

    Returns:
        Scalar, not yet multiplied by the penalty weight: the trainer owns that.
    """
    return (norms - 1).square().mean()
