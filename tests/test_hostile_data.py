"""Datasets, photos, zips and tables from people who mean harm: refused in a sentence, or skipped with a reason."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import re
import struct
import subprocess
import sys
import time
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from conftest import cli, write_dataset
from hostile import TRAP, Trap, array, crowded, not_files, sentence
from PIL import Image
from pillow_heif import register_heif_opener

from facegan.core.errors import FaceganError
from facegan.data.attributes import MAX_BYTES, read_attributes
from facegan.data.crops import Crop
from facegan.data.dataset import Dataset
from facegan.data.decode import decode_face
from facegan.data.folder import read_dataset_json, verify_pixels
from facegan.data.preprocess import preprocess
from facegan.data.sources import open_source
from facegan.pictures import opening
from facegan.pictures.opening import MAX_PIXELS, MAX_SCANS, MAX_WIDE_PIXELS, PhotoError
from facegan.pictures.photos import Reader

Edit = Callable[[Path], object]
register_heif_opener()


# Datasets.


def facts(**changes: object) -> Edit:
    def edit(folder: Path) -> None:
        path = folder / "dataset.json"
        path.write_text(json.dumps({**json.loads(path.read_text("utf-8")), **changes}), "utf-8")

    return edit


def raw_facts(content: bytes) -> Edit:
    return lambda folder: (folder / "dataset.json").write_bytes(content)


def without(name: str) -> Edit:
    def edit(folder: Path) -> None:
        path = folder / "dataset.json"
        found = json.loads(path.read_text("utf-8"))
        del found[name]
        path.write_text(json.dumps(found), "utf-8")

    return edit


def images(make: Callable[[np.ndarray], bytes]) -> Edit:
    """Other bytes for images.npy, of the length that is expected, so that the length does not give them away."""

    def edit(folder: Path) -> None:
        path = folder / "images.npy"
        length = path.stat().st_size
        path.write_bytes(make(np.load(path)).ljust(length, b"\0")[:length])

    return edit


def header(old: str, new: str) -> Edit:
    return images(lambda pixels: array(pixels).replace(old.encode(), new.encode(), 1))


def replaced_by_folder(folder: Path) -> None:
    (folder / "images.npy").unlink()
    (folder / "images.npy").mkdir()


_NAMES = ("count", "size", "source", "crop", "filter", "skipped", "duplicates", "attributes", "pixels_sha256")
DATASETS: dict[str, Edit] = {
    **{f"without-{name}": without(name) for name in (*_NAMES, "format_version", "facegan", "settings")},
    **{f"{name}-as-an-object": facts(**{name: {"a": [1]}}) for name in _NAMES if name not in ("source", "crop")},
    **{f"{name}-as-null": facts(**{name: None}) for name in _NAMES},
    "version-2": facts(format_version=2),
    "version-0": facts(format_version=0),
    "version-text": facts(format_version="1"),
    "an-unknown-entry": facts(surprise=1),
    "count-0": facts(count=0),
    "count-minus-1": facts(count=-1),
    "count-true": facts(count=True),
    "count-half": facts(count=6.5),
    "count-huge": facts(count=10**30),
    "count-of-5000-digits": raw_facts(b'{"format_version": 1, "count": ' + 5000 * b"9" + b"}"),
    "count-1-more": facts(count=7),
    "size-0": facts(size=0),
    "size-huge": facts(size=2**40),
    "as-many-bytes": facts(count=24, size=16),
    "source-as-pairs": facts(source=[["name", "a"]]),
    "settings-as-pairs": facts(settings=[["size", 1]]),
    "attributes-as-text": facts(attributes="Smiling"),
    "attributes-of-numbers": facts(attributes=[1, 2]),
    "skipped-minus-1": facts(skipped=-1),
    "a-short-hash": facts(pixels_sha256="ab"),
    "a-hash-with-spaces": facts(pixels_sha256=32 * "a "),
    "nan": raw_facts(b'{"format_version": NaN}'),
    "infinity": raw_facts(b'{"format_version": 1, "count": Infinity}'),
    "nested-deeply": raw_facts(100_000 * b'{"a":'),
    "nested-lists": raw_facts(200_000 * b"["),
    "not-text": raw_facts(b"\xff\xfe\x00"),
    "utf-16": raw_facts('{"format_version": 1}'.encode("utf-16")),
    "empty": raw_facts(b""),
    "a-list": raw_facts(b"[]"),
    "null": raw_facts(b"null"),
    "100-mb": lambda folder: os.truncate(folder / "dataset.json", 100_000_000),
    "100-mb-of-json": raw_facts(b'{"a":"' + 100_000_000 * b"a" + b'"}'),
    "images-missing": lambda folder: (folder / "images.npy").unlink(),
    "images-a-folder": replaced_by_folder,
    "images-empty": lambda folder: os.truncate(folder / "images.npy", 0),
    "images-cut": lambda folder: os.truncate(folder / "images.npy", 5000),
    "images-longer": lambda folder: os.truncate(folder / "images.npy", 50_000_000),
    "images-of-objects": images(lambda pixels: array(np.array([Trap()], dtype=object))),
    "images-of-objects-by-header": header("'|u1'", "'|O' "),
    "images-of-floats": header("'|u1'", "'<f4'"),
    "images-signed": header("'|u1'", "'|i1'"),
    "images-column-by-column": header("False", "True "),
    "images-of-another-shape": header("(6, 32, 32, 3)", "(6, 32, 3, 32)"),
    "images-of-more": header("(6, 32, 32, 3)", "(9, 32, 32, 3)"),
    "images-of-4-billion": header("(6, 32, 32, 3), }  ", "(6000, 9999, 999)}"),
    "images-no-npy": images(lambda pixels: b"hello"),
    "images-version-2": images(lambda pixels: array(pixels).replace(b"NUMPY\1", b"NUMPY\2", 1)),
}


@pytest.mark.parametrize("name", DATASETS)
def test_hostile_datasets_are_refused(workdir, name):
    DATASETS[name](write_dataset(workdir / "d", 6))
    tracemalloc.start()
    try:
        assert "d" in sentence(lambda: Dataset(workdir / "d", 0))
        assert tracemalloc.get_traced_memory()[1] < 50_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("file", ["dataset.json", "images.npy"])
def test_datasets_of_what_is_no_file(tmp_path, file):
    for other in not_files(tmp_path, ""):
        folder = write_dataset(tmp_path / f"d-{other.name}", 2)
        (folder / file).unlink()
        if other.is_symlink():
            (folder / file).symlink_to(other.readlink())
        elif other.exists():
            other.rename(folder / file)
        sentence(lambda folder=folder: Dataset(folder, 0))


def flipped(folder: Path) -> None:
    path = folder / "images.npy"
    raw = bytearray(path.read_bytes())
    raw[-100] ^= 1
    path.write_bytes(raw)


def table(change: Callable[[list[str]], object]) -> Edit:
    def edit(folder: Path) -> None:
        path = folder / "attributes.csv"
        lines = path.read_text("utf-8").splitlines()
        change(lines)
        path.write_text("\n".join([*lines, ""]), "utf-8")

    return edit


UNVERIFIED: dict[str, tuple[Edit, str]] = {
    "one-bit": (flipped, "its pixels are not those"),
    "another-hash": (facts(pixels_sha256=64 * "0"), "its pixels are not those"),
    "a-row-less": (table(lambda lines: lines.pop()), "has 5 rows, and there are 6 images"),
    "a-row-more": (table(lambda lines: lines.append("x")), "has 7 rows, and there are 6 images"),
    "a-field-more": (table(lambda lines: lines.__setitem__(3, "a,b")), "has 2 fields in line 4"),
    "another-header": (table(lambda lines: lines.__setitem__(0, "Name")), "does not begin with the columns name"),
    "a-long-field": (table(lambda lines: lines.__setitem__(3, 3_000_000 * "a")), "field larger than field limit"),
    "an-open-quote": (table(lambda lines: lines.__setitem__(3, '"')), "has 3 rows"),
    "no-text": (lambda folder: (folder / "attributes.csv").write_bytes(b"name\n\xff"), "cannot be read"),
    "missing": (lambda folder: (folder / "attributes.csv").unlink(), "cannot be read"),
}


@pytest.mark.parametrize("name", UNVERIFIED)
def test_verify_finds_what_cheap_checks_do_not(workdir, name):
    edit, says = UNVERIFIED[name]
    folder = write_dataset(workdir / "d", 6)
    verify_pixels(read_dataset_json(folder))
    edit(folder)
    assert says in sentence(lambda: verify_pixels(read_dataset_json(folder)))
    code, _, err = cli("info", folder, "--verify")
    assert code == 1 and err.startswith("error: ") and says in err


def test_verify_says_so_and_how_far_it_is(workdir):
    folder, told = write_dataset(workdir / "d", 6), []
    verify_pixels(read_dataset_json(folder), lambda done, total: told.append((done, total)))
    assert told[-1] == (6 * 32 * 32 * 3, 6 * 32 * 32 * 3)
    code, out, _ = cli("info", folder, "--verify")
    assert code == 0 and "verified" in out
    code, _, err = cli("info", "pretrained", "--verify")
    assert code == 2 and "--verify is for datasets" in err


def test_train_verifies_before_it_begins(workdir):
    folder = write_dataset(workdir / "data/d", 6)
    words = ["train", "--width", "4", "--critic-width", "4", "--images", "16", "--device", "cpu", "--verify"]
    code, _, err = cli(*words)
    assert code == 0 and "verified" in err
    with (folder / "images.npy").open("r+b") as file:
        file.seek(-1, 2)
        last = file.read(1)[0]
        file.seek(-1, 2)
        file.write(bytes([last ^ 1]))
    code, _, err = cli(*words)
    assert code == 1 and "has changed: its pixels are not those" in err and err.count("error:") == 1
    assert len(list(Path("runs").iterdir())) == 1, "nothing was begun"
    assert cli(*words[:-1], "--name", "unverified")[0] == 0


# Photos.


def picture(suffix: str) -> bytes:
    y, x = np.mgrid[0:48, 0:40]
    pixels = np.stack([x * 6, y * 5, x * y % 256], axis=-1).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, Image.registered_extensions()[f".{suffix}"])
    return file.getvalue()


FORMATS = (
    "jpg",
    "png",
    "gif",
    "webp",
    "tif",
    "bmp",
    "dib",
    "ppm",
    "tga",
    "jp2",
    "heic",
    *(("avif",) if "AVIF" in opening.FORMATS else ()),
)


def damaged() -> Iterator[tuple[str, bytes]]:
    """Names and bytes: each format cut, flipped, spliced with the next one, and under its header; 20 of each."""
    rng = np.random.default_rng(0)
    whole = {suffix: picture(suffix) for suffix in FORMATS}
    for place, (suffix, raw) in enumerate(whole.items()):
        other = whole[FORMATS[(place + 1) % len(FORMATS)]]
        for n in range(5):
            yield f"cut-{n}.{suffix}", raw[: int(len(raw) * (n + 0.5) / 5)]
            flipped = np.frombuffer(raw, np.uint8).copy()
            flipped[rng.integers(0, len(raw), 4 + 2 * n)] ^= rng.integers(1, 256, 4 + 2 * n, np.uint8)
            yield f"flip-{n}.{suffix}", flipped.tobytes()
            at = int(rng.integers(1, min(len(raw), len(other))))
            yield f"splice-{n}.{suffix}", raw[:at] + other[at:]
            head = int(rng.integers(4, 60))
            yield f"swap-{n}.{suffix}", other[:head] + raw[head:]


DAMAGED = dict(damaged())


def test_every_damaged_photo_is_decoded_or_skipped_with_its_reason(workdir):
    """None is lost, none ends the command, and none holds it up."""
    (workdir / "photos").mkdir()
    for name, raw in DAMAGED.items():
        (workdir / "photos" / name).write_bytes(raw)
    (workdir / "photos/whole.png").write_bytes(picture("png"))
    start = time.monotonic()
    result = preprocess(workdir / "photos", size=32, workers=1)
    assert time.monotonic() - start < 20
    with (result.path / "skipped.csv").open(encoding="utf-8", newline="") as file:
        skipped = {row["name"]: row["reason"] for row in csv.DictReader(file)}
    with (result.path / "attributes.csv").open(encoding="utf-8", newline="") as file:
        kept = {row["name"] for row in csv.DictReader(file)}
    assert len(DAMAGED) >= 200
    assert kept.isdisjoint(skipped) and kept | skipped.keys() == {*DAMAGED, "whole.png"}
    assert len(skipped) >= 100 and all(skipped.values())


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, depth: int = 8, colour: int = 2) -> bytes:
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")


def resized(suffix: str, width: int, height: int) -> bytes:
    """A small picture whose header claims another size."""
    raw, low, high = bytearray(picture(suffix)), struct.pack("<HH", width, height), struct.pack(">HH", height, width)
    if suffix == "gif":
        at = raw.index(b",\0\0\0\0")
        raw[6:10], raw[at + 5 : at + 9] = low, low
    elif suffix == "jpg":
        at = raw.index(b"\xff\xc0")
        raw[at + 5 : at + 9] = high
    elif suffix == "bmp":
        raw[18:26] = struct.pack("<II", width, height)
    elif suffix == "tga":
        raw[12:16] = low
    elif suffix == "ppm":
        raw[: raw.index(b"255")] = f"P6\n{width} {height}\n".encode()
    elif suffix == "jp2":
        at = raw.index(b"\xff\x51")
        raw[at + 6 : at + 14], raw[at + 22 : at + 30] = (
            struct.pack(">II", width, height),
            struct.pack(">II", width, height),
        )
        raw[raw.index(b"ihdr") + 4 : raw.index(b"ihdr") + 12] = struct.pack(">II", height, width)
    elif suffix in ("heic", "avif"):
        return re.sub(
            rb"(ispe....)" + 8 * b".", lambda match: match[1] + struct.pack(">II", width, height), raw, flags=re.DOTALL
        )
    elif suffix == "tif":
        for tag, value in ((256, width), (257, height)):
            at = raw.index(struct.pack("<HH", tag, 3 if struct.pack("<HH", tag, 3) in raw else 4))
            raw[at : at + 12] = struct.pack("<HHII", tag, 4, 1, value)
    return bytes(raw)


def webp(width: int, height: int) -> bytes:
    """An animation's canvas, which may be larger than any single WebP."""
    extended = b"\2\0\0\0" + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    body = b"WEBPVP8X" + struct.pack("<I", 10) + extended
    return b"RIFF" + struct.pack("<I", len(body)) + body


