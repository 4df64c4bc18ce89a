"""Runs as a user has them: directories, files, stopping and going on."""

import json
import signal
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import tiny, write_dataset
from PIL import Image
from test_trainer import assert_same

from facegan.core.errors import FaceganError, Interrupted
from facegan.core.pixels import to_images, to_pixels
from facegan.data.dataset import Dataset, flip_mask
from facegan.describe import describe
from facegan.models.checkpoint import load_checkpoint, load_generator
from facegan.presets import PRESETS, TRANSFER
from facegan.runs.events import SAVE, Logged, Noted, Wrote
from facegan.runs.find import newest_weights
from facegan.runs.folder import RunDir, create_run
from facegan.runs.loop import Loop
from facegan.runs.open_run import name_of, open_run
from facegan.runs.plan import plan_new, plan_resume

pytestmark = pytest.mark.precision

TIMING = {"images_per_second"}


@pytest.fixture(autouse=True)
def _tiny_presets(monkeypatch):
    monkeypatch.setattr(
        "facegan.runs.plan.PRESETS", {name: tiny(name).override({"training.images": None}) for name in PRESETS}
    )


def train(plan, stop_after=None):
    """Run a plan; with `stop_after`, a signal arrives during that step."""
    with open_run(plan, None, ["facegan", "train"]) as opened:
        trainer = plan.trainer()
        first = trainer.step_number
        events = []

        def stopped():
            return signal.SIGTERM if stop_after is not None and trainer.step_number - first >= stop_after else None

        loop = Loop(trainer, plan.dataset, opened.run, opened.provenance, events.append, stopped)
        if stop_after is None:
            loop.train()
        else:
            with pytest.raises(Interrupted, match="everything is saved"):
                loop.train()
    return opened.run, events


def rows(run):
    return [{k: v for k, v in row.items() if k not in TIMING} for row in run.read_metrics()]


OUTPUT = {"output.log_every": 1, "output.sample_every": 0.5, "output.checkpoint_every": 1}


@pytest.mark.parametrize("preset", PRESETS)
def test_resumed_equals_uninterrupted(workdir, preset):
    """10 images and batches of 4: the stop after 2 steps is inside a critic cycle of five, the one after 3 more steps
    is past the end of an epoch. Everything must be the same bits: weights, averages, optimisers, metrics, pictures."""
    write_dataset(workdir / "data/d", 10)
    asked = {"training.images": 48, "training.epochs": None, **OUTPUT}
    whole, _ = train(plan_new(workdir / "data/d", preset, asked, "cpu"))
    parts, _ = train(plan_new(workdir / "data/d", preset, asked, "cpu"), stop_after=2)
    assert parts.checkpoints()[-1][0] == 8
    with parts.metrics.open("a") as file:  # rows of steps that were done but not saved, and a line cut short
        file.write(json.dumps({"images_seen": 12, "critic_loss": 0.0}) + '\n{"images_s')
    train(plan_resume(parts, {}, None), stop_after=3)
    train(plan_resume(parts, {}, None))

    a, b = (load_checkpoint(run.newest_checkpoint()) for run in (whole, parts))
    assert a.images_seen == 48
    assert a.config == b.config
    assert_same(a.state, b.state)
    assert rows(whole) == rows(parts)
    assert [row["images_seen"] for row in rows(parts)] == sorted({row["images_seen"] for row in rows(parts)})
    for (epoch, picture), (other_epoch, other) in zip(whole.samples(), parts.samples(), strict=True):
        assert (epoch, picture.read_bytes()) == (other_epoch, other.read_bytes())
    assert len(json.loads(parts.provenance.read_text())["resumed"]) == 2


@pytest.mark.skipif(not SAVE, reason="this system has no SIGUSR1")
def test_a_signal_that_saves_changes_nothing_else(workdir):
    """As often as it comes, in passing; the run ends as one that met none, with the same checkpoints too."""
    write_dataset(workdir / "data/d", 10)
    asked = {"training.images": 48, "training.epochs": None, **OUTPUT, "output.keep": 1}
    runs, saved = [], []
    for signals in ([], [SAVE, None, SAVE, SAVE]):
        plan = plan_new(workdir / "data/d", "dcgan", asked, "cpu")
        with open_run(plan, None, ["facegan", "train"]) as opened:
            told = []
            stopped = partial(next, iter(signals), None)
            Loop(plan.trainer(), plan.dataset, opened.run, opened.provenance, told.append, stopped).train()
        saved = [event.text for event in told if isinstance(event, Noted) and "SIGUSR1" in event.text]
        runs.append(opened.run)
    assert [text.split()[2] for text in saved] == ["4", "12", "16"]
    whole, passing = runs
    assert rows(whole) == rows(passing)
    assert [seen for seen, _ in whole.checkpoints()] == [seen for seen, _ in passing.checkpoints()]
    assert_same(*(load_checkpoint(run.newest_checkpoint()).state for run in runs))


