"""The pictures that people make with a generator: sheets, morphs, equations and walks. Each function is one command."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import nn

from facegan import latents
from facegan.checkpoint import LoadedGenerator
from facegan.dataset import Pixels
from facegan.errors import FaceganError, UsageError
from facegan.images import EquationTerm, columns_for, enlarge, equation, grid, save_png, sheet, strip
from facegan.latents import Latents
from facegan.networks import build_critic
from facegan.synthesis import batches, critic_scores, draw_faces

MAX_SHEET = 2500
"""Most faces on one picture; more are drawn with --separate."""
MAX_WALK = 200_000
"""Most faces of a walk, over all its frames."""
FRAME_PIXELS = 384
"""Animations of small faces are enlarged by a whole factor to at most about this many pixels on a side."""


Progress = Callable[[int, int], None]
"""Told how many faces are drawn, of how many."""


def _unseen(done: int, total: int) -> None:
    pass


def _faces(loaded: LoadedGenerator, z: Latents, on_progress: Progress = _unseen) -> Pixels:
    return draw_faces(loaded.module, loaded.config.networks, z, on_progress)


def sample_latents(loaded: LoadedGenerator, seed: int, indices: range, truncation: float) -> Latents:
    """Latents number `indices` of `seed`, multiplied by `truncation`: nearer the average face, alike but cleaner.

    The truncation of Karras et al. 2019 (arXiv:1812.04948, appendix B), mean + psi·(z - mean), about the prior's mean,
    which is zero.
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
    on_progress: Progress = _unseen,
) -> Pixels:
    """The contact sheet of a seed, one picture of `count` faces.

    Args:
        by_score: those first that the generator's critic takes for the most real. Numbers stay the indices of latents.

    Raises:
        UsageError: more faces than one picture should hold.
        FaceganError: `by_score`, and the file has no critic.
    """
    if count > MAX_SHEET:
        raise UsageError(
            f"A sheet holds at most {MAX_SHEET:,} faces, not {count:,}.", "Add --separate for single files."
        )
    critic = _critic(loaded) if by_score else None
    z, order = sample_latents(loaded, seed, range(count), truncation), list(range(count))
    faces = _faces(loaded, z, on_progress)
    if critic is not None:
        order = (-critic_scores(critic, loaded.config.networks, faces)).argsort(kind="stable").tolist()
    return sheet(faces[order], numbers=order if numbers else False)


def _critic(loaded: LoadedGenerator) -> nn.Module:
    """The critic that came with a generator, beside it on its device."""
    if loaded.critic is None:
        raise FaceganError(
            f"{loaded.source} has no critic, so there are no scores to sort by.",
            "Name a checkpoint: the .pt files under runs/ have one.",
        )
    critic = build_critic(loaded.config)
    critic.load_state_dict(loaded.critic)
    return critic.to(next(loaded.module.parameters()).device)


def sample_separately(
    loaded: LoadedGenerator, folder: Path, *, count: int, seed: int, truncation: float = 1.0
) -> Iterator[Path]:
    """Write each face as `folder/seed0-00044.png`, in bounded memory; yields the paths as they are written."""
    chunk = 1024
    for start in range(0, count, chunk):
        z = sample_latents(loaded, seed, range(start, min(start + chunk, count)), truncation)
        number = start
        for faces in batches(loaded.module, loaded.config.networks, z):
            for face in faces:
                yield save_png(face, folder / f"seed{seed}-{number:05d}.png", new=True)
                number += 1


@dataclass(frozen=True)
class Morph:
    """A walk between faces: the faces (N, H, W, 3), and each one's share of its stretch."""

    faces: Pixels
    shares: list[float]

    def strip(self) -> Pixels:
        """All of them in one picture, the mixing factor under each."""
        return strip(self.faces, self.shares)

    def order(self, loop: bool) -> list[int]:
        """Which faces an animation shows: there and, unless the walk is a loop already, back again."""
        there = list(range(len(self.faces)))
        return there if loop else there + there[-2:0:-1]

    def frames(self, loop: bool) -> Iterator[Pixels]:
        """The faces of an animation, enlarged one by one."""
        for n in self.order(loop):
            yield enlarged(self.faces[n : n + 1], columns=1)[0]


def interpolate(
    loaded: LoadedGenerator,
    through: Sequence[str],
    *,
    steps: int,
    seed: int,
    method: str,
    loop: bool,
    on_progress: Progress = _unseen,
) -> Morph:
    """Morph through the faces that the SPECs name.

    Raises:
        UsageError: fewer than two SPECs, or one that is not a SPEC.
        FaceganError: a latent file that cannot be used.
    """
    if len(through) < 2:
        raise UsageError("A morph needs two faces or more.", "Give --through twice, such as --through 3 --through 17.")
    width = loaded.config.networks.latent_dim
    points = np.stack([_point(latents.parse_spec(spec, seed, width)) for spec in through])
    walk, shares = latents.path(points, steps, method, loop)
    return Morph(_faces(loaded, walk, on_progress), shares)


def _point(operand: latents.Operand) -> Latents:
    """One latent for a SPEC: itself, or for several their mean at the prior's norm."""
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
    on_progress: Progress = _unseen,
) -> tuple[Sum, Morph | None]:
    """The signed sum of SPECs, and the way to it.

    Args:
        terms: (+1 or -1, SPEC), in the order typed.
        raw: leave the sum's norm, and the norms of the means that are drawn, as they are.
        steps: when positive, also morph from the first operand that is added to the result in so many faces.

    Raises:
        UsageError: no term, or not a SPEC.
    """
    if not terms:
        raise UsageError("There is nothing to add.", "Give --plus and --minus, such as --plus 3,8 --minus 5.")
    width = loaded.config.networks.latent_dim
    operands = [latents.parse_spec(spec, seed, width) for _, spec in terms]
    signs = [sign for sign, _ in terms]
    result = latents.signed_sum(signs, [operand.mean for operand in operands], raw=raw)
    drawn = [operand.mean if raw else _point(operand) for operand in operands]
    faces = _faces(loaded, np.concatenate([*(operand.latents for operand in operands), np.stack([*drawn, result])]))
    counts = [len(operand.labels) for operand in operands]
    ends = np.cumsum(counts)
    columns = np.split(faces[: ends[-1]], ends[:-1])
    means = faces[ends[-1] :]
    pictures = [
        EquationTerm("+" if sign > 0 else "-", column, operand.labels, mean if len(column) > 1 else None)
        for sign, column, operand, mean in zip(signs, columns, operands, means, strict=False)
    ]
    outcome = Sum(equation(pictures, means[-1]), result, means[-1])
    if not steps:
        return outcome, None
    start = drawn[signs.index(1)] if 1 in signs else drawn[0]
    walk, shares = latents.path(np.stack([start, result]), steps, "slerp")
    return outcome, Morph(_faces(loaded, walk, on_progress), shares)


def walk(loaded: LoadedGenerator, *, faces: int, stops: int, steps: int, seed: int) -> Iterator[Pixels]:
    """A looped walk through latent space: `faces` faces side by side, each through `stops` latents of its own.

    Args:
        steps: frames from one stop to the next; stops*steps frames in all, the last one step short of the first.

    Raises:
        UsageError: more faces than anyone would wait for.
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
            yield grid(enlarged(_faces(loaded, z), columns_for(faces)), gap=4)


def enlarged(faces: Pixels, columns: int) -> Pixels:
    """Faces enlarged so that `columns` of them side by side are about FRAME_PIXELS wide, if they are not wider."""
    return enlarge(faces, max(1, FRAME_PIXELS // (columns * faces.shape[2])))
