"""Sources: what is found where, and what is ruled out by name."""

from __future__ import annotations

import io
import os
import struct
import zipfile
import zlib
from pathlib import Path

import pytest
from PIL import Image

from facegan.core.errors import FaceganError
from facegan.data.attributes import read_attributes
from facegan.data.folder import find_dataset, read_dataset_json
from facegan.data.sources import open_source
from facegan.pictures.photos import Reader, ReadError

OFFICIAL = "3\nSmiling Young\n000001.jpg -1  1\n000002.jpg  1  1\n000003.jpg  1 -1\n"
KAGGLE = "image_id,Smiling,Young\n000001.jpg,-1,1\n000002.jpg,1,1\n000003.jpg,1,-1\n"
PHOTO = "000001.jpg"


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


@pytest.mark.skipif(os.name == "nt", reason="links need rights there")
def test_a_file_system_that_numbers_no_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path, {"a.jpg": "", "x/b.jpg": "", "y/c.jpg": ""})
    (tmp_path / "y" / "loop").symlink_to(tmp_path)
    stat = Path.stat

    def unnumbered(self: Path, **more: bool) -> os.stat_result:
        found = stat(self, **more)
        return os.stat_result((found[0], 0, *found[2:]))

    monkeypatch.setattr(Path, "stat", unnumbered)
    assert names(tmp_path) == ["a.jpg", "x/b.jpg", "y/c.jpg"]


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


# fmt: off
SYSTEM = (
    "@eaDir/a.jpg/SYNOPHOTO_THUMB_XL.jpg", "$RECYCLE.BIN/S-1-5-21/$RAB12.jpg", "lost+found/#1234.jpg",
    "#recycle/x.png", "@Recycle/x.png", "#snapshot/x.png", ".Trash-1000/files/x.jpg", "System Volume Information/x.jpg",
    "__MACOSX/._a.png", ".thumbnails/x.jpg", ".picasaoriginals/a.png", "Catalog Previews.lrdata/0/x.jpg",
    "My.photoslibrary/resources/derivatives/0/x.jpeg", "My.photoslibrary/scopes/x.jpg", "Thumbs.db", "ehthumbs.db",
)
# fmt: on


@pytest.mark.parametrize("kind", ["folder", "zip"])
def test_thumbnails_and_trash_are_no_photos(tmp_path: Path, kind: str) -> None:
    files = {"a.png": picture(), "sub/My.photoslibrary/originals/0/b.png": picture()}
    files |= dict.fromkeys(SYSTEM, picture()) | dict.fromkeys((f"deep/{name}" for name in SYSTEM), picture())
    files |= {"lost+found.png": picture(), "@eaDir of mine/c.png": picture()}
    root = make(tmp_path / "p", files) if kind == "folder" else pack(tmp_path / "p.zip", files)
    want = ["@eaDir of mine/c.png", "a.png", "lost+found.png", "sub/My.photoslibrary/originals/0/b.png"]
    assert names(root) == want
    assert open_source(root).unusable == []
    if kind == "folder":
        assert names(root / "lost+found") == ["#1234.jpg"], "who names it means it"
        assert names(root / "sub/My.photoslibrary") == ["originals/0/b.png"]


MASKS = {
    "celebamask": (["CelebA-HQ-img/0.jpg"], ["CelebAMask-HQ-mask-anno/0/00000_hair.png"], "CelebAMask-HQ-mask-anno/"),
    "folders": (["images/train/1.jpg"], ["annotations/train/1.png", "annotations/val/2.png"], "annotations/"),
    "voc": (["VOC/JPEGImages/1.jpg"], ["VOC/SegmentationClass/1.png"], "VOC/SegmentationClass/"),
    "beside": (["1.jpg", "2.png"], ["1_mask.png"], "1_mask.png"),
}


@pytest.mark.parametrize("kind", ["folder", "zip"])
@pytest.mark.parametrize("name", MASKS)
def test_masks_beside_photos_are_no_photos(tmp_path: Path, name: str, kind: str) -> None:
    photos, masks, said = MASKS[name]
    files = dict.fromkeys((*photos, *masks), picture())
    root = make(tmp_path / "CelebAMask-HQ", files) if kind == "folder" else pack(tmp_path / "p.zip", files)
    source = open_source(root)
    assert [photo.name for photo in source.photos] == sorted(photos)
    assert source.unusable == [(said, "masks by their name, not photos")]


def test_people_who_wear_masks_are_photos(tmp_path: Path) -> None:
    files = ["mask/1.png", "with_mask/1.png", "without_mask/1.png", "masks/1.jpg", "anna_mask.png", "masked/2.png"]
    assert names(make(tmp_path / "worn", dict.fromkeys(files, picture()))) == sorted(files)
    assert names(make(tmp_path / "alone", {"masks/1.png": picture()})) == ["masks/1.png"]


