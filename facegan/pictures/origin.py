"""How a picture was made, written into its file, so that it can be made again: the command, the seed, the generator.

A PNG holds it in text chunks, a JPEG or WebP in EXIF, a GIF in its comment; an MP4 does not hold it. It names files
without their folders, and nothing else of the machine.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from facegan.core.errors import FaceganError, reading, visible
from facegan.core.strictjson import parse_json
from facegan.core.version import __version__
from facegan.pictures.opening import PhotoError, glance, reasons
from facegan.pictures.photos import MAX_FILE_BYTES

_KEY = "facegan"
"""Keyword of the PNG text chunk, and the first entry of the JSON object in every format."""
_DESCRIPTION, _SOFTWARE = 0x010E, 0x0131
"""EXIF tags, which hold ASCII."""
_LONGEST = 50_000
"""Most characters of an origin: longer ones are neither written nor read. A command of thirty photos has some
thousand, and EXIF holds 65,533 bytes."""


@dataclass(frozen=True)
class Origin:
    """How a picture was made.

    Attributes:
        command: the words after `facegan` with which it is made again. Files are named without their folders.
        seed: of the latents, or of the search for a photo's latents.
        generator: its file's name, `pretrained` or an address on the Hub.
        sha256: of the generator's weights, as `facegan info` shows it for a generator.
        face: how a SPEC names the face, if the picture is one face.
        version: of facegan.
    """

    command: tuple[str, ...]
    seed: int
    generator: str
    sha256: str
    face: str = ""
    version: str = __version__

    def to_json(self) -> str:
        """One line of ASCII, which every format can hold."""
        generator = {"name": self.generator, "sha256": self.sha256}
        face = {"face": self.face} if self.face else {}
        return json.dumps(
            {_KEY: self.version, "command": self.command, "seed": self.seed, "generator": generator, **face}
        )

    @classmethod
    def from_json(cls, text: object, where: str) -> Origin:
        """Raises: FaceganError: this is nothing that `to_json` made."""
        data = parse_json(text, where)
        try:
            command, generator = data["command"], data["generator"]
            found = cls(
                tuple(command), data["seed"], generator["name"], generator["sha256"], data.get("face", ""), data[_KEY]
            )
            texts = (*found.command, found.generator, found.sha256, found.face, found.version)
            sound = isinstance(command, list) and type(found.seed) is int and all(isinstance(x, str) for x in texts)
        except (KeyError, TypeError):
            sound = False
        if not sound:
            raise FaceganError(f"{where} is damaged.")
        return found

    def facts(self) -> list[tuple[str, str]]:
        """(name, value) pairs to show. Words of the command are quoted, so that pasting a stranger's is safe."""
        facts = [
            ("made by", f"facegan {self.version}"),
            ("command", shlex.join(["facegan", *self.command])),
            ("seed", str(self.seed)),
            ("face", self.face),
            ("generator", self.generator),
            ("SHA-256 of weights", self.sha256),
        ]
        return [(name, visible(value)) for name, value in facts if value]


def saving(suffix: str, origin: Origin | None) -> dict[str, Any]:
    """The keywords with which Pillow's `save` writes an origin into a file of this suffix, such as ".png"."""
    if origin is None or suffix not in _SAVING or len(origin.to_json()) > _LONGEST:
        return {}
    return _SAVING[suffix](origin)


def _text_chunks(origin: Origin) -> dict[str, Any]:
    chunks = PngInfo()
    chunks.add_text("Software", f"facegan {origin.version}")
    chunks.add_text(_KEY, origin.to_json())
    return {"pnginfo": chunks}


def _exif(origin: Origin) -> dict[str, Any]:
    exif = Image.Exif()
    exif[_SOFTWARE] = f"facegan {origin.version}"
    exif[_DESCRIPTION] = origin.to_json()
    return {"exif": exif.tobytes()}


def _comment(origin: Origin) -> dict[str, Any]:
    return {"comment": origin.to_json().encode("ascii")}


_SAVING: dict[str, Callable[[Origin], dict[str, Any]]] = {
    ".png": _text_chunks,
    ".jpg": _exif,
    ".jpeg": _exif,
    ".webp": _exif,
    ".gif": _comment,
}


def read_origin(path: Path) -> tuple[tuple[int, int], Origin | None]:
    """Width and height of a picture, and how it was made; None if its file does not say that facegan made it.

    Raises:
        FaceganError: it is no picture, may not be read, or what it says is damaged.
    """
    with reading(path):
        if path.stat().st_size > MAX_FILE_BYTES:
            raise FaceganError(f"{path} is too large for a picture: {path.stat().st_size:,} bytes.")
        data = path.read_bytes()
    try:
        with reasons(data):
            picture, _ = glance(data)
            text = _said(picture)
    except PhotoError as error:
        raise FaceganError(f"{path} cannot be read as a picture: {error}.") from None
    if not text.startswith(f'{{"{_KEY}"'):
        return picture.size, None
    where = f"{path}: its metadata"
    if len(text) > _LONGEST:
        raise FaceganError(f"{where} is damaged: it has {len(text):,} characters.")
    return picture.size, Origin.from_json(text, where)


def _said(picture: Image.Image) -> str:
    """The text in which facegan would have written an origin; "" if there is none."""
    found = picture.info.get(_KEY) or picture.info.get("comment") or picture.getexif().get(_DESCRIPTION) or ""
    if isinstance(found, bytes):
        return found.decode("ascii", errors="replace")
    return found if isinstance(found, str) else ""