def test_a_run_leaves_what_the_design_promises(workdir):
    write_dataset(workdir / "data/d", 10)
    asked = {"training.images": 40, "training.epochs": None, **OUTPUT, "output.keep": 2}
    run, events = train(plan_new(workdir / "data/d", "dcgan", asked, "cpu"))
    assert run.path.name == "00001-d-dcgan"
    names = {path.name for path in run.path.iterdir()}
    assert names == {
        "config.json",
        "provenance.json",
        "metrics.jsonl",
        "samples",
        "curves.png",
        "checkpoints",
        "progress.gif",
        "generator.safetensors",
    }
    assert [epoch for epoch, _ in run.samples()] == [0, 0.5, 1, 1.5, 2, 2.5, 3, 3.5, 4]
    assert [seen for seen, _ in run.checkpoints()] == [32, 40]
    assert len([event for event in events if isinstance(event, Logged)]) == 10
    with Image.open(run.samples()[-1][1]) as picture:
        assert picture.size == (5 * 34 - 2, 5 * 34 - 2)
    generator = load_generator(run.generator)
    assert (generator.images_seen, generator.weights) == (40, "averaged")
    row = run.read_metrics()[-1]
    assert row["wasserstein"] == pytest.approx(row["critic_real"] - row["critic_fake"], abs=1e-5)
    assert row["critic_loss"] == pytest.approx(10 * row["penalty"] - row["wasserstein"], abs=1e-4)


def test_every_tenth_checkpoint_stays(workdir):
    run = create_run("x")
    (run.path / "checkpoints").mkdir()
    for seen in range(100, 2600, 100):
        run.checkpoint(seen).touch()
    run.thin_checkpoints(keep=3, interval=100, batch_size=4)
    assert [seen for seen, _ in run.checkpoints()] == [1000, 2000, 2300, 2400, 2500]


def test_a_stop_does_not_cost_the_checkpoint_to_go_back_to(workdir):
    run = create_run("x")
    (run.path / "checkpoints").mkdir()
    for seen in (100, 200, 248, 252):  # the last two were written at stops
        run.checkpoint(seen).touch()
    run.thin_checkpoints(keep=1, interval=100, batch_size=4)
    assert [seen for seen, _ in run.checkpoints()] == [200, 252]


def test_another_interval_does_not_cost_what_was_kept_before(workdir):
    run = create_run("x")
    (run.path / "checkpoints").mkdir()
    for seen in (1000, 2000, 2300, 2400, 2500):  # kept by an interval of 100
        run.checkpoint(seen).touch()
    run = replace(run, thin_from=run.oldest_to_thin(3, 1000, 4))
    for seen in range(3000, 7000, 1000):
        run.checkpoint(seen).touch()
        run.thin_checkpoints(3, 1000, 4)
    assert [seen for seen, _ in run.checkpoints()] == [1000, 4000, 5000, 6000]


def test_keeping_fewer_frees_the_disk_and_another_interval_does_not_cost_what_was_kept(workdir):
    write_dataset(workdir / "data/d", 8)
    asked = {"training.images": 8 * 25, "training.epochs": None, "training.batch_size": 8}
    asked["output.checkpoint_every"] = 1
    run, _ = train(plan_new(workdir / "data/d", "dcgan", asked, "cpu"))
    assert [seen for seen, _ in run.checkpoints()] == [80, 160, 184, 192, 200]
    more = {"training.images": 8 * 27, "output.checkpoint_every": 3, "output.keep": 1}
    train(plan_resume(run, more, None))
    assert [seen for seen, _ in run.checkpoints()] == [80, 160, 216]
    train(plan_resume(run, {"training.images": 8 * 33}, None))
    assert [seen for seen, _ in run.checkpoints()] == [80, 160, 240, 264]  # 240 is the 10th by the new interval


