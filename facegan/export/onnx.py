"""A generator as an ONNX file, for programs without torch: browsers, telephones, C++. Needs the extra `onnx`.

The graph maps `latents` (N, latent_dim) to two outputs, of which a program takes the one that it wants: `images`,
float32 (N, 3, size, size) in [-1, 1], and `pixels`, uint8 (N, size, size, 3), as a picture file holds them. N is free.
"""

from __future__ import annotations

import copy
import warnings
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from facegan.core.atomic import write_atomic
from facegan.core.errors import FaceganError, UsageError, needed
from facegan.core.pixels import from_range
from facegan.core.version import __version__
from facegan.faces.latents import draw
from facegan.models.checkpoint import LoadedGenerator, weights_sha256

if TYPE_CHECKING:
    from onnx import ModelProto

OPSET = 17
"""Version of the ONNX operators. onnxruntime knows it since 1.12 (2022), and so does onnxruntime-web."""
TOLERANCE = 1e-3
"""Largest difference from torch's images, which lie in [-1, 1]; a step between two bytes is 8e-3."""
_BATCHES = (1, 15)
"""How many faces are drawn at a time to compare an exported graph with torch: two sizes, as N is free."""


@dataclass(frozen=True)
class Exported:
    """An ONNX file that was written.

    Attributes:
        path: the file.
        checked: faces that onnxruntime and torch both drew.
        difference: the largest difference between their images, which lie in [-1, 1].
    """

    path: Path
    checked: int
    difference: float


class _Drawing(nn.Module):
    """Latents -> images in [-1, 1] and the bytes of their pixels, as `core.pixels.to_pixels` rounds them."""

    def __init__(self, loaded: LoadedGenerator) -> None:
        super().__init__()
        self.generator = copy.deepcopy(loaded.module).cpu().float()
        self.range = loaded.config.networks.pixel_range
        self.eval()

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        images = from_range(self.generator(z), *self.range)
        pixels = images.add(1).mul(127.5).round().clamp(0, 255).to(torch.uint8)
        return images, pixels.permute(0, 2, 3, 1)


def export_onnx(loaded: LoadedGenerator, path: Path, *, wide: bool = False, new: bool = False) -> Exported:
    """Write a generator as an ONNX file, after onnxruntime has drawn the same faces with it as torch.

    Args:
        wide: the graph takes wide latents (N, latent_rows * latent_dim), as `facegan project` finds them for photos.
        new: replace no existing file.

    Raises:
        UsageError: `wide`, and the latent enters the generator in one place only.
        FaceganError: the extra `onnx` is missing, the file cannot be written, or onnxruntime draws other faces; then
            nothing is written.
    """
    networks = loaded.config.networks
    if wide and networks.latent_rows == 1:
        raise UsageError("The latent enters this generator in one place only, so no latents are wide.")
    with needed(str(path), "onnx", "onnx onnxruntime"):
        import onnx
        import onnxruntime  # noqa: F401
    width = networks.latent_dim * (networks.latent_rows if wide else 1)
    drawing = _Drawing(loaded)
    model = _graph(drawing, width)
    _describe(model, loaded, width)
    onnx.checker.check_model(model, full_check=True)
    content = model.SerializeToString()
    difference = _difference(content, drawing, width)
    if not difference <= TOLERANCE:
        raise FaceganError(
            f"onnxruntime draws other faces than torch: they differ by up to {difference:.2g}, so nothing was written.",
            "Upgrade: pip install --upgrade torch onnx onnxruntime",
        )
    return Exported(write_atomic(path, content, new=new), sum(_BATCHES), difference)


def _graph(drawing: _Drawing, width: int) -> ModelProto:
    import onnx

    with TemporaryDirectory() as folder, torch.no_grad(), warnings.catch_warnings():
        file = Path(folder) / "graph.onnx"
        warnings.simplefilter("ignore")  # the exporter that needs no further package is called the older one
        torch.onnx.export(
            drawing,
            (torch.zeros(2, width),),
            str(file),
            input_names=["latents"],
            output_names=["images", "pixels"],
            dynamic_axes={name: {0: "N"} for name in ("latents", "images", "pixels")},
            opset_version=OPSET,
            dynamo=False,
        )
        return onnx.load(file)


def _describe(model: ModelProto, loaded: LoadedGenerator, width: int) -> None:
    """Write into the file what a program needs to draw with it, and what a person should know."""
    networks = loaded.config.networks
    model.producer_name, model.producer_version = "facegan", __version__
    facts = {
        **loaded.notes,
        "latent_dim": width,
        "latents": "N(0, 1)",
        "pixel_range": "-1 1",
        "size": networks.size,
        "images_seen": loaded.images_seen,
        "preset": loaded.config.preset,
        "weights": loaded.weights,
        "weights_sha256": weights_sha256(loaded.module),
    }
    del model.metadata_props[:]
    for key, value in facts.items():
        model.metadata_props.add(key=key, value=str(value))


def _difference(content: bytes, drawing: _Drawing, width: int) -> float:
    """The largest difference between images of onnxruntime and torch; infinite if a byte is off by more than one."""
    import onnxruntime

    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    largest, start = 0.0, 0
    for count in _BATCHES:
        z = draw(0, range(start, start + count), width)
        start += count
        images, pixels = session.run(["images", "pixels"], {"latents": z})
        with torch.no_grad():
            expected, bytes_expected = (found.numpy() for found in drawing(torch.from_numpy(z)))
        if images.shape != expected.shape or np.abs(pixels.astype(int) - bytes_expected).max() > 1:
            return float("inf")
        largest = max(largest, float(np.abs(images - expected).max()))
    return largest
