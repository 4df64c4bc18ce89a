"""Faces found and aligned: the geometry on pictures made here, the detector on a photo that scikit-image brings."""

from __future__ import annotations

import csv
import io
import json
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest import cli
from PIL import Image
from skimage import data as pictures

from facegan.core.errors import FaceganError, UsageError
from facegan.data.align import TEMPLATE, align, opencv, similarity
from facegan.data.crops import parse_crop
from facegan.data.faces import (
    MAX_PROFILE,
    FoundFace,
    aligned_face,
    aligned_faces,
    find_faces,
    profile_of,
    sharpness,
)
from facegan.pictures.opening import PhotoError

UNIT = np.asarray(TEMPLATE)


@pytest.fixture(scope="module")
def astronaut() -> np.ndarray:
    """A woman's face about 100 pixels wide, in a photo of 512 x 512 pixels, which is in the public domain."""
    return pictures.astronaut()


@pytest.fixture(scope="module")
def landmarks(astronaut: np.ndarray) -> np.ndarray:
    return find_faces(astronaut)[0].landmarks


def encoded(rgb: np.ndarray, kind: str = "PNG", **options: object) -> bytes:
    file = io.BytesIO()
    Image.fromarray(rgb).save(file, kind, **options)
    return file.getvalue()


def moved(rgb: np.ndarray, scale: complex, shift: complex, side: tuple[int, int]) -> np.ndarray:
    """The picture on a grey canvas (width, height): its point z at scale * z + shift, by Pillow and not by `align`."""
    a = 1 / scale
    b = -a * shift
    matrix = (a.real, -a.imag, b.real, a.imag, a.real, b.imag)
    pillow = Image.fromarray(rgb).transform(side, Image.Transform.AFFINE, matrix, Image.Resampling.BICUBIC)
    inside = Image.new("L", rgb.shape[1::-1], 255).transform(side, Image.Transform.AFFINE, matrix)
    return np.array(Image.composite(pillow, Image.new("RGB", side, (128, 128, 128)), inside))


def mapped(points: np.ndarray, scale: complex, shift: complex) -> np.ndarray:
    z = scale * (points[:, 0] + 1j * points[:, 1]) + shift
    return np.stack([z.real, z.imag], 1)


def away(found: np.ndarray, expected: np.ndarray) -> float:
    """The largest distance between landmarks, in distances of the eyes."""
    return float(np.hypot(*(found - expected).T).max() / np.hypot(*(expected[0] - expected[1])))


# The geometry.


def test_a_similarity_transform_is_found_again() -> None:
    a, b = 1.7 * np.exp(0.6j), 20 - 3j
    assert similarity(UNIT, mapped(UNIT, a, b)) == pytest.approx((a, b))


def test_the_similarity_transform_is_the_least_squares_one() -> None:
    """Against a solver of the four real unknowns: x' = p x - q y + u, y' = q x + p y + v."""
    targets = UNIT * 90 + np.random.default_rng(0).normal(0, 4, UNIT.shape)
    rows = [row for x, y in UNIT for row in ((x, -y, 1, 0), (y, x, 0, 1))]
    p, q, u, v = np.linalg.lstsq(np.array(rows), targets.ravel(), rcond=None)[0]
    assert similarity(UNIT, targets) == pytest.approx((complex(p, q), complex(u, v)))


@pytest.mark.parametrize("turn", [0, 33, 90, 180, -120])
@pytest.mark.parametrize("scale", [0.7, 1.0, 3.0, 20.0])
def test_a_picture_comes_back_from_where_it_was_pasted(turn: float, scale: float) -> None:
    """A smooth picture on a canvas, turned and enlarged; its landmarks say where."""
    size = 64
    y, x = np.mgrid[:size, :size] / size
    picture = (127 + 120 * np.sin(2 * np.pi * np.stack([x + y, 2 * y, x - y], 2))).astype(np.uint8)
    a = scale * np.exp(1j * np.radians(turn))
    side = int(size * scale * 1.5) + 2
    b = side / 2 * (1 + 1j) - a * size / 2 * (1 + 1j)
    canvas = moved(picture, a, b, (side, side))
    back = align(canvas, mapped(UNIT * size, a, b), size)
    inner = np.s_[4:-4, 4:-4]  # at its rim the picture has been mixed with the canvas
    assert abs(back[inner].astype(int) - picture[inner]).mean() < 2.5


def test_where_nothing_moves_pixels_stay_what_they_are(astronaut: np.ndarray) -> None:
    part = astronaut[:256, 100:356]
    assert abs(align(part, UNIT * 256, 256).astype(int) - part).max() <= 1


