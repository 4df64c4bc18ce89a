"""Workers: results in order, errors through, and a sentence when one dies."""

from __future__ import annotations

import os
import time

import pytest

from facegan.core import workers
from facegan.core.errors import FaceganError


def slowly(number: int) -> int:
    time.sleep(0.01)
    if number == 7:
        raise ValueError("seven")
    if number == 1007:
        os._exit(3)
    return number * number


def test_results_come_in_order_and_errors_through(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "HEAD_START_SECONDS", 0)
    assert list(workers.in_order(slowly, range(10, 80), 3)) == [n * n for n in range(10, 80)]
    with pytest.raises(ValueError, match="seven"):
        list(workers.in_order(slowly, [1, 2, 3, 4, 5, 6, 7], 2))


def test_a_worker_that_dies_is_an_error_in_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "HEAD_START_SECONDS", 0)
    # The first is worked here; the one that kills comes early enough to be sent to a helper.
    with pytest.raises(FaceganError, match="worker process ended"):
        list(workers.in_order(slowly, [1, 1007, 2, 3], 2))


def test_work_apart_may_crash():
    assert workers.apart(abs, -3) == 3
    with pytest.raises(ZeroDivisionError):
        workers.apart(eval, "1/0")
    with pytest.raises(workers.WorkerEnded):
        workers.apart(os._exit, 0)
