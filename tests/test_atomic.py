"""If a process dies between the two renames of `preprocess --overwrite`, the next one puts the old dataset back."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from conftest import cli, write_dataset
from PIL import Image

from facegan.core.atomic import NewFolder, put_back
from facegan.core.errors import FaceganError
from facegan.data.folder import KNOWN_FILES, find_dataset, read_dataset_json, verify_pixels

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
    put_back(Path("data/d"), KNOWN_FILES)
    found = find_dataset()
    assert (found.path, found.pixels_sha256) == (Path("data/d"), before)
    verify_pixels(found)
    assert not list((place / "data").glob(".*.facegan-old"))


@pytest.mark.parametrize("command", READERS)
def test_preprocess_puts_it_back_and_others_say_where_it_is(place, command):
    dies(renames=1)
    (aside,) = Path("data").glob(".d.*.facegan-old")
    code, _, err = READERS[command]()
    if command == "preprocess --overwrite":
        assert code == 0 and read_dataset_json(Path("data/d")).count == 1
    elif command == "preprocess":  # the old one is kept: it is of another source
        assert code == 1 and "--overwrite" in err and read_dataset_json(Path("data/d")).count == 6
    else:
        assert code == 1 and f"Rename {aside} to {Path('data/d')}" in err
    assert aside.exists() == ("preprocess" not in command)


def test_a_dataset_that_stepped_aside_is_not_forgotten_beside_another(place):
    """Else the other would be taken for the only one."""
    dies(renames=1)
    write_dataset(Path("data/e"), 2)
    with pytest.raises(FaceganError, match=r"2 datasets: data.d, data.e"):
        find_dataset()


def test_killed_after_both(place):
    """The new one is there, and the old one never takes its place."""
    dies(renames=2)
    put_back(Path("data/d"), KNOWN_FILES)
    assert read_dataset_json(Path("data/d")).count == 1
    assert find_dataset().count == 1


@pytest.mark.parametrize("of", ["another name", "another user", "other files", "a file"])
def test_what_is_not_surely_ours_is_left_alone(place, monkeypatch, of):
    folder = place / "data" / (".e.abcdefgh.facegan-old" if of != "another name" else ".e.x.facegan-old")
    if of == "a file":
        folder.touch()
    else:
        (place / "data/d").rename(folder)
    if of == "other files":
        (folder / "thesis.txt").touch()
    if of == "another user":
        monkeypatch.setattr("os.getuid", lambda: 12345, raising=False)
    put_back(place / "data/e", KNOWN_FILES)
    assert folder.exists() and not (place / "data/e").exists()


def test_only_the_folder_that_is_asked_for_is_put_back(place):
    write_dataset(place / "data/e", 2).rename(place / "data/.e.abcdefgh.facegan-old")
    (place / "data/d").rename(place / "data/.d.abcdefgh.facegan-old")
    put_back(place / "data/d", KNOWN_FILES)
    assert sorted(path.name for path in (place / "data").iterdir()) == [".e.abcdefgh.facegan-old", "d"]


def test_what_finder_or_a_killed_process_left_is_replaced_too(workdir):
    out = workdir / "d"
    out.mkdir()
    for name in ("a", "b-1.json", ".DS_Store", ".a-0123abcd", ".b-1-0123abcd.json"):
        (out / name).touch()
    (out / "@eaDir").mkdir()  # Synology's thumbnails
    with NewFolder(out, overwrite=True, known=["a", "b-*.json"]) as folder:
        (folder.path / "a").write_text("new")
        (folder.path / "@eaDir").mkdir()
        folder.publish()
    assert sorted(file.name for file in out.iterdir()) == ["@eaDir", "a"]


def test_a_hidden_file_of_somebodys_is_not_taken_for_a_leftover(workdir):
    for number, name in enumerate((".notes-20240101.txt", "#recycle")):
        (workdir / f"d{number}").mkdir()
        (workdir / f"d{number}" / name).touch()
        with pytest.raises(FaceganError, match=f"holds other files, such as {name}"):
            NewFolder(workdir / f"d{number}", overwrite=True, known=["a", "b-*"]).__enter__()


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
