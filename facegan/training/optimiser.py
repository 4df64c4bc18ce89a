"""Adam on any device, its state in a checkpoint, and a learning rate that a captured step can read."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from facegan.config import Adam

_EXACT = "exact_lr"
"""Entry of a parameter group: the learning rate in double precision, as it follows from the configuration."""


def adam(network: nn.Module, numbers: Adam, device: torch.device) -> torch.optim.Adam:
    """Adam over all of a network's parameters, in one group; on a GPU ready to be captured."""
    cuda = device.type == "cuda"  # there the learning rate is a tensor, which a captured step can read
    optimiser = torch.optim.Adam(
        network.parameters(),
        lr=torch.tensor(numbers.lr, device=device) if cuda else numbers.lr,
        betas=(numbers.beta1, numbers.beta2),
        eps=numbers.eps,
        fused=True,
        capturable=cuda,
    )
    set_learning_rate(optimiser, numbers.lr)
    return optimiser


def set_learning_rate(optimiser: torch.optim.Optimizer, value: float) -> None:
    """Set the learning rate of the next step. On a GPU a captured step reads it, rounded to float32."""
    group = optimiser.param_groups[0]
    if isinstance(group["lr"], Tensor):
        group["lr"].fill_(value)
    else:
        group["lr"] = value
    group[_EXACT] = value


def optimiser_state(optimiser: torch.optim.Optimizer) -> dict[str, Any]:
    """The optimiser's state for a checkpoint, the same on every device: the learning rate is not rounded to float32."""
    state = optimiser.state_dict()
    group = {**state["param_groups"][0], "capturable": False}
    group["lr"] = group.pop(_EXACT)
    return {**state, "param_groups": [group]}


def load_optimiser(optimiser: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """The inverse of `optimiser_state`, for an optimiser on any device."""
    group = optimiser.param_groups[0]
    lr, capturable = group["lr"], group["capturable"]
    optimiser.load_state_dict(state)
    group = optimiser.param_groups[0]
    saved = group["lr"]
    group.update(lr=lr, capturable=capturable)
    set_learning_rate(optimiser, saved)
