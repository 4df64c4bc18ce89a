"""The generator that ships with the package, and how a generator is found when none is named. No torch."""

from __future__ import annotations

from pathlib import Path

from facegan.runs.folder import RUNS, newest_weights

NAME = "pretrained"
PATH = Path(__file__).parent / "celeba-64.safetensors"


def find_generator(given: Path | None, root: Path = RUNS) -> tuple[Path, str]:
    """Which file to draw with, and a few words that say why.

    Args:
        given: what the user named; `pretrained` is the package's generator, and None takes the newest run's
            under `root`, or the package's generator where there is none.
    """
    if given is not None and str(given) == NAME:
        return PATH, "the pretrained generator"
    if given is not None:
        return given, str(given)
    found = newest_weights(root)
    if found is None:
        return PATH, "the pretrained generator, as there is no run"
    return found, f"the newest {'checkpoint' if found.suffix == '.pt' else 'generator'}, {found}"
