"""Work in parallel, in helper processes that import only what they need; the results come in order.

Helpers are plain Python processes that take pickled tasks on stdin and give pickled results on stdout. Compared with
`multiprocessing`: they never run the caller's main module again (so they start fast, never import torch, and need no
`if __name__ == "__main__"` in a caller's script), they work the same way on every system, Ctrl-C reaches only the
parent, and they end when the parent ends, for whatever reason, because their stdin closes.
"""

from __future__ import annotations

import contextlib
import importlib
import math
import os
import pickle
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import IO, Any, TypeVar

from facegan.core.errors import FaceganError

Task = TypeVar("Task")
Result = TypeVar("Result")

# Most sources of photos are small, and this process has read them before a helper would have started.
HEAD_START_SECONDS = 0.3

_CGROUP, _CGROUPS = Path("/proc/self/cgroup"), Path("/sys/fs/cgroup")


def processors(*, quota: bool = True) -> int:
    """How many processors this process may use: fewer than the machine has if it is pinned, or has a quota."""
    if pinned := getattr(os, "process_cpu_count", None):  # since Python 3.13
        count = pinned() or 1
    elif hasattr(os, "sched_getaffinity"):
        count = len(os.sched_getaffinity(0))
    else:
        count = os.cpu_count() or 1
    return min(count, (quota and processor_quota()) or count)


def heed_quota() -> None:
    """Limit the threads of torch and NumPy to a container's quota of processors, unless OMP_NUM_THREADS is set.

    Both count the processors that they may run on and do not know the quota: they would start so many threads that the
    system halts all of them for most of the time. Call this before they are imported.
    """
    if (count := processors()) < processors(quota=False):
        os.environ.setdefault("OMP_NUM_THREADS", str(count))


def processor_quota() -> int | None:
    """How many processors Linux lets this container or batch job keep busy, rounded up; None if there is no limit.

    It is the smallest of the quotas of its control group and all groups above, in either version of control groups.
    """
    try:
        lines = _CGROUP.read_text().splitlines()
    except (OSError, ValueError):  # not Linux
        return None
    quotas = []
    for _, kinds, group in (line.split(":", 2) for line in lines if line.count(":") > 1):
        if kinds and "cpu" not in kinds.split(","):
            continue
        inner = PurePosixPath(group.lstrip("/"))  # inside a container this may be the host's path, so "." is tried too
        for root in {_CGROUPS, _CGROUPS / kinds, _CGROUPS / "cpu"} if kinds else {_CGROUPS}:
            quotas += [_quota_of(root / folder) for folder in (inner, *inner.parents)]
    least = min(quotas, default=math.inf)
    return None if least == math.inf else max(1, math.ceil(least))


def _quota_of(group: Path) -> float:
    """How many processors a control group may keep busy; infinite if it has no limit or does not exist."""
    for names in (("cpu.max",), ("cpu.cfs_quota_us", "cpu.cfs_period_us")):
        try:
            quota, period = " ".join((group / name).read_text() for name in names).split()
            return int(quota) / int(period) if int(quota) > 0 else math.inf
        except (OSError, ValueError, ZeroDivisionError):  # "max", or the other version
            continue
    return math.inf


def in_order(work: Callable[[Task], Result], tasks: Iterable[Task], workers: int) -> Generator[Result, None, None]:
    """Yield work(task) for each task, in the order of the tasks, computed by `workers` helper processes.

    This process works for the first HEAD_START_SECONDS, and with one worker does everything. No more than a few tasks
    per worker are ever under way, so memory is bounded. Closing the iterator, or an exception such as Ctrl-C, ends the
    helpers.

    Args:
        work: a function at the top of an importable module. Tasks and results are pickled.
        tasks: taken one by one, as needed.
        workers: at least 1.

    Raises:
        FaceganError: a helper died. An exception in `work` is raised here unchanged.
    """
    tasks = iter(tasks)
    end_of_head_start = time.monotonic() + HEAD_START_SECONDS
    for task in tasks:
        yield work(task)
        if workers > 1 and time.monotonic() > end_of_head_start:
            break
    else:
        return
    most = 4 * workers + 8
    with _Helpers(work, workers) as helpers:
        pending: deque[Future[Result]] = deque()
        for task in tasks:
            if len(pending) >= 2 * workers and not helpers.ready:
                pending.append(_done(work(task)))  # instead of waiting until a helper has started
            else:
                pending.append(helpers.submit(task))
            while pending and (pending[0].done() or len(pending) >= most):
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()


