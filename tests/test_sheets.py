"""Pictures: every face is where it belongs, unaltered or enlarged, and words can be told apart."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from facegan.core.atomic import atomic_path, write_atomic
from facegan.core.errors import FaceganError
from facegan.pictures.sheets import (
    LONGEST_SIDE,
    MAX_PIXELS,
    WRITABLE,
    EquationTerm,
    check_size,
    columns_for,
    enlarge,
    equation,
    equation_size,
    grid,
    labelled,
    save_picture,
    save_png,
    sheet,
    sheet_size,
    strip,
    strip_size,
    with_caption,
)
from facegan.pictures.typesetting import fitted, printable, text_width


def noise(count: int, size: int = 64) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, size, size, 3), dtype=np.uint8)


def plain(count: int, size: int = 64) -> np.ndarray:
    """Faces of one colour each, which enlarging leaves alone: (10 + n, 200, 40)."""
    faces = np.empty((count, size, size, 3), dtype=np.uint8)
    faces[:] = np.array([(10 + n, 200, 40) for n in range(count)], dtype=np.uint8)[:, None, None]
    return faces


def box(picture: np.ndarray, colour: np.ndarray) -> tuple[int, int, int, int]:
    """Top, left, height and width of the rectangle of exactly that colour; fails when it is not one whole rectangle."""
    rows, columns = np.nonzero((picture == colour).all(axis=-1))
    top, left, height, width = rows.min(), columns.min(), np.ptp(rows) + 1, np.ptp(columns) + 1
    assert len(rows) == height * width, "the face is covered or appears twice"
    return int(top), int(left), int(height), int(width)


@pytest.mark.parametrize(("count", "columns"), [(1, 1), (2, 2), (3, 3), (4, 2), (10, 5), (25, 5), (26, 9), (100, 10)])
def test_grid_is_near_square(count: int, columns: int) -> None:
    assert columns_for(count) == columns


@pytest.mark.parametrize("count", [1, 2, 25, 100])
def test_grid_keeps_every_pixel(count: int) -> None:
    faces, across = noise(count, 16), columns_for(count)
    picture = grid(faces)
    for n, face in enumerate(faces):
        y, x = n // across * 18, n % across * 18
        np.testing.assert_array_equal(picture[y : y + 16, x : x + 16], face)
    assert picture.shape == (-(-count // across) * 18 - 2, across * 18 - 2, 3)


def test_grid_gaps_and_empty_places_are_white() -> None:
    picture = grid(np.zeros((3, 8, 8, 3), dtype=np.uint8), columns=2, gap=3)
    assert (picture[8:11] == 255).all() and (picture[:, 8:11] == 255).all() and (picture[11:, 11:] == 255).all()


@pytest.mark.parametrize("labels", [None, [f"7:{n}" for n in range(7)], [f"{2**63 - 1}:{n}" for n in range(7)]])
@pytest.mark.parametrize(
    ("size", "scale", "drawn"),
    [(32, None, 128), (64, None, 128), (128, None, 128), (160, None, 160), (64, 1, 64), (64, 3, 192)],
)
def test_sheet_shows_every_face_whole_and_in_order(
    size: int, scale: int | None, drawn: int, labels: list[str] | None
) -> None:
    faces = plain(7, size)
    picture = sheet(faces, labels, scale=scale)
    boxes = [box(picture, face[0, 0]) for face in faces]
    assert {(height, width) for _, _, height, width in boxes} == {(drawn, drawn)}
    assert boxes == sorted(boxes) and len({top for top, *_ in boxes}) == 2
    assert sheet_size(7, size, labels, scale) == picture.shape[1::-1], "known before it is drawn"


def test_long_names_are_written_in_full() -> None:
    """Else they could not be typed back: columns stand wider apart."""
    faces, long = plain(2), ["9223372036854775807:1", "9223372036854775807:2"]
    picture, type_size = sheet(faces, long), 15
    (_, first, *_), (_, second, *_) = (box(picture, face[0, 0]) for face in faces)
    assert second - first > text_width(long[0], type_size)
    assert (picture != sheet(faces, [long[0][:-1] + "3", long[1]])).any(), "the last digit is there"


def test_sheet_pixels_are_those_of_the_enlarged_face() -> None:
    face = noise(1)
    np.testing.assert_array_equal(sheet(face)[20:148, 20:148], enlarge(face[0], 2))


def test_numbers_are_drawn_and_differ() -> None:
    faces = plain(12)
    picture = sheet(faces, [str(n) for n in range(12)])
    labels = set()
    for face in faces:
        top, left, height, width = box(picture, face[0, 0])
        label = picture[top + height + 2 : top + height + 28, left : left + width]
        assert label.min() < 100, "dark ink on white"
        labels.add(label.tobytes())
    assert len(labels) == 12


def test_title_makes_room_for_itself() -> None:
    face, title = plain(1), "facegan sample · seed 0 · a rather long title"
    assert labelled(face, None, 1, title=title).shape[1] > sheet(face).shape[1]
    assert text_width(title, 15) < labelled(face, None, 1, title=title).shape[1]


def test_enlarge_takes_one_picture_or_many() -> None:
    faces = noise(3, 8)
    assert enlarge(faces, 4).shape == (3, 32, 32, 3)
    np.testing.assert_array_equal(enlarge(faces, 4)[1], enlarge(faces[1], 4))
    np.testing.assert_array_equal(enlarge(faces, 1), faces)


@pytest.mark.parametrize(("count", "rows"), [(1, 1), (2, 1), (12, 1), (13, 2), (28, 3)])
def test_strip_wraps_in_order(count: int, rows: int) -> None:
    faces = plain(count, 128)
    picture = strip(faces, np.linspace(0, 1, count), ["3", "17"][:count])
    boxes = [box(picture, face[0, 0]) for face in faces]
    assert boxes == sorted(boxes) and len({top for top, *_ in boxes}) == rows
    assert strip_size(count, 128) == picture.shape[1::-1]


def test_strip_names_and_underlines_the_key_faces() -> None:
    faces, factors = plain(5), [0.0, 0.5, 0.0, 0.5, 1.0]
    picture = strip(faces, factors, ["3", "7:44", "smile"])
    labels = ["3", "0.50", "7:44", "0.50", "smile"]
    np.testing.assert_array_equal(picture, labelled(faces, labels, 5, marks=[True, False] * 2 + [True]))
    assert (picture != labelled(faces, labels, 5)).any()


def term(sign: str, faces: np.ndarray, mean: np.ndarray | None = None) -> EquationTerm:
    return EquationTerm(sign, faces, [f"7:{n}" for n in range(len(faces))], mean)


def test_equation_sets_averages_and_single_faces_on_one_line() -> None:
    colours = plain(12)
    terms = [term("+", colours[:3], colours[3]), term("-", colours[4:5]), term("+", colours[5:10], colours[10])]
    picture = equation(terms, colours[11])
    boxes = [box(picture, face[0, 0]) for face in colours]
    line = [boxes[3], boxes[4], boxes[10]]
    assert len({top for top, *_ in line}) == 1 and [left for _, left, *_ in line] == sorted(
        left for _, left, *_ in line
    )
    assert all(boxes[n][0] < line[0][0] for n in (0, 1, 2, 5, 6, 7, 8, 9)), "faces stand above their average"
    top, left, height, width = boxes[11]
    assert (height, width) == (256, 256) and left > line[-1][1]
    assert top + height // 2 == line[0][0] + 64, "the result is centred on the line"
    assert equation_size([("+", 3), ("-", 1), ("+", 5)], 64) == picture.shape[1::-1]


@pytest.mark.parametrize(("sign", "drawn"), [("+", False), ("-", True)])
def test_equation_draws_a_first_minus_but_no_first_plus(sign: str, drawn: bool) -> None:
    face = plain(2)
    picture = equation([term(sign, face[:1])], face[1])
    _, left, _, _ = box(picture, face[0, 0, 0])
    assert (picture[:, : left - 2].min() < 100) == drawn


def test_equation_of_five_operands_of_nine_faces() -> None:
    colours = plain(51, 32)
    terms = [term("+-"[n % 2], colours[9 * n : 9 * n + 9], colours[45 + n]) for n in range(5)]
    picture = equation(terms, colours[50])
    assert {box(picture, face[0, 0])[2:] for face in colours[:50:7]} == {(128, 128)}
    large = equation(terms[:1], colours[50], scale=8)
    assert box(large, colours[0, 0, 0])[2:] == (256, 256) and box(large, colours[50, 0, 0])[2:] == (512, 512)


@pytest.mark.parametrize("size", [32, 64, 328, 900])
def test_caption_depends_on_the_picture_alone_in_size(size: int) -> None:
    picture = plain(1, size)[0]
    short, long = with_caption(picture, "epoch 1"), with_caption(picture, "epoch 1000 · 131,072,000 images " * 9)
    assert short.shape == long.shape and (short != long).any()
    assert box(short, picture[0, 0])[0] == 0 and box(short, picture[0, 0])[2:] == (size, size)


def test_words_use_letters_the_typeface_has() -> None:
    assert printable("José · 3 × 4 − 1 → größe 脸…") == "Jose · 3 x 4 - 1 > grosse ?…"
    assert text_width(fitted("a-long-file-name.npy", 15, 80), 15) <= 80
    assert fitted("44", 15, 80) == "44"


def test_png_round_trip(tmp_path: Path) -> None:
    face = noise(1)[0]
    path = save_png(face, tmp_path / "new" / "face.png")
    with Image.open(path) as picture:
        np.testing.assert_array_equal(np.asarray(picture), face)
    assert [file.name for file in path.parent.iterdir()] == ["face.png"]


@pytest.mark.parametrize("suffix", [*WRITABLE, ".JPG"])
def test_a_picture_is_what_its_name_says(tmp_path: Path, suffix: str) -> None:
    smooth = enlarge(noise(1, 8)[0], 8)
    with Image.open(save_picture(smooth, tmp_path / f"face{suffix}")) as picture:
        assert picture.format == {".png": "PNG", ".webp": "WEBP"}.get(suffix, "JPEG")
        assert np.abs(np.asarray(picture.convert("RGB")).astype(int) - smooth).mean() < 4


@pytest.mark.parametrize("suffix", [suffix for suffix in WRITABLE if suffix in LONGEST_SIDE])
def test_the_longest_sides_are_those_that_can_be_written(tmp_path: Path, suffix: str) -> None:
    """Told before anything is drawn; and what is let through is really written."""
    path, most = tmp_path / f"a{suffix}", LONGEST_SIDE[suffix]
    for size in ((most, 2), (2, most)):
        check_size(path, size)
        save_picture(np.zeros((*size[::-1], 3), np.uint8), path)
    with pytest.raises(FaceganError, match=f"a side of a {suffix} can have at most {most:,}") as caught:
        check_size(path, (2, most + 1))
    assert ".png" in caught.value.hint


def test_a_picture_that_memory_should_not_hold_is_refused() -> None:
    check_size(Path("a.png"), (MAX_PIXELS // 1000, 1000))
    with pytest.raises(FaceganError, match=r"250,001 x 1,000 pixels, more than memory"):
        check_size(Path("a.png"), (MAX_PIXELS // 1000 + 1, 1000))


def test_atomic_path_keeps_the_old_file_when_writing_fails(tmp_path: Path) -> None:
    path = write_atomic(tmp_path / "a.txt", "old\n")
    with pytest.raises(ValueError, match="stop"), atomic_path(path) as temporary:
        assert temporary.parent == path.parent and temporary.suffix == ".txt"
        temporary.write_text("half")
        raise ValueError("stop")
    assert path.read_bytes() == b"old\n" and list(tmp_path.iterdir()) == [path]


def test_a_place_that_cannot_be_written_is_said_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(FaceganError, match="could not be written"):
        write_atomic(tmp_path, b"")
