"""A generator as one HTML file that draws faces in any browser, from the disk and without a network.

The page is the studio's (`facegan/studio/static`), with another model behind it: `page/model.js` draws with the
generator inside the file, in workers. The weights are in half precision, and batch norm is a scale and a shift.
"""

from __future__ import annotations

import base64
import copy
import hashlib
import html
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from facegan.config import DcganNetworks
from facegan.core.atomic import write_atomic
from facegan.core.errors import FaceganError, typed
from facegan.core.version import __version__
from facegan.editing.attributes import Attributes, attributes_of
from facegan.editing.components import components
from facegan.export.bundle import bundle
from facegan.export.card import licence_of
from facegan.faces.latents import draw
from facegan.faces.synthesis import draw_faces
from facegan.models.checkpoint import LoadedGenerator, weights_sha256
from facegan.models.hub import known_name
from facegan.networks import dcgan

_OWN = Path(__file__).parent / "page"
_STUDIO = Path(__file__).parent.parent / "studio" / "static"
"""Files, not modules: this package imports nothing of the studio."""
COMPONENTS = 12
"""Most sliders of a generator whose faces have no named attributes."""
_LANES = 8
"""Channels are filled up to a multiple of this, which `page/conv.c` needs."""
_CHECKED = 16
"""Faces that are drawn to see what half precision changes."""

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Exported:
    """An HTML file that was written.

    Attributes:
        path: the file.
        difference: how far a byte of a face may be from the exact generator's, because the weights are halves.
        unnamed: why the sliders have no names; "" if they have.
    """

    path: Path
    difference: int
    unnamed: str


def export_html(loaded: LoadedGenerator, path: Path, *, new: bool = False) -> Exported:
    """Write a generator as one HTML file.

    Args:
        new: replace no existing file.

    Raises:
        FaceganError: the page cannot draw this family, the weights do not fit into half precision, or the file cannot
            be written.
    """
    networks = loaded.config.networks
    if not isinstance(networks, DcganNetworks):
        raise FaceganError(
            f"The page can only draw with networks of the family dcgan, and this generator is of the family "
            f"{networks.family}.",
            "`facegan export --to onnx` takes every family; onnxruntime-web draws with it in a browser.",
        )
    unnamed, attributes = "", None
    try:
        attributes = attributes_of(loaded)
    except FaceganError as error:
        unnamed = error.message
    packed = _Packed()
    packed.generator(loaded.module, networks)
    if attributes:
        packed.scorer(attributes)
    directions = [] if attributes else list(components(loaded.module)[:COMPONENTS])
    packed.singles += directions
    network = _network(networks) | {
        "halves": sum(each.size for each in packed.halves),
        "singles": sum(each.size for each in packed.singles),
        "attributes": len(attributes.known) if attributes else 0,
        "components": len(directions),
    }
    no_names = FaceganError("no names", "They are learnt by: facegan attributes")
    info = page_facts(loaded, _word(loaded), weights_sha256(loaded.module), attributes or no_names, len(directions))
    info["can"] = {"photo": False, "training": False, "film": False, "words": False}
    content = _page(loaded, {"info": info, "network": network}, packed)
    difference = _difference(loaded)
    return Exported(write_atomic(path, content, new=new), difference, unnamed)