BOMBS: dict[str, bytes] = {
    "png-50000": png(50_000, 50_000),
    "png-of-2-billion-rows": png(1, 2**31 - 1),
    "png-grey-16": png(8000, 8000, 16, 0),
    "png-transparent": png(8000, 8000, 8, 6),
    "webp-16000": webp(16_000, 16_000),
    **{
        f"{suffix}-50000": resized(suffix, 50_000, 50_000)
        for suffix in ("gif", "jpg", "bmp", "tga", "ppm", "jp2", "tif")
    },
    "jp2-8000": resized("jp2", 8000, 8000),
    "heic-50000": resized("heic", 50_000, 50_000),
    "heic-8000": resized("heic", 8000, 8000),
    **({"avif-8000": resized("avif", 8000, 8000)} if "avif" in FORMATS else {}),
}


@pytest.mark.parametrize("name", BOMBS)
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_decompression_bombs_are_refused_from_their_headers(name, monkeypatch):
    def decoded(*_: object) -> None:
        raise AssertionError("it was decoded")

    monkeypatch.setattr("PIL.ImageFile.ImageFile.load_prepare", decoded)
    with pytest.raises(PhotoError, match="more than [0-9,]+ pixels") as caught:
        decode_face(BOMBS[name], 64, Crop("square"))
    assert "it was decoded" not in str(caught.value)


