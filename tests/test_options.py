"""Every option of every command, as the real application lists them, given nonsense; and property-based tests.

A new option is tried as soon as it exists. A new command needs a row in HONEST.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_type_hints

import pytest
import typer
from conftest import cli, made_up, tiny, write_dataset
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from typer.models import OptionInfo

from facegan.cli.app import EXAMPLES, app
from facegan.config import Config
from facegan.core import quantities
from facegan.core.errors import FaceganError, UsageError
from facegan.core.strictjson import parse_json
from facegan.data.crops import parse_crop
from facegan.editing.attributes import Attribute, save_attributes
from facegan.faces import latents
from facegan.models.checkpoint import save_generator
from facegan.networks import build_generator
from facegan.presets import PRESETS

_SMALL = ["--width", "4", "--critic-width", "4", "--batch-size", "4", "--device", "cpu", "--dry-run"]
HONEST: dict[str, list[str]] = {
    "preprocess": ["photos", "--size", "32"],
    "train": ["--data", "data/d", *_SMALL],
    "sample": ["g.safetensors", "--count", "1"],
    "project": ["photos/a.png", "--generator", "g.safetensors", "--crop", "square", "--plain"],
    "interpolate": ["g.safetensors", "--steps", "2"],
    "arithmetic": ["g.safetensors", "--plus", "1"],
    "edit": ["g.safetensors", "--face", "1", "--component", "1=1"],
    "gif": ["g.safetensors", "--faces", "1", "--stops", "2", "--steps", "1"],
    "studio": ["g.safetensors", "--no-browser"],
    "evaluate": ["g.safetensors", "--data", "data/d", "--features", "tiny", "--count", "5"],
    "export": ["g.safetensors", "--to", "onnx"],
    "push": ["g.safetensors", "user/name", "--dry-run"],
    "info": ["g.safetensors"],
    "attributes": ["g.safetensors", "--classifier", "a.safetensors", "--faces", "100", "--overwrite"],
    "bench": ["--only", "sample", "--rounds", "1", "--device", "cpu"],
}
"""Command -> words with which it is done in a moment. What is tried comes after them, and of two the last counts."""

NONSENSE = (
    *("", " ", "-1", "0", "1,5", "nan", "inf", "-inf", "1e999", "99999999999999999999", "٣"),
    *("missing", "no/a.png", "folder", "file.txt", "..", "ü☃", "a\nb", "\x1b[2J", 5000 * "x"),
)

BUILT: Any = typer.main.get_command(app)
"""The application's commands, built once: Typer would do so for every command line, which takes longer than most."""


@pytest.fixture(autouse=True)
def no_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """A studio ends before it begins to wait for a browser."""
    monkeypatch.setattr("uvicorn.Server.run", lambda self, sockets: None)
    monkeypatch.setattr("webbrowser.open", lambda address: True)


def options() -> Iterator[Any]:
    for name, command in BUILT.commands.items():
        for parameter in command.params:
            if parameter.name != "help":
                yield pytest.param(name, parameter, id=f"{name}-{parameter.name}")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, tiny_extractor: str) -> Path:
    """A folder with a generator, a dataset, photos, and things that are none of these."""
    folder = tmp_path_factory.mktemp("place")
    config = tiny("dcgan")
    network = build_generator(config)
    save_generator(folder / "g.safetensors", network, config, images_seen=0, weights="raw", provenance={})
    known = tuple(Attribute(name, False, 1.0, 1.0) for name in ("Smiling", "Male"))
    save_attributes(made_up(network, known), folder / "a.safetensors")
    write_dataset(folder / "data/d", 6)
    (folder / "photos").mkdir()
    Image.new("RGB", (40, 40)).save(folder / "photos/a.png")
    (folder / "folder").mkdir()
    (folder / "file.txt").write_text("hello")
    return folder


def test_every_command_has_honest_words(place, monkeypatch):
    monkeypatch.chdir(place)
    assert HONEST.keys() == BUILT.commands.keys()
    for command, words in HONEST.items():
        code, _, err = cli(command, *words)
        assert code == 0, err


@pytest.mark.parametrize("command", [name for name in EXAMPLES if name])
def test_an_option_whose_placeholder_is_its_name_says_its_name(command):
    """Typer 0.27 makes --DEVICE of a parameter `device` with the placeholder DEVICE, unless the name is declared."""
    callback = next(info.callback for info in app.registered_commands if info.callback.__name__ == command)
    for name, hint in get_type_hints(callback, include_extras=True).items():
        for option in getattr(hint, "__metadata__", ()):
            if isinstance(option, OptionInfo) and option.metavar == name.upper():
                assert str(option.default).startswith("--"), name  # the first positional argument, a name in Annotated


@pytest.mark.parametrize(("command", "parameter"), list(options()))
def test_nonsense_is_answered_in_a_sentence(place, monkeypatch, command, parameter):
    monkeypatch.chdir(place)
    monkeypatch.setattr("facegan.cli.app.app", BUILT)
    for words in nonsense(command, parameter):
        code, out, err = cli(command, *words)
        said = f"{command} {words}: {code}\n{out}\n{err}"
        assert code in (0, 1, 2), said
        assert "Traceback" not in out + err and "This is a bug" not in err, said
        assert "\x1b[2J" not in out + err, said
        errors = re.findall(r"^error: .+|^.*\bError\b", err, re.MULTILINE)
        assert len(errors) == (code > 0), said
        assert len(re.findall(r"^hint:", err, re.MULTILINE)) <= 1, said


