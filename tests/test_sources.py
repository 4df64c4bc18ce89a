"""Sources: what is found where, and what is ruled out by name."""

from __future__ import annotations

import io
import os
import zipfile
from pathlib import Path

import pytest
from PIL import Image

from facegan.attributes import read_attributes
from facegan.errors import FaceganError
from facegan.photos import Reader, ReadError
from facegan.sources import open_source

OFFICIAL = "3\nSmiling Young\n000001.jpg -1  1\n000002.jpg  1  1\n000003.jpg  1 -1\n"
KAGGLE = "image_id,Smiling,Young\n000001.jpg,-1,1\n000002.jpg,1,1\n000003.jpg,1,-1\n"


def picture(shade: int = 128) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (12, 12), (shade, 0, 0)).save(buffer, "PNG")
    return buffer.getvalue()


def make(root: Path, files: dict[str, bytes | str]) -> Path:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content.encode() if isinstance(content, str) else content)
    return root


def pack(path: Path, files: dict[str, bytes | str], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def names(path: Path) -> list[str]:
    return [photo.name for photo in open_source(path).photos]


def test_a_folder_is_searched_to_the_bottom_and_sorted(tmp_path: Path) -> None:
    make(tmp_path, {"b.PNG": "", "a/ü [1].jpg": "", "a/b/c.webp": "", "notes.txt": "", "Thumbs.db": "", ".x.jpg": ""})
    make(tmp_path, {"__MACOSX/a.jpg": "", "a/.hidden/d.jpg": ""})
    assert names(tmp_path) == ["a/b/c.webp", "a/ü [1].jpg", "b.PNG"]
    assert open_source(tmp_path).ignored == 1


@pytest.mark.skipif(os.name == "nt", reason="links need rights there")
def test_links_are_followed_but_not_in_circles_and_devices_are_listed(tmp_path: Path) -> None:
    make(tmp_path / "photos", {"a.jpg": ""})
    make(tmp_path / "elsewhere", {"b.jpg": ""})
    (tmp_path / "photos" / "loop").symlink_to(tmp_path / "photos")
    (tmp_path / "photos" / "more").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "photos" / "broken.jpg").symlink_to("nowhere")
    os.mkfifo(tmp_path / "photos" / "pipe.jpg")
    source = open_source(tmp_path / "photos")
    assert [photo.name for photo in source.photos] == ["a.jpg", "more/b.jpg"]
    assert [name for name, _ in source.unusable] == ["broken.jpg", "pipe.jpg"]


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_zip_is_read_in_place(tmp_path: Path, method: int) -> None:
    archive = pack(tmp_path / "My Photos.zip", {"b.png": picture(1), "x/a.png": picture(2), "t.txt": "no"}, method)
    source = open_source(archive)
    assert (source.kind, source.title, source.ignored) == ("zip", "my-photos", 1)
    with Reader(source.path, source.kind) as reader:
        assert [reader.read(photo) for photo in source.photos] == [picture(1), picture(2)]
    assert sorted(tmp_path.iterdir()) == [archive]


def test_what_facegan_itself_has_written_is_no_photo(tmp_path: Path) -> None:
    own = ("data/mine-64/preview.png", "runs/00001-x/samples/epoch-0001.png", "outputs/sample-001.png")
    marks = ("data/mine-64/images.npy", "data/mine-64/dataset.json", "runs/00001-x/config.json")
    files = dict.fromkeys(("me.png", "outputs of a scanner/1.png", *own), picture())
    root = make(tmp_path / "r", {**files, **dict.fromkeys((*marks, "runs/00001-x/provenance.json"), "")})
    source = open_source(root)
    assert [photo.name for photo in source.photos] == ["me.png", "outputs of a scanner/1.png"]
    assert source.unusable == [
        ("data/mine-64/", "a dataset of facegan, not photos"),
        ("outputs/", "pictures drawn by facegan, not photos"),
        ("runs/00001-x/", "a run of facegan, not photos"),
    ]
    with pytest.raises(FaceganError, match="mine-64 holds no photos, but a dataset of facegan"):
        open_source(root / "data/mine-64")


def test_names_that_climb_out_of_a_zip_are_refused_one_by_one(tmp_path: Path) -> None:
    files = {"../up.png": picture(), "/root.png": picture(), "C:/x.png": picture(), "a/../../b.png": picture()}
    source = open_source(pack(tmp_path / "z.zip", {**files, "a..b/ok.png": picture(), "win\\ok.png": picture()}))
    assert [photo.name for photo in source.photos] == ["a..b/ok.png", "win/ok.png"]
    assert {reason for _, reason in source.unusable} == {"its path in the zip climbs out of it"}
    assert len(source.unusable) == 4


def flag_encrypted(path: Path) -> None:
    data = bytearray(path.read_bytes())
    for signature, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = -1
        while (at := data.find(signature, at + 1)) >= 0:
            data[at + flags] |= 1
    path.write_bytes(data)


def test_an_encrypted_zip_is_an_error_in_a_sentence(tmp_path: Path) -> None:
    archive = pack(tmp_path / "z.zip", {"a.png": picture()})
    flag_encrypted(archive)
    with pytest.raises(FaceganError, match="encrypted"):
        open_source(archive)