class _Packed:
    """Numbers in the order in which `page/drawing.js` takes them: halves first, then those that must be exact."""

    def __init__(self) -> None:
        self.halves: list[Numbers] = []
        self.singles: list[Numbers] = []

    def bytes(self) -> bytes:
        half = np.concatenate([each.ravel() for each in self.halves])
        if not np.abs(half).max() < 65504:  # the largest half; also false for a NaN
            raise FaceganError("The weights of this generator do not fit into half precision.", "Export it as ONNX.")
        single = np.concatenate([np.asarray(each).ravel() for each in self.singles])
        return half.astype("<f2").tobytes() + single.astype("<f4").tobytes()

    def generator(self, module: Any, networks: DcganNetworks) -> None:
        """All weights of `networks.dcgan.Generator`."""
        channels, side, _ = module.base
        project = _numbers(module.project.weight).reshape(channels, side * side, -1)
        self.halves.append(_filled(project, 0).transpose(2, 1, 0))
        self._folded(module.base_norm, 1.0)
        for octave in module.octaves:
            self._convolution(octave.convolution)
            self._norm(octave.norm, 1.0)
            for residual in octave.residuals:
                self._convolution(residual.convolution)
                self._norm(residual.norm, float(residual.gain.detach()))
        self._convolution(module.to_rgb)
        self.singles.append(_numbers(module.to_rgb.bias))

    def scorer(self, attributes: Attributes) -> None:
        """The network from which edits get their slopes (`editing.scorer`)."""
        scorer = attributes.scorer
        layers = (scorer.first, scorer.second, scorer.last)
        self.halves += [_numbers(scorer.linear.weight)]
        self.halves += [_numbers(part) for layer in layers for part in (layer.weight, layer.bias)]
        self.singles.append(attributes.step.astype(np.float64))

    def _convolution(self, layer: nn.Conv2d) -> None:
        """(outs / 8, 3, 3, channels, 8)."""
        weight = _filled(_filled(_numbers(layer.weight), 0), 1)
        self.halves.append(weight.reshape(-1, _LANES, *weight.shape[1:]).transpose(0, 3, 4, 2, 1))

    def _norm(self, layer: Any, gain: float) -> None:
        """gain·norm(x), modulated: x·scale·(1 + a(z)) + shift·(1 + a(z)) + gain·b(z)."""
        if layer.modulation is not None:
            scale, shift = np.split(_numbers(layer.modulation.weight), 2)
            self.halves.append(np.concatenate([_filled(scale, 0), _filled(shift, 0)]).T)
        self._folded(layer.norm, gain)
        self.singles.append(np.array([gain]))

    def _folded(self, norm: nn.BatchNorm2d, gain: float) -> None:
        assert norm.running_var is not None and norm.running_mean is not None
        scale = _numbers(norm.weight) / np.sqrt(_numbers(norm.running_var) + norm.eps)
        shift = _numbers(norm.bias) - _numbers(norm.running_mean) * scale
        self.singles += [_filled(gain * scale, 0), _filled(gain * shift, 0)]


def _numbers(tensor: Tensor) -> Numbers:
    return tensor.detach().cpu().double().numpy()


def _filled(array: Numbers, axis: int) -> Numbers:
    """Zeros are added at the end of an axis, until its length is a multiple of `_LANES`."""
    more = [(0, 0)] * array.ndim
    more[axis] = (0, -array.shape[axis] % _LANES)
    return np.pad(array, more)


def _network(networks: DcganNetworks) -> dict[str, Any]:
    widths = dcgan.generator_widths(networks)
    return {
        "latent_dim": networks.latent_dim,
        "widths": [width + -width % _LANES for width in widths],
        "depths": [*[networks.depth] * (len(widths) - 2), 0],
        "modulated": networks.self_modulation,
    }


def page_facts(
    loaded: LoadedGenerator, word: str, sha256: str, found: Attributes | FaceganError, directions: int
) -> dict[str, Any]:
    """What the page must know of a generator before it shows anything, in the studio too.

    Args:
        word: how commands name it.
        found: its attributes, or why there are none.
        directions: how many components are sliders in their place.
    """
    networks = loaded.config.networks
    attributes: dict[str, Any] = {"known": [], "components": directions}
    if isinstance(found, FaceganError):
        attributes |= {"error": found.message, "hint": found.hint}
    else:
        known = [{"name": one.name, "explained": one.explained, "refused": one.refused} for one in found.known]
        attributes |= {"known": known, "keep": list(found.keep)}
    return {
        "word": word,
        "sha256": sha256[:16],
        "latent_dim": networks.latent_dim,
        "rows": networks.latent_rows,
        "size": networks.size,
        "models": [],
        "attributes": attributes,
    }


def _word(loaded: LoadedGenerator) -> str:
    """How a command names the generator, without the folders of this machine."""
    return known_name(loaded.source) or typed(Path(loaded.source.name))


def _difference(loaded: LoadedGenerator) -> int:
    """How far apart bytes of faces are that are drawn with the weights and with their halves."""
    networks, halved = loaded.config.networks, copy.deepcopy(loaded.module)
    with torch.no_grad():
        for parameter in halved.parameters():
            if parameter.ndim > 1:
                parameter.copy_(parameter.half())
    z = draw(0, range(_CHECKED), networks.latent_dim)
    exact, found = (draw_faces(each, networks, z).astype(int) for each in (loaded.module, halved))
    return int(np.abs(exact - found).max())


