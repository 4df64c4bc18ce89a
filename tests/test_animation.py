"""Animations: a written file has the frames, times and loops that were asked for; otherwise there is no file."""

import io
import os
import re
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from test_colours import SWAPPED, TAN
from test_essential import CHUNKS, SEGMENTS, WHOLE

from facegan.core.errors import FaceganError
from facegan.pictures.animation import LONGEST, check_animation, read_pictures, scaled_size, survey, write_animation
from facegan.runs import progress_animation
from facegan.runs.folder import RunDir


def frames(count: int, height: int = 24, width: int = 20) -> list[np.ndarray]:
    """A dark square wandering over a ramp of colours."""
    ramp = np.empty((height, width, 3), dtype=np.uint8)
    ramp[..., 0] = np.linspace(60, 200, height)[:, None]
    ramp[..., 1] = np.linspace(80, 220, width)
    ramp[..., 2] = 120
    pictures = [ramp.copy() for _ in range(count)]
    for n, picture in enumerate(pictures):
        picture[4:9, n % (width - 5) : n % (width - 5) + 5] = (10, 2 * n, 10)
    return pictures


def pages(path: Path) -> tuple[list[np.ndarray], list[int], int | None]:
    """Every page as RGB, how long each lasts in milliseconds, and the loop count (None: played once)."""
    found, durations = [], []
    with Image.open(path) as picture:
        loop = picture.info.get("loop")
        for n in range(getattr(picture, "n_frames", 1)):
            picture.seek(n)
            found.append(np.asarray(picture.convert("RGB")))
            durations.append(picture.info["duration"])
    return found, durations, loop


@pytest.mark.parametrize(("fps", "duration"), [(12, 80), (24, 40), (30, 30), (1, 1000), (100, 20)])
def test_gif_has_every_frame_at_its_time(tmp_path: Path, fps: float, duration: int) -> None:
    given = frames(9)
    found, durations, loop = pages(write_animation(iter(given), tmp_path / "a" / "walk.gif", fps=fps))
    assert durations == [duration] * 9 and loop == 0
    for one, other in zip(found, given, strict=True):
        assert np.abs(one.astype(int) - other).mean() < 4, "256 colours come close"


def test_webp_has_every_frame_at_its_time(tmp_path: Path) -> None:
    found, durations, loop = pages(write_animation(frames(5), tmp_path / "walk.WEBP", fps=12))
    assert len(found) == 5 and durations == [83] * 5 and loop == 0


def test_mp4_takes_odd_sides(tmp_path: Path) -> None:
    ffmpeg = pytest.importorskip("imageio_ffmpeg")
    path = write_animation(frames(7, 33, 47), tmp_path / "walk.mp4", fps=12)
    said = subprocess.run([ffmpeg.get_ffmpeg_exe(), "-i", path], capture_output=True, text=True, check=False).stderr
    assert "48x34" in said and "12 fps" in said and "h264" in said and "yuv420p" in said
    assert ffmpeg.count_frames_and_secs(path)[0] == 7


def test_mp4_without_the_extra_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    with pytest.raises(FaceganError, match="extra 'video', which is not installed") as caught:
        write_animation(frames(2), tmp_path / "walk.mp4")
    assert 'pip install "facegan[video]", or end the name in .gif' in caught.value.hint
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(sys.platform == "win32", reason="the programs are shell scripts")
@pytest.mark.parametrize(
    ("script", "reason"),
    [
        (None, "No such file"),
        ("no program", "Exec format error|Permission denied"),
        ("#!/bin/sh\necho \"[x @ 0x1] Unknown encoder 'libx264'.\" >&2; exit 8", r"work: Unknown encoder 'libx264'\.$"),
        ("#!/bin/sh\nkill -SEGV $$", "ends with -11"),
        ("#!/bin/sh\ncat > /dev/null", "ends with 0"),
    ],
)
def test_an_ffmpeg_that_cannot_be_used_is_said_before_anything_is_drawn(tmp_path, monkeypatch, script, reason):
    pytest.importorskip("imageio_ffmpeg")
    program = tmp_path / "ffmpeg"
    if script is not None:
        program.write_text(script)
        program.chmod(0o755)
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", str(program))

    def drawn() -> Iterator[np.ndarray]:
        raise AssertionError("a frame was drawn")
        yield

    with pytest.raises(FaceganError, match=f"walk.mp4 needs ffmpeg, and {program} does not work: ") as caught:
        write_animation(drawn(), tmp_path / "walk.mp4")
    assert re.search(reason, caught.value.message)
    assert "IMAGEIO_FFMPEG_EXE" in caught.value.hint and ".gif" in caught.value.hint


