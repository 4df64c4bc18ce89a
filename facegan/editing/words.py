"""Find faces by words: the generator's faces that fit them best, and whose other attributes balance each other."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from facegan.core.errors import FaceganError
from facegan.editing.attributes import Attributes
from facegan.editing.vocabulary import meaning
from facegan.faces.latents import Latents, Operand, draw, face_name
from facegan.faces.synthesis import draw_faces
from facegan.models.checkpoint import LoadedGenerator

AVERAGED = 10
"""How many faces stand for words."""
POOL = 4000
"""How many faces of a seed are looked through, by the linear scores of their latents."""
_DRAWN = 64
"""How many of them, those that fit best, are drawn and judged by the classifier."""
_SURE = 0.7
"""A face fits if the classifier gives each attribute at least this probability, or, of a number, its share of faces."""
_CLEAR = 1.2
"""The average of the chosen faces has each named attribute about so many standard deviations of its linear score."""


def faces_in_words(
    loaded: LoadedGenerator, attributes: Attributes, text: str, seed: int = 0, count: int = AVERAGED
) -> Operand:
    """Some faces of a seed that words fit: an operand of `count` latents, which are averaged.

    1. Of the first POOL faces of the seed those that most probably fit are taken, by the linear scores of their
       latents, and drawn; the classifier says which of them really fit.
    2. Among these, `count` are chosen whose average has the named attributes clearly, and of all other attributes as
       much as the named ones imply. What was not named then cancels in sums and differences of such averages.

    Args:
        text: as `vocabulary.meaning` reads it.
        seed: which faces are looked through. Labels are their names, as on the sheet of this seed.

    Raises:
        UsageError: the words cannot be understood, or name an attribute that is refused.
        FaceganError: fewer than three of the faces fit.
    """
    wanted = {attributes.find(name): sign for name, sign in said(attributes, text).items()}
    z = draw(seed, range(POOL), len(attributes.weights))
    best = np.argsort(-_likely(attributes, z, wanted), kind="stable")[:_DRAWN]
    scores = attributes.scores(draw_faces(loaded.module, loaded.config.networks, z[best]))
    fits = np.all([sign * (scores[:, at] - _least(attributes, at, sign)) >= 0 for at, sign in wanted.items()], axis=0)
    candidates = best[fits]
    if len(candidates) < 3:
        found = "none" if not len(candidates) else f"only {len(candidates)}"
        raise FaceganError(
            f"The generator draws hardly any {text!r}: {found} of the first {POOL:,} faces of seed {seed} are clear cases.",
            "Say less, or change a face by facegan edit.",
        )
    chosen = candidates[_balanced(attributes, z[candidates], wanted, min(count, len(candidates)))]
    return Operand(z[chosen], tuple(face_name(seed, int(n)) for n in chosen), " ".join(text.split()), described=True)


def said(attributes: Attributes, text: str) -> dict[str, int]:
    """What words say, as `vocabulary.meaning`, in terms of a generator's attributes."""
    return meaning(text, [attribute.name for attribute in attributes.known])


def in_names(wanted: Mapping[str, int]) -> str:
    """What words were understood as: "Smiling, not Male"."""
    return ", ".join(name if sign > 0 else f"not {name}" for name, sign in wanted.items())


def _least(attributes: Attributes, at: int, sign: int) -> float:
    """The standardised score from which on, in the direction of `sign`, a face clearly has an attribute, or lacks it."""
    if attributes.known[at].numeric:
        return sign * 0.5
    return float((sign * math.log(_SURE / (1 - _SURE)) - attributes.mean[at]) / attributes.std[at])


def _likely(attributes: Attributes, z: Latents, wanted: Mapping[int, int]) -> NDArray[np.float64]:
    """The logarithm of the probability that the faces of z fit, from what the linear scores leave open: (N,).

    A score is normal about z·w with variance 1 - R2, and those of several attributes are taken as independent.
    """
    total = np.zeros(len(z))
    for at, sign in wanted.items():
        spread = math.sqrt(max(1 - attributes.known[at].explained, 0.05))
        over = sign * (z @ attributes.weights[:, at] - _least(attributes, at, sign)) / spread
        total += [_log_normal(float(x)) for x in over]
    return total


def _log_normal(x: float) -> float:
    """log P(normal < x), for x far below zero too, where it is about -x²/2 - log(-x √(2π))."""
    return math.log(math.erfc(-x / math.sqrt(2)) / 2) if x > -30 else -x * x / 2 - math.log(-x * math.sqrt(2 * math.pi))


def _balanced(attributes: Attributes, z: Latents, wanted: Mapping[int, int], count: int) -> list[int]:
    """The numbers of `count` latents whose average has the named attributes clearly and the others in balance.

    The part of z across the weights of the named attributes, P z, has the scores P z · w of the others that the named
    ones do not imply. The sum of squares of the averages of these, and of the distances of the named scores from what
    is wanted, is minimised by exchanging one face at a time for another, as long as that helps.
    """
    w, named = attributes.weights.astype(np.float64), list(wanted)
    own = w[:, named]
    across = w - own @ np.linalg.lstsq(own, w, rcond=None)[0]
    clear = _CLEAR * np.array(list(wanted.values())) * np.linalg.norm(own, axis=0)
    errors = np.concatenate([z @ np.delete(across, named, axis=1), z @ own - clear], axis=1)
    chosen = list(range(count))
    total = errors[chosen].sum(0)
    while True:
        least, swap = float((total**2).sum()), None
        for place, n in enumerate(chosen):
            sums = ((total - errors[n] + errors) ** 2).sum(1)
            sums[chosen] = np.inf
            if (other := int(sums.argmin())) not in chosen and sums[other] < least - 1e-9:
                least, swap = float(sums[other]), (place, other)
        if swap is None:
            return sorted(chosen)
        total += errors[swap[1]] - errors[chosen[swap[0]]]
        chosen[swap[0]] = swap[1]
