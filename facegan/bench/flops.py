"""Floating-point operations that training needs, counted from the layers' shapes."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from facegan.bench.textbook import as_torch, replace_layers
from facegan.config import Config
from facegan.networks import build_critic, build_generator
from facegan.networks.keras import DoublingConv2d


def needed_flops(config: Config) -> int:
    """Floating-point operations that one cycle of the preset needs: n_critic critic updates and the generator's.

    Convolutions and matrix products are counted, two operations per multiply-add. The units are forward passes of a
    batch: F through the critic, G through the generator, and f through the critic's first layer alone.

    - The critic's update: 10F - 2f + G. It has ten passes (docs/mathematics.md), of which the one back to the pixels is
      needed only for mixed images, and one pass of the generator for the fakes.
    - The generator's update: 2F + 3G. It goes forward through the critic and back to the fakes, and through the
      generator forward, back and to the weights.
    - With R3GAN's objective: 8F + G, and 3F + 3G, as the generator's loss looks at real scores too.
    - Joint updates: 10F - f + 3G, as the fakes are shared and the critic's pass back to their pixels serves both.

    Work whose result is known beforehand or thrown away is not counted, even where a step does it.
    """
    device = torch.device("meta")
    generator, critic = build_generator(config).to(device), build_critic(config).to(device)
    batch, size, training = config.training.batch_size, config.networks.size, config.training
    first = next(layer for layer in critic.modules() if isinstance(layer, nn.Conv2d))
    images = torch.empty(batch, 3, size, size, device=device)
    f = _flops_of(first, images)
    forward = _flops_of(critic, images)
    fakes = _flops_of(generator, torch.empty(batch, config.networks.latent_dim, device=device))
    if training.update == "joint":
        return 10 * forward - f + 3 * fakes
    if training.objective == "r3gan":
        return training.n_critic * (8 * forward + fakes) + 3 * forward + 3 * fakes
    return training.n_critic * (10 * forward - 2 * f + fakes) + 2 * forward + 3 * fakes


def _flops_of(network: nn.Module, x: Tensor) -> int:
    replace_layers(network, {DoublingConv2d: as_torch(nn.ConvTranspose2d)})
    with FlopCounter() as counter:
        network(x)
    return counter.flops


class FlopCounter(TorchDispatchMode):
    """Adds up `flops` of what runs under it, by the formulas of torch's own flop counter.

    `torch.utils.flop_counter.FlopCounterMode` has the same formulas, but follows modules too, and cannot do so while a
    gradient with respect to a module's input is taken.
    """

    def __init__(self) -> None:
        super().__init__()
        self.flops = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if formula := flop_registry.get(func._overloadpacket):
            self.flops += formula(*args, **(kwargs or {}), out_val=out)
        return out
