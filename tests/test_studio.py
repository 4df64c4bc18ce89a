"""The studio's server: who may ask it, what it answers to nonsense and to many, and that results are the commands'."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import os
import re
import signal
import struct
import subprocess
import sys
import time
import zlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from conftest import cli, made_up, tiny
from PIL import Image
from skimage import data as pictures
from starlette.testclient import TestClient

from facegan.core.errors import FaceganError
from facegan.editing import project, tune
from facegan.editing.attributes import Attribute, save_attributes
from facegan.faces import latents
from facegan.faces.synthesis import draw_faces
from facegan.models.checkpoint import LoadedGenerator, load_generator, save_generator
from facegan.networks import build_generator
from facegan.pictures.origin import read_origin
from facegan.runs.folder import RunDir
from facegan.studio import server
from facegan.studio.page import page
from facegan.studio.serve import listen
from facegan.studio.session import Studio

TOKEN, HOST = "a-token", "127.0.0.1:8642"
OWN = {"origin": f"http://{HOST}"}


@pytest.fixture(scope="module")
def generator(tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = tiny("dcgan-r3gan")
    network = build_generator(config)
    path = tmp_path_factory.mktemp("generator") / "g.safetensors"
    return save_generator(path, network, config, images_seen=0, weights="raw", provenance={})


@pytest.fixture(scope="module")
def loaded(generator: Path) -> LoadedGenerator:
    return load_generator(generator)


@pytest.fixture
def studio(loaded: LoadedGenerator) -> Iterator[Studio]:
    found = Studio(loaded)
    yield found
    found.close()


@pytest.fixture
def app(studio: Studio, tmp_path: Path) -> Any:
    return server.build(studio, TOKEN, word="g.safetensors", runs=tmp_path / "runs", started=lambda: None)


@pytest.fixture
def browser(app: Any) -> TestClient:
    """What the studio's own page sends."""
    return TestClient(app, base_url=f"http://{HOST}/{TOKEN}/", headers=OWN)


def draw(client: Any, z: np.ndarray, **more: object) -> Any:
    query = "&".join(f"{name}={value}" for name, value in {"width": z.shape[-1], **more}.items())
    return client.post(f"draw?{query}", content=z.astype("<f4").tobytes())


# Who may ask.


@pytest.mark.parametrize("host", [HOST, "localhost:8642", "localhost:9999", "LOCALHOST:1", "[::1]:8642", "127.0.0.1"])
def test_names_of_this_machine_are_answered(app, host):
    client = TestClient(app, base_url=f"http://{host}")
    assert client.get(f"/{TOKEN}/").status_code == 200
    assert client.post(f"/{TOKEN}/latents", json={"count": 1}, headers={"origin": f"http://{host}"}).status_code == 200


@pytest.mark.parametrize(
    "host",
    [
        *("evil.example", "evil.example:8642", "127.0.0.1.evil.example:8642", "localhost.evil.example", "localhost."),
        *("evil.example@127.0.0.1", "127.0.0.1:8642@evil.example", "0.0.0.0:8642", "192.168.1.2:8642", "127.0.0.2"),
        *("", "localhost:0", "localhost:99999", "localhost:x", "127.0.0.1:8642/x", "127.0.0.1#", "2130706433", "[::1"),
    ],
)
def test_a_strangers_domain_that_points_here_is_refused(app, host):
    """DNS rebinding: the browser believes that the studio is that site, whose page may then ask all it likes."""
    for path in (f"/{TOKEN}/", f"/{TOKEN}/info", f"/{TOKEN}/app.js"):
        answer = TestClient(app).get(path, headers={"host": host})
        assert (answer.status_code, answer.text) == (421, "The studio answers only to 127.0.0.1 and localhost.")


ORIGINS = (
    *("http://evil.example", "null", "https://127.0.0.1:8642", "http://127.0.0.1:8643", "http://127.0.0.1", "file://"),
    *("http://localhost:8642", "http://127.0.0.1:8642.evil.example", "", "http://127.0.0.1:8642, http://evil.example"),
)


