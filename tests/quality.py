"""The figures of docs/quality.md: presets and changes to them under equal time, and a generator measured.

    python tests/quality.py trials data/celeba-64 --unseen data/unseen-64 --seconds 400 --out outputs/quality \
        --trial dcgan-r3gan --trial dcgan --trial "dcgan-r3gan ema_half_life=20000 batch_size=32"
    python tests/quality.py generator pretrained --unseen data/unseen-64 [--detector haarcascade.xml]

A trial is a preset and what is changed in it: fields of its configuration by their dotted names, of which a leading
`training.` or `networks.` may be left out, and values as in JSON. Each is trained for so many seconds of the process's
processor time, on OMP_NUM_THREADS threads. As learning rates fall towards the end, the length must be known before: the
rate is measured first, with networks that are thrown away, and gives the number of images.

A finished trial leaves a line in trials.jsonl, its generator and a row of faces of the same latents. It is not
repeated, so an interrupted series goes on where it was.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
import torch

from facegan.core.device import keep_memory
from facegan.core.errors import FaceganError, UsageError
from facegan.core.pixels import Pixels
from facegan.core.strictjson import parse_json
from facegan.data.dataset import Dataset
from facegan.editing.features import open_features
from facegan.evaluation.comparison import Comparison
from facegan.evaluation.extractors import OFFLINE, Extractor
from facegan.evaluation.photo_features import order
from facegan.evaluation.scores import evaluate
from facegan.faces.compose import sample_latents
from facegan.faces.synthesis import draw_faces
from facegan.models.checkpoint import LoadedGenerator, load_generator, save_generator
from facegan.pictures.sheets import grid, save_png
from facegan.presets import PRESETS
from facegan.runs.find import find_generator, open_generator
from facegan.runs.open_run import describe
from facegan.runs.plan import Plan, plan_new
from facegan.runs.provenance import machine
from facegan.training.steps import steps_of

CPU = torch.device("cpu")
RATE_SECONDS = 15.0
"""For which the rate is measured; no longer than the trial itself."""
SHOWN = 12
"""Faces in a trial's picture."""
FIGURES = ("fd", "kid", "precision", "recall")
OURS = ("preset", "seed", "training.images", "training.epochs")
"""Fields that a trial cannot change, as the script sets them."""


@dataclass(frozen=True)
class Trial:
    name: str
    preset: str
    overrides: dict[str, Any]

    def plan(self, data: Path, seed: int, images: int = 10**9) -> Plan:
        asked = {**self.overrides, "seed": seed, "training.images": images, "training.epochs": None}
        return plan_new(data, self.preset, asked, "cpu")


def parse_trial(text: str) -> Trial:
    """A preset and changes, such as `dcgan batch_size=32 generator.lr=5e-4`.

    Raises:
        UsageError: an unknown preset, something without "=", or a field that cannot be changed.
    """
    preset, *changes = text.split() or [""]
    if preset not in PRESETS:
        raise UsageError(f"--trial {text!r}: there is no preset {preset!r}.", f"Presets: {', '.join(PRESETS)}.")
    overrides = dict[str, Any]()
    for change in changes:
        field, equals, value = change.partition("=")
        path = _dotted(preset, field)
        if not equals or path in OURS:
            raise UsageError(f"--trial {text!r}: {change!r} is no change to a preset.", "Write it as batch_size=32.")
        overrides[path] = _value(value)
    return Trial(" ".join([preset, *changes]), preset, overrides)


def _dotted(preset: str, field: str) -> str:
    for section in ("training", "networks"):
        if hasattr(getattr(PRESETS[preset], section), field.split(".")[0]):
            return f"{section}.{field}"
    return field


def _value(text: str) -> Any:
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return tuple(value) if isinstance(value, list) else value


def rate(plan: Plan, seconds: float) -> float:
    """Images per second of processor time, over whole cycles of critic and generator; the first is not counted."""
    training = plan.config.training
    steps, cycles, used = steps_of(plan.trainer(), plan.dataset), -1, 0.0
    while used < seconds:
        began = time.process_time()
        for _ in range(training.n_critic):
            steps.step()
        cycles += 1
        used += time.process_time() - began if cycles else 0
    return cycles * training.n_critic * training.batch_size / used


