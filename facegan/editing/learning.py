"""Learn the attributes of a generator's faces: a classifier from photos, and from its labels the directions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from difflib import get_close_matches
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from facegan.core.errors import FaceganError, UsageError
from facegan.core.random_streams import Stream, rng
from facegan.data.columns import Column, read_columns
from facegan.data.dataset import Dataset
from facegan.editing.attributes import MOST, Attribute, Attributes, plain_name
from facegan.editing.classifier import STEPS, Classifier, learn, outputs, rounded
from facegan.editing.directions import edit
from facegan.editing.scorer import fit_scorer
from facegan.faces.latents import Latents
from facegan.faces.synthesis import draw_faces
from facegan.models.checkpoint import LoadedGenerator, weights_sha256

JUDGEMENTS = (
    *("Attractive", "Big_Lips", "Big_Nose", "Chubby", "Double_Chin", "Narrow_Eyes", "Pale_Skin", "Pointy_Nose"),
    *("race", "ethnicity"),
)
"""Columns that judge people by their looks or sort them by descent. They are learnt only if they are named."""
KEPT = ("Male", "Young", "Eyeglasses", "Smiling", "gender", "age")
"""What edits leave alone unless they are told otherwise, where a generator has it."""
LEAST_BALANCED = 0.65
"""Least balanced accuracy of the classifier on photos that it never saw."""
LEAST_R2 = 0.3
"""Least R2 of a number on photos that the classifier never saw."""
LEAST_EXPLAINED = 0.3
"""Least R2 of a score that is told from the latent alone, on latents from which that was not learnt."""
LEAST_DRAWN = 0.005
"""Least share of the generator's faces that have, and that lack, an attribute."""
STEPS_TRIED = 1.0, 1.2, 1.4, 1.7, 2.0
"""How many standard deviations a step of an edit may be."""
ENOUGH = 0.95
_WORTH = 0.02
"""By how much more a longer step must succeed to be taken: it also moves faces further from where they were."""
_MOSTLY = 0.6
"""Share of the generator's faces beyond which most have an attribute."""
_TRIED_ON = 100
_HELD_OUT = 10
"""One photo in so many is held out to measure the classifier."""
_FEWEST = 20
"""Fewest photos that have, and that lack, an attribute, among those that are learnt from."""
_RIDGE = 1e-3
"""Weight of |w|^2 beside the mean squared error, where latents and scores have variance 1."""
_BLOCK = 500
_MEASURED = 1 << 20
"""The block of latents on which side effects are measured; none so high is learnt from."""
_NOTABLE = 0.5
"""Least change of another attribute, in standard deviations, that is called a side effect."""

Progress = Callable[[str, int, int], None]
"""Called with what is being done, how much of it is done, and how much there is."""


