"""Draw latents, walk between them, average and add them. This module knows no network and needs no torch.

Latents are float32 arrays (N, latent_dim). The prior is N(0, I), so almost all of its mass lies near the sphere of
radius sqrt(latent_dim). The generator has hardly ever seen a point well inside that sphere, such as an average.

The latent of a face that was found in a photo may be wide: one latent for each place where the latent enters the
generator, side by side, (N, latent_rows * latent_dim). On such latents all functions work as on others.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from facegan.core.atomic import atomic_path
from facegan.core.errors import FaceganError, UsageError, one_line
from facegan.core.random_streams import Stream, rng

Latents = NDArray[np.float32]

MAX_INDEX, MAX_SEED = 2**31 - 1, 2**63 - 1
MAX_LATENTS = 2500
"""Most latents in one file or SPEC: each is drawn as a face of its own."""
MAX_VALUE = 1e6
"""Largest number of a latent; those of the prior stay below ten."""

_MAKE = "`facegan arithmetic --save` writes such a file."


def draw(seed: int, indices: Sequence[int] | range, latent_dim: int) -> Latents:
    """Draw the latents with these indices of a seed: (len(indices), latent_dim), ~ N(0, I).

    Each index has its own stream, so latent 44 has the same bits alone, in a sheet of 100, and on any device.
    """
    out = np.empty((len(indices), latent_dim), np.float32)
    for row, index in enumerate(indices):
        out[row] = rng(seed, Stream.LATENT, index).standard_normal(latent_dim, np.float32)
    return out


def prior_norm(latent_dim: int) -> float:
    """The radius near which N(0, I) has almost all of its mass: sqrt(latent_dim)."""
    return float(np.sqrt(latent_dim))


def normalise(z: Latents) -> Latents:
    """Scale each row of z to the prior's norm; a zero stays zero, since it has no direction to keep."""
    norms = np.linalg.norm(z.astype(np.float64), axis=-1, keepdims=True)
    scale = np.divide(prior_norm(z.shape[-1]), norms, out=np.zeros_like(norms), where=norms > 0)
    return (z * scale).astype(np.float32)


def lerp(a: Latents, b: Latents, t: float) -> Latents:
    """The straight line: (1 - t)*a + t*b. Exactly a at 0 and b at 1; shorter than both ends in between."""
    return ((1 - t) * a.astype(np.float64) + t * b.astype(np.float64)).astype(np.float32)


def slerp(a: Latents, b: Latents, t: float) -> Latents:
    """Go along the great circle between the directions of a and b, while the norm goes linearly from |a| to |b|.

    direction = (sin((1-t)w)*a/|a| + sin(t w)*b/|b|) / sin w, with w the angle between them (Shoemake 1985, section
    3.3; for latents White 2016, arXiv:1609.04468). Exactly a at 0 and b at 1. Equal directions give the straight line.
    Opposite directions have no unique great circle, and the way then leads over a fixed perpendicular.

    Args:
        a, b: (latent_dim,), finite.
        t: share of the way, in [0, 1].
    """
    if t in (0, 1):
        return (b if t else a).copy()
    p, q = a.astype(np.float64), b.astype(np.float64)
    norm_p, norm_q = np.linalg.norm(p), np.linalg.norm(q)
    if norm_p == 0 or norm_q == 0:
        return lerp(a, b, t)
    p, q = p / norm_p, q / norm_q
    # The part of q perpendicular to p. Its length and the cosine give the angle; arccos loses digits near 0 and pi.
    cosine = float(p @ q)
    across = q - cosine * p
    sine = float(np.linalg.norm(across))
    if sine < 1e-7:
        if cosine > 0 or p.size == 1:
            return lerp(a, b, t)
        axis = np.zeros_like(p)
        axis[np.argmin(np.abs(p))] = 1
        across = axis - (axis @ p) * p
    across /= np.linalg.norm(across)
    angle = t * np.arctan2(sine, cosine)
    direction = np.cos(angle) * p + np.sin(angle) * across
    return (direction * ((1 - t) * norm_p + t * norm_q)).astype(np.float32)


METHODS = {"slerp": slerp, "lerp": lerp}


