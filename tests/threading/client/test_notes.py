"""Notes: each is carried out once, and none affects another."""
from __future__ import annotations

import logging

import pytest

import caproto as ca
from caproto._log import CIRCUIT_LOGGER, adapter
from caproto.threading.client._notes import Notes

log = logging.getLogger("caproto.ctx")


def test_notes_are_carried_out_once_in_their_order():
    notes, done = Notes(), []
    for number in range(3):
        notes.leave(lambda number=number: done.append(number))
    assert len(notes.waiting) == 3 and done == []
    notes.run(log)
    notes.run(log)
    assert done == [0, 1, 2] and not notes.waiting


def test_a_note_at_the_end_of_an_object():
    notes, done = Notes(), []
    kept, forgotten = {1}, {2}
    first = notes.leave_at_end_of(kept, lambda: done.append("kept"))
    notes.leave_at_end_of(forgotten, lambda: done.append("forgotten"))  # and not kept
    notes.run(log)
    del forgotten, kept
    assert not done and first is notes.ended[0]
    notes.run(log)
    notes.run(log)
    assert done == ["kept"] and not notes.ended


def test_a_note_that_is_left_meanwhile_waits_for_the_next_run():
    """So a note that leaves itself again holds nothing up."""
    notes, done = Notes(), []

    def again() -> None:
        done.append(len(done))
        notes.leave(again)

    notes.leave(again)
    notes.run(log)
    assert done == [0] and len(notes.waiting) == 1


@pytest.mark.parametrize(
    "error, level, text",
    [
        (ca.CaprotoTimeoutError("too late"), logging.WARNING, "'the:pv': too late"),
        (ZeroDivisionError(), logging.ERROR, "Unexpected error in 'the:pv'"),
    ],
)
def test_one_that_fails_is_reported_with_its_pv(error, level, text, caplog):
    notes, done = Notes(), []

    def fail() -> None:
        raise error

    notes.leave(fail, "the:pv")
    notes.leave(lambda: done.append(True))
    notes.run(log)
    (record,) = caplog.records
    assert done and record.levelno == level and record.getMessage() == text
    assert bool(record.exc_info) is (level == logging.ERROR)


def test_a_log_handler_that_fails_stops_nothing():
    notes, done = Notes(), []

    class Failing(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise OSError("disk full")

    def fail() -> None:
        raise ZeroDivisionError

    private = adapter(CIRCUIT_LOGGER)
    private.addHandler(Failing())
    notes.leave(fail)
    notes.leave(lambda: done.append(True))
    notes.run(private)
    assert done
