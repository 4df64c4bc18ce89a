"""Describe in one screen what is at a path: a dataset, a run, a generator, its attributes, latents or a picture.

Datasets and pictures need no torch.
"""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

from facegan.config import Config
from facegan.core.errors import FaceganError, is_there
from facegan.core.quantities import size as in_bytes
from facegan.core.strictjson import read_json
from facegan.data.folder import cut_off
from facegan.pictures.photos import PICTURES
from facegan.runs.folder import RunDir, is_run, run_in

Facts = list[tuple[str, str]]
"""(name, value) pairs in the order in which they are shown."""
_SILENT = {
    ".mp4": "An MP4 does not hold how it was made; a GIF or a WebP does.",
    ".onnx": "An ONNX file holds its facts for other programs; name the generator that it was exported from.",
}
"""Endings of files that facegan writes and does not read -> a hint."""


def describe(path: Path) -> tuple[str, Facts]:
    """The kind of thing at `path` and its facts.

    Raises:
        FaceganError: nothing is there, or nothing that facegan writes.
    """
    if not is_there(path):
        what = "Name a dataset, a run, a .pt, a .safetensors, a .npy, a picture or 'pretrained'."
        raise FaceganError(f"{path} does not exist.", cut_off(path) or what)
    if path.is_dir():
        if is_there(path / "dataset.json"):
            return "dataset", _dataset(path)
        if is_run(path):
            return "run", _run(RunDir(path))
        if weights := RunDir(path).weights():  # all else of the run was deleted
            return describe(weights)
        hint = run_in(path) or "A dataset has a dataset.json."
        raise FaceganError(f"{path} is a folder, but neither a dataset nor a run.", hint)
    if path.suffix == ".safetensors":
        return ("attributes", _attributes(path)) if _is_attributes(path) else ("generator", _generator(path))
    if path.suffix == ".npy":
        return "latents", _latents(path)
    if path.suffix.lower() in PICTURES:
        return "picture", _picture(path)
    if instead := _SILENT.get(path.suffix.lower()):
        raise FaceganError(f"facegan cannot say what {path} is.", instead)
    return "checkpoint", _checkpoint(path)


def _dataset(path: Path) -> Facts:
    from facegan.data.folder import read_dataset_json

    info = read_dataset_json(path)
    return [
        ("images", f"{info.count:,} of {info.size} x {info.size} px"),
        ("source", _in_words(info.source)),
        ("crop", _in_words({key: fact for key, fact in info.crop.items() if not isinstance(fact, dict)})),
        ("filter", info.filter),
        ("skipped", f"{info.skipped:,} photos" + (f", listed in {path / 'skipped.csv'}" if info.skipped else "")),
        ("same pixels twice", f"{info.duplicates:,} photos"),
        ("attributes", f"{len(info.attributes)}: {', '.join(info.attributes)}" if info.attributes else "none"),
        ("SHA-256 of pixels", info.pixels_sha256),
        ("on disk", in_bytes((path / "images.npy").stat().st_size)),
        ("preview", str(path / "preview.png")),
    ]


def _run(run: RunDir) -> Facts:
    config = run.read_config()
    rows, checkpoints = run.read_metrics(), run.checkpoints()
    facts = _configuration(config)
    seen = checkpoints[-1][0] if checkpoints else rows[-1]["images_seen"] if rows and run.weights() else 0
    facts.append(("images seen", _seen(seen, config)))
    if rows:
        last = rows[-1]
        facts.append(("last row", f"score gap {_number(last, 'wasserstein')}, slope {_number(last, 'slope')}"))
    facts.append(("sample grids", f"{len(run.samples()):,}"))
    none = f"none left, only {run.generator.name}" if run.weights() else "none yet"
    facts.append(("checkpoints", ", ".join(path.name for _, path in checkpoints) or none))
    if run.best.exists():
        facts.append(("best checkpoint", f"{run.best.name}, {_measured(run.best)}"))
    try:
        facts += _origin(read_json(run.provenance))
    except OSError:
        facts.append(("provenance", "missing"))
    except FaceganError as error:
        facts.append(("provenance", error.message))
    return facts


def _checkpoint(path: Path) -> Facts:
    from facegan.models.checkpoint import weights_sha256
    from facegan.networks import build_critic, build_generator, count_parameters
    from facegan.runs.find import open_checkpoint

    found = open_checkpoint(path)
    averaged = found.state["averaged_generator"]
    generator = build_generator(found.config)
    generator.load_state_dict(averaged or found.state["generator"])
    return [
        *_configuration(found.config),
        ("images seen", _seen(found.images_seen, found.config)),
        ("parameters", f"generator {count_parameters(generator):,}, "
                       f"critic {count_parameters(build_critic(found.config)):,}"),
        ("averaged weights", "yes" if averaged else "no"),
        ("SHA-256 of weights", weights_sha256(generator)),
        ("on disk", in_bytes(path.stat().st_size)),
        *_origin(found.provenance),
    ]  # fmt: skip


def _seen(images: int, config: Config) -> str:
    """Images seen, of those asked for. A run ends with a whole batch, so it may have seen more than was asked for."""
    asked = config.training.images or 0
    return f"{images:,} of {asked:,}" if images < asked else f"{images:,}, all of the {asked:,} asked for"