def test_a_kill_between_saving_and_thinning_leaves_no_checkpoint_behind(workdir):
    write_dataset(workdir / "data/d", 8)
    asked = {"training.images": 8 * 4, "training.epochs": None, "training.batch_size": 8, "output.keep": 1}
    run, _ = train(plan_new(workdir / "data/d", "dcgan", asked, "cpu"))
    for epoch in (5, 6):  # resumed for the first time, and once more
        run.checkpoint(8 * (epoch - 2)).write_bytes(run.newest_checkpoint().read_bytes())
        train(plan_resume(run, {"training.images": 8 * epoch}, None))
        assert [seen for seen, _ in run.checkpoints()] == [8 * epoch]


@pytest.mark.parametrize("preset", ["dcgan-r3gan", "keras-faces-64"])
def test_slow_steps_have_rows_and_checkpoints_in_between(workdir, monkeypatch, preset):
    """The clock adds them after so many seconds, here at once; the rest of the run stays as it was."""
    write_dataset(workdir / "data/d", 40)
    asked = {"training.images": 80, "training.epochs": None, "output.log_every": 4, "output.keep": 2}
    asked |= {"output.checkpoint_every": 1, "output.sample_every": 1}
    usual, _ = train(plan_new(workdir / "data/d", preset, asked, "cpu"))
    monkeypatch.setattr("facegan.runs.loop.ROW_AFTER_SECONDS", -1)
    monkeypatch.setattr("facegan.runs.loop.SAVE_AFTER_SECONDS", -1)
    slow, events = train(plan_new(workdir / "data/d", preset, asked, "cpu"))
    cycle = 4 * PRESETS[preset].training.n_critic
    assert [row["images_seen"] for row in rows(slow)] == list(range(cycle, 84, cycle))
    assert [row for row in rows(slow) if row in rows(usual)] == rows(usual)
    assert all("generator_loss" in row for row in rows(slow))
    saved = [event.path for event in events if isinstance(event, Wrote) and event.path.suffix == ".pt"]
    assert [int(path.stem) for path in saved] == list(range(4, 84, 4))
    assert [seen for seen, _ in slow.checkpoints()] == [76, 80]
    assert_same(*(load_checkpoint(run.newest_checkpoint()).state for run in (usual, slow)))


def test_a_run_killed_before_its_first_checkpoint_starts_again(workdir):
    write_dataset(workdir / "data/d", 10)
    asked = {"training.images": 8, "training.epochs": None, **OUTPUT}
    run, _ = train(plan_new(workdir / "data/d", "dcgan", asked, "cpu"))
    expected = load_checkpoint(run.newest_checkpoint())
    for _, path in run.checkpoints():
        path.unlink()
    with pytest.raises(FaceganError, match="had checkpoints, and they are gone"):
        plan_resume(run, {}, None)
    run.generator.unlink()  # it is written after the first checkpoint
    train(plan_resume(run, {}, None))
    assert_same(expected.state, load_checkpoint(run.newest_checkpoint()).state)


def test_a_damaged_checkpoint_is_answered_with_the_one_before(workdir):
    write_dataset(workdir / "data/d", 10)
    asked = {"training.images": 20, "training.epochs": None, **OUTPUT}
    run, _ = train(plan_new(workdir / "data/d", "dcgan", asked, "cpu"))
    (before, older), (_, newest) = run.checkpoints()
    newest.write_bytes(newest.read_bytes()[:1000])
    with pytest.raises(FaceganError, match="is damaged") as refused:
        plan_resume(run, {}, None)
    assert f"Name {older} instead" in refused.value.hint
    assert (
        f"rename the damaged one to {newest.name}.damaged, then: facegan train --run {run.path}" in refused.value.hint
    )
    newest.rename(newest.with_name(f"{newest.name}.damaged"))
    assert plan_resume(run, {}, None).checkpoint.images_seen == before
    older.write_bytes(b"")
    with pytest.raises(FaceganError) as refused:
        plan_resume(run, {}, None)
    assert refused.value.hint.endswith(f"facegan train --from {run.generator}")


