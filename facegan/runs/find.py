"""Find the file to draw with or to go on from: the named or the newest one; if it is damaged, name another instead."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from facegan.core.errors import FaceganError, is_there, typed
from facegan.models.hub import download, parse_address
from facegan.models.pretrained import NAME, PATH
from facegan.runs.folder import RUNS, RunDir, is_run, numbered, run_in, start_again

if TYPE_CHECKING:
    import torch

    from facegan.models.checkpoint import Checkpoint, LoadedGenerator


def find_generator(given: Path | None, root: Path = RUNS) -> tuple[Path, str]:
    """The file to draw with, and a few words that say why it was chosen. This imports no torch.

    Args:
        given: what the user named. `pretrained` is the package's generator, and `hf://user/name` is downloaded from
            the Hub. None takes the newest run's weights under `root`, or the package's generator if there are none.

    Raises:
        FaceganError: a download failed, or the extra `hub` is missing.
    """
    if given is not None and str(given) == NAME:
        return PATH, "the pretrained generator"
    if given is not None:
        address = parse_address(str(given))
        return (download(address), str(address)) if address else (given, str(given))
    found = newest_weights(root)
    if found is None:
        return PATH, "the pretrained generator, as there is no run"
    return found, f"the newest {'checkpoint' if found.suffix == '.pt' else 'generator'}, {found}"


def newest_weights(root: Path = RUNS) -> Path | None:
    """The weights to draw with, from the newest run that has any. A run of which only the generator is left counts."""
    return next((found for run in reversed(numbered(root)) if (found := run.weights())), None)


def open_generator(path: Path, device: torch.device | str = "cpu") -> LoadedGenerator:
    """Open a file by `models.checkpoint.load_generator`, or the newest checkpoint in a run's folder.

    If a run has no checkpoint left, its generator.safetensors is opened.

    Raises:
        FaceganError: as in `load_generator`, with a hint that names what is left of the run; or the folder is no run.
    """
    from facegan.models.checkpoint import load_generator

    if is_there(path) and path.is_dir():
        run = RunDir(path)
        if not (is_run(path) or run.weights()):
            hint = run_in(path) or "Name a .pt, a .safetensors or a run directory."
            raise FaceganError(f"{path} is a folder, but not a run.", hint)
        path = run.weights() or run.newest_checkpoint()
    with _something_instead(path):
        return load_generator(path, device)


def open_checkpoint(path: Path) -> Checkpoint:
    """Open a checkpoint by `models.checkpoint.load_checkpoint`.

    Raises:
        FaceganError: as in `load_checkpoint`, with a hint that names what is left of the run.
    """
    from facegan.models.checkpoint import load_checkpoint

    with _something_instead(path):
        return load_checkpoint(path)


@contextmanager
def _something_instead(path: Path) -> Iterator[None]:
    from facegan.models.checkpoint import DamagedFile

    try:
        yield
    except DamagedFile as error:
        raise FaceganError(error.message, _instead_of(path, error.hint)) from None


def _instead_of(checkpoint: Path, outside: str) -> str:
    """The hint for a damaged checkpoint: what is left of its run, and how to go on from that.

    Args:
        outside: the hint for a checkpoint that is in no run.
    """
    run = RunDir(checkpoint.parent.parent)
    if not is_run(run.path):
        return outside
    *older, newest = [path for _, path in run.checkpoints()] or [checkpoint]
    if newest != checkpoint:
        return f"Name another checkpoint of the run, such as {newest}."
    if older:
        return (
            f"Name {older[-1]} instead; or to go on training from there, first rename the damaged one to "
            f"{checkpoint.name}.damaged, then: facegan train --run {typed(run.path)}"
        )
    return start_again(run) if run.generator.exists() else ""
