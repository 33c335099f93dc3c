"""Templates of the user."""
from __future__ import annotations

import struct

import pytest

from caproto import ChannelType, TimeStamp
from caproto._catools.extras import Extras
from caproto._catools.options import UsageError
from caproto._catools.samples import Sample
from caproto._catools.settings import Failed, Settings
from caproto._catools.template import Template
from caproto._catools.values import Reading
from caproto._client.metadata import Metadata

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


def test_what_is_refused():
    for text in (
        "{value.__class__}", "{name[0]}", "{0}", "{}", "{nothing}", "{value!r}", "{value", "}",
        "{value:{name}}", "{settings}", "{value:1000000000}", "{value:.100000f}", "{name:>99999}",
    ):
        with pytest.raises(UsageError, match="--format"):
            fill(text)


def test_formats_that_do_not_fit():
    for text in ("{name:d}", "{value:q}", "{units:.2f}"):
        with pytest.raises(Failed, match="--format: x:y: "):
            fill(text)
