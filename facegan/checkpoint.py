"""Checkpoints (.pt) to go on training from, and generators (.safetensors) to keep and to share.

A checkpoint holds tensors and primitives only and is read with `weights_only=True`: opening one runs no code.
`docs/file-formats.md` lists every entry.
"""

from __future__ import annotations

import json
import pickle
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from facegan.config import Config
from facegan.errors import FaceganError
from facegan.files import atomic_path, write_atomic
from facegan.networks import build_generator
from facegan.rundir import RunDir, is_run

FORMAT_VERSION = 1
GENERATOR_FORMAT = "facegan-generator"

MIGRATIONS: dict[int, Callable[[dict[str, Any]], dict[str, Any]]] = {}
"""Format version -> a function that turns a checkpoint of that version into one of the next."""

_ENTRIES = {
    "format_version",
    "config",
    "provenance",
    "images_seen",
    "generator",
    "critic",
    "averaged_generator",
    "generator_optimiser",
    "critic_optimiser",
}
_METADATA = {"format", "format_version", "config", "images_seen", "weights", "provenance"}

_WHAT_OPENS = "Name a .pt, a .safetensors, a run directory or 'pretrained'."
_TRY_OLDER = (
    "If it belongs to a run, name an older checkpoint from the same folder, or delete this one to go on from that."
)


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint as read: `state` is what `Trainer.load_state` takes."""

    path: Path
    config: Config
    provenance: dict[str, Any]
    state: dict[str, Any]

    @property
    def images_seen(self) -> int:
        return int(self.state["images_seen"])


@dataclass(frozen=True)
class LoadedGenerator:
    """A generator ready to draw with.

    Attributes:
        module: in eval mode, float32.
        weights: "averaged" or "raw".
        source: the file it came from.
        notes: what else its metadata say, such as a licence.
    """

    module: nn.Module
    config: Config
    images_seen: int
    weights: str
    provenance: dict[str, Any]
    source: Path
    notes: dict[str, str] = field(default_factory=dict)


def save_checkpoint(path: Path, config: Config, provenance: Mapping[str, Any], state: Mapping[str, Any]) -> Path:
    """Write a checkpoint whole or not at all.

    Args:
        state: from `Trainer.state`.

    Raises:
        FaceganError: the disk refuses.
    """
    content = {
        "format_version": FORMAT_VERSION,
        "config": config.to_json(),
        "provenance": json.dumps(provenance),
        **state,
    }
    assert content.keys() == _ENTRIES
    with atomic_path(path) as temporary:
        try:
            torch.save(content, temporary)
        except RuntimeError as error:  # torch's writer hides the system's reason behind its own exception
            raise FaceganError(
                f"{path} could not be written: {_first_line(error)}", "Is the disk full, or the folder gone?"
            ) from None
    return path


def load_checkpoint(path: Path, device: torch.device | str = "cpu") -> Checkpoint:
    """Read a checkpoint; nothing in it is run.

    Raises:
        FaceganError: missing, damaged, not a facegan checkpoint, or written by a newer version.
    """
    if not path.is_file():
        raise FaceganError(f"{path} does not exist or is not a file.", _WHAT_OPENS)
    if not zipfile.is_zipfile(path):
        raise FaceganError(f"{path} is not a facegan checkpoint, or is damaged.", _TRY_OLDER)
    try:
        content = torch.load(path, map_location=device, weights_only=True)
    except pickle.UnpicklingError:
        raise FaceganError(
            f"{path} holds something other than tensors and plain values, and was not opened.",
            "facegan never runs code from a file.",
        ) from None
    except (RuntimeError, OSError, EOFError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise FaceganError(
            f"{path} is not a facegan checkpoint, or is damaged: {_first_line(error)}", _TRY_OLDER
        ) from None
    content = _migrate(content, path)
    if unknown := content.keys() ^ _ENTRIES:
        raise FaceganError(f"{path} is not a facegan checkpoint: {min(map(str, unknown))!r} is missing or unknown.")
    config = Config.from_json(content.pop("config"), str(path))
    provenance = _provenance(content.pop("provenance"), path)
    del content["format_version"]
    return Checkpoint(path, config, provenance, content)


def _provenance(text: object, path: Path) -> dict[str, Any]:
    try:
        provenance = json.loads(text) if isinstance(text, str) else None
    except ValueError:
        provenance = None
    if not isinstance(provenance, dict):
        raise FaceganError(f"{path}: its provenance is damaged.")
    return provenance


def _migrate(content: object, path: Path) -> dict[str, Any]:
    if not isinstance(content, dict) or not isinstance(content.get("format_version"), int):
        raise FaceganError(f"{path} is not a facegan checkpoint: it has no format version.")
    while (version := content["format_version"]) != FORMAT_VERSION:
        if version > FORMAT_VERSION:
            raise FaceganError(
                f"{path} has format version {version}; this facegan reads up to {FORMAT_VERSION}.",
                "Upgrade: pip install --upgrade facegan",
            )
        if version not in MIGRATIONS:
            raise FaceganError(f"{path} has the unknown format version {version}.")
        content = MIGRATIONS[version](content)
    return content


def save_generator(
    path: Path,
    module: nn.Module,
    config: Config,
    *,
    images_seen: int,
    weights: str,
    provenance: Mapping[str, Any],
    half: bool = False,
    notes: Mapping[str, str] | None = None,
) -> Path:
    """Write a generator as .safetensors; its metadata hold all that is needed to draw with it.

    Args:
        weights: "averaged" or "raw", which of the run's weights these are.
        half: store float16, half the size; drawing is in float32 all the same.
        notes: further metadata, such as a licence.
    """
    tensors = {name: _stored(tensor, half) for name, tensor in module.state_dict().items()}
    metadata = {
        "format": GENERATOR_FORMAT,
        "format_version": str(FORMAT_VERSION),
        "config": config.to_json(),
        "images_seen": str(images_seen),
        "weights": weights,
        "provenance": json.dumps(provenance),
        **(notes or {}),
    }
    return write_atomic(path, save(tensors, metadata))


def _stored(tensor: Tensor, half: bool) -> Tensor:
    tensor = tensor.detach().cpu().contiguous()
    return tensor.half() if half and tensor.is_floating_point() else tensor


def load_generator(path: Path, device: torch.device | str = "cpu") -> LoadedGenerator:
    """A generator from a checkpoint (.pt), a .safetensors file or a run directory (its newest checkpoint).

    Raises:
        FaceganError: none of these, or damaged.
    """
    if is_run(path):
        run = RunDir(path)
        path = run.generator if not run.checkpoints() and run.generator.is_file() else run.newest_checkpoint()
    if path.is_dir():
        raise FaceganError(f"{path} is a folder, but not a run.", "Name a .pt, a .safetensors or a run directory.")
    loaded = _from_safetensors(path) if path.suffix == ".safetensors" else _from_checkpoint(path)
    loaded.module.to(device).eval().requires_grad_(False)
    return loaded


def _from_checkpoint(path: Path) -> LoadedGenerator:
    checkpoint = load_checkpoint(path)
    averaged = checkpoint.state["averaged_generator"]
    weights = "raw" if averaged is None else "averaged"
    module = _filled(checkpoint.config, averaged or checkpoint.state["generator"], path)
    return LoadedGenerator(module, checkpoint.config, checkpoint.images_seen, weights, checkpoint.provenance, path)


def _from_safetensors(path: Path) -> LoadedGenerator:
    if not path.is_file():
        raise FaceganError(f"{path} does not exist or is not a file.", _WHAT_OPENS)
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            if metadata.get("format") != GENERATOR_FORMAT:
                raise FaceganError(f"{path} is a .safetensors file, but not a facegan generator.")
            _refuse_newer(metadata, path)
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118, it is not a dict
    except (SafetensorError, OSError) as error:
        raise FaceganError(f"{path} is not a generator, or is damaged: {_first_line(error)}", _WHAT_OPENS) from None
    try:
        config = Config.from_json(metadata["config"], str(path))
        images_seen, weights = int(metadata["images_seen"]), metadata["weights"]
        origin = _provenance(metadata["provenance"], path)
    except (KeyError, ValueError) as error:
        raise FaceganError(f"{path}: the metadata are damaged: {error}.") from None
    notes = {name: text for name, text in metadata.items() if name not in _METADATA}
    return LoadedGenerator(_filled(config, tensors, path), config, images_seen, weights, origin, path, notes)


def _refuse_newer(metadata: Mapping[str, str], path: Path) -> None:
    version = metadata.get("format_version", "")
    if not version.isdecimal() or int(version) > FORMAT_VERSION:
        raise FaceganError(
            f"{path} has format version {version or 'none'}; this facegan reads up to {FORMAT_VERSION}.",
            "Upgrade: pip install --upgrade facegan",
        )


def _filled(config: Config, tensors: Mapping[str, Tensor], path: Path) -> nn.Module:
    module = build_generator(config)
    try:
        module.load_state_dict({name: _full(tensor) for name, tensor in tensors.items()}, strict=True)
    except (RuntimeError, AttributeError) as error:
        raise FaceganError(f"{path} does not fit its own configuration: {_first_line(error)}") from None
    return module


def _full(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.is_floating_point() else tensor


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".") + "."
