"""The HTML file draws what torch draws, names the same people, and opens from the disk without a network."""

from __future__ import annotations

import base64
import json
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import cli, made_up, tiny
from PIL import Image

import facegan
from facegan.config import Config
from facegan.core.errors import FaceganError
from facegan.editing import directions
from facegan.editing.attributes import Attribute, Attributes, save_attributes
from facegan.editing.components import component, components
from facegan.export import html as exporting
from facegan.export.bundle import bundle
from facegan.export.html import export_html
from facegan.faces.latents import draw
from facegan.faces.synthesis import draw_faces
from facegan.models.checkpoint import LoadedGenerator, load_generator, save_generator
from facegan.networks import build_generator

NODE = shutil.which("node")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
needs_node = pytest.mark.skipif(NODE is None, reason="there is no Node.js (on Debian: apt-get install nodejs)")

CONFIGS = {
    "modulated": tiny("dcgan").override({"networks.self_modulation": True, "networks.depth": 1}),
    "plain": tiny("dcgan").override({"networks.self_modulation": False, "networks.depth": 0}),
    "tapered": tiny("dcgan-r3gan").override({"networks.taper": True, "networks.width": 12}),
    "wider": tiny("dcgan-r3gan").override({"networks.width": 12, "networks.size": 64, "networks.depth": 2}),
}


def generator(folder: Path, config: Config, names: tuple[str, ...] = ()) -> LoadedGenerator:
    """A generator in a file whose batch norms, gains and biases have numbers of their own; perhaps with attributes."""
    module = build_generator(config).eval()
    chance = np.random.default_rng(0)
    state = module.state_dict()
    for name, tensor in state.items():
        if name.endswith(("running_var", "norm.weight", "gain")):
            tensor.copy_(tensor.new_tensor(chance.uniform(0.5, 1.5, tensor.shape)))
        elif name.endswith(("running_mean", "bias")):
            tensor.copy_(tensor.new_tensor(chance.normal(0, 0.2, tensor.shape)))
        elif name == "to_rgb.weight":
            tensor.mul_(5)
        elif name.endswith("modulation.weight"):
            tensor.copy_(tensor.new_tensor(chance.normal(0, 0.1, tensor.shape)))
    notes = {"licence": "mine <only>"}
    path = save_generator(
        folder / "g.safetensors", module, config, images_seen=1234, weights="raw", provenance={"command": ["secret"]}
    )
    loaded = replace(load_generator(path), notes=notes)
    if names:
        save_attributes(attributes(loaded, names), folder / "attributes.safetensors")
    return loaded


def attributes(loaded: LoadedGenerator, names: tuple[str, ...]) -> Attributes:
    known = tuple(Attribute(name, False, 0.9, 0.5) for name in names)
    step = np.linspace(1, 1.5, len(names)).astype(np.float32)
    return replace(made_up(loaded.module, known, names[:1]), step=step)


def block(page: str, name: str) -> str:
    return page.split(f'<script type="text/plain" id="{name}">')[1].split("</script>")[0]


