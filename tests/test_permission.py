"""Files that may not be read are neither missing nor damaged: messages say so, and nothing replaces the files."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from conftest import cli, tiny, write_dataset

from facegan.core.errors import FaceganError
from facegan.data.dataset import Dataset
from facegan.data.folder import find_dataset, read_dataset_json, verify_pixels
from facegan.data.preprocess import preprocess
from facegan.describe import describe
from facegan.evaluation.comparison import own_photos
from facegan.models.checkpoint import load_checkpoint, load_generator
from facegan.models.pretrained import PATH
from facegan.runs.find import find_generator, open_generator
from facegan.runs.folder import RunDir, create_run, newest_run
from facegan.runs.plan import plan_resume
from facegan.runs.provenance import read_provenance

DATA, RUN = Path("data/d"), Path("runs/00001-x")
CHECKPOINT = RUN / "checkpoints/000000064.pt"

pytestmark = pytest.mark.skipif(os.name == "nt", reason="permissions are others there")


@pytest.fixture
def place(workdir: Path) -> Path:
    """A dataset, and the files of a run that nobody looks into here."""
    write_dataset(DATA, 4)
    run = create_run("x")
    run.write_config(tiny("dcgan"))
    CHECKPOINT.parent.mkdir()
    for path in (CHECKPOINT, run.generator, run.provenance):
        path.write_bytes(b"{}")
    for folder in (workdir, *(path for path in workdir.rglob("*") if path.is_dir())):
        folder.chmod(0o777)
    return workdir


@contextmanager
def forbidden(path: Path) -> Iterator[None]:
    """Nobody may read it, and we are nobody: root may read everything."""
    mode, me = path.stat().st_mode, os.geteuid()
    path.chmod(0)
    try:
        if me == 0:
            os.seteuid(65534)
        yield
    finally:
        os.seteuid(me)
        path.chmod(mode)


READERS: dict[str, tuple[Path, Callable[[], Any]]] = {
    "pixels": (DATA / "images.npy", lambda: Dataset(DATA, 0)),
    "pixels, of info": (DATA / "images.npy", lambda: describe(DATA)),
    "pixels, to verify": (DATA / "images.npy", lambda: verify_pixels(SimpleNamespace(  # type: ignore[arg-type]
        path=DATA, images=DATA / "images.npy", count=4, size=32))),
    "dataset.json": (DATA / "dataset.json", lambda: read_dataset_json(DATA)),
    "dataset.json, of the only dataset": (DATA / "dataset.json", find_dataset),
    "dataset.json, to be kept": (DATA / "dataset.json", lambda: preprocess(Path("photos"), size=32, out=DATA)),
    "a dataset, to be kept": (DATA, lambda: preprocess(Path("photos"), size=32, out=DATA)),
    "a dataset": (DATA, lambda: read_dataset_json(DATA)),
    "a dataset, of info": (DATA, lambda: describe(DATA)),
    "the only dataset": (DATA, find_dataset),
    "all datasets": (DATA.parent, find_dataset),
    "a checkpoint": (CHECKPOINT, lambda: load_checkpoint(CHECKPOINT)),
    "a checkpoint, of info": (CHECKPOINT, lambda: describe(CHECKPOINT)),
    "a checkpoint, of a run": (CHECKPOINT, lambda: open_generator(RUN)),
    "a generator": (RUN / "generator.safetensors", lambda: load_generator(RUN / "generator.safetensors")),
    "all checkpoints": (CHECKPOINT.parent, lambda: RunDir(RUN).checkpoints()),
    "all checkpoints, to go on": (CHECKPOINT.parent, lambda: plan_resume(RunDir(RUN), {}, None)),
    "all checkpoints, to draw": (CHECKPOINT.parent, lambda: find_generator(None)),
    "config.json": (RUN / "config.json", lambda: RunDir(RUN).read_config()),
    "provenance.json": (RUN / "provenance.json", lambda: read_provenance(RunDir(RUN))),
    "a run": (RUN, lambda: RunDir(RUN).read_config()),
    "the newest run": (RUN, newest_run),
    "all runs": (RUN.parent, newest_run),
    "all runs, to draw": (RUN.parent, lambda: find_generator(None)),
}  # fmt: skip


@pytest.mark.parametrize("what", READERS)
def test_what_may_not_be_read_is_neither_missing_nor_damaged(place, what):
    (place / "photos").mkdir()
    (place / "photos/a.jpg").touch()
    path, read = READERS[what]
    with forbidden(path), pytest.raises(FaceganError) as caught:
        read()
    assert "cannot be read: Permission denied" in caught.value.message
    assert str(path) in caught.value.message
    assert not any(word in caught.value.hint for word in ("overwrite", "rename", "Make", "new run"))


def test_info_says_it_of_a_part_of_a_run(place):
    with forbidden(RUN / "provenance.json"):
        facts = dict(describe(RUN)[1])
    assert "Permission denied" in facts["provenance"]


def test_a_folder_that_is_none_of_ours_hides_no_dataset(place):
    """lost+found, where data/ is a disk of its own."""
    Path("data/lost+found").mkdir()
    with forbidden(Path("data/lost+found")):
        assert find_dataset().path == DATA


def test_the_photos_of_somebody_else_are_not_looked_for(place):
    """A generator that was given on names a dataset in the home of its maker."""
    loaded: Any = SimpleNamespace(provenance={"dataset": {"path": str(DATA)}})
    for path in (DATA, DATA / "dataset.json"):
        with forbidden(path):
            assert own_photos(loaded) is None


def test_a_hint_names_only_options_that_there_are(workdir, monkeypatch):
    """`conftest.check_hint` looks at the hint of every error that a test meets; here are some that few tests meet."""

    def refuse(*args: object, **kwargs: object) -> str:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("facegan.core.atomic.tempfile.mkdtemp", refuse)
    code, _, err = cli("train", "--data", "demo", "--device", "cpu")
    assert code == 1 and "cannot" not in err and "could not be written: Permission denied" in err

    def no_memory(*args: object, **kwargs: object) -> None:
        raise MemoryError

    monkeypatch.setattr("facegan.data.preprocess.preprocess", no_memory)
    assert "End other programs, or use a smaller --size." in cli("preprocess", "photos")[2]
    monkeypatch.setattr("facegan.describe.describe", no_memory)
    assert "End other programs." in cli("info", PATH)[2]


def test_a_run_of_its_generator_alone_is_drawn_with(workdir):
    first, second = create_run("x"), create_run("y")
    for run in (first, second):
        run.generator.write_bytes(PATH.read_bytes())
    first.write_config(tiny("dcgan"))
    path, why = find_generator(None)
    assert path == second.generator and str(second.generator) in why
    assert open_generator(second.path).images_seen == open_generator(first.path).images_seen > 0
    assert describe(second.path)[0] == "generator"
    assert dict(describe(first.path)[1])["checkpoints"] == "none left, only generator.safetensors"