def test_a_run_killed_over_its_last_pictures_makes_them_when_it_goes_on(workdir):
    write_dataset(workdir / "data/d", 10)
    run, _ = train(plan_new(workdir / "data/d", "dcgan", {"training.epochs": 1}, "cpu"))
    kept = run.newest_checkpoint().read_bytes()
    for last in (run.progress, run.curves, run.generator):
        last.unlink()
    train(plan_resume(run, {}, None))
    assert run.progress.exists() and run.curves.exists()
    assert load_generator(run.generator).images_seen == 12
    assert run.newest_checkpoint().read_bytes() == kept
    with pytest.raises(FaceganError, match="is complete"):
        plan_resume(run, {}, None)


def test_a_complete_run_goes_on_when_more_is_asked_for(workdir):
    write_dataset(workdir / "data/d", 10)
    run, _ = train(plan_new(workdir / "data/d", "dcgan", {"training.epochs": 1}, "cpu"))
    with pytest.raises(FaceganError, match="is complete: it has seen all of its 12 images"):
        plan_resume(run, {}, None)
    with pytest.raises(FaceganError, match="is complete: it has seen 12 images, more than the 4 asked for"):
        plan_resume(run, {"training.epochs": None, "training.images": 4}, None)
    assert ("images seen", "12, all of the 10 asked for") in describe(run.path)[1]
    train(plan_resume(run, {"training.epochs": 2, "training.images": None}, None))
    assert run.checkpoints()[-1][0] == 20


def test_what_is_computed_cannot_change_in_a_run_that_goes_on(workdir):
    write_dataset(workdir / "data/d", 10)
    run, _ = train(plan_new(workdir / "data/d", "dcgan", {"training.epochs": 1}, "cpu"))
    for path in ("training.batch_size", "seed", "networks.width", "training.critic.lr"):
        with pytest.raises(FaceganError, match=f"{path} cannot change in a run that goes on"):
            plan_resume(run, {path: 8}, None)
    as_before = {"seed": 0, "networks.width": run.read_config().networks.width, "training.epochs": 2}
    plan_resume(run, {**as_before, "training.images": None}, None)


def test_another_dataset_is_refused(workdir):
    write_dataset(workdir / "data/d", 10)
    run, _ = train(plan_new(workdir / "data/d", "dcgan", {"training.epochs": 1}, "cpu"))
    (workdir / "data/d").rename(workdir / "data/old")
    write_dataset(workdir / "data/d", 10, seed=1)
    with pytest.raises(FaceganError, match="is not the dataset"):
        plan_resume(run, {"training.epochs": 2, "training.images": None}, None)


def test_a_dataset_whose_replacement_was_killed_is_not_renamed_but_named(workdir):
    write_dataset(workdir / "data/d", 10)
    run, _ = train(plan_new(workdir / "data/d", "dcgan", {"training.epochs": 1}, "cpu"))
    (workdir / "data/d").rename(workdir / "data/.d.abcdefgh.facegan-old")
    with pytest.raises(FaceganError, match="is gone") as caught:
        plan_resume(run, {"training.epochs": 2, "training.images": None}, None)
    assert "data/.d.abcdefgh.facegan-old to " in caught.value.hint.replace("\\", "/")


def test_a_dataset_that_has_moved_is_named_once(workdir):
    write_dataset(workdir / "data/d", 10)
    run, _ = train(plan_new(workdir / "data/d", "dcgan", {"training.epochs": 1}, "cpu"))
    (workdir / "data/d").rename(workdir / "data/moved")
    with pytest.raises(FaceganError, match="data/d, the dataset of .*, is gone") as caught:
        plan_resume(run, {"training.epochs": 2, "training.images": None}, None)
    assert "name it with --data" in caught.value.hint
    train(plan_resume(run, {"training.epochs": 2, "training.images": None}, None, workdir / "data/moved"))
    train(plan_resume(run, {"training.epochs": 3, "training.images": None}, None))


