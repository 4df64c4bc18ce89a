"""Tells whether a training goes well: rows of metrics and sheets of faces in, warnings out; no networks, no files."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from statistics import median

import numpy as np
from numpy.typing import NDArray

Row = Mapping[str, float]

WINDOW = 50
"""How many successive rows must show a sign before it is reported: one bad step means nothing."""
STEEP, FLAT = 5.0, 0.05
"""Mean slopes. Above STEEP, the penalty does not hold the critic. Below FLAT, if the penalty wants a slope of 1, the
critic tells the generator next to nothing."""
LOUD = 1000.0
"""Scores beyond this that still double within the window run away. For comparison: two 64 px images are at most 222
apart (Euclidean distance of their pixels), and so are their scores if the critic's slope is 1."""
ALIKE = 3.0
"""In grey levels, 0 to 255: if the faces of a sheet differ less than this on average, they are all alike."""
MOVED = 2.0
"""In grey levels: if a sheet differs less than this from the first one, the generator does not learn."""
_READ = ("critic_real", "critic_fake", "wasserstein", "slope", "critic_loss")
_BORN = 20_000
"""Images seen before some signs count: at first every face is grey, and a critic may score fakes above real images."""


def spread(faces: NDArray[np.uint8]) -> float:
    """How much the faces of a sheet (N, H, W, 3) differ: the standard deviation over them, in levels of 255, averaged
    over pixels."""
    return float(faces.astype(np.float32).std(axis=0).mean())


def moved(before: NDArray[np.uint8], after: NDArray[np.uint8]) -> float:
    """How far two sheets are apart: the mean difference of their pixels, in levels of 255."""
    return float(np.abs(before.astype(np.float32) - after).mean())


def _loudness(row: Row) -> float:
    return max(abs(row["critic_real"]), abs(row["critic_fake"]))


def _runs_away(rows: Sequence[Row]) -> bool:
    loud = [_loudness(row) for row in rows]
    return min(loud[-10:]) > LOUD and median(loud[-10:]) >= 2 * median(loud[:10])


def _stands_still(rows: Sequence[Row]) -> bool:
    """Whether real and fake get the same scores, or losses never move: then there is nothing left to learn from."""
    losses = [row["critic_loss"] for row in rows]
    scale = 1e-6 * max(1.0, *(map(abs, losses)))
    return all(abs(row["wasserstein"]) <= 1e-6 * max(1.0, _loudness(row)) for row in rows) or (
        max(losses) - min(losses) <= scale
    )


Sign = tuple[Callable[[Sequence[Row]], bool], str]
_FLAT: Sign = (
    lambda rows: all(row["slope"] < FLAT for row in rows),
    f"the critic's mean slope has stayed below {FLAT:g}, and 1 is wanted: the critic tells the generator next to "
    "nothing; raise --critic-lr or --n-critic",
)
_SIGNS: tuple[Sign, ...] = (
    (
        _runs_away,
        "the critic's scores grow without bound: the critic runs away from the generator; "
        "lower --critic-lr or --n-critic, or raise --penalty-weight",
    ),
    (
        lambda rows: all(row["slope"] > STEEP for row in rows),
        f"the critic's mean slope has stayed above {STEEP:g}: the penalty does not hold the critic; "
        "raise --penalty-weight or lower --critic-lr",
    ),
    (
        lambda rows: rows[0].get("images_seen", 0) >= _BORN and all(row["wasserstein"] < 0 for row in rows),
        "the critic has long given the generator's faces higher scores than the real ones: it does not learn; "
        "raise --critic-lr or --n-critic, or lower --generator-lr",
    ),
    (
        _stands_still,
        "the losses do not move any more: the generator has nothing to learn from; "
        "start a new run with other learning rates and --from an older checkpoint",
    ),
)
_STILL = "the faces of the sample sheet do not change: the generator does not learn; raise --generator-lr"
_COLLAPSED = (
    "the faces of the sample sheet are all alike: the generator has collapsed; go back to an older checkpoint with "
    "--from, and lower --generator-lr or raise --n-critic"
)


class Health:
    """Watches one run, and gives each warning once.

    Args:
        rows: the rows that the run has logged before, if it goes on.
        slope: the slope that the run's penalty wants. If it is 0, a flat critic is no bad sign.
    """

    def __init__(self, rows: Iterable[Row] = (), slope: float = 1.0) -> None:
        self._signs = (*_SIGNS, _FLAT) if slope else _SIGNS
        rows = list(rows)
        self._goes_on = bool(rows)
        self._rows: deque[Row] = deque((row for row in rows if _whole(row)), WINDOW)
        self._said = {text for sign, text in self._signs if self._shows(sign)}
        self._first: NDArray[np.uint8] | None = None
        self._first_at = 0
        self._alike = 0
        self._widest = 0.0

    def _shows(self, sign: Callable[[Sequence[Row]], bool]) -> bool:
        return len(self._rows) == WINDOW and sign(list(self._rows))

    def after_row(self, row: Row) -> list[str]:
        """The new warnings after a row of finite metrics."""
        self._rows.append(row)
        return self._once(text for sign, text in self._signs if self._shows(sign))

    def after_sheet(self, images_seen: int, faces: NDArray[np.uint8]) -> list[str]:
        """The new warnings after a sheet of faces (N, H, W, 3) was drawn at `images_seen`.

        The generator has collapsed if the faces of two successive sheets are all alike, either after _BORN images or
        after a sheet that was much more varied. It does not learn if a sheet, at least _BORN images later, hardly
        differs from the first one that was drawn after the run's beginning, when batch norm's statistics have settled.
        """
        if images_seen and self._first is None and not self._goes_on:
            self._first, self._first_at = faces, images_seen
        old = self._first is not None and images_seen >= self._first_at + _BORN
        still = self._first is not None and old and moved(self._first, faces) < MOVED
        now = spread(faces)
        self._widest = max(self._widest, now)
        collapsed = now < ALIKE and (images_seen >= _BORN or self._widest > 4 * ALIKE)
        self._alike = self._alike + 1 if collapsed else 0
        return self._once([_COLLAPSED] if self._alike >= 2 else [_STILL] if still and not collapsed else [])

    def _once(self, texts: Iterable[str]) -> list[str]:
        new = [text for text in texts if text not in self._said]
        self._said.update(new)
        return new

    def why_not_finite(self, precision: str) -> tuple[str, str]:
        """The likely cause of a NaN or an infinity, from the rows before it, and what to change."""
        last = self._rows[-1] if self._rows else None
        if last and last["slope"] > STEEP:
            return f"the penalty no longer held the critic, whose slope was {last['slope']:.3g}", (
                "a higher --penalty-weight or a lower --critic-lr"
            )
        if last and _loudness(last) > LOUD:
            return f"the critic's scores had run away to {_loudness(last):.3g}", "a lower --critic-lr"
        if precision == "bf16":
            return "numbers in bf16 have few digits", "--precision fp32"
        return "the learning rates are probably too high", "a lower --critic-lr and --generator-lr"


def _whole(row: Row) -> bool:
    return all(isinstance(row.get(name), float) for name in _READ)
