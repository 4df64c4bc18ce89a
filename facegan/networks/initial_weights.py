"""Draw initial weights from a given random generator: the same on every device and whatever torch's own seed is."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn

_WEIGHTED = (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)


@torch.no_grad()
def _fill(weight: Tensor, values: np.ndarray) -> None:
    weight.copy_(torch.from_numpy(values.astype(np.float32)))


def _weighted(module: nn.Module) -> list[nn.Linear | nn.Conv2d | nn.ConvTranspose2d]:
    layers = [layer for layer in module.modules() if isinstance(layer, _WEIGHTED)]
    for layer in layers:
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
    return layers


def glorot_uniform(module: nn.Module, rng: np.random.Generator) -> None:
    """Weights ~ U(-a, a), a = sqrt(6 / (fan_in + fan_out)); biases zero: Keras' default.

    Glorot & Bengio 2010, eq. 16.
    """
    for layer in _weighted(module):
        fan_in, fan_out = nn.init._calculate_fan_in_and_fan_out(layer.weight)
        bound = math.sqrt(6 / (fan_in + fan_out))
        _fill(layer.weight, rng.uniform(-bound, bound, tuple(layer.weight.shape)))


def he_normal(module: nn.Module, rng: np.random.Generator, slope: float) -> None:
    """Weights ~ N(0, 2 / ((1 + slope²)·fan_in)); biases zero: activations keep their size through LeakyReLU.

    He et al. 2015, arXiv:1502.01852, eq. 15.
    """
    for layer in _weighted(module):
        fan_in, _ = nn.init._calculate_fan_in_and_fan_out(layer.weight)
        deviation = math.sqrt(2 / ((1 + slope**2) * fan_in))
        _fill(layer.weight, rng.standard_normal(tuple(layer.weight.shape)) * deviation)


def narrow_normal(module: nn.Module, rng: np.random.Generator) -> None:
    """Weights ~ N(0, 0.02²); biases zero (Radford et al. 2016, section 4). For layers that batch norm follows."""
    for layer in _weighted(module):
        _fill(layer.weight, rng.standard_normal(tuple(layer.weight.shape)) * 0.02)
