"""Generators and critics. A family is a module here and a row in FAMILIES; `docs/extending.md` shows how to add one."""

from __future__ import annotations

from types import ModuleType

import torch
from torch import nn

from facegan.config import Config
from facegan.core.random_streams import Stream, rng
from facegan.networks import dcgan, keras

FAMILIES: dict[str, ModuleType] = {"dcgan": dcgan, "keras": keras}
"""Name of a family -> its module, which has `Generator(config)` and `Critic(config)`, each with `initialise(rng)`.

Generator: z (B, latent_dim) -> images (B, 3, size, size) in `config.pixel_range`. If `config.latent_rows` is more than
one, z may also be (B, latent_rows * latent_dim). `latent_layers()` lists the linear layers that see z, with their rows.
Critic: such images, and dropout masks where it has `mask_shapes` -> scores (B,).
"""


def build_generator(config: Config) -> nn.Module:
    """The generator of `config`, with the initial weights of its seed."""
    return _build("Generator", config, Stream.INIT_GENERATOR)


def build_critic(config: Config) -> nn.Module:
    """The critic of `config`, with the initial weights of its seed."""
    return _build("Critic", config, Stream.INIT_CRITIC)


def _build(name: str, config: Config, stream: Stream) -> nn.Module:
    family = FAMILIES[config.networks.family]
    with torch.random.fork_rng(devices=[]):  # torch's layers draw weights, which are replaced below
        network = getattr(family, name)(config.networks)
    network.initialise(rng(config.seed, stream, 0))
    return network


def count_parameters(network: nn.Module) -> int:
    """Number of trained values; batch norm's running statistics are not trained."""
    return sum(p.numel() for p in network.parameters())
