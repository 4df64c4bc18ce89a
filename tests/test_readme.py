"""The README tells the truth: its tree is the tree, imports point upward in it, and its commands run."""

from __future__ import annotations

import ast
import re
import shlex
from pathlib import Path

import pytest
from conftest import cli
from PIL import Image

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text("utf-8")
LISTED = re.findall(r"^  ([\w/]+\.py) ", README.split("```\nfacegan/")[1], re.MULTILINE)
UNLISTED = {"__init__.py", "__main__.py", "cli/__init__.py"}
"""Files with nothing to say; `__init__` holds the version alone."""

REPLACED = {
    "--epochs 100 --device cuda": "--epochs 1 --device cpu --width 4 --critic-width 4 --batch-size 4",
    "--width 16 --critic-width 16 --images 15k": "--width 4 --critic-width 4 --images 64",
    "--data demo": "--data data/celeba-64",
    "--faces 4 --stops 3": "--faces 2 --stops 2 --steps 2",
}
"""What is made small so that the README's commands run within seconds; everything else runs as it stands."""


def test_the_tree_lists_every_file():
    found = {str(path.relative_to(ROOT / "facegan").as_posix()) for path in (ROOT / "facegan").rglob("*.py")}
    assert found - UNLISTED == set(LISTED)
    assert len(LISTED) == len(set(LISTED))


def module_name(path: str) -> str:
    return "facegan." + path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def imported(path: Path) -> set[str]:
    """All modules of this package that a file imports, at the top or inside a function, types aside."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING":
            node.body = []
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("facegan"):
            names |= {node.module or ""} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


@pytest.mark.parametrize("place", range(len(LISTED)), ids=LISTED)
def test_imports_point_upward(place):
    order = [module_name(path) for path in LISTED]
    later = set(order[place:]) - {"facegan.networks"}  # importing a family names its package too
    assert not imported(ROOT / "facegan" / LISTED[place]) & later


def test_files_are_short():
    for path in LISTED:
        assert len((ROOT / "facegan" / path).read_text("utf-8").splitlines()) <= 400, path


def commands() -> list[str]:
    blocks = re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if line.startswith("facegan ")]


def test_every_command_of_the_readme_runs(workdir):
    (workdir / "celeba").mkdir()
    for n in range(6):
        Image.new("RGB", (70, 80), (40 * n, 90, 120)).save(workdir / "celeba" / f"{n}.jpg")
    found = commands()
    assert [line.split()[1] for line in found] == [
        "train", "preprocess", "train", "sample", "interpolate", "arithmetic", "gif",
    ]  # fmt: skip
    for line in [found[1], found[0], *found[2:]]:  # the demo's dataset stands for itself here
        for long, short in REPLACED.items():
            line = line.replace(long, short)
        code, out, err = cli(*shlex.split(line)[1:])
        assert code == 0, f"{line}: {err}"
        assert "wrote" in out


def test_links_and_pictures_exist():
    for page in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        for target in re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", page.read_text("utf-8")):
            if not target.startswith("http"):
                assert (page.parent / target).exists(), f"{page.name}: {target}"
