"""How fast photos become a dataset: `python tests/bench_preprocess.py FOLDER_OF_JPEGS [--photos 40000]`.

Makes photos of CelebA's size (178x218, JPEG quality 92) from the given ones, repeated under other names. Then, round by
round in turn: plain Pillow in one process (open, convert, Lanczos, asarray) and `preprocess` end to end.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from facegan.data.preprocess import preprocess


def make_photos(source: Path, folder: Path, count: int) -> None:
    folder.mkdir()
    made: list[Path] = []
    for path in sorted(source.rglob("*.jpg"))[:count]:
        with Image.open(path) as photo:
            made.append(folder / f"{len(made):06d}.jpg")
            photo.convert("RGB").resize((178, 218), Image.Resampling.LANCZOS).save(made[-1], quality=92)
    for n in range(len(made), count):
        shutil.copyfile(made[n % len(made)], folder / f"{n:06d}.jpg")


def plain_pillow(folder: Path) -> None:
    for path in sorted(folder.iterdir()):
        with Image.open(path) as photo:
            np.asarray(photo.convert("RGB").resize((64, 64), Image.Resampling.LANCZOS, box=(0, 20, 178, 198)))


def seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path)
    parser.add_argument("--photos", type=int, default=40_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2)
    args = parser.parse_args()
    plain, ours = [], []
    with tempfile.TemporaryDirectory() as scratch:
        photos, out = Path(scratch) / "photos", Path(scratch) / "dataset"
        make_photos(args.source, photos, args.photos)
        for _ in range(args.rounds):
            plain.append(args.photos / seconds(lambda: plain_pillow(photos)))
            ours.append(
                args.photos
                / seconds(lambda: preprocess(photos, size=64, workers=args.workers, out=out, overwrite=True))
            )
            print(f"plain Pillow {plain[-1]:,.0f}/s   preprocess {ours[-1]:,.0f}/s", flush=True)
    ratio = statistics.median(b / a for a, b in zip(plain, ours, strict=True))
    print(f"medians: {statistics.median(plain):,.0f}/s and {statistics.median(ours):,.0f}/s, ratio {ratio:.2f}")


if __name__ == "__main__":
    main()
