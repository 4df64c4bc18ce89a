"""The generator that ships with the package, and how a generator is found when none is named. No torch."""

from __future__ import annotations

from pathlib import Path

from facegan.rundir import RUNS, newest_checkpoint

NAME = "pretrained"
PATH = Path(__file__).parent / "celeba-64.safetensors"


def find_generator(given: Path | None, root: Path = RUNS) -> tuple[Path, str]:
    """Which file to draw with, and a few words that say why.

    Args:
        given: what the user named; `pretrained` is the package's generator, and None takes the newest checkpoint
            under `root`, or the package's generator where there is none.
    """
    if given is not None and str(given) == NAME:
        return PATH, "the pretrained generator"
    if given is not None:
        return given, str(given)
    found = newest_checkpoint(root)
    return (
        (found, f"the newest checkpoint, {found}") if found else (PATH, "the pretrained generator, as there is no run")
    )
