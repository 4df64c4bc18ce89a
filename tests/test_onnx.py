"""An ONNX file draws what torch draws, for every family of networks, and says what it is and nothing private."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from conftest import cli, tiny
from PIL import Image

import facegan
from facegan.config import Config
from facegan.core.errors import FaceganError
from facegan.export import onnx as exporting
from facegan.faces.latents import draw
from facegan.faces.synthesis import draw_faces
from facegan.models.checkpoint import LoadedGenerator
from facegan.networks import build_generator
from facegan.presets import PRESETS

PAGE = (Path(__file__).parent.parent / "docs" / "sharing.md").read_text("utf-8")


def loaded(config: Config) -> LoadedGenerator:
    module = build_generator(config).eval()
    return LoadedGenerator(
        module, config, 1234, "raw", {"command": ["secret"]}, Path("g.pt"), notes={"licence": "mine"}
    )


CONFIGS = {
    **{preset: tiny(preset) for preset in PRESETS},
    "deep": tiny("dcgan").override({"networks.depth": 1}),
    "tapered": tiny("dcgan").override({"networks.taper": True}),
    "modulated": tiny("dcgan").override({"networks.self_modulation": True, "networks.depth": 1}),
    "unmodulated": tiny("dcgan").override({"networks.self_modulation": False}),
    "keras-3": tiny("human-faces").override({"networks.kernel_size": 3, "networks.unit_pixels": False}),
}


@pytest.mark.parametrize("name", CONFIGS)
def test_every_family_draws_the_same_faces(tmp_path, name):
    found = loaded(CONFIGS[name])
    done = exporting.export_onnx(found, tmp_path / "g.onnx")
    assert done.difference < 1e-4
    session = onnxruntime.InferenceSession(done.path)
    for count in (1, 4):
        z = draw(1, range(count), 8)
        images, pixels = session.run(["images", "pixels"], {"latents": z})
        expected = draw_faces(found.module, found.config.networks, z)
        assert images.shape == (count, 3, 32, 32) and images.min() >= -1 and images.max() <= 1
        assert pixels.dtype == np.uint8 and pixels.shape == expected.shape
        assert np.abs(pixels.astype(int) - expected.astype(int)).max() <= 1


def test_the_file_says_what_it_is_and_nothing_private(tmp_path):
    done = exporting.export_onnx(loaded(CONFIGS["modulated"]), tmp_path / "private" / "g.onnx")
    session = onnxruntime.InferenceSession(done.path)
    facts = session.get_modelmeta().custom_metadata_map
    assert facts["licence"] == "mine" and facts["latent_dim"] == "8" and facts["pixel_range"] == "-1 1"
    assert facts["images_seen"] == "1234" and len(facts["weights_sha256"]) == 64
    assert [session.get_inputs()[0].shape, *(out.shape for out in session.get_outputs())] == [
        ["N", 8],
        ["N", 3, 32, 32],
        ["N", 32, 32, 3],
    ]
    assert onnx.load(done.path).opset_import[0].version == exporting.OPSET
    content = done.path.read_bytes()
    assert not any(word in content for word in (b"secret", b"private", b"site-packages", b".py", b"/tmp"))


def test_wide_latents_are_those_of_photos(tmp_path):
    found = loaded(CONFIGS["modulated"])
    done = exporting.export_onnx(found, tmp_path / "g.onnx", wide=True)
    z = draw(2, range(3), 8 * found.config.networks.latent_rows)
    (pixels,) = onnxruntime.InferenceSession(done.path).run(["pixels"], {"latents": z})
    expected = draw_faces(found.module, found.config.networks, z)
    assert np.abs(pixels.astype(int) - expected.astype(int)).max() <= 1
    with pytest.raises(FaceganError, match="one place only"):
        exporting.export_onnx(loaded(CONFIGS["unmodulated"]), tmp_path / "h.onnx", wide=True)


def test_a_graph_that_draws_otherwise_is_not_written(tmp_path, monkeypatch):
    monkeypatch.setattr(exporting, "_difference", lambda *_: float("nan"))
    with pytest.raises(FaceganError, match="other faces than torch"):
        exporting.export_onnx(loaded(CONFIGS["modulated"]), tmp_path / "g.onnx")
    assert not list(tmp_path.iterdir())


def test_a_missing_extra_is_a_sentence(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(FaceganError, match="extra 'onnx'"):
        exporting.export_onnx(loaded(CONFIGS["modulated"]), tmp_path / "g.onnx")


def test_the_command_and_the_twelve_lines_of_the_page(workdir):
    (command,) = re.findall(r"^facegan (export .* onnx .*)", PAGE, re.MULTILINE)
    code, out, err = cli(*command.split())
    assert code == 0 and "wrote faces.onnx" in out and "onnxruntime draws the same 16 faces" in err, err
    (example,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    assert "facegan" not in example and "torch" not in example
    done = subprocess.run([sys.executable, "-c", example], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "non-commercial" in done.stdout
    with Image.open("face-7.png") as face:
        assert face.size == (64, 64)
    z = facegan.load("pretrained", "cpu").latents(2, seed=7)
    (pixels,) = onnxruntime.InferenceSession("faces.onnx").run(["pixels"], {"latents": z})
    assert np.abs(pixels.astype(int) - facegan.load("pretrained", "cpu").draw(z).astype(int)).max() <= 1


def test_what_is_wrong_is_said(workdir):
    for words, code, said in (
        (["pretrained"], 2, "What is to be written"),
        (["pretrained", "--to", "tflite"], 2, "is not one of html, onnx"),
        (["pretrained", "--to", "onnx", "--out", "a.png"], 2, "must end in .onnx"),
        (["nothing.pt", "--out", "a.onnx"], 1, "does not exist"),
    ):
        found, _, err = cli("export", *words)
        assert found == code and said in err, err
    Path("a.onnx").write_text("mine")
    assert cli("export", "pretrained", "--out", "a.onnx")[0] == 1 and Path("a.onnx").read_text() == "mine"
    model = facegan.load("pretrained", "cpu")
    with pytest.raises(FaceganError, match="exists already"):
        model.export("a.onnx")
    with pytest.raises(FaceganError, match=r"End its name|is not a file"):
        model.export("a.bin")
    assert onnx.load(model.export("a.onnx", overwrite=True)).producer_name == "facegan"
