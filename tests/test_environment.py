"""Machines that are not ours: half-installed packages, containers with a quota, disks that offer less than most."""

from __future__ import annotations

import errno
import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import cli, write_dataset
from PIL import Image

from facegan.core import atomic, workers
from facegan.core.atomic import free_room, write_atomic
from facegan.core.device import describe_device
from facegan.core.errors import FaceganError
from facegan.data.folder import DatasetInfo, read_dataset_json, verify_pixels
from facegan.evaluation import extractors
from facegan.pictures.animation import write_animation
from facegan.runs import tensorboard

# Packages that are there and do not load.


@pytest.fixture
def half_installed(tmp_path, monkeypatch):
    """Puts a package in front of the real one that raises as it is imported, as a missing shared library makes it."""

    def install(package: str, error: Exception) -> None:
        (tmp_path / "site" / package).mkdir(parents=True)
        (tmp_path / "site" / package / "__init__.py").write_text(f"raise {error!r}\n")
        for name in list(sys.modules):
            if package in name or name == "facegan.evaluation.efficientnet":
                monkeypatch.delitem(sys.modules, name)
        monkeypatch.syspath_prepend(tmp_path / "site")

    return install


def make_a_film() -> None:
    write_animation(iter([]), Path("walk.mp4"))


@pytest.mark.parametrize(
    ("package", "error", "needs_it"),
    [
        ("imageio_ffmpeg", AttributeError("module 'numpy' has no attribute 'bool8'"), make_a_film),
        (
            "tensorboard",
            TypeError("Descriptors cannot be created directly.\nIf this call"),
            tensorboard.check_installed,
        ),
        ("torch_fidelity", RuntimeError("module compiled against ABI version 0x1000009"), extractors.check_installed),
        ("torch_fidelity", ImportError("libGL.so.1: cannot open shared object file"), extractors.check_installed),
        ("efficientnet_lite_pytorch", OSError("undefined symbol: _ZN3c10"), extractors.check_installed),
    ],
)
def test_a_package_that_does_not_load_is_a_sentence(half_installed, workdir, package, error, needs_it):
    half_installed(package, error)
    with pytest.raises(FaceganError, match="which is installed but does not work: ") as caught:
        needs_it()
    assert str(error).split("\n")[0] in caught.value.message and "\n" not in caught.value.message
    assert "pip install --force-reinstall --no-deps " in caught.value.hint
    assert package.replace("_", "-") in caught.value.hint


