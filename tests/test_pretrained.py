"""The generator in the package, and what is drawn from it."""

from dataclasses import replace

import numpy as np
import pytest
from conftest import cli, write_dataset

from facegan.core.errors import FaceganError
from facegan.data.folder import read_dataset_json
from facegan.faces import latents
from facegan.faces.compose import arithmetic, interpolate, sample_sheet, walk
from facegan.faces.demo import COUNT, make_demo
from facegan.faces.synthesis import draw_faces
from facegan.models.checkpoint import load_generator, save_loaded
from facegan.models.pretrained import PATH
from facegan.models.pretrained.pack import MAX_BYTES, pack
from facegan.runs.find import find_generator
from facegan.runs.plan import plan_new


@pytest.fixture(scope="module")
def loaded():
    return load_generator(PATH)


def test_it_is_small_and_says_what_it_is(loaded):
    assert PATH.stat().st_size <= MAX_BYTES
    assert loaded.weights == "averaged"
    assert loaded.images_seen > 0
    assert "non-commercial" in loaded.notes["licence"]
    assert "CelebA" in loaded.notes["training_data"]
    assert loaded.config.networks.size == 64


def test_faces_differ_and_are_not_flat(loaded):
    faces = draw_faces(loaded.module, loaded.config.networks, latents.draw(0, range(32), 128)).astype(float)
    assert faces.std(axis=0).mean() > 20, "all faces alike"
    assert faces.std(axis=(1, 2)).min() > 5, "a flat picture"


def test_packing_again_changes_nothing_that_is_drawn(loaded, tmp_path):
    again = load_generator(pack(PATH, tmp_path / "again.safetensors"))
    z = latents.draw(0, range(4), 128)
    first = draw_faces(loaded.module, loaded.config.networks, z)
    assert np.array_equal(first, draw_faces(again.module, again.config.networks, z))
    assert "/" not in again.provenance["dataset"]["path"], "where somebody keeps photos is nobody's business"


def test_its_critic_sorts_faces_and_trains_on(workdir):
    assert cli("sample", "pretrained", "--count", "2", "--sort")[0] == 0
    write_dataset(workdir / "data/d", 4, size=64)
    plan = plan_new(workdir / "data/d", None, {}, "cpu", PATH)
    assert not any("no critic" in note for note in plan.notes)


def test_what_has_no_critic_is_not_packed(loaded, tmp_path):
    save_loaded(replace(loaded, critic=None), tmp_path / "g.safetensors")
    with pytest.raises(FaceganError, match="no critic"):
        pack(tmp_path / "g.safetensors", tmp_path / "again.safetensors")


def test_the_demo_dataset(workdir):
    path = make_demo()
    info = read_dataset_json(path)
    assert (info.count, info.size) == (COUNT, 64)
    before = info.images.stat().st_mtime_ns
    assert make_demo() == path
    assert info.images.stat().st_mtime_ns == before, "an existing demo dataset is kept"


def test_two_commands_draw_the_demo_dataset_at_once(workdir, monkeypatch):
    monkeypatch.setattr("facegan.faces.demo.COUNT", 4)
    path = make_demo(progress=lambda done, total: make_demo())
    assert read_dataset_json(path).count == 4
    assert len(list(path.parent.iterdir())) == 1


def test_without_a_run_the_packaged_generator_is_taken(workdir):
    assert find_generator(None)[0] == PATH
    code, _, err = cli("sample", "--count", "2")
    assert code == 0
    assert "the pretrained generator, as there is no run" in err


def test_info_in_a_file_is_not_padded(workdir):
    code, out, _ = cli("info", "pretrained")
    assert code == 0 and all(line == line.rstrip() for line in out.splitlines())


def test_truncation_brings_faces_together(loaded):
    z = latents.draw(0, range(32), 128)
    spreads = [
        draw_faces(loaded.module, loaded.config.networks, (z * psi).astype(np.float32)).astype(float).std(axis=0).mean()
        for psi in (0.3, 0.7, 1.0)
    ]
    assert spreads == sorted(spreads)


def test_pictures_for_people(loaded):
    sheet = sample_sheet(loaded, count=25, seed=0, numbers=True)
    assert sheet.ndim == 3 and sheet.shape[0] > 5 * 64
    morph = interpolate(loaded, ["0", "1", "2"], steps=4, seed=0, method="slerp", loop=True)
    assert len(morph.faces) == 9
    outcome, way = arithmetic(loaded, [(1, "1,2"), (-1, "3"), (1, "4")], seed=0, raw=False, steps=5)
    assert way is not None and len(way.faces) == 5
    assert abs(way.faces[-1].astype(int) - outcome.face).max() <= 1
    frames = list(walk(loaded, faces=4, stops=2, steps=3, seed=0))
    assert len(frames) == 6
    assert len({frame.shape for frame in frames}) == 1