def test_starting_from_weights(workdir):
    write_dataset(workdir / "data/d", 10)
    first, _ = train(plan_new(workdir / "data/d", "dcgan", {"training.epochs": 1}, "cpu"))
    source = load_checkpoint(first.newest_checkpoint()).state
    from_checkpoint = plan_new(workdir / "data/d", None, {}, "cpu", first.newest_checkpoint()).trainer()
    assert_same(from_checkpoint.critic.state_dict(), source["critic"])
    assert_same(from_checkpoint.generator.state_dict(), source["averaged_generator"])
    assert from_checkpoint.images_seen == 0
    plan = plan_new(workdir / "data/d", None, {}, "cpu", first.generator)
    assert any("no critic" in note for note in plan.notes)
    with pytest.raises(FaceganError, match="its networks are not those of this run: width 4, not 6"):
        plan_new(workdir / "data/d", None, {"networks.width": 6}, "cpu", first.generator)
    with pytest.raises(FaceganError, match="its networks"):
        plan_new(workdir / "data/d", "human-faces", {}, "cpu", first.generator)


def test_only_a_new_critic_warms_up(workdir):
    write_dataset(workdir / "data/d", 10)
    asked = {"training.epochs": 1, "training.critic_warm_up": 80_000}
    first, _ = train(plan_new(workdir / "data/d", "dcgan-r3gan", asked, "cpu"))
    long = {"training.images": 300_000, "networks.latent_dim": 8, "networks.width": 4, "networks.critic_width": 4}
    for source, images in ((first.newest_checkpoint(), 0), (first.generator, 80_000)):
        for preset in (None, "dcgan-r3gan"):
            assert plan_new(workdir / "data/d", preset, long, "cpu", source).config.training.critic_warm_up == images


def test_the_critic_warms_up_only_if_that_ends_before_learning_rates_fall(workdir):
    write_dataset(workdir / "data/d", 10)
    for asked, images in (
        ({}, 0),  # few photos: 100,000 images
        ({"training.images": 133_333}, 0),
        ({"training.epochs": 13_333}, 0),
        ({"training.images": 133_334}, 80_000),
        ({"training.images": 133_333, "training.batch_size": 256}, 0),
        ({"training.images": 100_000, "training.decay": 0.2}, 80_000),
        ({"training.images": 400, "training.critic_warm_up": 900}, 900),
    ):
        assert plan_new(workdir / "data/d", None, asked, "cpu").config.training.critic_warm_up == images


def test_what_was_learnt_from_other_photos_is_learnt_from_in_another_way(workdir):
    """On the same photos the run goes on as it was; and what the user asks for counts."""
    for name in ("d", "e"):
        write_dataset(workdir / "data" / name, 10 if name == "d" else 12)
    first, _ = train(plan_new(workdir / "data/d", "dcgan", {"training.epochs": 1, "training.ema_half_life": 7}, "cpu"))
    own, other = (plan_new(workdir / "data" / name, None, {}, "cpu", first.newest_checkpoint()) for name in ("d", "e"))
    assert own.config.at("training.ema_half_life") == 7 and own.config.at("training.freeze") == 0
    assert {path: other.config.at(path) for path in TRANSFER} == {**TRANSFER, "training.epochs": 2500}
    assert any("trained on other photos" in note and "training.freeze 2" in note for note in other.notes)
    asked = plan_new(workdir / "data/e", None, {"training.freeze": 1}, "cpu", first.newest_checkpoint())
    assert asked.config.at("training.freeze") == 1
    without_critic = plan_new(workdir / "data/e", None, {}, "cpu", first.generator)
    assert without_critic.config.at("training.freeze") == 0


def test_a_run_from_weights_that_was_killed_before_its_first_checkpoint_starts_from_them_again(workdir):
    write_dataset(workdir / "data/d", 10)
    first, _ = train(plan_new(workdir / "data/d", "dcgan", {"training.epochs": 1}, "cpu"))
    plan = plan_new(workdir / "data/d", None, {}, "cpu", first.newest_checkpoint())
    with open_run(plan, None, ["facegan", "train"]) as opened:
        pass
    again = plan_resume(opened.run, {}, None).trainer()
    assert_same(again.critic.state_dict(), plan.trainer().critic.state_dict())
    assert_same(again.generator.state_dict(), plan.trainer().generator.state_dict())
    first.newest_checkpoint().unlink()
    with pytest.raises(FaceganError, match="that file is gone or has changed"):
        plan_resume(opened.run, {}, None)


