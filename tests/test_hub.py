"""The Hub: what is pushed holds nothing private, and hf://user/name is opened like any stranger's file."""

from __future__ import annotations

import json
import re
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import cli, made_up, tiny, write_dataset
from hub_server import Hub
from PIL import Image

import facegan
from facegan.core.errors import FaceganError
from facegan.data.dataset import Dataset
from facegan.describe import describe
from facegan.editing.attributes import Attribute, save_attributes
from facegan.export.card import card, licence_of, public, public_command
from facegan.export.push import address_to_push, files_to_push
from facegan.models.checkpoint import LoadedGenerator, load_generator, save_loaded, weights_sha256
from facegan.models.hub import Address, address_of, parse_address
from facegan.models.pretrained import PATH
from facegan.networks import build_generator
from facegan.runs.find import find_generator
from facegan.runs.open_run import describe as provenance_of
from facegan.runs.plan import Plan

PRIVATE = {
    "facegan": "0.2.0",
    "torch": "2.6.0",
    "system": "Linux-secret",
    "device": "cuda:1",
    "device_name": "secret GPU",
    "precision": "fp32",
    "command": [
        "facegan",
        "train",
        "--data",
        "/home/secret/data/x-64",
        "--images",
        "200k",
        "--name",
        "secret",
        "--flip",
    ],
    "started": "2026-01-01T00:00:00+00:00",
    "resumed": [{"command": ["secret"]}],
    "dataset": {
        "path": "/home/secret/data/x-64",
        "count": 1234,
        "size": 32,
        "sha256": "ab12",
        "crop": {"name": "face"},
    },
    "evaluated": {"fd": 12.34, "kid": 0.0123, "samples": 500, "photos": 500, "extractor": "lite", "dataset": "/secret"},
    "from": "/home/secret/runs/00001-x/generator.safetensors",
    "from_images_seen": 7,
    "mood": "secret",
}


def generator(**notes: str) -> LoadedGenerator:
    config = tiny("dcgan-r3gan")
    module = build_generator(config).eval()
    return LoadedGenerator(module, config, 4321, "averaged", PRIVATE, Path("secret/g.safetensors"), notes=notes)


