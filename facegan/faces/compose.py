"""The pictures that people make with a generator: sheets, morphs, equations and walks. Each function is one command.

`out` is the file that the picture will be written to. A picture too large for that file's format or for the memory is
refused before a face is drawn. `scale` is how many times faces are enlarged; left out, small ones are brought near 128
pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

import numpy as np
from torch import nn

from facegan.core.errors import FaceganError, UsageError
from facegan.core.pixels import Pixels
from facegan.faces import latents
from facegan.faces.latents import Latents
from facegan.faces.synthesis import batches, critic_scores, draw_faces
from facegan.models.checkpoint import LoadedGenerator
from facegan.networks import build_critic
from facegan.pictures.origin import Origin
from facegan.pictures.sheets import (
    EquationTerm,
    check_size,
    columns_for,
    enlarge,
    equation,
    equation_size,
    grid,
    save_png,
    sheet,
    sheet_size,
    strip,
    strip_size,
)

MAX_SHEET = 2500
"""Most faces on one picture; more are drawn with `sample --separate`."""
MAX_WALK = 200_000
"""Most faces of a walk, over all its frames."""
FRAME_PIXELS = 384
"""Animations of small faces are enlarged by a whole factor to at most about this many pixels on a side."""
_CHUNK = 1024
"""Faces that are held in memory at once where there may be millions."""


Progress = Callable[[int, int], None]
"""A function that is called with (faces drawn so far, faces in all)."""


def _unseen(done: int, total: int) -> None:
    pass


def _faces(loaded: LoadedGenerator, z: Latents, on_progress: Progress = _unseen) -> Pixels:
    return draw_faces(loaded.module, loaded.config.networks, z, on_progress)


def sample_latents(loaded: LoadedGenerator, seed: int, indices: Sequence[int], truncation: float) -> Latents:
    """The latents with these indices of `seed`, times `truncation`: below 1 faces are more alike, but cleaner.

    They come nearer to the average face. This is the truncation of Karras et al. 2019 (arXiv:1812.04948, appendix B),
    mean + psi·(z - mean), with the mean of the prior, which is zero.
    """
    z = latents.draw(seed, indices, loaded.config.networks.latent_dim)
    return z if truncation == 1 else z * np.float32(truncation)


def sample_sheet(
    loaded: LoadedGenerator,
    *,
    count: int,
    seed: int,
    numbers: bool = False,
    truncation: float = 1.0,
    by_score: bool = False,
    scale: int | None = None,
    chosen: latents.Operand | None = None,
    out: Path = Path("sheet.png"),
    on_progress: Progress = _unseen,
) -> Pixels:
    """Draw the contact sheet of a seed, one picture of `count` faces.

    Args:
        chosen: draw these faces instead of those of the seed.
        numbers: write under each face how a SPEC names it.
        by_score: begin with the faces that the generator's critic finds most real. Numbers stay the indices of latents.

    Raises:
        UsageError: there are more faces than one picture should hold.
        FaceganError: with `by_score`, the file has no critic; or the picture is too large for `out`.
    """
    if count > MAX_SHEET:
        raise UsageError(
            f"A sheet holds at most {MAX_SHEET:,} faces, not {count:,}.", "Add --separate for single files."
        )
    labels = list(chosen.labels) if chosen else [latents.face_name(seed, n) for n in range(count)]
    names = labels if numbers else None
    check_size(out, sheet_size(count, loaded.config.networks.size, names, scale))
    critic = critic_of(loaded) if by_score else None
    z = chosen.latents if chosen else sample_latents(loaded, seed, range(count), truncation)
    order = list(range(count))
    faces = _faces(loaded, z, on_progress)
    if critic is not None:
        order = (-critic_scores(critic, loaded.config.networks, faces)).argsort(kind="stable").tolist()
    return sheet(faces[order], [names[n] for n in order] if names else None, scale=scale)


def best_faces(
    loaded: LoadedGenerator,
    count: int,
    *,
    of: int,
    seed: int,
    truncation: float = 1.0,
    on_progress: Progress = _unseen,
) -> latents.Operand:
    """Those `count` of the first `of` faces of a seed that the generator's critic finds most real, the best first.

    Raises:
        UsageError: there are fewer faces than are wanted.
        FaceganError: the file has no critic.
    """
    if of < count:
        raise UsageError(f"{count:,} faces cannot be the best of {of:,}.", "Give a larger --of.")
    critic, networks, best = critic_of(loaded), loaded.config.networks, list[tuple[float, int]]()
    for start in range(0, of, _CHUNK):
        numbers = range(start, min(start + _CHUNK, of))
        faces = _faces(loaded, sample_latents(loaded, seed, numbers, truncation))
        scores = critic_scores(critic, networks, faces).tolist()
        best = sorted([*best, *zip(scores, numbers, strict=True)], key=lambda face: -face[0])[:count]
        on_progress(numbers.stop, of)
    chosen = [number for _, number in best]
    labels = tuple(latents.face_name(seed, number) for number in chosen)
    return latents.Operand(sample_latents(loaded, seed, chosen, truncation), labels, ",".join(labels))


def critic_of(loaded: LoadedGenerator) -> nn.Module:
    """The critic that came with a generator, on the generator's device. Raises: FaceganError: its file has none."""
    if loaded.critic is None:
        raise FaceganError(
            f"{loaded.source} has no critic, so there are no scores to sort by.",
            "Name a checkpoint, or pretrained: the .pt files under runs/ have one.",
        )
    critic = build_critic(loaded.config)
    critic.load_state_dict(loaded.critic)
    return critic.to(next(loaded.module.parameters()).device)