@pytest.mark.parametrize("origin", ORIGINS)
@pytest.mark.parametrize(("method", "path"), [("GET", ""), ("GET", "info"), ("POST", "latents"), ("POST", "photo")])
def test_a_page_from_elsewhere_is_refused(app, origin, method, path):
    answer = TestClient(app).request(method, f"http://{HOST}/{TOKEN}/{path}", headers={"origin": origin}, json={})
    assert answer.status_code == 403 and "studio's own page" in answer.text


def test_what_changes_something_must_say_where_it_comes_from(app, browser):
    silent = TestClient(app, base_url=f"http://{HOST}/{TOKEN}/")
    for path in ("latents", "draw", "words", "photo", "project", "stop", "picture/face"):
        assert silent.post(path, json={}).status_code == 403
        assert browser.get(path).status_code in (400, 404, 405)  # GET /project only asks how far one is
    two = [("origin", OWN["origin"]), ("origin", "http://evil.example")]
    twice = TestClient(app).post(f"http://{HOST}/{TOKEN}/latents", json={}, headers=httpx.Headers(two))
    assert twice.status_code == 403


@pytest.mark.parametrize(
    "path", ["/", "/info", "//", f"/{TOKEN[:-1]}/", f"/{TOKEN}x/", f"/{TOKEN.upper()}/", "/%00/", "/é/"]
)
def test_without_the_token_nothing_is_there(app, path):
    answer = TestClient(app, base_url=f"http://{HOST}").get(path)
    assert answer.status_code == 403 and TOKEN not in answer.text


def test_every_answer_forbids_what_is_not_from_here(app, browser):
    answers = [browser.get(path) for path in ("", "app.js", "info", "nothing", "project?projection=x")]
    answers += [browser.post("photo", content=b"x"), TestClient(app).get("/")]
    for answer in answers:
        policy = answer.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:;")
        assert "unsafe" not in policy and "http" not in policy and "*" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["cross-origin-resource-policy"] == "same-origin"
        assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize(
    "path",
    [
        "..%2fsession.py",
        "%2e%2e/session.py",
        "../server.py",
        "static/app.js",
        "..\\server.py",
        "app.js%00",
        ".",
        "%2fetc%2fpasswd",
    ],
)
def test_no_name_becomes_a_path(app, path):
    answer = TestClient(app, base_url=f"http://{HOST}").get(f"/{TOKEN}/{path}")
    assert answer.status_code in (403, 404) and "import" not in answer.text


# The page.


def test_the_page_is_small_and_asks_for_nothing_from_elsewhere():
    files = page()
    assert sum(map(len, files.values())) <= 300_000
    for name, content in files.items():
        text = content.decode()
        assert set(re.findall(r"\w+://[\w.]+", text)) <= {"http://www.w3.org"}, name  # the names of SVG
        assert not re.search(r"\beval\(|new Function|innerHTML|document\.write", text), name
    html = files["index.html"].decode()
    assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?![^>]*\ssrc=)", html)
    for name in re.findall(r'(?:src|href)="([^"#]+)"', html):
        assert name in files
    for name, content in files.items():
        for module in re.findall(r'from "\./([^"]+)"', content.decode()) if name.endswith(".js") else ():
            assert module in files


def test_each_file_has_its_type(browser):
    types = {
        name: browser.get(name).headers["content-type"].partition(";")[0]
        for name in ("", "app.js", "style.css", "icon.svg")
    }
    assert types == {"": "text/html", "app.js": "text/javascript", "style.css": "text/css", "icon.svg": "image/svg+xml"}


def test_the_page_is_told_what_the_generator_is(browser, loaded):
    facts = browser.get("info").json()
    networks = loaded.config.networks
    assert (facts["latent_dim"], facts["rows"], facts["size"]) == (networks.latent_dim, networks.latent_rows, 32)
    assert facts["word"] == "g.safetensors"
    assert facts["can"]["words"] is False and "facegan attributes" in facts["attributes"]["hint"]
    assert facts["attributes"]["components"] == 8 and not facts["attributes"]["known"]


# Latents and faces.


def test_latents_and_faces_are_those_of_the_commands(browser, loaded):
    answer = browser.post("latents", content='{"seed": 7, "first": 40, "count": 5}')
    z = np.frombuffer(answer.content, "<f4").reshape(5, -1)
    assert (z == latents.draw(7, range(40, 45), 8)).all()
    faces = np.frombuffer(draw(browser, z).content, np.uint8).reshape(5, 32, 32, 3)
    assert (faces == draw_faces(loaded.module, loaded.config.networks, z)).all()
    wide = np.tile(z[:1], loaded.config.networks.latent_rows)
    assert draw(browser, wide).content == faces[0].tobytes()