def test_what_is_not_ours_in_a_run_stays(workdir):
    """A notebook's hidden folder, say; what a killed process left goes."""
    write_dataset(workdir / "data/d", 10)
    run, _ = train(plan_new(workdir / "data/d", "dcgan", {"training.epochs": 1}, "cpu"))
    (run.path / ".ipynb_checkpoints").mkdir()
    (run.path / "samples/.ipynb_checkpoints").mkdir()
    (run.path / ".note").write_text("mine")
    (run.path / "checkpoints/.000000004-0123abcd.pt").write_bytes(b"cut short")
    train(plan_resume(run, {"training.epochs": 2, "training.images": None}, None))
    assert {path.name for path in run.path.glob(".*")} == {".ipynb_checkpoints", ".note"}
    assert not list((run.path / "checkpoints").glob(".*"))


def test_a_preset_for_another_size_says_how_to_preprocess(workdir):
    write_dataset(workdir / "data/d", 4, size=64)
    with pytest.raises(FaceganError, match="is for 32 px") as caught:
        plan_new(workdir / "data/d", "human-faces", {}, "cpu")
    assert "--size 32 --crop human-faces" in caught.value.hint
    assert plan_new(workdir / "data/d", "dcgan", {}, "cpu").config.networks.size == 64


def test_divergence_is_said_and_nothing_bad_is_saved(workdir):
    write_dataset(workdir / "data/d", 10)
    plan = plan_new(workdir / "data/d", "dcgan", {"training.epochs": 3, **OUTPUT}, "cpu")
    with open_run(plan, None, []) as opened:
        trainer = plan.trainer()
        loop = Loop(trainer, plan.dataset, opened.run, opened.provenance)
        with torch.no_grad():
            trainer.critic.score.weight.fill_(float("nan"))
        with pytest.raises(FaceganError, match="training has diverged"):
            loop.train()
    assert opened.run.checkpoints() == []


def test_the_order_is_a_permutation_per_epoch_and_batches_cross_its_end(workdir):
    dataset = Dataset(write_dataset(workdir / "d", 10), seed=3)
    keys = [image.tobytes() for image in dataset.images]
    seen = [keys.index(image.tobytes()) for k in range(5) for image in dataset.batch(4 * k, 4)]
    assert sorted(seen[:10]) == sorted(seen[10:]) == list(range(10))
    assert seen[:10] != seen[10:]
    again = Dataset(workdir / "d", seed=3)
    assert np.array_equal(again.batch(8, 4), dataset.batch(8, 4))
    assert dataset.batch(0, 25).shape == (25, 32, 32, 3)


def test_pixels_and_images():
    pixels = np.arange(2 * 4 * 4 * 3, dtype=np.uint8).reshape(2, 4, 4, 3)
    images = to_images(pixels, torch.device("cpu"), np.array([False, True]))
    assert images.shape == (2, 3, 4, 4)
    assert images.is_contiguous()
    back = to_pixels(images)
    assert np.array_equal(back[0], pixels[0])
    assert np.array_equal(back[1], pixels[1][:, ::-1])
    assert to_images(np.uint8([[[[0, 255, 0]]]]), torch.device("cpu")).flatten().tolist() == [-1, 1, -1]


def test_flips_are_half_and_keyed_by_step():
    assert abs(np.mean([flip_mask(0, step, 64).mean() for step in range(200)]) - 0.5) < 0.02
    assert np.array_equal(flip_mask(0, 5, 64), flip_mask(0, 5, 64))
    assert not np.array_equal(flip_mask(0, 5, 64), flip_mask(0, 6, 64))


def test_a_run_is_named_after_its_dataset_however_that_was_named(workdir, monkeypatch):
    monkeypatch.chdir(write_dataset(workdir / "data/mine", 10))
    plan = plan_new(Path(), "dcgan", {"training.epochs": 1}, "cpu")
    with open_run(plan, None, []) as opened:
        assert opened.run.path.name == "00001-mine-dcgan"
    assert name_of(Path("../mine/..")) == "data"


def test_runs_are_numbered_and_the_newest_is_found(workdir):
    first, second = create_run("a"), create_run("b")
    assert [first.path.name, second.path.name] == ["00001-a", "00002-b"]
    assert newest_weights() is None
    for run in (first, second):
        run.write_config(tiny("dcgan"))
    (first.path / "checkpoints").mkdir()
    first.checkpoint(640).touch()
    first.checkpoint(64).touch()
    assert newest_weights() == first.checkpoint(640)
    assert RunDir(first.path).checkpoints()[0][0] == 64
