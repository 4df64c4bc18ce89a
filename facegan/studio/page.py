"""The page's files, and what the page must know of the generator."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

from facegan.core.errors import FaceganError
from facegan.editing.components import components
from facegan.export.html import COMPONENTS, page_facts
from facegan.studio.session import Studio

STATIC = Path(__file__).parent / "static"
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
    found, directions = studio.attributes, 0
    named = not isinstance(found, FaceganError)
    if not named:
        with suppress(FaceganError):  # a family without components
            directions = min(COMPONENTS, len(components(studio.loaded.module)))
    return page_facts(studio.loaded, word, studio.sha256, found, directions) | {
        "models": [name for name in studio.models if name],
        "can": {"photo": True, "training": True, "film": True, "words": named},
    }