def nonsense(command: str, parameter: Any) -> Iterator[list[str]]:
    """Words for a command with one parameter set to each value that is out of place."""
    honest = HONEST[command]
    if parameter.param_type_name == "argument":
        rest = [] if command == "gif" else honest[1:] if not honest[0].startswith("-") else honest
        yield from ([*rest, "--", value] for value in NONSENSE)
    elif parameter.is_flag:
        yield from ([*honest, name] for name in (*parameter.opts, *parameter.secondary_opts))
        yield [*honest, f"{parameter.opts[0]}=maybe"]
    else:
        yield from ([*honest, f"{parameter.opts[0]}={value}"] for value in NONSENSE)
        yield [*honest, parameter.opts[0]]


@pytest.mark.parametrize("command", ["", *BUILT.commands])
def test_examples_are_shown_unbroken_and_can_be_typed(command, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    code, out, _ = cli(*command.split(), "--help")
    assert code == 0
    shown = [line.strip() for line in out.partition("Examples:")[2].splitlines() if line.strip()]
    assert shown == [f"facegan {line}" for line in EXAMPLES[command]]
    for line in EXAMPLES[command]:
        name, *words = shlex.split(line)
        assert name == command or not command
        BUILT.commands[name].make_context(name, words)  # parsed, not done
        for spec in (words[n + 1] for n, word in enumerate(words) if word in ("--through", "--plus", "--minus")):
            assert spec.endswith(".npy") or latents.parse_spec(spec, 0, 4)


# Properties: whatever the text, there is a value or a FaceganError.

bounded = settings(derandomize=True, max_examples=150, deadline=None, database=None)
SPEC = st.lists(st.sampled_from([*"0123456789,:.- \n", "npy", "44", "7:51", "é", "99999999999"]), max_size=8).map(
    "".join
)


@bounded
@given(SPEC | st.text(max_size=20))
def test_any_spec_is_latents_or_a_sentence(spec):
    try:
        found = latents.parse_spec(spec, 0, 4)
    except FaceganError as error:
        assert error.message.isprintable()
        return
    assert found.latents.shape == (len(found.labels), 4)


@bounded
@given(st.integers(0, 2**63 - 1), st.integers(0, latents.MAX_INDEX))
def test_seed_and_index_are_read_as_they_are_written(seed, index):
    expected = latents.draw(seed, [index], 4)
    assert (latents.parse_spec(f"{seed}:{index}", 5, 4).latents == expected).all()
    assert (latents.parse_spec(str(index), seed, 4).latents == expected).all()


COUNT = st.lists(st.sampled_from([*"0123456789.,_kKmMgG- ", "1e9"]), max_size=10).map("".join)


@bounded
@given(COUNT | st.text(max_size=10))
def test_any_count_is_a_number_or_a_sentence(text):
    try:
        assert quantities.parse_count(text) >= 1
    except UsageError as error:
        assert error.message.isprintable()


@pytest.mark.parametrize("text", ["1,5M", "0,5M", "1,50", "12,3456", "1_0"])
def test_a_decimal_comma_is_not_taken_for_one_between_thousands(text):
    with pytest.raises(UsageError, match="is not a count"):
        quantities.parse_count(text)


@bounded
@given(st.integers(1, 10**14))
def test_a_count_is_read_as_it_is_written(number):
    assert quantities.parse_count(f"{number:,}") == quantities.parse_count(str(number)) == number


@bounded
@given(st.floats(0, 1e20) | st.sampled_from([float("nan"), float("inf"), -1.0]))
def test_durations_and_sizes_are_short_words(number):
    assert len(quantities.duration(number)) < 30
    if number >= 0 and number != float("inf"):
        assert len(quantities.size(number)) < 40


@bounded
@given(st.text(max_size=12) | st.from_regex(r"-?[0-9]{0,20}(\.[0-9]{0,20})?", fullmatch=True))
def test_any_crop_is_a_crop_or_a_sentence(text):
    try:
        parse_crop(text)
    except FaceganError as error:
        assert error.message.isprintable()


SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from([10**400, -(10**400)])
)
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=8,
)


def places(node: dict[str, Any], before: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for key, value in node.items():
        yield (*before, key)
        if isinstance(value, dict):
            yield from places(value, (*before, key))


@st.composite
def almost_configs(draw: st.DrawFn) -> object:
    """A preset's configuration with up to three entries replaced, added or missing."""
    config = json.loads(PRESETS[draw(st.sampled_from(sorted(PRESETS)))].to_json())
    every = list(places(config))
    for path in draw(st.lists(st.sampled_from(every), max_size=3)):
        node: Any = config
        for name in path[:-1]:
            node = node.get(name) if isinstance(node, dict) else None
        if isinstance(node, dict):
            change = draw(st.sampled_from(["replace", "remove", "add"]))
            if change == "remove":
                node.pop(path[-1], None)
            else:
                node[path[-1] if change == "replace" else draw(st.text(max_size=5))] = draw(JSON)
    return config


@bounded
@given(JSON | almost_configs())
def test_any_json_is_a_configuration_or_a_sentence(data):
    try:
        config = Config.from_dict(data)
    except FaceganError as error:
        assert error.message.isprintable() and len(error.message) < 400
        return
    assert Config.from_json(config.to_json()) == config


@bounded
@given(st.text(max_size=30) | JSON.map(json.dumps))
def test_any_text_is_a_json_object_or_a_sentence(text):
    for read in (lambda: parse_json(text, "it"), lambda: Config.from_json(text)):
        try:
            read()
        except FaceganError as error:
            assert error.message.isprintable()
