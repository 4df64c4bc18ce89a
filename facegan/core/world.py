"""Connect the processes that train one run together, and pass tensors and messages between them.

`torchrun` starts the processes, and each learns its place from the environment. Large tensors travel over NCCL between
CUDA devices and over gloo between CPUs. Small messages always travel over gloo, so that no process waits for a GPU.
A process that is alone never imports `torch.distributed` and loses no time; torch is imported only when needed.
"""

from __future__ import annotations

import gc
import logging
import math
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from hashlib import sha256
from threading import Thread
from typing import TYPE_CHECKING, Any, NoReturn

from facegan.core.errors import FaceganError, first_line, is_out_of_memory

if TYPE_CHECKING:
    import torch

_PATIENCE = timedelta(minutes=30)
"""How long a process waits for the others: rank 0 may be writing files, or drawing a dataset."""
_SAID_AFTER = 10.0
"""After so many seconds of waiting for the other processes to start, a note says so."""
_TURN = 0.2
"""Seconds between two checks whether the others are here; Python can run a signal's handler at each."""


@dataclass(frozen=True)
class World:
    """A process's place among those that train one run.

    A method that exchanges anything must be called by all processes, in the same order, unless it says otherwise.

    Attributes:
        rank: its number, 0 to size - 1. Process 0 alone writes and speaks.
        size: how many there are.
        local: its number among the processes of its machine, which is also the number of its CUDA device.
    """

    rank: int = 0
    size: int = 1
    local: int = 0
    _store: Any = field(default=None, repr=False, compare=False)

    def __str__(self) -> str:
        return f"process {self.rank} of {self.size}"

    @property
    def first(self) -> bool:
        """Whether this process is the one that writes and speaks."""
        return self.rank == 0

    @property
    def alone(self) -> bool:
        """Whether one process trains the run by itself."""
        return self.size == 1

    def command(self, words: str) -> str:
        """The command line that runs `words` in as many processes, started in the same way as these."""
        if self.alone:
            return f"facegan {words}"
        if "TORCHELASTIC_RUN_ID" not in os.environ:  # not by torchrun
            return f"facegan {words}  (in {self.size} processes, as before)"
        here = os.environ.get("LOCAL_WORLD_SIZE", "")
        if here == str(self.size):
            return f"torchrun --standalone --nproc-per-node {here} -m facegan {words}"
        return f"torchrun ... --nproc-per-node {here} -m facegan {words}  (on each machine, as before)"

    def part(self, count: int) -> slice:
        """This process's rows of a global batch of `count`, a multiple of `size`.

        Not a collective: any process may call it alone.
        """
        share = count // self.size
        return slice(self.rank * share, (self.rank + 1) * share)

    def check_batch(self, batch_size: int) -> None:
        """Refuse, with a FaceganError, a global batch that the processes cannot share evenly."""
        if batch_size % self.size:
            raise FaceganError(
                f"A batch of {batch_size} cannot be shared evenly by {self.size} processes.",
                "--batch-size counts the images of all processes together: choose a multiple of their number.",
            )

    def take_device(self, device: torch.device) -> torch.device:
        """Check and return the device to compute on. Process n of a machine makes `cuda` mean the machine's n-th GPU.

        Raises:
            FaceganError: the processes have devices of two kinds, cannot share this device, or outnumber the GPUs.
        """
        self.check_same({"kind of device": device.type.encode()})
        if device.type == "cpu":
            return device
        import torch

        if self.alone:
            if device.type == "cuda" and device.index is not None:
                torch.cuda.set_device(device)  # so that tensors made without naming a device go there too
            return device
        if device.type != "cuda":
            raise FaceganError(f"Several processes cannot train on {device.type}.", "Use --device cpu.")
        if device.index is not None:
            raise FaceganError(
                f"--device {device} is one GPU, and there are {self.size} processes.",
                "Use --device cuda: each process takes the GPU of its own number.",
            )
        count = torch.cuda.device_count()
        own = 0 if count == 1 else self.local  # a batch system may show each process only its own GPU
        enough = "Start at most as many processes on a machine as it has GPUs, or use --device cpu."
        mine = torch.cuda.get_device_properties(own) if own < count else None
        names = self._from_all(_digest(str(getattr(mine, "uuid", self.rank)).encode()) if mine else 0)
        if 0 in names:
            raise FaceganError(
                f"Process {names.index(0)} has no GPU: its machine has fewer GPUs than processes.", enough
            )
        if len(set(names)) < self.size:
            first = next(rank for rank, name in enumerate(names) if names.count(name) > 1)
            second = names.index(names[first], first + 1)
            raise FaceganError(f"Processes {first} and {second} have the same GPU.", enough)
        torch.cuda.set_device(own)
        return device

    def sum_(self, tensor: torch.Tensor) -> None:
        """Replace a contiguous tensor by its sum over all processes, the same bits in each."""
        if not self.alone:
            import torch.distributed as dist

            with _others_alive():
                dist.all_reduce(tensor)

    def average_(self, tensors: Iterable[torch.Tensor]) -> None:
        """Replace tensors by their means over all processes: one message for all tensors of a type.

        Each tensor keeps its memory and strides: fused Adam misreads a gradient laid out otherwise than its parameter.
        """
        if self.alone:
            return
        import torch

        by_type: dict[torch.dtype, list[torch.Tensor]] = {}
        for tensor in tensors:
            by_type.setdefault(tensor.dtype, []).append(tensor)
        for group in by_type.values():
            flat = torch.cat([tensor.reshape(-1) for tensor in group])
            self.sum_(flat)
            flat.div_(self.size)
            for tensor, values in zip(group, flat.split([tensor.numel() for tensor in group]), strict=True):
                tensor.copy_(values.view(tensor.shape))

    def mean_of(self, values: dict[str, float]) -> dict[str, float]:
        """Average named numbers over all processes. A mean is not finite if the number of any process is not."""
        if self.alone:
            return values
        import torch

        total = torch.tensor(list(values.values()), dtype=torch.float64)
        self.sum_(total)
        return dict(zip(values, (total / self.size).tolist(), strict=True))

    def agree(self, number: int) -> int:
        """The largest of all processes' numbers.

        If each gives the number of the signal that it received, or 0, this says whether any was told to stop.
        """
        return self._largest([number])[0]

    def barrier(self) -> None:
        """Wait until all processes have called this."""
        self.agree(0)

    def tell(self, text: str) -> str:
        """Send process 0's text to all processes; each returns it."""
        if self.alone:
            return text
        import torch
        import torch.distributed as dist

        letters = list(text.encode()) if self.first else []
        said = torch.tensor(letters + [0] * (self.agree(len(letters)) - len(letters)), dtype=torch.uint8)
        with _others_alive():
            dist.broadcast(said, src=0)
        return bytes(said.tolist()).decode()

    def check_same(self, facts: Mapping[str, bytes]) -> None:
        """Refuse, with a FaceganError, facts such as the configuration that are not the same in all processes."""
        if self.alone:
            return
        digests = [_digest(content) for content in facts.values()]
        found = self._largest([*digests, *(-digest for digest in digests)])
        for name, high, low in zip(facts, found, found[len(facts) :], strict=False):
            if high != -low:
                raise FaceganError(
                    f"The {self.size} processes do not have the same {name}.",
                    "Start them all with the same command and the same facegan, in a folder that all machines share.",
                )

    def _largest(self, numbers: list[int]) -> list[int]:
        if self.alone:
            return numbers
        import torch
        import torch.distributed as dist

        tensor = torch.tensor(numbers)
        with _others_alive():
            dist.all_reduce(tensor, dist.ReduceOp.MAX)
        return [int(number) for number in tensor.tolist()]

    def _from_all(self, number: int) -> list[int]:
        """The numbers of all processes, each 0 or more, in the order of their ranks."""
        return self._largest([number if rank == self.rank else 0 for rank in range(self.size)])

    def fails_first(self) -> bool:
        """Whether this process is the first to fail: it says why, and those that fail after it are silent.

        Not a collective: a process calls it when it is about to end, before its connections close.
        """
        if self.alone:
            return True
        try:
            first = bool(self._store.add("failed", 1) == 1)
        except RuntimeError:  # the store has ended with process 0, which kept it
            return True
        if self.first:
            time.sleep(_FAILING)  # the store ends with this process, and others that fail too still ask it
        return first


