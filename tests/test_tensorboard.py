"""What TensorBoard shows of a run that goes back, or on."""

from __future__ import annotations

import pytest

from facegan.events import Logged, Stepped, Wrote
from facegan.tensorboard import open_log


def test_rows_beyond_a_checkpoint_are_forgotten(tmp_path):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")

    def steps(log, seen, value):
        for images in seen:
            log(Stepped(images))
            log(Logged({"images_seen": images, "loss": value}))

    with open_log(tmp_path, 0) as log:
        steps(log, range(4, 24, 4), 1.0)
        steps(log, range(12, 32, 4), 2.0)  # back to 8
        log(Wrote(tmp_path / "000000028.pt"))  # rows are on the disk by the next file
        with open_log(tmp_path, 20) as last:
            steps(last, range(24, 40, 4), 3.0)  # stopped, and resumed at 20; on the disk when the run ends, however
    shown = accumulator.EventAccumulator(str(tmp_path))
    shown.Reload()
    found = [(event.step, event.value) for event in shown.Scalars("loss")]
    assert [step for step, _ in found] == list(range(4, 40, 4)), "each once"
    assert [value for _, value in found] == [1, 1, 2, 2, 2, 3, 3, 3, 3]