def _measured(path: Path) -> str:
    """The figures of a run's best checkpoint, and after how many images it was written."""
    from facegan.runs.find import open_checkpoint

    try:
        found = open_checkpoint(path)
    except FaceganError as error:
        return error.message
    return f"{_evaluated(found.provenance) or 'not measured'} at {found.images_seen:,} images"


def _evaluated(provenance: dict[str, Any]) -> str:
    """The figures that are recorded in a checkpoint, in words; "" if there are none."""
    found = provenance.get("evaluated")
    if not isinstance(found, dict):
        return ""
    fd, kid = found.get("fd"), found.get("kid")
    if not isinstance(fd, float) or not isinstance(kid, float):
        return ""
    counts = f"{_count(found.get('samples', '?'))} samples, {_count(found.get('photos', '?'))} photos"
    return f"FD {fd:.1f}, KID x1000 {1000 * kid:.1f} ({found.get('extractor', '?')}, {counts})"


def _generator(path: Path) -> Facts:
    from facegan.models.checkpoint import weights_sha256
    from facegan.networks import build_critic, count_parameters
    from facegan.runs.find import open_generator

    found = open_generator(path)
    critic = found.critic and f"{count_parameters(build_critic(found.config)):,}"
    return [
        *_configuration(found.config),
        ("images seen", f"{found.images_seen:,}"),
        ("parameters", f"generator {count_parameters(found.module):,}, critic {critic or 'not in the file'}"),
        ("weights", found.weights),
        ("SHA-256 of weights", weights_sha256(found.module)),
        ("on disk", in_bytes(path.stat().st_size)),
        *_origin(found.provenance),
        *((name, value) for name, value in found.notes.items()),
    ]


def _is_attributes(path: Path) -> bool:
    from facegan.editing.attributes import FORMAT, metadata

    try:
        return metadata(path).get("format") == FORMAT
    except FaceganError:
        return False


def _attributes(path: Path) -> Facts:
    from facegan.editing.attributes import load_attributes

    found = load_attributes(path)
    usable = [attribute.name for attribute in found.known if not attribute.refused]
    refused = [f"{attribute.name} ({attribute.refused})" for attribute in found.known if attribute.refused]
    return [
        ("attributes", f"{len(usable)}: {', '.join(usable)}" if usable else "none"),
        ("refused", "; ".join(refused) or "none"),
        ("kept by edits", ", ".join(found.keep) or "none"),
        ("of the generator", f"whose weights have the SHA-256 {found.generator}"),
        ("on disk", in_bytes(path.stat().st_size)),
    ]


def _latents(path: Path) -> Facts:
    from facegan.faces.latents import load_latents

    z = load_latents(path)
    return [
        ("faces", f"{len(z):,}"),
        ("numbers each", f"{z.shape[1]:,}"),
        ("norms", f"{(z**2).sum(1).min() ** 0.5:.2f} to {(z**2).sum(1).max() ** 0.5:.2f}"),
        ("on disk", in_bytes(path.stat().st_size)),
    ]


def _picture(path: Path) -> Facts:
    from facegan.pictures.origin import read_origin

    (across, height), origin = read_origin(path)
    unknown = [("made by", "unknown: nothing of facegan is written in it")]
    return [
        ("pixels", f"{across:,} x {height:,}"),
        *(unknown if origin is None else origin.facts()),
        ("on disk", in_bytes(path.stat().st_size)),
    ]


def _configuration(config: Config) -> Facts:
    networks, training = config.networks, config.training
    return [
        ("preset", config.preset),
        ("networks", _in_words(config.to_dict()["networks"])),
        ("training", f"{training.objective}, batch {training.batch_size}, n_critic {training.n_critic}, penalty weight "
                     f"{training.penalty_weight:g}, {training.update} updates"),
        ("latents", f"{networks.latent_dim} numbers, N(0, 1)"),
        ("seed", str(config.seed)),
    ]  # fmt: skip


def _origin(provenance: dict[str, Any]) -> Facts:
    found = provenance.get("dataset")
    dataset = found if isinstance(found, dict) else {}
    versions = f"facegan {provenance.get('facegan', '?')}, torch {provenance.get('torch', '?')}"
    digest = str(dataset.get("sha256", "?"))[:12]
    facts = [
        ("dataset", f"{dataset.get('path', '?')} ({dataset.get('count', '?')} images, {digest}…)"),
        ("trained with", f"{versions}, {provenance.get('device', '?')}, {provenance.get('precision', '?')}"),
    ]
    if evaluated := _evaluated(provenance):
        facts.append(("evaluated", evaluated))
    if isinstance(command := provenance.get("command"), list):
        facts.append(("command", shlex.join(map(str, command))))
    if isinstance(resumed := provenance.get("resumed"), list):
        seen = [each.get("at_images", "?") for each in resumed if isinstance(each, dict)]
        facts.append(("resumed", ", ".join(f"at {_count(images)} images" for images in seen)))
    return facts


def _count(number: object) -> str:
    return f"{number:,}" if isinstance(number, int) else str(number)


def _number(row: dict[str, Any], name: str) -> str:
    value = row.get(name)
    return "?" if value is None else f"{value:.3f}"


def _in_words(facts: Any) -> str:
    return ", ".join(f"{key} {value}" for key, value in facts.items())