def alike(faces: Sequence[Latents]) -> list[Latents]:
    """Latents of equal widths: if one is wide, the others are repeated for each place where a latent enters."""
    width = max(z.shape[-1] for z in faces)
    return [np.concatenate([z] * (width // z.shape[-1]), axis=-1) for z in faces]


def path(points: Latents, steps: int, method: str = "slerp", loop: bool = False) -> tuple[Latents, list[float]]:
    """A walk through `points`, `steps` latents from each to the next with both ends counted.

    Args:
        points: (K, latent_dim), K >= 2.
        steps: latents per stretch, >= 2; the end of one stretch is the start of the next and appears once.
        method: a name in METHODS.
        loop: also walk back from the last point to the first, and leave out the first at the end, so that a repeated
            animation does not stand still there.

    Returns:
        The latents, and for each its share of the way from one point to the next: 0 at a point, 0.5 half-way. The last
        point of a walk that does not loop has 1.
    """
    between = METHODS[method]
    ends = [*points, points[0]] if loop else list(points)
    walk: list[Latents] = []
    shares: list[float] = []
    for a, b in pairwise(ends):
        for i in range(steps - 1):
            walk.append(between(a, b, i / (steps - 1)))
            shares.append(i / (steps - 1))
    if not loop:
        walk.append(ends[-1])
        shares.append(1.0)
    return np.stack(walk), shares


def signed_sum(signs: Sequence[int], operands: Sequence[Latents], *, raw: bool = False) -> Latents:
    """The sum of sign*operand, then scaled once to the prior's norm, unless `raw`.

    Vector arithmetic after Radford et al. 2016 (arXiv:1511.06434, section 6.3.2). If it is not scaled, the result of
    few operands lies inside or outside the sphere that the generator knows.

    Args:
        signs: +1 or -1 each.
        operands: (latent_dim,) each: the average of each SPEC.
    """
    wide = [z.astype(np.float64) for z in alike(operands)]
    total = np.sum([s * z for s, z in zip(signs, wide, strict=True)], axis=0).astype(np.float32)
    return total if raw else normalise(total)


@dataclass(frozen=True)
class Operand:
    """A SPEC that was read: its latents (K, latent_dim), a label for each, and their arithmetic mean.

    A label is what a user can type for the latent without --seed, `44` or `7:44`; for a file it is the file's stem.

    Attributes:
        name: the whole SPEC in such labels; a range stays a range, and words stay words.
        described: whether faces were named by words, so that the name says what they have in common.
        typical: (latent_dim,), a better latent than the scaled mean to stand for all of them alone, if one is known.
    """

    latents: Latents
    labels: tuple[str, ...]
    name: str
    described: bool = False
    typical: Latents | None = None

    @property
    def mean(self) -> Latents:
        """(latent_dim,): the plain average; its norm shrinks as sqrt(1/K) for independent latents."""
        return self.latents.mean(0, dtype=np.float64).astype(np.float32)

    @property
    def caption(self) -> str:
        """What is written under the average of several: "average of 10", after the words that named them, if any."""
        average = f"average of {len(self.labels)}"
        return f"{self.name} ({average})" if self.described else average


def face_name(seed: int, index: int) -> str:
    """How a SPEC names this face without --seed: `44` for seed 0, else `7:44`."""
    return f"{seed}:{index}" if seed else str(index)


_INDEX = re.compile(r"(?:(\d+):)?(\d+)(?:-(\d+))?")


def is_index(item: str) -> bool:
    """Whether an item of a SPEC is the number of a face, or a range of them."""
    return _INDEX.fullmatch(item) is not None


def items_of(specs: Iterable[str]) -> list[str]:
    """All items of SPECs, each once, in their order; an item may be empty."""
    return list(dict.fromkeys(item.strip() for spec in specs for item in spec.split(",")))


def parse_spec(
    spec: str, seed: int, latent_dim: int, rows: int = 1, known: Mapping[str, Operand] = MappingProxyType({})
) -> Operand:
    """Read a SPEC such as `44,7:51,60-69,smile.npy`.

    Items: an index on the contact sheet of `seed`; SEED:INDEX; a range of either, FIRST-LAST, both counted; a .npy
    file with (latent_dim,) or (K, latent_dim), or wide ones; or a key of `known`.

    Args:
        rows: how many latents a face of the generator may have.
        known: the faces of items that only the caller can read, such as photos and words.

    Raises:
        UsageError: it is not a SPEC.
        FaceganError: a file is missing or holds no such latents.
    """
    parts: list[Latents] = []
    labels: list[str] = []
    names: list[str] = []
    described = False
    if (whole := spec.strip()) in known:
        return known[whole]
    for item in spec.split(","):
        item = item.strip()
        if not item:
            raise UsageError(f"There is an empty item in {spec!r}.", "Write it as 44 or 44,7:51,smile.npy.")
        if match := _INDEX.fullmatch(item):
            item_seed = _number(match[1], MAX_SEED, "Seed") if match[1] else seed
            first = _number(match[2], MAX_INDEX, "Index")
            last = _number(match[3], MAX_INDEX, "Index") if match[3] else first
            if last < first:
                raise UsageError(f"The range {item} ends before it begins.", f"Write it as {last}-{first}.")
            if last - first >= MAX_LATENTS:
                raise UsageError(f"{item} are {last - first + 1:,} faces; a SPEC has at most {MAX_LATENTS:,}.")
            indices = range(first, last + 1)
            parts.append(draw(item_seed, indices, latent_dim))
            labels += [face_name(item_seed, index) for index in indices]
            names.append(face_name(item_seed, first) + (f"-{last}" if match[3] else ""))
        elif item in known or item.endswith(".npy"):
            found = known.get(item) or from_file(item, load_latents(Path(item), latent_dim, rows))
            parts.append(found.latents)
            labels += found.labels
            names.append(found.name)
            described |= found.described
        else:
            where = "" if item == spec else f" in {spec!r}"
            raise UsageError(
                f"{item[:80]!r}{where} is not an index such as 44, a range such as 1-10, SEED:INDEX such as 7:44, a "
                '.npy file, a photo, or words such as "smiling woman".',
                "`facegan sample --count 100 --number` draws a sheet of faces with their indices.",
            )
    if len(labels) > MAX_LATENTS:
        raise UsageError(f"{spec[:80]!r} are {len(labels):,} faces; a SPEC has at most {MAX_LATENTS:,}.")
    return Operand(np.concatenate(alike(parts)), tuple(labels), ",".join(names), described)


def from_file(name: str, z: Latents) -> Operand:
    """Latents (K, width) that a file stands for, under its stem."""
    return Operand(z, (Path(name).stem,) * len(z), Path(name).stem)


def _number(digits: str, most: int, what: str) -> int:
    if len(digits) > 19 or int(digits) > most:  # Python refuses to convert thousands of digits
        raise UsageError(f"{what} {digits[:40]} is too large.", f"The largest is {most}.")
    return int(digits)


def load_latents(path: Path, latent_dim: int | None = None, rows: int = 1) -> Latents:
    """Read a .npy file of finite numbers as (K, latent_dim) or (K, rows * latent_dim). Nothing is unpickled.

    Args:
        latent_dim: of the generator; None takes latents of any width.
    """
    if not path.is_file():  # a device or a pipe could be read for ever
        raise FaceganError(f"{path} is not a file." if path.exists() else f"{path} does not exist.", _MAKE)
    try:
        # The file is mapped, so that a header that promises more than the file holds raises before memory is taken.
        with np.errstate(over="ignore"):
            z = np.lib.format.open_memmap(path, mode="r")
    except OSError as error:
        raise FaceganError(f"{path} cannot be read: {error.strerror or error}.") from None
    except Exception as error:  # a damaged header can raise nearly any exception
        raise FaceganError(f"{path} is not a .npy file of plain numbers: {one_line(error)[:200]}.", _MAKE) from None
    try:
        return _checked(z, latent_dim, rows, path)
    finally:
        z._mmap.close()  # type: ignore[attr-defined]  # Windows cannot replace a mapped file


def _checked(z: NDArray[np.generic], latent_dim: int | None, rows: int, path: Path) -> Latents:
    """Copy the latents as float32 (K, latent_dim); a FaceganError says why they cannot be used."""
    if z.dtype.kind not in "fiu" or z.ndim not in (1, 2):
        raise FaceganError(f"{path} does not hold one latent or a list of them.", _MAKE)
    if z.size == 0:
        raise FaceganError(f"{path} is empty.")
    if latent_dim is not None and z.shape[-1] not in (latent_dim, rows * latent_dim):
        raise FaceganError(
            f"{path} holds latents of width {z.shape[-1]}; this generator takes {latent_dim}.",
            "Name the generator that it was made with.",
        )
    if len(z) > MAX_LATENTS and z.ndim == 2:
        raise FaceganError(f"{path} holds {len(z):,} latents; a file has at most {MAX_LATENTS:,}.")
    wide = np.atleast_2d(z).astype(np.float64)
    if not np.isfinite(wide).all():
        raise FaceganError(f"{path} holds values that are not finite.")
    if np.abs(wide).max() > MAX_VALUE:
        raise FaceganError(f"{path} holds values beyond {MAX_VALUE:,.0f}, which no latent has.")
    return wide.astype(np.float32)


def distinct_stems(photos: Sequence[Path]) -> list[str]:
    """What the latents of photos are called: the photos' stems; those that came before get a number: me, me-2, me-3."""
    found: list[str] = []
    for photo in photos:
        stem = photo.stem.replace(",", "") or "photo"  # a comma would end an item of a SPEC
        number, new = 1, stem
        while new in found:
            number += 1
            new = f"{stem}-{number}"
        found.append(new)
    return found


def save_latent(z: Latents, path: Path, *, new: bool = False) -> Path:
    """Write a latent as .npy, whole or not at all; a SPEC can name the file. `new`: never replace a file."""
    with atomic_path(path, new=new) as temporary:
        np.save(temporary, z, allow_pickle=False)
    return path
