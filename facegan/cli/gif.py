"""facegan gif."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from facegan.cli import console, options
from facegan.core.errors import FaceganError, typed

if TYPE_CHECKING:
    from facegan.cli.outputs import Output
    from facegan.core.pixels import Pixels
    from facegan.pictures.origin import Origin
    from facegan.runs.folder import RunDir

Paths = Optional[list[Path]]  # noqa: UP045, typer reads it at run time
_KINDS = (".gif", ".mp4", ".webp")
_OF_A_WALK = ("faces", "stops", "steps", "seed", "device", "no_metadata")
_A_WALK = "Leave it out, or name a checkpoint, a generator or 'pretrained' to walk with."


def gif(
    ctx: typer.Context,
    what: Annotated[
        Paths,
        typer.Argument(
            metavar="[RUN | CKPT | PICTURES...]",
            help="A run: its progress. A checkpoint, a generator or 'pretrained': a looped walk through faces. "
            "Pictures: these in turn. Default: the newest run, else the generator that ships with facegan.",
            show_default=False,
        ),
    ] = None,
    fps: options.Fps = 12,
    faces: Annotated[int, typer.Option(min=1, max=100, help="Walk: faces side by side.")] = 9,
    stops: Annotated[int, typer.Option(min=2, max=10_000, help="Walk: faces that each one passes through.")] = 4,
    steps: Annotated[int, typer.Option(min=1, max=10_000, help="Walk: frames from one stop to the next.")] = 12,
    seed: options.Seed = 0,
    full_size: Annotated[
        bool,
        typer.Option(
            "--full-size", help="Pictures: keep their size; else large ones are scaled down to 1,280 pixels a side."
        ),
    ] = False,
    device: options.Device = "auto",
    out: Annotated[
        options.OptionalPath,
        typer.Option(
            metavar="PATH",
            help="What to write, a .gif, .mp4 or .webp. Default: the next free name under outputs/.",
            show_default=False,
        ),
    ] = None,
    overwrite: options.Overwrite = False,
    no_metadata: options.NoMetadata = False,
) -> None:
    """Make a GIF, MP4 or WebP: a run's progress, a walk through faces, or pictures of yours."""
    from facegan.cli.outputs import Output, origin
    from facegan.pictures.animation import LONGEST, check_animation, read_pictures, scaled_size, survey

    file = Output(out, "gif", _KINDS, overwrite)
    run = _run_of(what or [])
    pictures = what if what and not run and not _is_generator(what) else None
    for folder in (path for path in pictures or [] if path.is_dir()):
        raise FaceganError(f"{folder} is a folder, not a picture.", _instead_of(folder))
    if run or pictures:
        kind = f"the progress of {run.path}" if run else "pictures"
        options.refuse(ctx, *_OF_A_WALK, without=f"is for a walk through faces, and this is {kind}", hint=_A_WALK)
    if not pictures:
        options.refuse(ctx, "full_size", without="is for pictures, and none are named", hint="Leave it out.")
    if run:
        from facegan.runs.progress_animation import write_progress

        console.note(f"the progress of {run.path}")
        with console.Progress("frames", "writing") as bar:
            written = file.write(partial(write_progress, run, fps=fps, on_progress=bar.show))
        console.wrote([written])
    elif pictures:
        longest = None if full_size else LONGEST
        count, own_size = survey(pictures)
        if (size := scaled_size(own_size, longest)) != own_size:
            console.note(f"camera-size pictures are scaled down to {LONGEST:,} pixels a side; --full-size keeps them")
        smaller = "Leave out --full-size." if full_size else ""
        check_animation(file.path, count, size, smaller)
        _write(file, "writing", partial(read_pictures, pictures, longest), count, fps)
    else:
        loaded = options.open_generator(what[0] if what else None, device)
        from facegan.faces.compose import walk

        frames = partial(walk, loaded, faces=faces, stops=stops, steps=steps, seed=seed)
        made = origin(ctx, loaded, without=no_metadata, generator="what")
        _write(file, "drawing", frames, stops * steps, fps, made)


def _write(
    file: Output,
    what: str,
    frames: Callable[[], Iterable[Pixels]],
    count: int,
    fps: float,
    made: Origin | None = None,
) -> None:
    """Write frames. If another command has just taken the file's name, they are made again for another name."""
    from facegan.pictures.animation import write_animation

    def write(path: Path, *, new: bool) -> Path:
        with console.Progress("frames", what) as bar:
            return write_animation(bar.each(frames(), count), path, fps=fps, expected=count, new=new, origin=made)

    console.wrote([file.write(write)])


def _run_of(what: list[Path]) -> RunDir | None:
    """The run whose progress is to be shown, if the arguments mean one."""
    from facegan.runs.folder import RunDir, is_run, runs

    if not what:
        return next((run for run in reversed(runs()) if run.samples()), None)
    return RunDir(what[0]) if len(what) == 1 and is_run(what[0]) else None


def _instead_of(folder: Path) -> str:
    """The hint for a folder among the pictures."""
    from facegan.runs.folder import is_run, run_in

    if is_run(folder):
        return f"It is a run; to show its progress, name it alone: facegan gif {typed(folder)}"
    return run_in(folder) or f"Name the pictures in it: facegan gif {typed(folder)}/*.png"


def _is_generator(what: list[Path]) -> bool:
    from facegan.models.hub import parse_address
    from facegan.models.pretrained import NAME

    if len(what) != 1:
        return False
    return str(what[0]) == NAME or what[0].suffix in (".pt", ".safetensors") or parse_address(str(what[0])) is not None
