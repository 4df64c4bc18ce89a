import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import tiny
from safetensors.torch import load_file, save_file

from facegan.core.errors import FaceganError
from facegan.faces import latents
from facegan.faces.synthesis import batches, draw_faces
from facegan.models.checkpoint import FORMAT_VERSION, load_checkpoint, load_generator, save_checkpoint, save_generator
from facegan.presets import PRESETS
from facegan.training.trainer import Trainer

CPU = torch.device("cpu")


def saved(path: Path, preset: str = "dcgan") -> Trainer:
    trainer = Trainer(tiny(preset), CPU)
    save_checkpoint(path, trainer.config, {"facegan": "test"}, trainer.state())
    return trainer


def edited(path: Path, change) -> Path:
    """A copy of a checkpoint with its dictionary changed by hand."""
    content = torch.load(path, weights_only=True)
    change(content)
    torch.save(content, path.with_name("edited.pt"))
    return path.with_name("edited.pt")


@pytest.mark.parametrize("preset", PRESETS)
def test_round_trip(tmp_path, preset):
    trainer = saved(tmp_path / "c.pt", preset)
    found = load_checkpoint(tmp_path / "c.pt")
    assert found.config == trainer.config
    assert found.provenance == {"facegan": "test"}
    for name, tensor in trainer.critic.state_dict().items():
        assert torch.equal(found.state["critic"][name], tensor)
    generator = load_generator(tmp_path / "c.pt")
    assert generator.weights == ("averaged" if trainer.average else "raw")
    z = latents.draw(0, range(2), 8)
    expected = draw_faces(trainer.sampling_generator, trainer.config.networks, z)
    assert np.array_equal(draw_faces(generator.module, generator.config.networks, z), expected)


def test_learning_rates_on_a_device_are_not_rounded_in_a_file(tmp_path):
    """On a GPU they stand in float32 tensors; a checkpoint has what the configuration leads to, flat and falling."""
    trainer = Trainer(tiny("dcgan"), CPU)
    for optimiser in (trainer.generator_optimiser, trainer.critic_optimiser):
        optimiser.param_groups[0]["lr"] = torch.tensor(1e-3)
    for images_seen, rate in ((0, 1e-3), (36, 1e-3 * (1 - 36 / 48) / 0.4)):
        trainer.images_seen = images_seen
        trainer.aim(True)
        save_checkpoint(tmp_path / "c.pt", trainer.config, {}, trainer.state())
        state = load_checkpoint(tmp_path / "c.pt").state
        assert state["critic_optimiser"]["param_groups"][0]["lr"] == pytest.approx(rate, rel=1e-15)
        trainer.load_state(state)
        assert trainer.generator_optimiser.param_groups[0]["lr"].item() == pytest.approx(rate, rel=1e-6)


def test_a_checkpoint_holds_tensors_and_primitives_only(tmp_path):
    saved(tmp_path / "c.pt")
    content = torch.load(tmp_path / "c.pt", weights_only=True)

    def check(node):
        if isinstance(node, dict):
            [check(value) for value in node.values()]
        elif isinstance(node, (list, tuple)):
            [check(value) for value in node]
        else:
            assert node is None or isinstance(node, (torch.Tensor, str, int, float, bool)), type(node)

    check(content)


class Trap:
    def __reduce__(self):
        return (Path.touch, (Path("the-trap-was-sprung"),))


def test_code_in_a_file_is_not_run(workdir):
    torch.save({"format_version": 1, "generator": Trap()}, "trap.pt")
    with pytest.raises(FaceganError, match="was not opened"):
        load_checkpoint(Path("trap.pt"))
    Path("plain.pt").write_bytes(pickle.dumps(Trap()))
    with pytest.raises(FaceganError, match="not a facegan checkpoint"):
        load_checkpoint(Path("plain.pt"))
    assert not Path("the-trap-was-sprung").exists()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda c: c.update(format_version=FORMAT_VERSION + 1), "newer facegan .format version 2"),
        (lambda c: c.update(format_version=0), "unknown format version 0"),
        (lambda c: c.update(format_version="1"), "no format version"),
        (lambda c: c.update(surprise=1), "unknown entry 'surprise', perhaps of a newer facegan"),
        (lambda c: c.pop("critic"), "'critic' is missing"),
        (lambda c: c.update(config="{}"), "networks"),
        (lambda c: c["averaged_generator"].pop("project.weight"), "does not fit its own configuration"),
        (lambda c: c["averaged_generator"].update({"project.weight": torch.zeros(2, 2)}), "does not fit"),
        (lambda c: c["averaged_generator"].update({"project.weight": "text"}), "does not fit"),
    ],
)
def test_damaged_checkpoints_are_refused(tmp_path, change, says):
    saved(tmp_path / "c.pt")
    with pytest.raises(FaceganError, match=says):
        load_generator(edited(tmp_path / "c.pt", change))


