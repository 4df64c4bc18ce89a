"""The named attributes of a generator's faces: learnt, kept in a file beside the generator, and found again."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from facegan.core.atomic import write_atomic
from facegan.core.errors import FaceganError, UsageError, first_line, is_there, listing, reading, typed
from facegan.core.pixels import Pixels
from facegan.core.random_streams import Stream, rng
from facegan.core.strictjson import parse_json
from facegan.data.columns import Column, read_columns
from facegan.data.dataset import Dataset
from facegan.editing.classifier import STEPS, Classifier, learn, outputs
from facegan.editing.photos import weights_sha256
from facegan.faces.latents import Latents
from facegan.faces.synthesis import draw_faces
from facegan.models.checkpoint import LoadedGenerator, check_header
from facegan.models.pretrained import PATH
from facegan.models.torchzip import DamagedError
from facegan.models.validate import MisfitError, check_weights

FORMAT, VERSION = "facegan-attributes", 1
FILE = "attributes.safetensors"
MOST = 200
"""Most attributes in a file."""

JUDGEMENTS = ("Attractive", "Big_Lips", "Big_Nose", "Chubby", "Double_Chin", "Narrow_Eyes", "Pale_Skin", "Pointy_Nose", "race")
"""Columns that judge people, or sort them by looks that nobody chooses. They are learnt only if they are named."""
KEPT = ("Male", "Young", "Eyeglasses", "Smiling", "gender", "age")
"""What an edit leaves alone unless it is told otherwise, where the table has it."""
LEAST_ACCURACY = 0.65
"""Least balanced accuracy of the classifier on photos that it never saw; guessing has 0.5. Of numbers, least R2 is 0.3."""
LEAST_EXPLAINED = 0.15
"""Least R2 of a score that is linear in the latent."""
LEAST_DRAWN = 0.005
"""Least share of the generator's faces in which the rarer of yes and no is seen."""


@dataclass(frozen=True)
class Attribute:
    """One attribute of a generator's faces.

    Attributes:
        name: as in the dataset's table, such as "Smiling" or "age".
        numeric: whether it is a number such as an age; else it is yes or no.
        accuracy: of the classifier on photos that it never saw: the share that is right, or R2 for a number.
        explained: R2 of the linear score on latents from which it was not learnt.
        refused: why it can neither be edited nor named, in words; "" if it can.
    """

    name: str
    numeric: bool
    accuracy: float
    explained: float
    refused: str = ""


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
    """

    known: tuple[Attribute, ...]
    weights: NDArray[np.float32]
    mean: NDArray[np.float32]
    std: NDArray[np.float32]
    keep: tuple[str, ...]
    classifier: Classifier
    generator: str = ""

    def find(self, name: str) -> int:
        """The number of an attribute in `known`, in any case, with or without "_", spaces and "-".

        Raises:
            UsageError: there is none of that name, with the nearest ones; or it is refused, with the reason.
        """
        names = {_plain(attribute.name): at for at, attribute in enumerate(self.known)}
        if (at := names.get(_plain(name))) is None:
            usable = {_plain(attribute.name): attribute.name for attribute in self.known if not attribute.refused}
            near = [usable[word] for word in get_close_matches(_plain(name), usable, 3, 0.6)] or sorted(usable.values())
            raise UsageError(f"There is no attribute {name[:80]!r}.", f"Known: {', '.join(near)}.")
        if self.known[at].refused:
            raise UsageError(f"{self.known[at].name} cannot be used: {self.known[at].refused}.")
        return at

    def scores(self, faces: Pixels) -> NDArray[np.float32]:
        """The standardised scores of faces, uint8 (N, S, S, 3), by the classifier: float32 (N, A)."""
        return (outputs(self.classifier, faces) - self.mean) / self.std


def _plain(name: str) -> str:
    return re.sub(r"[\s_-]+", "", name.casefold())