@pytest.mark.parametrize("side", [20, 4000])
def test_a_heic_whose_header_lies_about_its_size_is_refused(side):
    """Its pixels have a size of their own, which libheif compares before they are decoded."""
    with pytest.raises(PhotoError, match="damaged: .* size"):
        decode_face(resized("heic", side, side), 32, Crop("square"))


def test_a_heic_that_shows_a_small_part_of_a_huge_picture_is_refused():
    """Its file says that 40 x 48 pixels are shown, and all are decoded for that."""
    with pytest.raises(PhotoError, match="more than 50,000,000 pixels before it is cropped"):
        decode_face(resized("heic", 16_000, 16_000), 32, Crop("square"))


def test_a_jpeg_of_a_thousand_scans_is_refused():
    """Every scan is a few bytes and a pass over the whole picture: a megabyte could keep a processor for an hour."""
    file = io.BytesIO()
    Image.new("L", (64, 64), 90).save(file, "JPEG", progressive=True)
    raw = file.getvalue()
    decode_face(raw, 32, Crop("square"))
    last = raw.rindex(b"\xff\xda")
    bomb = raw[:-2] + 1000 * raw[last:-2] + raw[-2:]
    with pytest.raises(PhotoError, match=f"more than {MAX_SCANS} scans"):
        decode_face(bomb, 32, Crop("square"))


