"""Peak memory of a walk while its frames are written.

    python tests/walk_memory.py .mp4 10000
    python tests/walk_memory.py .gif 400

One face of 32 px from a tiny network, enlarged to 384 x 384: what is measured is the writing.
"""

from __future__ import annotations

import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from conftest import tiny

from facegan.faces.compose import walk
from facegan.models.checkpoint import load_generator, save_generator
from facegan.networks import build_generator
from facegan.pictures.animation import write_animation

STOPS = 10


def peak() -> str:
    """Of this process; ffmpeg has one of its own."""
    return f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000:.0f} MB"


def reported(frames: Iterator[np.ndarray], count: int) -> Iterator[np.ndarray]:
    began, at = time.monotonic(), {count // 10, count // 2, count}
    for n, frame in enumerate(frames, 1):
        yield frame
        if n in at:
            shape = f"{frame.shape[1]} x {frame.shape[0]}"
            print(f"{n:,} frames of {shape}: {peak()}, {time.monotonic() - began:.0f} s", flush=True)


if __name__ == "__main__":
    torch.set_num_threads(1)
    suffix, count = sys.argv[1], int(sys.argv[2])
    with tempfile.TemporaryDirectory() as place:
        config, path = tiny("keras-faces-64"), Path(place) / "g.safetensors"
        save_generator(path, build_generator(config), config, images_seen=0, weights="raw", provenance={})
        frames = walk(load_generator(path), faces=1, stops=STOPS, steps=count // STOPS, seed=0)
        write_animation(reported(frames, count), Path(place) / f"walk{suffix}", fps=25)
        size = (Path(place) / f"walk{suffix}").stat().st_size / 1e6
        print(f"written: {peak()}, the file {size:.1f} MB")
