"""The classifier of attributes as a feature extractor: a second way to measure faces, without ImageNet."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from facegan.core.pixels import scaled
from facegan.editing.attributes import load_attributes
from facegan.editing.classifier import Classifier
from facegan.evaluation.extractors import Extractor, check_installed, open_extractor
from facegan.models.checkpoint import weights_sha256
from facegan.models.pretrained import ATTRIBUTES

NAME = "facegan-attributes"


class _Features(nn.Module):
    """uint8 (B, 3, S, S) -> a tuple of what the classifier's last layer sees, (B, 512)."""

    def __init__(self, classifier: Classifier) -> None:
        super().__init__()
        self.classifier = classifier

    def forward(self, images: Tensor) -> tuple[Tensor]:
        return (self.classifier.features(scaled(images.permute(0, 2, 3, 1))),)


def open_features(name: str, device: torch.device) -> Extractor:
    """The extractor `facegan-attributes`, or one of torch-fidelity's registry: `evaluation.extractors.open_extractor`.

    It is always the classifier in the package, whatever is measured, so that figures can be compared as long as that
    is the same; `Extractor.library` has its hash.

    Raises:
        FaceganError, UsageError: as `open_extractor`.
    """
    if name != NAME:
        return open_extractor(name, device)
    check_installed()
    classifier = load_attributes(ATTRIBUTES).classifier.to(device)
    width = classifier.head.in_features
    library = f"facegan's classifier {weights_sha256(classifier)[:16]}"
    return Extractor(NAME, str(width), _Features(classifier).eval(), device, library)
