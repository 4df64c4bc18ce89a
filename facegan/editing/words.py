"""Find faces by words: the generator's faces that fit them best, and whose other attributes balance each other."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from facegan.core.errors import FaceganError
from facegan.core.pixels import Pixels
from facegan.editing.attributes import Attributes, attributes_of
from facegan.editing.photos import is_photo
from facegan.editing.vocabulary import is_in_words, meaning
from facegan.faces.compose import critic_of
from facegan.faces.latents import Latents, Operand, draw, face_name, is_index, prior_norm
from facegan.faces.synthesis import critic_scores, draw_faces
from facegan.models.checkpoint import LoadedGenerator

AVERAGED = 10
"""How many faces stand for words."""
POOL = 6000
"""How many faces of a seed are looked through, by the linear scores of their latents."""
_AT_ONCE, _MOST = 96, 288
"""Faces are drawn and judged by the classifier so many at a time, up to so many, until there is enough choice."""
_CHOICE = 4
"""Enough to choose from: so many times as many as are averaged."""
_PROBABLE = 0.8
"""An attribute that a face has with this probability, by its linear score, is clear enough: the clearest of all would
be caricatures."""
_SURE = 0.7
"""A face fits if the classifier gives each yes or no at least this probability; a number must differ from the mean by
half a standard deviation."""
_CLEAR = 0.8
"""The average of the chosen faces has each named attribute at least so clearly, in standard deviations."""
_NAMED = 6.0
"""How much more a named attribute's distance from what is wanted counts than that of another."""


Note = Callable[[str], None]


def _unsaid(text: str) -> None:
    pass


def faces_in_words(
    loaded: LoadedGenerator,
    attributes: Attributes,
    text: str,
    seed: int = 0,
    count: int = AVERAGED,
    note: Note = _unsaid,
) -> Operand:
    """Some faces of a seed that words fit: an operand of `count` latents, which are averaged.

    1. Of the first POOL faces of the seed some that probably fit are taken, by the linear scores of their latents, and
       drawn; the classifier says which of them really fit.
    2. If the generator has its critic, only the half that the critic finds more real is kept, so that dissolved faces
       are left out.
    3. Among these, `count` are chosen whose average has the named attributes clearly, and of all other attributes as
       much as the named ones imply. What was not named then cancels in sums and differences of such averages.

    Args:
        text: as `vocabulary.meaning` reads it.
        seed: which faces are looked through. Labels are their names, as on the sheet of this seed.
        note: told if there are fewer clear cases than `count`, so that others have to do.

    Raises:
        UsageError: the words cannot be understood, or name an attribute that is refused.
    """
    wanted = {attributes.find(name): sign for name, sign in said(attributes, text).items()}
    z = draw(seed, range(POOL), len(attributes.weights))
    order = np.argsort(-_likely(attributes, z, wanted), kind="stable")[:_MOST]
    networks, critic = loaded.config.networks, None if loaded.critic is None else critic_of(loaded)
    margins, real = np.zeros(0), np.zeros(0)
    for start in range(0, len(order), _AT_ONCE):
        if (margins >= 0).sum() < _CHOICE * count:
            faces = draw_faces(loaded.module, networks, z[order[start : start + _AT_ONCE]])
            margins = np.concatenate([margins, _margins(attributes, faces, wanted)])
            if critic is not None:
                real = np.concatenate([real, critic_scores(critic, networks, faces)])
    fitting = np.flatnonzero(margins >= 0)
    if len(fitting) >= count:
        if critic is not None:
            kept = max(len(fitting), _CHOICE * count) // 2
            fitting = np.sort(fitting[np.argsort(-real[fitting], kind="stable")[:kept]])
        fitting = order[fitting]
        chosen = np.sort(fitting[_balanced(attributes, z[fitting], wanted, count)])
    else:
        note(
            f"{text!r}: only {len(fitting)} of the {POOL:,} faces looked through are clear cases; the nearest others "
            "make up the average"
        )
        chosen = np.sort(order[np.argsort(-margins, kind="stable")[:count]])
    labels, name = tuple(face_name(seed, int(n)) for n in chosen), " ".join(text.split())
    return Operand(z[chosen], labels, name, described=True, typical=_typical(attributes, z[chosen], wanted))


def find_words(loaded: LoadedGenerator, items: Iterable[str], seed: int, *, note: Note = _unsaid) -> dict[str, Operand]:
    """The faces of those items of SPECs that are words, and neither the number of a face, nor a file, nor a photo.

    Args:
        note: told how each was understood, and which faces were found.

    Raises:
        UsageError: as `faces_in_words`.
        FaceganError: there are words, and the generator has no attributes.
    """
    others = [item for item in items if item and not (is_index(item) or item.endswith(".npy") or is_photo(item))]
    if not others:
        return {}
    try:
        attributes = attributes_of(loaded)
    except FaceganError:
        if any(map(is_in_words, others)):
            raise
        return {}
    found = {}
    for item in others:
        if is_in_words(item, [attribute.name for attribute in attributes.known]):
            found[item] = faces_in_words(loaded, attributes, item, seed, note=note)
            note(f"{item!r} ({in_names(said(attributes, item))}) is the average of {', '.join(found[item].labels)}")
    return found