def learn_attributes(
    loaded: LoadedGenerator,
    dataset_path: Path,
    *,
    columns: Sequence[str] | None = None,
    faces: int = 20_000,
    seed: int = 0,
    steps: int = STEPS,
    on_progress: Progress = lambda what, done, total: None,
    note: Callable[[str], None] = lambda text: None,
) -> Attributes:
    """Learn the attributes of a generator's faces from the table of a dataset.

    A classifier learns the columns from nine tenths of the photos, and is measured on the others. `directions_of` then
    finds where in latent space they are.

    Args:
        dataset_path: a dataset with attributes.csv, of photos like those that the generator was trained on.
        columns: names of columns to learn; None takes all but JUDGEMENTS.
        faces: how many faces of the generator are looked at.
        seed: of all randomness.
        steps: of the classifier's training.
        note: told which columns cannot be learnt, and why.

    Raises:
        FaceganError: the dataset has no table, none of its columns can be learnt, or it has too few photos.
        UsageError: a column that the table does not have, or that cannot be learnt.
    """
    dataset = Dataset(dataset_path, seed=0)
    order = rng(seed, Stream.CLASSIFIER, 1).permutation(len(dataset))
    held, chosen = np.split(order, [max(1, len(order) // _HELD_OUT)])
    if len(chosen) < 2 * _FEWEST:
        raise FaceganError(f"{dataset_path} has too few photos to learn attributes from: {len(dataset):,}.")
    taken = _chosen_columns(dataset, columns, chosen, note)
    classifier = learn(
        dataset.images,
        taken,
        chosen,
        seed=seed,
        steps=steps,
        on_progress=partial(on_progress, "learning from photos"),
    )
    found = outputs(classifier, dataset.images[np.sort(held)])
    known = [_measured(column, found[:, at], column.standardised()[np.sort(held)]) for at, column in enumerate(taken)]
    return directions_of(loaded, classifier, known, faces=faces, seed=seed, on_progress=on_progress)


def directions_of(
    loaded: LoadedGenerator,
    classifier: Classifier,
    known: Sequence[Attribute],
    *,
    faces: int = 20_000,
    seed: int = 0,
    on_progress: Progress = lambda what, done, total: None,
) -> Attributes:
    """The attributes of a generator by a classifier that is there already.

    The classifier's output for the face of each latent z is brought to mean 0 and standard deviation 1: its score s.
    Ridge regression finds the weights w with which the mean of (s - z'w)^2, plus |w|^2 / 1000, is least. A network
    (`editing.scorer`) learns from four fifths of the faces to tell the scores better than z'w does, and is measured on
    the others: `Attribute.explained`.

    Args:
        known: what the classifier's outputs are, and how often it is right; they are refused again or not.
    """
    z, raw = labelled_faces(loaded, classifier, faces, seed, on_progress)
    mean, std = raw.mean(0), raw.std(0)
    std = np.where(std > 0, std, 1).astype(np.float32)
    scores = (raw - mean) / std
    some = len(z) * 4 // 5
    told = partial(on_progress, "learning from faces")
    scorer = rounded(fit_scorer(z[:some], scores[:some], seed, told))
    with torch.no_grad():
        residual = scores[some:] - scorer(torch.from_numpy(z[some:])).numpy()
    explained = 1 - (residual**2).mean(0) / scores[some:].var(0).clip(1e-12)
    attributes = tuple(
        replace(attribute, explained=float(r2), refused=_refusal(attribute, float(r2), raw[:, at]))
        for at, (attribute, r2) in enumerate(zip(known, explained, strict=True))
    )
    usable = {attribute.name for attribute in attributes if not attribute.refused}
    keep = tuple(name for name in KEPT if name in usable)
    digest = weights_sha256(loaded.module)
    step = np.ones(len(attributes), np.float32)
    found = Attributes(attributes, _ridge(z, scores), mean, std, keep, classifier, digest, scorer, step)
    return replace(found, step=_steps(loaded, found, z, raw, on_progress))


def labelled_faces(
    loaded: LoadedGenerator, classifier: Classifier, count: int, seed: int, on_progress: Progress
) -> tuple[Latents, NDArray[np.float32]]:
    """Latents of the prior (N, latent_dim), and what the classifier says of their faces, (N, A)."""
    networks = loaded.config.networks
    latents, found = [], []
    for start in range(0, count, _BLOCK):
        on_progress("looking at faces", start, count)
        shape = min(_BLOCK, count - start), networks.latent_dim
        z = rng(seed, Stream.LABELLED, start // _BLOCK).standard_normal(shape, np.float32)
        latents.append(z)
        found.append(outputs(classifier, draw_faces(loaded.module, networks, z)))
    on_progress("looking at faces", count, count)
    return np.concatenate(latents), np.concatenate(found)


def _steps(
    loaded: LoadedGenerator, found: Attributes, z: Latents, raw: NDArray[np.float32], on_progress: Progress
) -> NDArray[np.float32]:
    """How many standard deviations of the score a step is, (A,).

    It is the shortest of STEPS_TRIED with which two steps give the attribute to 19 of 20 faces that lack it, or take it
    from those that have it if most do; or if none does, that beyond which hardly more faces change.
    """
    chosen = np.ones(len(found.known), np.float32)
    usable = [at for at, attribute in enumerate(found.known) if not (attribute.numeric or attribute.refused)]
    for number, at in enumerate(usable):
        on_progress("choosing steps", number, len(usable))
        sign = 1 if (raw[:, at] > 0).mean() < _MOSTLY else -1
        lacking = z[sign * raw[:, at] < 0][:_TRIED_ON]
        best = -_WORTH - 1.0
        for step in STEPS_TRIED:
            faces = edit(found, lacking, {found.known[at].name: 2 * sign * step})
            drawn = outputs(found.classifier, draw_faces(loaded.module, loaded.config.networks, faces))
            share = float((sign * drawn[:, at] > 0).mean())
            if share > best + _WORTH:
                best, chosen[at] = share, step
            if share >= ENOUGH:
                break
    on_progress("choosing steps", len(usable), len(usable))
    return chosen


def _ridge(z: Latents, scores: NDArray[np.float32]) -> NDArray[np.float32]:
    """The weights (latent_dim, A) of ridge regression."""
    gram = z.T.astype(np.float64) @ z / len(z) + _RIDGE * np.eye(z.shape[1])
    return np.linalg.solve(gram, z.T.astype(np.float64) @ scores / len(z)).astype(np.float32)


def _chosen_columns(
    dataset: Dataset, names: Sequence[str] | None, chosen: NDArray[np.int64], note: Callable[[str], None]
) -> list[Column]:
    """The columns to learn: those that are named, or all but JUDGEMENTS. What cannot be learnt is said."""
    columns, faults = read_columns(dataset.info)
    for column in columns:
        values = column.values[chosen]
        if column.numeric:
            few, told = int(np.isfinite(values).sum()), "only {} photos have a number"
        else:
            yes, no = int((values == 1).sum()), int((values == 0).sum())
            few, told = min(yes, no), "only {} photos " + ("have it" if yes < no else "lack it")
        if few < _FEWEST:
            faults[column.name] = f"{told.format(few)}, and {_FEWEST} are needed"
    judged, there = set(map(plain_name, JUDGEMENTS)), dict[str, str]()
    for name in dataset.info.attributes:
        if (other := there.setdefault(plain_name(name), name)) != name:
            faults[name] = f"its name is nearly that of {other}"
    if names is None:
        wanted = [name for name in dataset.info.attributes if plain_name(name) not in judged]
        for name in wanted:
            if name in faults:
                note(f"{name} is left out: {faults[name]}")
        wanted = [name for name in wanted if name not in faults]
    else:
        for name in names:
            if plain_name(name) not in there:
                near = get_close_matches(plain_name(name), there, 3, 0.5) or list(there)[:40]
                raise UsageError(
                    f"{dataset.info.path} has no column {name!r}.", f"It has {', '.join(there[word] for word in near)}."
                )
        wanted = list(dict.fromkeys(there[plain_name(name)] for name in names))
        for name in wanted:
            if name in faults:
                raise UsageError(f"{name} cannot be learnt: {faults[name]}.")
    by_name = {column.name: column for column in columns}
    if not 1 <= len(wanted) <= MOST:
        raise FaceganError(
            f"{dataset.info.path} has {len(wanted)} columns that can be learnt; there must be 1 to {MOST}.",
            "Choose some with --columns.",
        )
    return [by_name[name] for name in wanted]


def _measured(column: Column, found: NDArray[np.float32], wanted: NDArray[np.float32]) -> Attribute:
    """How often the classifier is right on photos that it never saw."""
    known = np.isfinite(wanted)
    found, wanted = found[known], wanted[known]
    if column.numeric:
        spread = float(((wanted - wanted.mean()) ** 2).mean()) if len(wanted) else 0.0
        r2 = 1 - float(((found - wanted) ** 2).mean()) / spread if spread else 0.0
        return Attribute(column.name, True, r2, 0.0, balanced=r2)
    right = (found > 0) == (wanted > 0.5)
    kinds = [right[wanted == kind] for kind in (0, 1)]
    balanced = float(np.mean([kind.mean() for kind in kinds])) if all(map(len, kinds)) else 0.5
    return Attribute(column.name, False, float(right.mean()) if len(right) else 0.0, 0.0, balanced=balanced)


def _refusal(attribute: Attribute, explained: float, raw: NDArray[np.float32]) -> str:
    """Why an attribute cannot be used; "" if it can."""
    floor = LEAST_R2 if attribute.numeric else LEAST_BALANCED
    if attribute.balanced < floor:
        measure = "R2" if attribute.numeric else "balanced accuracy"
        return (
            f"it cannot be told well enough from photos ({measure} {attribute.balanced:.2f}, at least {floor:g} needed)"
        )
    share = float((raw > 0).mean())
    if not attribute.numeric and not LEAST_DRAWN <= share <= 1 - LEAST_DRAWN:
        which = "with" if share < LEAST_DRAWN else "without"
        return f"the generator draws too few faces {which} it ({min(share, 1 - share):.1%})"
    if explained < LEAST_EXPLAINED:
        return f"it does not follow from the latent (R2 {explained:.2f}, at least {LEAST_EXPLAINED:g} needed)"
    return ""


SideEffects = dict[str, tuple[str, str]]
"""Attribute -> by how much an edit moves it, and which others it moves too, in words."""


def side_effects(
    loaded: LoadedGenerator,
    found: Attributes,
    *,
    amount: float = 2,
    count: int = 100,
    seed: int = 0,
    on_progress: Progress = lambda what, done, total: None,
) -> SideEffects:
    """What an edit of each attribute by `amount` moves on `count` faces, in standard deviations by the classifier.

    Others are named if they move by half a standard deviation or more; at most three, those that move most.
    """
    z = rng(seed, Stream.LABELLED, _MEASURED).standard_normal((count, found.weights.shape[0]), np.float32)
    before = found.scores(draw_faces(loaded.module, loaded.config.networks, z))
    usable = [at for at, attribute in enumerate(found.known) if not attribute.refused]
    told = {}
    for number, at in enumerate(usable):
        on_progress("measuring edits", number, len(usable))
        name = found.known[at].name
        faces = draw_faces(loaded.module, loaded.config.networks, edit(found, z, {name: amount}))
        moved = (found.scores(faces) - before).mean(0)
        others = [other for other in np.argsort(-np.abs(moved)) if other != at and abs(moved[other]) >= _NOTABLE]
        words = ", ".join(f"{found.known[other].name} {moved[other]:+.1f}" for other in others[:3])
        told[name] = f"{moved[at]:+.1f}", words
    return told
