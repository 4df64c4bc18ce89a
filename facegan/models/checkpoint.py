"""Write and read checkpoints (.pt), from which training goes on, and generators (.safetensors), to keep and to share.

A checkpoint holds only tensors and plain values, and opening one runs no code. Its tensors are checked against its own
configuration before memory is taken for networks. `docs/file-formats.md` lists every entry.
"""

from __future__ import annotations

import hashlib
import json
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
from facegan.core.atomic import atomic_path, write_atomic
from facegan.core.errors import FaceganError, first_line, is_there, reading
from facegan.core.strictjson import parse_json
from facegan.models.torchzip import DamagedError, ForeignError, read_torch_zip
from facegan.models.validate import MOST_IMAGES, MisfitError, blueprint, check_state, check_weights
from facegan.networks import build_generator

FORMAT_VERSION = 1
"""The format version of checkpoints."""
GENERATOR_FORMAT, GENERATOR_VERSION = "facegan-generator", 1

MIGRATIONS: dict[int, Callable[[dict[str, Any]], dict[str, Any]]] = {}
"""Format version -> a function that turns a checkpoint of that version into one of the next. Version 1 is the first."""

_ENTRIES = {
    "format_version",
    "config",
    "provenance",
    "images_seen",
    "rollbacks",
    "generator",
    "critic",
    "averaged_generator",
    "generator_optimiser",
    "critic_optimiser",
}
_SOMETIMES = {"augment_probability"}
"""Entries that only some runs have."""
_CRITIC = "critic."
"""What the names of a critic's tensors begin with in a generator's file; no generator has such names."""
_METADATA = {"format", "format_version", "config", "images_seen", "weights", "provenance"}

_MAX_HEADER = 4 << 20
"""Most bytes of a .safetensors file's header; facegan's have some ten thousand."""

_UPGRADE = "Upgrade: pip install --upgrade facegan"
_WHAT_OPENS = "Name a .pt, a .safetensors, a run directory or 'pretrained'."


_ANOTHER = "Name another checkpoint, a .safetensors or 'pretrained'."


class DamagedFile(FaceganError):
    """A checkpoint is not as facegan wrote it. A caller that knows its run can hint at another checkpoint."""


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint that was read; `Trainer.load_state` takes its `state`."""

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
        critic: the weights of its critic, where the file has them.
        notes: all other metadata, such as a licence.
    """

    module: nn.Module
    config: Config
    images_seen: int
    weights: str
    provenance: dict[str, Any]
    source: Path
    critic: Mapping[str, Tensor] | None = None
    notes: dict[str, str] = field(default_factory=dict)


def save_checkpoint(path: Path, config: Config, provenance: Mapping[str, Any], state: Mapping[str, Any]) -> Path:
    """Write a checkpoint whole or not at all.

    Args:
        state: from `Trainer.state`.

    Raises:
        FaceganError: the system refuses to write.
    """
    content = {
        "format_version": FORMAT_VERSION,
        "config": config.to_json(),
        "provenance": json.dumps(provenance),
        **state,
    }
    assert content.keys() - _SOMETIMES == _ENTRIES
    with atomic_path(path) as temporary:
        try:
            torch.save(content, temporary)
        except RuntimeError as error:  # torch's writer hides the system's reason behind its own exception
            reason = "the system cut it short" if "enforce fail" in str(error) else first_line(error)
            raise FaceganError(
                f"{path} could not be written: {reason}.", "Is the disk full, or the folder gone?"
            ) from None
    return path