def train(trial: Trial, data: Path, seed: int, seconds: float, path: Path) -> dict[str, Any]:
    """Train a trial, write its generator to `path`, and tell what it took, and the first tensor that is not finite."""
    plan = trial.plan(data, seed)
    batch = plan.config.training.batch_size
    images = batch * max(1, round(rate(plan, min(seconds, RATE_SECONDS)) * seconds / batch))
    plan = trial.plan(data, seed, images)
    trainer = plan.trainer()
    steps, began = steps_of(trainer, plan.dataset), time.process_time()
    while trainer.images_seen < images:
        steps.step()
    used = time.process_time() - began
    fault = trainer.first_not_finite()
    if fault is None:
        weights, origin = "averaged" if trainer.average else "raw", describe(plan, sys.argv)
        module = trainer.sampling_generator
        save_generator(path, module, plan.config, images_seen=images, weights=weights, provenance=origin)
    return {"images_seen": images, "cpu_seconds": used, "images_per_second": images / used, "not_finite": fault}


def measure(
    loaded: LoadedGenerator, unseen: Dataset, extractor: Extractor, seeds: Sequence[int], count: int
) -> Iterator[dict[str, float]]:
    """FIGURES for the faces of each seed."""
    for seed in seeds:
        found = evaluate(Comparison(loaded, unseen, extractor, seed=seed), count=count).scores
        yield {name: getattr(found, name) for name in FIGURES}


