"""Files of every format version, built here by hand, can be opened; files of a newer facegan are refused as newer.

From the first release on, people have files, which a new format version or a new entry in the configuration must not
make useless: tests may then be added below, but none may be changed.
"""

from __future__ import annotations

import copy
import hashlib
import io
import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from facegan.config import Config
from facegan.core.errors import FaceganError
from facegan.data import folder as dataset_folder
from facegan.data.dataset import Dataset
from facegan.models import checkpoint
from facegan.models.checkpoint import load_checkpoint, load_generator
from facegan.runs.folder import RunDir
from facegan.training.trainer import Trainer

ADAM_1 = {"lr": 0.001, "beta1": 0.0, "beta2": 0.99, "eps": 1e-08}
CONFIGS: dict[int, dict[str, Any]] = {
    1: {
        "preset": "dcgan",
        "seed": 0,
        "networks": {
            "family": "dcgan",
            "size": 32,
            "latent_dim": 8,
            "width": 4,
            "critic_width": 4,
            "max_width": 512,
            "slope": 0.2,
            "self_modulation": True,
            "depth": 1,
            "critic_depth": 0,
        },
        "training": {
            "epochs": 100,
            "images": 48,
            "batch_size": 4,
            "n_critic": 1,
            "update": "alternating",
            "objective": "r3gan",
            "penalty": "auto",
            "penalty_weight": 0.3,
            "generator": ADAM_1,
            "critic": ADAM_1,
            "ema_half_life": 10000,
            "decay": 0.4,
            "flip": True,
            "augment": 0,
            "precision": "fp32",
            "on_nan": "rollback",
        },
        "output": {
            "sample_every": 1,
            "checkpoint_every": 1,
            "evaluate_every": 0,
            "evaluate_count": 1000,
            "log_every": 10,
            "keep": 3,
            "tensorboard": False,
        },
    }
}
"""Format version -> a configuration as that version wrote it."""

BATCH_NORM = ("weight", "bias", "running_mean", "running_var")


def octave_1(octave: int, wide: int, narrow: int, residual: bool) -> dict[str, tuple[int, ...]]:
    norm = {
        **{f"norm.norm.{tensor}": (narrow,) for tensor in BATCH_NORM},
        "norm.norm.num_batches_tracked": (),
        "norm.modulation.weight": (2 * narrow, 8),
    }
    block = {"gain": (), "convolution.weight": (narrow, narrow, 3, 3), **norm}
    shapes: dict[str, tuple[int, ...]] = {"convolution.weight": (narrow, wide, 3, 3), **norm}
    if residual:
        shapes |= {f"residuals.0.{name}": shape for name, shape in block.items()}
    return {f"octaves.{octave}.{name}": shape for name, shape in shapes.items()}


SHAPES_1 = {
    "generator": {
        "project.weight": (256, 8),
        **{f"base_norm.{name}": (16,) for name in BATCH_NORM},
        "base_norm.num_batches_tracked": (),
        **octave_1(0, 16, 8, residual=True),
        **octave_1(1, 8, 4, residual=True),
        **octave_1(2, 4, 4, residual=False),
        "to_rgb.weight": (3, 4, 3, 3),
        "to_rgb.bias": (3,),
    },
    "critic": {
        **{
            f"downsample.{2 * n}.{name}": shape
            for n, (narrow, wide) in enumerate(((3, 4), (4, 8), (8, 16)))
            for name, shape in (("weight", (wide, narrow, 4, 4)), ("bias", (wide,)))
        },
        "score.weight": (1, 256),
        "score.bias": (1,),
    },
}


def weights_1(network: str) -> dict[str, torch.Tensor]:
    return {
        name: torch.tensor(0) if name.endswith("tracked") else torch.full(shape, 0.25)
        for name, shape in SHAPES_1[network].items()
    }


