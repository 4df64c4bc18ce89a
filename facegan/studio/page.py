"""The page's files, and what the page must know of the generator."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from facegan.core.errors import FaceganError
from facegan.editing.components import components
from facegan.studio.session import Studio

STATIC = Path(__file__).parent / "static"
_COMPONENTS = 12
"""How many directions without names a generator without attributes shows."""
CONTENT_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".webp": "image/webp",
    ".gif": "image/gif",
    ".mp4": "video/mp4",
}


def page() -> dict[str, bytes]:
    """All files of the page by their names. They are read once: no name that a browser sends ever becomes a path."""
    return {path.name: path.read_bytes() for path in STATIC.iterdir() if path.suffix in CONTENT_TYPES}


def facts(studio: Studio, word: str) -> dict[str, Any]:
    """What the page must know before it shows anything, as JSON.

    Args:
        word: how commands name the generator.
    """
    networks = studio.networks
    named = not isinstance(studio.attributes, FaceganError)
    return {
        "word": word,
        "sha256": studio.sha256[:16],
        "latent_dim": networks.latent_dim,
        "rows": networks.latent_rows,
        "size": networks.size,
        "models": [name for name in studio.models if name],
        "attributes": _attributes(studio),
        "can": {"photo": True, "training": True, "film": True, "words": named},
    }


def _attributes(studio: Studio) -> dict[str, Any]:
    """The names of the generator's attributes; or why there are none, and how many components are in their place."""
    found = studio.attributes
    if isinstance(found, FaceganError):
        try:
            count = min(_COMPONENTS, len(components(studio.loaded.module)))
        except FaceganError:
            count = 0
        return {"known": [], "components": count, "error": found.message, "hint": found.hint}
    known = [
        {
            "name": attribute.name,
            "explained": round(attribute.explained, 3),
            "refused": attribute.refused,
        }
        for attribute in found.known
    ]
    return {"known": known, "components": 0, "keep": list(found.keep)}
