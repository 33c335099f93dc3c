"""Templates of the user."""
from __future__ import annotations

import string
import struct

import pytest

from caproto import ChannelType, TimeStamp
from caproto._catools.extras import Extras
from caproto._catools.options import UsageError
from caproto._catools.samples import Sample
from caproto._catools.settings import Failed, Settings
from caproto._catools.template import Template, refuse_fields_of_updates
from caproto._catools.values import Reading
from caproto._client.metadata import Metadata
from caproto._protocol.text import decode_text

STAMP = TimeStamp.from_posix_nanoseconds(1741529716_500000000)
FRONT = struct.pack(">hhII", 4, 1, *STAMP)
SAMPLE = Sample(
    "x:y", reading=Reading(20, 2, FRONT + struct.pack(">idd", 0, 7.25, 1e6)),
    native=ChannelType.DOUBLE, room=2, about=Metadata(units="mm", precision=3), host="ioc:5064",
)


def fill(text, sample=SAMPLE):
    extras = Extras()
    extras.template, extras.zone = text, "UTC"
    before = TimeStamp(STAMP.seconds - 1, STAMP.nanoseconds)
    return Template(extras).fill(sample, Settings("caproto-get"), 3, before)


def test_fields():
    for text, filled in (
        ("{name}={value}", "x:y=7.25 1e+06"), ("{value:.1f}", "7.2 1000000.0"),
        ("{value:,.0f} {units:>4}", "7 1,000,000   mm"), ("{time:%H:%M:%S.%f}", "14:15:16.500000"),
        ("{time}", "2025-03-09 14:15:16.500000"), ("{severity}/{status}", "MINOR/HIGH"),
        ("{number:03d} {delta:.2f}", "003 1.00"), ("{host} {type} {count}", "ioc:5064 DOUBLE 2"),
        (r"a\tb\x41{{}}", "a\tbA{}"), ("{arrival}{state}|{event}", "<undefined>|value"),
        ("5 \u00b5m", "5 \u00b5m"), ("{time:%Y-20260101}", "2025-20260101"), (r"\xff", "\udcff"),
    ):
        assert fill(text) == filled


def test_units_are_not_written_twice():
    extras = Extras()
    extras.number_form = "human"
    for text, refused in (
        ("{value} {units}", True), ("{value}", False), ("{value:.1f} {units}", False),
    ):
        extras.template = text
        try:
            Template(extras)
        except UsageError as error:
            assert refused and "with --human {value} has its units" in str(error)
        else:
            assert not refused


def test_fields_that_only_updates_have():
    refuse_fields_of_updates("{{arrival}} {time} {name}")
    for field in "arrival", "number", "delta:.3f":
        with pytest.raises(UsageError, match="is for caproto-monitor only"):
            refuse_fields_of_updates(f"{{name}} {{{field}}}")


def test_what_is_refused():
    for text in (
        "{value.__class__}", "{name[0]}", "{0}", "{}", "{nothing}", "{value!r}", "{value", "}",
        "{value:{name}}", "{settings}", "{value:1000000000}", "{value:.100000f}", "{name:>99999}",
    ):
        with pytest.raises(UsageError, match="--format"):
            fill(text)


@pytest.mark.parametrize(
    ("text", "said"),
    [("{name:d}", "'d' is not a format for text"),
     ("{units:.2f}", "'.2f' is not a format for text"),
     ("{value:q}", "'q' is not a format for a floating-point number"),
     ("{value:x}", "'x' is not a format for a floating-point number"),
     ("{count:c}", "'c' is not a format for a whole number"),
     ("{count:.2d}", "'.2d' is not a format for a whole number"),
     ("{name:=+9}", "'=\\+9' is not a format for text"), ("{delta:s}", "a floating-point number")],
)
def test_formats_that_do_not_fit(text, said):
    """In our words, not in those of Python, and none is a defect."""
    with pytest.raises(Failed, match=f"^--format: x:y: .*{said}$"):
        fill(text)


def test_no_letter_is_a_defect():
    """Each conversion of Python, on each type: written, or refused with a message."""
    elements = {
        ChannelType.STRING: (b"text".ljust(40, b"\0"), 14),
        ChannelType.INT: (struct.pack(">h", -321), 15), ChannelType.FLOAT: (b"\x7f\x80\0\0", 16),
        ChannelType.ENUM: (struct.pack(">H", 1), 17), ChannelType.CHAR: (b"\xff", 18),
        ChannelType.LONG: (struct.pack(">i", 55296), 19),
        ChannelType.DOUBLE: (struct.pack(">d", float("nan")), 20),
    }
    gaps = {14: 0, 15: 2, 16: 0, 17: 2, 18: 3, 19: 0, 20: 4}
    outcomes = set()
    for native, (value, data_type) in elements.items():
        payload = FRONT + bytes(gaps[data_type]) + value
        sample = SAMPLE._replace(reading=Reading(data_type, 1, payload), native=native, room=1)
        for letter in string.ascii_letters + "%,_#=":
            for form in (letter, f"9{letter}", f".3{letter}", f"+{letter}"):
                try:
                    outcomes.add(type(fill(f"{{value:{form}}}", sample)))
                except Failed as error:
                    assert str(error).startswith(f"--format: x:y: {form!r} is not a format for ")
                    outcomes.add(Failed)
    assert outcomes == {str, Failed}


def test_an_enum_has_a_hint():
    about = Metadata(enum_strings=("off", "on"))
    sample = SAMPLE._replace(
        reading=Reading(17, 1, FRONT + b"\0\0\0\1"), native=ChannelType.ENUM, room=1, about=about
    )
    assert fill("{value:>4}", sample) == "  on"
    with pytest.raises(Failed, match="'.3f' is not a format for text; with -n an enum is a number"):
        fill("{value:.3f}", sample)


def test_widths_of_times():
    for form in ("%9000d", "%-%0001000d"):
        with pytest.raises(UsageError, match="--format: .* at most 3 digits"):
            fill(f"{{time:{form}}}")
    assert fill("{time:%%9000d}") == "%9000d"


def test_texts_in_latin_1():
    """They are a class of their own, to be sent as they came."""
    about = Metadata(units=decode_text(b"\xb5m"))
    assert fill("{value:.1f} {units:>3}", SAMPLE._replace(room=1, about=about)).endswith(" µm")
    text = Sample("x", reading=Reading(0, 1, b"gr\xfcn".ljust(40, b"\0")))
    assert fill("{value:>5s}", text) == " grün"


@pytest.mark.parametrize("width", ["99999", "\u0669" * 8, "." + "\u0669" * 8 + "f"])
def test_widths_that_no_line_can_have(width):
    """Python takes the digits of any script."""
    with pytest.raises(UsageError, match="widths and precisions have at most 4 digits"):
        fill(f"{{value:{width}}}")
