"""Tables of attributes as people, Excel, R and published data sets write them, and which row is whose."""

from __future__ import annotations

import csv
import re
import unicodedata
import zipfile
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from facegan.cli.app import app
from facegan.core.errors import FaceganError
from facegan.data.attributes import AttributeTable, from_names, read_attributes
from facegan.data.folder import read_dataset_json, verify_pixels
from facegan.data.preprocess import PreprocessResult, preprocess

A = {"a.png": ["1", "30"]}
TABLES: dict[str, tuple[str | bytes, tuple[str, ...], dict[str, list[str]]]] = {
    "commas": ("name,smiling,age\na.png,1,30\n", ("smiling", "age"), A),
    "commas and spaces": ("name, smiling, age\na.png, 1, 30\n", ("smiling", "age"), A),
    "semicolons": ("name;smiling;age\na.png;1;30\n", ("smiling", "age"), A),
    "tabs": ("name\tsmiling\tage\na.png\t1\t30\n", ("smiling", "age"), A),
    "spaces": ("name smiling   age\na.png  1 30\n", ("smiling", "age"), A),
    "Excel's word on it": ("sep=;\r\nname;smiling;age\r\na.png;1;30\r\n", ("smiling", "age"), A),
    "Excel's text in Unicode": ("name\tsmiling\tage\r\na.png\t1\t30\r\n".encode("utf-16"), ("smiling", "age"), A),
    "the other UTF-16": (b"\xfe\xff" + "name;smiling;age\na.png;1;30".encode("utf-16-be"), ("smiling", "age"), A),
    "a byte-order mark": ("\ufeffname,smiling,age\na.png,1,30\n", ("smiling", "age"), A),
    "an old Mac's lines": ("name,smiling,age\ra.png,1,30\r", ("smiling", "age"), A),
    "empty lines and columns": ("\nname;smiling;age;;\n;;;;\na.png;1;30;;\n\n", ("smiling", "age"), A),
    "a decimal comma": ("name;smiling;age\na.png;1,5;30,25\n", ("smiling", "age"), {"a.png": ["1,5", "30,25"]}),
    "a comma in a value": ("name;note\na.png;x, y\n", ("note",), {"a.png": ["x, y"]}),
    "quotes": ('name,note\na.png,"x, ""y"""\n', ("note",), {"a.png": ['x, "y"']}),
    "no header": ("a.png,1,30\n", ("column_2", "column_3"), A),
    "no header, no endings": ("a,1\nb,2\n", ("column_2",), {"a": ["1"], "b": ["2"]}),
    "a header, no endings": ("id,smiling\na,1\n", ("smiling",), {"a": ["1"]}),
    "a header of numbers": ("name,0,1\na.png,1,30\n", ("0", "1"), A),
    "a header alike": ("name,name,age,age\na.png,x,1,2\n", ("name_2", "age", "age_4"), {"a.png": ["x", "1", "2"]}),
    "pandas": (
        ",image_id,age\n0,a.png,30\n1,b.png,4\n",
        ("column_1", "age"),
        {"a.png": ["0", "30"], "b.png": ["1", "4"]},
    ),
    "R": ('"smiling" "age"\n"a.png" 1 30\n', ("smiling", "age"), A),
    "R with commas": ('"smiling","age"\n"a.png",1,30\n"b.png",0,4\n', ("smiling", "age"), {**A, "b.png": ["0", "4"]}),
    "CelebA": ("2\nsmiling age\na.png  1 30\n", ("smiling", "age"), A),
    "CelebA out of Excel": ("2;;\r\n;smiling;age\r\na.png;1;30\r\n", ("smiling", "age"), A),
    "a name as a path": ("name,smiling,age\n.\\x\\a.png,1,30\n", ("smiling", "age"), {"x/a.png": ["1", "30"]}),
    "CelebA with a damaged row": ("2\nsmiling age\na.png 1 30\nb.png 1\n", ("smiling", "age"), A),
}


def table_of(path: Path, content: str | bytes, *, strict: bool = False) -> AttributeTable:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_attributes(path, strict=strict)


@pytest.mark.parametrize("kind", TABLES)
def test_tables_of_every_kind(tmp_path: Path, kind: str) -> None:
    content, columns, rows = TABLES[kind]
    table = table_of(tmp_path / "t.csv", content, strict="damaged" not in kind)
    assert table.columns == columns
    assert {name: table.row(name) for name in table.rows} == rows


