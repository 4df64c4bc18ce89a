"""facegan from Python: the examples of docs/python.md run as they stand, and the command line draws the same."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import cli
from PIL import Image

import facegan

PAGE = (Path(__file__).parent.parent / "docs" / "python.md").read_text("utf-8")
EXAMPLES = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
LONG_EXAMPLE = re.findall(r"```py\n(.*?)```", PAGE, re.DOTALL)


@pytest.fixture(scope="module")
def model() -> facegan.Model:
    return facegan.load("pretrained", device="cpu")


def test_the_examples_run_in_the_order_of_the_page(workdir, tiny_extractor, monkeypatch, capsys):
    """In one notebook, as it were. Features of a tiny extractor stand in for those of the extra."""
    monkeypatch.setattr("facegan.evaluation.extractors.OFFLINE", tiny_extractor)
    Path("photos").mkdir()
    for n in range(16):
        pixels = np.random.default_rng(n).integers(0, 255, (40, 40, 3), np.uint8)
        Image.fromarray(pixels).save(f"photos/{n}.png")
    names: dict[str, object] = {}
    for example in EXAMPLES:
        exec(compile(example, "docs/python.md", "exec"), names)  # noqa: S102
    said = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in said[:4]] == ["160", "320", "480", "640"]
    assert {path.name for path in Path().glob("*.png")} == {
        "faces.png",
        "walk.png",
        "smiling-man.png",
        "by-name.png",
        "mine.png",
    }


@pytest.mark.slow
def test_the_example_with_a_photo_runs(workdir, model, capsys):
    (example,) = LONG_EXAMPLE
    exec(compile(example, "docs/python.md", "exec"), {"model": model, "facegan": facegan})  # noqa: S102
    assert capsys.readouterr().out.startswith("friend.png: the pixels of the face differ by ")
    assert Path("friend-and-44.png").is_file()


def test_what_is_public_is_all_there():
    for name in facegan._LATER:
        assert getattr(facegan, name) is not None and name in dir(facegan)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = facegan.nothing


def test_the_command_line_draws_the_same(workdir, model):
    assert cli("sample", "pretrained", "--count", 6, "--seed", 3, "--out", "sheet.png", "--device", "cpu")[0] == 0
    assert np.array_equal(np.asarray(Image.open("sheet.png")), np.asarray(facegan.sheet(model.sample(6, seed=3))))
    words = ["arithmetic", "pretrained", "--plus", "1,2", "--minus", "3", "--plus", "7:4", "--save", "--device", "cpu"]
    assert cli(*words)[0] == 0
    ours = model.arithmetic(plus=["1,2", "7:4"], minus=[3])
    np.testing.assert_allclose(ours, np.load("outputs/arithmetic-001.npy").reshape(-1), atol=1e-5)


def test_a_face_may_be_named_in_every_way(model):
    z = model.latents(5)
    for named in (4, np.int64(4), "4", "0:4", z[4], z[4].tolist()):
        np.testing.assert_allclose(model.face(named), z[4], rtol=1e-3)
    np.testing.assert_allclose(np.linalg.norm(model.face("0-4")), np.sqrt(128), rtol=1e-5)
    assert np.array_equal(model.latents(2, first=3), z[3:])
    walk = model.interpolate(0, z[1], "2", steps=4, loop=True)
    assert walk.shape == (9, 128) and np.array_equal(walk[0], z[0])
    assert model.draw(z[0]).shape == (64, 64, 3)
    assert "64 px" in repr(model)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (lambda model: model.draw(np.zeros((2, 5))), "(N, 128), not (2, 5)"),
        (lambda model: model.face([1.0, 2.0]), "latents of 128 numbers, not (2,)"),
        (lambda model: model.face("nobody"), "is not an index"),
        (lambda model: model.interpolate(0), "two faces"),
        (lambda model: model.arithmetic(), "nothing to add"),
        (lambda model: facegan.load("nowhere.pt"), "does not exist"),
        (lambda model: facegan.load("pretrained", device="toaster"), "not a device"),
        (lambda model: facegan.train("nowhere", imagse=5), "no setting 'imagse'"),
        (lambda model: facegan.train("nowhere", images=5, epochs=5), "both say how long"),
        (lambda model: facegan.train("nowhere"), "no dataset at nowhere"),
        (lambda model: facegan.preprocess("nowhere"), "nothing at nowhere"),
    ],
)
def test_what_goes_wrong_is_a_sentence(workdir, model, wrong, says):
    with pytest.raises(facegan.FaceganError) as caught:
        wrong(model)
    assert says in caught.value.message, caught.value.message


def test_importing_is_quick_and_loads_neither_torch_nor_numpy():
    code = "import sys, facegan; assert not {'torch', 'numpy', 'rich'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