def sample_separately(
    loaded: LoadedGenerator,
    folder: Path,
    *,
    count: int,
    seed: int,
    truncation: float = 1.0,
    scale: int | None = None,
    chosen: latents.Operand | None = None,
    origin: Origin | None = None,
) -> Iterator[Path]:
    """Write each face as `folder/seed0-00044.png`, in bounded memory; yields the paths as they are written.

    Faces keep their size unless there is a `scale`. Those that are `chosen` are named by their places among these. Each
    file says which face of `origin` it is.
    """
    name = "face" if chosen else f"seed{seed}"
    for start in range(0, count, _CHUNK):
        numbers = range(start, min(start + _CHUNK, count))
        z = chosen.latents[numbers] if chosen else sample_latents(loaded, seed, numbers, truncation)
        number = start
        for faces in batches(loaded.module, loaded.config.networks, z):
            for face in faces:
                path = folder / f"{name}-{number:05d}.png"
                face_name = chosen.labels[number] if chosen else latents.face_name(seed, number)
                one = origin and replace(origin, face=face_name)
                yield save_png(enlarge(face, scale or 1), path, new=True, origin=one)
                number += 1


@dataclass(frozen=True)
class Morph:
    """A walk between faces.

    Attributes:
        faces: (N, H, W, 3).
        shares: N numbers, how far each face is on its stretch: 0 or 1 for key faces.
        names: one for each key face. A loop ends at its first face, so its last name is the first again.
        loop: after the last face comes the first.
        scale: how many times faces are enlarged; None if the user did not say.
    """

    faces: Pixels
    shares: list[float]
    names: list[str]
    loop: bool = False
    scale: int | None = None

    def strip(self) -> Pixels:
        """All faces in one picture, with names under key faces and mixing factors under the others.

        A loop ends with its first face again.
        """
        if not self.loop:
            return strip(self.faces, self.shares, self.names, scale=self.scale)
        faces = np.concatenate([self.faces, self.faces[:1]])
        return strip(faces, [*self.shares, 1.0], self.names, scale=self.scale)

    def order(self) -> list[int]:
        """Indices of the faces that an animation shows: there and, unless the walk is a loop, back again."""
        there = list(range(len(self.faces)))
        return there if self.loop else there + there[-2:0:-1]

    def frames(self) -> Iterator[Pixels]:
        """The faces of an animation, enlarged one by one."""
        factor = self.scale or frame_factor(self.faces.shape[2], columns=1)
        for n in self.order():
            yield enlarge(self.faces[n], factor)


