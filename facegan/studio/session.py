"""What the studio does for its page: draws faces, finds photos' faces, makes pictures. It knows nothing of the web."""

from __future__ import annotations

import secrets
import tempfile
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from facegan.core.errors import FaceganError, first_line, is_out_of_memory, visible
from facegan.core.pixels import Pixels
from facegan.data.crops import Crop
from facegan.editing.change import check_changes, parse_change
from facegan.editing.components import components
from facegan.editing.photos import ALIGNED, aligned_face, check_count, project_faces
from facegan.faces import compose, latents
from facegan.faces.latents import Latents, Operand
from facegan.faces.synthesis import draw_faces
from facegan.models.checkpoint import LoadedGenerator, weights_sha256
from facegan.models.hub import public_name
from facegan.pictures.animation import write_animation
from facegan.pictures.origin import Origin
from facegan.pictures.sheets import enlarge, save_picture

if TYPE_CHECKING:
    from facegan.editing.attributes import Attributes

MAX_FACES = 256
"""Most faces of one request."""
MAX_FRAMES = 1500
"""Most faces of one film."""
_PHOTOS, _TUNED = 40, 3
"""Most photos and tuned generators that are kept; the oldest go first."""
_PHRASES = 500
"""Most phrases whose faces are remembered."""
_WAITING = 8
"""Most projections that wait."""
TUNED = "us.safetensors"
"""How commands name a tuned generator: `facegan project --out us.png` writes it, and the latents `us-me.npy`."""
CROPS = {"face": ALIGNED, "square": Crop("square")}


class _Stopped(Exception):
    """A projection was stopped."""


@dataclass
class Projection:
    """A projection on its way. `state` is waiting, working, done, failed or stopped."""

    names: list[str]
    faces: Pixels
    state: str = "waiting"
    done: int = 0
    total: int = 1
    looks: int = 0
    look: Pixels | None = None
    stop: bool = False
    error: FaceganError | None = None
    model: str = ""
    latents: Latents | None = None
    plain: Pixels | None = None
    drawn: Pixels | None = None
    words: list[str] = field(default_factory=list)


