"""The script behind docs/quality.md, on trials of a quarter of a second."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import quality
from conftest import cli, write_dataset

from facegan.models.checkpoint import load_generator

TRIAL = "dcgan width=4 networks.critic_width=4 latent_dim=8 batch_size=4"


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch, tiny_extractor: str) -> None:
    monkeypatch.setattr("quality.OFFLINE", tiny_extractor)


def trials(folder: Path, *trials: str, seconds: str = "0.25") -> list[dict]:
    seen, unseen = (folder / name for name in ("seen", "unseen"))
    if not seen.exists():
        write_dataset(seen, 40)
        write_dataset(unseen, 20, seed=1)
    words = ["trials", str(seen), "--unseen", str(unseen), "--seconds", seconds, "--count", "20"]
    words += ["--sampling-seeds", "777", "1", "--out", str(folder / "out"), *(f"--trial={trial}" for trial in trials)]
    quality.main(words)
    return [json.loads(line) for line in (folder / "out/trials.jsonl").read_text().splitlines()]


def test_a_trial_is_trained_to_its_end_measured_as_evaluate_does_and_not_repeated(tmp_path, capsys):
    (line,) = trials(tmp_path, TRIAL)
    assert line["overrides"] == {
        "networks.width": 4, "networks.critic_width": 4, "networks.latent_dim": 8, "training.batch_size": 4
    }  # fmt: skip
    assert (line["preset"], line["seed"], line["not_finite"]) == ("dcgan", 0, None)
    assert line["images_per_second"] == pytest.approx(line["images_seen"] / line["cpu_seconds"])
    (file,) = (tmp_path / "out").glob("*.safetensors")
    assert file.with_suffix(".png").exists()
    loaded = load_generator(file)
    assert loaded.images_seen == loaded.config.training.images == line["images_seen"] > 0
    for seed, fd, kid in zip((777, 1), line["fd_each"], line["kid_each"], strict=True):
        code, out, err = cli(
            "evaluate", file, "--data", tmp_path / "unseen", "--features", "tiny", "--seed", seed, "--json"
        )
        assert code == 0, err
        assert (json.loads(out)["fd"], json.loads(out)["kid"]) == pytest.approx((fd, kid))
    assert line["fd"] == pytest.approx(sum(line["fd_each"]) / 2)
    assert f"| {TRIAL} | 0 | {line['images_per_second']:.1f} | {line['images_seen']:,} |" in capsys.readouterr().out

    again, written = trials(tmp_path, TRIAL, f"{TRIAL} ema_half_life=0"), file.stat().st_mtime_ns
    assert again[0] == line and again[1]["overrides"]["training.ema_half_life"] == 0
    assert file.stat().st_mtime_ns == written
    assert "there already" in capsys.readouterr().out
    with pytest.raises(SystemExit, match=r"other conditions: seconds was 0\.25 and is 0\.5"):
        trials(tmp_path, "dcgan", seconds="0.5")


def test_what_is_wrong_with_the_last_trial_is_said_before_the_first_is_trained(tmp_path):
    for wrong, sentence in {
        "dcgan widht=4": "widht does not apply",
        "dcgan batch_size": "no change to a preset",
        "dcgan images=100": "no change to a preset",
        "dcgan slope=2": "slope must be at least 0 and at most 1",
        "unknown": "there is no preset 'unknown'",
    }.items():
        with pytest.raises(SystemExit, match=sentence):
            trials(tmp_path, TRIAL, wrong)
    assert not (tmp_path / "out").exists()


def test_a_trial_that_diverges_is_told_and_the_series_goes_on(tmp_path, capsys):
    """Adam without its epsilon, where a gradient is zero."""
    broken = f"{TRIAL} critic.eps=1e-300"
    lost, well = trials(tmp_path, broken, TRIAL)
    assert lost["not_finite"].startswith("critic: ") and "fd" not in lost
    assert well["not_finite"] is None and well["fd"] > 0
    assert f"{lost['not_finite']} is not finite" in capsys.readouterr().out


def test_a_generator_is_measured(tmp_path, capsys):
    unseen = write_dataset(tmp_path / "unseen", 20, size=64)
    quality.main(["generator", "pretrained", "--unseen", str(unseen), "--sampling-seeds", "1", "2", "--count", "20"])
    code, out, err = cli(
        "evaluate", "pretrained", "--data", unseen, "--features", "tiny", "--seed", "2", "--count", "20", "--json"
    )
    assert code == 0, err
    first, second, mean = (row.split(" | ") for row in capsys.readouterr().out.splitlines()[2:])
    assert second[:2] == ["| 2", f"{json.loads(out)['fd']:.1f}"] and second[-1] == f"{json.loads(out)['recall']:.3f} |"
    assert mean[0] == "| mean" and float(mean[1]) == pytest.approx((float(first[1]) + float(second[1])) / 2, abs=0.1)
