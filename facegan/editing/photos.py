"""Photos to faces of a generator: aligned, projected, tuned, and remembered."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from torch import nn

from facegan.core.atomic import atomic_path
from facegan.core.errors import FaceganError, is_there, reading, typed
from facegan.core.pixels import Pixels
from facegan.data.crops import Crop
from facegan.data.decode import decode_faces
from facegan.data.faces import NO_FACE
from facegan.editing.likeness import face_error
from facegan.editing.project import project, project_steps
from facegan.editing.tune import tune, tune_steps
from facegan.faces.compose import Progress
from facegan.faces.latents import Latents, is_index, load_latents
from facegan.faces.synthesis import draw_faces
from facegan.models.checkpoint import LoadedGenerator, load_generator, save_loaded, weights_sha256
from facegan.pictures.opening import PhotoError
from facegan.pictures.photos import MAX_FILE_BYTES, PICTURES
from facegan.pictures.sheets import labelled

ALIGNED = Crop("face", "largest")
"""How photos are cut unless something else is asked for."""
MOST_PHOTOS = 32
"""Most photos that one generator is tuned to together."""
LIKENESS = (0.03, "the person"), (0.05, "close to the person"), (0.1, "a relative, not the person")
"""`face_error` of a tuned generator's face below which it is called so. Two people differ by 0.1 to 0.2."""
LIKENESS_PLAIN = (0.02, "the person"), (0.1, "a relative, not the person")
"""The same for an untouched generator: it comes as near with a relative, whose details are others."""
UNLIKE = "not a likeness: this generator does not draw such faces"
_METHOD = 2
"""Part of the name of what is remembered: a change of projection or tuning raises it."""


@dataclass(frozen=True, repr=False)
class Projected:
    """Photos as faces of a generator.

    Attributes:
        loaded: the generator, tuned to the photos unless they were to be projected only.
        names: of the photos, without their folders.
        latents: float32 (N, latent_rows * latent_dim); `loaded` draws the photos from them.
        tuned: whether `loaded` was tuned to the photos.
        photos: uint8 (N, S, S, 3), aligned.
        plain: what the untouched generator draws, from the latents that were found in it.
        drawn: what `loaded` draws.
    """

    loaded: LoadedGenerator
    tuned: bool
    names: list[str]
    latents: Latents
    photos: Pixels
    plain: Pixels
    drawn: Pixels

    def picture(self) -> Pixels:
        """A row for each photo: the photo, what the generator could do by itself, and the result."""
        rows = np.stack([self.photos, self.plain, self.drawn], axis=1)
        labels = [label for name in self.names for label in (name, "untouched", "tuned")]
        columns = 3
        if not self.tuned:
            rows, columns = rows[:, :2], 2
            labels = [label for label in labels if label != "tuned"]
        return labelled(rows.reshape(-1, *rows.shape[2:]), labels, columns)

    def words(self) -> list[str]:
        """How near each face came, a sentence for each photo."""
        alone, now = face_error(self.plain, self.photos), face_error(self.drawn, self.photos)
        said = []
        for name, before, after in zip(self.names, alone, now, strict=True):
            words = LIKENESS if self.tuned else LIKENESS_PLAIN
            likeness = next((word for limit, word in words if after < limit), UNLIKE)
            tuned = f" ({before:.1%} before tuning)" if self.tuned else ""
            said.append(f"{name}: the pixels of the face differ by {after:.1%} on average{tuned}: {likeness}")
        return said


def project_photos(
    loaded: LoadedGenerator,
    paths: Sequence[Path],
    memory: Path | None = None,
    *,
    crop: Crop = ALIGNED,
    plain: bool = False,
    seed: int = 0,
    on_progress: Progress = lambda done, total: None,
    note: Callable[[str], None] = lambda text: None,
) -> Projected:
    """Find the photos' faces in a generator and tune it to all of them together.

    Args:
        memory: the folder where results are remembered: for the same photos, generator and settings a second call only
            reads them. The files hold weights and latents, never a photo. None remembers nothing.
        crop: how photos are cut; ALIGNED aligns them by their landmarks.
        plain: do not tune, only project.
        seed: of all randomness.
        on_progress: told how many steps are done, of how many.
        note: told that the results could not be written to `memory`.

    Returns:
        A row for each of `paths`, in their order.

    Raises:
        FaceganError: a photo cannot be used, with the reason.
    """
    networks, unique = loaded.config.networks, list(dict.fromkeys(paths))
    check_count(loaded, len(unique))
    contents = [_read(path) for path in unique]
    photos = [aligned_face(path, data, networks.size, crop) for path, data in zip(unique, contents, strict=True)]
    rows = np.stack([photos[unique.index(path)] for path in paths])
    names = [path.name for path in paths]
    return project_faces(loaded, names, rows, memory, plain=plain, seed=seed, on_progress=on_progress, note=note)


def project_faces(
    loaded: LoadedGenerator,
    names: Sequence[str],
    photos: Pixels,
    memory: Path | None = None,
    *,
    plain: bool = False,
    seed: int = 0,
    on_progress: Progress = lambda done, total: None,
    on_look: Callable[[Latents], None] = lambda latents: None,
    note: Callable[[str], None] = lambda text: None,
) -> Projected:
    """As `project_photos`, for photos (N, S, S, 3) that are aligned already; of equal ones each is a row.

    Args:
        names: of the photos.
        on_look: told now and then during the projection the latents so far, a row for each photo.
    """
    networks = loaded.config.networks
    origin = weights_sha256(loaded.module)
    digests = [hashlib.sha256(face.tobytes()).hexdigest() for face in photos]
    order = sorted(set(digests))  # of the photos that are tuned to: each once, and their order does not matter
    check_count(loaded, len(order))
    key = hashlib.sha256("".join([origin, str((_METHOD, seed, plain)), *order]).encode()).hexdigest()[:16]
    of_row = [order.index(digest) for digest in digests]
    found = _remembered(memory, key, loaded, len(order), plain) if memory else None
    if found is None:
        once = photos[[digests.index(digest) for digest in order]]
        found = _found(loaded, once, origin, plain, seed, on_progress, lambda z: on_look(z[of_row]))
        if memory:
            try:
                found = _remember(memory, key, found, plain)
            except FaceganError as error:
                note(f"the faces could not be remembered for the next command: {error.message}")
    alone = draw_faces(loaded.module, networks, found.before[of_row])
    drawn = alone if plain else draw_faces(found.tuned.module, networks, found.after[of_row])
    return Projected(found.tuned, not plain, list(names), found.after[of_row], photos, alone, drawn)