class Studio:
    """One generator, the photos that were given to it, and the generators that were tuned to them.

    All methods may be called from several threads.

    Args:
        memory: the folder where projections are remembered, or None.
        note: told what should appear in the terminal.
        metadata: write into pictures how they were made.
    """

    def __init__(
        self,
        loaded: LoadedGenerator,
        memory: Path | None = None,
        note: Callable[[str], None] = lambda text: None,
        *,
        metadata: bool = True,
    ) -> None:
        self.loaded, self._memory, self.note, self._metadata = loaded, memory, note, metadata
        self.networks = loaded.config.networks
        self.sha256 = weights_sha256(loaded.module)
        self.models: OrderedDict[str, LoadedGenerator] = OrderedDict({"": loaded})
        self._photos: OrderedDict[str, tuple[str, Pixels]] = OrderedDict()
        self._projections: OrderedDict[str, Projection] = OrderedDict()
        self._words: OrderedDict[tuple[str, str], Operand] = OrderedDict()
        self._strongest = lru_cache(1)(lambda model: components(self.model(model).module))  # for each step of a slider
        self._one_by_one = ThreadPoolExecutor(1, "projection")

    def close(self) -> None:
        """Stop projections, and wait until they have ended."""
        for projection in self._projections.values():
            projection.stop = True
        self._one_by_one.shutdown(cancel_futures=True)

    def model(self, name: str) -> LoadedGenerator:
        """The generator "", or one that was tuned. Raises: FaceganError: it is gone."""
        found = self.models.get(name)
        if found is None:
            raise FaceganError("The tuned generator of this photo is gone.", "Drop the photo again.")
        return found

    def draw(self, model: str, z: Latents) -> Pixels:
        """The faces of latents (N, width), uint8 (N, S, S, 3)."""
        loaded = self.model(model)
        return draw_faces(loaded.module, self.networks, self.checked(z))

    def checked(self, z: Latents, most: int = MAX_FACES) -> Latents:
        """The same latents. Raises: FaceganError: they are none of this generator, or too many."""
        widths = (self.networks.latent_dim, self.networks.latent_dim * self.networks.latent_rows)
        if z.ndim != 2 or z.shape[1] not in widths or not 1 <= len(z) <= most:
            raise FaceganError(f"From 1 to {most} latents of {self.networks.latent_dim} numbers were expected.")
        if not np.isfinite(z).all() or np.abs(z).max() > latents.MAX_VALUE:
            raise FaceganError("A latent holds numbers that no latent has.")
        return z

    def latents(self, seed: int, first: int, count: int) -> Latents:
        """The latents number `first`, `first` + 1, ... of a seed."""
        if not (0 <= seed <= latents.MAX_SEED and 1 <= count <= MAX_FACES and 0 <= first <= latents.MAX_INDEX - count):
            raise FaceganError("There is no such face.", f"A seed is a number from 0 to {latents.MAX_SEED}.")
        return latents.draw(seed, range(first, first + count), self.networks.latent_dim)

    @cached_property
    def attributes(self) -> Attributes | FaceganError:
        """The generator's attributes, or why there are none."""
        from facegan.editing.attributes import attributes_of

        try:
            return attributes_of(self.loaded)
        except FaceganError as error:
            return error

    def words(self, model: str, text: str) -> Operand:
        """The faces of a generator that words fit, which are averaged.

        Raises:
            UsageError: the words cannot be understood.
            FaceganError: the generator has no attributes.
        """
        from facegan.editing.words import faces_in_words

        if isinstance(self.attributes, FaceganError):
            raise self.attributes
        text = " ".join(text.split())
        if (model, text) not in self._words:
            self._words[model, text] = faces_in_words(self.model(model), self.attributes, text)
            while len(self._words) > _PHRASES:
                self._words.popitem(last=False)
        return self._words[model, text]

    def edit(self, model: str, z: Latents, changes: Sequence[str], keep: Sequence[str]) -> tuple[Latents, Pixels]:
        """A latent (width,) changed as `facegan edit` does it, and its face. Only that face is drawn.

        Args:
            changes: such as "Smiling=+2", or "3=+2" for a component.
            keep: names of attributes that stay.

        Raises:
            FaceganError: as the command.
        """
        from facegan.editing.edit import changed

        asked = [parse_change(text, component=text.partition("=")[0].isdecimal()) for text in changes]
        if check_changes(asked, steps=1, film=False):
            raise FaceganError("A slider has one value.")
        attributes = None if isinstance(self.attributes, FaceganError) else self.attributes
        if attributes is None and not all(change.component for change in asked):
            raise self.attributes  # type: ignore[misc]
        amounts = [(change, change.end) for change in asked]
        strongest = self._strongest(model) if any(change.component for change in asked) else None
        found = changed(attributes, strongest, self.checked(z[None])[0], amounts, keep)
        return found, self.draw(model, found[None])[0]

    # Photos.

    def add_photo(self, name: str, data: bytes, crop: str) -> tuple[str, str, Pixels]:
        """Find the face in a photo's bytes: its key, its name, and the aligned face. The photo itself is not kept.

        Raises:
            FaceganError: the photo cannot be used, with the reason.
        """
        name = visible(Path(name.replace("\\", "/")).name)[:80].replace(",", "").strip() or "photo"
        face = aligned_face(Path(name), data, self.networks.size, CROPS[crop])
        key = secrets.token_hex(8)
        self._photos[key] = (name, face)
        while len(self._photos) > _PHOTOS:
            self._photos.popitem(last=False)
        return key, name, face

    def project(self, photos: Sequence[str], plain: bool) -> str:
        """Begin to find the faces of photos, all together, and to tune a generator to them; returns a key.

        Raises:
            FaceganError: a photo is gone, there are too many, or too many projections wait.
        """
        if not photos or any(key not in self._photos for key in photos):
            raise FaceganError("The studio does not have this photo any more.", "Drop it again.")
        check_count(self.loaded, len(photos))
        if sum(each.state in ("waiting", "working") for each in self._projections.values()) > _WAITING:
            raise FaceganError("Too many photos wait already.", "Try again when one of them is done.")
        names, faces = zip(*(self._photos[key] for key in photos), strict=True)
        projection = Projection(list(names), np.stack(faces))
        key = secrets.token_hex(8)
        self._projections[key] = projection
        while len(self._projections) > 2 * _WAITING:
            oldest = next(key for key, each in self._projections.items() if each.state not in ("waiting", "working"))
            del self._projections[oldest]
        self._one_by_one.submit(self._work, projection, plain)
        return key

    def projection(self, key: str) -> tuple[Projection, int]:
        """A projection, and how many are before it. Raises: FaceganError: there is none."""
        found = self._projections.get(key)
        if found is None:
            raise FaceganError("This projection is gone.", "Drop the photo again.")
        before = 0
        for each in list(self._projections.values()):
            if each is found:
                break
            before += each.state in ("waiting", "working")
        return found, before

    def _work(self, job: Projection, plain: bool) -> None:
        def progress(done: int, total: int) -> None:
            if job.stop:
                raise _Stopped
            job.done, job.total = done, total

        def look(z: Latents) -> None:
            job.look = draw_faces(self.loaded.module, self.networks, z)
            job.looks += 1

        job.state = "stopped" if job.stop else "working"
        try:
            progress(0, 1)
            found = project_faces(
                self.loaded, job.names, job.faces, self._memory, plain=plain, on_progress=progress, on_look=look,
                note=self.note,
            )  # fmt: skip
        except _Stopped:
            job.state = "stopped"
        except FaceganError as error:
            job.state, job.error = "failed", error
        except Exception as error:
            what = "There is not enough memory for this" if is_out_of_memory(error) else first_line(error)
            job.state, job.error = "failed", FaceganError(f"{what}.")
            self.note(f"a projection failed: {type(error).__name__}: {first_line(error)}")
        else:
            job.latents, job.plain, job.drawn, job.words = found.latents, found.plain, found.drawn, found.words()
            if found.tuned:
                job.model = weights_sha256(found.loaded.module)[:16]
                self.models[job.model] = found.loaded
                while len(self.models) > 1 + _TUNED:
                    del self.models[list(self.models)[1]]
            job.done, job.state = job.total, "done"

    # Pictures, by the functions behind the commands.

    def picture(self, kind: str, asked: dict[str, Any], latents_of: dict[str, Latents], model: str) -> bytes:
        """A file as the command writes it that the page shows beside the picture.

        Args:
            kind: "face", "strip", "film" or "equation".
            asked: what that kind is told: `specs`, `signs`, `scale`, `steps`, `loop`, `fps`, `ending`.
            latents_of: latents of those items of SPECs that only the page knows. Others that are no numbers are words.

        Raises:
            FaceganError: as the command would; more frames than MAX_FRAMES.
        """
        loaded, ending, specs = self.model(model), asked["ending"], asked["specs"]
        scale = asked["scale"] or None
        scaled = ["--scale", str(scale)] if scale else []
        known = {name: latents.from_file(name, self.checked(z[None])) for name, z in latents_of.items()}
        for item in latents.items_of(specs):
            if item and item not in known and not latents.is_index(item):
                known[item] = self.words(model, item)
        with tempfile.TemporaryDirectory(prefix="facegan-studio-") as folder:
            path = Path(folder) / f"studio{ending}"
            if kind == "face":
                operand = compose.read_spec(loaded, specs[0], 0, known)
                face = enlarge(self.draw(model, compose.point(operand)[None])[0], scale or 1)
                words = ["--faces", specs[0], "--separate", *scaled]
                save_picture(face, path, origin=self._origin(model, "sample", words, operand.labels[0]))
            elif kind == "equation":
                terms = list(zip(asked["signs"], specs, strict=True))
                total, _ = compose.arithmetic(loaded, terms, seed=0, raw=False, scale=scale, known=known, out=path)
                words = [word for sign, spec in terms for word in ("--plus" if sign > 0 else "--minus", spec)]
                save_picture(total.picture, path, origin=self._origin(model, "arithmetic", scaled + words))
            else:
                count = (len(specs) - (not asked["loop"])) * (asked["steps"] - 1)
                if count > MAX_FRAMES:
                    raise FaceganError(f"A film of {count:,} frames is too long for the studio.", "Take fewer steps.")
                how: dict[str, Any] = {"steps": asked["steps"], "loop": asked["loop"], "seed": 0, "method": "slerp"}
                strip = path.with_suffix(".png")
                morph = compose.interpolate(loaded, specs, **how, scale=scale, known=known, out=strip)
                words = [word for spec in specs for word in ("--through", spec)] + ["--steps", str(asked["steps"])]
                words += ["--loop"] * asked["loop"] + ["--gif", "--fps", str(float(asked["fps"])), *scaled]
                made = self._origin(model, "interpolate", words)
                if kind == "strip":
                    save_picture(morph.strip(), path, origin=made)
                else:
                    expected = len(morph.order())
                    write_animation(morph.frames(), path, fps=asked["fps"], expected=expected, origin=made)
            return path.read_bytes()

    def _origin(self, model: str, command: str, words: Sequence[str], face: str = "") -> Origin | None:
        """What the command writes into its picture. Files of the page have no folders (`server._picture_asked`)."""
        if not self._metadata:
            return None
        name = TUNED if model else public_name(self.loaded.source)
        sha256 = weights_sha256(self.model(model).module) if model else self.sha256
        return Origin((command, name, *words), 0, name, sha256, face)


def latent_names(names: Sequence[str]) -> list[str]:
    """How `facegan project --out us.png` calls the latents of photos with these names: us-me.npy."""
    return [f"us-{stem}.npy" for stem in latents.distinct_stems([Path(name) for name in names])]
