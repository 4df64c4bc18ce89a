"""The named attributes of a generator's faces: learnt, kept in a file beside the generator, and found again."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from facegan.core.atomic import write_atomic
from facegan.core.errors import FaceganError, UsageError, first_line, is_there, listing, reading, typed
from facegan.core.pixels import Pixels
from facegan.core.strictjson import parse_json
from facegan.editing.classifier import Classifier, outputs
from facegan.editing.scorer import Scorer
from facegan.models.checkpoint import LoadedGenerator, check_header, weights_sha256
from facegan.models.hub import address_of
from facegan.models.pretrained import PATH
from facegan.models.torchzip import DamagedError
from facegan.models.validate import check_weights

FORMAT, VERSION = "facegan-attributes", 1
FILE = "attributes.safetensors"
MOST = 200
"""Most attributes in a file."""
_NUMBERS = "weights", "mean", "std", "step"
_NAMES = "attributes*.safetensors"
_MAKE = "Make it again: facegan attributes CKPT --data DATASET"


@dataclass(frozen=True)
class Attribute:
    """One attribute of a generator's faces.

    Attributes:
        name: as in the dataset's table, such as "Smiling" or "age".
        numeric: whether it is a number such as an age; else it is yes or no.
        accuracy: of the classifier on photos that it never saw: the share that is right, or R2 for a number.
        explained: R2 of the score that is told from the latent alone, on latents from which that was not learnt.
        balanced: the mean of the shares that are right among yes and among no, of which guessing has 0.5; R2 for a
            number. Where few photos are yes, accuracy alone says little.
        refused: why it can neither be edited nor named, in words; "" if it can.
    """

    name: str
    numeric: bool
    accuracy: float
    explained: float
    refused: str = ""
    balanced: float = 1.0


@dataclass(frozen=True, eq=False)
class Attributes:
    """What a generator's faces may be called, and where in latent space.

    Attributes:
        known: A attributes, those that are refused among them.
        weights: float32 (latent_dim, A): the standardised score of the face of z is about z @ weights, with mean 0
            and standard deviation 1 over the prior.
        mean, std: float32 (A,), of the classifier's outputs on the generator's own faces.
        keep: names of attributes that edits leave alone unless they are told otherwise.
        classifier: from which all this was learnt; it has A outputs.
        generator: SHA-256 of the generator's weights, from `weights_sha256`.
        scorer: tells the standardised scores from z better than `weights` do.
        step: float32 (A,): how many standard deviations of the score one unit of an edit is, 1 or more.
    """

    known: tuple[Attribute, ...]
    weights: NDArray[np.float32]
    mean: NDArray[np.float32]
    std: NDArray[np.float32]
    keep: tuple[str, ...]
    classifier: Classifier
    generator: str
    scorer: Scorer
    step: NDArray[np.float32]

    def find(self, name: str) -> int:
        """The number of an attribute in `known`, in any case, with or without "_", spaces and "-".

        Raises:
            UsageError: there is none of that name, with the nearest ones; or it is refused, with the reason.
        """
        names = {plain_name(attribute.name): at for at, attribute in enumerate(self.known)}
        if (at := names.get(plain_name(name))) is None:
            usable = {plain_name(attribute.name): attribute.name for attribute in self.known if not attribute.refused}
            near = get_close_matches(plain_name(name), usable, 3, 0.6)
            known = [usable[word] for word in near] or sorted(usable.values())
            raise UsageError(f"There is no attribute {name[:80]!r}.", f"Known: {', '.join(known)}.")
        if self.known[at].refused:
            raise UsageError(f"{self.known[at].name} cannot be used: {self.known[at].refused}.")
        return at

    def scores(self, faces: Pixels) -> NDArray[np.float32]:
        """The standardised scores of faces, uint8 (N, S, S, 3), by the classifier: float32 (N, A)."""
        return (outputs(self.classifier, faces) - self.mean) / self.std


def plain_name(name: str) -> str:
    """A name without case, "_", "-" and spaces: attributes are known by it."""
    return re.sub(r"[\s_-]+", "", name.casefold())


def save_attributes(found: Attributes, path: Path, *, notes: dict[str, str] | None = None, new: bool = False) -> Path:
    """Write attributes, whole or not at all: the classifier in half precision, the other tensors in float32.

    Args:
        notes: further metadata, such as a licence.
        new: replace no existing file.
    """
    tensors = {f"classifier.{name}": _half(tensor) for name, tensor in found.classifier.state_dict().items()}
    tensors |= {f"scorer.{name}": _half(tensor) for name, tensor in found.scorer.state_dict().items()}
    for name in _NUMBERS:
        tensors[name] = torch.tensor(getattr(found, name))
    content = {"known": [asdict(attribute) for attribute in found.known], "keep": list(found.keep)}
    metadata = {
        "format": FORMAT,
        "format_version": str(VERSION),
        "generator_sha256": found.generator,
        "attributes": json.dumps(content),
        **(notes or {}),
    }
    return write_atomic(path, save(tensors, metadata), new=new)


def _half(tensor: Tensor) -> Tensor:
    tensor = tensor.detach().cpu().contiguous()
    return tensor.half() if tensor.is_floating_point() else tensor


def load_attributes(path: Path) -> Attributes:
    """Read a file of attributes; memory and time are at most in proportion to its size, whatever is in it.

    Raises:
        FaceganError: it is missing, damaged, something else, or of a newer version.
    """
    facts = metadata(path)
    if facts.get("format") != FORMAT:
        raise FaceganError(f"{path} is not a file of attributes.", _MAKE)
    if (version := facts.get("format_version", "")) != str(VERSION):
        raise FaceganError(f"{path} has the unknown format version {version[:80]!r}.", "Perhaps facegan is too old.")
    try:
        with reading(path), safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118, it is not a dict
        content = parse_json(facts["attributes"], f"{path}: its attributes")
        known = tuple(map(_attribute, content["known"]))
        names = [plain_name(attribute.name) for attribute in known]
        if not 1 <= len(known) <= MOST or len(set(names)) < len(names):
            raise ValueError("it has no attributes, too many, or two of a name")
        keep = tuple(content["keep"])
        if not set(keep) <= {attribute.name for attribute in known if not attribute.refused}:
            raise ValueError("it keeps an attribute that it does not have")
        sha256 = facts["generator_sha256"]
        weights, mean, std, step = numbers = [tensors.pop(name).numpy() for name in _NUMBERS]
        if not (
            weights.ndim == 2
            and weights.shape[1] == len(known)
            and mean.shape == std.shape == step.shape == (len(known),)
        ):
            raise ValueError("the shapes of its tensors do not fit each other")
        if any(x.dtype != np.float32 or not np.isfinite(x).all() for x in numbers) or std.min() <= 0 or step.min() <= 0:
            raise ValueError("its tensors are not finite float32 numbers, or one that must be positive is not")
        classifier = _filled(tensors, "classifier", lambda: Classifier(len(known)))
        scorer = _filled(tensors, "scorer", lambda: Scorer(len(weights), len(known)))
        if tensors:
            raise ValueError(f"it has the unknown tensor {min(tensors)[:80]!r}")
    except (SafetensorError, OSError, KeyError, ValueError, TypeError) as error:
        raise FaceganError(f"{path} is damaged: {first_line(error)}.", _MAKE) from None
    return Attributes(known, weights, mean, std, keep, classifier, sha256, scorer, step)


def _attribute(entry: Any) -> Attribute:
    """An attribute from JSON. Raises: TypeError, ValueError: it is not as `save_attributes` wrote it."""
    found = Attribute(**entry)
    kinds = (str, bool, float, float, str, float)
    if any(type(value) is not kind for value, kind in zip(asdict(found).values(), kinds, strict=True)):
        raise ValueError("an attribute has a value of another kind")
    if not found.name or len(found.name) + len(found.refused) > 1000:
        raise ValueError("an attribute has no name, or too long a text")
    return found


Network = TypeVar("Network", bound=nn.Module)


def _filled(tensors: dict[str, Tensor], prefix: str, build: Callable[[], Network]) -> Network:
    """The network whose tensors have this prefix, checked and in eval mode; they are taken out of `tensors`."""
    own = {name.partition(".")[2]: tensors.pop(name) for name in list(tensors) if name.startswith(f"{prefix}.")}
    with torch.device("meta"):
        blueprint = build()
    check_weights(own, blueprint, prefix)
    network = build()
    network.load_state_dict({n: t.float() if t.is_floating_point() else t for n, t in own.items()})
    return network.eval().requires_grad_(False)


def metadata(path: Path) -> dict[str, str]:
    """The metadata of a .safetensors file. Raises: FaceganError: it is none, or may not be read."""
    if not is_there(path) or not path.is_file():
        raise FaceganError(f"{path} does not exist or is not a file.", _MAKE)
    try:
        check_header(path)
        with reading(path), safe_open(path, framework="np") as file:
            return file.metadata() or {}
    except (SafetensorError, OSError, DamagedError) as error:
        raise FaceganError(f"{path} is not a .safetensors file, or is damaged: {first_line(error)}.", _MAKE) from None


def attributes_of(loaded: LoadedGenerator) -> Attributes:
    """The attributes of a generator, as `find_attributes` finds them.

    Raises:
        FaceganError: there is none, or it is damaged.
    """
    if found := find_attributes(loaded):
        return found[1]
    given = "" if loaded.source == PATH else f" {typed(loaded.source)}"
    raise FaceganError(
        f"{loaded.source} has no attributes yet: nobody has taught facegan what its faces show.",
        f"Learn them from a dataset with a table of attributes: facegan attributes{given} --data DATASET",
    )


def find_attributes(loaded: LoadedGenerator) -> tuple[Path, Attributes] | None:
    """The file that was made for a generator, and its attributes; a tuned generator has those of its origin.

    Looked at are the files named attributes*.safetensors beside the generator and in the folder above, in outputs/, in
    the folders of runs/, and in the package; the first that was made for this generator is taken. None: there is none.

    Raises:
        FaceganError: it is damaged, or attributes.safetensors beside the generator is.
    """
    wanted = origin(loaded)
    for path in _candidates(loaded.source):
        try:
            facts = metadata(path)
        except FaceganError:
            if path == loaded.source.parent / FILE:
                raise
            continue
        if facts.get("generator_sha256") == wanted:
            return path, load_attributes(path)
    return None


def origin(loaded: LoadedGenerator) -> str:
    """The SHA-256 of the weights of a generator, or of the one from which it was tuned."""
    return loaded.notes.get("tuned_from") or weights_sha256(loaded.module)


def place_for(loaded: LoadedGenerator, out: Path | None = None, overwrite: bool = False) -> Path:
    """Where to write the attributes of a generator: a place where `attributes_of` finds them, or `out`.

    That is beside the generator, or in its run's folder; in outputs/ for the generator in the package, for one from the
    Hub, and for one in a folder where this user may not write. Where a file of another generator has the name, a part
    of the hash is added.

    Raises:
        FaceganError: there is something already, and `overwrite` is not given.
    """
    folder = loaded.source.parent
    if folder.name == "checkpoints" and is_there(folder.parent / "config.json"):
        folder = folder.parent
    if folder == PATH.parent or address_of(loaded.source) or not os.access(folder, os.W_OK):
        folder = Path("outputs")
    path = out or folder / FILE
    if out is None and path.is_file() and not _is_of(path, digest := origin(loaded)):
        path = folder / _NAMES.replace("*", f"-{digest[:8]}")
    if is_there(path) and not (overwrite and path.is_file()):
        raise FaceganError(
            f"{path} exists already.", "Add --overwrite to replace it, or choose another name with --out."
        )
    return path


def is_looked_at(loaded: LoadedGenerator, path: Path) -> bool:
    """Whether `attributes_of` looks at this file, which is there."""
    return any(path.samefile(each) for each in _candidates(loaded.source))


def _is_of(path: Path, generator: str) -> bool:
    """Whether a file holds the attributes of the generator with this SHA-256."""
    try:
        return metadata(path).get("generator_sha256") == generator
    except FaceganError:
        return False


def _candidates(source: Path) -> Iterator[Path]:
    own = [folder for folder in (source.parent, source.parent.parent) if folder != PATH.parent]
    runs = sorted(listing(Path("runs")), reverse=True)
    for folder in dict.fromkeys([*own, Path("outputs"), *runs, PATH.parent]):
        if folder.is_dir():
            yield from sorted(path for path in listing(folder) if path.match(_NAMES))
