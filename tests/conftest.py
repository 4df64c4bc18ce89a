"""Tiny configurations and datasets that several tests share."""

from __future__ import annotations

import gc
import io
import os
import re
import signal
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"  # of this process and of all that the tests start: tiny tensors need no more

import numpy as np
import pytest
import torch
import typer

from facegan.cli.app import app, main, options_of
from facegan.config import Config, DcganNetworks, KerasNetworks
from facegan.core.pixels import to_images
from facegan.data.writer import DatasetWriter
from facegan.editing.attributes import Attribute, Attributes
from facegan.editing.classifier import Classifier, rounded
from facegan.editing.learning import directions_of
from facegan.editing.scorer import Scorer
from facegan.faces.latents import draw
from facegan.faces.synthesis import draw_faces
from facegan.models.checkpoint import LoadedGenerator, save_loaded, weights_sha256
from facegan.networks import build_generator
from facegan.presets import PRESETS

# A suite that nohup or a shell's "&" has started ignores SIGHUP or SIGINT. Programs that the tests start would inherit
# that, and facegan leaves ignored signals ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)
if hasattr(signal, "SIGHUP"):
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


def tiny(preset: str) -> Config:
    """The preset with all that makes it what it is, but narrow and at 32 px: a step takes milliseconds.

    In float32 on every processor, as tests compare numbers; a test of bf16 asks for it.
    """
    config = PRESETS[preset]
    overrides: dict[str, object] = {
        "training.batch_size": 4,
        "training.images": 48,
        "training.precision": "fp32",
        "networks.latent_dim": 8,
        "networks.size": 32,
    }
    if isinstance(config.networks, DcganNetworks):
        overrides |= {"networks.width": 4, "networks.critic_width": 4}
    elif isinstance(config.networks, KerasNetworks):
        overrides |= {"networks.generator_widths": (8, 6, 4), "networks.critic_widths": (4, 6)}
    return config.override(overrides)


def write_dataset(path: Path, count: int, size: int = 32, seed: int = 0) -> Path:
    """A dataset of smooth random colours: `count` images, all different."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (count, 4, 4, 3), np.uint8)
    images = coarse.repeat(size // 4, axis=1).repeat(size // 4, axis=2)
    with DatasetWriter(path, size) as writer:
        writer.write(images, [f"{n:03d}.png" for n in range(count)])
        writer.finish(source={"name": "synthetic"}, crop={"name": "square"}, filter="none")
    return path


def made_up(generator: torch.nn.Module, known: tuple[Attribute, ...], keep: tuple[str, ...] = ()) -> Attributes:
    """Attributes of a generator, with latents of 8 numbers, that nobody has learnt: all weights are chance."""
    count, draw = len(known), np.random.default_rng(0)
    zeros, ones = np.zeros(count, np.float32), np.ones(count, np.float32)
    weights = draw.standard_normal((8, count)).astype(np.float32)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        networks = rounded(Classifier(count).eval()), rounded(Scorer(8, count).eval())
    return Attributes(known, weights, zeros, ones, keep, networks[0], weights_sha256(generator), networks[1], ones)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what needs a CUDA device where there is none."""
    if not torch.cuda.is_available():
        needs = [item for item in items if item.get_closest_marker("cuda")]
        config.hook.pytest_deselected(items=needs)
        items[:] = [item for item in items if item not in needs]


def pytest_collection_finish(session: pytest.Session) -> None:
    """All that is imported by now stays: the garbage collector need not look through it in every test again."""
    gc.collect()
    gc.freeze()


def pytest_unconfigure() -> None:
    gc.unfreeze()  # else torch's bindings complain at exit of what was never collected