@pytest.mark.parametrize(
    ("name", "text", "columns"),
    [
        ("list_attr_celeba.txt", "1\nSmiling Young \n000001.jpg -1  1\n", ("Smiling", "Young")),
        ("list_bbox_celeba.txt", "1\nimage_id x_1 y_1\n000001.jpg    95  71\n", ("x_1", "y_1")),
        ("list_landmarks_align_celeba.txt", "1\nnose_x nose_y\n000001.jpg 69  109  \n", ("nose_x", "nose_y")),
        ("identity_CelebA.txt", "000001.jpg 2880\n", ("identity",)),
        ("list_eval_partition.txt", "000001.jpg 0\n", ("partition",)),
        ("list_eval_partition.csv", "image_id,partition\n000001.jpg,0\n", ("partition",)),
    ],
)
def test_the_tables_of_celeba(tmp_path: Path, name: str, text: str, columns: tuple[str, ...]) -> None:
    table = table_of(tmp_path / name, text, strict=True)
    assert (table.columns, list(table.rows), table.remarks) == (columns, ["000001.jpg"], ())


def given(rows: list[str], photos: list[str], folder: str = "photos") -> list[str | None]:
    """Which row each photo gets; a row's only value is its own name."""
    table = AttributeTable("t", ("row",), {row: row for row in rows}).for_source(photos, folder)
    return [found[0] if (found := table.row(photo)) else None for photo in photos]


@pytest.mark.parametrize(
    ("rows", "photos", "gets"),
    [
        (["1.jpg"], ["1.jpg"], ["1.jpg"]),
        (["1.jpg"], ["x/1.jpg"], ["1.jpg"]),
        (["photos/1.jpg"], ["1.jpg"], ["photos/1.jpg"]),
        (["C:/old/place/1.jpg"], ["1.jpg"], ["C:/old/place/1.jpg"]),
        (["1.jpg"], ["1.png"], ["1.jpg"]),
        (["1"], ["1.jpg"], ["1"]),
        (["A.JPG"], ["a.jpg"], ["A.JPG"]),
        ([unicodedata.normalize("NFD", "zoë.jpg")], ["zoë.jpg"], [unicodedata.normalize("NFD", "zoë.jpg")]),
        (["a.jpg", "A.jpg"], ["A.jpg", "a.jpg"], ["A.jpg", "a.jpg"]),
        (["a.jpg"], ["A.jpg", "a.jpg"], [None, "a.jpg"]),
        (["1.jpg"], ["1.jpg", "1.png"], ["1.jpg", None]),
        (["1.jpg", "1.png"], ["1.webp"], [None]),
        (["1.jpg"], ["x/1.jpg", "y/1.jpg"], [None, None]),
        (["x/1.jpg"], ["x/1.jpg", "y/1.jpg"], ["x/1.jpg", None]),
        (["train/1.jpg", "photos/1.jpg"], ["1.jpg"], ["photos/1.jpg"]),
        (["train/1.jpg", "val/1.jpg"], ["1.jpg"], [None]),
        (["train/1.jpg", "val/1.jpg"], ["f/val/1.jpg", "f/train/1.jpg"], ["val/1.jpg", "train/1.jpg"]),
        (["anna/1.jpg"], ["ben/1.jpg"], [None]),
        (["anna/1"], ["ben/1.jpg"], [None]),
        (["a/b/c/d/1.jpg"], ["x/b/c/d/1.jpg"], [None]),
        (["old/x/1.jpg"], ["X/1.png"], ["old/x/1.jpg"]),
        (["anna/1.jpg", "photos/2.jpg"], ["1.jpg", "2.jpg"], [None, "photos/2.jpg"]),
        (["C:/photos/1.jpg"], ["photos/1.jpg"], ["C:/photos/1.jpg"]),
        (["more/x/1.jpg"], ["more.zip/x/1.jpg"], ["more/x/1.jpg"]),
    ],
)
def test_a_row_goes_to_its_photo_and_to_no_other(rows: list[str], photos: list[str], gets: list[str | None]) -> None:
    assert given(rows, photos) == gets


def test_a_hostile_path_takes_no_memory() -> None:
    assert given(["a/" * 4000 + "1.jpg"], ["b/" * 4000 + "1.jpg"]) == [None]
    assert given(["a/" * 4000 + "1.jpg"], ["A/" * 4000 + "1.jpg"]) == ["a/" * 4000 + "1.jpg"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("name,a,b\nx.png,1,2\ny.png,1\n", "a line has fewer fields than the header, such as line 3"),
        ("name,a\nx.png,1\nx.png,2\n", "has several rows for a name, 1 times"),
        ("x.png,1,2\n", "has no header: its columns are called column_2, column_3"),
        ("name,a\nx.png,1\ny.png,1,2\n", "1 line was left out; line 3 has 3 fields where its header has 2"),
        ('name,a\nx.png,1\ny.png,"' + 200_000 * "1", "1 line was left out; line 3 is broken"),
        ('name,a\nx.png,"1\n2"\n', "a row goes over several lines, such as the one in line 2"),
        ("name,a\nx.png,zoë\n".encode("cp1252"), "was read as Windows-1252: check letters beyond ASCII"),
        ("name,a\nx.png,1\ny.png," + ",".join(["1" * 9_999] * 60), "line 3 has 61 fields"),
    ],
)
def test_what_is_odd_is_said(tmp_path: Path, text: str | bytes, says: str) -> None:
    table = table_of(tmp_path / "t.csv", text)
    assert says in "\n".join(table.remarks)
    assert "x.png" in table.rows