@pytest.mark.parametrize(
    ("content", "query"),
    [
        *((b"", "width=8"), (b"abc", "width=8"), (bytes(64), "width=16"), (bytes(32 * 300), "width=8")),
        *((bytes(32), f"width={width}") for width in (7, 0, -8, 8.5, "", 10**20, "8&model=../x")),
        *((np.full(8, value, "<f4").tobytes(), "width=8") for value in (np.nan, np.inf, 1e9)),
    ],
)  # fmt: skip
def test_what_is_no_latent_is_refused_in_a_sentence(browser, content, query):
    answer = browser.post(f"draw?{query}", content=content)
    assert answer.status_code == 400 and answer.json()["error"].endswith(".")


@pytest.mark.parametrize(
    "content",
    [
        *(b"", b"[]", b"null", b"{", b"\xff\xfe", b"[" * 100_000, b'{"count": NaN}', b'{"count": true}'),
        *(b'{"count": 0}', b'{"count": 1e9}', b'{"count": "many"}', b'{"count": 257}', b'{"seed": -1}'),
        *(b'{"seed": 99999999999999999999999, "count": 1}', b'{"count": 1, "first": 2147483647}'),
    ],
)  # fmt: skip
def test_nonsense_is_answered_in_a_sentence(browser, content):
    for path in ("latents", "picture/face", "picture/film", "picture/nothing", "project", "stop", "words"):
        answer = browser.post(path, content=content)
        assert answer.status_code == 400 and answer.json()["error"].endswith("."), path


def test_too_much_is_refused_before_it_is_read(browser, monkeypatch):
    monkeypatch.setattr(server, "MAX_UPLOAD", 1000)
    monkeypatch.setattr(server, "_MAX_LATENTS", 1000)
    assert browser.post("photo?name=a.png", content=bytes(1001)).json()["error"] == (
        "This file is too large for a photo: 40 MB is the most."
    )
    assert browser.post("draw?width=8", content=bytes(1001)).status_code == 413
    told = browser.post("draw?width=8", content=b"x", headers={"content-length": "999999999999999999999999"})
    assert told.status_code == 413
    sent = 0

    def endless() -> Iterator[bytes]:
        nonlocal sent
        while sent < 10_000_000:
            sent += 500
            yield bytes(500)

    assert browser.post("draw?width=8", content=endless()).status_code == 413


# Pictures are those of the commands.


def b64(z: np.ndarray) -> str:
    return base64.b64encode(z.astype("<f4").tobytes()).decode()


def test_a_face_is_what_its_command_writes(browser, generator, workdir):
    z = latents.draw(3, [9], 8)[0] * np.float32(0.9)
    latents.save_latent(z, Path("child-1.npy"))
    for spec, known in (("7:44", {}), ("child-1.npy", {"child-1.npy": b64(z)})):
        answer = browser.post("picture/face", json={"specs": [spec], "known": known, "scale": 4})
        assert answer.headers["content-type"] == "image/png"
        code, out, err = cli("sample", generator, "--faces", spec, "--separate", "--scale", 4)
        assert code == 0, err
        (written,) = Path(out.split()[-1]).iterdir()
        assert answer.content == written.read_bytes()


def test_a_film_and_its_strip_are_what_the_command_writes(browser, generator, workdir):
    latents.save_latent(latents.draw(1, [2], 8)[0], Path("me.npy"))
    asked = {"specs": ["3", "7:44", "me.npy"], "known": {"me.npy": b64(latents.draw(1, [2], 8))}, "steps": 5, "fps": 16}
    for loop in (True, False):
        film = browser.post("picture/film", json={**asked, "loop": loop, "ending": ".gif"})
        strip = browser.post("picture/strip", json={**asked, "loop": loop})
        words = ["--through", "3", "--through", "7:44", "--through", "me.npy", "--steps", 5, "--gif", "--fps", 16]
        code, out, err = cli("interpolate", generator, *words, *["--loop"] * loop)
        assert code == 0, err
        still, moving = (Path(line.split()[-1]) for line in out.splitlines())
        assert strip.content == still.read_bytes() and film.content == moving.read_bytes()