def test_another_programs_dataset_json_makes_no_dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = {"00000/img00000000.png": picture(), "dataset.json": '{"labels": [["00000/img00000000.png", 6]]}'}
    root = make(tmp_path / "data/stylegan", files)
    assert names(root) == ["00000/img00000000.png"]
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FaceganError, match="no dataset under data"):
        find_dataset()
    with pytest.raises(FaceganError, match=r"no dataset at .*stylegan.*not facegan's") as caught:
        read_dataset_json(root)
    assert "facegan preprocess" in caught.value.hint


def test_what_facegan_itself_has_written_is_no_photo_in_a_zip_either(tmp_path: Path) -> None:
    files = {"me.png": picture(), "data/mine-64/preview.png": picture(), "data/mine-64-more/a.png": picture()}
    marks = dict.fromkeys(("data/mine-64/images.npy", "data/mine-64/dataset.json"), "")
    source = open_source(pack(tmp_path / "p.zip", files | marks))
    assert [photo.name for photo in source.photos] == ["data/mine-64-more/a.png", "me.png"]
    assert source.unusable == [("data/mine-64/", "a dataset of facegan, not photos")]
    whole = pack(tmp_path / "q.zip", {"preview.png": picture(), "images.npy": "", "dataset.json": ""})
    assert open_source(whole).unusable == [(".", "a dataset of facegan, not photos")]


def test_one_order_and_one_title_in_every_normal_form(tmp_path: Path) -> None:
    composed, decomposed = "\xe9lise", "e\u0301lise"
    for n, letters in enumerate((composed, decomposed)):
        root = make(tmp_path / f"{n}" / letters, {f"{name}.png": picture() for name in (letters, "eve", "f")})
        source = open_source(root)
        assert source.title == composed
        assert [photo.name for photo in source.photos] == ["eve.png", "f.png", f"{letters}.png"]
        with Reader(source.path, source.kind) as reader:
            assert reader.read(source.photos[2]) == picture()


def test_names_that_climb_out_of_a_zip_are_refused_one_by_one(tmp_path: Path) -> None:
    files = {"../up.png": picture(), "/root.png": picture(), "C:/x.png": picture(), "a/../../b.png": picture()}
    source = open_source(pack(tmp_path / "z.zip", {**files, "a..b/ok.png": picture(), "win\\ok.png": picture()}))
    assert [photo.name for photo in source.photos] == ["a..b/ok.png", "win/ok.png"]
    assert {reason for _, reason in source.unusable} == {"its path in the zip climbs out of it"}
    assert len(source.unusable) == 4


def named(raw: bytes, *, flags: int = 0, extra: bytes = b"") -> bytes:
    """A zip of one picture whose name is written as these bytes."""
    data = picture()
    fields = struct.pack("<HHHIIIHH", 0, 0, 0, zlib.crc32(data), len(data), len(data), len(raw), len(extra))
    local = b"PK\3\4" + struct.pack("<HH", 20, flags) + fields + raw + extra + data
    central = b"PK\1\2" + struct.pack("<HHH", 20, 20, flags) + fields + bytes(14) + raw + extra
    return local + central + b"PK\5\6" + struct.pack("<HHHHIIH", 0, 0, 1, 1, len(central), len(local), 0)


def unicode_path(raw: bytes, text: str) -> bytes:
    body = b"\1" + struct.pack("<I", zlib.crc32(raw)) + text.encode()
    return struct.pack("<HH", 0x7075, len(body)) + body


NAMES = {
    "ascii": (named(b"a/b.png"), "a/b.png"),
    "backslashes": (named(b"a\\b.png"), "a/b.png"),
    "utf-8-that-says-so": (named("\xe9lise/\u5199\u771f.png".encode(), flags=0x800), "\xe9lise/\u5199\u771f.png"),
    "utf-8-of-a-mac": (named("e\u0301lise.png".encode()), "e\u0301lise.png"),
    "utf-8-that-is-none": (named("\xe9lise.png".encode("cp437"), flags=0x800), "\xe9lise.png"),
    "dos": (named("Gr\xf6\xdfe/\xe9lise \xf1.png".encode("cp437")), "Gr\xf6\xdfe/\xe9lise \xf1.png"),
    "japanese": (
        named("\u5c71\u7530\u592a\u90ce/\u30bd\u30cb\u30fc.png".encode("cp932")),
        "\u5c71\u7530\u592a\u90ce/\u30bd\u30cb\u30fc.png",
    ),
    "japanese-that-ends-in-a-backslash": (named("\u8868.png".encode("cp932")), "\u8868.png"),
    "both": (named(b"_.png\x82", extra=unicode_path(b"_.png\x82", "\u0142.png")), "\u0142.png"),
    "both-but-renamed": (named("\xe9.png".encode("cp437"), extra=unicode_path(b"old.png", "old.png")), "\xe9.png"),
    "a-cut-extra-field": (named("\xe9.png".encode("cp437"), extra=b"\x75\x70"), "\xe9.png"),
}