@pytest.mark.parametrize(
    ("given", "name", "fps", "sentence"),
    [
        (frames(2), "walk.avi", 12, "not an animation"),
        ([], "walk.gif", 12, "no frames"),
        ([], "walk.webp", 12, "no frames"),
        (frames(2) + frames(1, 30, 30), "walk.gif", 12, "Frame 3 of .* is 30x30, the first 20x24"),
        (frames(2), "walk.gif", 0, "0 frames a second"),
        (frames(2), "walk.gif", float("nan"), "nan frames a second"),
    ],
)
def test_what_cannot_be_is_said_in_a_sentence(
    tmp_path: Path, given: list[np.ndarray], name: str, fps: float, sentence: str
) -> None:
    with pytest.raises(FaceganError, match=sentence):
        write_animation(given, tmp_path / name, fps=fps)
    assert not list(tmp_path.iterdir())


def test_the_three_types_are_named(tmp_path: Path) -> None:
    with pytest.raises(FaceganError) as caught:
        write_animation(frames(1), tmp_path / "walk")
    assert all(suffix in caught.value.hint for suffix in (".gif", ".mp4", ".webp"))


@pytest.mark.parametrize("suffix", [".gif", ".webp", ".mp4"])
def test_a_failing_source_leaves_the_old_file(tmp_path: Path, suffix: str) -> None:
    if suffix == ".mp4":
        pytest.importorskip("imageio_ffmpeg")

    def failing() -> Iterator[np.ndarray]:
        yield from frames(3)
        raise RuntimeError("the generator stopped")

    old = tmp_path / f"walk{suffix}"
    old.write_bytes(b"old")
    for path in (old, tmp_path / f"new{suffix}"):
        with pytest.raises(RuntimeError, match="stopped"):
            write_animation(failing(), path)
    assert old.read_bytes() == b"old" and list(tmp_path.iterdir()) == [old]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limits on files")
@pytest.mark.parametrize("count", [3, 40])
def test_a_film_that_ffmpeg_cannot_finish(tmp_path: Path, count: int) -> None:
    """It fails after it has taken all frames, and says so to nobody."""
    pytest.importorskip("imageio_ffmpeg")
    code = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))\n"
        "import numpy as np; from facegan.pictures.animation import write_animation\n"
        f"noise = np.random.default_rng(0).integers(0, 256, ({count}, 64, 64, 3), np.uint8)\n"
        "write_animation(noise, 'walk.mp4')"
    )
    (tmp_path / "walk.mp4").write_bytes(b"old")
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=tmp_path, env=environment
    )
    said = done.stderr.strip().splitlines()
    assert "walk.mp4 could not be written: ffmpeg could not finish it." in said[-1], said
    assert (tmp_path / "walk.mp4").read_bytes() == b"old" and len(list(tmp_path.iterdir())) == 1


def test_pictures_keep_their_order_and_take_the_size_of_the_first(tmp_path: Path) -> None:
    red, wide = tmp_path / "b.png", tmp_path / "a.png"
    Image.new("RGB", (20, 20), "red").save(red)
    Image.new("RGB", (40, 20), "blue").save(wide)
    first, second = read_pictures([red, wide])
    assert (first == (255, 0, 0)).all() and second.shape == (20, 20, 3)
    assert (second[8:12] == (0, 0, 255)).all() and (second[:4] == 255).all(), "whole, on white paper"


