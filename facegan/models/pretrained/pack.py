"""Turn a run into the generator that ships: `python -m facegan.models.pretrained.pack CHECKPOINT`.

Writes the averaged weights and the critic's, in half precision, over the packaged file, and prints its size and
origin. CHECKPOINT is a .pt, as only that has the critic, or a generator's file that was made of one.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from facegan.core.errors import FaceganError
from facegan.core.quantities import size
from facegan.models.checkpoint import load_generator, save_loaded
from facegan.models.pretrained import PATH

MAX_BYTES = 10_000_000

NOTES = {
    "licence": "Weights trained on CelebA: non-commercial research only. See facegan/models/pretrained/LICENSE.",
    "training_data": "CelebA (Liu et al. 2015), aligned images, centred square crop",
}

_PRIVATE = ("system", "device_name", "command")
"""Facts about the machine that trained it. They do not belong in a public file, and neither does the dataset's path;
the model card has the command."""


def pack(source: Path, path: Path = PATH) -> Path:
    """Write the generator of `source` as the packaged one.

    Args:
        source: a checkpoint, or a generator's file with the critic.

    Raises:
        FaceganError: it cannot be read, has no critic, or is too large to ship.
    """
    loaded = load_generator(source)
    if loaded.critic is None:
        raise FaceganError(f"{source} has no critic, which ships with the generator.", "Name a checkpoint (.pt).")
    provenance = {key: value for key, value in loaded.provenance.items() if key not in (*_PRIVATE, "resumed")}
    if dataset := provenance.get("dataset"):
        provenance["dataset"] = {**dataset, "path": Path(dataset["path"]).name}
    count = sum(tensor.numel() for tensor in (*loaded.module.state_dict().values(), *loaded.critic.values()))
    if 2 * count > MAX_BYTES:
        raise FaceganError(f"{source} has {count:,} numbers: too many for a file of {size(MAX_BYTES)} at 2 bytes each.")
    return save_loaded(replace(loaded, provenance=provenance, notes=NOTES), path, half=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path)
    written = pack(parser.parse_args().source)
    loaded = load_generator(written)
    print(f"{written}: {size(written.stat().st_size)}, {loaded.weights} weights, {loaded.images_seen:,} images seen")


if __name__ == "__main__":
    main()
