"""Checkpoints, generators and latents from people who mean harm: refused in a sentence, and nothing is run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import hostile
import numpy as np
import pytest
import torch
from conftest import cli, tiny, write_dataset
from hostile import CHECKPOINTS, GENERATORS, LATENT_DIM, LATENTS, TRAP, sentence

from facegan.core.errors import FaceganError
from facegan.faces.latents import load_latents
from facegan.models.checkpoint import load_checkpoint, load_generator, save_checkpoint, save_generator
from facegan.models.torchzip import read_torch_zip
from facegan.runs.folder import RunDir
from facegan.training.trainer import Trainer

EXTRA_MEGABYTES = 256
"""What opening any of these may need beside the program itself."""


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a checkpoint after one step of its optimisers, and its generator."""
    folder = tmp_path_factory.mktemp("honest")
    trainer = Trainer(tiny("dcgan"), torch.device("cpu"))
    for network, optimiser in (
        (trainer.generator, trainer.generator_optimiser),
        (trainer.critic, trainer.critic_optimiser),
    ):
        for parameter in network.parameters():
            parameter.grad = torch.ones_like(parameter)
        optimiser.step()
    save_checkpoint(folder / "c.pt", trainer.config, {"facegan": "test"}, trainer.state())
    save_generator(
        folder / "g.safetensors", trainer.generator, trainer.config, images_seen=0, weights="raw", provenance={}
    )
    return folder


@pytest.fixture(scope="module")
def lair(honest: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with every hostile file."""
    folder = tmp_path_factory.mktemp("lair")
    checkpoint, generator = (honest / "c.pt").read_bytes(), (honest / "g.safetensors").read_bytes()
    files = {f"{name}.pt": make(checkpoint) for name, make in CHECKPOINTS.items()}
    files |= {f"{name}.safetensors": make(generator) for name, make in GENERATORS.items()}
    files |= {f"{name}.npy": raw for name, raw in LATENTS.items()}
    for name, raw in files.items():
        (folder / name).write_bytes(raw)
    return folder


def test_honest_files_open(honest, tmp_path):
    """Also when taken apart and put together by the tools that make the hostile ones: it is not those that offend."""
    whole = (honest / "c.pt").read_bytes()
    for same in (hostile.edited(lambda content: None), hostile.repacked(lambda members: None)):
        (tmp_path / "c.pt").write_bytes(same(whole))
        assert load_checkpoint(tmp_path / "c.pt").provenance == {"facegan": "test"}
    (tmp_path / "own.pt").write_bytes(hostile.with_tensor(4, 1, (3,), (1,))(b""))
    assert torch.equal(read_torch_zip(tmp_path / "own.pt")["generator"], torch.zeros(3))
    same = hostile.reheaded(lambda header: None)
    (tmp_path / "g.safetensors").write_bytes(same((honest / "g.safetensors").read_bytes()))
    assert load_generator(tmp_path / "g.safetensors").weights == "raw"


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_hostile_checkpoints_are_refused(lair, workdir, name):
    assert f"{name}.pt" in sentence(lambda: load_generator(lair / f"{name}.pt"))


@pytest.mark.parametrize("name", GENERATORS)
def test_hostile_generators_are_refused(lair, workdir, name):
    assert f"{name}.safetensors" in sentence(lambda: load_generator(lair / f"{name}.safetensors"))


@pytest.mark.parametrize("name", LATENTS)
@pytest.mark.filterwarnings("error")
def test_hostile_latents_are_refused(lair, workdir, name):
    assert f"{name}.npy" in sentence(lambda: load_latents(lair / f"{name}.npy", LATENT_DIM))


@pytest.mark.parametrize("suffix", [".pt", ".safetensors", ".npy"])
def test_what_is_no_file_is_not_read(tmp_path, suffix):
    """A pipe would wait for ever, and a device would never end."""
    for path in hostile.not_files(tmp_path, suffix):
        sentence(lambda path=path: load_latents(path, 8) if suffix == ".npy" else load_generator(path))


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("calls-eval", "was not opened: 'builtins.eval'"),
        ("nan-in-the-generator", "generator: project.weight holds values that are not finite"),
        ("inf-in-the-critic", "critic: downsample.0.weight holds values that are not finite"),
        ("huge-networks", "does not fit its own configuration: generator: project.weight has the shape"),
        ("version-3", "newer facegan"),
        ("an-unknown-entry", "newer facegan"),
        ("an-unknown-setting", "newer facegan"),
        ("another-family", "unknown network family 'stylegan'"),
        ("200-mb-in-200-kb", "is compressed"),
        ("200000-members", "its table of contents is longer than"),
        ("overlapping-members", "overlap"),
        ("a-storage-larger-than-its-member", "numbers are not in the file"),
    ],
)
def test_the_sentence_says_what_is_wrong(lair, name, says):
    assert says in sentence(lambda: load_checkpoint(lair / f"{name}.pt"))


def test_a_flipped_byte_is_noticed_or_does_not_matter(honest, tmp_path):
    """Checksums guard every number and the program; what they do not guard, such as padding, says nothing."""
    whole = (honest / "c.pt").read_bytes()
    expected = load_checkpoint(honest / "c.pt")
    rng = np.random.default_rng(0)
    refused = 0
    for at in rng.integers(0, len(whole), 150):
        raw = bytearray(whole)
        raw[at] ^= 1 << rng.integers(8)
        (tmp_path / "c.pt").write_bytes(raw)
        try:
            found = load_checkpoint(tmp_path / "c.pt")
        except FaceganError:
            refused += 1
            continue
        assert found.config == expected.config
        for name in ("generator", "critic", "averaged_generator"):
            for key, tensor in expected.state[name].items():
                assert torch.equal(found.state[name][key], tensor), (at, name, key)
    assert refused > 50


LIMITED = """
import sys, time
from pathlib import Path
import torch
from facegan.models.checkpoint import load_checkpoint, load_generator
from facegan.core.errors import FaceganError
from facegan.faces.latents import load_latents
torch.set_num_threads(1)
folder = Path(sys.argv[1])
load_generator(Path(sys.argv[2]))
try:
    import resource
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + (int(sys.argv[3]) << 20),) * 2)
except (ImportError, OSError):
    print("no limit on this system")