ALONE = World()
_FAILING = 1.0
"""Seconds that process 0 waits before it ends with an error."""


def _digest(content: bytes) -> int:
    """A hash of the content, as a number of 56 bits."""
    return int.from_bytes(sha256(content).digest()[:7], "big")


_entangled = False
"""Whether torch has threads in this process that wait for other processes."""


def leave(code: int) -> NoReturn:
    """End this process; its output must have been flushed before.

    After an error torch's threads may still talk to other processes or wait for them. They would abort this process
    when its interpreter ends, so `os._exit` then ends the process without that.
    """
    if _entangled:
        logging.shutdown()
        os._exit(code)
    sys.exit(code)


@contextmanager
def joined(note: Callable[[str], None] = lambda text: None) -> Iterator[World]:
    """Connect to the other processes that torchrun has started, if any, and leave together when the work is done.

    After an exception this process does not wait for the others. It ends by `leave`, the system closes its connections,
    and the others notice that and end too.

    Args:
        note: called with a sentence if the others take long to start: WORLD_SIZE may be left over from something else.

    Raises:
        FaceganError: the environment is not torchrun's, or the others cannot be reached.
    """
    global _entangled
    size = _from_environment("WORLD_SIZE", "1")
    if size == 1:
        yield ALONE
        return
    # torch reads this when it is first imported. Its warnings about a connection that ends are pages long.
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    import torch.distributed as dist

    rank, local = _from_environment("RANK"), _from_environment("LOCAL_RANK")
    if rank >= size:
        raise FaceganError(f"The environment has RANK={rank}, which must be below WORLD_SIZE={size}.", _HOW_TO_START)
    _entangled = True
    try:
        world = _when_all_are_here(World(rank, size, local), note)
    except FaceganError:
        _entangled = False
        raise
    yield world
    world.barrier()  # process 0 may still be writing
    gc.collect()  # NCCL waits until captured graphs that use it are freed, and a cycle may hold one
    dist.destroy_process_group()
    _entangled = False


