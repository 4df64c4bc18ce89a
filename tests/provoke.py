"""Trainings made to go wrong, and good ones: what facegan says about each, and after how many images.

    python tests/provoke.py --seconds 60

The faces are those of the demo dataset at 32 px, the networks are narrow, and there is a row of metrics every second
update of the generator, not every tenth.
"""

from __future__ import annotations

import argparse
import os
import signal
import tempfile
import time
from collections.abc import Iterable
from itertools import groupby
from pathlib import Path

import numpy as np
import torch

from facegan.core.errors import FaceganError
from facegan.data.dataset import Dataset
from facegan.data.writer import DatasetWriter
from facegan.faces import latents
from facegan.faces.demo import make_demo
from facegan.faces.synthesis import draw_faces
from facegan.presets import PRESETS
from facegan.runs.events import Event, Logged, Noted, Wrote
from facegan.runs.health import FLAT, STEEP, spread
from facegan.runs.loop import Loop
from facegan.runs.open_run import open_run
from facegan.runs.plan import plan_new

NARROW = {"networks.width": 8, "networks.critic_width": 8, "training.precision": "fp32"}
KERAS = {"networks.size": 32, "networks.generator_widths": (32, 16, 8), "networks.critic_widths": (8, 16, 32)}
GOOD = {name: (name, NARROW if name.startswith("dcgan") else KERAS) for name in PRESETS}
GENERATOR, CRITIC, PENALTY = "training.generator.lr", "training.critic.lr", "training.penalty_weight"
BAD = {
    "no penalty": {PENALTY: 0.0},
    "no penalty, critic's rate 0.01": {PENALTY: 0.0, CRITIC: 0.01},
    "critic's rate 1": {CRITIC: 1.0},
    "generator's rate 0.1": {GENERATOR: 0.1},
    "generator's rate 1": {GENERATOR: 1.0},
    "both rates 1": {GENERATOR: 1.0, CRITIC: 1.0},
    "critic at rest": {CRITIC: 1e-12},
    "generator at rest": {GENERATOR: 1e-12},
    "both at rest": {GENERATOR: 1e-12, CRITIC: 1e-12},
}
"""What is done to `dcgan`."""

READ = ("critic_real", "critic_fake", "slope")


def longest(signs: Iterable[bool]) -> int:
    """Of trues in a row."""
    return max((len(list(run)) for sign, run in groupby(signs) if sign), default=0)


def small_faces(folder: Path) -> Path:
    """The demo dataset, every four pixels made one."""
    faces = Dataset(make_demo(folder / "data/demo-64"), 0).images
    small = faces.reshape(len(faces), 32, 2, 32, 2, 3).mean((2, 4)).round().astype(np.uint8)
    with DatasetWriter(folder / "data/small", 32) as writer:
        writer.write(small, [str(n) for n in range(len(small))])
        writer.finish(source={"name": "demo"}, crop={"name": "none"}, filter="box")
    return folder / "data/small"


def watch(data: Path, preset: str, overrides: dict[str, object], seconds: float) -> None:
    """Train for so long, and print what was said when."""
    sheets = list[float]()
    plan = plan_new(
        data, preset, {"training.images": 10**7, "training.epochs": None, "output.log_every": 2, **overrides}, "cpu"
    )
    trainer, began, rows = plan.trainer(), time.monotonic(), list[dict[str, float]]()
    networks = plan.config.networks
    z = latents.draw(0, range(25), networks.latent_dim)

    def on_event(event: Event) -> None:
        if isinstance(event, Logged):
            rows.append(event.row)
        elif isinstance(event, Wrote) and event.path.parent.name == "samples":
            sheets.append(spread(draw_faces(trainer.sampling_generator, networks, z)))
        elif isinstance(event, Noted):
            print(f"  {trainer.images_seen:,} images: {event.text}", flush=True)

    def stopped() -> int | None:
        return signal.SIGTERM if time.monotonic() > began + seconds else None

    with open_run(plan, None, []) as opened:
        try:
            Loop(trainer, plan.dataset, opened.run, opened.provenance, on_event, stopped).train()
        except FaceganError as error:
            print(f"  {trainer.images_seen:,} images: {error.message}")
    print(f"  {len(rows)} rows, the last: " + ", ".join(f"{name} {rows[-1][name]:.3g}" for name in READ))
    print(f"  sheets differ by {min(sheets):.3g} to {max(sheets):.3g} levels, the last by {sheets[-1]:.3g}")
    stretches = {
        f"slope > {STEEP:g}": longest(row["slope"] > STEEP for row in rows),
        f"slope < {FLAT:g}": longest(row["slope"] < FLAT for row in rows),
        "Wasserstein estimate < 0": longest(row["wasserstein"] < 0 for row in rows),
    }
    print("  rows in a row with " + ", ".join(f"{name}: {count}" for name, count in stretches.items()))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60, help="for each")
    parser.add_argument("--only", action="append", choices=[*BAD, *GOOD], metavar="NAME")
    given = parser.parse_args()
    torch.set_num_threads(1)
    bad = {name: ("dcgan", {**NARROW, **change}) for name, change in BAD.items()}
    with tempfile.TemporaryDirectory() as place:
        os.chdir(place)
        small = small_faces(Path())
        for name, (preset, overrides) in {**bad, **GOOD}.items():
            if not given.only or name in given.only:
                print(name, flush=True)
                watch(small, preset, overrides, given.seconds)