def test_shrinking_is_the_filter_of_all_crops(astronaut: np.ndarray) -> None:
    plain = Image.fromarray(astronaut).resize((64, 64), Image.Resampling.LANCZOS)
    assert abs(align(astronaut, UNIT * 512, 64).astype(int) - np.asarray(plain)).mean() < 1
    stripes = np.zeros((512, 512, 3), np.uint8)
    stripes[:, ::2] = 255
    flat = align(stripes, UNIT * 512, 64)[:, 1:-1]
    assert abs(flat.astype(int) - 127.5).max() < 3  # a picture sampled sparsely has waves


def test_beyond_the_photo_it_is_mirrored_and_blurred(astronaut: np.ndarray) -> None:
    """Half a side to the left of the photo there are no edges, and the colours of what lies near."""
    size = 64
    back = align(astronaut[:, :256], UNIT * 256 - [128, 0], size)
    left, right = back[:, : size // 4].astype(float), back[:, size // 2 :].astype(float)
    assert abs(np.diff(left, axis=1)).mean() < abs(np.diff(right, axis=1)).mean() / 3
    assert abs(left.mean() - astronaut[:256, :128].mean()) < 40
    assert np.array_equal(back[:, size // 2 + 1 :], align(astronaut, UNIT * 256 - [128, 0], size)[:, size // 2 + 1 :])


def test_a_face_at_the_end_of_a_panorama() -> None:
    """OpenCV warps no picture of more than 32,767 pixels: the part that is needed is cut out before."""
    wide = np.zeros((64, 40_000, 3), np.uint8)
    wide[:, 39_936:] = 200
    assert (align(wide, UNIT * 64 + [39_936, 0], 64)[:, 2:] > 190).all()


# The detector, on a face.


def test_the_aligned_face_has_its_landmarks_on_the_template(astronaut: np.ndarray) -> None:
    aligned = align(astronaut, find_faces(astronaut)[0].landmarks, 256)
    again = find_faces(aligned)[0].landmarks / 256
    assert np.hypot(*(again - UNIT).T).mean() * 64 < 1.5


@pytest.mark.parametrize("turn", [0, 1, 2, 3])
def test_a_face_is_found_whatever_way_up_the_photo_is(astronaut: np.ndarray, landmarks: np.ndarray, turn: int) -> None:
    quarter = {0: (1, 0), 1: (-1j, 512j), 2: (-1, 512 + 512j), 3: (1j, 512)}[turn]
    found = find_faces(np.ascontiguousarray(np.rot90(astronaut, turn)))[0]
    assert away(found.landmarks, mapped(landmarks, *quarter)) < 0.15


@pytest.mark.parametrize(
    ("scale", "turn", "side"),
    [(0.2, 0, 320), (0.2, 0, 700), (0.6, 25, 400), (1.5, -30, 900), (6.0, 10, 3000), (2.5, 0, 460)],
    ids=["20 pixels", "20 pixels in a large photo", "tilted", "tilted to the left", "600 pixels", "fills the photo"],
)
def test_a_face_is_found_in_any_size(
    astronaut: np.ndarray, landmarks: np.ndarray, scale: float, turn: float, side: int
) -> None:
    a = scale * np.exp(1j * np.radians(turn))
    middle = landmarks.mean(0) @ [1, 1j]
    b = side / 2 * (1 + 1j) - a * middle
    found = find_faces(moved(astronaut, a, b, (side, side)))[0]
    assert away(found.landmarks, mapped(landmarks, a, b)) < 0.25


def test_of_two_faces_the_larger_is_first(astronaut: np.ndarray, landmarks: np.ndarray) -> None:
    face = astronaut[:300, 80:380]
    canvas = np.full((600, 1500, 3), 128, np.uint8)
    canvas[200:350, 50:200] = np.asarray(Image.fromarray(face).resize((150, 150)))
    canvas[100:550, 800:1250] = np.asarray(Image.fromarray(face).resize((450, 450)))
    first, second = find_faces(canvas, every=True)
    assert first.landmarks[:, 0].min() > 800 and second.landmarks[:, 0].max() < 200
    (largest,), _ = aligned_faces(encoded(canvas), 64)
    one, other = aligned_faces(encoded(canvas), 64, every=True)[0]
    assert largest.side == pytest.approx(one.side, rel=0.1) and one.side > 2.5 * other.side
    assert np.array_equal(largest.pixels, aligned_face(encoded(canvas), 64))


def test_what_is_no_face() -> None:
    cat = pictures.chelsea()
    noise = np.random.default_rng(0).integers(0, 256, (300, 300, 3), np.uint8)
    for rgb in (cat, noise, pictures.coffee(), np.zeros((1, 1, 3), np.uint8), np.zeros((3, 700, 3), np.uint8)):
        assert find_faces(rgb) == []
        with pytest.raises(PhotoError, match="^no face found$"):
            aligned_face(encoded(rgb), 64)


def test_faces_that_cannot_be_used(astronaut: np.ndarray, landmarks: np.ndarray) -> None:
    small = np.asarray(Image.fromarray(astronaut).resize((128, 128)))
    with pytest.raises(PhotoError, match="^face too small: its square has [45]. pixels a side, for 256 it needs 128$"):
        aligned_face(encoded(small), 256)
    assert aligned_face(encoded(small), 64).shape == (64, 64, 3)
    shaken = opencv().GaussianBlur(astronaut, (0, 0), 6)
    with pytest.raises(PhotoError, match="^face blurred$"):
        aligned_face(encoded(shaken), 64)
    edge = round(landmarks[:, 0].mean() + 4)
    with pytest.raises(PhotoError, match="^face cut off by the photo's edge$|^no face found$"):
        aligned_face(encoded(np.ascontiguousarray(astronaut[:, :edge])), 64)
    with pytest.raises(PhotoError, match="^cut short"):
        aligned_face(encoded(astronaut, "JPEG")[:-4000], 64)


def test_profile_and_sharpness(astronaut: np.ndarray, landmarks: np.ndarray) -> None:
    front = UNIT * 100
    front[2, 0] = front[[0, 1, 3, 4], 0].mean()
    assert profile_of(FoundFace(front, (0, 0, 100, 100), 1)) < 0.02
    # The eyes near each other, the nose beyond both.
    side = front + np.array([[12, 0], [-12, 0], [25, 0], [8, 0], [-8, 0]])
    assert profile_of(FoundFace(side, (0, 0, 100, 100), 1)) > MAX_PROFILE
    sharp = [sharpness(align(astronaut, landmarks, size)) for size in (32, 64, 256)]
    assert min(sharp) > 0.15


def test_a_photo_is_opened_as_all_photos_are(astronaut: np.ndarray) -> None:
    """Its EXIF orientation is heeded; grey, transparent and CMYK pictures come out in RGB."""
    upright = aligned_face(encoded(astronaut), 64).astype(int)
    exif = Image.Exif()
    exif[0x112] = 6
    turned = encoded(np.ascontiguousarray(np.rot90(astronaut)), "PNG", exif=exif)
    assert abs(aligned_face(turned, 64) - upright).mean() < 1
    for mode in ("L", "RGBA", "CMYK", "I;16"):
        file = io.BytesIO()
        picture = Image.fromarray(astronaut)
        picture = (
            picture.convert("L").convert("I").point(lambda v: v * 257).convert(mode) if mode == "I;16" else picture
        )
        picture.convert(mode).save(file, "TIFF")
        assert abs(aligned_face(file.getvalue(), 64).mean() - upright.mean()) < 8, mode


# The command.


@pytest.fixture
def folder(workdir: Path, astronaut: np.ndarray) -> Path:
    """A folder with one face, two faces, a cat, and what is no picture."""
    photos = workdir / "photos"
    photos.mkdir()
    two = np.concatenate([astronaut[:300, 80:380], astronaut[:300, 80:380][:, ::-1]], 1)
    for name, rgb in (("one", astronaut), ("two", two), ("cat", pictures.chelsea())):
        Image.fromarray(rgb).save(photos / f"{name}.jpg")
    (photos / "broken.jpg").write_bytes(b"\xff\xd8\xff no")
    (photos / "people.csv").write_text("name,who\none.jpg,eileen\ntwo.jpg,both\n")
    return photos


def rows(path: Path) -> list[list[str]]:
    with path.open(newline="") as file:
        return list(csv.reader(file))[1:]


def test_preprocess_takes_faces_and_says_what_it_leaves_out(folder: Path) -> None:
    words = ("preprocess", folder, "--crop", "face", "--size", 32, "--attributes", folder / "people.csv")
    code, out, err = cli(*words)
    assert (code, "2 images of 32 x 32, crop face" in out) == (0, True), err
    made = Path("data/photos-32")
    assert rows(made / "attributes.csv") == [["one.jpg", "eileen"], ["two.jpg", "both"]]
    assert [name for name, _ in rows(made / "skipped.csv")] == ["broken.jpg", "cat.jpg"]
    assert rows(made / "skipped.csv")[1][1] == "no face found"
    crop = json.loads((made / "dataset.json").read_text())["crop"]
    assert crop["name"] == "face" and crop["detector"] == "YuNet 2023mar" and crop["threshold"] == 0.87
    assert crop["template"]["nose"] == [round(value, 5) for value in TEMPLATE[2]]
    assert (made / "preview.png").is_file()

    assert "Kept" in cli("preprocess", folder, "--crop", "face", "--size", 32, "--attributes", folder / "people.csv")[1]
    again = cli(
        "preprocess", folder, "--crop", "face", "--faces", "all", "--size", 32, "--attributes", folder / "people.csv"
    )
    assert again[0] == 1 and "made with faces largest, not all" in again[2]


def test_all_faces_are_rows_of_their_own(folder: Path) -> None:
    words = (
        "preprocess",
        folder,
        "--crop",
        "face",
        "--faces",
        "all",
        "--size",
        64,
        "--attributes",
        folder / "people.csv",
    )
    assert cli(*words)[0] == 0
    assert rows(Path("data/photos-64/attributes.csv")) == [
        ["one.jpg#1", "eileen"],
        ["two.jpg#1", "both"],
        ["two.jpg#2", "both"],
    ]


def test_the_same_bytes_whatever_the_number_of_workers(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("facegan.core.workers.HEAD_START_SECONDS", 0)
    monkeypatch.setattr("facegan.data.decode._CHUNK_PHOTOS", 1)
    for workers in (1, 2):
        assert cli("preprocess", folder, "--crop", "face", "--workers", workers, "--out", f"with-{workers}")[0] == 0
    one, two = (json.loads(Path(f"with-{workers}/dataset.json").read_text()) for workers in (1, 2))
    assert one["pixels_sha256"] == two["pixels_sha256"]


def test_a_dry_run_draws_a_sheet_and_makes_no_dataset(folder: Path) -> None:
    code, out, _ = cli("preprocess", folder, "--crop", "face", "--dry-run")
    assert code == 0 and "4 of 4 photos looked at: 2 images would be taken" in out and "1 skipped: no face found" in out
    with Image.open("outputs/preprocess-001.png") as sheet:
        assert sheet.width > 2 * 128 and sheet.height > 2 * 128
    assert not Path("data").exists()
    assert cli("preprocess", folder, "--dry-run")[0] == 0  # any crop


def test_of_photos_without_faces_nothing_is_made(workdir: Path) -> None:
    with zipfile.ZipFile("cats.zip", "w") as file:
        file.writestr("cat.png", encoded(pictures.chelsea()))
        file.writestr("dot.png", encoded(np.zeros((1, 1, 3), np.uint8)))
    code, _, err = cli("preprocess", "cats.zip", "--crop", "face")
    assert code == 1 and "none of its photos (2) could be used; all: no face found" in err
    assert not Path("data/cats-64").exists()


def test_photos_framed_unlike_each_other_are_noticed(workdir: Path, astronaut: np.ndarray) -> None:
    rng = np.random.default_rng(0)
    (workdir / "snaps").mkdir()
    (workdir / "portraits").mkdir()
    for index in range(12):
        scale = float(rng.uniform(0.5, 1.5))
        snap = moved(astronaut, scale, complex(*rng.uniform(-60, 200, 2)), (600, 500))
        Image.fromarray(snap).save(workdir / f"snaps/{index}.jpg")
        Image.fromarray(np.roll(astronaut, index, 1)).save(workdir / f"portraits/{index}.jpg")
    assert "--crop face finds each and aligns it" in cli("preprocess", "snaps", "--size", 32)[2]
    assert "--crop face" not in cli("preprocess", "portraits", "--size", 32)[2]


def test_faces_go_with_crop_face_only() -> None:
    assert str(parse_crop("Face", "all")) == "face"
    with pytest.raises(UsageError, match="--faces all goes with --crop face"):
        parse_crop("square", "all")
    with pytest.raises(UsageError, match="--faces both is neither largest nor all"):
        parse_crop("face", "both")


@pytest.fixture
def without_opencv(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    from facegan.data import align as module
    from facegan.data import faces

    for cached in (module.opencv, faces._detector):
        cached.cache_clear()
    monkeypatch.setitem(sys.modules, "cv2", None)
    yield
    for cached in (module.opencv, faces._detector):
        cached.cache_clear()


@pytest.mark.usefixtures("without_opencv")
def test_without_opencv_the_extra_is_named(folder: Path) -> None:
    code, _, err = cli("preprocess", folder, "--crop", "face")
    assert code == 1 and "facegan's extra 'faces'" in err and 'pip install "facegan[faces]"' in err
    assert not Path("data").exists()
    with pytest.raises(FaceganError, match="extra 'faces'"):
        aligned_face(b"", 64)
    assert cli("preprocess", folder)[0] == 0  # and other crops need nothing