@pytest.mark.parametrize(
    "broken",
    [
        'x.png,"1',  # nothing closes it
        'x.png,"1\r\ny.png,"1"',  # the next quote is followed by a letter
        'x.png,"\ny.png,1\nz.png,"',  # the next quote closes it, by the rules
        'x.png,"' + 200_000 * "1",
    ],
)
def test_a_quote_that_is_not_closed_costs_one_line(tmp_path: Path, broken: str) -> None:
    text = "name,a\n" + broken + "\n" + "".join(f"{n}.png,{n}\n" for n in range(20_000))
    table = table_of(tmp_path / "t.csv", text)
    assert [table.row(f"{n}.png") for n in (0, 19_999)] == [["0"], ["19999"]]
    assert "x.png" not in table.rows and ("y.png" in table.rows) == ("y.png" in broken)
    assert "line 2 is broken" in table.remarks[0]
    with pytest.raises(FaceganError, match="line 2 is broken"):
        read_attributes(tmp_path / "t.csv")


@pytest.mark.parametrize("line", ['"x.png" , "1"', 'x.png,"1" '])
def test_a_space_behind_a_quote_does_no_harm(tmp_path: Path, line: str) -> None:
    assert table_of(tmp_path / "t.csv", f"name,a\n{line}\n", strict=True).row("x.png") == ["1"]


def test_what_is_written_can_be_read(tmp_path: Path) -> None:
    root = celeba(tmp_path / "k", None)
    table = tmp_path / "t.csv"

    def make(columns: list[str], values: list[str]) -> PreprocessResult:
        with table.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([["name", *columns], ["000001.png", *values]])
        return preprocess(root, size=32, attributes=table, out=tmp_path / "out", workers=1, overwrite=True)

    names = [f"{n:04}" + 110 * "\x01" for n in range(3_999)]
    result = make(names, ["1" * 120] * 3_999)
    verify_pixels(read_dataset_json(result.path))
    assert make(["of\rtwo  lines"], ["1"]).info.attributes == ("of two lines",)
    for columns, values, says in (
        (names[:60], ["1" * 9_999] * 60, "line 2 has more than 500,000 characters"),
        (["x" * 9_999 + str(n) for n in range(10, 70)], ["1"] * 60, "names of columns"),
        (["a\0b"], ["1"], "names of columns|NUL"),
    ):
        with pytest.raises(FaceganError, match=says):
            make(columns, values)


def celeba(root: Path, table: bytes | None) -> Path:
    (root / "img_align_celeba").mkdir(parents=True)
    for n in (1, 2):
        Image.new("RGB", (178, 218), (n, 9, 9)).save(root / f"img_align_celeba/{n:06}.png")
    if table is not None:
        (root / "list_attr_celeba.csv").write_bytes(table)
    return root


def made(root: Path) -> tuple[PreprocessResult, list[str]]:
    result = preprocess(root, size=32, out=root.parent / "out", workers=1)
    return result, (result.path / "attributes.csv").read_text().splitlines()


def test_copies_with_another_ending(tmp_path: Path) -> None:
    result, rows = made(celeba(tmp_path / "k", b"image_id,Smiling\n000001.jpg,-1\n000002.jpg,1\n"))
    assert [row.rpartition(",")[2] for row in rows] == ["Smiling", "-1", "1"]
    assert (result.without_attributes, result.ignored, result.remarks) == (0, 0, ())


@pytest.mark.parametrize(
    ("table", "says", "values"),
    [
        (b"image_id,Smiling,Young\n000001.jpg,-1,1\n000002.jp", "fewer fields than the header", ["-1,1", ","]),
        (b"image_id,Smiling\n000001.jpg,-1\n000002.jpg,1,1,1\n", "line 3 has 4 fields", ["-1", ""]),
        (b"image_id,Smiling\n9.jpg,1\n", "no attributes: .* has no row for any photo", None),
        (b"\xff\xd8\xff\x00", "no attributes: .* not text", None),
        (b"", "no attributes: .* fewer than two columns", None),
    ],
)
@pytest.mark.parametrize("zipped", [False, True])
def test_a_table_that_is_found_never_stands_in_the_way(
    tmp_path: Path, table: bytes, says: str, values: list[str] | None, zipped: bool
) -> None:
    source = celeba(tmp_path / "k", table)
    if zipped:
        with zipfile.ZipFile(tmp_path / "k.zip", "w") as archive:
            for path in sorted(source.rglob("*.*")):
                archive.write(path, path.relative_to(source))
        source = tmp_path / "k.zip"
    result, rows = made(source)
    assert result.count == 2
    assert any(re.search(says, remark) for remark in result.remarks), result.remarks
    assert [row.partition(".png,")[2] for row in rows[1:]] == (values or ["", ""])
    assert result.ignored == (values is None)


