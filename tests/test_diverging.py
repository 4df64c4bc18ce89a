"""Training that goes wrong: nothing bad is saved, the user is told, and the run stops or goes back."""

from __future__ import annotations

import re

import pytest
import torch
from conftest import write_dataset
from test_loop import OUTPUT, _tiny_presets, rows, train  # noqa: F401, the fixture serves here too
from test_trainer import assert_same

from facegan.core.errors import FaceganError
from facegan.models.checkpoint import load_checkpoint
from facegan.runs.events import Noted
from facegan.runs.loop import MOST_ROLLBACKS, Loop
from facegan.runs.open_run import open_run
from facegan.runs.plan import plan_new, plan_resume
from facegan.training.trainer import Trainer

pytestmark = pytest.mark.precision

ROLL_BACK = {**OUTPUT, "training.on_nan": "rollback", "training.epochs": None, "training.images": 48}


def poison(monkeypatch, at_step: int, times: int = 10**9, then=None) -> list[int]:
    """Step number `at_step` spoils the critic, as often as it is done, up to `times`; returns the noise's counts."""
    met: list[int] = []
    compute = Trainer.compute

    def spoiled(self, reals, noise):
        metrics = compute(self, reals, noise)
        if self.step_number == at_step:
            met.append(self.rollbacks)
            if len(met) <= times:
                tensor = (then or (lambda trainer: trainer.critic.score.weight))(self)
                with torch.no_grad():
                    tensor[(0,) * tensor.ndim] = float("nan")
        return metrics

    monkeypatch.setattr(Trainer, "compute", spoiled)
    return met


def spoil_moment(trainer):
    return next(iter(trainer.generator_optimiser.state.values()))["exp_avg_sq"]


def spoil_average(trainer):
    return trainer.average.module.to_rgb.weight


def spoil_statistics(trainer):
    return trainer.generator.base_norm.running_var


@pytest.mark.parametrize("where", [spoil_moment, spoil_average, spoil_statistics])
def test_no_tensor_escapes_the_check(workdir, monkeypatch, where):
    """Each is finite again, or hidden, in the losses; the checkpoint before it stays the newest."""
    write_dataset(workdir / "data/d", 10)
    poison(monkeypatch, 3, then=where)
    plan = plan_new(
        workdir / "data/d", "dcgan", {"training.epochs": 3, **OUTPUT, "output.checkpoint_every": 0.4}, "cpu"
    )
    with pytest.raises(FaceganError, match="not finite|nan") as caught:
        train(plan)
    assert "at step 4 (16 images)" in caught.value.message
    (run,) = (workdir / "runs").iterdir()
    newest = sorted((run / "checkpoints").iterdir())[-1]
    assert newest.name == "000000012.pt" and str(newest.relative_to(workdir)) in caught.value.message
    assert "--on-nan rollback" in caught.value.hint and f"--from {newest.relative_to(workdir)}" in caught.value.hint
    assert load_checkpoint(newest).images_seen == 12
    assert not list((run / "samples").glob("epoch-0001.50.png")), "nor is a sheet drawn from it"


def test_numbers_that_cancel_are_found():
    """Their sum says nothing: infinities of both signs, or huge numbers that add up to one."""
    from conftest import tiny

    trainer = Trainer(tiny("dcgan"), torch.device("cpu"))
    assert trainer.first_not_finite() is None
    with torch.no_grad():
        trainer.critic.score.weight[0, :2] = 3e38
        assert trainer.first_not_finite() is None
        trainer.critic.score.weight[0, 7] = -float("inf")
    assert trainer.first_not_finite() == "critic: score.weight"


def test_rollback_goes_on_with_other_noise(workdir, monkeypatch):
    """And what is saved in the end is the same, bit for bit, if the run is stopped and resumed on the way."""
    write_dataset(workdir / "data/d", 10)
    met = poison(monkeypatch, 7, times=2)
    whole, events = train(plan_new(workdir / "data/d", "human-faces", ROLL_BACK, "cpu"))
    assert met == [0, 1, 2]
    told = [event.text for event in events if isinstance(event, Noted)]
    assert len(told) == 2
    assert "going back to runs" in told[0].replace("\\", "/")
    assert "000000020.pt with other noise, rollback 1 of at most 3" in told[0]
    found = load_checkpoint(whole.newest_checkpoint())
    assert found.state["rollbacks"] == 2
    assert [row["images_seen"] for row in rows(whole)] == list(range(4, 52, 4)), "rows beyond the checkpoint are gone"

    met.clear()
    parts, _ = train(plan_new(workdir / "data/d", "human-faces", ROLL_BACK, "cpu"), stop_after=6)
    train(plan_resume(parts, {}, None), stop_after=3)
    train(plan_resume(parts, {}, None))
    assert_same(found.state, load_checkpoint(parts.newest_checkpoint()).state)
    assert rows(whole) == rows(parts)


def test_other_noise_is_other_noise(workdir, monkeypatch):
    write_dataset(workdir / "data/d", 10)
    plain, _ = train(plan_new(workdir / "data/d", "human-faces", ROLL_BACK, "cpu"))
    poison(monkeypatch, 7, times=1)
    rolled, _ = train(plan_new(workdir / "data/d", "human-faces", ROLL_BACK, "cpu"))
    assert rows(plain)[:5] == rows(rolled)[:5]
    assert rows(plain)[5] != rows(rolled)[5]


def test_rollbacks_come_to_an_end(workdir, monkeypatch):
    write_dataset(workdir / "data/d", 10)
    met = poison(monkeypatch, 7)
    with pytest.raises(FaceganError, match=f"as after each of {MOST_ROLLBACKS} rollbacks: training has diverged"):
        train(plan_new(workdir / "data/d", "dcgan", ROLL_BACK, "cpu"))
    assert met == [0, 1, 2, 3]


def test_nothing_to_go_back_to(workdir, monkeypatch):
    write_dataset(workdir / "data/d", 10)
    poison(monkeypatch, 0)
    with pytest.raises(FaceganError, match="nothing was saved") as caught:
        train(plan_new(workdir / "data/d", "dcgan", ROLL_BACK, "cpu"))
    assert re.fullmatch(r"Start a new run with .*\.", caught.value.hint)


def test_a_run_that_stopped_may_go_on_with_rollback(workdir, monkeypatch):
    write_dataset(workdir / "data/d", 10)
    poison(monkeypatch, 7, times=1)
    plan = plan_new(workdir / "data/d", "dcgan", {**ROLL_BACK, "training.on_nan": "stop"}, "cpu")
    with pytest.raises(FaceganError, match="the last good checkpoint is"), open_run(plan, None, []) as opened:
        Loop(plan.trainer(), plan.dataset, opened.run, opened.provenance).train()
    train(plan_resume(opened.run, {"training.on_nan": "rollback"}, None))
    assert opened.run.checkpoints()[-1][0] == 48
