"""Where a run comes from: versions, command and device, kept as provenance.json."""

from __future__ import annotations

import json
import platform
import sys
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any

import numpy as np
import torch

from facegan.config import Config
from facegan.core.atomic import write_atomic
from facegan.core.device import describe_device
from facegan.core.errors import FaceganError, typed
from facegan.core.strictjson import read_json
from facegan.core.version import __version__
from facegan.core.world import World
from facegan.runs.folder import RunDir


def read_provenance(run: RunDir) -> dict[str, Any]:
    """The contents of provenance.json. Raises: FaceganError: it is missing or damaged."""
    again = f"facegan train --from {typed(run.path)} starts a new run from its weights."
    try:
        provenance = read_json(run.provenance)
    except OSError as error:
        raise FaceganError(f"{run.provenance} cannot be read: {error.strerror}.", again) from None
    dataset, resumed = provenance.get("dataset", {}), provenance.get("resumed", [])
    sound = {
        "dataset": isinstance(dataset, dict),
        "resumed": isinstance(resumed, list) and all(_is_part(part) for part in resumed),
    }
    for entry, well in sound.items():
        if not well:
            raise FaceganError(f"{run.provenance} is damaged: its {entry!r} is not what facegan writes.", again)
    return provenance


def _is_part(part: object) -> bool:
    return isinstance(part, dict) and isinstance(part.get("thin_from", 0), int)


def write_provenance(run: RunDir, provenance: Mapping[str, Any]) -> None:
    """Replace provenance.json; a killed process leaves the old one or the new one."""
    write_atomic(run.provenance, json.dumps(provenance, indent=2) + "\n")


def machine(device: torch.device) -> dict[str, Any]:
    """The versions and the device that this process computes with."""
    return {
        "facegan": __version__,
        "torch": torch.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
        "system": platform.platform(),
        "device": str(device),
        "device_name": describe_device(device),
        "threads": torch.get_num_threads(),
    }


def environment(config: Config, device: torch.device, world: World, command: list[str]) -> dict[str, Any]:
    """What a run, or a part of one, is computed with, and since when."""
    return {
        **machine(device),
        "command": command,
        "started": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "processes": world.size,
        "precision": config.training.precision,
    }


_DECIDE_BITS = ("torch", "numpy", "threads", "processes", "device", "precision")
"""Entries of `environment` on which the bits of a result depend."""


def broken_promises(before: Mapping[str, Any], config: Config, device: torch.device, world: World) -> list[str]:
    """Why a run that goes on will not equal, bit for bit, one that was never stopped: a sentence, or none.

    Args:
        before: the `environment` of the run's part before.
    """
    now = environment(config, device, world, [])
    changed = [f"{key} was {before.get(key)} and is {now[key]}" for key in _DECIDE_BITS if before.get(key) != now[key]]
    if changed:
        return [f"{'; '.join(changed)}: the run goes on, but not bit for bit as if it had never stopped"]
    return [] if device.type == "cpu" else ["on a GPU a resumed run is not equal bit for bit to one that never stopped"]


def this_command() -> list[str]:
    """The command line that this process runs."""
    return ["facegan", *sys.argv[1:]]
