"""How often an edit gives a face what it should, and leaves alone what it should: the rates of docs/quality.md.

    python tests/attribute_rates.py data/celeba-64 --photos 7000 --folder outputs/attribute-rates

One classifier learns from the first half of the photos, and the directions are made with it; another one, of another
seed, learns from the other half and judges. Both are measured on the photos after them, which neither has seen. The
classifiers are kept in the folder, and a second call uses them again. With --attributes FILE, that file's directions
are judged instead; its classifier may have seen the judge's photos.

For each attribute, faces that lack it by the judge are edited by +2. The table has the share in which the judge then
sees it, and for each kept attribute the share in which the judge sees what it saw before: of all faces, and behind the
stroke of those of which it was sure, with a logit beyond 1.5.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file

from facegan.core.errors import FaceganError
from facegan.core.pixels import Pixels
from facegan.data.columns import Column, read_columns
from facegan.data.dataset import Dataset
from facegan.editing.attributes import Attribute, Attributes, load_attributes
from facegan.editing.classifier import STEPS, Classifier, learn, outputs
from facegan.editing.directions import edit
from facegan.editing.learning import directions_of
from facegan.faces.latents import Latents, draw
from facegan.faces.synthesis import draw_faces
from facegan.runs.find import find_generator, open_generator

CHANGED = "Smiling", "Eyeglasses", "Blond_Hair", "Bangs", "Young", "Male"
KEPT = "Male", "Young", "Eyeglasses", "Smiling"
SEED = 424_242
"""Of the faces that are edited."""
SURE = 1.5


def classifier_of(
    images: Pixels, columns: Sequence[Column], rows: range, seed: int, steps: int, path: Path
) -> Classifier:
    """The classifier that learnt from these photos: the one that is kept at `path`, or a new one."""
    if path.exists():
        classifier = Classifier(len(columns))
        classifier.load_state_dict(load_file(path))
        return classifier.eval().requires_grad_(False)
    print(f"learning {path.name} from photos {rows.start} to {rows.stop - 1}", flush=True)
    classifier = learn(images, columns, np.arange(rows.start, rows.stop), seed=seed, steps=steps)
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: tensor.contiguous() for name, tensor in classifier.state_dict().items()}, path)
    return classifier


def right(classifier: Classifier, images: Pixels, columns: Sequence[Column], rows: range) -> NDArray[np.float64]:
    """The share of these photos about which the classifier is right, for each column."""
    found = outputs(classifier, images[rows.start : rows.stop]) > 0
    wanted = np.stack([column.values[rows.start : rows.stop] for column in columns], axis=1) > 0.5
    return (found == wanted).mean(0)


def rates(given: argparse.Namespace) -> None:
    dataset = Dataset(given.dataset, seed=0)
    columns = [column for column in read_columns(dataset.info)[0] if not column.numeric]
    names = [column.name for column in columns]
    half, count = given.photos // 2, given.photos
    make = partial(classifier_of, dataset.images, columns, steps=given.steps)
    judge = make(range(half, count), 2, path=given.folder / "judge.safetensors")
    loaded = open_generator(find_generator(given.generator)[0])
    if given.attributes:
        found = load_attributes(given.attributes)
    else:
        maker = make(range(half), 1, path=given.folder / "maker.safetensors")
        known = [Attribute(name, False, 1, 0) for name in names]
        found = directions_of(loaded, maker, known, faces=given.faces)
        seen = range(count, len(dataset))
        if seen:
            for what, classifier in (("maker", maker), ("judge", judge)):
                share = dict(zip(names, right(classifier, dataset.images, columns, seen), strict=True))
                told = ", ".join(f"{name} {share[name]:.3f}" for name in CHANGED)
                print(f"{what}, right about {len(seen):,} photos that nobody saw: {told}")

    def judged(z: Latents) -> Logits:
        faces = draw_faces(loaded.module, loaded.config.networks, z)
        return dict(zip(names, outputs(judge, faces).T, strict=True))

    z = draw(SEED, range(given.pool), loaded.config.networks.latent_dim)
    before = judged(z)
    print("| +2 of | faces | have it then | " + " | ".join(f"{name} kept" for name in KEPT) + " |")
    print("|---" * (3 + len(KEPT)) + "|", flush=True)
    for name in CHANGED:
        print(row(found, name, given.amount, z, before, judged, given.edited), flush=True)


Logits = dict[str, NDArray[np.float32]]


def row(
    found: Attributes,
    name: str,
    amount: float,
    z: Latents,
    before: Logits,
    judged: Callable[[Latents], Logits],
    most: int,
) -> str:
    """A line of the table."""
    if refused := next((one.refused for one in found.known if one.name == name), "it is not there"):
        return f"| {name} | {refused} |"
    chosen = np.flatnonzero(before[name] < 0)[:most]
    after = judged(edit(found, z[chosen], {name: amount}))
    cells = [f"{name} | {len(chosen)} | {(after[name] > 0).mean():.1%}"]
    for kept in KEPT:
        was, now = before[kept][chosen], after[kept]
        same = (was > 0) == (now > 0)
        cells.append("" if kept == name else f"{same.mean():.1%} / {same[np.abs(was) > SURE].mean():.1%}")
    return "| " + " | ".join(cells) + " |"


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path, help="with attributes.csv")
    parser.add_argument("--generator", type=Path, default=Path("pretrained"))
    parser.add_argument(
        "--photos", type=int, default=7000, help="from which the classifiers learn, half from each half"
    )
    parser.add_argument("--attributes", type=Path, help="a file of attributes to judge instead of new ones")
    parser.add_argument("--faces", type=int, default=20_000, help="of the generator, from which directions are learnt")
    parser.add_argument("--pool", type=int, default=2500, help="faces from which those that are edited are chosen")
    parser.add_argument("--edited", type=int, default=200, help="faces to edit, for each attribute")
    parser.add_argument("--amount", type=float, default=2.0)
    parser.add_argument("--steps", type=int, default=STEPS, help="of the classifiers' training")
    parser.add_argument("--folder", type=Path, default=Path("outputs/attribute-rates"))
    try:
        rates(parser.parse_args(words))
    except FaceganError as error:
        sys.exit(f"error: {error.message} {error.hint}")


if __name__ == "__main__":
    main()