def optimiser_1(network: str) -> dict[str, Any]:
    names = [name for name in SHAPES_1[network] if not name.endswith(("tracked", "running_mean", "running_var"))]
    moments = {
        n: {"step": torch.tensor(3.0), **{m: torch.zeros(SHAPES_1[network][name]) for m in ("exp_avg", "exp_avg_sq")}}
        for n, name in enumerate(names)
    }
    group = {"lr": 0.001, "betas": (0.0, 0.99), "eps": 1e-08, "weight_decay": 0, "amsgrad": False, "maximize": False}
    switches = {"foreach": None, "capturable": False, "differentiable": False, "fused": True}
    return {"state": moments, "param_groups": [{**group, **switches, "params": list(range(len(names)))}]}


def checkpoint_1(config: dict[str, Any]) -> bytes:
    file = io.BytesIO()
    content = {
        "format_version": 1,
        "config": json.dumps(config),
        "provenance": "{}",
        "images_seen": 12,
        "rollbacks": 3,
        "generator": weights_1("generator"),
        "critic": weights_1("critic"),
        "averaged_generator": weights_1("generator"),
        "generator_optimiser": optimiser_1("generator"),
        "critic_optimiser": optimiser_1("critic"),
    }
    torch.save(content, file)
    return file.getvalue()


def generator_1(config: dict[str, Any], version: str = "1") -> bytes:
    """The layout of .safetensors by hand: length, header, numbers."""
    metadata = {"format": "facegan-generator", "format_version": version, "images_seen": "12", "weights": "averaged"}
    header: dict[str, Any] = {"__metadata__": {**metadata, "config": json.dumps(config), "provenance": "{}"}}
    body = b""
    for name, tensor in weights_1("generator").items():
        raw = tensor.numpy().astype("<i8" if tensor.dtype == torch.int64 else "<f4").tobytes()
        kind = "I64" if tensor.dtype == torch.int64 else "F32"
        header[name] = {"dtype": kind, "shape": list(tensor.shape), "data_offsets": [len(body), len(body) + len(raw)]}
        body += raw
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + body


def dataset_1(folder: Path, **changes: object) -> Path:
    folder.mkdir()
    pixels = np.arange(2 * 32 * 32 * 3).astype(np.uint8)
    head = "{'descr': '|u1', 'fortran_order': False, 'shape': (2, 32, 32, 3), }"
    (folder / "images.npy").write_bytes(b"\x93NUMPY\1\0\x76\0" + head.ljust(117).encode() + b"\n" + pixels.tobytes())
    facts = {
        "format_version": 1,
        "facegan": "0.1.0",
        "count": 2,
        "size": 32,
        "source": {"name": "photos", "kind": "folder", "celeba": False, "photos": 2},
        "crop": {"name": "square"},
        "filter": "lanczos",
        "skipped": 0,
        "duplicates": 0,
        "attributes": [],
        "pixels_sha256": hashlib.sha256(pixels.tobytes()).hexdigest(),
        "settings": {"size": 32},
    }
    (folder / "dataset.json").write_text(json.dumps({**facts, **changes}), "utf-8")
    return folder


CHECKPOINTS: dict[int, Callable[[dict[str, Any]], bytes]] = {1: checkpoint_1}
GENERATORS: dict[int, Callable[[dict[str, Any]], bytes]] = {1: generator_1}
DATASETS: dict[int, Callable[[Path], Path]] = {1: dataset_1}


@pytest.mark.parametrize("version", range(1, checkpoint.FORMAT_VERSION + 1))
def test_checkpoints_of_every_version_open_and_go_on(tmp_path, version):
    (tmp_path / "c.pt").write_bytes(CHECKPOINTS[version](CONFIGS[version]))
    found = load_checkpoint(tmp_path / "c.pt")
    assert found.images_seen == 12
    trainer = Trainer(found.config, torch.device("cpu"))
    trainer.load_state(found.state)
    assert trainer.rollbacks == 3
    assert float(trainer.generator.state_dict()["project.weight"].sum()) == 0.25 * 256 * 8