@pytest.mark.parametrize("suffix", ["jpg", "png", "eps"])
def test_no_other_program_is_started_for_a_photo(workdir, suffix, monkeypatch):
    """Pillow would hand EPS, whatever its name, to Ghostscript; nothing but pictures is opened."""
    eps = f"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\n({TRAP}) (w) file\n%%EOF\n".encode()

    def start(*words: object, **_: object) -> None:
        raise AssertionError(f"a program was started: {words}")

    monkeypatch.setattr(subprocess, "Popen", start)
    (workdir / f"photo.{suffix}").write_bytes(eps)
    with pytest.raises(PhotoError, match="not a picture"):
        decode_face(eps, 32, Crop("square"))
    code, _, err = cli("gif", f"photo.{suffix}", "--out", "a.gif")
    assert code == 1 and "cannot be read as a picture" in err


LIMITED = """
import sys
from pathlib import Path
from facegan.data.crops import Crop
from facegan.data.decode import decode_face
photos = [path.read_bytes() for path in sorted(Path(sys.argv[1]).iterdir())]
try:
    import resource
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + (1200 << 20),) * 2)
except (ImportError, OSError):
    print("no limit on this system")
for photo in photos:
    decode_face(photo, 64, Crop("square"))
"""


def test_the_largest_photos_need_about_a_gigabyte(tmp_path):
    """All that is accepted is decoded with at most 1.2 GB more than the program itself has."""
    for name, most, colour, bytes_per_pixel in (("plain", MAX_PIXELS, 2, 3), ("transparent", MAX_WIDE_PIXELS, 6, 4)):
        side = int(most**0.5)
        lines = zlib.compressobj(1)
        data = b"".join(lines.compress(bytes(1 + side * bytes_per_pixel)) for _ in range(side)) + lines.flush()
        head = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, colour, 0, 0, 0))
        whole = b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", data) + chunk(b"IEND", b"")
        (tmp_path / f"{name}.png").write_bytes(whole)
    words = [sys.executable, "-W", "ignore", "-c", LIMITED, str(tmp_path)]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr


