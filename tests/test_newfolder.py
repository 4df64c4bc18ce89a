"""A process that dies between the two renames of `preprocess --overwrite`: the old dataset comes back by itself."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from conftest import cli, write_dataset
from PIL import Image

from facegan.datasetdir import find_dataset, read_dataset_json, verify_pixels
from facegan.errors import FaceganError
from facegan.newfolder import NewFolder

DIES_AFTER_RENAME = """
import os, sys
from pathlib import Path
rename, done = Path.replace, []
def replace(self, target):
    rename(self, target)
    done.extend([target] if Path(target).is_dir() else [])
    if len(done) == {renames}:
        os._exit(9)  # as kill -9: nothing is cleaned up
Path.replace = replace
from facegan.cli.app import main
sys.argv = "facegan preprocess photos --size 32 --out data/d --overwrite --workers 1".split()
main()
"""
READERS = {
    "train": lambda: cli("train", "--data", "data/d", "--dry-run", "--width", "4", "--critic-width", "4"),
    "train that finds it": lambda: cli("train", "--dry-run", "--width", "4", "--critic-width", "4"),
    "info": lambda: cli("info", "data/d"),
    "preprocess": lambda: cli("preprocess", "photos", "--size", "32", "--out", "data/d"),
    "preprocess --overwrite": lambda: cli("preprocess", "photos", "--size", "32", "--out", "data/d", "--overwrite"),
}


@pytest.fixture
def place(workdir: Path) -> Path:
    write_dataset(workdir / "data/d", 6)
    (workdir / "photos").mkdir()
    Image.new("RGB", (40, 40), "red").save(workdir / "photos/a.png")
    return workdir


def dies(renames: int) -> None:
    code = DIES_AFTER_RENAME.format(renames=renames)
    assert subprocess.run([sys.executable, "-c", code], check=False, capture_output=True).returncode == 9
    assert Path("data/d").exists() == (renames == 2)
    assert len(list(Path("data").glob(".d.*.facegan-old"))) == 1


def test_killed_between_the_renames(place):
    before = read_dataset_json(place / "data/d").pixels_sha256
    dies(renames=1)
    found = find_dataset()
    assert (found.path, found.pixels_sha256) == (Path("data/d"), before)
    verify_pixels(found)
    assert not list((place / "data").glob(".*.facegan-old"))


@pytest.mark.parametrize("command", READERS)
def test_every_command_that_looks_for_it_finds_it(place, command):
    dies(renames=1)
    code, _, err = READERS[command]()
    if command == "preprocess":  # the old one is kept: it is of another source
        assert code == 1 and "--overwrite" in err
    else:
        assert code == 0, err
    assert read_dataset_json(Path("data/d")).count == (1 if "--overwrite" in command else 6)
    assert not list(Path("data").glob(".*.facegan-old"))


def test_killed_after_both(place):
    """The new one is there, and the old one never takes its place."""
    dies(renames=2)
    assert read_dataset_json(Path("data/d")).count == 1
    assert find_dataset().count == 1


def test_what_nobody_stepped_aside_from_is_left_alone(place):
    for name in (".e.facegan-old", ".e.x.facegan-old", "e.abcdefgh.facegan-old", ".d.abcdefgh.facegan-old"):
        (place / "data" / name).mkdir()
    for name in (".bashrc.20240101.old", ".e.abcdefgh.facegan-old"):  # a backup of the user's, and a file
        (place / "data" / name).touch()
    assert find_dataset().count == 6
    assert len(list(Path("data").iterdir())) == 7


def test_what_finder_or_a_killed_process_left_is_replaced_too(workdir):
    out = workdir / "d"
    out.mkdir()
    for name in ("a", "b-1.json", ".DS_Store", ".a-0123abcd", ".b-1-0123abcd.json"):
        (out / name).touch()
    with NewFolder(out, overwrite=True, known=["a", "b-*.json"]) as folder:
        (folder.path / "a").write_text("new")
        folder.publish()
    assert [file.name for file in out.iterdir()] == ["a"]


def test_a_hidden_file_of_somebodys_is_not_taken_for_a_leftover(workdir):
    (workdir / "d").mkdir()
    (workdir / "d/.notes-20240101.txt").touch()
    with pytest.raises(FaceganError, match=r"holds other files, such as .notes-20240101.txt"):
        NewFolder(workdir / "d", overwrite=True, known=["a", "b-*"]).__enter__()


@pytest.mark.parametrize("overwrite", [False, True])
def test_what_has_come_meanwhile_is_not_replaced(workdir, overwrite):
    """A second process has finished first, or the user has put a file of theirs into the folder."""
    out = workdir / "d"
    with pytest.raises(FaceganError, match="exists"), NewFolder(out, overwrite=overwrite, known=["a"]) as folder:
        (folder.path / "a").write_text("mine")
        out.mkdir()
        (out / ("theirs" if overwrite else "a")).write_text("theirs")
        folder.publish()
    assert [file.read_text() for file in out.iterdir()] == ["theirs"]
    assert list(workdir.iterdir()) == [out]