def test_a_half_installed_heic_plugin_costs_the_heic_photos_alone(half_installed, workdir):
    half_installed("pillow_heif", OSError("libheif.so.1: cannot open shared object file"))
    (workdir / "p").mkdir()
    Image.new("RGB", (40, 40), "tan").save("p/a.png")
    Path("p/b.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(40))
    code, out, err = cli("preprocess", "p", "--size", "32", "--workers", "1")
    assert code == 0, err
    assert "1 images of 32 x 32" in out and "HEIC, and pillow-heif is installed but does not work" in out
    skipped = Path("data/p-32/skipped.csv").read_text()
    assert "b.heic" in skipped and "libheif.so.1: cannot open" in skipped and "--force-reinstall" in skipped


def test_a_package_without_metadata_has_no_version(monkeypatch):
    assert extractors._version("torch_fidelity").startswith("torch-fidelity 0.")
    assert extractors._version("copied_into_place") == "copied-into-place of an unknown version"


# Processors.

V1 = "cpu,cpuacct"


@pytest.mark.parametrize(
    ("groups", "limits", "quota"),
    [
        ("0::/\n", {"cpu.max": "150000 100000\n"}, 2),
        ("0::/a/b\n", {"a/cpu.max": "100000 100000\n", "a/b/cpu.max": "max 100000\n"}, 1),
        ("0::/a/b\n", {"a/cpu.max": "800000 100000\n", "a/b/cpu.max": "300000 100000\n"}, 3),
        ("0::/docker/4711\n", {"cpu.max": "50000 100000\n"}, 1),
        ("0::/\n", {"cpu.max": "max 100000\n"}, None),
        ("0::/\n", {}, None),
        (f"3:memory:/\n2:{V1}:/x\n1:name=systemd:/x\n0::/x\n",
         {f"{V1}/cpu.cfs_quota_us": "300000\n", f"{V1}/cpu.cfs_period_us": "100000\n"}, 3),
        ("2:cpu:/\n", {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, None),
        ("no such lines\n0::/\n\n", {"cpu.max": "much\n"}, None),
        ("0::/\n", {"cpu.max": "100000 0\n"}, None),
    ],
)  # fmt: skip
def test_the_quota_of_a_control_group(tmp_path, monkeypatch, groups, limits, quota):
    (tmp_path / "cgroup").write_text(groups)
    for name, text in limits.items():
        (tmp_path / "groups" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "groups" / name).write_text(text)
    monkeypatch.setattr(workers, "_CGROUP", tmp_path / "cgroup")
    monkeypatch.setattr(workers, "_CGROUPS", tmp_path / "groups")
    assert workers.processor_quota() == quota


def test_a_system_without_control_groups_has_no_quota(tmp_path, monkeypatch):
    monkeypatch.setattr(workers, "_CGROUP", tmp_path / "none")
    assert workers.processor_quota() is None and workers.processors() >= 1


@pytest.fixture
def eight_processors_quota_two(monkeypatch):
    monkeypatch.setattr(os, "process_cpu_count", lambda: 8, raising=False)
    monkeypatch.setattr(workers, "processor_quota", lambda: 2)
    monkeypatch.setattr("facegan.core.device.processor_quota", lambda: 2)


def test_workers_and_threads_heed_the_quota(eight_processors_quota_two, monkeypatch):
    assert workers.processors() == 2 and workers.processors(quota=False) == 8
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert cli("--version")[0] == 0 and os.environ["OMP_NUM_THREADS"] == "3", "the user's word counts"
    monkeypatch.delenv("OMP_NUM_THREADS")
    assert cli("--version")[0] == 0 and os.environ["OMP_NUM_THREADS"] == "2", "before torch is imported"


def test_the_device_note_says_so(eight_processors_quota_two):
    assert describe_device(torch.device("cpu")) == "cpu (1 thread)"
    torch.set_num_threads(2)
    assert describe_device(torch.device("cpu")) == "cpu (2 threads, the quota of this container)"


def test_a_quota_above_the_processors_changes_nothing(eight_processors_quota_two, monkeypatch):
    monkeypatch.setattr(os, "process_cpu_count", lambda: 1, raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.delenv("OMP_NUM_THREADS")
    workers.heed_quota()
    assert workers.processors() == 1 and "OMP_NUM_THREADS" not in os.environ


# Disks.


@pytest.mark.parametrize("reason", [errno.EPERM, errno.EINVAL, errno.ENOTSUP, errno.ENOSYS])
def test_a_disk_that_knows_no_fsync_and_no_chmod(tmp_path, monkeypatch, reason):
    def refuse(*_: object, **__: object) -> None:
        raise OSError(reason, os.strerror(reason))

    monkeypatch.setattr(os, "fsync", refuse)
    monkeypatch.setattr(Path, "chmod", refuse)
    info = read_dataset_json(write_dataset(tmp_path / "d", 3))
    assert isinstance(info, DatasetInfo)
    verify_pixels(info)
    assert write_atomic(tmp_path / "a", "b").read_text() == "b"


@pytest.mark.parametrize("reason", [errno.EIO, errno.ENOSPC])
def test_a_disk_that_fails_to_sync_is_an_error(tmp_path, monkeypatch, reason):
    def fail(descriptor: int) -> None:
        raise OSError(reason, os.strerror(reason))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(FaceganError, match="a could not be written"):
        write_atomic(tmp_path / "a", "b")
    assert not list(tmp_path.iterdir())


def test_a_disk_that_does_not_tell_its_room_is_not_full(workdir, monkeypatch):
    assert free_room(workdir) > 0
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(0, 0, 0))
    assert free_room(workdir) is None
    (workdir / "p").mkdir()
    Image.fromarray(np.zeros((40, 40, 3), np.uint8)).save("p/a.png")
    code, _, err = cli("preprocess", "p", "--size", "32", "--workers", "1")
    assert code == 0, err

    def refuse(path: Path) -> None:
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(atomic.shutil, "disk_usage", refuse)
    assert free_room(workdir) is None
