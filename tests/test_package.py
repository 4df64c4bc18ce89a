"""A release is whole: every file of the package is in the wheel, and every licence; every page is on the site."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from conftest import cli

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "facegan"
tomllib = pytest.importorskip("tomllib", reason="Python 3.11 reads pyproject.toml")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))


def test_every_file_that_is_no_code_is_in_the_wheel():
    packed = set()
    for package, patterns in PROJECT["tool"]["setuptools"]["package-data"].items():
        folder = ROOT / package.replace(".", "/")
        for pattern in patterns:
            found = {path for path in folder.glob(pattern) if path.is_file()}
            assert found, f"{package}: {pattern} matches nothing"
            packed |= found
    others = {path for path in PACKAGE.rglob("*") if path.is_file() and path.suffix not in (".py", ".pyc")}
    assert others == packed


def test_every_folder_of_code_is_a_package():
    folders = {path.parent for path in PACKAGE.rglob("*.py")}
    assert [folder for folder in folders if not (folder / "__init__.py").exists()] == []


def test_every_licence_is_named():
    named = {ROOT / name for name in PROJECT["project"]["license-files"]}
    assert named == {ROOT / "LICENSE", *PACKAGE.rglob("LICENSE*")}


def test_tests_have_every_extra_that_the_package_uses():
    extras = PROJECT["project"]["optional-dependencies"]
    (own,) = (line for line in extras["test"] if line.startswith("facegan["))
    assert set(re.findall(r"[a-z]+", own.partition("[")[2])) == set(extras) - {"test", "docs"}


def test_every_page_is_on_the_site():
    listed = re.findall(r"^ +- (?:\w+: )?([\w-]+\.md)$", (ROOT / "mkdocs.yml").read_text("utf-8"), re.MULTILINE)
    pages = {path.name for path in (ROOT / "docs").glob("*.md")}
    assert set(listed) == pages | {"index.md", "contributing.md", "changelog.md"}
    assert len(listed) == len(set(listed))


@pytest.mark.parametrize(
    ("typed", "offered"),
    [("facegan sam", {"sample"}), ("facegan sample --tr", {"--truncation"}), ("facegan in", {"info", "interpolate"})],
)
def test_the_shell_completes(monkeypatch, typed, offered):
    monkeypatch.setenv("_FACEGAN_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", typed)
    monkeypatch.setenv("COMP_CWORD", str(len(typed.split()) - 1))
    code, out, err = cli()
    assert code == 0 and set(out.split()) == offered, err