@pytest.fixture
def workdir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder that is also the current one: commands look for data/ and runs/ there."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="session")
def tiny_extractor() -> str:
    """The name of a feature extractor that takes no time: a picture's 4 x 4 mean colours, in units of 255."""
    from torch_fidelity import FeatureExtractorBase
    from torch_fidelity.registry import FEATURE_EXTRACTORS_REGISTRY, register_feature_extractor

    class Tiny(FeatureExtractorBase):
        def __init__(self, name: str, features_list: list[str], **_: object) -> None:
            super().__init__(name, features_list)

        def forward(self, images: torch.Tensor) -> tuple[torch.Tensor]:
            return (torch.nn.functional.adaptive_avg_pool2d(images.float() / 255, 4).flatten(1),)

        @staticmethod
        def get_provided_features_list() -> tuple[str, ...]:
            return ("48",)

        @staticmethod
        def get_default_feature_layer_for_metric(metric: str) -> str:
            return "48"

    if "tiny" not in FEATURE_EXTRACTORS_REGISTRY:
        register_feature_extractor("tiny", Tiny)
    return "tiny"


_OPTIONS = {name: options_of([name]) for name in typer.main.get_command(app).commands}
_OTHER_PROGRAM = re.compile(r"(?:pip install|torchrun) .*")
_COMMAND = re.compile(r"facegan ([a-z]+)([^,;:]*)")
_OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]*")


def check_hint(words: list[str], said: str) -> None:
    """A hint names only options that the command has which was run, or the one that stands before them in the hint."""
    for hint in re.findall(r"^hint:  (.*)", said, re.MULTILINE):
        text = _OTHER_PROGRAM.sub("", hint)
        for command, rest in [*_COMMAND.findall(text), (words[0] if words else "", _COMMAND.sub("", text))]:
            unknown = set(_OPTION.findall(rest)) - _OPTIONS.get(command, set()) - {"--help"}
            assert not unknown, f"facegan {' '.join(words)} gives a hint with {unknown}: {hint}"


def cli(*words: object) -> tuple[int, str, str]:
    """Run the real command line in this process: exit code, stdout and stderr."""
    out, err = io.StringIO(), io.StringIO()
    old = sys.argv
    sys.argv = ["facegan", *map(str, words)]
    try:
        with redirect_stdout(out), redirect_stderr(err):
            main()
        code: object = 0
    except SystemExit as stop:
        code = stop.code or 0
    finally:
        sys.argv = old
    assert isinstance(code, int)
    check_hint([str(word) for word in words], err.getvalue())
    return code, out.getvalue(), err.getvalue()


class Colours(torch.nn.Module):
    """A classifier that needs no photos: it finds the first three numbers of a face's latent in its colours, linearly.

    They stand for Smiling, Male and Eyeglasses; half of the faces have each.
    """

    NAMES = ("Smiling", "Male", "Eyeglasses")

    def __init__(self, z: np.ndarray, faces: np.ndarray) -> None:
        super().__init__()
        colours = self.colours(to_images(faces, torch.device("cpu")))
        self.mean = torch.nn.Parameter(colours.mean(0))
        wanted = 4 * torch.from_numpy(z[:, : len(self.NAMES)])
        self.weights = torch.nn.Parameter(torch.linalg.lstsq(colours - self.mean, wanted).solution)
        self.requires_grad_(False)

    @staticmethod
    def colours(images: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.adaptive_avg_pool2d(images, 4).flatten(1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return (self.colours(images) - self.mean) @ self.weights


@pytest.fixture(scope="session")
def known() -> tuple[LoadedGenerator, Attributes]:
    """A tiny generator, and attributes of its faces that are learnt as those of a real one are."""
    config = tiny("dcgan")
    torch.manual_seed(0)
    loaded = LoadedGenerator(build_generator(config).eval(), config, 0, "raw", {}, Path("g.safetensors"))
    attributes = [Attribute(name, False, 0.9, 0.0, balanced=0.9) for name in Colours.NAMES]
    z = draw(1, range(500), 8)
    classifier = Colours(z, draw_faces(loaded.module, config.networks, z))
    return loaded, directions_of(loaded, classifier, attributes, faces=1000)


@pytest.fixture
def ckpt_with_words(known: tuple[LoadedGenerator, Attributes], workdir: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The generator of `known` as g.safetensors in the current folder, with its attributes."""
    loaded, attributes = known
    for module in ("attributes", "words"):
        monkeypatch.setattr(f"facegan.editing.{module}.attributes_of", lambda _: attributes)
    return save_loaded(loaded, workdir / "g.safetensors")
