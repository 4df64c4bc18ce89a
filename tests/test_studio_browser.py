"""The studio's page in a real browser: every screen, as a person uses it. Skipped where there is no browser."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import made_up, tiny
from PIL import Image
from skimage import data as pictures

from facegan.editing.attributes import Attribute, save_attributes
from facegan.faces import latents
from facegan.models.checkpoint import load_generator, save_generator
from facegan.networks import build_generator

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
if CHROMIUM is None:
    pytest.skip("there is no Chromium (on Debian: apt-get install chromium)", allow_module_level=True)
playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is missing (pip install playwright)")
playwright.expect.set_options(timeout=30_000)  # a busy machine draws slowly

_QUIET = ("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking")
_QUIETER = ("--disable-component-update", "--disable-sync", "--disable-default-apps")


_DRAWN = '.face canvas[width="128"]'


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A studio of a tiny generator whose faces have names."""
    folder = tmp_path_factory.mktemp("studio")
    config = tiny("dcgan-r3gan").override({"networks.taper": False, "networks.depth": 0})  # else its faces look alike
    path = folder / "g.safetensors"
    save_generator(path, build_generator(config), config, images_seen=0, weights="raw", provenance={})
    known = tuple(Attribute(name, False, 0.9, 0.5) for name in ("Smiling", "Male", "Young"))
    attributes = replace(made_up(load_generator(path).module, known, ("Male",)), step=np.ones(3, np.float32))
    save_attributes(attributes, folder / "attributes.safetensors")
    command = [sys.executable, "-m", "facegan", "studio", "g.safetensors", "--no-browser", "--device", "cpu"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=folder) as process:
        assert process.stdout
        yield process.stdout.readline().removeprefix("studio: ").strip()
        process.terminate()


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=[*_QUIET, *_QUIETER])
        yield browser
        browser.close()