def check_count(loaded: LoadedGenerator, count: int) -> None:
    """Raises: FaceganError: a generator of this size is not tuned to so many photos at once."""
    most = max(4, MOST_PHOTOS * 64**2 // loaded.config.networks.size**2)
    if count > most:
        raise FaceganError(
            f"{count} photos are too many for one command: {most} of {loaded.config.networks.size} px are the most.",
            "Name fewer photos.",
        )


class _Found(NamedTuple):
    """What is remembered: a generator, and the latents in the untouched generator and in this one, (N, width) each."""

    tuned: LoadedGenerator
    before: Latents
    after: Latents


def _found(
    loaded: LoadedGenerator,
    photos: Pixels,
    origin: str,
    plain: bool,
    seed: int,
    on_progress: Progress,
    on_look: Callable[[Latents], None],
) -> _Found:
    """Project the photos, and tune a copy of the generator unless `plain`."""
    module, networks = loaded.module, loaded.config.networks
    first, second = project_steps(), 0 if plain else tune_steps()
    z = project(
        module, networks, photos, seed=seed, on_progress=lambda n, _: on_progress(n, first + second), on_look=on_look
    )
    if plain:
        return _Found(loaded, z, z)
    tuned, after = tune(
        module, networks, z, photos, seed=seed, on_progress=lambda n, _: on_progress(first + n, first + second)
    )
    return _Found(_as_loaded(loaded, tuned, origin, len(photos)), z, after)


def is_photo(item: str) -> bool:
    """Whether an item of a SPEC is a photo: a file that holds no latents, or the name of a picture."""
    if is_index(item):
        return False
    ending = Path(item).suffix.lower()
    return ending in PICTURES or (ending != ".npy" and is_there(Path(item)) and Path(item).is_file())


def _read(path: Path) -> bytes:
    if not is_there(path) or not path.is_file():
        what = "is a folder" if path.is_dir() else "does not exist or is not a file"
        raise FaceganError(f"{path} {what}.", "Name photos, such as me.jpg friend.jpg")
    if path.stat().st_size > MAX_FILE_BYTES:
        raise FaceganError(f"{path} is too large for a photo: {path.stat().st_size:,} bytes.")
    with reading(path):
        return path.read_bytes()


def aligned_face(path: Path, data: bytes, size: int, crop: Crop = ALIGNED) -> Pixels:
    """The face of the photo `data`, cut as `crop` says: uint8 (S, S, 3). `path` is only its name, for errors.

    Raises:
        FaceganError: the photo cannot be used, with the reason.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's opinions on odd files; what matters becomes a reason
            ((_, face),) = decode_faces(data, size, crop)
    except PhotoError as error:
        face = str(error)
    if isinstance(face, str):
        hint = "Name a photo of a face, such as me.jpg."
        if face == NO_FACE or face.startswith("face "):
            hint = f"Take a photo with one clear face, or cut it by hand: facegan project {typed(path)} --crop square"
        raise FaceganError(f"{path} cannot be used: {face}.", hint)
    return np.frombuffer(face.pixels, np.uint8).reshape(size, size, 3)


def _as_loaded(loaded: LoadedGenerator, module: nn.Module, origin: str, photos: int) -> LoadedGenerator:
    """The tuned generator with the facts of its origin."""
    notes = {
        **loaded.notes,
        "tuned": f"by facegan project to {photos} photo{'s' if photos > 1 else ''}; the file holds no photo",
        "tuned_from": loaded.notes.get("tuned_from", origin),
    }
    return replace(loaded, module=module, critic=None, notes=notes)


def _remember(memory: Path, key: str, found: _Found, plain: bool) -> _Found:
    """Write the results; the latents last, since they stand for all of them.

    Both names have the digest of the weights: another command, on another device, may find slightly different ones.
    """
    numbers = memory / f"{key}-{weights_sha256(found.tuned.module)[:8]}.npy"
    weights = numbers.with_suffix(".safetensors")
    if not plain:
        save_loaded(found.tuned, weights)
    with atomic_path(numbers) as temporary:
        np.save(temporary, np.concatenate([found.before, found.after]), allow_pickle=False)
    return found if plain else found._replace(tuned=replace(found.tuned, source=weights))


def _remembered(memory: Path, key: str, loaded: LoadedGenerator, count: int, plain: bool) -> _Found | None:
    """What an earlier call wrote; None if there is nothing whole."""
    networks = loaded.config.networks
    for numbers in sorted(memory.glob(f"{key}-*.npy")):
        weights = numbers.with_suffix(".safetensors")
        try:
            z = load_latents(numbers, networks.latent_dim, networks.latent_rows)
            tuned = loaded if plain else load_generator(weights, next(loaded.module.parameters()).device)
        except FaceganError:  # damaged: it is made again
            continue
        if len(z) == 2 * count and tuned.config.networks == networks:
            return _Found(tuned, z[:count], z[count:])
    return None
