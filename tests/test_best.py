"""Runs that are evaluated while they train, and their best checkpoint."""

from __future__ import annotations

import sys

import pytest
from conftest import cli, write_dataset
from test_loop import OUTPUT, _tiny_presets, rows, train  # noqa: F401, the fixture is used by name
from test_trainer import assert_same

from facegan.core.errors import FaceganError
from facegan.evaluation.scores import Scores
from facegan.models.checkpoint import load_checkpoint
from facegan.runs.best import evaluated
from facegan.runs.events import Noted, Wrote
from facegan.runs.plan import plan_new, plan_resume

pytestmark = pytest.mark.precision

ASKED = {
    "training.images": 48, "training.epochs": None, **OUTPUT, "output.evaluate_every": 1, "output.evaluate_count": 12
}  # fmt: skip


@pytest.fixture(autouse=True)
def _quick(monkeypatch, tiny_extractor):
    monkeypatch.setattr("facegan.runs.best.OFFLINE", tiny_extractor)


@pytest.fixture
def distances(monkeypatch):
    """The Fréchet distances that evaluations will find, in turn."""
    values = []

    def scores(samples, photos):
        return Scores(fd=values.pop(0), kid=0.01, kid_std=None, precision=0, recall=0)

    monkeypatch.setattr("facegan.runs.best.scores", scores)
    return values


def test_evaluations_change_nothing_but_their_rows(workdir):
    write_dataset(workdir / "data/d", 10)
    with_them, _ = train(plan_new(workdir / "data/d", "dcgan", ASKED, "cpu"))
    without, _ = train(plan_new(workdir / "data/d", "dcgan", {**ASKED, "output.evaluate_every": 0}, "cpu"))
    a, b = (load_checkpoint(run.newest_checkpoint()) for run in (with_them, without))
    assert_same(a.state, b.state)
    found = [{k: v for k, v in row.items() if k not in ("fd", "kid")} for row in rows(with_them)]
    assert found == rows(without)
    measured = [row["images_seen"] for row in rows(with_them) if "fd" in row]
    assert measured == [12, 20, 32, 40, 48]  # the batches in which epochs of 10 images end, and the last one
    assert not without.best.exists()


def test_the_best_is_kept_whatever_is_thinned_and_known_to_a_run_that_goes_on(workdir, distances):
    write_dataset(workdir / "data/d", 10)
    distances += [50.0, 20.0, 30.0]
    asked = {**ASKED, "output.keep": 1}
    run, events = train(plan_new(workdir / "data/d", "dcgan", asked, "cpu"), stop_after=9)
    assert [seen for seen, _ in run.checkpoints()] == [32, 36]  # the newest whose turn it was, and the stop's
    assert load_checkpoint(run.best).images_seen == 20
    said = [event.text for event in events if isinstance(event, Noted)]
    assert any("FD 20.0, KID x1000 10.0 at 20 images, the best so far" in text for text in said)
    assert any("FD 30.0" in text and "the best FD so far is 20.0" in text for text in said)

    distances += [25.0, 15.0]
    run, events = train(plan_resume(run, {}, None))
    found = load_checkpoint(run.best)
    assert found.images_seen == 48
    assert [event.path for event in events if isinstance(event, Wrote)].count(run.best) == 1
    assert evaluated(run.best) == {
        "fd": 15.0, "kid": 0.01, "extractor": "tiny", "library": found.provenance["evaluated"]["library"],
        "samples": 12, "photos": 10,
    }  # fmt: skip
    assert_same(found.state, load_checkpoint(run.newest_checkpoint()).state)
    for path in (run.path, run.best):
        code, out, err = cli("info", path)
        assert code == 0, err
        assert "FD 15.0, KID x1000 10.0 (tiny, 12 samples, 10 photos)" in out
    assert cli("sample", run.best, "--count", "1")[0] == 0


@pytest.mark.parametrize("change", ["count", "damaged"])
def test_what_cannot_be_compared_is_replaced_and_said(workdir, distances, change):
    write_dataset(workdir / "data/d", 10)
    distances += [20.0, 90.0, 80.0, 85.0, 95.0]
    run, _ = train(plan_new(workdir / "data/d", "dcgan", ASKED, "cpu"), stop_after=3)
    assert evaluated(run.best)["fd"] == 20.0
    if change == "damaged":
        run.best.write_bytes(run.best.read_bytes()[:1000])
    going_on = {"output.evaluate_count": 9} if change == "count" else {}
    run, events = train(plan_resume(run, going_on, None))
    assert evaluated(run.best)["fd"] == 80.0
    said = [
        event.text for event in events if isinstance(event, Noted) and "the next evaluation replaces it" in event.text
    ]
    assert len(said) == 1


def test_a_missing_extra_is_said_before_a_run_is_made(workdir, monkeypatch):
    write_dataset(workdir / "data/d", 10)
    monkeypatch.setitem(sys.modules, "torch_fidelity", None)
    code, _, err = cli("train", "--evaluate-every", "1", "--device", "cpu")
    assert code == 1 and 'pip install "facegan[metrics]"' in err
    assert not (workdir / "runs").exists()


def test_too_few_photos_are_a_sentence(workdir):
    write_dataset(workdir / "data/d", 4)
    with pytest.raises(FaceganError, match="needs at least 5 photos"):
        train(plan_new(workdir / "data/d", "dcgan", ASKED, "cpu"))


def test_a_run_without_evaluations_needs_no_extra(workdir, monkeypatch):
    write_dataset(workdir / "data/d", 10)
    monkeypatch.setitem(sys.modules, "torch_fidelity", None)
    run, _ = train(plan_new(workdir / "data/d", "dcgan", {**ASKED, "output.evaluate_every": 0}, "cpu"))
    assert run.checkpoints()
