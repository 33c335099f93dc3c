"""What is written, and what is said when it cannot be."""
from __future__ import annotations

from types import SimpleNamespace

import pytest

from caproto import (
    DBR_GR_ENUM,
    AccessError,
    CaprotoTimeoutError,
    CAStatus,
    ChannelType,
    ReadNotifyResponse,
    WriteError,
)
from caproto._catools.settings import Failed, Settings
from caproto._catools.writing import Data, values_to_write, write


class FakePV:
    """A connected PV that answers with what it was given."""

    def __init__(self, native, room=1, error=None):
        self.name = "x"
        self.channel = SimpleNamespace(native_data_type=native, native_data_count=room)
        self.error, self.written = error, None

    def read(self, **options):
        states = DBR_GR_ENUM(enum_strings=[b"red", b"10", b"blue"])
        return ReadNotifyResponse([0], ChannelType.GR_ENUM, 1, 1, 1, metadata=states)

    def write(self, data, **options):
        self.written = data, options["data_type"], options["wait"]
        if self.error is not None:
            raise self.error


def settings(**options):
    found = Settings("caput")
    for name, value in options.items():
        setattr(found, name, value)
    return found


def test_text_for_the_server_to_read():
    pv = FakePV(ChannelType.DOUBLE)
    assert values_to_write(pv, ["1e3", "\\t" + 50 * "x"], settings()) == (
        [b"1e3", b"\t" + 38 * b"x"], ChannelType.STRING,
    )


def test_long_text_has_a_zero_at_its_end():
    data = values_to_write(FakePV(ChannelType.CHAR), ["a", "b"], settings(char_as_text=True))
    assert data == (b"a b\0", ChannelType.CHAR)


@pytest.mark.parametrize(
    ("kind", "word", "number"),
    [("any", "blue", 2), ("any", "10", 1), ("any", "2", 2), ("number", "1", 1), ("name", "10", 1)],
)
def test_states(kind, word, number):
    data = values_to_write(FakePV(ChannelType.ENUM), [word], settings(enum_input=kind))
    assert data == ([number], ChannelType.ENUM)


@pytest.mark.parametrize(
    ("kind", "word", "message"),
    [("any", "pink", "Enum string value 'pink' invalid."),
     ("name", "2", "Enum string value '2' invalid."),
     ("any", "9" * 5000, f"Enum string value '{'9' * 5000}' invalid."),
     ("number", "red", "Enum index value 'red' is not a number.")],
)
def test_states_that_there_are_not(kind, word, message):
    with pytest.raises(Failed) as caught:
        values_to_write(FakePV(ChannelType.ENUM), [word], settings(enum_input=kind))
    assert str(caught.value) == message


def test_a_number_beyond_the_states(capsys):
    values_to_write(FakePV(ChannelType.ENUM), ["9"], settings())
    assert capsys.readouterr().err == "Warning: enum index value '9' may be too large.\n"


@pytest.mark.parametrize(
    ("error", "message"),
    [(AccessError("no"), "Write access denied"),
     (WriteError("no", status=CAStatus.ECA_PUTFAIL), "Channel write request failed"),
     (WriteError("no", status=CAStatus.ECA_BADTYPE), CAStatus.ECA_BADTYPE.description)],
)
def test_refusals(error, message):
    with pytest.raises(Failed, match=message):
        write(FakePV(ChannelType.LONG, error=error), Data([b"1"], ChannelType.STRING), settings())


def test_too_many_elements():
    pv = FakePV(ChannelType.LONG)
    with pytest.raises(Failed, match="Invalid element count requested"):
        write(pv, Data([b"1", b"2"], ChannelType.STRING), settings())
    assert pv.written is None


def test_a_completion_that_takes_too_long(capsys):
    pv = FakePV(ChannelType.LONG, error=CaprotoTimeoutError("late"))
    write(pv, Data([b"1"], ChannelType.STRING), settings(completion=True))
    assert pv.written == ([b"1"], ChannelType.STRING, True)
    assert capsys.readouterr().err == "Write callback operation timed out\n"