def test_pictures_can_keep_to_themselves_how_they_were_made(loaded, workdir):
    for metadata in (True, False):
        studio = Studio(loaded, metadata=metadata)
        client = TestClient(
            server.build(studio, TOKEN, word="g", started=lambda: None), base_url=f"http://{HOST}/{TOKEN}/", headers=OWN
        )
        Path("face.png").write_bytes(client.post("picture/face", json={"specs": ["7:44"], "scale": 4}).content)
        _, origin = read_origin(Path("face.png"))
        assert (origin and origin.command) == (
            ("sample", "g.safetensors", "--faces", "7:44", "--separate", "--scale", "4") if metadata else None
        )
        studio.close()


def test_an_equation_is_what_the_command_writes(browser, generator, workdir):
    asked = {"specs": ["1,2,3", "4,5", "7:6"], "signs": [1, -1, 1]}
    answer = browser.post("picture/equation", json=asked)
    code, out, err = cli("arithmetic", generator, "--plus", "1,2,3", "--minus", "4,5", "--plus", "7:6")
    assert code == 0, err
    assert answer.content == Path(out.split()[-1]).read_bytes()


@pytest.mark.parametrize("ending", [".webp", ".mp4"])
def test_films_of_other_kinds(browser, ending):
    answer = browser.post("picture/film", json={"specs": ["1", "2"], "steps": 3, "ending": ending})
    assert answer.status_code == 200 and {".webp": b"WEBP", ".mp4": b"ftyp"}[ending] in answer.content[:16]


@pytest.mark.parametrize(
    ("kind", "asked"),
    [
        *(("face", {"specs": specs}) for specs in (["/etc/passwd.npy"], ["me.npy"], ["/etc/passwd"], ["a.jpg"], [])),
        *(("face", {"specs": specs}) for specs in (["1"] * 101, "1", [1], [""], ["1-9999999"], ["9" * 5000])),
        *(("face", {"specs": ["a"], "known": known}) for known in ([], {"a": "%"}, {"a": "AAAA"}, {"a": ""}, {"a": 1})),
        ("face", {"specs": ["/home/me.npy"], "known": {"/home/me.npy": b64(np.zeros(8))}}),
        *(("film", {"specs": ["1", "2"], "ending": ending}) for ending in ("/../x.gif", ".exe", 1)),
        *(("film", {"specs": ["1", "2"], "fps": fps}) for fps in (0, "x", 1e9)),
        *(("film", {"specs": specs, "steps": 900}) for specs in (["1"], ["1"] * 50)),
        *(("equation", {"specs": ["1"], "signs": signs}) for signs in (None, [], [2], ["+"], 1)),
        *(("strip", {"specs": ["1", "2, x.npy"]}), ("film", {"specs": ["1", "2"], "steps": 100_000})),
        *(("face", {"specs": ["1"], "scale": 99}), ("nothing", {"specs": ["1"]})),
    ],
)  # fmt: skip
def test_pictures_that_cannot_be_made_are_refused(browser, kind, asked):
    answer = browser.post(f"picture/{kind}", json=asked)
    assert answer.status_code == 400 and answer.json()["error"].endswith("."), answer.text
    assert "root:" not in answer.text


# Attributes and words.