def test_pictures_of_many_kinds(tmp_path: Path) -> None:
    turned = Image.new("RGB", (8, 4), "red").getexif()
    turned[0x0112] = 6
    Image.new("RGB", (8, 4), "red").save(tmp_path / "turned.jpg", exif=turned)
    assert next(read_pictures([tmp_path / "turned.jpg"])).shape == (8, 4, 3)

    Image.new("RGBA", (4, 4), (255, 0, 0, 0)).save(tmp_path / "clear.png")
    assert (next(read_pictures([tmp_path / "clear.png"])) == 255).all()

    Image.fromarray(np.full((4, 4), 32768, dtype=np.uint16)).save(tmp_path / "deep.png")
    assert (next(read_pictures([tmp_path / "deep.png"])) == 128).all()

    write_animation(frames(4), tmp_path / "walk.gif")
    assert len(list(read_pictures([tmp_path / "walk.gif"]))) == 4


def test_the_previews_in_a_cameras_photo_are_no_frames(tmp_path: Path) -> None:
    large, preview = (Image.fromarray(frame) for frame in (frames(1, 48, 40)[0], frames(1)[0]))
    large.save(tmp_path / "a.jpg", format="MPO", save_all=True, append_images=[preview])
    with Image.open(tmp_path / "a.jpg") as photo:
        assert photo.n_frames == 2
    assert survey([tmp_path / "a.jpg"]) == (1, (40, 48))
    assert [frame.shape for frame in read_pictures([tmp_path / "a.jpg"])] == [(48, 40, 3)]


def only_frame(path: Path, data: bytes) -> np.ndarray:
    """Of a picture's bytes, read with no word from Pillow."""
    path.write_bytes(data)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        count, _ = survey([path])
        (frame,) = read_pictures([path])
    assert count == 1
    return frame


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("jpeg", WHOLE["jpeg"][:-2]),
        ("png", WHOLE["png"][:-12]),
        ("gif", WHOLE["gif"][:-1]),
        *(("jpeg", WHOLE["jpeg"][:20] + segment + WHOLE["jpeg"][20:]) for segment in SEGMENTS.values()),
        *(("png", WHOLE["png"][:33] + chunk + WHOLE["png"][33:]) for chunk in CHUNKS.values()),
    ],
)
def test_what_is_damaged_beside_the_pixels_costs_no_picture(tmp_path: Path, name: str, data: bytes) -> None:
    """As it costs `preprocess` no photo."""
    expected = only_frame(tmp_path / "whole", WHOLE[name])
    assert np.array_equal(only_frame(tmp_path / "damaged", data), expected)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "HEIF", "TIFF"])
def test_pictures_are_shown_in_the_colours_of_their_profile(tmp_path: Path, kind: str) -> None:
    file = io.BytesIO()
    Image.new("RGB", (16, 16), TAN).save(file, kind, icc_profile=SWAPPED)
    frame = only_frame(tmp_path / "a", file.getvalue())
    assert np.abs(frame.astype(int) - TAN[::-1]).max() <= 4
    *_, second = read_pictures([tmp_path / "a", tmp_path / "a"])
    assert np.array_equal(frame, second)


def test_a_profile_counts_on_every_page_and_beside_smaller_pictures(tmp_path: Path) -> None:
    pages = [Image.new("RGB", (16, 16), colour) for colour in (TAN, (10, 20, 240))]
    pages[0].save(tmp_path / "a.png", save_all=True, append_images=pages[1:], icc_profile=SWAPPED)
    Image.new("RGB", (8, 4), TAN).save(tmp_path / "b.png", icc_profile=SWAPPED)
    first, second, small = read_pictures([tmp_path / "a.png", tmp_path / "b.png"])
    assert np.abs(first.astype(int) - TAN[::-1]).max() <= 4
    assert np.abs(second.astype(int) - (240, 20, 10)).max() <= 4
    assert np.abs(small[4:12].astype(int) - TAN[::-1]).max() <= 4 and (small[:4] == 255).all()


def test_a_cut_picture_is_refused_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "cut.jpg").write_bytes(WHOLE["jpeg"][:-3000])
    with pytest.raises(FaceganError, match=r"cut\.jpg cannot be read as a picture: cut short"):
        list(read_pictures([tmp_path / "cut.jpg"]))


