"""Check that the tensors of a file fit the configuration in it, before a network is built, at no cost in memory.

A configuration from a stranger may describe networks of any size. They are first built on torch's `meta` device, where
tensors have shapes and no numbers. The real networks are built only if the file's tensors have exactly those names and
shapes; then they are no larger than the file.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from facegan.config import Adam, Config
from facegan.networks import FAMILIES

MOST_IMAGES = 10**13
"""More than any run will see."""

_FLOATS = (torch.float32, torch.float16, torch.bfloat16)
_MOMENTS = {"step", "exp_avg", "exp_avg_sq"}


class MisfitError(ValueError):
    """A tensor or a number does not fit. The text says which one, and what is wrong with it."""


def blueprint(config: Config, network: str) -> nn.Module:
    """The `Generator` or `Critic` of `config`, with shapes and no numbers."""
    with torch.device("meta"):
        return getattr(FAMILIES[config.networks.family], network)(config.networks)


def check_state(state: Mapping[str, Any], config: Config) -> None:
    """Check the state of a `Trainer` of `config`.

    Raises:
        MisfitError: `Trainer.load_state` could not use something in it.
    """
    seen, training = state["images_seen"], config.training
    if type(seen) is not int or not 0 <= seen <= MOST_IMAGES:
        raise MisfitError("its images_seen is not a number of images")
    if type(state["rollbacks"]) is not int or not 0 <= state["rollbacks"] <= MOST_IMAGES:
        raise MisfitError("its rollbacks are not a number")
    generator, critic = blueprint(config, "Generator"), blueprint(config, "Critic")
    check_weights(state["generator"], generator, "generator")
    check_weights(state["critic"], critic, "critic")
    if (state["averaged_generator"] is None) != (training.ema_half_life == 0):
        raise MisfitError("it has averaged weights where its training averages none, or the reverse")
    if state["averaged_generator"] is not None:
        check_weights(state["averaged_generator"], generator, "averaged_generator")
    if ("augment_probability" in state) != (training.augment == "auto"):
        raise MisfitError("it has an augment_probability where its training adapts none, or the reverse")
    if "augment_probability" in state:
        _check_tensor(state["augment_probability"], torch.empty((), device="meta"), "augment_probability")
        if not 0 <= float(state["augment_probability"]) <= 1:
            raise MisfitError("its augment_probability is not between 0 and 1")
    check_optimiser(state["generator_optimiser"], generator, training.generator, "generator_optimiser")
    check_optimiser(state["critic_optimiser"], critic, training.critic, "critic_optimiser")


def check_weights(tensors: object, network: nn.Module, where: str) -> None:
    """Check a `state_dict` of `network`: it must have exactly its names and shapes, and only finite numbers.

    Args:
        tensors: from the file.
        network: real or a blueprint.
        where: what the tensors are, such as "critic"; the error begins with it.

    Raises:
        MisfitError: the first thing that is wrong.
    """
    wanted = network.state_dict()
    if not isinstance(tensors, dict):
        raise MisfitError(f"{where} is not a set of tensors")
    if strange := sorted(wanted.keys() ^ tensors.keys(), key=str):
        fault = "lacks" if strange[0] in wanted else "has the unknown tensor"
        raise MisfitError(f"{where} {fault} {str(strange[0])[:80]!r}")
    for name, tensor in tensors.items():
        _check_tensor(tensor, wanted[name], f"{where}: {name}")


def check_optimiser(state: object, network: nn.Module, numbers: Adam, where: str) -> None:
    """Check the `state_dict` of the Adam of `network`: its moments' shapes, and the numbers of the configuration.

    The learning rate may be lower than the configuration's, because a run's rates may fall towards its end.

    Raises:
        MisfitError: the first thing that is wrong.
    """
    shapes = list(network.parameters())
    moments, groups = (state.get("state"), state.get("param_groups")) if isinstance(state, dict) else (None, None)
    if not isinstance(moments, dict) or not isinstance(groups, list) or len(groups) != 1:
        raise MisfitError(f"{where} is not the state of an Adam")
    if not moments.keys() <= set(range(len(shapes))):
        raise MisfitError(f"{where} has moments of unknown parameters")
    for index, entry in moments.items():
        if not isinstance(entry, dict) or entry.keys() != _MOMENTS:
            raise MisfitError(f"{where}: {index} does not have Adam's moments")
        for name, tensor in entry.items():
            like = torch.empty((), device="meta") if name == "step" else shapes[index]
            _check_tensor(tensor, like, f"{where}: {name} of parameter {index}")
    for fault in _group_faults(groups[0], numbers, len(shapes)):
        raise MisfitError(f"{where}: its {fault} is not the configuration's")


def _group_faults(group: Any, numbers: Adam, count: int) -> Iterator[str]:
    """The names of the entries of torch's parameter group that differ from the configuration."""
    if not isinstance(group, dict):
        yield "group"
        return
    wanted = {"params": list(range(count)), "betas": (numbers.beta1, numbers.beta2), "eps": numbers.eps}
    for name, value in wanted.items():
        if group.get(name) != value:
            yield name
    rate: Any = group.get("lr")
    if type(rate) not in (int, float) or not 0 <= rate <= numbers.lr:  # this refuses NaN too
        yield "lr"
    for name, value in group.items():  # torch's own switches, which differ between its versions
        if name not in (*wanted, "lr") and not (value is None or isinstance(value, bool) or value == 0):
            yield str(name)[:80]


def _check_tensor(tensor: object, like: Tensor, where: str) -> None:
    if not isinstance(tensor, Tensor) or tensor.layout != torch.strided:
        raise MisfitError(f"{where} is not a tensor")
    if tensor.shape != like.shape:
        raise MisfitError(f"{where} has the shape {tuple(tensor.shape)}, not {tuple(like.shape)}")
    if tensor.dtype != like.dtype and not (tensor.dtype in _FLOATS and like.dtype in _FLOATS):
        raise MisfitError(f"{where} holds {tensor.dtype}, not {like.dtype}".replace("torch.", ""))
    if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
        raise MisfitError(f"{where} holds values that are not finite (NaN or infinity)")
