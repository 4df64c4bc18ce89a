"""The precision in which a run computes, on processors that compute in bfloat16 themselves and on others."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from conftest import cli, write_dataset

from facegan.runs.folder import newest_run
from facegan.runs.plan import plan_new, plan_resume

pytestmark = pytest.mark.precision

TRAIN = ["train", "--width", "4", "--critic-width", "4", "--batch-size", "4", "--images", "8", "--device", "cpu"]
PROBED = {"native": "1", "emulated": "0"}


@pytest.fixture(params=PROBED)
def processor(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The probe for native bf16, forced on and forced off."""
    become(request.param, monkeypatch)
    return request.param


def become(processor: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACEGAN_CPU_BF16", PROBED[processor])


def written() -> str:
    return json.loads((newest_run().path / "config.json").read_text())["training"]["precision"]


def test_auto_never_stands_in_a_run(workdir, processor):
    """It is what the processor computes in itself, and is said at the start and by --dry-run."""
    write_dataset(workdir / "data/d", 10)
    expected = {"native": "bf16", "emulated": "fp32"}[processor]
    assert f'"precision": "{expected}"' in cli(*TRAIN, "--dry-run")[1]
    code, _, err = cli(*TRAIN)
    assert code == 0, err
    assert written() == expected and f"device: cpu (1 thread), {expected}" in err
    provenance = json.loads((newest_run().path / "provenance.json").read_text())
    assert provenance["precision"] == expected
    assert "emulates" not in err


@pytest.mark.parametrize("other", PROBED)
def test_a_run_keeps_its_precision_on_another_processor(workdir, processor, other, monkeypatch):
    write_dataset(workdir / "data/d", 10)
    assert cli(*TRAIN)[0] == 0
    before = written()
    become(other, monkeypatch)
    code, _, err = cli("train", "--resume", "--images", "16")
    assert code == 0, err
    assert written() == before
    assert ("bf16, which cpu only emulates" in err) == (before == "bf16" and other == "emulated")
    assert "not bit for bit" not in err


def test_a_precision_that_is_asked_for_is_taken(workdir, processor):
    write_dataset(workdir / "data/d", 10)
    for asked in ("fp32", "bf16"):
        plan = plan_new(Path("data/d"), None, {"training.precision": asked}, "cpu")
        assert plan.config.training.precision == asked
        assert any("emulates" in note for note in plan.notes) == (asked == "bf16" and processor == "emulated")


def test_the_precision_of_a_generator_is_not_that_of_the_run_it_starts(workdir, monkeypatch):
    write_dataset(workdir / "data/d", 10)
    become("native", monkeypatch)
    assert cli(*TRAIN)[0] == 0
    assert written() == "bf16"
    become("emulated", monkeypatch)
    plan = plan_new(Path("data/d"), None, {}, "cpu", start=newest_run().path)
    assert plan.config.training.precision == "fp32"


def test_going_on_may_not_change_it(workdir, processor):
    write_dataset(workdir / "data/d", 10)
    assert cli(*TRAIN)[0] == 0
    other = {"bf16": "fp32", "fp32": "bf16"}[written()]
    code, _, err = cli("train", "--resume", "--images", "16", "--precision", other)
    assert code == 1
    assert "training.precision cannot change in a run that goes on" in err
    code, _, err = cli("train", "--resume", "--images", "12", "--precision", "auto")
    assert code == 0 and written() != other, err
    assert plan_resume(newest_run(), {"training.images": 16}, "cpu").trainer().precision == written()