def worker_script() -> str:
    """What the page's workers run: the generator."""
    return bundle({path.name: path.read_text("utf-8") for path in _OWN.glob("*.js")}, "drawing.js")


def page_script() -> str:
    """What the page runs: the studio's modules, with `page/model.js` in the place of the studio's."""
    return bundle(
        {path.name: path.read_text("utf-8") for path in (*_STUDIO.glob("*.js"), *_OWN.glob("*.js"))}, "app.js"
    )


def _page(loaded: LoadedGenerator, facts: dict[str, Any], packed: _Packed) -> str:
    """The studio's index.html, with everything inside, and with a policy that lets nothing in or out."""
    script, style = page_script(), (_STUDIO / "style.css").read_text("utf-8") + _STYLE
    policy = "; ".join(
        [
            "default-src 'none'",
            f"script-src '{_digest(script)}' 'wasm-unsafe-eval'",
            f"style-src '{_digest(style)}'",
            *("worker-src blob:", "child-src blob:", "img-src data: blob:", "base-uri 'none'", "form-action 'none'"),
        ]
    )
    icon = "data:image/svg+xml;base64," + _base64((_STUDIO / "icon.svg").read_bytes())
    data = {
        "facts": json.dumps(facts).replace("<", "\\u003c"),
        "drawing": worker_script(),
        "convolution": _base64((_OWN / "conv.wasm").read_bytes()),
        "weights": _base64(packed.bytes()),
    }
    blocks = "".join(f'<script type="text/plain" id="{name}">{text}</script>\n' for name, text in data.items())
    page = (_STUDIO / "index.html").read_text("utf-8")
    for old, text in {
        '<meta charset="utf-8">\n': (
            f'<meta charset="utf-8">\n<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        ),
        'href="icon.svg"': f'href="{icon}"',
        '<link rel="stylesheet" href="style.css">\n': f"<style>{style}</style>\n",
        '<script type="module" src="app.js"></script>\n': "",
        "</header>\n": _about(loaded) + "</header>\n",
        "</body>\n": f"{blocks}<script>{script}</script>\n</body>\n",
    }.items():
        assert page.count(old) == 1, f"the studio's page has no {old!r} any more"
        page = page.replace(old, text)
    assert "</script" not in script + data["drawing"] and "</style" not in style
    return page


_STYLE = """
.about { margin-left: auto; }
.about .entries { width: min(380px, calc(100vw - 2 * var(--edge))); padding: 16px 18px; gap: 10px; }
.about p { font-size: 0.9rem; line-height: 1.45; }
@media (max-width: 760px) { nav { order: 1; width: calc(100% + 16px); } .about { margin-top: 4px; } }
.about code { font: 0.8rem/1.4 var(--mono); overflow-wrap: anywhere; }
"""


def _about(loaded: LoadedGenerator) -> str:
    """The corner of the page that says what it is."""
    networks = loaded.config.networks
    made = f"The generator draws {networks.size} pixels a side and has seen {loaded.images_seen:,} images."
    lines = [
        "<strong>These people do not exist.</strong> A neural network inside this file draws them, on your own "
        "computer. It needs no network and sends nothing.",
        html.escape(f"facegan {__version__}. {made}"),
        *(f"{name}: {html.escape(text)}" for name, text in _notes(loaded)),
        f"Make such a file: <code>{html.escape(f'facegan export {_word(loaded)} --to html')}</code>",
    ]
    text = "".join(f"<p>{line}</p>" for line in lines)
    return f'  <details class="menu about"><summary>About</summary><div class="entries">{text}</div></details>\n'


def _notes(loaded: LoadedGenerator) -> Iterator[tuple[str, str]]:
    yield "Licence", licence_of(loaded) or "nobody has stated one; ask whoever gave you this file"
    if data := loaded.notes.get("training_data"):
        yield "Trained on", data


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _digest(text: str) -> str:
    return "sha256-" + _base64(hashlib.sha256(text.encode()).digest())