def _from_environment(name: str, default: str = "") -> int:
    text = os.environ.get(name, default)
    if not text.isdecimal():
        raise FaceganError(
            f"The environment has {name}={text!r}, which is not a number.",
            _HOW_TO_START,
        )
    return int(text)


def _when_all_are_here(world: World, note: Callable[[str], None]) -> World:
    """Run `_join` in a thread, because it waits in C++, where Ctrl-C has no effect."""
    joining: Future[World] = Future()

    def join() -> None:
        try:
            joining.set_result(_join(world))
        except BaseException as error:
            joining.set_exception(error)

    Thread(target=join, daemon=True).start()
    say_at = time.monotonic() + _SAID_AFTER
    while not wait([joining], _TURN).done:
        if time.monotonic() > say_at:
            say_at = math.inf
            others = "1 other process" if world.size == 2 else f"{world.size - 1} other processes"
            note(f"{world} waits for {others}: WORLD_SIZE is {world.size} in the environment; for one process unset it")
    return joining.result()


def _join(world: World) -> World:
    import torch
    import torch.distributed as dist
    from torch.distributed.rendezvous import rendezvous

    nccl = torch.cuda.is_available() and dist.is_nccl_available()
    try:
        store, _, _ = next(rendezvous("env://", timeout=_PATIENCE))
        dist.init_process_group(
            "cpu:gloo,cuda:nccl" if nccl else "gloo",
            store=dist.PrefixStore("facegan", store),
            rank=world.rank,
            world_size=world.size,
            timeout=_PATIENCE,
        )
    except (RuntimeError, ValueError) as error:
        reason = first_line(error)
        raise FaceganError(f"{str(world).capitalize()} cannot reach the others: {reason}.", _HOW_TO_START) from error
    return World(world.rank, world.size, world.local, store)


_HOW_TO_START = "Start several processes with torchrun; for one process remove WORLD_SIZE from the environment."


@contextmanager
def _others_alive() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        if is_out_of_memory(error):
            raise
        raise FaceganError(
            "another process of this run has ended, and so this one stops.",
            "Its own message, or torchrun's, says why. Then go on from the last checkpoint with --resume.",
        ) from error
