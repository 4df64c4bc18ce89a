"""Choose the device and the precision to compute with, and how much memory the process keeps."""

from __future__ import annotations

import ctypes
import gc
import os
import platform
import re
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from typing import Any

import torch

from facegan.core.errors import FaceganError, UsageError
from facegan.core.workers import processor_quota, processors


def choose_device(name: str) -> torch.device:
    """`auto`, `cpu`, `cuda`, `cuda:1` or `mps` as a device that is really there.

    `auto` takes the first of cuda, mps, cpu that is available.

    Raises:
        UsageError: not a device name.
        FaceganError: no such device on this machine.
    """
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        return torch.device(next(kind for kind, there in available.items() if there))
    kind, colon, index = name.partition(":")
    if kind not in available or (colon and not (kind == "cuda" and re.fullmatch("[0-9]{1,4}", index))):
        raise UsageError(f"{name!r} is not a device.", "Use auto, cpu, cuda, cuda:1 or mps.")
    if not available[kind]:
        raise FaceganError(
            f"--device {name}: this machine has no {kind} device that torch can use.", "Use --device cpu."
        )
    if index and int(index) >= torch.cuda.device_count():
        raise FaceganError(f"--device {name}: there are {torch.cuda.device_count()} CUDA devices, counted from cuda:0.")
    return torch.device(kind, int(index)) if index else torch.device(kind)


def describe_device(device: torch.device) -> str:
    """A name for people: the GPU's product name, or the processor with its number of threads."""
    if device.type == "cuda":
        return f"{device} ({torch.cuda.get_device_name(device)})"
    if device.type == "cpu":
        threads = torch.get_num_threads()
        why = ", the quota of this container" if processor_quota() == threads < processors(quota=False) else ""
        return f"cpu ({threads} thread{'s' if threads > 1 else ''}{why})"
    return str(device)


def computes_bf16(device: torch.device) -> bool:
    """Whether the device has bfloat16 arithmetic. Other devices compute in float32 and round: right, but slow.

    For a CPU, FACEGAN_CPU_BF16 in the environment (1 or 0) overrides the answer, so that tests can try both kinds.
    """
    if device.type == "cpu" and (forced := os.environ.get("FACEGAN_CPU_BF16")):
        return forced == "1"
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type != "cpu":
        return False
    if platform.machine().lower() in ("aarch64", "arm64"):
        return torch.backends.mkldnn.is_available() and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


def autocast(precision: str, device: torch.device) -> AbstractContextManager[object]:
    """Forward passes under this context compute in `precision`; weights, losses and optimisers stay float32."""
    return torch.autocast(device.type, torch.bfloat16, cache_enabled=False) if precision == "bf16" else nullcontext()


def widened(x: torch.Tensor) -> torch.Tensor:
    """Convert a result of `autocast` to float32 if it is narrower: scores, norms and losses are summed in float32."""
    return x.float() if x.dtype in (torch.bfloat16, torch.float16) else x


def use_tf32(allowed: bool) -> None:
    """Set whether a CUDA device may round float32 factors to 10 bits (TF32), as convolutions do by torch's default."""
    for owner, name, values in _tf32_switches():
        setattr(owner, name, values[allowed])


def _tf32_switches() -> list[tuple[Any, str, tuple[object, object]]]:
    """torch's switches for TF32: the object, its attribute, and the attribute's values for no and yes.

    From torch 2.9 on each kind of operation has its own switch, and torch complains about a mixture of those and the
    old ones. The old ones are for earlier versions.
    """
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    if hasattr(cudnn, "conv") and hasattr(matmul, "fp32_precision"):
        return [(owner, "fp32_precision", ("ieee", "tf32")) for owner in (matmul, cudnn.conv, cudnn.rnn)]
    return [(owner, "allow_tf32", (False, True)) for owner in (matmul, cudnn)]


@contextmanager
def exact_float32() -> Iterator[None]:
    """Compute without TF32 inside this block, whatever `use_tf32` has set."""
    before = [(owner, name, getattr(owner, name)) for owner, name, _ in _tf32_switches()]
    use_tf32(False)
    try:
        yield
    finally:
        for owner, name, value in before:
            setattr(owner, name, value)


_MALLOC_OPTIONS = {
    "trim threshold": (-1, 2**31 - 1, 128 << 10),
    "top pad": (-2, 64 << 20, 128 << 10),
    "mmap maximum": (-4, 0, 65536),
}
"""Options of mallopt(3): the option's number, the value that keeps memory, and the C library's default."""


def keep_memory(keep: bool = True) -> bool:
    """Let this process keep the memory that a training step frees, for the next step.

    glibc returns every large block to the system at once, and the system fills each new one with zeros, page by page.
    This takes up to a fourth of a training step on two CPU cores. With `keep`, the process's memory stays at its peak
    until the process ends.

    Returns:
        Whether the C library took the setting; only glibc has it.
    """
    mallopt = _of_glibc("mallopt")
    if mallopt is None:
        return False
    told = [mallopt(number, kept if keep else usual) for number, kept, usual in _MALLOC_OPTIONS.values()]
    return told == [1] * len(told)


def release_memory(device: torch.device) -> None:
    """Give memory that no tensor uses any more back to the device or to the system, so that something else fits."""
    gc.collect()
    if device.type == "cuda":
        with suppress(RuntimeError):  # torch 2.6 refuses for ever once a graph's capture has failed
            torch.cuda.empty_cache()
    elif device.type == "mps":
        torch.mps.empty_cache()
    if malloc_trim := _of_glibc("malloc_trim"):
        malloc_trim(0)


def _of_glibc(name: str) -> Any:
    """A function that only glibc has; None on other systems."""
    return getattr(ctypes.CDLL(None), name, None) if sys.platform.startswith("linux") else None