@pytest.mark.parametrize("version", range(1, checkpoint.GENERATOR_VERSION + 1))
def test_generators_of_every_version_open(tmp_path, version):
    (tmp_path / "g.safetensors").write_bytes(GENERATORS[version](CONFIGS[version]))
    found = load_generator(tmp_path / "g.safetensors")
    assert (found.images_seen, found.weights) == (12, "averaged")
    assert found.module(torch.zeros(2, 8)).shape == (2, 3, 32, 32)


@pytest.mark.parametrize("version", range(1, dataset_folder.FORMAT_VERSION + 1))
def test_datasets_of_every_version_open(tmp_path, version):
    dataset = Dataset(DATASETS[version](tmp_path / "d"), 0)
    assert dataset.images[1, 0, 0].tolist() == [0, 1, 2]


def test_a_checkpoint_passes_through_the_migrations_to_the_newest_version(tmp_path, monkeypatch):
    """What a version 2 would do: one entry gets another name, and a function says how."""
    (tmp_path / "c.pt").write_bytes(checkpoint_1(CONFIGS[1]))
    monkeypatch.setattr(checkpoint, "FORMAT_VERSION", 2)
    with pytest.raises(FaceganError, match="unknown format version 1"):
        load_checkpoint(tmp_path / "c.pt")
    monkeypatch.setitem(checkpoint.MIGRATIONS, 1, lambda content: {**content, "format_version": 2, "images_seen": 24})
    assert load_checkpoint(tmp_path / "c.pt").images_seen == 24


@pytest.mark.parametrize("version", CONFIGS)
def test_configurations_of_every_version_open(tmp_path, version):
    (tmp_path / "config.json").write_text(json.dumps(CONFIGS[version]), "utf-8")
    assert RunDir(tmp_path).read_config().networks.latent_dim == 8


def newer_checkpoint(folder: Path) -> None:
    content = torch.load(io.BytesIO(checkpoint_1(CONFIGS[1])), weights_only=True)
    torch.save({**content, "format_version": checkpoint.FORMAT_VERSION + 1, "surprise": 1}, folder / "c.pt")
    load_checkpoint(folder / "c.pt")


def newer_generator(folder: Path) -> None:
    newer = str(checkpoint.FORMAT_VERSION + 1)
    (folder / "g.safetensors").write_bytes(generator_1({"surprise": 1}, newer))
    load_generator(folder / "g.safetensors")


def newer_dataset(folder: Path) -> None:
    Dataset(dataset_1(folder / "d", format_version=dataset_folder.FORMAT_VERSION + 1, surprise=1), 0)


@pytest.mark.parametrize("make", [newer_checkpoint, newer_generator, newer_dataset])
def test_newer_versions_are_refused_before_anything_in_them_is_judged(tmp_path, make):
    with pytest.raises(FaceganError, match="was written by a newer facegan") as caught:
        make(tmp_path)
    assert "pip install --upgrade" in caught.value.hint


@pytest.mark.parametrize("place", ["", "networks", "training", "training.generator", "training.critic", "output"])
def test_an_unknown_entry_of_a_configuration_says_newer(tmp_path, place):
    config = copy.deepcopy(CONFIGS[1])
    node = config
    for name in filter(None, place.split(".")):
        node = node[name]
    node["surprise"] = 1
    with pytest.raises(FaceganError, match="unknown entry 'surprise', perhaps of a newer facegan"):
        Config.from_dict(config)
    for name, write in (("c.pt", checkpoint_1), ("g.safetensors", generator_1)):
        (tmp_path / name).write_bytes(write(config))
        with pytest.raises(FaceganError, match=f"{name}.*newer facegan"):
            load_generator(tmp_path / name)


def test_an_unknown_entry_of_a_dataset_says_newer(tmp_path):
    with pytest.raises(FaceganError, match="unknown entry 'surprise', perhaps of a newer facegan"):
        Dataset(dataset_1(tmp_path / "d", surprise=1), 0)