def interpolate(
    loaded: LoadedGenerator,
    through: Sequence[str],
    *,
    steps: int,
    seed: int,
    method: str,
    loop: bool,
    scale: int | None = None,
    known: Mapping[str, latents.Operand] = MappingProxyType({}),
    out: Path = Path("strip.png"),
    on_progress: Progress = _unseen,
) -> Morph:
    """Morph through the faces that the SPECs name.

    Args:
        known: the faces of items of SPECs, such as photos and words, as in `latents.parse_spec`.

    Raises:
        UsageError: fewer than two SPECs, one that is not a SPEC, or more faces than one picture should hold.
        FaceganError: a latent file cannot be used, or the strip is too large for `out`. If the strip is small enough,
            so is the animation.
    """
    check_morph(loaded, through, steps, loop, scale, out)
    operands = [read_spec(loaded, spec, seed, known) for spec in through]
    points = np.stack(latents.alike([point(operand) for operand in operands]))
    walk, shares = latents.path(points, steps, method, loop)
    names = [operand.name for operand in (*operands, *operands[:loop])]
    return Morph(_faces(loaded, walk, on_progress), shares, names, loop, scale)


def check_morph(
    loaded: LoadedGenerator, through: Sequence[str], steps: int, loop: bool, scale: int | None, out: Path
) -> None:
    """Refuse what `interpolate` refuses, before photos among the faces are looked for."""
    if len(through) < 2:
        raise UsageError("A morph needs two faces or more.", "Give --through twice, such as --through 3 --through 17.")
    stretches = len(through) if loop else len(through) - 1
    shown = stretches * (steps - 1) + 1  # a loop shows its first face twice
    if shown > MAX_SHEET:
        most = (MAX_SHEET - 1) // stretches + 1
        fewer = f"Give --steps {most} or less." if most > 1 else "Give --through less often."
        raise UsageError(f"A strip holds at most {MAX_SHEET:,} faces, not {shown:,}.", fewer)
    check_size(out, strip_size(shown, loaded.config.networks.size, scale))


def read_spec(
    loaded: LoadedGenerator, spec: str, seed: int, known: Mapping[str, latents.Operand] = MappingProxyType({})
) -> latents.Operand:
    """The faces of a generator that a SPEC names, as in `latents.parse_spec`."""
    networks = loaded.config.networks
    return latents.parse_spec(spec, seed, networks.latent_dim, networks.latent_rows, known)


def point(operand: latents.Operand) -> Latents:
    """One latent for a SPEC: its only latent, or the mean of several, scaled to the prior's norm."""
    if operand.typical is not None:
        return operand.typical
    return operand.mean if len(operand.labels) == 1 else latents.normalise(operand.mean)


@dataclass(frozen=True)
class Sum:
    """The outcome of an arithmetic: the whole equation as one picture, and the result's latent and face."""

    picture: Pixels
    latent: Latents
    face: Pixels


