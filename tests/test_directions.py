"""Edits of scores whose truth is known, and components of weights."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import tiny

from facegan.core.errors import FaceganError, UsageError
from facegan.editing.attributes import Attribute, Attributes
from facegan.editing.classifier import Classifier
from facegan.editing.components import component, components
from facegan.editing.directions import edit, edited
from facegan.editing.scorer import Scorer, fit_scorer
from facegan.faces.latents import draw
from facegan.networks import build_generator

D = 16


@pytest.fixture(scope="module")
def made() -> Attributes:
    """Scores along straight lines, of which the first two are at no right angle, and a refused one."""
    names = ("Smiling", "Male", "Young", "Bald")
    known = tuple(Attribute(name, False, 1.0, 1.0, "too few" if name == "Bald" else "") for name in names)
    weights = np.random.default_rng(3).standard_normal((D, 4)).astype(np.float32)
    weights[:, 1] += weights[:, 0]
    weights /= np.linalg.norm(weights, axis=0)
    scorer = Scorer(D, 4).requires_grad_(False)
    for parameter in scorer.parameters():
        parameter.zero_()
    scorer.linear.weight.copy_(torch.from_numpy(weights.T))
    zeros, ones = np.zeros(4, np.float32), np.ones(4, np.float32)
    return Attributes(known, weights, zeros, ones, ("Male", "Young", "Smiling"), Classifier(4), "", scorer, ones)


def test_an_edit_moves_its_score_keeps_others_and_is_short(made):
    z = draw(1, range(50), D)

    def moved(changes, keep=None):
        return edit(made, z, changes, keep) - z

    dz = moved({"smiling": 1})
    assert (dz @ made.weights[:, :3]).mean(0) == pytest.approx([1, 0, 0], abs=0.25)
    assert np.linalg.norm(moved({"smiling": 1}, keep=[])) < np.linalg.norm(dz)
    both = moved({"smiling": 0.5, "male": -1})
    assert (both @ made.weights[:, :3]).mean(0) == pytest.approx([0.5, -1, 0], abs=0.25)
    assert moved({}) == pytest.approx(0, abs=1e-5)
    twice = replace(made, step=np.array([1, 2, 1, 1], np.float32))
    assert edit(twice, z, {"male": 0.5}) == pytest.approx(edit(made, z, {"male": 1}))


@pytest.mark.parametrize(
    ("changes", "keep", "sentence"),
    [
        ({"smile": 1}, None, "no attribute 'smile'"),
        ({"bald": 1}, None, "too few"),
        ({"smiling": 1, "Smiling": 1}, None, "named twice"),
        ({"smiling": 1}, ["Smiling"], "changed and kept"),
        ({"smiling": 1}, ["nose"], "no attribute 'nose'"),
    ],
)
def test_what_cannot_be_changed_is_said(made, changes, keep, sentence):
    with pytest.raises(UsageError, match=sentence):
        edit(made, draw(0, [0], D), changes, keep)


def test_a_step_keeps_the_norm_and_zero_changes_nothing():
    z, dz = draw(0, range(5), D), draw(1, [0], D)[0]
    assert edited(z, np.zeros(D, np.float32)) == pytest.approx(z, abs=1e-6)
    moved = edited(z, dz)
    assert np.linalg.norm(moved, axis=1) == pytest.approx(np.linalg.norm(z, axis=1), rel=1e-5)
    wide = np.concatenate([z[0], z[1], z[2]])
    beside = wide + np.tile(dz, 3)
    assert edited(wide, dz) == pytest.approx(beside * np.linalg.norm(wide) / np.linalg.norm(beside), rel=1e-4)


@pytest.fixture(scope="module")
def curved(made: Attributes) -> Attributes:
    """Scores that are no straight lines, told by a scorer that has learnt them."""
    z = draw(9, range(4000), D)
    w = made.weights
    scores = (z @ w + 0.4 * np.sin(z @ np.roll(w, 1, axis=0))).astype(np.float32)
    return replace(made, scorer=fit_scorer(z, scores))


def test_a_scorer_knows_its_slopes(curved):
    z = draw(1, range(3), D)
    scores, slopes = curved.scorer.with_slopes(z.astype(np.float64), [2, 0])
    inputs = torch.from_numpy(z)
    assert scores == pytest.approx(curved.scorer(inputs)[:, [2, 0]].numpy(), abs=1e-5)
    expected = torch.func.vmap(torch.func.jacrev(lambda x: curved.scorer(x)[[2, 0]]))(inputs)
    assert slopes == pytest.approx(expected.numpy(), abs=1e-4)


def test_an_edit_follows_the_curve_of_each_face(curved):
    z = draw(2, range(20), D)
    before, _ = curved.scorer.with_slopes(z, [0, 1, 2])
    for amount in (-1.5, 1.5):
        moved = edit(curved, z, {"smiling": amount})
        after, _ = curved.scorer.with_slopes(moved, [0, 1, 2])
        assert (after - before).mean(0) == pytest.approx([amount, 0, 0], abs=0.45)
        assert np.linalg.norm(moved, axis=1) == pytest.approx(np.linalg.norm(z, axis=1), rel=1e-4)
    assert edit(curved, z, {"smiling": 0}) == pytest.approx(z, abs=1e-3)
    assert edit(curved, z[0], {"smiling": 1}).shape == (D,)
    assert edit(curved, z[0], {"smiling": 1}) == pytest.approx(edit(curved, z[:3], {"smiling": 1})[0], abs=1e-5)
    wide = np.concatenate([z[:2]] * 3, axis=1)
    assert edit(curved, wide, {"smiling": 1}) == pytest.approx(
        np.tile(edit(curved, z[:2], {"smiling": 1}), 3), abs=1e-4
    )


@pytest.mark.parametrize("preset", ["dcgan-r3gan", "keras-faces-64"])
def test_components_are_the_directions_that_change_most(preset):
    torch.manual_seed(0)
    generator = build_generator(tiny(preset))
    found = components(generator)
    assert found @ found.T == pytest.approx(np.eye(8), abs=1e-5)
    weights = [layer.weight.detach().numpy() for _, layer in generator.latent_layers()]
    strength = sum(((weight @ found.T) ** 2).sum(0) / (weight**2).sum() for weight in weights)
    assert list(strength) == sorted(strength, reverse=True)
    assert (np.take_along_axis(found, np.abs(found).argmax(1)[:, None], 1) > 0).all()
    assert component(found, {1: 2, 3: -1}) == pytest.approx(2 * found[0] - found[2])
    for number in (0, 9):
        with pytest.raises(FaceganError, match=f"no component {number}"):
            component(found, {number: 1})
