"""facegan from Python: load a generator, draw with it, train one. `docs/python.md` has examples.

The command line does the same through the same functions; nothing here prints.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from facegan.core.device import choose_device
from facegan.core.errors import FaceganError, UsageError
from facegan.core.pixels import Pixels
from facegan.data.dataset import Dataset
from facegan.faces import latents
from facegan.faces.compose import best_faces, point, read_spec, sample_latents
from facegan.faces.latents import Latents, Operand
from facegan.faces.synthesis import draw_faces
from facegan.models.checkpoint import LoadedGenerator
from facegan.pictures import sheets
from facegan.runs.find import find_generator, open_generator

if TYPE_CHECKING:
    from PIL.Image import Image

    from facegan.data.preprocess import PreprocessResult
    from facegan.editing.attributes import Attributes
    from facegan.editing.photos import Projected
    from facegan.evaluation.scores import Report
    from facegan.runs.events import Event

Name = str | os.PathLike[str]
Face = int | str | ArrayLike
"""An index on the sheet of a seed, a SPEC such as "7:44", "1-10" or "smiling woman", or a latent, (latent_dim,); of
several, (K, latent_dim), the average."""


class Model:
    """A generator to draw with. Latents are float32 (N, latent_dim), faces uint8 (N, size, size, 3).

    Attributes:
        loaded: the network, its configuration and where it comes from.
        latent_dim, size: numbers in a latent, and pixels on a face's side.
    """

    def __init__(self, loaded: LoadedGenerator) -> None:
        self.loaded = loaded
        self.latent_dim = loaded.config.networks.latent_dim
        self.size = loaded.config.networks.size

    def __repr__(self) -> str:
        return f"<facegan.Model of {self.loaded.source}: {self.size} px, {self.loaded.images_seen:,} images seen>"

    def latents(
        self, count: int = 1, seed: int = 0, *, first: int = 0, truncation: float = 1.0, of: int | None = None
    ) -> Latents:
        """Latents number `first`, `first` + 1, ... of a seed: those that `facegan sample --seed` draws.

        Args:
            of: instead, the best `count` of the first `of`, by the scores of the generator's critic; the best first.

        Raises:
            UsageError: `of` is less than `count`.
            FaceganError: with `of`, the file has no critic.
        """
        if of is not None:
            return best_faces(self.loaded, count, of=of, seed=seed, truncation=truncation).latents
        return sample_latents(self.loaded, seed, range(first, first + count), truncation)

    def draw(self, z: ArrayLike) -> Pixels:
        """The faces of latents (N, latent_dim), or the face (size, size, 3) of one latent (latent_dim,).

        Raises:
            UsageError: latents of another shape.
        """
        faces = draw_faces(
            self.loaded.module,
            self.loaded.config.networks,
            self._checked(z, f"Latents of this generator are (N, {self.latent_dim})"),
        )
        return faces[0] if np.ndim(z) == 1 else faces

    def sample(self, count: int = 1, seed: int = 0, *, truncation: float = 1.0, of: int | None = None) -> Pixels:
        """New faces: number 0, 1, ... of a seed; with `of`, the best `count` of that many, as in `latents`."""
        return self.draw(self.latents(count, seed, truncation=truncation, of=of))

    def face(self, face: Face, *, seed: int = 0) -> Latents:
        """The latent, (latent_dim,), of a face that is named in any way; an average is brought to the prior's norm.

        Args:
            seed: whose faces are meant by an index, and looked through for words.
        """
        return point(self._operand(face, seed))

    @cached_property
    def attributes(self) -> Attributes:
        """What is known of this generator's faces: `.known` lists the attributes that `edit` and words may name.

        Raises:
            FaceganError: nobody has learnt them; the hint says how.
        """
        from facegan.editing.attributes import attributes_of

        return attributes_of(self.loaded)

    def edit(self, face: Face, *, keep: Sequence[str] | str | None = None, seed: int = 0, **changes: float) -> Latents:
        """A face's latent after a change of its attributes, such as smiling=+2: (latent_dim,), or (N, latent_dim).

        All attributes are changed together; the norm stays. Several latents (N, latent_dim) are each changed.

        Args:
            keep: attributes that stay, or one; by default sex, age, glasses and smile, except those that are changed.
            seed: as in `face`.
            changes: attribute or everyday word -> how far: +2 gives most faces what they lack.

        Raises:
            UsageError: an attribute is not known or cannot be changed, or is changed by more than 6.
        """
        from facegan.editing.edit import changed_latents

        named = isinstance(face, (int, str, np.integer))
        z = self.face(face, seed=seed) if named else self._checked(face, f"Latents are (N, {self.latent_dim})")
        moved = changed_latents(self.attributes, z, changes, [keep] if isinstance(keep, str) else keep)
        return moved if named or np.ndim(face) == 2 else moved[0]

    def interpolate(self, *faces: Face, steps: int = 10, method: str = "slerp", loop: bool = False) -> Latents:
        """Latents, (N, latent_dim), on the way through two or more faces: `steps` from each to the next, both counted.

        Raises:
            UsageError: fewer than two faces, fewer than two steps, or an unknown method.
        """
        if len(faces) < 2 or steps < 2 or method not in latents.METHODS:
            raise UsageError(f"A walk needs two faces or more, two steps or more, and {' or '.join(latents.METHODS)}.")
        points = latents.alike([self.face(face) for face in faces])
        walk, _ = latents.path(np.stack(points), steps, method, loop)
        return walk

    def arithmetic(
        self, plus: Sequence[Face] = (), minus: Sequence[Face] = (), *, raw: bool = False, seed: int = 0
    ) -> Latents:
        """The sum of some faces' latents minus others', (latent_dim,), brought to the prior's norm unless `raw`.

        Args:
            seed: as in `face`.

        Raises:
            UsageError: no face is given.
        """
        if not (*plus, *minus):
            raise UsageError("There is nothing to add.")
        signs = [1] * len(plus) + [-1] * len(minus)
        return latents.signed_sum(signs, [self._operand(face, seed).mean for face in (*plus, *minus)], raw=raw)

    def project(
        self,
        photos: Name | Sequence[Name],
        *,
        crop: str = "face",
        plain: bool = False,
        seed: int = 0,
        memory: Name | None = None,
    ) -> Projection:
        """Find the faces of photos, and tune a copy of the generator until it draws them; this one is not changed.

        Args:
            crop: how photos are cut, as `facegan preprocess --crop` takes it. "face" needs the extra `faces`.
            plain: only find the nearest faces; do not tune.
            seed: of the samples that the search begins from.
            memory: a folder where results are remembered, so that the same call takes no time again.

        Raises:
            FaceganError: a photo cannot be used, with the reason.
        """
        from facegan.data.crops import parse_crop
        from facegan.editing.photos import project_photos

        names = [photos] if isinstance(photos, (str, os.PathLike)) else photos
        paths, folder = [Path(name) for name in names], None if memory is None else Path(memory)
        if not paths:
            raise UsageError("There is no photo to project.")
        found = project_photos(self.loaded, paths, folder, crop=parse_crop(crop), plain=plain, seed=seed)
        return Projection(Model(found.loaded), found.latents, found)

    def export(self, path: Name, *, wide: bool = False, overwrite: bool = False) -> Path:
        """Write the generator as one HTML file that draws faces, or as an ONNX file; returns its path.

        An ONNX file is first checked against torch by onnxruntime.

        Args:
            path: ends in .html or .onnx.
            wide: an ONNX file takes wide latents, as `project` finds them for photos. A page takes both kinds.
            overwrite: replace an existing file.

        Raises:
            FaceganError: the extra `onnx` is not installed, the page cannot draw this family of networks, the file
                exists, or another ending is given.
        """
        path = Path(path)
        ending = path.suffix.lower()
        if ending not in (".html", ".onnx"):
            raise UsageError(f"{path} is not a file that facegan can export.", "End its name in .html or .onnx.")
        if path.exists() and not overwrite:
            raise FaceganError(f"{path} exists already.", "Choose another name, or say overwrite=True.")
        if ending == ".html":
            if wide:
                raise UsageError("Only an ONNX file can be wide.", "A page takes both kinds of latents anyway.")
            from facegan.export.html import export_html

            return export_html(self.loaded, path, new=not overwrite).path
        from facegan.export.onnx import export_onnx

        return export_onnx(self.loaded, path, wide=wide, new=not overwrite).path

    def push(
        self,
        repository: str,
        *,
        licence: str | None = None,
        private: bool = False,
        agreed: bool = False,
        overwrite: bool = False,
    ) -> str:
        """Put the generator on the Hugging Face Hub as `user/name`; returns its page. As `facegan push`.

        Args:
            licence: an identifier of the Hub's, such as "mit", or a sentence.
            private: make a new repository private.
            agreed: the people in the photos that it was tuned to agree.
            overwrite: add a new version to a repository that has one.

        Raises:
            FaceganError: the extra `hub` is not installed, you are not logged in, or there is such a generator.
        """
        from facegan.export.push import address_to_push, files_to_push, push

        address = address_to_push(repository)
        files = files_to_push(self.loaded, address, licence=licence, agreed=agreed)
        return push(files, address, private=private, overwrite=overwrite)

    def _operand(self, face: Face, seed: int = 0) -> Operand:
        if isinstance(face, (int, str, np.integer)):
            from facegan.editing.words import find_words

            spec = str(face)
            return read_spec(self.loaded, spec, seed, find_words(self.loaded, latents.items_of([spec]), seed))
        z = self._checked(face, f"A face is an index, a SPEC, or latents of {self.latent_dim} numbers")
        return Operand(z, ("",) * len(z), "")

    def _checked(self, given: ArrayLike, wanted: str) -> Latents:
        """One latent or several as (N, latent_dim). The error for anything else begins with `wanted`."""
        z = np.asarray(given, np.float32)
        widths = (self.latent_dim, self.latent_dim * self.loaded.config.networks.latent_rows)
        if z.ndim not in (1, 2) or z.shape[-1] not in widths or not z.size:
            raise UsageError(f"{wanted}, not {z.shape}.")
        return np.atleast_2d(z)


@dataclass(frozen=True)
class Projection:
    """Photos as faces of a generator.

    Attributes:
        model: the tuned generator.
        latents: float32, one for each photo; `model.draw(latents)` draws the photos. They may be wide: one latent for
            each place where a latent enters the generator, side by side.
        found: the aligned `photos`, what the untouched generator draws (`plain`), what `model` draws (`drawn`), and how
            near it comes (`words()`).
    """

    model: Model
    latents: Latents
    found: Projected

    def __repr__(self) -> str:
        return f"<facegan.Projection of {', '.join(self.found.names)}>"


def load(generator: Name | None = "pretrained", device: str = "auto") -> Model:
    """Load a generator: "pretrained", a .pt, a .safetensors, a run's folder or hf://user/name; None: the newest run's.

    Only hf://user/name downloads anything; it needs the extra `hub`.

    Raises:
        FaceganError: there is no such generator or device, or the file is damaged.
    """
    path, _ = find_generator(None if generator is None else Path(generator))
    return Model(open_generator(path, choose_device(device)))


def sheet(faces: Pixels, labels: Sequence[str] | None = None, *, scale: int | None = None) -> Image:
    """A contact sheet of faces (N, S, S, 3), or one face, as a PIL image: a notebook shows it.

    Args:
        labels: N texts to write under them.
        scale: how many times faces are enlarged; by default small ones are brought to about 128 pixels.
    """
    from PIL.Image import fromarray

    faces = np.asarray(faces)
    return fromarray(sheets.sheet(faces if faces.ndim == 4 else faces[None], labels, scale=scale))


def preprocess(source: Name | Sequence[Name], *, size: int = 64, out: Name | None = None, **options: Any) -> Path:
    """Make a dataset of photos; returns its folder. Keywords are those of `facegan preprocess`.

    Raises:
        FaceganError: the source holds no usable photo, the dataset exists with other settings, or cannot be written.
    """
    from facegan.data.preprocess import preprocess as work

    several = not isinstance(source, (str, os.PathLike))
    paths = [Path(path) for path in source] if several else Path(source)  # type: ignore[union-attr, arg-type]
    result: PreprocessResult = work(paths, size=size, out=None if out is None else Path(out), **options)
    return result.path


def train(
    data: Name,
    *,
    preset: str | None = None,
    start: Name | None = None,
    name: str | None = None,
    device: str = "auto",
    on_event: Callable[[Event], None] = lambda event: None,
    **settings: Any,
) -> Path:
    """Train a generator on a dataset; returns the run's folder, which `load` takes.

    Args:
        data: the dataset's folder.
        start: a generator, a checkpoint or a run to start from.
        on_event: called with every step, row, file and note, as `facegan.runs.events` defines them.
        settings: fields of the configuration under the names of `facegan train`'s flags, such as images=20_000,
            batch_size=8, width=16, evaluate_every=1; or under their paths, such as "training.critic.beta1".

    Raises:
        UsageError: an unknown preset or setting, or a value out of range.
        FaceganError: as `facegan train`.
    """
    from facegan.runs.events import Noted
    from facegan.runs.flags import AUTO, FIELDS, to_overrides
    from facegan.runs.plan import plan_new
    from facegan.runs.train import check_extras
    from facegan.runs.train import train as work

    if unknown := sorted(name for name in settings if name not in FIELDS and "." not in name):
        raise UsageError(f"There is no setting {unknown[0]!r}.", f"Known: {', '.join(FIELDS)}.")
    overrides = to_overrides({name: value for name, value in settings.items() if name in FIELDS})
    overrides |= {path: value for path, value in settings.items() if path not in FIELDS}
    origin = None if start is None else find_generator(Path(start))[0]
    fitting = (lambda text: on_event(Noted(text))) if settings.get("batch_size") == AUTO else None
    plan = plan_new(Path(data), preset, overrides, device, origin, auto_batch=fitting)
    check_extras(plan)
    return work(plan, name, command=["facegan.train"], on_event=on_event).path


def evaluate(
    model: Model,
    data: Name,
    *,
    features: str | None = None,
    count: int | None = None,
    photos: int | None = None,
    seed: int = 0,
    truncation: float = 1.0,
) -> Report:
    """How far a model's faces are from a dataset's photos: `.scores` has fd, kid, precision and recall.

    Args:
        features: the extractor's name, such as "facegan-attributes"; by default the one of ImageNet that needs no
            download.
        count: samples; None for as many as there are photos, at most 10,000.
        photos: photos to compare with; None for as many as samples.
        seed, truncation: of the samples.

    Raises:
        FaceganError: the extra `metrics` is not installed, or sizes differ.
    """
    from facegan.editing.features import open_features
    from facegan.evaluation.comparison import Comparison
    from facegan.evaluation.extractors import OFFLINE
    from facegan.evaluation.scores import evaluate as work

    device = next(model.loaded.module.parameters()).device
    extractor = open_features(features or OFFLINE, device)
    comparison = Comparison(model.loaded, Dataset(Path(data), 0), extractor, seed, truncation)
    return work(comparison, count=count, photos=photos)


__all__ = ["FaceganError", "Model", "UsageError", "evaluate", "load", "preprocess", "sheet", "train"]