def test_a_runs_progress_is_counted_and_refused_after_its_first_frame(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "samples").mkdir()
    for n in range(3):
        Image.new("RGB", (20, 20), (n, n, n)).save(tmp_path / f"samples/epoch-000{n}.png")
    told: list[tuple[int, int]] = []
    progress_animation.write_progress(
        RunDir(tmp_path), tmp_path / "a.gif", 12, on_progress=lambda done, total: told.append((done, total))
    )
    count = 3 + progress_animation._HOLD
    assert told == [(done, count) for done in range(1, count + 1)]

    drawn, caption = [], progress_animation.with_caption
    monkeypatch.setattr(progress_animation, "with_caption", lambda *given: drawn.append(1) or caption(*given))
    monkeypatch.setattr("facegan.pictures.animation.MAX_HELD", 10)
    with pytest.raises(FaceganError, match="at most 0 frames"):
        progress_animation.write_progress(RunDir(tmp_path), tmp_path / "b.gif", 12)
    assert len(drawn) == 1


def test_pictures_that_are_none(tmp_path: Path) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no picture")
    with pytest.raises(FaceganError, match=r"broken\.png cannot be read"):
        list(read_pictures([broken]))
    with pytest.raises(FaceganError, match=r"no picture .*gone\.png"):
        list(read_pictures([tmp_path / "gone.png"]))


def test_frames_are_counted_before_they_are_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_animation(frames(4), tmp_path / "a.gif")
    write_animation(frames(3), tmp_path / "b.webp")
    Image.new("RGB", (4, 4)).save(tmp_path / "c.png")
    paths = sorted(tmp_path.iterdir())
    expected = len(list(read_pictures(paths)))
    monkeypatch.setattr(Image.Image, "convert", None)
    assert survey(paths) == (expected, (20, 24)) and expected == 8
    with pytest.raises(FaceganError, match="no picture"):
        survey([tmp_path / "none.png"])


@pytest.mark.parametrize(
    ("size", "scaled"),
    [((4000, 3000), (1280, 960)), ((3000, 4000), (960, 1280)), ((1280, 9), (1280, 9)), ((9000, 2), (1280, 1))],
)
def test_a_cameras_photos_are_scaled_down(tmp_path: Path, size: tuple[int, int], scaled: tuple[int, int]) -> None:
    assert scaled_size(size, LONGEST) == scaled and scaled_size(size, None) == size
    Image.new("RGB", (size[0] // 10 or 1, size[1] // 10 or 1)).save(tmp_path / "a.png")
    (frame,) = read_pictures([tmp_path / "a.png"], LONGEST // 10)
    assert max(frame.shape) <= LONGEST // 10


@pytest.mark.parametrize(("suffix", "most"), [(".gif", 65_535), (".webp", 16_383), (".mp4", 16_384)])
def test_sides_that_formats_lack_are_refused(tmp_path: Path, suffix: str, most: int) -> None:
    if suffix == ".mp4":
        pytest.importorskip("imageio_ffmpeg")
    path = tmp_path / f"wide{suffix}"
    check_animation(path, 9, (most, 2))
    with pytest.raises(FaceganError, match=f"at most {most:,}"):
        write_animation([np.zeros((2, most + 1, 3), np.uint8)] * 2, path)
    assert not list(tmp_path.iterdir())
    if suffix != ".gif":  # whose widest takes seconds
        write_animation([np.zeros((16, most, 3), np.uint8)] * 2, path)
        assert path.stat().st_size


@pytest.mark.parametrize("expected", [0, 6])
@pytest.mark.parametrize(("suffix", "held"), [(".gif", 1), (".webp", 5)])
def test_more_frames_than_memory_should_hold_are_refused(tmp_path, monkeypatch, suffix, held, expected):
    """As soon as it is known: after the first frame if their number is."""
    monkeypatch.setattr("facegan.pictures.animation.MAX_HELD", 5 * 8 * 8 * held)
    drawn = []

    def frames(count):
        for n in range(count):
            drawn.append(n)
            yield np.full((8, 8, 3), 40 * n, np.uint8)

    write_animation(frames(5), tmp_path / f"five{suffix}")
    drawn.clear()
    with pytest.raises(FaceganError, match="at most 5 frames of 8x8") as caught:
        write_animation(frames(6), tmp_path / f"six{suffix}", expected=expected)
    assert ".mp4" in caught.value.hint
    assert len(drawn) == (1 if expected else 6)
    assert [path.name for path in tmp_path.iterdir()] == [f"five{suffix}"]
