"""What TensorBoard shows of a run that goes back to a checkpoint, or that goes on after a stop."""

from __future__ import annotations

import errno
import threading

import pytest

from facegan.runs.events import Logged, Stepped, Wrote
from facegan.runs.tensorboard import open_log


def scalars(folder):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    shown = accumulator.EventAccumulator(str(folder))
    shown.Reload()
    return [(event.step, event.value) for event in shown.Scalars("loss")]


def row(log, seen):
    log(Stepped(seen))
    log(Logged({"images_seen": seen, "loss": 1.0}))


def test_rows_beyond_a_checkpoint_are_forgotten(tmp_path):
    pytest.importorskip("tensorboard")

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
    found = scalars(tmp_path)
    assert [step for step, _ in found] == list(range(4, 40, 4)), "each once"
    assert [value for _, value in found] == [1, 1, 2, 2, 2, 3, 3, 3, 3]


def test_a_disk_that_is_full_for_a_while_costs_rows_and_no_run(tmp_path, monkeypatch, capfd):
    """TensorBoard writes in a thread: its failure comes to light later, and is one note."""
    record_writer = pytest.importorskip("tensorboard.summary.writer.record_writer")
    notes = []
    with open_log(tmp_path, 0, notes.append) as log:
        row(log, 4)
        log(Wrote(tmp_path / "1.pt"))
        with monkeypatch.context() as full:

            def fail(*_):
                raise OSError(errno.ENOSPC, "No space left on device")

            full.setattr(record_writer.RecordWriter, "write", fail)
            for seen in (8, 12, 16, 20):
                row(log, seen)
                log(Wrote(tmp_path / "2.pt"))
        assert len(notes) == 1 and "No space left on device" in notes[0]
        log(Wrote(tmp_path / "3.pt"))
        row(log, 24)
        log(Wrote(tmp_path / "4.pt"))
        assert [step for step, _ in scalars(tmp_path)] == [4, 24]
        assert "Traceback" not in capfd.readouterr().err


def test_the_hook_of_threads_is_as_before_when_the_log_is_closed(tmp_path):
    before = threading.excepthook
    with pytest.raises(KeyboardInterrupt), open_log(tmp_path, 0):
        assert threading.excepthook is not before
        raise KeyboardInterrupt
    assert threading.excepthook is before


def test_a_folder_that_cannot_be_made_is_a_note(tmp_path):
    pytest.importorskip("tensorboard")
    (tmp_path / "logs").write_text("in the way")
    notes = []
    with open_log(tmp_path / "logs", 0, notes.append) as log:
        row(log, 4)
        log(Wrote(tmp_path / "1.pt"))
        assert len(notes) == 1
        (tmp_path / "logs").unlink()
        log(Wrote(tmp_path / "2.pt"))
        row(log, 8)
        log(Wrote(tmp_path / "3.pt"))
        assert scalars(tmp_path / "logs") == [(8, 1.0)]
