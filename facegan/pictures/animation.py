"""Write frames as a GIF, MP4 or WebP, and read pictures as frames.

A GIF has at most 256 colours a frame. Each frame gets a palette of its own (median cut, refined by k-means on a sample
of its pixels) and no dithering. Measured on faces, this is nearer to the original, pixel for pixel, and flickers less
than one palette for all frames or than dithering.
"""

import errno
import math
import os
import re
import subprocess
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from facegan.core.atomic import atomic_path
from facegan.core.errors import FaceganError, needed
from facegan.pictures.colours import to_srgb
from facegan.pictures.opening import PhotoError, flat, glance, reasons, rounded, upright, whole
from facegan.pictures.origin import Origin, saving
from facegan.pictures.photos import Photo, Reader, ReadError
from facegan.pictures.sheets import check_size

_PALETTE_SAMPLE = 8192  # pixels of a frame that its palette is made from; with twice as many it is hardly better
_PAPER = "white"
_CODEC, _PIXELS = "libx264", "yuv420p"
"""How an MP4 is encoded: every player can show it."""
LONGEST = 1280
"""`gif` scales pictures down to this many pixels on their longer side, unless --full-size is given."""
MAX_HELD = 2_000_000_000
"""Most bytes of all frames of a GIF or WebP together, which Pillow holds in memory until the file is written."""
_BYTES_PER_PIXEL = {".gif": 1, ".webp": 5}
"""Bytes that Pillow holds for each pixel of a frame, measured with `tests/walk_memory.py`."""


def write_animation(
    frames: Iterable[np.ndarray],
    path: Path,
    *,
    fps: float = 12,
    expected: int = 0,
    new: bool = False,
    origin: Origin | None = None,
) -> Path:
    """Write frames (H, W, 3) of uint8 as an animation, whole or not at all. The path's suffix chooses its type.

    `.gif`: a frame lasts a whole number of hundredths of a second, at least two (viewers slow down anything faster), so
    the real rate is 100 / max(2, round(100 / fps)): 12 becomes 12.5, 24 becomes 25, 30 becomes 33.3, 50 is the most.
    `.webp`: lossy at high quality, timed in whole milliseconds; a third to a half of the size of a GIF.
    `.mp4`: H.264 in yuv420p, which every player knows, at exactly `fps`; the only one whose memory does not grow with
    the number of frames. Its sides must be even, so frames with an odd side get their last row or column twice. Needs
    the extra "video". GIF and WebP repeat for ever; for an MP4 the player decides.

    GIF and WebP may store a frame that equals the one before it by showing that one longer.

    Args:
        frames: at least one, all of one size; drawn one by one.
        path: ends in .gif, .webp or .mp4; missing folders are made.
        fps: frames a second, above 0.
        expected: how many frames will come, if that is known. Too many are then refused at the first frame, otherwise
            only once there are too many.
        new: never replace a file.
        origin: how the animation was made, to be written into a GIF or WebP.

    Returns:
        `path`.

    Raises:
        FaceganError: another suffix, no frames, frames of different sizes or too large for the format, an `fps` that is
            no positive number, the extra is missing, more frames than a GIF or WebP can be made of in memory, the
            system refuses to write, or with `new` there is a file at `path`. After an error `path` is as before.
    """
    path = Path(path)
    writers: dict[str, Callable[[Iterator[np.ndarray], Path, float, dict[str, Any]], None]]
    writers = {".gif": _write_gif, ".webp": _write_webp, ".mp4": _write_mp4}
    write = writers.get(path.suffix.lower())
    if write is None:
        raise FaceganError(
            f"{path} is not an animation that facegan can write.", "End its name in .gif, .mp4 or .webp."
        )
    if not (math.isfinite(fps) and fps > 0):
        raise FaceganError(f"{fps:g} frames a second cannot be shown.", "Give a number above 0, such as 12.")
    if write is _write_mp4:
        _require_ffmpeg(path)
    with atomic_path(path, new=new) as temporary:
        write(_checked(frames, path, expected), temporary, fps, saving(path.suffix.lower(), origin))
    return path


def read_pictures(paths: Iterable[Path], longest: int | None = None) -> Iterator[np.ndarray]:
    """Pictures as frames (H, W, 3) of uint8, in the order given, one by one; an animated picture gives all its frames.

    The first one sets the size, scaled down to at most `longest` pixels on its longer side. Others are scaled to fit
    into it, whole and undistorted, in the middle of white paper. Pictures are read as `preprocess` reads photos: turned
    upright, in sRGB, and on white where they are transparent; damage beside their pixels does not matter.

    Raises:
        FaceganError: a file is missing, or is no picture that can be read.
    """
    size: tuple[int, int] | None = None
    for path in paths:
        data = _bytes(path)
        with _named(path, data):
            picture, animated = whole(data)
            count = _frames_in(picture, animated)
        for n in range(count):
            with _named(path, data):
                if animated:
                    picture.seek(n)
                page = upright(picture)
                size = size or scaled_size(page.size, longest)
                frame = _fitted(page, size)
            yield frame


