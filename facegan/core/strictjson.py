"""Read JSON that a stranger may have written: of limited length, in UTF-8, without NaN; any fault is one sentence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NoReturn

from facegan.core.errors import FaceganError, is_there, reading

MAX_BYTES = 4 << 20
"""facegan's own files have a few kilobytes; a file longer than this would only fill the memory."""


def read_json(path: Path, hint: str = "") -> dict[str, Any]:
    """The JSON object in a file.

    Raises:
        FaceganError: it is not a file, may not be read, is longer than MAX_BYTES, or is not a JSON object in UTF-8.
        FileNotFoundError: there is no such file; the caller knows what that means.
    """
    if is_there(path) and not path.is_file():  # a device or a pipe could be read for ever
        raise FaceganError(f"{path} is not a file.", hint)
    try:
        with reading(path), path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        raise FaceganError(f"{path} is broken: it is not text in UTF-8.", hint) from None
    if len(raw) > MAX_BYTES:
        raise FaceganError(f"{path} is broken: it is longer than {MAX_BYTES:,} bytes.", hint)
    return parse_json(text, str(path), hint)


def parse_json(text: object, where: str, hint: str = "") -> dict[str, Any]:
    """The JSON object in a text. Messages begin with `where`, the name of the place that the text comes from.

    Raises:
        FaceganError: it is not a text, not JSON, nested too deeply, or not an object.
    """
    if not isinstance(text, str):
        raise FaceganError(f"{where} is not text.", hint)
    try:
        value = json.loads(text, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise FaceganError(f"{where} is broken, not valid JSON: {error}.", hint) from None
    if not isinstance(value, dict):
        raise FaceganError(f"{where} is broken: it is not a JSON object.", hint)
    return value


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number")
