"""Sentences for users."""

from pathlib import PurePosixPath, PureWindowsPath

from facegan.core.errors import typed


def test_a_path_is_named_as_one_types_it():
    assert typed(PurePosixPath("runs/00001-my faces")) == "'runs/00001-my faces'"
    assert typed(PurePosixPath("runs/00001-x")) == "runs/00001-x"
    assert typed(PureWindowsPath(r"runs\00001-my faces")) == '"runs/00001-my faces"'
    assert typed(PureWindowsPath(r"runs\00001-x")) == "runs/00001-x"