def scaled_size(size: tuple[int, int], longest: int | None) -> tuple[int, int]:
    """The size (width, height) scaled down to at most `longest` pixels on its longer side; None leaves it as it is."""
    if longest is None or max(size) <= longest:
        return size
    return tuple(max(1, round(side * longest / max(size))) for side in size)  # type: ignore[return-value]


def survey(paths: Iterable[Path]) -> tuple[int, tuple[int, int]]:
    """Find out what `read_pictures` will give, from the files' structure alone, without decoding a picture.

    Returns:
        How many frames, and the first picture's width and height before it is turned upright.

    Raises:
        FaceganError: as `read_pictures`, as far as the structure shows it.
    """
    count, size = 0, (0, 0)
    for path in paths:
        data = _bytes(path)
        with _named(path, data):
            picture, animated = glance(data)
            size = size if count else picture.size
            count += _frames_in(picture, animated)
    return count, size


def _frames_in(picture: Image.Image, animated: bool) -> int:
    return picture.n_frames if animated else 1  # type: ignore[attr-defined]


def _bytes(path: Path) -> bytes:
    try:
        with Reader(path.parent, "folder") as reader:
            return reader.read(Photo(path.name))
    except ReadError as error:
        if isinstance(error.__cause__, FileNotFoundError):
            raise FaceganError(f"There is no picture {path}.", "Check its name.") from error
        raise _unreadable(path, error) from error


@contextmanager
def _named(path: Path, data: bytes) -> Iterator[None]:
    """Say which picture cannot be read, and why. Pillow's warnings about odd files are not shown."""
    try:
        with warnings.catch_warnings(), reasons(data):
            warnings.simplefilter("ignore")
            yield
    except PhotoError as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> FaceganError:
    reason = str(error).removesuffix(".")
    return FaceganError(f"{path} cannot be read as a picture: {reason}.", "Leave it out, or save it anew.")


def _checked(frames: Iterable[np.ndarray], path: Path, expected: int) -> Iterator[np.ndarray]:
    """Pass on the frames, checked one by one: there is at least one, and all have the first one's size.

    `check_animation` must allow as many frames as have come, or `expected` if that is more.
    """
    shape: tuple[int, ...] | None = None
    for n, frame in enumerate(frames):
        assert frame.dtype == np.uint8 and frame.ndim == 3 and frame.shape[2] == 3, (frame.dtype, frame.shape)
        shape = shape or frame.shape
        if frame.shape != shape:
            sizes = f"{frame.shape[1]}x{frame.shape[0]}, the first {shape[1]}x{shape[0]}"
            raise FaceganError(f"Frame {n + 1} of {path} is {sizes}.", "All frames must be of one size.")
        check_animation(path, max(n + 1, expected), (shape[1], shape[0]))
        yield frame
    if shape is None:
        raise FaceganError(f"There are no frames to write to {path}.", "Give at least one picture.")


def check_animation(path: Path, count: int, size: tuple[int, int], hint: str = "") -> None:
    """Refuse an animation that is too large for its format or for the memory, before any of it is drawn.

    Args:
        count: how many frames it will have.
        size: their width and height in pixels.
        hint: what the user can do to make it smaller.

    Raises:
        FaceganError: its frames are too large, or more than MAX_HELD bytes will be held for them.
    """
    check_size(path, size, hint or "Make the frames smaller.")
    held = size[0] * size[1] * _BYTES_PER_PIXEL.get(path.suffix.lower(), 0)  # an .mp4 holds nothing
    if count * held > MAX_HELD:
        most = MAX_HELD // held
        raise FaceganError(
            f"{path} can have at most {most:,} frames of {size[0]}x{size[1]}, because memory holds them all.",
            hint or "Take fewer, or end its name in .mp4, whose memory does not grow.",
        )


def _write_gif(frames: Iterator[np.ndarray], path: Path, fps: float, origin: dict[str, Any]) -> None:
    hundredths = max(2, round(100 / fps))
    pictures = (_with_palette(frame) for frame in frames)
    _save_all(pictures, path, format="GIF", duration=10 * hundredths, optimize=False, **origin)


def _write_webp(frames: Iterator[np.ndarray], path: Path, fps: float, origin: dict[str, Any]) -> None:
    pictures = (Image.fromarray(frame) for frame in frames)
    duration = max(1, round(1000 / fps))
    _save_all(pictures, path, format="WEBP", duration=duration, quality=90, method=4, **origin)