class WorkerEnded(FaceganError):
    """A helper process ended before its work was done."""


def apart(work: Callable[[Task], Result], task: Task) -> Result:
    """Compute work(task) in a helper process of its own, so that even a crash there does not harm this process.

    Nothing that the helper prints, such as a library's message before it crashes, is shown.

    Args:
        work: a function at the top of an importable module. Task and result are pickled.

    Raises:
        WorkerEnded: the helper crashed or was killed. An exception in `work` is raised here unchanged.
    """
    with _Helpers(work, 1, quiet=True) as helpers:
        return helpers.submit(task).result()


def _done(result: Result) -> Future[Result]:
    future: Future[Result] = Future()
    future.set_result(result)
    return future


class _Helpers:
    """Helper processes. Each has a thread here that hands it tasks and waits for the results."""

    def __init__(self, work: Callable[[Any], Any], count: int, *, quiet: bool = False) -> None:
        self._errors = subprocess.DEVNULL if quiet else None
        self._work = f"{work.__module__}:{work.__qualname__}"
        self._threads = ThreadPoolExecutor(count, "facegan-helper")
        self._mine = threading.local()
        self._processes: list[subprocess.Popen[bytes]] = []
        self._lock = threading.Lock()
        self._closed = False
        self.ready = False

    def __enter__(self) -> _Helpers:
        return self

    def __exit__(self, *_: object) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)
        with self._lock:
            self._closed = True
            for process in self._processes:
                process.kill()  # they hold nothing that could be left half done
        self._threads.shutdown()
        for process in self._processes:
            for pipe in (process.stdin, process.stdout):
                assert pipe is not None
                with contextlib.suppress(OSError):  # a last task that could not be flushed
                    pipe.close()
            process.wait()

    def submit(self, task: Any) -> Future[Any]:
        return self._threads.submit(self._ask, task)

    def _start(self) -> subprocess.Popen[bytes]:
        code = f"import sys; sys.path[:] = {sys.path!r}; from facegan.core.workers import serve; serve({self._work!r})"
        own_group: dict[str, Any] = {"start_new_session": True}
        if sys.platform == "win32":
            own_group = {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}
        with self._lock:
            if self._closed:
                raise EOFError
            process = subprocess.Popen(  # noqa: S603, this Python, with nothing in its arguments that a file brought
                [sys.executable, "-c", code],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                **own_group,
            )
            self._processes.append(process)
        self._mine.process = process
        return process

    def _ask(self, task: Any) -> Any:
        try:
            process: subprocess.Popen[bytes] = getattr(self._mine, "process", None) or self._start()
            assert process.stdin is not None
            assert process.stdout is not None
            pickle.dump(task, process.stdin, pickle.HIGHEST_PROTOCOL)
            process.stdin.flush()
            result = pickle.load(process.stdout)  # noqa: S301, a pipe from a process of our own
        except (EOFError, OSError, pickle.UnpicklingError) as error:
            raise WorkerEnded(
                "A worker process ended before its work was done.", "If memory ran out, use fewer workers: --workers 1"
            ) from error
        self.ready = True
        if isinstance(result, BaseException):
            raise result
        return result


def serve(work: str) -> None:
    """Run as a helper process: answer tasks until stdin ends.

    Args:
        work: the function, as "module:name".
    """
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever a library prints must not end up among the answers
    module, _, name = work.partition(":")
    function = getattr(importlib.import_module(module), name)
    _serve(function, sys.stdin.buffer, answers)


def _serve(function: Callable[[Any], Any], tasks: IO[bytes], answers: IO[bytes]) -> None:
    while True:
        try:
            task = pickle.load(tasks)  # noqa: S301, a pipe from the process that started this one
        except EOFError:
            return
        try:
            result = function(task)
        except Exception as error:
            result = error
        try:
            pickle.dump(result, answers, pickle.HIGHEST_PROTOCOL)
            answers.flush()
        except BrokenPipeError:
            return