slowest = 0
for path in sorted(folder.iterdir()):
    start = time.monotonic()
    try:
        load_latents(path, 8) if path.suffix == ".npy" else load_generator(path)
        raise SystemExit(f"{path} was opened")
    except FaceganError:
        pass
    slowest = max(slowest, time.monotonic() - start)
print(slowest)
"""


def test_memory_and_time_are_bounded(lair, honest, workdir):
    """Every hostile file in one process that may take little more memory than it has: none needs more."""
    words = [sys.executable, "-c", LIMITED, str(lair), str(honest / "g.safetensors"), str(EXTRA_MEGABYTES)]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout.split()[-1]) < 10
    assert not Path(TRAP).exists()


DOORS = {
    "sample": lambda path: ["sample", path],
    "interpolate": lambda path: ["interpolate", path],
    "arithmetic": lambda path: ["arithmetic", path, "--plus", "1"],
    "gif": lambda path: ["gif", path],
    "info": lambda path: ["info", path],
    "train --from": lambda path: ["train", "--from", path, "--data", "data/d"],
}


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("name", ["calls-os-system.pt", "nan-in-the-generator.pt", "overlapping-tensors.safetensors"])
def test_every_door_is_the_same(lair, workdir, door, name):
    write_dataset(workdir / "data/d", 4)
    code, _, err = cli(*DOORS[door](str(lair / name)))
    assert code == 1 and err.startswith("error: ") and "bug" not in err, err
    assert not Path(TRAP).exists()


@pytest.mark.parametrize("name", ["calls-os-system", "nan-in-a-moment", "a-learning-rate-of-100", "cut-at-50%"])
def test_resume_is_a_door_too(lair, honest, workdir, name):
    run = RunDir(workdir / "runs/00001-d")
    (run.path / "checkpoints").mkdir(parents=True)
    run.write_config(load_checkpoint(honest / "c.pt").config)
    run.provenance.write_text("{}")
    run.checkpoint(48).write_bytes((lair / f"{name}.pt").read_bytes())
    code, _, err = cli("train", "--resume")
    assert code == 1 and "000000048.pt" in err and "bug" not in err, err
    assert not Path(TRAP).exists()


RUN_FILES: dict[str, tuple[str, bytes]] = {
    **{
        f"{name.partition('.')[0]}-{kind}": (name, raw)
        for name in ("config.json", "provenance.json")
        for kind, raw in {
            "empty": b"",
            "no-text": b"\xff\xfe",
            "nested-deeply": 100_000 * b"[",
            "a-list": b"[]",
            "nan": b'{"seed": NaN}',
            "too-long": b'{"a": "' + 5_000_000 * b"a" + b'"}',
        }.items()
    },
    "provenance-of-lists": ("provenance.json", b'{"dataset": [], "resumed": 3}'),
    "provenance-of-parts-that-are-none": ("provenance.json", b'{"resumed": ["x"]}'),
    "provenance-of-a-part-without-number": ("provenance.json", b'{"resumed": [{"thin_from": "x"}]}'),
    "provenance-of-no-dataset": ("provenance.json", b'{"dataset": {"path": "missing", "sha256": 3}}'),
    "config-without-length": (
        "config.json",
        tiny("dcgan").to_json().replace('"images": 48', '"images": null').encode(),
    ),
    "config-of-another-run": ("config.json", tiny("human-faces").to_json().encode()),
}


@pytest.mark.parametrize("name", RUN_FILES)
def test_hostile_runs_do_not_go_on(honest, workdir, name):
    run = RunDir(workdir / "runs/00001-d")
    (run.path / "checkpoints").mkdir(parents=True)
    run.write_config(load_checkpoint(honest / "c.pt").config)
    run.provenance.write_text("{}")
    run.checkpoint(48).write_bytes((honest / "c.pt").read_bytes())
    file, raw = RUN_FILES[name]
    (run.path / file).write_bytes(raw)
    for words in (["train", "--resume"], ["info", run.path]):
        code, _, err = cli(*words)
        assert "This is a bug" not in err and "Traceback" not in err, err
        assert code == 1 or words[0] == "info", err


@pytest.mark.parametrize(
    "row",
    [
        b'{"images_seen": 4}',
        b'{"images_seen": "many"}',
        b'{"images_seen": 4, "wasserstein": "a", "slope": {}}',
        b'{"images_seen": 4, "slope": ' + 4000 * b"9" + b"}",
        100_000 * b"[",
        b"\xff\xfe",
        b"null",
    ],
)
def test_hostile_metrics_are_passed_over(honest, workdir, row):
    run = RunDir(workdir / "runs/00001-d")
    run.path.mkdir(parents=True)
    run.write_config(load_checkpoint(honest / "c.pt").config)
    run.metrics.write_bytes(row + b"\n")
    code, _, err = cli("info")
    assert code == 0, err
    for found in run.read_metrics():
        assert found["images_seen"] == 4


def test_what_a_stranger_wrote_moves_no_cursor(honest, workdir):
    """Escape sequences in a file's texts are spelled out, not obeyed."""
    trick = {"licence": "\x1b[2J\x1b]0;owned\x07", "author": "[red]a[/red]\r\u202e"}
    config = load_checkpoint(honest / "c.pt").config
    network = load_generator(honest / "c.pt").module
    save_generator(
        Path("g.safetensors"), network, config, images_seen=0, weights="raw", provenance={"command": ["\x1b[31m"]},
        notes=trick,
    )  # fmt: skip
    code, out, err = cli("info", "g.safetensors")
    assert code == 0, err
    assert not set("\x1b\x07\r\u202e") & set(out)
    assert "[red]a[/red]" in out