@pytest.fixture
def hub(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A Hub on this machine, which the library takes for the real one, and an empty cache."""
    with Hub() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", server.url)
        template = server.url + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(workdir / "cache"))
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)
        monkeypatch.setenv("HF_TOKEN", "hf_test")
        yield server
        server.shutdown()


def test_what_is_pushed_is_found_and_draws_the_same(hub, capsys):
    loaded = generator(licence="mit")
    save_loaded(loaded, Path("run/generator.safetensors"))
    attributes = made_up(loaded.module, (Attribute("Smiling", False, 0.9, 0.5),))
    save_attributes(replace(attributes, generator="another"), Path("run/attributes.safetensors"))
    own = save_attributes(attributes, Path("run/attributes-1234abcd.safetensors")).read_bytes()
    code, out, err = cli("push", "run/generator.safetensors", "anna/faces")
    assert code == 0, err
    assert out.splitlines() == ["pushed hf://anna/faces", f"{hub.url}/anna/faces"]
    files = hub.commits["anna/faces"][-1]
    assert set(files) == {
        "generator.safetensors", "attributes.safetensors", "README.md", "sheet.png", ".gitattributes",
    }  # fmt: skip
    assert all(b"secret" not in content for content in files.values())

    model = facegan.load("hf://anna/faces", "cpu")
    expected = facegan.load("run/generator.safetensors", "cpu").sample(3)
    assert (model.sample(3) == expected).all() and model.loaded.notes == {"licence": "mit"}
    assert (model.loaded.source.parent / "attributes.safetensors").read_bytes() == own
    commit = hub.name_of("anna/faces", 1)
    assert address_of(model.loaded.source) == Address("anna/faces", commit)

    sheet = Path("sheet.png")
    sheet.write_bytes(files["sheet.png"])
    told = dict(describe(sheet)[1])
    assert told["command"] == "facegan sample hf://anna/faces --count 25"
    assert told["SHA-256 of weights"] == weights_sha256(model.loaded.module)
    assert cli("sample", "hf://anna/faces", "--count", "25", "--out", "again.png")[0] == 0
    with Image.open("again.png") as again, Image.open(sheet) as first:
        assert (np.asarray(again) == np.asarray(first)).all()
    told = dict(describe(Path("again.png"))[1])
    assert told["generator"] == f"hf://anna/faces@{commit}"
    assert told["command"] == f"facegan sample hf://anna/faces@{commit} --count 25"
    assert "Error" not in err and capsys.readouterr().err == ""


def test_every_command_of_the_page_runs(hub):
    page = (Path(__file__).parent.parent / "docs" / "sharing.md").read_text("utf-8")
    commands = re.findall(r"^facegan ((?:push|sample|interpolate|train) .*)", page, re.MULTILINE)
    assert [line.split()[0] for line in commands] == ["push", "push", "sample", "interpolate", "train"]
    save_loaded(generator(), Path("g.safetensors"))
    write_dataset(Path("d"), 6)
    for line in commands:
        for long, short in {
            "runs/00001-photos-64-dcgan-r3gan": "g.safetensors",
            "--data data/photos-64": "--data d --dry-run --device cpu",
            "@v1": f"@{hub.name_of('anna/faces', 1)}",
        }.items():
            line = line.replace(long, short)
        code, _, err = cli(*line.split())
        assert code == 0, f"{line}: {err}"


@pytest.mark.parametrize(
    "words",
    [
        ("sample", "{}", "--count", "1"),
        ("interpolate", "{}", "--steps", "2"),
        ("arithmetic", "{}", "--plus", "1"),
        ("gif", "{}", "--faces", "1", "--stops", "2", "--steps", "1"),
        ("info", "{}"),
        ("train", "--from", "{}", "--data", "d", "--dry-run", "--device", "cpu"),
        ("push", "{}", "ben/copy", "--dry-run"),
    ],
    ids=lambda words: words[0],
)
def test_it_stands_wherever_a_checkpoint_does(hub, words):
    write_dataset(Path("d"), 6)
    content = save_loaded(generator(), Path("g.safetensors")).read_bytes()
    first = hub.put("anna/faces", {"generator.safetensors": content})
    hub.put("anna/faces", {"generator.safetensors": b"a newer one"})
    code, _, err = cli(*(word.format(f"hf://anna/faces@{first}") for word in words))
    assert code == 0, err


def test_a_downloaded_file_is_a_stranger_s(hub):
    hub.put("eve/bad", {"generator.safetensors": b"\x80\x04cos\nsystem\n", "attributes.safetensors": b"x"})
    code, _, err = cli("sample", "hf://eve/bad")
    assert code == 1 and "is not a generator, or is damaged" in err
    hub.put("eve/empty", {"pytorch_model.bin": b"pickle"})
    code, _, err = cli("sample", "hf://eve/empty")
    assert code == 1 and "holds no generator.safetensors" in err
    assert not any("pytorch_model" in request for request in hub.requests)


def test_nothing_is_downloaded_unasked_or_twice(hub, monkeypatch):
    hub.put("anna/faces", {"generator.safetensors": save_loaded(generator(), Path("g.safetensors")).read_bytes()})
    assert cli("sample", "g.safetensors", "--count", "1")[0] == 0 and not hub.requests
    for _ in range(2):
        assert cli("sample", "hf://anna/faces", "--count", "1")[0] == 0
    assert [r for r in hub.requests if r.startswith("GET")] == ["GET /anna/faces/resolve/main/generator.safetensors"]
    nowhere = "http://127.0.0.1:9"  # the network has gone: what was downloaded is still there
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", nowhere)
    template = nowhere + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", template)
    code, _, err = cli("sample", "hf://anna/faces", "--count", "1")
    assert code == 0, err
    code, _, err = cli("sample", "hf://anna/other", "--count", "1")
    assert code == 1 and "cannot be reached" in err and "Retry" not in err


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("hf://anna/none", "is not there, or you may not see"),
        ("hf://anna/faces@nowhere", "there is no such revision"),
        ("hf://anna", "is not an address"),
        ("hf://anna/faces/generator.safetensors", "is not an address"),
        ("hf://anna/..", "is not an address"),
    ],
)
def test_what_is_not_there_is_said(hub, address, said):
    hub.put("anna/faces", {"generator.safetensors": b""})
    code, _, err = cli("info", address)
    assert code == 1 and said in err, err


@pytest.mark.parametrize("name", ["generator.safetensors", "attributes.safetensors"])
def test_too_large_is_refused_before_it_is_downloaded(hub, monkeypatch, name):
    content = save_loaded(generator(), Path("g.safetensors")).read_bytes()
    hub.put("anna/faces", {"generator.safetensors": content, name: bytes(len(content) + 1)})
    monkeypatch.setattr("facegan.models.hub.MAX_BYTES", len(content))
    with pytest.raises(FaceganError, match=f"is no generator of facegan: {name} has"):
        facegan.load("hf://anna/faces")
    assert not [request for request in hub.requests if request.startswith("GET") and request.endswith(name)]


def test_what_breaks_off_is_not_taken_for_absent(hub):
    """Without its attributes a generator does not know words, and nobody would know why."""
    files = {"generator.safetensors": save_loaded(generator(), Path("g.safetensors")).read_bytes()}
    hub.put("anna/faces", {**files, "attributes.safetensors": b"x"})
    hub.broken = "attributes.safetensors"
    code, _, err = cli("sample", "hf://anna/faces", "--count", "1")
    assert code == 1 and "the Hugging Face Hub" in err, err


def test_private_is_never_public(hub):
    save_loaded(generator(), Path("g.safetensors"))
    assert cli("push", "g.safetensors", "anna/faces")[0] == 0
    before = len(hub.commits["anna/faces"])
    code, _, err = cli("push", "g.safetensors", "anna/faces", "--private", "--overwrite")
    assert code == 1 and "and public" in err and len(hub.commits["anna/faces"]) == before
    for extra in ([], ["--overwrite"]):
        code, _, err = cli("push", "g.safetensors", "anna/hidden", "--private", *extra)
        assert code == 0 and "anna/hidden" in hub.private, err


def test_a_repository_is_not_overwritten_unasked(hub):
    save_loaded(generator(), Path("g.safetensors"))
    assert cli("push", "g.safetensors", "anna/faces", "--private", "--licence", "cc-by-4.0")[0] == 0
    assert hub.private == {"anna/faces"}
    before = len(hub.commits["anna/faces"])
    code, _, err = cli("push", "g.safetensors", "anna/faces")
    assert code == 1 and "has a generator.safetensors already" in err and len(hub.commits["anna/faces"]) == before
    code, _, err = cli("push", "g.safetensors", "anna/faces", "--overwrite", "--licence", "mit")
    assert code == 0, err
    assert b'license: "mit"' in hub.commits["anna/faces"][-1]["README.md"]
    assert b'license: "cc-by-4.0"' in hub.commits["anna/faces"][-2]["README.md"]


def test_a_refusal_is_a_sentence(hub, monkeypatch):
    save_loaded(generator(), Path("g.safetensors"))
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    code, _, err = cli("push", "g.safetensors", "anna/faces")
    assert code == 1 and "hf auth login" in err and not hub.commits.get("anna/faces")
    hub.refuse = 403
    code, _, err = cli("push", "g.safetensors", "anna/faces")
    assert code == 1 and "hf auth login" in err
    code, _, err = cli("push", "g.safetensors", "anna/faces/more")
    assert code == 2 and "user/name" in err


def test_people_in_photos_must_agree():
    loaded = generator(tuned="by facegan project to 2 photos; the file holds no photo")
    with pytest.raises(FaceganError, match="draws the people in them"):
        files_to_push(loaded, Address("a/b"))
    text = files_to_push(loaded, Address("a/b"), agreed=True)["README.md"].decode()
    assert "It was tuned by facegan project to 2 photos" in text and "draws the people" in text


def test_the_card_says_what_is_known_and_nothing_private():
    files = files_to_push(generator(), Address("anna/faces"), licence="mit")
    text = files["README.md"].decode()
    head = dict(line.split(": ", 1) for line in text.split("---")[1].strip().splitlines())
    assert {key: json.loads(value) for key, value in head.items()} == {
        "library_name": "facegan",
        "pipeline_tag": "unconditional-image-generation",
        "tags": ["gan", "faces"],
        "license": "mit",
    }
    for fact in (
        *("| images seen | 4,321 |", "1,234 photos of 32 px", "ab12", "FD 12.3, KID x1000 12.3 (lite, 500 samples"),
        *("`facegan train --data DATASET --images 200k --flip`", "| started from | a generator |", "torch 2.6.0"),
        *("facegan sample hf://anna/faces --number", "![Faces that this generator draws](sheet.png)"),
    ):
        assert fact in text, fact
    assert "secret" not in text and "home" not in text
    kept = public(generator()).provenance
    assert kept["device"] == "cuda" and "mood" not in kept and "started" not in kept and "secret" not in str(kept)


@pytest.mark.parametrize(
    ("typed", "kept"),
    [
        ("--data demo --images 15k --width 16", "--data demo --images 15k --width 16"),
        ("--data=/a/b --from pretrained --seed=7", "--data DATASET --from pretrained --seed 7"),
        ("--from hf://a/b --no-flip --tensorboard", "--from hf://a/b --no-flip --tensorboard"),
        ("--from runs/secret --config ~/c.json --name secret --device cuda", "--from GENERATOR --config CONFIG"),
        ("--set training.critic.beta1=0.5 --set x=/a --preset dcgan", "--set training.critic.beta1=0.5 --preset dcgan"),
        ("--preset /home/secret --unknown secret --epochs 3", "--epochs 3"),
        ("secret", ""),
    ],
)
def test_a_command_line_is_told_without_names(typed, kept):
    assert public_command(["facegan", "train", *typed.split()]) == ["facegan", "train", *kept.split()]
    assert public_command(["facegan.train"]) == [] == public_command(["rm", "-rf"])


def test_of_the_packaged_generator_the_licence_stays_and_the_critic_does_not():
    pretrained = load_generator(PATH)
    assert pretrained.critic and public(pretrained).critic is None
    assert b'"critic.' not in files_to_push(pretrained, Address("a/b"))["generator.safetensors"]
    with pytest.raises(FaceganError, match="stated already"):
        files_to_push(pretrained, Address("a/b"), licence="mit")
    assert 'license: "other"' in card(pretrained, "a/b", licence_of(pretrained))
    assert "No licence was stated" in card(generator(), "a/b")


def test_a_licence_passes_on_to_what_is_trained_from_there(workdir):
    """Through a run that began with the packaged weights, and another that began with the first run's."""
    dataset, start = Dataset(write_dataset(Path("d"), 6), 0), load_generator(PATH)
    for _ in range(2):
        plan = Plan(tiny("dcgan-r3gan"), dataset, torch.device("cpu"), start=start)
        start = replace(generator(), provenance=provenance_of(plan, []))
    assert licence_of(start) == licence_of(load_generator(PATH)) == licence_of(public(start))
    with pytest.raises(FaceganError, match="stated already"):
        files_to_push(start, Address("a/b"), licence="mit")


def test_a_stranger_s_provenance_cannot_break_the_card():
    odd = {"dataset": ["x"], "evaluated": "y", "command": "z", "device": 3, "from": None, "torch": ["w"]}
    hostile = replace(generator(), provenance=odd, notes={"training_data": "a | b\n# <script>"})
    text = card(public(hostile), "a/b")
    assert "| photos | a \\| b # &lt;script> |" in text


def test_addresses(workdir):
    assert parse_address("hf://anna/faces@v1.0") == Address("anna/faces", "v1.0")
    assert parse_address(str(Path("hf://anna/faces"))) == Address("anna/faces")
    assert parse_address("hf:\\anna\\faces") == Address("anna/faces")
    assert parse_address("runs/hf") is None and parse_address("hf") is None
    assert str(address_to_push("anna/faces")) == "hf://anna/faces" == str(address_to_push("hf://anna/faces"))
    for wrong in ("anna", "anna/faces@main", "a b/c", ""):
        with pytest.raises(FaceganError, match="is not the name"):
            address_to_push(wrong)


def test_a_missing_extra_is_a_sentence(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(FaceganError, match="extra 'hub'") as caught:
        find_generator(Path("hf://anna/faces"))
    assert re.search(r"facegan\[hub\]", caught.value.hint)