def test_a_table_in_the_source_that_was_named_is_no_other_file(tmp_path: Path) -> None:
    root = celeba(tmp_path / "k", b"image_id,Smiling\n000001.jpg,-1\n")
    (root / "list_attr_celeba.csv").rename(root / "mine.csv")
    (root / "notes.txt").touch()
    result = preprocess(root, size=32, attributes=root / "mine.csv", out=tmp_path / "out", workers=1)
    assert (result.ignored, result.without_attributes) == (1, 1)


def test_a_table_in_one_of_several_sources_is_no_other_file(tmp_path: Path) -> None:
    roots = [celeba(tmp_path / "a", b"image_id,Smiling\n000001.png,1\na/img_align_celeba/000001.png,1\n")]
    roots.append(celeba(tmp_path / "b", None))
    table = roots[0] / "list_attr_celeba.csv"
    result = preprocess(roots, size=32, attributes=table, out=tmp_path / "out", workers=1)
    assert (result.ignored, result.without_attributes) == (0, 3)


def test_a_table_in_a_zip_that_has_changed_is_noticed(tmp_path: Path) -> None:
    root = celeba(tmp_path / "k", None)
    for smiling in (1, 0):
        with zipfile.ZipFile(tmp_path / "k.zip", "w") as archive:
            archive.write(root / "img_align_celeba/000001.png", "img_align_celeba/1.png")
            archive.writestr("list_attr_celeba.csv", f"image_id,Smiling\n1.png,{smiling}\n")
        if smiling:
            made(tmp_path / "k.zip")
            assert made(tmp_path / "k.zip")[0].reused
    with pytest.raises(FaceganError, match="another table"):
        made(tmp_path / "k.zip")


def test_a_table_that_was_named_is_refused_where_it_is_damaged(tmp_path: Path) -> None:
    root = celeba(tmp_path / "k", b"image_id,Smiling\n000001.jpg,-1,4\n")
    with pytest.raises(FaceganError, match="line 2 has 3 fields"):
        preprocess(root, size=32, attributes=root / "list_attr_celeba.csv", out=tmp_path / "out", workers=1)


UTKFACE = [
    "26_1_2_20161219204400164.jpg.chip.jpg",
    "116_0_4_20170120134921760.jpg.chip.jpg",
    "14_0_0_2017011022340900.jpg.chip.jpg",
    "24_0_1_20170116220224657 .jpg.chip.jpg",
    "55_0_0_20170116232725357jpg.chip.jpg",
    "1_0_3_20161220223247506.jpg",
    "61_1_20170109150557335.jpg.chip.jpg",  # as published: without its race
]


def test_utkface_is_read_from_its_names() -> None:
    table = from_names([f"UTKFace/{name}" for name in UTKFACE])
    assert table is not None and table.columns == ("age", "gender", "race")
    rows = [table.row(f"UTKFace/{name}") for name in UTKFACE]
    assert rows[:2] == [["26", "1", "2"], ["116", "0", "4"]]
    assert rows[2:] == [["14", "0", "0"], ["24", "0", "1"], ["55", "0", "0"], ["1", "0", "3"], None]


@pytest.mark.parametrize(
    "names", [[], ["a.jpg"], ["1_2_3.jpg"], ["26_2_2_20161219204400164.jpg"], [UTKFACE[0], "a.jpg"]]
)
def test_other_names_are_not_utkface(names: list[str]) -> None:
    assert from_names(names) is None


def test_a_table_goes_before_utkface_names(tmp_path: Path) -> None:
    (tmp_path / "u").mkdir()
    Image.new("RGB", (64, 64)).save(tmp_path / "u" / UTKFACE[0])
    assert preprocess(tmp_path / "u", size=32, out=tmp_path / "a", workers=1).info.attributes == (
        "age",
        "gender",
        "race",
    )
    (tmp_path / "t.csv").write_text(f"name,smiling\n{UTKFACE[0]},1\n")
    (tmp_path / "v").mkdir()
    Image.new("RGB", (64, 64)).save(tmp_path / "v" / UTKFACE[1])
    ran = CliRunner().invoke(
        app, ["preprocess", *(str(tmp_path / name) for name in "uv"), "--out", str(tmp_path / "c")]
    )
    assert "UTKFace's file names" in ran.output and "no table" not in ran.output
    named = preprocess(tmp_path / "u", size=32, out=tmp_path / "b", attributes=tmp_path / "t.csv", workers=1)
    assert named.info.attributes == ("smiling",)