def test_a_file_without_an_end_is_no_photo(workdir):
    (workdir / "photos").mkdir()
    Image.new("RGB", (40, 40)).save("photos/good.png")
    for path in not_files(workdir / "photos", ".jpg"):
        assert path.suffix == ".jpg"
    result = preprocess(workdir / "photos", size=32, workers=1)
    skipped = (result.path / "skipped.csv").read_text("utf-8")
    assert result.count == 1
    assert "pipe.jpg,not a file" in skipped or not hasattr(os, "mkfifo")


# Zips.


def packed(*members: tuple[str | zipfile.ZipInfo, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as out:
        for name, raw in members:
            out.writestr(name, raw, zipfile.ZIP_DEFLATED)
    return file.getvalue()


GOOD = ("good.png", picture("png"))


def link() -> zipfile.ZipInfo:
    found = zipfile.ZipInfo("link.png")
    found.external_attr = 0o120777 << 16
    found.create_system = 3
    return found


def patched(raw: bytes, name: bytes, local: dict[int, bytes], central: dict[int, bytes]) -> bytes:
    """Fields of the member `name`, by their places in its two headers, overwritten."""
    out = bytearray(raw)
    for mark, names_at, fields in ((b"PK\3\4", 30, local), (b"PK\1\2", 46, central)):
        at = next(n for n in range(len(out)) if out[n : n + 4] == mark and out[n + names_at :].startswith(name))
        for place, value in fields.items():
            out[at + place : at + place + len(value)] = value
    return bytes(out)


def number(value: int) -> bytes:
    return struct.pack("<I", value)


_BAD = ("bad.png", picture("png"))
_PAIR = packed(GOOD, _BAD)

SKIPPED: dict[str, tuple[bytes, str]] = {
    "climbing": (packed(GOOD, ("../../bad.png", b"x")), "climbs out"),
    "climbing-by-backslash": (packed(GOOD, ("a\\..\\..\\bad.png", b"x")), "climbs out"),
    "absolute": (packed(GOOD, ("/etc/bad.png", b"x")), "climbs out"),
    "a-drive": (packed(GOOD, ("C:/bad.png", b"x")), "climbs out"),
    "a-link": (packed(GOOD, (link(), b"/etc/passwd")), "a link"),
    "encrypted": (patched(_PAIR, b"bad", {6: b"\1"}, {8: b"\1"}), "encrypted"),
    "an-unknown-method": (patched(_PAIR, b"bad", {8: b"\x63"}, {10: b"\x63"}), "packed with method 99"),
    "bzip2": (patched(_PAIR, b"bad", {8: b"\x0c"}, {10: b"\x0c"}), "packed with bzip2"),
    "another-checksum": (patched(_PAIR, b"bad", {14: bytes(4)}, {16: bytes(4)}), "its checksum differs"),
    "claims-too-little": (patched(_PAIR, b"bad", {}, {24: number(10)}), "its checksum differs"),
    "claims-too-much": (patched(_PAIR, b"bad", {}, {24: number(10**6)}), "its checksum differs"),
    "claims-4-gb": (patched(_PAIR, b"bad", {}, {24: number(2**32 - 2)}), "too large for a photo"),
    "an-offset-beyond": (patched(_PAIR, b"bad", {}, {42: number(2**31)}), "the zip is damaged here"),
    "an-offset-inside-another": (patched(_PAIR, b"bad", {}, {42: number(5)}), "the zip is damaged here"),
    "no-deflate": (patched(_PAIR, b"bad", {30: b"bad.png" + 40 * b"\xff"}, {}), "the zip is damaged here"),
    "a-bomb": (packed(GOOD, ("bomb.png", bytes(100_000_000))), "not a picture"),
    "a-bomb-of-500-mb": (patched(packed(GOOD, ("bomb.png", b"x")), b"bomb", {}, {24: number(5 * 10**8)}), "too large"),
    "empty": (packed(GOOD, ("empty.png", b"")), "empty file"),
    "a-zip-as-a-photo": (packed(GOOD, ("inner.png", packed(GOOD))), "not a picture"),
    "a-name-of-a-device": (packed(GOOD, ("con\n\x1b[2J.png", b"x")), "not a picture"),
}


@pytest.mark.parametrize("name", SKIPPED)
def test_bad_members_are_skipped_with_their_reason(workdir, name):
    raw, says = SKIPPED[name]
    Path("photos.zip").write_bytes(raw)
    tracemalloc.start()
    try:
        result = preprocess(Path("photos.zip"), size=32, workers=1)
        assert tracemalloc.get_traced_memory()[1] < 250_000_000
    finally:
        tracemalloc.stop()
    with (result.path / "skipped.csv").open(encoding="utf-8", newline="") as file:
        (row,) = csv.DictReader(file)
    assert says in row["reason"] and not row["name"].startswith("good")
    assert sorted(path.name for path in workdir.iterdir()) == ["data", "photos.zip"]


REFUSED: dict[str, Callable[[], bytes]] = {
    "cut": lambda: _PAIR[:-40],
    "no-zip": lambda: b"hello",
    "empty": lambda: b"",
    "no-members": lambda: packed(),
    "a-zip-in-a-zip": lambda: packed(("inner.zip", _PAIR)),
    "all-encrypted": lambda: patched(packed(_BAD), b"bad", {6: b"\1"}, {8: b"\1"}),
    "a-table-that-lies": lambda: _PAIR[:-10] + number(2**31) + _PAIR[-6:],
    "a-table-elsewhere": lambda: _PAIR[:-6] + number(2**31) + _PAIR[-2:],
    "members-over-each-other": lambda: packed(GOOD)[:-22] + _overlaps(),
    "a-million-members": lambda: crowded(1_000_000, ".png" + 20 * "x" + ".png"),
}


def _overlaps() -> bytes:
    """The end of a zip whose table names its one member fifty times."""
    whole = packed(GOOD)
    at = struct.unpack("<I", whole[-6:-2])[0]
    entry = whole[at:-22]
    table = b"".join(entry.replace(b"good", b"g%03d" % n) for n in range(1, 50))
    return table + b"PK\5\6" + struct.pack("<HHHHIIH", 0, 0, 50, 50, len(entry) + len(table), at, 0)


@pytest.mark.parametrize("name", REFUSED)
def test_bad_zips_are_refused(workdir, name):
    Path("photos.zip").write_bytes(REFUSED[name]())
    tracemalloc.start()
    try:
        assert "photos.zip" in sentence(lambda: preprocess(Path("photos.zip"), size=32, workers=1))
        assert tracemalloc.get_traced_memory()[1] < 100_000_000
    finally:
        tracemalloc.stop()
    assert not list(workdir.glob("data/*"))


def test_many_members_are_listed_in_time(workdir):
    """As many as CelebA has, none of them a photo: listed, and each skipped with its reason."""
    Path("photos.zip").write_bytes(crowded(200_000, ".png"))
    start = time.monotonic()
    found = open_source(Path("photos.zip"))
    assert time.monotonic() - start < 20
    assert len(found.photos) == 200_000
    with Reader(found.path, found.kind) as reader:
        assert reader.read(found.photos[7]) == b""


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_of_two_members_with_one_name_the_last_is_taken(workdir):
    red, blue = io.BytesIO(), io.BytesIO()
    Image.new("RGB", (40, 40), "red").save(red, "PNG")
    Image.new("RGB", (40, 40), "blue").save(blue, "PNG")
    Path("photos.zip").write_bytes(packed(("a.png", red.getvalue()), ("a.png", blue.getvalue())))
    result = preprocess(Path("photos.zip"), size=32, workers=1)
    assert np.load(result.info.images)[0, 0, 0].tolist() == [0, 0, 255]
    assert "a.png,replaced by a later photo" in (result.path / "skipped.csv").read_text("utf-8")


def test_damaged_zips_never_crash(workdir):
    """Bits flipped all over: a dataset with what can be read, or one sentence."""
    rng = np.random.default_rng(0)
    for n in range(120):
        raw = np.frombuffer(_PAIR, np.uint8).copy()
        raw[rng.integers(0 if n % 2 else len(raw) - 150, len(raw), 3)] ^= np.uint8(1 << rng.integers(8))
        Path("photos.zip").write_bytes(raw.tobytes())
        try:
            preprocess(Path("photos.zip"), size=32, workers=1, overwrite=True, out=Path("d"))
        except FaceganError as error:
            assert error.message.isprintable()


# Attribute tables.

CELEBA = "list_attr_celeba.txt"
TABLES: dict[str, bytes] = {
    "empty": b"",
    "no-text": b"\xff\xfe\x00",
    "one-column": b"name\na.jpg\n",
    "a-row-too-long": b"name,age\na.jpg,1,2\n",
    "a-later-row-too-long": b"name,age\na.jpg,1\nb.jpg,1,2\n",
    "a-header-alone": b"name,age\n",
    "a-workbook": packed(("xl/workbook.xml", b"")),
    "50-million-columns": 50_000_000 * b"a," + b"\n",
    "a-long-field": b"name,age\na.jpg," + 200_000 * b"1" + b"\n",
    "a-long-official-field": b"1\nage\na.jpg " + 200_000 * b"1" + b"\n",
    "nul": b"1\nage\na.jpg 1\x002\n",
    "a-row-too-short": b"2\nage young\na.jpg 1 1\nb.jpg 1\n",
    "a-count-alone": b"1\n\na.jpg\nb.jpg 1\n",
}


@pytest.mark.parametrize("name", TABLES)
def test_hostile_tables_are_refused(tmp_path, name):
    (tmp_path / "table.csv").write_bytes(TABLES[name])
    sentence(lambda: read_attributes(tmp_path / "table.csv"))


def test_tables_of_what_is_no_file(tmp_path):
    for path in not_files(tmp_path, ".csv"):
        sentence(lambda path=path: read_attributes(path))


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        (packed(("a/img_align_celeba/1.png", GOOD[1]), (CELEBA, bytes(MAX_BYTES + 1))), "is longer than"),
        (
            patched(packed((CELEBA, b"x" * 99)), CELEBA.encode(), {30: CELEBA.encode() + b"\xff\xff"}, {}),
            "cannot be read",
        ),
        (patched(packed((CELEBA, b"x")), CELEBA.encode(), {6: b"\1"}, {8: b"\1"}), "cannot be read"),
    ],
    ids=["a-bomb", "damaged", "encrypted"],
)
def test_hostile_tables_in_zips_are_refused(workdir, raw, says):
    Path("photos.zip").write_bytes(raw)
    assert says in sentence(lambda: read_attributes(CELEBA, archive=Path("photos.zip")))


def test_a_quote_in_an_official_table_stays_in_its_field(tmp_path):
    (tmp_path / "t.txt").write_text('2\nage name\na.jpg 1 "x\nb.jpg 2 y\n')
    assert read_attributes(tmp_path / "t.txt").row("a.jpg") == ["1", '"x']


@pytest.mark.parametrize("end", ["\n", "\r", "\r\n"])
def test_a_value_of_several_lines_becomes_one(tmp_path, end):
    (tmp_path / "t.csv").write_bytes(f'name,note\na.jpg,"one{end}two"\n'.encode())
    assert read_attributes(tmp_path / "t.csv").row("a.jpg") == ["one two"]


def test_hashes_are_of_what_was_written(workdir):
    info = read_dataset_json(write_dataset(workdir / "d", 3))
    assert hashlib.sha256(info.images.read_bytes()[128:]).hexdigest() == info.pixels_sha256
