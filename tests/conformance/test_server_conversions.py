"""Conversions of our server against those of a real IOC: every type written, every type read."""
from __future__ import annotations

import math

import caproto as ca
from caproto.server import (
    ChannelByte,
    ChannelDouble,
    ChannelEnum,
    ChannelFloat,
    ChannelInteger,
    ChannelShort,
    ChannelString,
)
from caproto.threading.client import Context, ErrorResponseReceived
from tests.conformance.items import item
from tests.harness.ioc_process import SoftIOC
from tests.server.session_rig import Rig, values_of

STRING, SHORT, FLOAT, ENUM, CHAR, LONG, DOUBLE = map(ca.ChannelType, range(7))
PRECISION = 3
KINDS = {
    STRING: (ChannelString, {}, 6),
    SHORT: (ChannelShort, {}, 0),
    FLOAT: (ChannelFloat, {"precision": PRECISION}, PRECISION),
    ENUM: (ChannelEnum, {}, 0),
    CHAR: (ChannelByte, {}, 0),
    LONG: (ChannelInteger, {}, 0),
    DOUBLE: (ChannelDouble, {"precision": PRECISION}, PRECISION),
}
FTVL = ("STRING", "SHORT", "FLOAT", "ENUM", "UCHAR", "LONG", "DOUBLE")
DATABASE = "\n".join(
    f'record(waveform, "$(P){native.name}") {{ field(FTVL, "{FTVL[native]}") field(NELM, "4") '
    f'field(PREC, "{precision}") }}'
    for native, (_, _, precision) in KINDS.items()
) + "\n"

#: What is written, by the type in which it is written.
WRITTEN = {
    STRING: [
        "12", "-3", "0x10", " 7 ", "1.9", "300", "-40000", "70000", "abc", "nan", "inf", "1e3",
    ],
    SHORT: [0, -3, 300, 32767, -32768],
    FLOAT: [0.5, -1.5, 3e9, 2.9, math.nan, -math.inf],
    ENUM: [0, 2, 40000, 65535],
    CHAR: [0, 65, 200],
    LONG: [0, -1, 70000, 2**31 - 1, -(2**31)],
    DOUBLE: [1.5, -2.9, 1e10, -1e10, 70000.7, 1 / 3, 300.0, math.nan, math.inf, 1e300, 1234567.5],
}
CASES = [(written, value) for written, values in WRITTEN.items() for value in values]


def kinder(written: int, text: str, native: int, read: int | str) -> bool:
    """Where our server does more than an IOC, on purpose."""
    integers = (SHORT, CHAR, LONG)
    large = written != STRING and 1e7 < abs(float(text)) < math.inf
    return (
        # Arrays of states have no texts in an IOC; and it reads no state from a text.
        (native == ENUM and STRING in (written, read))
        or (native == STRING and read == ENUM)
        # It takes only the digits in front of an exponent for an integer,
        or (text == "1e3" and (native in integers or (native == STRING and read in integers)))
        or (native == STRING and large)
        # and bytes above 127 for no bytes, when they are texts.
        or (native == STRING and text == "200" and read == CHAR)
        # It gives a FLOAT six digits.
        or (native == FLOAT and read == STRING and large)
    )


def comparable(element):
    """Texts of numbers count as numbers: an IOC pads them, and chooses other forms of exponents."""
    if isinstance(element, str):
        try:
            element = float(element)
        except ValueError:
            return element
    return "nan" if isinstance(element, float) and math.isnan(element) else element


def outcome(status, elements) -> tuple:
    if not status.success:
        return (status.name,)
    return status.name, [comparable(element) for element in elements]


def of_the_ioc(pv) -> dict[tuple, tuple]:
    """(type written, value as text, "write" or type read) -> what became of it."""
    outcomes: dict[tuple, tuple] = {}

    def note(key, call, *arguments, **options) -> None:
        try:
            reply = call(*arguments, **options)
        except ErrorResponseReceived as error:
            outcomes[key] = outcome(error.status, [])
        else:
            outcomes[key] = outcome(reply.status, [] if key[2] == "write" else values_of(reply))

    for written, value in CASES:
        pv.write([0], data_type=SHORT)
        note((written, str(value), "write"), pv.write, [value], data_type=written)
        for read in range(7):
            note((written, str(value), read), pv.read, data_type=read)
    return outcomes


def of_ours(rig, channel) -> dict[tuple, tuple]:
    """The same, from our own server."""
    outcomes: dict[tuple, tuple] = {}
    for written, value in CASES:
        rig.ask(channel.write([0], SHORT, notify=True))
        (reply,) = rig.ask(channel.write([value], written, notify=True))
        outcomes[written, str(value), "write"] = outcome(reply.status, [])
        for read in range(7):
            (reply,) = rig.ask(channel.read(read))
            outcomes[written, str(value), read] = outcome(reply.status, values_of(reply))
    return outcomes


@item(78)
def test_every_type_written_to_every_type_and_read_as_every_type():
    differences, compared = [], 0
    pvs = {
        native.name: kind(value=[], max_length=4, **options)
        for native, (kind, options, _) in KINDS.items()
    }
    rig = Rig(pvs)
    with SoftIOC([DATABASE]) as ioc, Context(configuration=ioc.configuration) as context:
        for native in KINDS:
            (pv,) = context.get_pvs(ioc.pv(native.name))
            pv.wait_for_connection(timeout=20)
            expected, got = of_the_ioc(pv), of_ours(rig, rig.connect(native.name))
            assert expected.keys() == got.keys()
            for key, result in expected.items():
                written, text, read = key
                if not kinder(written, text, native, read):
                    compared += 1
                    if got[key] != result:
                        differences.append(
                            f"{text} written as {written.name} to {native.name}, read as {read}: "
                            f"{got[key]}, an IOC {result}"
                        )
    assert compared > 1500
    assert not differences, "\n".join(differences)
