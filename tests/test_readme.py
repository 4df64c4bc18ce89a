"""The README tells the truth: its commands run, and its pictures and pages are there."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from conftest import cli
from PIL import Image
from skimage import data as pictures

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text("utf-8")
PAGES = (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md")))

REPLACED = {
    "--epochs 100 --device cuda": "--epochs 1 --device cpu --width 4 --critic-width 4 --batch-size 4",
    "--width 16 --critic-width 16 --images 15k": "--width 4 --critic-width 4 --images 64",
    "--data demo": "--data data/celeba-64",
    "--data data/my-photos-64": "--data data/celeba-64 --images 32",
    "--faces 4 --stops 3": "--faces 2 --stops 2 --steps 2",
}
"""What is made small so that the README's commands run within seconds; everything else runs as it stands."""


def commands() -> list[str]:
    blocks = re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if line.startswith("facegan ")]


@pytest.fixture
def few_steps(monkeypatch):
    """Projection and tuning take two steps each: the commands run within a second, and draw nobody."""
    monkeypatch.setattr("facegan.editing.project.TRIALS", ((2, 2),))
    monkeypatch.setattr("facegan.editing.project.FINAL_STEPS", 2)
    monkeypatch.setattr("facegan.editing.project._SAMPLES", 20)
    monkeypatch.setattr("facegan.editing.tune.OFFSET_STEPS", 2)
    monkeypatch.setattr("facegan.editing.tune.WEIGHT_STEPS", 2)


def test_every_command_of_the_readme_runs(workdir, few_steps):
    photo = Image.fromarray(pictures.astronaut())
    photo.save("me.jpg")
    photo.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save("friend.jpg")
    (workdir / "celeba").mkdir()
    for n in range(6):
        Image.new("RGB", (70, 80), (40 * n, 90, 120)).save(workdir / "celeba" / f"{n}.jpg")
    found = commands()
    assert [line.split()[1] for line in found] == [
        "sample", "train", "project", "interpolate", "arithmetic", "edit", "arithmetic", "edit", "studio", "export",
        "preprocess", "train", "train", "sample", "interpolate", "arithmetic", "gif",
    ]  # fmt: skip
    for line in sorted(found, key=lambda line: "preprocess" not in line):  # its dataset stands for the demo's
        if line.startswith("facegan studio"):  # it serves until it is stopped: test_studio.py
            continue
        for long, short in REPLACED.items():
            line = line.replace(long, short)
        code, out, err = cli(*shlex.split(line)[1:])
        assert code == 0, f"{line}: {err}"
        assert "wrote" in out


def test_links_and_pictures_exist():
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", page.read_text("utf-8")):
            if not target.startswith("http"):
                assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_every_file_and_every_test_that_a_page_names_exists():
    files = [
        path.relative_to(ROOT).as_posix()
        for kind in ("facegan", "tests", "docs")
        for path in (ROOT / kind).rglob("*.py")
    ]
    tests = {name for path in files for name in re.findall(r"def (test_\w+)", (ROOT / path).read_text("utf-8"))}
    for page in PAGES:
        text = page.read_text("utf-8")
        for named in re.findall(r"\w[\w/]*\.py\b", text):
            example = named.endswith("networks/residual.py")  # docs/extending.md shows how
            assert example or any(f"/{path}".endswith(f"/{named}") for path in files), f"{page.name}: {named}"
        assert set(re.findall(r"`(test_\w+)`", text)) <= tests, page.name