def _save_all(pictures: Iterator[Image.Image], path: Path, **options: Any) -> None:
    first = next(pictures)
    first.save(path, save_all=True, append_images=pictures, loop=0, **options)  # 0 means for ever


def _with_palette(frame: np.ndarray) -> Image.Image:
    """The frame in its own best 255 colours. The last one stays free: Pillow marks unchanged pixels with it."""
    pixels = frame.reshape(-1, 3)
    # The stride is odd, so that the sampled pixels do not all lie in a few columns.
    sample = pixels[:: max(1, len(pixels) // _PALETTE_SAMPLE) | 1]
    palette = Image.fromarray(sample[None]).quantize(255, method=Image.Quantize.MEDIANCUT, kmeans=1)
    return Image.fromarray(frame).quantize(palette=palette, dither=Image.Dither.NONE)


def _require_ffmpeg(path: Path) -> None:
    """Before any frame is drawn, raise a FaceganError if ffmpeg is missing or cannot encode one small frame."""
    otherwise = "or end the name in .gif or .webp, which need nothing more."
    with needed(str(path), "video", "imageio-ffmpeg", f", {otherwise}"):
        import imageio.v2  # noqa: F401
        import imageio_ffmpeg

        program = imageio_ffmpeg.get_ffmpeg_exe()
    if fault := _fault_of(program):
        chosen = "IMAGEIO_FFMPEG_EXE" in os.environ
        again = "Install it again: pip install --force-reinstall --no-deps imageio-ffmpeg"
        remedy = "Unset IMAGEIO_FFMPEG_EXE, which names it" if chosen else again
        raise FaceganError(f"{path} needs ffmpeg, and {program} does not work: {fault}.", f"{remedy}, {otherwise}")


def _fault_of(ffmpeg: str) -> str:
    """Why this program cannot make a film of one small frame as `_write_mp4` does; "" if it can."""
    given = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", "16x16", "-i", "-"]
    asked = ["-c:v", _CODEC, "-pix_fmt", _PIXELS, "-movflags", "frag_keyframe+empty_moov", "-f", "mp4", "-"]
    command, frame = [ffmpeg, "-v", "error", *given, *asked], bytes(16 * 16 * 3)
    try:
        done = subprocess.run(command, input=frame, capture_output=True, timeout=60, check=False)  # noqa: S603
    except OSError as error:
        return error.strerror or str(error)
    except subprocess.TimeoutExpired:
        return "it does not answer"
    if done.returncode == 0 and b"ftyp" in done.stdout[:12]:
        return ""
    said = [line for line in done.stderr.decode(errors="replace").splitlines() if line.strip()]
    return re.sub(r"^\[[^]]*\] *", "", said[0])[:200].rstrip(". ") if said else f"it ends with {done.returncode}"


def _write_mp4(frames: Iterator[np.ndarray], path: Path, fps: float, _: dict[str, Any]) -> None:
    import imageio.v2 as imageio
    from imageio_ffmpeg import count_frames_and_secs

    first = next(frames)
    odd = [(0, side % 2) for side in first.shape[:2]]
    options = ["-crf", "16", "-preset", "slow", "-movflags", "+faststart"]  # fine grain; plays while it loads
    writer = imageio.get_writer(
        path, format="FFMPEG", mode="I", fps=fps, codec=_CODEC, pixelformat=_PIXELS, quality=None,
        macro_block_size=1, ffmpeg_log_level="quiet", output_params=options,
    )  # fmt: skip
    cut_short = OSError(errno.EIO, "ffmpeg could not finish it")  # `atomic_path` makes it a sentence
    count = 0
    with closing(writer):  # its own context manager leaves ffmpeg running after an exception
        for frame in chain([first], frames):
            even = np.pad(frame, [*odd, (0, 0)], mode="edge")
            count += 1
            try:
                writer.append_data(even)
            except OSError as error:
                raise cut_short from error
    try:  # imageio ignores ffmpeg's exit code, and ffmpeg writes most of the file after it has taken all frames
        found, _ = count_frames_and_secs(path)
    except RuntimeError:
        found = 0
    if found != count:
        raise cut_short


def _fitted(picture: Image.Image, size: tuple[int, int]) -> np.ndarray:
    """A picture scaled to fit into `size`, in sRGB, in the middle of white paper.

    It is scaled first, because the colours of a small picture are converted quickly.
    """
    small = rounded(ImageOps.contain(flat(picture), size, method=Image.Resampling.LANCZOS))
    return np.array(ImageOps.pad(to_srgb(small, picture.info.get("icc_profile")), size, color=_PAPER))