def said(attributes: Attributes, text: str) -> dict[str, int]:
    """What words say, as `vocabulary.meaning`, in terms of a generator's attributes."""
    return meaning(text, [attribute.name for attribute in attributes.known])


def in_names(wanted: Mapping[str, int]) -> str:
    """What words were understood as: "Smiling, not Male"."""
    return ", ".join(name if sign > 0 else f"not {name}" for name, sign in wanted.items())


def _margins(attributes: Attributes, faces: Pixels, wanted: Mapping[int, int]) -> NDArray[np.float32]:
    """How far faces are on the right side of where they clearly are as wanted, by the classifier, at worst: (N,)."""
    scores = attributes.scores(faces)
    return np.min([sign * (scores[:, at] - _least(attributes, at, sign)) for at, sign in wanted.items()], axis=0)


def _least(attributes: Attributes, at: int, sign: int, sure: float = _SURE) -> float:
    """The standardised score from which on, in the direction of `sign`, the classifier is so sure of an attribute."""
    if attributes.known[at].numeric:
        return sign * 0.5
    return float((sign * math.log(sure / (1 - sure)) - attributes.mean[at]) / attributes.std[at])


def _likely(attributes: Attributes, z: Latents, wanted: Mapping[int, int]) -> NDArray[np.float64]:
    """The logarithm of the probability that the faces of z fit, from what the linear scores leave open: (N,).

    A score is normal about z·w with variance 1 - R2, and those of several attributes are taken as independent. For each
    the probability counts up to _PROBABLE.
    """
    total = np.zeros(len(z))
    for at, sign in wanted.items():
        spread = math.sqrt(max(1 - _explained(attributes, at), 0.05))
        over = sign * (z @ attributes.weights[:, at] - _least(attributes, at, sign)) / spread
        total += [min(_log_normal(float(x)), math.log(_PROBABLE)) for x in over]
    return total


def _explained(attributes: Attributes, at: int) -> float:
    """R2 of the linear score z·w: its variance is |w|^2 where z is standard normal, and that of the score is 1."""
    return float((attributes.weights[:, at].astype(np.float64) ** 2).sum())


def _log_normal(x: float) -> float:
    """log P(normal < x), for x far below zero too, where it is about -x²/2 - log(-x √(2π))."""
    return math.log(math.erfc(-x / math.sqrt(2)) / 2) if x > -30 else -x * x / 2 - math.log(-x * math.sqrt(2 * math.pi))


def _typical(attributes: Attributes, z: Latents, wanted: Mapping[int, int]) -> Latents:
    """The average face of latents (K, latent_dim) that share the named attributes, at the prior's norm: (latent_dim,).

    Averaging shrinks what the latents do not share, by about sqrt(K), and leaves alone what they do. So only the part
    of the mean across the named attributes' weights is scaled up: were all of it, the average of ten people with
    glasses would be a caricature.
    """
    mean, own = z.mean(0, dtype=np.float64), attributes.weights[:, list(wanted)].astype(np.float64)
    shared = own @ np.linalg.lstsq(own, mean, rcond=None)[0]
    rest = mean - shared
    room = max(prior_norm(len(mean)) ** 2 - float(shared @ shared), 0.0)
    return np.asarray(shared + rest * math.sqrt(room / max(float(rest @ rest), 1e-12)), np.float32)


def _clear(attributes: Attributes, at: int, sign: int) -> float:
    """The linear score that the average of faces with an attribute, or without it, should have.

    It is that of typical such faces, E[z·w | sign s > sign b] = sign R2 φ(x) / (1 - Φ(x)) with x = sign b, for a
    standard normal score s, of which z·w explains R2, and b where yes begins; so a rare attribute asks for much. It is
    at least _CLEAR standard deviations, |w| each, so that the lack of something rare is seen as well.
    """
    x = sign * _least(attributes, at, sign, sure=0.5)
    density = math.exp(-x * x / 2) / math.sqrt(2 * math.pi)
    typical = _explained(attributes, at) * density / max(math.erfc(x / math.sqrt(2)) / 2, 1e-6)
    return sign * max(typical, _CLEAR * float(np.linalg.norm(attributes.weights[:, at])))


def _balanced(attributes: Attributes, z: Latents, wanted: Mapping[int, int], count: int) -> list[int]:
    """The numbers of `count` latents whose average has the named attributes clearly, and the others in balance.

    With w the weights of all attributes and t the scores that the named ones should have, the shortest latent that has
    these implies the scores c = w'W (W'W)^-1 t of all (W: the named columns of w). An attribute of which the named
    ones explain the share q should have the score q c: nearly that which is implied if the two are nearly one, as
    lipstick and woman are, and nearly none if not. The weighted sum of squares of the distances from that is minimised
    by exchanging one face at a time for another, as long as that helps.
    """
    w, named = attributes.weights.astype(np.float64), list(wanted)
    clear = np.array([_clear(attributes, at, sign) for at, sign in wanted.items()])
    shares = np.linalg.lstsq(w[:, named], w, rcond=None)[0]
    implied = w[:, named] @ shares
    explained = (implied**2).sum(0) / (w**2).sum(0)
    importance = np.ones(w.shape[1])
    importance[named] = _NAMED
    errors = (z @ w - explained * (clear @ shares)) * importance
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
            return chosen
        total += errors[swap[1]] - errors[chosen[swap[0]]]
        chosen[swap[0]] = swap[1]
