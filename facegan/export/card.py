"""What the public may know of a generator: the generator without private facts, and the card that describes it.

A run's provenance holds paths, the names of folders, the machine and the command line as it was typed. Here it is
rebuilt from the entries that are known to be harmless; whatever is not known is left out.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from facegan.core.errors import visible
from facegan.core.version import __version__
from facegan.models.checkpoint import LoadedGenerator, weights_sha256
from facegan.models.hub import GENERATOR, SHEET, address_of, parse_address
from facegan.models.pretrained import NAME, PATH
from facegan.presets import PRESETS
from facegan.runs.flags import FIELDS

_VERSIONS = ("facegan", "torch", "numpy", "python", "precision", "processes", "threads")
_DATASET = ("count", "size", "sha256", "crop")
_FIGURES = ("fd", "kid", "precision", "recall", "samples", "photos", "extractor")
_SWITCHES = {
    f"--{no}{flag.replace('_', '-')}" for flag in ("flip", "self_modulation", "tensorboard") for no in ("", "no-")
}
_PLACES = {"--data": "DATASET", "--from": "GENERATOR", "--config": "CONFIG", "--run": "RUN"}
"""Options of `train` whose values name files of its user -> what is written instead."""
_HARMLESS = re.compile(r"[A-Za-z0-9.,_+-]{1,40}")
_IDENTIFIER = re.compile(r"[a-z0-9][a-z0-9.-]{1,40}")
"""How the Hub names licences: mit, cc-by-nc-4.0."""


def public(loaded: LoadedGenerator) -> LoadedGenerator:
    """The same generator with only those facts of its origin that the public may know, and without its critic."""
    given = loaded.provenance
    kept = {key: given[key] for key in _VERSIONS if isinstance(given.get(key), (str, int))}
    if isinstance(device := given.get("device"), str):
        kept["device"] = re.sub(r"[^a-z].*", "", device)
    kept |= _part(given, "dataset", _DATASET) | _part(given, "evaluated", _FIGURES)
    if isinstance(command := given.get("command"), list) and (words := public_command(command)):
        kept["command"] = words
    if "from" in given:
        kept["from"] = _start(str(given["from"]))
        kept |= {
            key: given[key] for key in ("from_images_seen", "from_licence") if isinstance(given.get(key), (int, str))
        }
    return replace(loaded, provenance=kept, critic=None)


def _part(given: dict[str, Any], name: str, keys: Sequence[str]) -> dict[str, Any]:
    """{name: the harmless entries of given[name]}, or nothing."""
    part = given.get(name)
    found = {key: part[key] for key in keys if key in part} if isinstance(part, dict) else {}
    return {name: found} if found else {}


def _start(origin: str) -> str:
    """What a run started from: `pretrained`, an address on the Hub, or "a generator"."""
    path = Path(origin)
    return NAME if path.name == PATH.name else str(address_of(path) or "a generator")


def public_command(words: Sequence[object]) -> list[str]:
    """The command line of `facegan train` without the names of its user's files and folders; [] if it is another.

    Values stay where the option is known to take a number or a word; the name of a dataset becomes DATASET, and so on.
    """
    if [str(word) for word in words[:2]] != ["facegan", "train"]:
        return []
    rest, kept = iter(str(word) for word in words[2:]), ["facegan", "train"]
    for word in rest:
        option, equals, value = word.partition("=")
        if option in _SWITCHES:
            kept.append(option)
            continue
        value = value if equals else next(rest, "") if option in _TAKE_VALUE else ""
        if option in _PLACES:
            kept += [option, value if value in ("demo", NAME) or _on_hub(value) else _PLACES[option]]
        elif option in _KEPT and all(map(_HARMLESS.fullmatch, value.split("=", 1))):
            kept += [option, value]
    return kept


_KEPT = {"--preset", "--set", *(f"--{flag.replace('_', '-')}" for flag in FIELDS)} - _SWITCHES
_TAKE_VALUE = {*_KEPT, *_PLACES, "--name", "--device"}


def _on_hub(value: str) -> bool:
    return value.startswith("hf://") and parse_address(value) is not None


def licence_of(loaded: LoadedGenerator, stated: str | None = None) -> str:
    """The licence: what its file says, else that of the weights it started from, else what is stated; "" if none is."""
    return loaded.notes.get("licence") or str(loaded.provenance.get("from_licence", "")) or stated or ""


def card(loaded: LoadedGenerator, repository: str, licence: str = "") -> str:
    """The README.md of a repository on the Hub, written from the facts that `public` leaves.

    Args:
        licence: an identifier of the Hub's, such as mit, or a sentence. "" if nobody has stated one.
    """
    networks, origin = loaded.config.networks, loaded.provenance
    head = {"library_name": "facegan", "pipeline_tag": "unconditional-image-generation", "tags": ["gan", "faces"]}
    if licence:
        head["license"] = licence if _IDENTIFIER.fullmatch(licence) else "other"
    address = f"hf://{repository}"
    tuned = (
        f"It was tuned {_cell(loaded.notes['tuned'])}. It draws the people in them." if "tuned" in loaded.notes else ""
    )
    lines = [
        "---",
        *(f"{key}: {json.dumps(value)}" for key, value in head.items()),
        "---",
        "",
        f"# {repository.partition('/')[2]}",
        "",
        f"![Faces that this generator draws]({SHEET})",
        "",
        f"A generator of faces of {networks.size} x {networks.size} pixels, trained with facegan. Its latents are "
        f"{networks.latent_dim} numbers from N(0, 1).",
        "",
        *([tuned, ""] if tuned else []),
        "## Draw with it",
        "",
        "With facegan and its extra `hub`:",
        "",
        "```sh",
        f"facegan sample {address} --number",
        f"facegan interpolate {address} --through 3 --through 7 --gif",
        "```",
        "",
        "```python",
        "import facegan",
        "",
        f'faces = facegan.load("{address}").sample(8)  # uint8 (8, {networks.size}, {networks.size}, 3)',
        "```",
        "",
        "## How it was trained",
        "",
        "| | |",
        "|---|---|",
        *(f"| {name} | {_cell(value)} |" for name, value in _facts(loaded, origin)),
        "",
        "## Licence",
        "",
        _cell(licence) or "No licence was stated. Ask the owner of this repository before you use it.",
        "",
        "## What to know",
        "",
        "The faces are drawn. No such people exist, but a face may resemble somebody whose photo was trained on. Do "
        "not pass off a drawn face as a photo. A generator draws best what most of its photos show.",
        "",
        f"This card was written by facegan {__version__} from what `{GENERATOR}` says of itself.",
        "",
    ]
    return "\n".join(lines)


def _cell(value: str) -> str:
    """A stranger's text on one line of Markdown, where a bar would end a table's cell."""
    return visible(" ".join(value.split())).replace("|", "\\|").replace("<", "&lt;")


def _facts(loaded: LoadedGenerator, origin: dict[str, Any]) -> list[tuple[str, str]]:
    config, data = loaded.config, origin.get("dataset", {})
    figures, size = origin.get("evaluated", {}), data.get("size", "?")
    told = loaded.notes.get("training_data")
    photos = f"{data['count']:,} photos of {size} px" if isinstance(data.get("count"), int) else ""
    versions = ", ".join(f"{key} {origin[key]}" for key in ("facegan", "torch") if key in origin)
    facts = [
        ("images seen", f"{loaded.images_seen:,}"),
        ("photos", ": ".join(filter(None, [told, photos]))),
        ("SHA-256 of the photos' pixels", str(data.get("sha256", ""))),
        ("preset", config.preset if config.preset in PRESETS else ""),
        ("objective", f"{config.training.objective}, batch {config.training.batch_size}"),
        ("started from", str(origin.get("from", ""))),
        ("command", f"`{' '.join(origin['command'])}`" if "command" in origin else ""),
        ("with", versions),
        ("measured", _measured(figures)),
        ("weights", loaded.weights),
        ("SHA-256 of weights", weights_sha256(loaded.module)),
    ]
    return [(name, value) for name, value in facts if value]


def _measured(figures: dict[str, Any]) -> str:
    if not isinstance(figures.get("fd"), float) or not isinstance(figures.get("kid"), float):
        return ""
    return (
        f"FD {figures['fd']:.1f}, KID x1000 {1000 * figures['kid']:.1f} ({figures.get('extractor', '?')}, "
        f"{figures.get('samples', '?')} samples, {figures.get('photos', '?')} photos)"
    )
