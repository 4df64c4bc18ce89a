"""Which flag of `facegan train` sets which field of the configuration, and how its value is read."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from facegan.config import Config
from facegan.core.checked import shown
from facegan.core.errors import UsageError
from facegan.core.quantities import parse_count

AUTO = "auto"

FIELDS: dict[str, str] = {
    "epochs": "training.epochs",
    "images": "training.images",
    "batch_size": "training.batch_size",
    "n_critic": "training.n_critic",
    "precision": "training.precision",
    "on_nan": "training.on_nan",
    "seed": "seed",
    "flip": "training.flip",
    "augment": "training.augment",
    "freeze": "training.freeze",
    "latent_dim": "networks.latent_dim",
    "width": "networks.width",
    "critic_width": "networks.critic_width",
    "self_modulation": "networks.self_modulation",
    "depth": "networks.depth",
    "critic_depth": "networks.critic_depth",
    "generator_lr": "training.generator.lr",
    "critic_lr": "training.critic.lr",
    "penalty_weight": "training.penalty_weight",
    "ema_half_life": "training.ema_half_life",
    "decay": "training.decay",
    "sample_every": "output.sample_every",
    "checkpoint_every": "output.checkpoint_every",
    "evaluate_every": "output.evaluate_every",
    "keep": "output.keep",
    "tensorboard": "output.tensorboard",
}
"""Flag -> the configuration field that it sets. Flags have no defaults: the preset has them. Fields that are rarely set
have no flag: `--set` sets them."""


def to_overrides(given: dict[str, Any]) -> dict[str, Any]:
    """Flags and their values -> configuration paths and values. Nothing else translates flags.

    Args:
        given: values as typed on the command line, or as numbers from Python.

    Raises:
        UsageError: both --epochs and --images, or a text that is not a number.
    """
    if "epochs" in given and "images" in given:
        raise UsageError("--epochs and --images both say how long to train.", "Give one of them.")
    overrides = {FIELDS[flag]: value for flag, value in given.items()}
    if given.get("batch_size") == AUTO:
        del overrides[FIELDS["batch_size"]]  # found when the device is known
    elif "batch_size" in given:
        overrides[FIELDS["batch_size"]] = _whole(str(given["batch_size"]))
    if "augment" in given:
        overrides[FIELDS["augment"]] = _probability(given["augment"])
    if "epochs" in given:
        overrides["training.images"] = None
    if "images" in given:
        overrides |= {"training.images": parse_count(str(given["images"])), "training.epochs": None}
    return overrides


def parse_setting(text: str) -> tuple[str, Any]:
    """Split `training.critic.beta1=0.5` into the field's path and its value, which is written as in JSON.

    Raises:
        UsageError: there is no "=", or the field is the run's length, which has flags of its own.
    """
    path, equals, value = text.partition("=")
    if not equals:
        raise UsageError(f"--set {shown(text)} sets nothing.", "Write it as --set training.critic.beta1=0.5.")
    if path in ("training.images", "training.epochs"):
        raise UsageError(f"--set {path}: the run's length has flags of its own.", "Use --images or --epochs.")
    try:
        parsed = json.loads(value)
    except (ValueError, RecursionError):
        return path, value
    return path, tuple(parsed) if isinstance(parsed, list) else parsed


_DIGITS = 15
"""The most digits of a count, more than any has. Python refuses to read a number of thousands of digits."""


def _whole(text: str) -> int:
    if not text.isdecimal() or len(text) > _DIGITS:
        raise UsageError(f"{text[:80]!r} is neither a whole number nor {AUTO!r}.", "Write it as 64.")
    return int(text)


def _probability(value: object) -> float | str:
    if value == AUTO:
        return AUTO
    try:
        return float(str(value))
    except ValueError:
        raise UsageError(
            f"{shown(value)} is neither a number from 0 to 1 nor {AUTO!r}.", "Write it as 0.3, or auto."
        ) from None


def check_flags(given: dict[str, Any], settings: Sequence[str], config: Config) -> dict[str, Any]:
    """The overrides that flags and `--set` ask for together.

    Raises:
        UsageError: a value is out of range (the message names its flag), or a field is set twice.
    """
    for flag, value in given.items():
        with _named(f"--{flag.replace('_', '-')}"):
            config.override(to_overrides({flag: value}))
    overrides = to_overrides(given)
    for path, value in map(parse_setting, settings):
        if path in overrides:
            raise UsageError(f"{path} is set twice.", "Give it once.")
        with _named(f"--set {path}"):
            config.override({path: value})
        overrides[path] = value
    return overrides


@contextmanager
def _named(what: str) -> Iterator[None]:
    try:
        yield
    except UsageError as error:
        raise UsageError(f"{what}: {error.message}", error.hint) from None
