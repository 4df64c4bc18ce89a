"""Draw faces in bounded memory: a generator and latents in, uint8 pictures out."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from facegan.config import Networks
from facegan.core.device import exact_float32, release_memory
from facegan.core.errors import FaceganError, is_out_of_memory
from facegan.core.pixels import Pixels, from_range, scaled, to_pixels, to_range
from facegan.faces.latents import Latents

_PIXELS_PER_BATCH = 64 * 64 * 64
"""64 faces of 64 px at a time: enough to keep the hardware busy, few enough for the memory of any machine."""


def at_once(size: int) -> int:
    """How many faces of `size` pixels a side are drawn at a time."""
    return max(1, _PIXELS_PER_BATCH // size**2)


@torch.no_grad()
def batches(generator: nn.Module, networks: Networks, latents: Latents) -> Iterator[Pixels]:
    """Draw the faces of `latents` (N, latent_dim), a few at a time: uint8 (n, size, size, 3).

    They are computed in float32 with the generator in eval mode; its former mode is restored afterwards. A face depends
    on its latent alone; another batch size or device changes it by at most the last bit or two of a pixel. If memory
    runs out, fewer faces are drawn at a time, down to one.

    Raises:
        FaceganError: there is not enough memory for a single face.
    """
    device = next(generator.parameters()).device
    was_training = generator.training
    generator.eval()
    step = min(len(latents), at_once(networks.size))
    start = 0
    try:
        while start < len(latents):
            faces = _drawn(generator, networks, latents[start : start + step])
            if faces is not None:
                yield faces
                start += len(faces)
            elif step > 1:
                release_memory(device)
                step //= 2
            else:
                raise FaceganError(
                    f"There is not enough memory to draw a single face of {networks.size} px.",
                    "End other programs that use it" + (", or use --device cpu." if device.type != "cpu" else "."),
                )
    finally:
        generator.train(was_training)


def _drawn(generator: nn.Module, networks: Networks, latents: Latents) -> Pixels | None:
    """The faces of all `latents` in one batch; None if memory runs out."""
    try:
        z = torch.from_numpy(np.ascontiguousarray(latents)).to(next(generator.parameters()).device)
        with exact_float32():
            return to_pixels(from_range(generator(z), *networks.pixel_range))
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        return None


def draw_faces(
    generator: nn.Module,
    networks: Networks,
    latents: Latents,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Pixels:
    """All faces of `latents` at once: uint8 (N, size, size, 3)."""
    found, done = [], 0
    for faces in batches(generator, networks, latents):
        found.append(faces)
        done += len(faces)
        on_progress(done, len(latents))
    return np.concatenate(found)


@torch.no_grad()
def critic_scores(critic: nn.Module, networks: Networks, faces: Pixels) -> NDArray[np.float32]:
    """How real a critic finds faces (N, size, size, 3): (N,), higher is better. Each face is scored alone.

    The critic is in eval mode: dropout drops nothing, and batch norm uses its running statistics.
    """
    device = next(critic.parameters()).device
    critic.eval()
    found = []
    for start in range(0, len(faces), step := at_once(networks.size)):
        images = scaled(torch.from_numpy(faces[start : start + step]).to(device))
        with exact_float32():
            found.append(critic(to_range(images, *networks.pixel_range)).float().cpu().numpy())
    return np.concatenate(found)