@pytest.fixture
def named(generator: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    """A studio of a generator whose faces have names."""
    path = tmp_path / "g.safetensors"
    path.write_bytes(generator.read_bytes())
    loaded = load_generator(path)
    known = [Attribute(name, False, 0.9, 0.5) for name in ("Smiling", "Male", "Young")]
    known.append(Attribute("Bald", False, 0.9, 0.0, "the generator draws too few of them"))
    attributes = replace(made_up(loaded.module, tuple(known), ("Male", "Young")), step=np.ones(4, np.float32))
    save_attributes(attributes, tmp_path / "attributes.safetensors")
    monkeypatch.chdir(tmp_path)
    studio = Studio(loaded)
    app = server.build(studio, TOKEN, word="g.safetensors", started=lambda: None)
    yield TestClient(app, base_url=f"http://{HOST}/{TOKEN}/", headers=OWN)
    studio.close()


def test_a_slider_moves_a_face_as_its_command_does(named):
    facts = named.get("info").json()
    assert [attribute["name"] for attribute in facts["attributes"]["known"]] == ["Smiling", "Male", "Young", "Bald"]
    assert facts["attributes"]["keep"] == ["Male", "Young"] and facts["can"]["words"]
    sent = {"latent": b64(latents.draw(7, [4], 8)), "changes": ["Smiling=+2", "Young=-0.5"], "keep": ["Male"]}
    found = named.post("edit", json=sent).json()
    words = ["--face", "7:4", "--attr", "Smiling=+2", "--attr", "Young=-0.5", "--keep", "Male", "--save"]
    code, _, err = cli("edit", "g.safetensors", *words, "--out", "e.png")
    assert code == 0, err
    z = np.load("e.npy")
    assert base64.b64decode(found["latent"]) == z.astype("<f4").tobytes()
    drawn = np.frombuffer(draw(named, z[None]).content, np.uint8).astype(int)
    assert np.abs(drawn - np.frombuffer(base64.b64decode(found["face"]), np.uint8)).max() <= 1


def test_a_generator_without_names_is_moved_along_components(browser, generator, workdir):
    sent = {"latent": b64(latents.draw(0, [4], 8)), "changes": ["2=+1.5"], "keep": []}
    found = browser.post("edit", json=sent).json()
    code, _, err = cli("edit", generator, "--face", "4", "--component", "2=+1.5", "--save", "--out", "e.png")
    assert code == 0, err
    assert base64.b64decode(found["latent"]) == np.load("e.npy").astype("<f4").tobytes()
    answer = browser.post("edit", json={**sent, "changes": ["Smiling=+2"]})
    assert answer.status_code == 400 and "has no attributes yet" in answer.json()["error"]


@pytest.mark.parametrize(
    ("changes", "keep"),
    [
        *((["Bald=+1"], []), (["Hat=+1"], []), (["Smiling=x"], []), (["Smiling=1e9"], []), (["Smiling=-3..3"], [])),
        *(([], []), (["Smiling=+1"] * 2, []), (["Smiling=+1"], ["Smiling"]), (["Smiling=+1"], ["Hat"]), ("x", [])),
        *((None, None), ([1], []), (["0=1"], []), (["999=1"], []), (["Smiling=+1"] * 400, [])),
    ],
)
def test_edits_that_cannot_be_made_are_refused(named, changes, keep):
    answer = named.post("edit", json={"latent": b64(latents.draw(0, [4], 8)), "changes": changes, "keep": keep})
    assert answer.status_code == 400 and answer.json()["error"].endswith("."), answer.text


def test_words_are_the_faces_that_the_command_finds(named, monkeypatch):
    monkeypatch.setattr("facegan.editing.words.POOL", 300)
    found = named.post("words", json={"words": " smiling  man "}).json()
    assert len(found["faces"]) == len(found["latents"]) == 10
    assert base64.b64decode(found["latents"][3]) == latents.draw(0, [int(found["faces"][3])], 8).astype("<f4").tobytes()
    answer = named.post("picture/equation", json={"specs": ["smiling man", "7:4"], "signs": [1, -1]})
    code, out, err = cli("arithmetic", "g.safetensors", "--plus", "smiling man", "--minus", "7:4")
    assert code == 0, err
    assert answer.content == Path(out.split()[-1]).read_bytes()
    for wrong in ("", "qwertz", "/etc/passwd", "bald man", "x" * 10_000):
        assert named.post("words", json={"words": wrong}).status_code == 400


# Photos.


def png(width: int, height: int, content: bytes = b"") -> bytes:
    """A PNG that says it is so large."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", content) + chunk(b"IEND", b"")


def portrait(kind: str = "JPEG") -> bytes:
    file = io.BytesIO()
    Image.fromarray(pictures.astronaut()).save(file, kind)
    return file.getvalue()


HOSTILE = {
    "nothing": b"",
    "text": b"hello",
    "a page": b"<html><script>alert(1)</script>",
    "a drawing": b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>',
    "cut off": portrait()[:300],
    "a bomb": png(60_000, 60_000, zlib.compress(bytes(10_000_000))),
    "no size": png(0, 0),
    "a pickle": b"\x80\x04\x8c\x05posix\x8c\x06system\x93\x8c\x02id\x85R.",
    "zeros": bytes(3_000_000),
    "a zip": b"PK\x03\x04" + bytes(100),
}


@pytest.mark.parametrize("crop", ["face", "square"])
@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_upload_is_refused_in_a_sentence(browser, studio, content, crop):
    answer = browser.post(f"photo?name=me.jpg&crop={crop}", content=content)
    assert answer.status_code == 400 and answer.json()["error"].startswith("me.jpg cannot be used: ")
    assert not studio._photos


@pytest.mark.parametrize(
    "name", ["../../etc/passwd", "C:\\x\\y.jpg", "%00\x1b[2J.jpg", "", "/", "x" * 5000, "a,b.jpg", "☃.jpg"]
)
def test_a_photos_name_is_only_a_name(browser, name):
    answer = browser.post("photo", params={"name": name, "crop": "square"}, content=portrait("PNG"))
    found = answer.json()["name"]
    assert found.isprintable() and not set("/\\,") & set(found.replace("\\x", "")) and 0 < len(found) <= 80


def test_no_photo_is_written_to_disk(browser, workdir):
    assert browser.post("photo?name=me.png&crop=square", content=portrait("PNG")).status_code == 200
    assert not list(workdir.iterdir())


def test_a_photo_without_a_face_says_so(browser):
    file = io.BytesIO()
    Image.fromarray(np.full((200, 200, 3), 128, np.uint8)).save(file, "PNG")
    answer = browser.post("photo?name=wall.png", content=file.getvalue())
    assert answer.json()["error"] == "wall.png cannot be used: no face found."


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(project, "_SAMPLES", 50)
    monkeypatch.setattr(project, "TRIALS", ((2, 11),))
    monkeypatch.setattr(project, "FINAL_STEPS", 11)
    monkeypatch.setattr(tune, "OFFSET_STEPS", 4)
    monkeypatch.setattr(tune, "WEIGHT_STEPS", 3)


def upload(client: TestClient, name: str = "me.jpg", crop: str = "face") -> str:
    answer = client.post(f"photo?name={name}&crop={crop}", content=portrait())
    assert answer.status_code == 200, answer.text
    return answer.json()["photo"]


def ended(client: TestClient, projection: str) -> dict[str, Any]:
    for _ in range(1000):
        now = client.get(f"project?projection={projection}&looks=0").json()
        if now["state"] not in ("waiting", "working"):
            return now
        time.sleep(0.02)
    raise AssertionError("the projection does not end")


def test_a_photo_becomes_a_face_like_any_other(browser, quick, loaded):
    first = browser.post("photo?name=me.jpg", content=portrait()).json()
    assert len(base64.b64decode(first["face"])) == 32 * 32 * 3
    second = upload(browser, "me.jpg", "square")
    key = browser.post("project", json={"photos": [first["photo"], second]}).json()["projection"]
    found = ended(browser, key)
    assert found["state"] == "done" and found["done"] == found["total"]
    assert found["files"] == ["us-me.npy", "us-me-2.npy"]
    assert found["look"] and "the pixels of the face differ" in found["words"][0]
    z = np.stack([np.frombuffer(base64.b64decode(text), "<f4") for text in found["latents"]])
    drawn = draw(browser, z, model=found["model"]).content
    assert drawn == b"".join(base64.b64decode(face) for face in found["drawn"])
    assert draw(browser, z).content == draw_faces(loaded.module, loaded.config.networks, z).tobytes() != drawn


def test_the_same_photo_from_the_command_line_is_the_same_face(quick, loaded, generator, workdir):
    """Both remember what they found in one folder, and find it there."""
    studio = Studio(loaded, workdir / "outputs" / "projected")
    client = TestClient(
        server.build(studio, TOKEN, word="g", started=lambda: None), base_url=f"http://{HOST}/{TOKEN}/", headers=OWN
    )
    found = ended(client, client.post("project", json={"photos": [upload(client)]}).json()["projection"])
    Path("me.jpg").write_bytes(portrait())
    code, _, err = cli("project", "me.jpg", "--generator", generator, "--out", "us.png")
    assert code == 0, err
    z = np.load("us-me.npy")
    assert z.astype("<f4").tobytes() == base64.b64decode(found["latents"][0])
    faces = draw_faces(load_generator(Path("us.safetensors")).module, loaded.config.networks, z[None])
    assert faces.tobytes() == base64.b64decode(found["drawn"][0])
    asked = {"specs": ["us-me.npy"], "known": {"us-me.npy": found["latents"][0]}, "scale": 2, "model": found["model"]}
    answer = client.post("picture/face", json=asked)
    words = ["us.safetensors", "--faces", "us-me.npy", "--separate", "--scale", 2]
    assert cli("sample", *words, "--out", "face")[0] == 0
    assert answer.content == Path("face/face-00000.png").read_bytes()  # and it says the same of how it was made
    studio.close()


def test_projections_wait_for_each_other_and_can_be_stopped(browser, monkeypatch, loaded):
    monkeypatch.setattr(project, "_SAMPLES", 50)
    monkeypatch.setattr(project, "TRIALS", ((2, 100_000),))
    photo = upload(browser, crop="square")
    keys = [browser.post("project", json={"photos": [photo], "plain": True}).json()["projection"] for _ in range(9)]
    refused = browser.post("project", json={"photos": [photo]})
    assert refused.status_code == 400 and refused.json()["error"] == "Too many photos wait already."
    time.sleep(0.2)
    states = [browser.get(f"project?projection={key}").json() for key in keys]
    assert [state["state"] for state in states].count("working") == 1
    assert [state["before"] for state in states] == list(range(9))
    for key in reversed(keys):
        assert browser.post("stop", json={"projection": key}).status_code == 200
    assert {ended(browser, key)["state"] for key in keys} == {"stopped"}


def test_a_projection_that_fails_says_why(browser, studio, monkeypatch):
    def broken(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr("facegan.studio.session.project_faces", broken)
    key = browser.post("project", json={"photos": [upload(browser, crop="square")]}).json()["projection"]
    found = ended(browser, key)
    assert (found["state"], found["error"]) == ("failed", "There is not enough memory for this.")
    for wrong in ([], ["x"], "x", [1], None):
        assert browser.post("project", json={"photos": wrong}).status_code == 400


# Many at once.


def test_a_thousand_quick_requests(app, studio, loaded):
    """As from a slider that is dragged wildly: all are answered, none is mixed up, and the studio still works."""
    z = latents.draw(0, range(50), 8)
    faces = draw_faces(loaded.module, loaded.config.networks, z)

    async def ask() -> list[httpx.Response]:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url=f"http://{HOST}/{TOKEN}/", headers=OWN) as client:
            sent = (client.post("draw?width=8", content=z[n % 50].tobytes()) for n in range(1000))
            return await asyncio.gather(*sent)

    answers = asyncio.run(ask())
    assert {answer.status_code for answer in answers} <= {200, 503}
    served = [n for n, answer in enumerate(answers) if answer.status_code == 200]
    assert len(served) >= 50
    for n in served:
        assert np.abs(np.frombuffer(answers[n].content, np.uint8).astype(int) - faces[n % 50].reshape(-1)).max() <= 1
    assert all(
        answer.json()["error"].startswith("The studio is busy") for answer in answers if answer.status_code == 503
    )


def test_two_browsers_at_once(app, quick):
    one, other = (
        TestClient(app, base_url=f"http://{host}/{TOKEN}/", headers={"origin": f"http://{host}"})
        for host in (HOST, "localhost:9000")
    )
    keys = [
        client.post("project", json={"photos": [upload(client, crop=crop)]}).json()["projection"]
        for client, crop in ((one, "face"), (other, "square"))
    ]
    z = latents.draw(0, [1], 8)
    assert draw(one, z).content == draw(other, z).content
    first, second = ended(one, keys[0]), ended(other, keys[1])
    assert first["state"] == second["state"] == "done" and first["model"] != second["model"]
    found = np.frombuffer(base64.b64decode(first["latents"][0]), "<f4")[None]
    assert draw(one, found, model=first["model"]).content == base64.b64decode(first["drawn"][0])


def test_what_nobody_foresaw_is_a_sentence_in_the_page_and_in_the_terminal(studio, browser, monkeypatch):
    said: list[str] = []
    monkeypatch.setattr(studio, "note", said.append)
    monkeypatch.setattr(studio, "draw", lambda model, z: 1 / 0)
    answer = draw(browser, latents.draw(0, [1], 8))
    assert answer.status_code == 500
    assert answer.json()["error"] == "This is a bug in facegan: ZeroDivisionError: division by zero."
    assert said == ["the studio could not answer: ZeroDivisionError: division by zero"]


# Runs.


def write_run(path: Path, rows: int, going: bool = True) -> RunDir:
    run = RunDir(path)
    (path / "samples").mkdir(parents=True)
    run.write_config(tiny("dcgan-r3gan"))
    with run.metrics.open("w") as file:
        for n in range(rows):
            row = {
                "images_seen": 4 * (n + 1),
                "epoch": n / 4,
                "wasserstein": 1.5,
                "slope": 0.9,
                "critic_loss": float(n),
            }
            file.write(json.dumps({**row, "generator_loss": None, "images_per_second": 2.0}) + "\n")
    Image.new("RGB", (8, 8), (200, 0, 0)).save(run.sample(0))
    return run


def test_a_run_that_goes_on(browser, tmp_path):
    assert browser.get("training").json() == {"run": None, "runs": []}
    assert browser.get("training/grid").json()["error"] == "There is no sample grid yet."
    write_run(tmp_path / "runs" / "00001-old", 12)
    run = write_run(tmp_path / "runs" / "00002-new", 6)
    now = browser.get("training").json()
    assert (now["run"], now["runs"]) == ("00002-new", ["00002-new", "00001-old"])
    assert (now["images_seen"], now["total"], now["state"], now["left"]) == (24, 48, "training", "12 s")
    assert now["curves"]["Losses"] == {"critic_loss": [[4 * (n + 1), n] for n in range(6)]}
    assert browser.get("training/grid?run=00002-new").content == run.sample(0).read_bytes()
    assert browser.get("training?run=00001-old").json()["state"] == "done"
    fresh = write_run(tmp_path / "runs" / "00003-fresh", 0)
    assert browser.get("training").json()["state"] == "starting"
    for path in (fresh.config, fresh.metrics, run.config, run.metrics):
        os.utime(path, (0, 0))
    assert [browser.get(f"training?run={name}").json()["state"] for name in ("00003-fresh", "00002-new")] == [
        "stopped"
    ] * 2
    for wrong in ("..", "../runs", "/", "00009-x", "%2e%2e"):
        for path in ("training", "training/grid"):
            assert browser.get(f"{path}?run={wrong}").json()["error"] == "There is no such run any more."


def test_long_curves_are_thinned(browser, tmp_path):
    write_run(tmp_path / "runs" / "00001-long", 1000)
    points = browser.get("training").json()["curves"]["Losses"]["critic_loss"]
    assert len(points) == 250 and points[0] == [16, 1.5] and points[-1] == [4000, 997.5]


# The command.


def test_a_port_that_is_taken_is_a_sentence():
    with listen(None) as first, listen(None) as second:
        assert first.getsockname()[0] == "127.0.0.1" != first.getsockname()[1] != second.getsockname()[1]
        with pytest.raises(FaceganError, match="cannot be used: Address already in use"):
            listen(first.getsockname()[1])


def test_without_the_extra_it_is_named(generator, monkeypatch):
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    code, _, err = cli("studio", generator, "--no-browser")
    assert (
        code == 1 and "facegan studio needs facegan's extra 'studio'" in err and 'pip install "facegan[studio]"' in err
    )


@pytest.mark.skipif(sys.platform == "win32", reason="Windows sends no such signal to one process")
def test_the_command_prints_its_address_serves_and_ends_on_ctrl_c(generator, workdir):
    command = [sys.executable, "-m", "facegan", "studio", str(generator), "--no-browser", "--device", "cpu"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout and process.stderr
        line = process.stdout.readline()
        address = line.removeprefix("studio: ").strip()
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/[\w-]{20,}/", address), line
        assert httpx.get(address).status_code == 200
        assert httpx.get(address + "info").json()["size"] == 32
        with httpx.Client(base_url=address) as client:  # small answers come at once, not when the last is acknowledged
            times = [client.get("training").elapsed.total_seconds() for _ in range(20)]
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
    assert process.returncode == 0 and not out and err.splitlines()[-1] == "the studio is closed"
    assert "Traceback" not in err
    assert min(times) < 0.03
