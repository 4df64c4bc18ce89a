"""Preprocess: every photo is in the dataset or listed, and the dataset is whole or absent."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import struct
import subprocess
import sys
import time
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from facegan.core import workers
from facegan.core.errors import FaceganError, UsageError
from facegan.data.folder import find_dataset, read_dataset_json
from facegan.data.preprocess import PreprocessResult, preprocess


def gradient(width: int = 178, height: int = 218) -> Image.Image:
    """A picture in which no two places look alike."""
    y, x = np.mgrid[0:height, 0:width]
    pixels = np.stack([x * 255 // max(width - 1, 1), y * 255 // max(height - 1, 1), (x * y) % 256], axis=-1)
    return Image.fromarray(pixels.astype(np.uint8))


def photos(folder: Path, count: int) -> Path:
    folder.mkdir(exist_ok=True)
    for n in range(count):
        Image.new("RGB", (40, 50), (n % 256, n // 256, 7)).save(folder / f"{n:04}.png")
    return folder


def rows(file: Path) -> list[list[str]]:
    with file.open(encoding="utf-8", newline="") as text:
        return list(csv.reader(text))


def bomb() -> bytes:
    """A PNG header that promises 30,000 x 30,000 pixels."""
    header = b"IHDR" + struct.pack(">IIBBBBB", 30000, 30000, 8, 2, 0, 0, 0)
    data = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    return data + struct.pack(">I", 4) + b"IDAT\0\0\0\0" + struct.pack(">I", zlib.crc32(b"IDAT\0\0\0\0"))


def damaged(folder: Path) -> dict[str, str]:
    """Files that cannot be used, and what is said of each."""
    folder.mkdir()
    gradient().save(folder / "whole.jpg")
    whole = (folder / "whole.jpg").read_bytes()
    (folder / "whole.jpg").unlink()
    (folder / "text.jpg").write_text("not a picture")
    (folder / "empty.jpg").write_bytes(b"")
    (folder / "half.jpg").write_bytes(whole[: len(whole) // 2])
    (folder / "header.jpg").write_bytes(whole[:80])
    (folder / "photo.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(40))
    (folder / "bomb.png").write_bytes(bomb())
    Image.new("RGB", (1, 1)).save(folder / "dot.png")
    return {
        "bomb.png": "more than 120,000,000 pixels",
        "dot.png": "too small",
        "empty.jpg": "empty file",
        "half.jpg": "cut short",
        "header.jpg": "cut short",
        "photo.heic": "HEIC",
        "text.jpg": "not a picture",
    }


def test_files_that_cannot_be_used_are_listed_with_the_reason(tmp_path: Path) -> None:
    reasons = damaged(tmp_path / "in")
    gradient().save(tmp_path / "in" / "good photo ü.png")
    result = preprocess(tmp_path / "in", size=32, out=tmp_path / "out")
    header, *skipped = rows(tmp_path / "out" / "skipped.csv")
    assert header == ["name", "reason"]
    assert {name: reason[: len(reasons[name])] for name, reason in skipped} == reasons
    assert (result.count, result.skipped) == (1, len(reasons))
    assert rows(tmp_path / "out" / "attributes.csv") == [["name"], ["good photo ü.png"]]


def test_the_dataset_is_what_it_says(tmp_path: Path) -> None:
    photos(tmp_path / "Faces of Friends", 5)
    (tmp_path / "t.csv").write_text("name,age\n0000.png,30\n0003.png,40\n", encoding="utf-8")
    seen: list[tuple[int, int]] = []
    result = preprocess(
        tmp_path / "Faces of Friends",
        size=32,
        attributes=tmp_path / "t.csv",
        out=tmp_path / "out",
        progress=lambda done, total: seen.append((done, total)),
    )
    images = np.load(tmp_path / "out" / "images.npy", mmap_mode="r")
    assert images.shape == (5, 32, 32, 3)
    assert images.dtype == np.uint8
    assert [int(image[0, 0, 0]) for image in images] == [0, 1, 2, 3, 4]
    facts = json.loads((tmp_path / "out" / "dataset.json").read_text(encoding="utf-8"))
    assert facts["format_version"] == 1
    assert facts["crop"] == {"name": "square"}
    assert facts["filter"] == "lanczos"
    assert facts["pixels_sha256"] == hashlib.sha256(images.tobytes()).hexdigest()
    assert facts["source"]["name"] == "Faces of Friends"
    assert rows(tmp_path / "out" / "attributes.csv")[:3] == [["name", "age"], ["0000.png", "30"], ["0001.png", ""]]
    assert result.without_attributes == 3
    assert result.info == read_dataset_json(tmp_path / "out")
    assert seen[-1] == (5, 5)
    with Image.open(tmp_path / "out" / "preview.png") as preview:
        assert preview.width > 32
    assert sorted(file.name for file in tmp_path.iterdir()) == ["Faces of Friends", "out", "t.csv"]


def test_the_default_place_and_a_kept_dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photos(tmp_path / "My Faces", 3)
    monkeypatch.chdir(tmp_path)
    made = preprocess(Path("My Faces"), size=32)
    assert made.path == Path("data/my-faces-32")
    before = (made.path / "images.npy").stat().st_mtime_ns
    again = preprocess(Path("My Faces"), size=32)
    assert again.reused
    assert again.info == made.info == find_dataset()
    assert (made.path / "images.npy").stat().st_mtime_ns == before
    with pytest.raises(FaceganError, match=r"crop square, not 0\.5"):
        preprocess(Path("My Faces"), size=32, crop="0.5")
    photos(tmp_path / "My Faces", 4)
    with pytest.raises(FaceganError, match="3 photos, not My Faces of 4 photos"):
        preprocess(Path("My Faces"), size=32)
    assert preprocess(Path("My Faces"), size=32, overwrite=True).count == 4
    assert list(Path("data").iterdir()) == [made.path]


def replaced(folder: Path) -> None:
    """As many photos of the same names and sizes."""
    for photo in folder.iterdir():
        photo.write_bytes(photo.read_bytes())


def touched_table(folder: Path) -> None:
    (folder.parent / "t.csv").write_text("name,age\n0000.png,31\n", encoding="utf-8")


def another_folder(folder: Path) -> None:
    folder.rename(folder.parent / "of alice")
    photos(folder.parent / "of bob", 3).rename(folder)


def repacked(folder: Path) -> None:
    with zipfile.ZipFile(folder.parent / "in.zip", "w") as archive:
        for n in range(3):
            Image.new("RGB", (40, 50), (n, n, 8)).save(folder.parent / "x.png")
            archive.write(folder.parent / "x.png", f"{n:04}.png")


@pytest.mark.parametrize("change", [replaced, another_folder, touched_table, repacked])
def test_another_source_of_the_same_name_is_told_apart(tmp_path: Path, change: Callable[[Path], None]) -> None:
    source = photos(tmp_path / "in", 3)
    table = tmp_path / "t.csv"
    table.write_text("name,age\n0000.png,30\n", encoding="utf-8")
    if change is repacked:
        with zipfile.ZipFile(tmp_path / "in.zip", "w") as archive:
            for photo in sorted(source.iterdir()):
                archive.write(photo, photo.name)
        source = tmp_path / "in.zip"

    def again() -> PreprocessResult:
        return preprocess(source, size=32, attributes=table, out=tmp_path / "out", workers=1)

    made = again()
    assert again().reused
    change(tmp_path / "in")
    with pytest.raises(FaceganError, match="another table" if change is touched_table else "other photos") as caught:
        again()
    assert "--out" in caught.value.hint
    assert read_dataset_json(tmp_path / "out") == made.info


def test_a_source_that_has_moved_is_the_same(tmp_path: Path) -> None:
    preprocess(photos(tmp_path / "in", 3), size=32, out=tmp_path / "out", workers=1)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "in").rename(tmp_path / "elsewhere" / "in")
    assert preprocess(tmp_path / "elsewhere" / "in", size=32, out=tmp_path / "out").reused


def test_photos_with_the_same_pixels(tmp_path: Path) -> None:
    photos(tmp_path / "in", 3)
    (tmp_path / "in" / "copy.png").write_bytes((tmp_path / "in" / "0001.png").read_bytes())
    kept = preprocess(tmp_path / "in", size=32, out=tmp_path / "kept")
    assert (kept.count, kept.duplicates, kept.skipped) == (4, 1, 0)
    assert rows(tmp_path / "kept" / "duplicates.csv")[1:] == [["copy.png", "0001.png"]]
    dropped = preprocess(tmp_path / "in", size=32, out=tmp_path / "dropped", dedupe=True)
    assert (dropped.count, dropped.duplicates, dropped.skipped) == (3, 1, 1)
    assert rows(tmp_path / "dropped" / "skipped.csv")[1:] == [["copy.png", "same pixels as 0001.png"]]


def test_limit_takes_the_first_by_name(tmp_path: Path) -> None:
    result = preprocess(photos(tmp_path / "in", 5), size=32, limit=2, out=tmp_path / "out")
    assert [name for (name,) in rows(result.path / "attributes.csv")[1:]] == ["0000.png", "0001.png"]


def taken(result: PreprocessResult) -> list[str]:
    return [row[0] for row in rows(result.path / "attributes.csv")[1:]]


def test_skip_leaves_out_the_first_by_name(tmp_path: Path) -> None:
    photos(tmp_path / "in", 5)
    assert taken(preprocess(tmp_path / "in", size=32, skip=3, out=tmp_path / "a")) == ["0003.png", "0004.png"]
    assert taken(preprocess(tmp_path / "in", size=32, skip=1, limit=2, out=tmp_path / "b")) == ["0001.png", "0002.png"]
    assert preprocess(tmp_path / "in", size=32, skip=0, out=tmp_path / "c").count == 5
    assert preprocess(tmp_path / "in", size=32, out=tmp_path / "c").reused
    with pytest.raises(FaceganError, match="skip none, not 2"):
        preprocess(tmp_path / "in", size=32, skip=2, out=tmp_path / "c")
    with pytest.raises(FaceganError, match="--skip 5 leaves none of the 5 photos"):
        preprocess(tmp_path / "in", size=32, skip=5, out=tmp_path / "d")
    assert not (tmp_path / "d").exists()


def test_several_sources_become_one_dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    photos(Path("A"), 3)
    photos(Path("B"), 2)
    Path("B/0001.png").write_bytes(b"")
    with zipfile.ZipFile("more.zip", "w") as archive:
        archive.write("A/0002.png", "x/0002.png")
    Path("t.csv").write_text("name,who\nA/0001.png,Ann\nx/0002.png,Bob\n0002.png,Cy\n", encoding="utf-8")
    result = preprocess([Path("A"), Path("B"), Path("more.zip")], size=32, attributes=Path("t.csv"))
    assert result.path == Path("data/a-and-2-more-32")
    assert taken(result) == ["A/0000.png", "A/0001.png", "A/0002.png", "B/0000.png", "more.zip/x/0002.png"]
    assert np.load(result.info.images)[:, 0, 0, 0].tolist() == [0, 1, 2, 0, 2]
    assert rows(result.path / "skipped.csv")[1:] == [["B/0001.png", "empty file"]]
    assert [row[1] for row in rows(result.path / "attributes.csv")[1:3]] == ["", "Ann"]
    assert result.info.source["name"] == "A + B + more.zip"
    assert preprocess([Path("A"), Path("B"), Path("more.zip")], size=32, attributes=Path("t.csv")).reused
    part = preprocess([Path("A"), Path("B"), Path("more.zip")], size=32, skip=2, limit=2, out=Path("data/part"))
    assert (taken(part), part.skipped) == (["A/0002.png", "B/0000.png"], 0)
    assert preprocess([Path("B"), Path("A")], size=32).path == Path("data/b-and-a-32")


def test_sources_of_one_name_are_told_apart_and_none_is_taken_twice(tmp_path: Path) -> None:
    sources = [photos(tmp_path / name / "photos", 1) for name in ("alice", "bob") if not (tmp_path / name).mkdir()]
    result = preprocess(sources, size=32, out=tmp_path / "out")
    assert taken(result) == ["alice/photos/0000.png", "bob/photos/0000.png"]
    for again, says in (([*sources, sources[0]], "is given twice"), ([*sources, tmp_path], "would be taken twice")):
        with pytest.raises(FaceganError, match=says):
            preprocess(again, size=32, out=tmp_path / "again")


def test_workers_change_nothing_and_import_no_torch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photos(tmp_path / "in", 150)
    (tmp_path / "in" / "0070.png").write_text("broken")
    (tmp_path / "in" / "0090.png").write_bytes((tmp_path / "in" / "0010.png").read_bytes())
    alone = preprocess(tmp_path / "in", size=32, workers=1, dedupe=True, out=tmp_path / "alone")
    monkeypatch.setattr(workers, "HEAD_START_SECONDS", 0)
    many = preprocess(tmp_path / "in", size=32, workers=3, dedupe=True, out=tmp_path / "many")
    assert alone.count == many.count == 148
    for name in ("images.npy", "attributes.csv", "skipped.csv", "dataset.json"):
        assert (alone.path / name).read_bytes() == (many.path / name).read_bytes(), name
    code = "import sys, facegan.data.decode; assert not {'torch', 'numpy', 'typer', 'rich'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
    code = "import sys, facegan.data.preprocess, facegan.cli.preprocess; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_stopping_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photos(tmp_path / "in", 300)
    monkeypatch.setattr(workers, "HEAD_START_SECONDS", 0)

    def stop(done: int, total: int) -> None:
        if done >= 128:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        preprocess(tmp_path / "in", size=32, workers=2, out=tmp_path / "data" / "out", progress=stop)
    assert list((tmp_path / "data").iterdir()) == []


def test_a_failed_replacement_keeps_the_old_dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = preprocess(photos(tmp_path / "in", 2), size=32, out=tmp_path / "data" / "out").info

    def fail(done: int, total: int) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        preprocess(tmp_path / "in", size=64, out=old.path, overwrite=True, progress=fail)
    assert read_dataset_json(old.path) == old
    assert [folder.name for folder in (tmp_path / "data").iterdir()] == ["out"]


def test_what_a_killed_process_left_is_removed_later(tmp_path: Path) -> None:
    for name, age in ((".out.dead.part", 7200), (".out.busy.part", 0), (".outer.dead.part", 7200)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "images.npy").write_bytes(b"x")
        for path in (tmp_path / name / "images.npy", tmp_path / name):
            os.utime(path, (time.time() - age, time.time() - age))
    preprocess(photos(tmp_path / "in", 1), size=32, out=tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == [".out.busy.part", ".outer.dead.part", "in", "out"]


def test_places_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photos(tmp_path / "in", 1)
    (tmp_path / "file").write_text("")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    for out, says in (("file", "not a folder"), ("file/below", "could not be written"), ("mine", "other files")):
        with pytest.raises(FaceganError, match=says):
            preprocess(tmp_path / "in", size=32, out=tmp_path / out, overwrite=True)
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "years of work"

    def refuse(*args: object, **kwargs: object) -> str:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("facegan.core.atomic.tempfile.mkdtemp", refuse)
    with pytest.raises(FaceganError, match="Permission denied"):
        preprocess(tmp_path / "in", size=32, out=tmp_path / "out")


def test_sources_of_which_nothing_is_usable(tmp_path: Path) -> None:
    damaged(tmp_path / "in")
    with pytest.raises(FaceganError, match=r"none of its photos \(7\)"):
        preprocess(tmp_path / "in", size=32, out=tmp_path / "out")
    with pytest.raises(FaceganError, match="smaller than the crop of 500") as caught:
        preprocess(photos(tmp_path / "small", 1), size=32, crop="500", out=tmp_path / "out")
    assert "smaller --crop" in caught.value.hint
    gradient(60, 60).save(tmp_path / "small" / "0000.png")
    with pytest.raises(FaceganError, match="CelebA"):
        preprocess(tmp_path / "small", size=32, crop="nvae", out=tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "small"]


@pytest.mark.parametrize(
    "bad", [{"size": 63}, {"size": 512}, {"size": 32, "limit": 0}, {"size": 32, "workers": 0}, {"size": 32, "skip": -1}]
)
def test_values_that_no_source_could_make_right(tmp_path: Path, bad: dict[str, int]) -> None:
    with pytest.raises(UsageError):
        preprocess(tmp_path, **bad)  # type: ignore[arg-type]


def test_every_option_arrives(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import typer

    from facegan.cli.preprocess import preprocess as command

    info = preprocess(photos(tmp_path / "in", 3), size=32, out=tmp_path / "out").info
    taken: dict[str, object] = {}

    def work(source: list[Path], **options: object) -> PreprocessResult:
        taken.update(options, source=source)
        return PreprocessResult(info.path, info, 3, 1, 0, "0.5", reasons=(("why", 1),))

    monkeypatch.setattr("facegan.data.preprocess.preprocess", work)
    app = typer.Typer()
    app.command()(command)
    line = "in more.zip --size 128 --crop 0.5 --attributes t.csv --limit 9 --skip 2 --workers 3 --out o"
    ran = CliRunner().invoke(app, [*line.split(), "--dedupe", "--overwrite"])
    assert ran.exit_code == 0, ran.output
    taken.pop("progress")
    assert taken == {
        "source": [Path("in"), Path("more.zip")],
        "size": 128,
        "crop": "0.5",
        "faces": None,
        "attributes": Path("t.csv"),
        "limit": 9,
        "skip": 2,
        "workers": 3,
        "out": Path("o"),
        "dedupe": True,
        "overwrite": True,
    }
