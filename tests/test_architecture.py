"""The order of the packages: each imports only from those before it; and docs/architecture.md lists every file."""

from __future__ import annotations

import ast
import re
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "facegan"
ORDER = (
    "core", "config", "presets", "pictures", "data", "networks", "models", "faces", "evaluation", "editing",
    "training", "runs", "bench", "export",
    "describe", "studio", "api", "__init__", "cli", "__main__",
)  # fmt: skip
PAGE = (ROOT / "docs" / "architecture.md").read_text("utf-8")
FILES = sorted(PACKAGE.rglob("*.py"))


def name_of(path: Path) -> str:
    return "facegan." + ".".join(path.relative_to(PACKAGE).with_suffix("").parts)


MODULES = {name_of(path) for path in FILES}


def room(module: str) -> str:
    return module.split(".")[1]


def imported(path: Path, *, types: bool) -> set[str]:
    """The modules of this package that a file imports, inside functions too; `types`: also for annotations alone."""
    tree = ast.parse(path.read_text("utf-8"))
    if not types:
        for node in ast.walk(tree):
            if isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING":
                node.body = []
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "facegan":
            inside = {f"{node.module}.{alias.name}" for alias in node.names}
            names |= (inside & MODULES) | (
                {node.module, f"{node.module}.__init__"} & MODULES if inside - MODULES else set()
            )
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names} & MODULES
    return names


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_a_package_imports_only_from_those_before_it(path):
    known = ORDER[: ORDER.index(room(name_of(path))) + 1]
    assert {module for module in imported(path, types=True) if room(module) not in known} == set()


def test_no_file_imports_itself_by_way_of_others():
    files = {name_of(path): imported(path, types=False) - {name_of(path)} for path in FILES}
    assert list(TopologicalSorter(files).static_order())


def test_every_package_has_its_place_and_every_file_its_line():
    assert {room(module) for module in MODULES} == set(ORDER)
    tree = PAGE.split("```\nfacegan/")[1]
    listed, package = [], ""
    for indent, name in re.findall(r"^( +)([\w/]+(?:\.py|/)) ", tree, re.MULTILINE):
        package = name if len(indent) == 2 and name.endswith("/") else package if len(indent) == 4 else ""
        if name.endswith(".py"):
            listed.append(package + name)
    with_nothing_to_say = {
        path for path in FILES if path.name == "__init__.py" and "def " not in path.read_text("utf-8")
    }
    found = {path.relative_to(PACKAGE).as_posix() for path in set(FILES) - with_nothing_to_say}
    assert found - {"__init__.py", "__main__.py"} == set(listed) - {"models/pretrained/__init__.py"}
    assert len(listed) == len(set(listed))


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_a_file_is_one_idea(path):
    """To split one for a number's sake would be worse, so the limit is generous."""
    assert len(path.read_text("utf-8").splitlines()) <= 400
