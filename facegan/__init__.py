"""facegan: photos of faces in, a face generator out. `docs/python.md` shows how to use it from Python.

Public names are imported when they are first used, so that `import facegan` is quick and loads no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from facegan.core.errors import FaceganError as FaceganError
from facegan.core.errors import UsageError as UsageError
from facegan.core.version import __version__ as __version__

if TYPE_CHECKING:
    from facegan.api import Model as Model
    from facegan.api import evaluate as evaluate
    from facegan.api import load as load
    from facegan.api import preprocess as preprocess
    from facegan.api import sheet as sheet
    from facegan.api import train as train
    from facegan.presets import PRESETS as PRESETS
    from facegan.runs.events import Began as Began
    from facegan.runs.events import Logged as Logged
    from facegan.runs.events import Noted as Noted
    from facegan.runs.events import Stepped as Stepped
    from facegan.runs.events import Wrote as Wrote

_LATER = {
    "PRESETS": "facegan.presets",
    **dict.fromkeys(("Model", "evaluate", "load", "preprocess", "sheet", "train"), "facegan.api"),
    **dict.fromkeys(("Began", "Logged", "Noted", "Stepped", "Wrote"), "facegan.runs.events"),
}
"""Name -> the module that defines it."""


def __getattr__(name: str) -> object:
    if name not in _LATER:
        raise AttributeError(f"module 'facegan' has no attribute {name!r}")
    return getattr(import_module(_LATER[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_LATER})