def node(program: str, given: Any) -> Any:
    """What a module among those of the page answers to JSON. It defines `answer(given)`."""
    modules = {path.name: path.read_text("utf-8") for path in exporting._OWN.glob("*.js")}
    start = (
        program
        + '\nanswer(JSON.parse(require("fs").readFileSync(0))).then((found) => console.log(JSON.stringify(found)));\n'
    )
    script = bundle({**modules, "start.js": start}, "start.js")
    asked = json.dumps(given)
    done = subprocess.run([NODE or "node", "-e", script], input=asked, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


DRAW = """
import { openDrawing } from "./drawing.js";
async function answer({ network, weights, convolution, latents, edits }) {
  const found = [];
  for (const module of [Buffer.from(convolution, "base64"), null]) {
    const drawing = await openDrawing(network, Buffer.from(weights, "base64"), module);
    found.push({ fast: drawing.fast, faces: latents.map((z) => Array.from(drawing.face(Float32Array.from(z)))),
      edited: edits.map(([z, changes]) => Array.from(drawing.edit(Float32Array.from(z), changes))) });
  }
  return found;
}"""


def ask(page: str, latents: list[list[float]], edits: list[Any] = []) -> Any:  # noqa: B006, nobody changes it
    given = {name: block(page, name) for name in ("weights", "convolution")}
    facts = json.loads(block(page, "facts"))
    return node(DRAW, {**given, "network": facts["network"], "latents": latents, "edits": edits})


@needs_node
@pytest.mark.parametrize("name", CONFIGS)
def test_the_page_draws_what_torch_draws(tmp_path, name):
    loaded = generator(tmp_path, CONFIGS[name])
    done = export_html(loaded, tmp_path / "g.html")
    networks = loaded.config.networks
    z = draw(1, range(3), 8)
    latents = [z, draw(2, range(2 * networks.latent_rows), 8).reshape(2, -1)]  # the second are wide where there are any
    expected = np.concatenate([draw_faces(loaded.module, networks, each).astype(int) for each in latents])
    fast, plain = ask(done.path.read_text(), [row.tolist() for each in latents for row in each])
    assert fast["fast"] and not plain["fast"] and np.ptp(expected) > 50
    for found in (fast, plain):
        assert np.abs(np.reshape(found["faces"], expected.shape) - expected).max() <= 3


@needs_node
def test_the_packaged_generator_fits_and_draws_the_same_people(workdir):
    docs = (Path(__file__).parent.parent / "docs" / "sharing.md").read_text("utf-8")
    (command,) = re.findall(r"^facegan (export .* html .*)", docs, re.MULTILINE)
    code, out, err = cli(*command.split())
    assert code == 0 and "wrote faces.html" in out and "have no names" not in err, err
    path = Path("faces.html")
    assert path.stat().st_size <= 8_000_000
    model = facegan.load("pretrained", device="cpu")
    z = draw(7, [0, 44], model.latent_dim)
    expected = model.draw(z).astype(int)
    fast, _ = ask(path.read_text(), z.tolist())
    assert np.abs(np.reshape(fast["faces"], expected.shape) - expected).max() <= 3


@needs_node
def test_seeds_name_the_same_people():
    """Bit for bit, over many numbers: one of 3,000 lies in the tail of the normal distribution."""
    seeds = [0, 7, 2**31, 2**32, 2**32 + 5, 10**17 + 1, 2**63 - 1]
    asked = [(seed, index) for seed in seeds for index in (0, 1, 44, 2**31 - 1)] + [(3, index) for index in range(300)]
    program = """
import { latent } from "./numbers.js";
async function answer(asked) {
  return asked.map(([seed, index]) => Buffer.from(latent(seed, index, 128).buffer).toString("base64"));
}"""
    found = [np.frombuffer(base64.b64decode(each), "<f4") for each in node(program, [(str(s), i) for s, i in asked])]
    expected = np.concatenate([draw(seed, [index], 128) for seed, index in asked])
    assert np.abs(expected).max() > 3.7  # beyond the last layer of the ziggurat
    np.testing.assert_array_max_ulp(np.stack(found), expected, 1)  # a logarithm in the tail may be rounded otherwise
    assert (np.stack(found) == expected).mean() > 0.9999


@needs_node
def test_sliders_change_latents_as_edit_does(tmp_path):
    names = ("Smiling", "Male", "Young", "Bangs")
    loaded = generator(tmp_path, CONFIGS["modulated"], names)
    page = export_html(loaded, tmp_path / "g.html").path.read_text()
    z, wide = draw(5, [0], 8)[0], draw(6, range(4), 8).ravel()
    found = attributes(loaded, names)
    cases = [
        (z, {"Smiling": 2.0}, []),
        (z, {"Smiling": -1.5, "Bangs": 3.0}, ["Male"]),
        (wide, {"Young": 1.0}, ["Male", "Smiling"]),
    ]
    numbers = {name: at for at, name in enumerate(names)}
    edits = [
        {"steps": [], "changes": [[numbers[n], x] for n, x in changes.items()], "keep": [numbers[n] for n in keep]}
        for _, changes, keep in cases
    ]
    for answer in ask(page, [], [(z.tolist(), edit) for (z, _, _), edit in zip(cases, edits, strict=True)]):
        for (each, changes, keep), edited in zip(cases, answer["edited"], strict=True):
            np.testing.assert_allclose(edited, directions.edit(found, each, changes, keep), atol=2e-4)


@needs_node
def test_sliders_without_names_follow_components(tmp_path):
    loaded = generator(tmp_path, CONFIGS["modulated"])
    done = export_html(loaded, tmp_path / "g.html")
    assert "no attributes" in done.unnamed
    z = draw(5, [0], 8)[0]
    expected = directions.edited(z, component(components(loaded.module), {1: 2.0, 3: -1.0}))
    edit = {"steps": [[1, 2.0], [3, -1.0]], "changes": [], "keep": []}
    (found, _) = ask(done.path.read_text(), [], [(z.tolist(), edit)])
    np.testing.assert_allclose(found["edited"][0], expected, atol=1e-5)


def test_the_file_holds_all_it_needs_and_nothing_private(tmp_path, monkeypatch):
    folder = tmp_path / "own-folder"
    folder.mkdir()
    page = export_html(generator(folder, CONFIGS["plain"]), tmp_path / "g.html").path.read_text()
    assert "secret" not in page and "own-folder" not in page and "mine &lt;only&gt;" in page
    assert "default-src 'none'" in page and not re.search(r"""(src|href)=["'](?!data:|#)""", page)
    assert not re.search(r"^\s*(import|export)\b", page, re.MULTILINE)
    monkeypatch.chdir(tmp_path)
    code, out, err = cli("export", "own-folder/g.safetensors", "--to", "html", "--out", "a.html")
    assert code == 0 and "wrote a.html" in out and "sliders have no names" in err and "double click" in err, err
    assert cli("export", "own-folder/g.safetensors", "--out", "a.html")[0] == 1  # it exists
    code, _, err = cli("export", "own-folder/g.safetensors", "--out", "b.html", "--wide")
    assert code == 2 and "--wide is for onnx" in err


def test_what_cannot_be_exported_is_a_sentence(tmp_path):
    keras = build_generator(config := tiny("human-faces")).eval()
    with pytest.raises(FaceganError, match="family keras"):
        export_html(LoadedGenerator(keras, config, 0, "raw", {}, Path("g.pt")), tmp_path / "g.html")
    huge = generator(tmp_path, CONFIGS["plain"])
    huge.module.to_rgb.weight.data.fill_(1e5)
    with pytest.raises(FaceganError, match="half precision"):
        export_html(huge, tmp_path / "g.html")
    assert not (tmp_path / "g.html").exists()


def test_python_writes_the_file_too(tmp_path):
    generator(tmp_path, CONFIGS["plain"])
    model = facegan.load(tmp_path / "g.safetensors", device="cpu")
    path = model.export(tmp_path / "g.html")
    assert path.read_text().startswith("<!doctype html>")
    with pytest.raises(FaceganError, match="exists already"):
        model.export(path)
    with pytest.raises(FaceganError, match="wide"):
        model.export(path, wide=True, overwrite=True)


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Callable[[int], Any]]:
    """Opens the exported file in Chromium from the disk, offline. At the end, nothing was asked of any network."""
    if CHROMIUM is None:
        pytest.skip("there is no Chromium (on Debian: apt-get install chromium)")
    playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is missing (pip install playwright)")
    loaded = generator(tmp_path, CONFIGS["modulated"], ("Smiling", "Male", "Young"))
    path = export_html(loaded, tmp_path / "faces.html").path
    asked: list[str] = []
    wrong: list[str] = []
    quiet = ("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=[*quiet, "--disable-component-update"])

        def opened(width: int) -> Any:
            page = browser.new_context(viewport={"width": width, "height": 850}, offline=True).new_page()
            page.on("request", lambda sent: asked.append(sent.url))
            page.on("console", lambda said: wrong.append(said.text) if said.type in ("error", "warning") else None)
            page.on("pageerror", lambda error: wrong.append(str(error)))
            page.goto(path.as_uri())
            page.locator('.wall .face canvas[width="128"]').nth(59).wait_for()
            return page

        yield opened
        browser.close()
    assert asked and not [url for url in asked if not url.startswith(("file:", "blob:", "data:"))] and not wrong


def test_the_page_opens_from_the_disk(opened, tmp_path):
    page = opened(1400)
    names = page.locator("#nav a").all_text_contents()
    assert names == ["Wall", "Breed", "Sliders", "Morph", "Equation"]
    page.get_by_label("Seed").fill("7")
    page.get_by_role("button", name="Show").click()
    page.locator(".wall .name", has_text=re.compile(r"^7:44$")).wait_for()
    page.locator('.wall .face canvas[width="128"]').nth(44).wait_for()
    for number in (44, 3):
        page.locator(".wall .face").nth(number).click()
    page.reload()
    page.locator('.shelf .face canvas[width="128"]').nth(1).wait_for()
    assert page.locator(".shelf .name").all_text_contents() == ["7:44", "7:3"]
    page.locator(".shelf .name").first.click()
    dialog = page.get_by_role("dialog")
    dialog.locator("summary").click()
    with page.expect_download() as download:
        dialog.get_by_role("button", name="PNG, 32 px").click()
    download.value.save_as(tmp_path / "face.png")
    page.keyboard.press("Escape")
    loaded = load_generator(tmp_path / "g.safetensors")
    expected = draw_faces(loaded.module, loaded.config.networks, draw(7, [44], 8))[0]
    with Image.open(tmp_path / "face.png") as picture:
        assert np.abs(np.asarray(picture.convert("RGB")).astype(int) - expected).max() <= 3
    for name, button, file in (
        ("Morph", "Film strip, PNG", "morph.png"),
        ("Equation", "Equation as PNG", "equation.png"),
    ):
        page.get_by_role("link", name=name, exact=True).click()
        for number in range(2):
            page.locator(".shelf .face").nth(number).click()
        if name == "Morph":
            page.locator(".morph summary").click()
        with page.expect_download() as download:
            page.get_by_role("button", name=button).click()
        assert download.value.suggested_filename == file
        download.value.save_as(tmp_path / file)
        with Image.open(tmp_path / file) as picture:
            assert min(picture.size) > 128


def test_the_page_fits_a_telephone_and_says_what_it_is(opened):
    page = opened(390)
    page.locator(".wall .face").first.click()
    page.locator(".about summary").click()
    about = page.locator(".about .entries").text_content()
    assert "These people do not exist." in about and "facegan export g.safetensors --to html" in about
    assert "Licence: nobody has stated one" not in about and "mine <only>" in about
    page.locator(".about summary").click()
    for name in ("Wall", "Breed", "Sliders", "Morph", "Equation"):
        page.get_by_role("link", name=name, exact=True).click()
        if name != "Wall":
            page.locator(".shelf .face").first.click()
        page.wait_for_timeout(200)
        assert not page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth"), name
    page.get_by_role("link", name="Sliders", exact=True).click()
    large = page.locator(".sliders canvas.large")
    before = large.evaluate("canvas => canvas.toDataURL()")
    page.get_by_role("slider", name="Smiling").focus()
    page.keyboard.press("End")
    page.wait_for_timeout(500)
    assert large.evaluate("canvas => canvas.toDataURL()") != before
