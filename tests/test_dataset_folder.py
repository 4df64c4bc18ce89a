"""The dataset directory: the writer, the reader, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from facegan.core.errors import FaceganError
from facegan.data.folder import find_dataset, read_dataset_json
from facegan.data.writer import DatasetWriter


def written(out: Path, count: int = 3, size: int = 4) -> Path:
    with DatasetWriter(out, size, columns=["age"]) as writer:
        for n in range(count):
            writer.write(np.full((1, size, size, 3), n, np.uint8), [f"{n}.png"], [[str(n)]])
        writer.skip("x.png", "why, not")
        writer.finish(source={"name": "drawn"}, crop={"name": "none"}, filter="none")
    return out


def test_the_writer_serves_images_that_come_from_no_photo(tmp_path: Path) -> None:
    info = read_dataset_json(written(tmp_path / "demo-4"))
    assert (info.count, info.size, info.attributes, info.skipped) == (3, 4, ("age",), 1)
    assert np.load(info.images)[2].max() == 2


def _edit(**changes: object) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        facts = json.loads((folder / "dataset.json").read_text(encoding="utf-8"))
        (folder / "dataset.json").write_text(json.dumps({**facts, **changes}), encoding="utf-8")

    return apply


@pytest.mark.parametrize(
    ("break_it", "says"),
    [
        (_edit(format_version=2), "newer facegan"),
        (_edit(count=4), "bytes where"),
        (_edit(count="many"), "not a number"),
        (_edit(pixels_sha256="ab"), "SHA-256"),
        (lambda folder: (folder / "dataset.json").write_text("{"), "broken"),
        (lambda folder: (folder / "dataset.json").write_text("[]"), "broken"),
        (lambda folder: (folder / "dataset.json").write_text("{}"), 'no "format_version"'),
        (lambda folder: (folder / "images.npy").unlink(), "no images.npy"),
    ],
)
def test_a_broken_dataset_is_refused_in_a_sentence(tmp_path: Path, break_it: Callable[[Path], None], says: str) -> None:
    break_it(written(tmp_path / "d"))
    with pytest.raises(FaceganError, match=says):
        read_dataset_json(tmp_path / "d")


def test_find_dataset(tmp_path: Path) -> None:
    with pytest.raises(FaceganError, match="no dataset") as caught:
        find_dataset(tmp_path)
    assert "facegan preprocess" in caught.value.hint
    written(tmp_path / "a")
    assert find_dataset(tmp_path).path == tmp_path / "a"
    written(tmp_path / "b")
    with pytest.raises(FaceganError, match=r"2 datasets: .*a, .*b"):
        find_dataset(tmp_path)