@pytest.mark.parametrize("name", NAMES)
def test_names_in_a_zip_as_any_tool_writes_them(tmp_path: Path, name: str) -> None:
    raw, expected = NAMES[name]
    (tmp_path / "z.zip").write_bytes(raw)
    source = open_source(tmp_path / "z.zip")
    assert [photo.name for photo in source.photos] == [expected]
    with Reader(source.path, source.kind) as reader:
        assert reader.read(source.photos[0]) == picture()


def test_the_table_of_celeba_is_found_behind_backslashes(tmp_path: Path) -> None:
    files = {f"c\\img_align_celeba\\{PHOTO}": picture(), "c\\list_attr_celeba.txt": OFFICIAL}
    source = open_source(pack(tmp_path / "z.zip", files))
    assert isinstance(source.table, str)
    names = [photo.name for photo in source.photos]
    assert read_attributes(source.table, archive=source.path).for_source(names, "z").row(names[0]) == ["-1", "1"]


def test_something_before_and_behind_a_zip(tmp_path: Path) -> None:
    whole = pack(tmp_path / "z.zip", {"a.png": picture(1), "b.png": picture(2)}).read_bytes()
    (tmp_path / "z.zip").write_bytes(b"MZ, a program that unpacks itself" + whole + bytes(100))
    source = open_source(tmp_path / "z.zip")
    with Reader(source.path, source.kind) as reader:
        assert [reader.read(photo) for photo in source.photos] == [picture(1), picture(2)]


def test_places_beyond_4_gib_that_were_written_in_too_few_bits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the Mac's Archive Utility does it, with 1 KiB in the place of 4 GiB."""
    files = {f"{n}.png": picture(n) + bytes(300 * n) for n in range(1, 9)} | {"list_attr_celeba.txt": OFFICIAL}
    raw = bytearray(pack(tmp_path / "z.zip", files, zipfile.ZIP_STORED).read_bytes())
    at = raw.index(b"PK\1\2")
    raw[-6:-2] = struct.pack("<I", at % 1024)
    while raw.startswith(b"PK\1\2", at):
        raw[at + 42 : at + 46] = struct.pack("<I", struct.unpack_from("<I", raw, at + 42)[0] % 1024)
        at += 46 + sum(struct.unpack_from("<3H", raw, at + 28))
    (tmp_path / "z.zip").write_bytes(raw)
    monkeypatch.setattr("facegan.core.zips._WRAP", 1024)
    source = open_source(tmp_path / "z.zip")
    with Reader(source.path, source.kind) as reader:
        assert [reader.read(photo) for photo in source.photos] == [files[f"{n}.png"] for n in range(1, 9)]
    assert read_attributes("list_attr_celeba.txt", archive=source.path).row(PHOTO) == ["-1", "1"]


@pytest.mark.parametrize(("number", "name"), [(9, "Deflate64"), (12, "bzip2"), (93, "Zstandard"), (77, "method 77")])
def test_a_way_of_packing_that_is_not_known_is_said(tmp_path: Path, number: int, name: str) -> None:
    raw = bytearray(named(b"a.png"))
    raw[8] = raw[raw.index(b"PK\1\2") + 10] = number
    (tmp_path / "z.zip").write_bytes(raw)
    ((_, reason),) = open_source(tmp_path / "z.zip").unusable
    assert reason == f"packed with {name}, which cannot be read in place: unpack the zip first"


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
    source = open_source(make(tmp_path / "celeba", {**files, "sample.png": ""}) / inside)
    assert source.celeba
    assert source.title == "celeba"
    assert len(source.photos) == 1
    assert isinstance(source.table, Path)
    assert read_attributes(source.table).for_source([source.photos[0].name]).row(source.photos[0].name) == ["-1", "1"]


def test_celeba_in_a_folder_of_ones_own_keeps_its_name(tmp_path: Path) -> None:
    files, _ = LAYOUTS["official, flat"]
    assert open_source(make(tmp_path / "Unseen Faces", files)).title == "unseen-faces"


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
        ("", "fewer than two columns"),
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


def test_pictures_beside_celeba_are_counted(tmp_path: Path) -> None:
    """They are left out, so somebody's own photos in the same folder must not go unmentioned."""
    files = {f"img_align_celeba/{PHOTO}": picture(), "mine/anna.jpg": picture(), "mine/ben.jpg": picture(), "x.pdf": ""}
    for source in (open_source(make(tmp_path / "all", files)), open_source(pack(tmp_path / "all.zip", files))):
        assert source.celeba and len(source.photos) == 1
        assert (source.beside, source.ignored) == (2, 1)