def arithmetic(
    loaded: LoadedGenerator,
    terms: Sequence[tuple[int, str]],
    *,
    seed: int,
    raw: bool,
    steps: int = 0,
    scale: int | None = None,
    known: Mapping[str, latents.Operand] = MappingProxyType({}),
    out: Path = Path("equation.png"),
    on_progress: Progress = _unseen,
) -> tuple[Sum, Morph | None]:
    """The signed sum of SPECs, and the way to it.

    Args:
        terms: (+1 or -1, SPEC), in the order typed.
        raw: do not scale the sum, and the means that are drawn, to the prior's norm.
        steps: if positive, also draw a morph of so many faces, from the first operand with a plus to the result.
        known: as in `interpolate`.

    Raises:
        UsageError: no term, not a SPEC, or more faces than one picture should hold.
        FaceganError: a latent file cannot be used, or the picture is too large for `out`.
    """
    if not terms:
        raise UsageError("There is nothing to add.", "Give --plus and --minus, such as --plus 3,8 --minus 5.")
    if steps > MAX_SHEET:
        raise UsageError(f"A strip holds at most {MAX_SHEET:,} faces, not {steps:,}.", "Give a smaller --steps.")
    side = loaded.config.networks.size
    operands = [read_spec(loaded, spec, seed, known) for _, spec in terms]
    signs = [sign for sign, _ in terms]
    counts = [len(operand.labels) for operand in operands]
    if sum(counts) > MAX_SHEET:
        raise UsageError(f"An equation holds at most {MAX_SHEET:,} faces, not {sum(counts):,}.", "Average fewer.")
    drawn_signs = ["+" if sign > 0 else "-" for sign in signs]
    check_size(out, equation_size(list(zip(drawn_signs, counts, strict=True)), side, scale))
    if steps:
        check_size(out, strip_size(steps, side, scale))
    result = latents.signed_sum(signs, [operand.mean for operand in operands], raw=raw)
    drawn = [operand.mean if raw else point(operand) for operand in operands]
    given = [operand.latents for operand in operands]
    faces = _faces(loaded, np.concatenate(latents.alike([*given, *(z[None] for z in (*drawn, result))])), on_progress)
    ends = np.cumsum(counts)
    columns = np.split(faces[: ends[-1]], ends[:-1])
    drawn_means = faces[ends[-1] :]
    pictures = [
        EquationTerm(sign, column, operand.labels, mean if len(column) > 1 else None, operand.caption)
        for sign, column, operand, mean in zip(drawn_signs, columns, operands, drawn_means, strict=False)
    ]
    outcome = Sum(equation(pictures, drawn_means[-1], scale=scale), result, drawn_means[-1])
    if not steps:
        return outcome, None
    start = signs.index(1) if 1 in signs else 0
    walk, shares = latents.path(np.stack(latents.alike([drawn[start], result])), steps, "slerp")
    return outcome, Morph(_faces(loaded, walk, on_progress), shares, [operands[start].name, "result"], scale=scale)


def walk(loaded: LoadedGenerator, *, faces: int, stops: int, steps: int, seed: int) -> Iterator[Pixels]:
    """A looped walk through latent space: `faces` faces side by side, each through `stops` latents of its own.

    Args:
        steps: frames from one stop to the next. There are stops*steps frames in all, and the first follows the last.

    Raises:
        UsageError: there would be more than MAX_WALK faces.
    """
    if faces * stops * steps > MAX_WALK:
        raise UsageError(
            f"{stops * steps:,} frames of {faces} faces are more than a walk should have.",
            f"Keep --faces times --stops times --steps below {MAX_WALK:,}.",
        )
    return _walk(loaded, faces, stops, steps, seed)


def _walk(loaded: LoadedGenerator, faces: int, stops: int, steps: int, seed: int) -> Iterator[Pixels]:
    def point(face: int, stop: int) -> Latents:
        return latents.draw(seed, [face * stops + stop % stops], loaded.config.networks.latent_dim)[0]

    for stop in range(stops):  # one stretch at a time, and its frames one by one: a walk may have thousands
        ends = [np.stack([point(n, stop), point(n, stop + 1)]) for n in range(faces)]
        stretch = np.stack([latents.path(pair, steps + 1, "slerp")[0][:steps] for pair in ends], axis=1)
        for z in stretch:
            pictures = _faces(loaded, z)
            yield grid(enlarge(pictures, frame_factor(pictures.shape[2], columns_for(faces))), gap=4)


def frame_factor(across: int, columns: int) -> int:
    """The factor that makes `columns` faces side by side about FRAME_PIXELS wide, or 1 where they are wider."""
    return max(1, FRAME_PIXELS // (columns * across))