@pytest.mark.parametrize("keep", [0, 10, 0.5, 0.99])
def test_truncated_checkpoints_are_refused(tmp_path, keep):
    saved(tmp_path / "c.pt")
    whole = (tmp_path / "c.pt").read_bytes()
    (tmp_path / "c.pt").write_bytes(whole[: int(keep * len(whole)) if keep < 1 else keep])
    with pytest.raises(FaceganError, match="not a facegan checkpoint, or is damaged"):
        load_generator(tmp_path / "c.pt")


def test_missing_files_and_folders(tmp_path):
    for path in (tmp_path / "no.pt", tmp_path / "no.safetensors", tmp_path):
        with pytest.raises(FaceganError, match=str(path.name)):
            load_generator(path)


@pytest.mark.parametrize("half", [False, True])
def test_generator_file(tmp_path, half):
    trainer = Trainer(tiny("human-faces"), CPU)
    path = save_generator(
        tmp_path / "g.safetensors",
        trainer.generator,
        trainer.config,
        images_seen=12,
        weights="raw",
        provenance={"device": "cpu"},
        half=half,
        notes={"licence": "none"},
    )
    found = load_generator(path)
    assert (found.images_seen, found.weights, found.provenance) == (12, "raw", {"device": "cpu"})
    assert found.notes == {"licence": "none"}
    assert all(p.dtype == torch.float32 for p in found.module.parameters())
    z = latents.draw(0, range(2), 8)
    ours = draw_faces(found.module, found.config.networks, z).astype(int)
    expected = draw_faces(trainer.generator, trainer.config.networks, z).astype(int)
    assert abs(ours - expected).max() <= (1 if half else 0)


@pytest.mark.parametrize("half", [False, True])
def test_a_generator_file_may_hold_the_critic(tmp_path, half):
    trainer = Trainer(tiny("dcgan"), CPU)
    facts = {"images_seen": 12, "weights": "raw", "provenance": {}, "half": half}
    weights = trainer.critic.state_dict()
    path = save_generator(tmp_path / "g.safetensors", trainer.generator, trainer.config, critic=weights, **facts)
    found = load_generator(path)
    assert found.critic is not None and found.critic.keys() == weights.keys()
    for name, tensor in found.critic.items():
        assert tensor.dtype == torch.float32
        assert torch.equal(tensor, weights[name].half().float() if half else weights[name])
    weights["score.bias"] = torch.zeros(2)
    save_generator(path, trainer.generator, trainer.config, critic=weights, **facts)
    with pytest.raises(FaceganError, match="critic: score.bias has the shape"):
        load_generator(path)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"format": "something-else"}, "not a facegan generator"),
        ({"format_version": "2"}, "reads up to 1"),
        ({"images_seen": "many"}, "metadata are damaged"),
        ({"config": "{}"}, "networks"),
    ],
)
def test_foreign_generator_files_are_refused(tmp_path, change, says):
    trainer = Trainer(tiny("dcgan"), CPU)
    path = save_generator(
        tmp_path / "g.safetensors", trainer.generator, trainer.config, images_seen=0, weights="raw", provenance={}
    )
    raw = path.read_bytes()
    header = json.loads(raw[8 : 8 + int.from_bytes(raw[:8], "little")])
    save_file(load_file(path), path, header["__metadata__"] | change)
    with pytest.raises(FaceganError, match=says):
        load_generator(path)


@pytest.mark.parametrize("content", [b"", b"hello", (2**60).to_bytes(8, "little") + b"{}"])
def test_not_safetensors(tmp_path, content):
    (tmp_path / "g.safetensors").write_bytes(content)
    with pytest.raises(FaceganError, match="not a generator, or is damaged"):
        load_generator(tmp_path / "g.safetensors")


def test_a_failed_save_leaves_the_old_file(tmp_path, monkeypatch):
    trainer = saved(tmp_path / "c.pt")
    before = (tmp_path / "c.pt").read_bytes()

    def full_disk(content, path):
        Path(path).write_bytes(b"half")
        raise RuntimeError("PytorchStreamWriter failed writing file data.pkl")

    monkeypatch.setattr(torch, "save", full_disk)
    with pytest.raises(FaceganError, match="could not be written"):
        save_checkpoint(tmp_path / "c.pt", trainer.config, {}, trainer.state())
    assert (tmp_path / "c.pt").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["c.pt"]


@pytest.mark.parametrize("preset", PRESETS)
def test_a_face_is_the_same_at_any_count_and_batch_size(preset, monkeypatch):
    config = tiny(preset)
    trainer = Trainer(config, CPU)
    faces = draw_faces(trainer.generator, config.networks, latents.draw(3, range(20), 8)).astype(int)
    assert trainer.generator.training, "the mode is restored"
    alone = draw_faces(trainer.generator, config.networks, latents.draw(3, [13], 8)).astype(int)
    assert abs(faces[13] - alone[0]).max() <= 1
    monkeypatch.setattr("facegan.faces.synthesis._PIXELS_PER_BATCH", 3 * 32 * 32)
    parts = list(batches(trainer.generator, config.networks, latents.draw(3, range(20), 8)))
    assert [len(part) for part in parts] == [3, 3, 3, 3, 3, 3, 2]
    assert abs(np.concatenate(parts).astype(int) - faces).max() <= 1