def read_lines(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    texts = path.read_text("utf-8").splitlines()
    return [parse_json(text, f"{path}, line {number}") for number, text in enumerate(texts, 1)]


def run_trials(given: argparse.Namespace) -> None:
    data, unseen = Dataset(given.dataset, seed=0), Dataset(given.unseen, seed=0)
    made = [(d.info.size, dict(d.info.crop), d.info.filter) for d in (data, unseen)]
    if made[0] != made[1]:
        raise FaceganError(
            f"{given.dataset} and {given.unseen} were not made alike: {made[0]} and {made[1]}.",
            "Preprocess both with the same size and crop.",
        )
    trials = [(parse_trial(text), seed) for text in given.trial for seed in given.seeds]
    for trial, seed in trials:  # what is wrong with the last is said before the first has taken its time
        trial.plan(given.dataset, seed)
    extractor, path = open_features(given.features, CPU), given.out / "trials.jsonl"
    conditions = {
        "seconds": given.seconds,
        "threads": torch.get_num_threads(),
        "dataset_sha256": data.info.pixels_sha256,
        "unseen_sha256": unseen.info.pixels_sha256,
        "extractor": extractor.name,
        "library": extractor.library,
        "sampling_seeds": given.sampling_seeds,
        "count": given.count,
    }
    given.out.mkdir(parents=True, exist_ok=True)
    for trial, seed in trials:
        what = {"preset": trial.preset, "overrides": json.loads(json.dumps(trial.overrides)), "seed": seed}
        lines = read_lines(path)
        check_conditions(path, lines, conditions)
        there = any(what.items() <= line.items() for line in lines)
        print(f"{trial.name}, seed {seed}" + (": there already" if there else ""), flush=True)
        if there:
            continue
        file = given.out / (re.sub(r"[^\w.=+-]+", "_", trial.name) + f"-seed{seed}.safetensors")
        line = {"name": trial.name, **what, **train(trial, given.dataset, seed, given.seconds, file)}
        if line["not_finite"] is None:
            loaded = load_generator(file)
            z = sample_latents(loaded, given.sampling_seeds[0], range(SHOWN), 1)
            save_png(grid(draw_faces(loaded.module, loaded.config.networks, z), SHOWN), file.with_suffix(".png"))
            found = list(measure(loaded, unseen, extractor, given.sampling_seeds, given.count))
            for name in FIGURES:
                line[f"{name}_each"] = [figures[name] for figures in found]
                line[name] = mean(line[f"{name}_each"])
        with path.open("a", encoding="utf-8") as out:
            out.write(json.dumps({**line, "conditions": conditions, "machine": machine(CPU)}) + "\n")
    print(table(read_lines(path)))


def check_conditions(path: Path, lines: Sequence[dict[str, Any]], conditions: dict[str, Any]) -> None:
    """Raises: FaceganError: a trial whose figures cannot stand beside those to come."""
    for before in (line["conditions"] for line in lines):
        if other := [name for name in conditions if before.get(name) != conditions[name]]:
            raise FaceganError(
                f"{path} has trials under other conditions: {other[0]} was {before.get(other[0])} "
                f"and is {conditions[other[0]]}.",
                "Choose another folder with --out.",
            )


def table(lines: Sequence[dict[str, Any]]) -> str:
    """Markdown, a row for each trial."""
    rows = ["| trial | seed | images/s | images seen | CPU s | FD | each | KID x1000 | each |", "|---" * 9 + "|"]
    for line in lines:
        if line["not_finite"] is None:
            figures = [cell for name, scale in (("fd", 1), ("kid", 1000)) for cell in _mean_and_each(line, name, scale)]
        else:
            figures = [f"{line['not_finite']} is not finite", "", "", ""]
        took = [f"{line['images_per_second']:.1f}", f"{line['images_seen']:,}", f"{line['cpu_seconds']:.0f}"]
        rows.append("| " + " | ".join([line["name"], str(line["seed"]), *took, *figures]) + " |")
    return "\n".join(rows)


def _mean_and_each(line: dict[str, Any], name: str, scale: float) -> tuple[str, str]:
    return f"{line[name] * scale:.1f}", ", ".join(f"{value * scale:.1f}" for value in line[f"{name}_each"])


def face_detector(cascade: Path) -> Callable[[Pixels], float]:
    """The share of pictures in which OpenCV's detector finds a face, at 192 px and with a border around."""
    try:
        import cv2
        from cv2 import CascadeClassifier  # OpenCV 5 has none
    except ImportError:
        raise FaceganError(
            "--detector needs OpenCV 4, which is not installed.", 'pip install "opencv-python-headless<5"'
        ) from None
    if not cascade.is_file() or (detector := CascadeClassifier(str(cascade))).empty():
        raise FaceganError(f"{cascade} is not a cascade.", "OpenCV brings haarcascade_frontalface_default.xml.")
    cv2.setNumThreads(1)

    def has_face(picture: Pixels) -> bool:
        large = cv2.resize(picture, (192, 192), interpolation=cv2.INTER_CUBIC)
        grey = cv2.cvtColor(large, cv2.COLOR_RGB2GRAY)
        grey = cv2.copyMakeBorder(grey, 24, 24, 24, 24, cv2.BORDER_REPLICATE)
        return len(detector.detectMultiScale(grey, 1.1, 3, minSize=(60, 60))) > 0

    return lambda pictures: float(np.mean([has_face(np.ascontiguousarray(picture)) for picture in pictures]))


def run_generator(given: argparse.Namespace) -> None:
    detect = face_detector(given.detector) if given.detector else None
    unseen, loaded = Dataset(given.unseen, seed=0), open_generator(find_generator(given.source)[0])
    keep_memory()
    rows = list[list[float]]()
    print("| seed | FD | KID x1000 | precision | recall |" + (" faces found |" if detect else ""))
    print("|---" * (6 if detect else 5) + "|", flush=True)
    found = measure(loaded, unseen, open_features(given.features, CPU), given.sampling_seeds, given.count)
    for seed, figures in zip(given.sampling_seeds, found, strict=True):
        rows.append([figures["fd"], 1000 * figures["kid"], figures["precision"], figures["recall"]])
        if detect:
            z = sample_latents(loaded, seed, range(given.count), 1)
            rows[-1].append(detect(draw_faces(loaded.module, loaded.config.networks, z)))
        print(_row(str(seed), rows[-1]), flush=True)
    print(_row("mean", [mean(column) for column in zip(*rows, strict=True)]))
    if detect:
        photos = unseen.images[np.sort(order(unseen)[: given.count])]
        print(f"\nfaces found in the {len(photos):,} photos: {detect(photos):.3f}")


def _row(name: str, figures: Sequence[float]) -> str:
    distances, shares = figures[:2], figures[2:]
    return "| " + " | ".join([name, *(f"{x:.1f}" for x in distances), *(f"{x:.3f}" for x in shares)]) + " |"


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    both = argparse.ArgumentParser(add_help=False)
    both.add_argument("--unseen", type=Path, required=True, help="dataset of photos to compare with")
    both.add_argument("--sampling-seeds", type=int, nargs="+", default=[777, 1, 2], help="of the faces drawn")
    both.add_argument("--count", type=int, default=1500, help="faces of each of these seeds, and photos")
    both.add_argument("--features", default=OFFLINE, help="extractor, such as facegan-attributes")
    commands = parser.add_subparsers(required=True)
    trials = commands.add_parser("trials", parents=[both])
    trials.set_defaults(work=run_trials)
    trials.add_argument("dataset", type=Path)
    trials.add_argument("--trial", action="append", required=True, help="such as 'dcgan batch_size=32'")
    trials.add_argument("--seconds", type=float, required=True, help="of processor time, for each")
    trials.add_argument("--seeds", type=int, nargs="+", default=[0], help="of the training")
    trials.add_argument("--out", type=Path, default=Path("outputs/quality"), help="folder; one that is there goes on")
    generator = commands.add_parser("generator", parents=[both])
    generator.set_defaults(work=run_generator)
    generator.add_argument("source", type=Path, help="a checkpoint, a run, a generator or 'pretrained'")
    generator.add_argument("--detector", type=Path, help="one of OpenCV's Haar cascades")
    given = parser.parse_args(words)
    try:
        given.work(given)
    except FaceganError as error:
        sys.exit(f"error: {error.message} {error.hint}")


if __name__ == "__main__":
    main()