@pytest.fixture
def opened(chromium: Any, address: str) -> Iterator[Callable[[int, str], Any]]:
    """Opens the page. At the end: no request has left this machine, and nothing was complained about."""
    asked: list[str] = []
    wrong: list[str] = []
    contexts: list[Any] = []

    def opened(width: int, scheme: str) -> Any:
        contexts.append(chromium.new_context(viewport={"width": width, "height": 850}, color_scheme=scheme))
        page = contexts[-1].new_page()
        page.on("request", lambda sent: asked.append(sent.url))
        page.on("console", lambda said: wrong.append(said.text) if said.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.goto(address)
        page.locator(f".wall {_DRAWN}").nth(59).wait_for()
        return page

    yield opened
    for context in contexts:
        context.close()
    assert asked and not [url for url in asked if not url.startswith((address, "blob:http://127.0.0.1"))]
    assert not [text for text in wrong if "responded with a status of 400" not in text]  # a refusal, in a sentence


@pytest.fixture
def page(opened: Callable[[int, str], Any]) -> Any:
    return opened(1400, "light")


def keep(page: Any, *numbers: int) -> None:
    for number in numbers:
        page.locator(".wall .face").nth(number).click()
    playwright.expect(page.locator(".shelf .face")).to_have_count(len(numbers))


def screen(page: Any, name: str) -> Any:
    page.get_by_role("link", name=name, exact=True).click()
    return page.locator("section.screen:not([hidden])")


def drawn(canvas: Any) -> str:
    """The pixels of a canvas."""
    return canvas.evaluate("canvas => canvas.toDataURL()")


def wait_until(holds: Callable[[], bool]) -> None:
    """A page that shares its processor may be late."""
    end = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_the_wall_has_no_end_and_what_is_kept_stays(page, tmp_path):
    keep(page, 2, 7)
    assert page.locator(".wall .name").nth(7).text_content() == "7"
    page.locator(".wall .face").nth(2).click()  # a second click lets go
    playwright.expect(page.locator(".shelf .face")).to_have_count(1)
    page.evaluate("scrollTo(0, document.body.scrollHeight)")
    page.locator('.wall .face canvas[width="128"]').nth(90).wait_for()
    page.get_by_label("Seed").fill("7")
    page.get_by_role("button", name="Show").click()
    page.locator(".wall .name", has_text=re.compile(r"^7:44$")).wait_for()
    playwright.expect(page.locator(".wall code")).to_have_text(
        re.compile(r"facegan sample g.safetensors --seed 7 --count")
    )
    page.reload()
    playwright.expect(page.locator(".shelf .name")).to_have_text(["7"])
    page.locator(".shelf summary").click()
    with page.expect_download() as download:
        page.get_by_role("button", name="Save kept faces").click()
    download.value.save_as(tmp_path / "kept.json")
    assert [face["spec"] for face in json.loads((tmp_path / "kept.json").read_text())["faces"]] == ["7"]
    page.locator(".shelf summary").click()
    page.get_by_role("button", name="Remove all").click()
    playwright.expect(page.locator(".shelf .face")).to_have_count(0)
    np.save(tmp_path / "smile.npy", latents.draw(3, range(2), 8))
    files = page.locator(".shelf input[type=file]")
    files.set_input_files([tmp_path / "kept.json", tmp_path / "smile.npy"])
    playwright.expect(page.locator(".shelf .name")).to_have_text(["7", "smile-1", "smile-2"])
    np.save(tmp_path / "smile.npy", latents.draw(4, range(1), 8))
    np.save(tmp_path / "smile-2.npy", latents.draw(4, [1], 8))
    files.set_input_files([tmp_path / "smile.npy", tmp_path / "smile-2.npy"])  # another face, so another name
    playwright.expect(page.locator(".shelf .name")).to_have_text(["7", "smile-1", "smile-2", "smile", "smile-3"])
    (tmp_path / "bad.npy").write_bytes(b"\x93NUMPY")
    files.set_input_files(tmp_path / "bad.npy")
    playwright.expect(page.locator(".message.wrong")).to_contain_text("bad.npy holds no latents of this generator.")


def test_the_keyboard_is_enough(page):
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    first = page.locator(".wall .face").first
    first.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    page.keyboard.press("ArrowDown")
    page.keyboard.press(" ")
    playwright.expect(page.locator(".shelf .face")).to_have_count(2)
    assert page.locator(".shelf .name").first.text_content() == "1"
    page.locator(".shelf .name").first.focus()
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog")
    playwright.expect(dialog.locator("code")).to_have_text(
        "facegan sample g.safetensors --faces 1 --separate --scale 8"
    )
    page.keyboard.press("Escape")
    playwright.expect(dialog).to_have_count(0)
    page.keyboard.press("4")
    playwright.expect(page.locator(".screen.morph")).to_be_visible()
    assert not page.evaluate(
        "[...document.querySelectorAll('button, input, select, canvas[role=img], img')]"
        ".filter(e => !(e.textContent.trim() || e.ariaLabel || e.alt || e.closest('label') || e.hidden))"
        ".map(e => e.outerHTML)"
    )


def test_breeding_has_grandchildren_a_tree_and_undo(page, tmp_path):
    keep(page, 1, 4)
    breed = screen(page, "Breed")
    page.evaluate("document.querySelectorAll('.shelf .face').forEach((face) => face.click())")  # in one moment
    playwright.expect(breed.locator(".parents .name")).to_have_text(["1", "4"])
    children, pictures = breed.locator(".children .face"), breed.locator(f".children {_DRAWN}")
    playwright.expect(pictures).to_have_count(12)
    assert len({drawn(pictures.nth(n)) for n in range(12)}) > 4  # a generator that learnt nothing draws some alike
    children.nth(3).click()
    playwright.expect(breed.locator(".command .file")).to_have_text(re.compile(r"child-\d+\.npy"))
    with page.expect_download() as download:
        breed.locator(".command .file").click()
    download.value.save_as(tmp_path / "child.npy")
    child = latents.load_latents(tmp_path / "child.npy", 8, 4)
    rows = child.reshape(-1, 8)
    assert len(rows) == 4 and np.ptp(rows, axis=0).max() > 0.01  # each octave has a latent of its own
    breed.get_by_role("button", name="Breed them").click()
    playwright.expect(breed.locator(".family .face")).to_have_count(3)
    playwright.expect(breed.locator(".family line")).to_have_count(2)
    page.keyboard.press("Control+z")
    playwright.expect(breed.locator(".parents .name")).to_have_text(["1", "4"])
    page.keyboard.press("Control+Shift+z")
    playwright.expect(breed.locator(".family .face")).to_have_count(3)


def test_sliders_move_one_face(page):
    keep(page, 1)
    sliders = screen(page, "Sliders")
    page.locator(".shelf .face").first.click()
    large = sliders.locator('canvas.large[width="448"]')  # it is drawn
    playwright.expect(sliders.locator("code")).to_have_text(
        "facegan sample g.safetensors --faces 1 --separate --scale 8"
    )
    before = drawn(large)
    smiling = sliders.get_by_role("slider", name="Smiling")
    smiling.focus()
    for _ in range(20):
        page.keyboard.press("ArrowRight")
    playwright.expect(sliders.locator("code")).to_have_text(
        "facegan edit g.safetensors --face 1 --attr Smiling=+2 --keep Male --save"
    )
    wait_until(lambda: drawn(large) != before)
    sliders.get_by_role("button", name="Hold Male").click()
    playwright.expect(sliders.locator("code")).to_contain_text("--keep none")
    sliders.get_by_role("button", name="Keep").click()
    playwright.expect(page.locator(".shelf .name")).to_have_text(["1", "edit-1"])
    sliders.get_by_role("button", name="Reset").click()
    wait_until(lambda: drawn(large) == before)


def test_a_morph_plays_and_is_saved(page, tmp_path):
    keep(page, 1, 2, 3)
    morph = screen(page, "Morph")
    page.locator(".shelf").evaluate("shelf => shelf.querySelectorAll('.face').forEach(face => face.click())")  # at once
    playwright.expect(morph.locator(".film .name")).to_have_text(["1", "2", "3"])
    seen = drawn(morph.locator('canvas.large[width="448"]'))
    wait_until(lambda: drawn(morph.locator("canvas.large")) != seen)
    morph.get_by_role("button", name="Earlier: 3").click()
    playwright.expect(morph.locator(".film .name")).to_have_text(["1", "3", "2"])
    for kind in ("GIF", "WebP", "MP4"):
        morph.locator("summary").click()
        with page.expect_download() as download:
            morph.get_by_role("button", name=kind).click()
        assert download.value.suggested_filename == f"morph.{kind.lower()}"
    assert "--through 1 --through 3 --through 2 --steps 16 --loop --gif" in morph.locator("code").text_content()


def test_equations_have_faces_and_words(page):
    keep(page, 1)
    equation = screen(page, "Equation")
    page.locator(".shelf .face").first.click()
    equation.get_by_label("Words").fill("smiling man")
    equation.get_by_role("button", name="Minus", exact=True).click()
    playwright.expect(equation.locator("code")).to_have_text(
        "facegan arithmetic g.safetensors --plus 1 --minus 'smiling man' --save"
    )
    page.locator(".shelf .face").first.drag_to(equation.locator(".terms").nth(1))
    playwright.expect(equation.locator("code")).to_contain_text("--minus 1 --save")
    equation.get_by_role("button", name="Add 1", exact=True).click()
    playwright.expect(equation.locator("code")).to_contain_text("--plus 1 --save")


def test_a_file_that_is_no_photo_is_a_sentence(page, tmp_path):
    photo = screen(page, "Your photo")
    (tmp_path / "me.jpg").write_text("hello")
    photo.locator("input[type=file]").set_input_files(tmp_path / "me.jpg")
    playwright.expect(photo.locator(".empty p")).to_have_text(re.compile("me.jpg cannot be used"))


def test_training_waits_for_a_run(page):
    training = screen(page, "Training")
    playwright.expect(training.locator(".empty")).to_contain_text("No run is here yet.")


def test_the_page_computes_as_facegan_does(page):
    """Latents on the way, sums and .npy files, from JavaScript, beside those of `faces.latents`."""
    z = latents.draw(5, range(4), 8)
    z[3] = -z[0]
    wide = np.concatenate([z[1], z[2]])
    found = page.evaluate(
        """async ([a, b, c, opposite, wide]) => {
            const l = await import("./latents.js"), f = (x) => Float32Array.from(x), plain = (x) => Array.from(x);
            const file = new Uint8Array(await l.npy(f(a)).arrayBuffer());
            return {
                path: l.path([f(a), f(b), f(c)], 5, true).map(plain), open: l.path([f(a), f(b)], 3, false).map(plain),
                opposite: plain(l.slerp(f(a), f(opposite), 0.25)),
                sum: plain(l.signedSum([1, -1, 1], [f(a), f(b), f(wide)])),
                normalised: plain(l.normalise(f(wide))), zero: plain(l.normalise(f([0, 0]))), file: plain(file),
                again: l.readNpy(file.buffer, [8]).map(plain), refused: l.readNpy(file.buffer, [9]),
                far: plain(l.floats(l.fromBase64(l.toBase64(f(a))))),
            };
        }""",
        [row.tolist() for row in (*z, wide)],
    )
    near = {"rtol": 1e-6, "atol": 1e-6}
    assert np.allclose(found["path"], latents.path(z[:3], 5, loop=True)[0], **near)
    assert np.allclose(found["open"], latents.path(z[:2], 3)[0], **near)
    assert np.allclose(found["opposite"], latents.slerp(z[0], z[3], 0.25), **near)
    assert np.allclose(found["sum"], latents.signed_sum([1, -1, 1], [z[0], z[1], wide]), **near)
    assert np.allclose(found["normalised"], latents.normalise(wide), **near) and found["zero"] == [0, 0]
    assert found["again"] == [found["far"]] == [z[0].tolist()] and found["refused"] is None
    path = Path("from-the-page.npy")
    try:
        path.write_bytes(bytes(found["file"]))
        assert (latents.load_latents(path, 8) == z[:1]).all()
    finally:
        path.unlink()


def test_every_screen_fits_a_telephone(opened):
    page = opened(390, "dark")
    keep(page, 1, 2)
    for name in ("Wall", "Breed", "Sliders", "Morph", "Equation", "Your photo", "Training"):
        screen(page, name)
        for number in range(2):
            if name in ("Breed", "Sliders", "Morph", "Equation"):
                page.locator(".shelf .face").nth(number).click()
        page.wait_for_timeout(200)
        assert not page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth"), name


def test_a_photo_becomes_a_face(chromium, address, tmp_path):
    Image.fromarray(pictures.astronaut()).save(tmp_path / "me.png")
    page = chromium.new_page()
    page.goto(address + "#photo")
    page.locator(".photo input[type=file]").set_input_files(tmp_path / "me.png")
    playwright.expect(page.locator(".shelf .name")).to_have_text(["me.png"], timeout=120_000)
    playwright.expect(page.locator("#drawn-by")).to_contain_text("Draw by the generator tuned to me.png")
    playwright.expect(page.locator(".photo code")).to_have_text(
        "facegan project me.png --generator g.safetensors --out us.png"
    )
    page.reload()
    playwright.expect(page.locator("#drawn-by")).to_contain_text("me.png")
    page.close()