def test_a_damaged_member_is_a_reason(tmp_path: Path) -> None:
    archive = pack(tmp_path / "z.zip", {"a.png": picture(), "b.png": picture()}, zipfile.ZIP_STORED)
    data = bytearray(archive.read_bytes())
    data[data.find(b"IDAT") + 8] ^= 255
    archive.write_bytes(data)
    source = open_source(archive)
    with Reader(source.path, source.kind) as reader:
        with pytest.raises(ReadError, match="checksum"):
            reader.read(source.photos[0])
        assert reader.read(source.photos[1]) == picture()


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ({"photo.jpg": "x"}, "Name the folder"),
        ({"photos.tar": "x"}, "Unpack it first"),
        ({"photos.zip": "x"}, "damaged"),
    ],
)
def test_what_is_no_source_gets_advice(tmp_path: Path, files: dict[str, bytes | str], says: str) -> None:
    make(tmp_path, files)
    with pytest.raises(FaceganError, match="neither") as caught:
        open_source(tmp_path / next(iter(files)))
    assert says in caught.value.hint


def test_nothing_there_and_nothing_in_it(tmp_path: Path) -> None:
    with pytest.raises(FaceganError, match="nothing at"):
        open_source(tmp_path / "no")
    with pytest.raises(FaceganError, match="empty"):
        open_source(tmp_path)
    pack(tmp_path / "img_align_celeba.zip", {"a.png": picture()})
    with pytest.raises(FaceganError, match="holds no photos") as caught:
        open_source(tmp_path)
    assert "img_align_celeba.zip" in caught.value.hint


PHOTO = "000001.jpg"
LAYOUTS = {
    "official": ({f"img_align_celeba/{PHOTO}": "", "Anno/list_attr_celeba.txt": OFFICIAL}, "."),
    "official, flat": ({f"img_align_celeba/{PHOTO}": "", "list_attr_celeba.txt": OFFICIAL}, "."),
    "official, named": ({f"Img/img_align_celeba/{PHOTO}": "", "Anno/list_attr_celeba.txt": OFFICIAL}, "Img"),
    "kaggle": ({f"img_align_celeba/img_align_celeba/{PHOTO}": "", "list_attr_celeba.csv": KAGGLE}, "."),
    "kaggle, inner": (
        {f"img_align_celeba/img_align_celeba/{PHOTO}": "", "list_attr_celeba.csv": KAGGLE},
        "img_align_celeba/img_align_celeba",
    ),
    "nested twice more": ({f"celeba/archive/img_align_celeba/{PHOTO}": "", "celeba/list_attr_celeba.csv": KAGGLE}, "."),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_celeba_layout_as_a_folder(tmp_path: Path, layout: str) -> None:
    files, inside = LAYOUTS[layout]
    source = open_source(make(tmp_path, {**files, "sample.png": ""}) / inside)
    assert source.celeba
    assert source.title == "celeba"
    assert len(source.photos) == 1
    assert isinstance(source.table, Path)
    assert read_attributes(source.table).for_source([source.photos[0].name]).row(source.photos[0].name) == ["-1", "1"]


@pytest.mark.parametrize("layout", [name for name, (_, inside) in LAYOUTS.items() if inside == "."])
def test_every_celeba_layout_in_a_zip(tmp_path: Path, layout: str) -> None:
    source = open_source(pack(tmp_path / "archive.zip", LAYOUTS[layout][0]))
    assert source.title == "celeba"
    assert isinstance(source.table, str)
    table = read_attributes(source.table, archive=source.path).for_source([source.photos[0].name])
    assert table.row(source.photos[0].name) == ["-1", "1"]


def test_the_official_zip_finds_the_table_beside_it(tmp_path: Path) -> None:
    make(tmp_path, {"Anno/list_attr_celeba.txt": OFFICIAL, "Img/readme": ""})
    source = open_source(pack(tmp_path / "Img" / "img_align_celeba.zip", {f"img_align_celeba/{PHOTO}": ""}))
    assert source.table == tmp_path.resolve() / "Anno" / "list_attr_celeba.txt"


def test_both_tables_say_the_same(tmp_path: Path) -> None:
    make(tmp_path, {"a.txt": OFFICIAL, "a.csv": KAGGLE})
    official, kaggle = read_attributes(tmp_path / "a.txt"), read_attributes(tmp_path / "a.csv")
    assert official.columns == kaggle.columns == ("Smiling", "Young")
    assert official.rows == kaggle.rows


def test_values_with_commas_survive_and_a_row_never_goes_to_the_wrong_photo(tmp_path: Path) -> None:
    make(tmp_path, {"t.csv": '\ufeffname,who\r\n1.jpg,"Ann, ""A"""\r\nx/2.jpg,Bob\r\n'})
    table = read_attributes(tmp_path / "t.csv")
    assert table.for_source(["a/1.jpg", "x/2.jpg"]).row("a/1.jpg") == ['Ann, "A"']
    twice = table.for_source(["a/1.jpg", "b/1.jpg", "x/2.jpg", "y/2.jpg"])
    assert twice.row("a/1.jpg") is None
    assert twice.row("x/2.jpg") == ["Bob"]
    assert twice.row("y/2.jpg") is None


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "header"),
        ("just text", "header"),
        ("name,a\n1.jpg,1,2\n", "line 2"),
        ("3\nA B\n1.jpg 1 1\n2.jpg 1\n", "line 4"),
    ],
)
def test_broken_tables_are_errors_with_the_line(tmp_path: Path, text: str, says: str) -> None:
    make(tmp_path, {"t": text})
    with pytest.raises(FaceganError, match=says):
        read_attributes(tmp_path / "t")


def test_a_table_that_is_no_text(tmp_path: Path) -> None:
    make(tmp_path, {"t.csv": b"\xff\xfe\x00"})
    with pytest.raises(FaceganError, match="UTF-8"):
        read_attributes(tmp_path / "t.csv")