def load_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint to the CPU and check that it fits its own configuration; nothing in it is run.

    Memory and time are at most in proportion to the file's size, whatever is in it.

    Raises:
        FaceganError: it is missing, may not be read, is damaged, is not a facegan checkpoint, was written by a newer
            version, has other shapes than its configuration, or has numbers that are not finite.
    """
    _check_file(path)
    if not zipfile.is_zipfile(path):
        raise DamagedFile(f"{path} is not a facegan checkpoint, or is damaged.", _ANOTHER)
    try:
        with reading(path):
            content = _migrate(read_torch_zip(path), path)
    except ForeignError as error:
        raise FaceganError(
            f"{path} holds something other than tensors and plain values, and was not opened: {error}.",
            "facegan never runs code from a file.",
        ) from None
    except (DamagedError, OSError) as error:
        raise DamagedFile(
            f"{path} is not a facegan checkpoint, or is damaged: {first_line(error)}.", _ANOTHER
        ) from None
    if unknown := content.keys() - _ENTRIES - _SOMETIMES:
        name = str(min(map(str, unknown)))[:80]
        raise FaceganError(f"{path} has an unknown entry {name!r}, perhaps of a newer facegan.", _UPGRADE)
    if missing := _ENTRIES - content.keys():
        raise FaceganError(f"{path} is not a facegan checkpoint: {min(missing)!r} is missing.", _WHAT_OPENS)
    config = Config.from_json(content.pop("config"), str(path))
    provenance = parse_json(content.pop("provenance"), f"{path}: its provenance")
    del content["format_version"]
    try:
        check_state(content, config)
    except MisfitError as error:
        raise DamagedFile(f"{path} does not fit its own configuration: {error}.", _ANOTHER) from None
    return Checkpoint(path, config, provenance, content)


def _check_file(path: Path) -> None:
    """Raise a FaceganError if there is no file, or it may not be read."""
    if not is_there(path) or not path.is_file():
        raise FaceganError(f"{path} does not exist or is not a file.", _WHAT_OPENS)
    with reading(path), path.open("rb"):
        pass


def _migrate(content: object, path: Path) -> dict[str, Any]:
    if not isinstance(content, dict) or type(content.get("format_version")) is not int:
        raise FaceganError(f"{path} is not a facegan checkpoint: it has no format version.", _WHAT_OPENS)
    while (version := content["format_version"]) != FORMAT_VERSION:
        _refuse_newer(version, FORMAT_VERSION, path)
        if version not in MIGRATIONS:
            raise FaceganError(f"{path} has the unknown format version {version}.")
        content = MIGRATIONS[version](content)
    return content


def _refuse_newer(version: int, known: int, path: Path) -> None:
    if version > known:
        raise FaceganError(
            f"{path} was written by a newer facegan (format version {version}; this one reads up to {known}).",
            _UPGRADE,
        )


def save_generator(
    path: Path,
    module: nn.Module,
    config: Config,
    *,
    images_seen: int,
    weights: str,
    provenance: Mapping[str, Any],
    critic: Mapping[str, Tensor] | None = None,
    half: bool = False,
    notes: Mapping[str, str] | None = None,
    new: bool = False,
) -> Path:
    """Write a generator as .safetensors; the metadata hold everything else that drawing needs.

    Args:
        weights: "averaged" or "raw", which of the run's weights these are.
        critic: the critic's weights, for programs that score faces or train on.
        half: store float16, which halves the size; faces are still drawn in float32.
        notes: further metadata, such as a licence.
        new: replace no existing file.
    """
    named = {**module.state_dict(), **{_CRITIC + name: tensor for name, tensor in (critic or {}).items()}}
    tensors = {name: _stored(tensor, half) for name, tensor in named.items()}
    metadata = {
        "format": GENERATOR_FORMAT,
        "format_version": str(GENERATOR_VERSION),
        "config": config.to_json(),
        "images_seen": str(images_seen),
        "weights": weights,
        "provenance": json.dumps(provenance),
        **(notes or {}),
    }
    return write_atomic(path, save(tensors, metadata), new=new)


def save_loaded(loaded: LoadedGenerator, path: Path, *, half: bool = False, new: bool = False) -> Path:
    """Write a generator that was loaded, with all that its file said; `half` and `new` as in `save_generator`."""
    return save_generator(
        path,
        loaded.module,
        loaded.config,
        images_seen=loaded.images_seen,
        weights=loaded.weights,
        provenance=loaded.provenance,
        critic=loaded.critic,
        half=half,
        notes=loaded.notes,
        new=new,
    )


def _stored(tensor: Tensor, half: bool) -> Tensor:
    tensor = tensor.detach().cpu().contiguous()
    return tensor.half() if half and tensor.is_floating_point() else tensor


def load_generator(path: Path, device: torch.device | str = "cpu") -> LoadedGenerator:
    """A generator from a checkpoint (.pt) or a .safetensors file.

    Raises:
        FaceganError: it is neither of these, or is damaged.
    """
    loaded = _from_safetensors(path) if path.suffix == ".safetensors" else _from_checkpoint(path)
    loaded.module.to(device).eval().requires_grad_(False)
    return loaded


def _from_checkpoint(path: Path) -> LoadedGenerator:
    checkpoint = load_checkpoint(path)
    averaged = checkpoint.state["averaged_generator"]
    weights = "raw" if averaged is None else "averaged"
    config, critic = checkpoint.config, checkpoint.state["critic"]
    module = _filled(config, averaged or checkpoint.state["generator"])
    return LoadedGenerator(module, config, checkpoint.images_seen, weights, checkpoint.provenance, path, critic)


def _from_safetensors(path: Path) -> LoadedGenerator:
    _check_file(path)
    try:
        check_header(path)
        with reading(path), safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            if metadata.get("format") != GENERATOR_FORMAT:
                raise FaceganError(f"{path} is a .safetensors file, but not a facegan generator.", _WHAT_OPENS)
            _check_version(metadata.get("format_version", ""), path)
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118, it is not a dict
    except (SafetensorError, OSError, DamagedError) as error:
        raise FaceganError(f"{path} is not a generator, or is damaged: {first_line(error)}.", _WHAT_OPENS) from None
    try:
        config = Config.from_json(metadata["config"], str(path))
        images_seen, weights = int(metadata["images_seen"]), metadata["weights"]
        origin = parse_json(metadata["provenance"], f"{path}: its provenance")
        if not 0 <= images_seen <= MOST_IMAGES or weights not in ("averaged", "raw"):
            raise ValueError("images_seen or weights")
        critic = {name.removeprefix(_CRITIC): tensors.pop(name) for name in list(tensors) if name.startswith(_CRITIC)}
        check_weights(tensors, blueprint(config, "Generator"), "generator")
        if critic:
            check_weights(critic, blueprint(config, "Critic"), "critic")
    except MisfitError as error:
        raise FaceganError(f"{path} does not fit its own configuration: {error}.", _WHAT_OPENS) from None
    except (KeyError, ValueError) as error:
        raise FaceganError(f"{path}: the metadata are damaged: {first_line(error)}.") from None
    notes = {name: metadata[name] for name in sorted(metadata) if name not in _METADATA}  # in a file they have no order
    scores = {name: _full(tensor) for name, tensor in critic.items()} or None
    return LoadedGenerator(_filled(config, tensors), config, images_seen, weights, origin, path, scores, notes)


def weights_sha256(module: nn.Module) -> str:
    """The SHA-256 of all tensors of a network with their names: which generator something belongs to."""
    digest = hashlib.sha256()
    for name, tensor in module.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.cpu().numpy().tobytes())
    return digest.hexdigest()


def check_header(path: Path) -> None:
    """Refuse a .safetensors file whose header would fill the memory: the library accepts headers of up to 100 MB.

    Raises:
        DamagedError: the header is larger than any that facegan writes.
    """
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
    if length > _MAX_HEADER:
        raise DamagedError(f"its header claims {length:,} bytes")


def _check_version(text: str, path: Path) -> None:
    version = int(text) if text.isdecimal() and len(text) < 10 else 0
    _refuse_newer(version, GENERATOR_VERSION, path)
    if version != GENERATOR_VERSION:
        raise FaceganError(f"{path} has the unknown format version {text[:80]!r}.")


def _filled(config: Config, tensors: Mapping[str, Tensor]) -> nn.Module:
    """The generator of `config` with these tensors, which are known to fit."""
    module = build_generator(config)
    module.load_state_dict({name: _full(tensor) for name, tensor in tensors.items()}, strict=True)
    return module


def _full(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.is_floating_point() else tensor
