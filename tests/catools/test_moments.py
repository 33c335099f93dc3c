"""Time stamps in other zones and formats."""
from __future__ import annotations

import re
import time
from datetime import datetime, timezone

import pytest

from caproto import TimeStamp
from caproto._catools.extras import Extras
from caproto._catools.moments import check_time_format, check_zone, iso, stamp_writer
from caproto._catools.options import UsageError

#: 2025-03-09 14:15:16 UTC
STAMP = TimeStamp.from_posix_nanoseconds(1741529716_123456789)


@pytest.fixture(autouse=True)
def berlin(monkeypatch):
    """Local time is that of Berlin."""
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def extras(**attributes):
    made = Extras()
    for name, value in attributes.items():
        setattr(made, name, value)
    return made


def test_widths_that_strftime_cannot_write():
    """It would write nothing at all, not even the rest of the format."""
    for form in ("%9000d", "%1000d", "%_1234H", "%^0999999B"):
        with pytest.raises(UsageError, match="--time-format: .* at most 3 digits"):
            check_time_format(form)
    for form, length in (("%999d", 999), ("%999d%999H", 1998), ("%%9000d", 6)):
        check_time_format(form)
        assert len(stamp_writer(extras(time_format=form))(STAMP)) == length


def test_zones_and_formats():
    for settings, text in (
        (extras(), "2025-03-09 15:15:16.123457"),
        (extras(zone="UTC"), "2025-03-09 14:15:16.123457"),
        (extras(zone="Asia/Tokyo"), "2025-03-09 23:15:16.123457"),
        (extras(time_format="%S.%f"), "16.123457"),
        (extras(time_format="%H:%M"), "15:15"),
        (extras(zone="America/New_York", time_format="%H:%M %Z"), "10:15 EDT"),
        (extras(zone="America/New_York", time_format="%s %%s"), "1741529716 %s"),
        (extras(zone="Asia/Tokyo", time_format="%-s %_s %010s %%-s"), "1741529716 " * 3 + "%-s"),
    ):
        assert stamp_writer(settings)(STAMP) == text
    assert stamp_writer(extras(age=True), "%H")(STAMP) == "15"


def test_microseconds_are_rounded_in_each_form_as_the_epics_tools_round_them():
    for nanoseconds, shown in (
        (499, "000000"), (500, "000001"), (123456500, "123457"), (999_999_999, "999999"),
    ):
        stamp = TimeStamp.from_posix_nanoseconds(1741529716 * 10**9 + nanoseconds)
        for form in extras(), extras(zone="UTC"), extras(time_format="%Y:%S.%f"):
            assert stamp_writer(form)(stamp).endswith(f"16.{shown}")


def test_iso_has_all_digits_and_reads_back():
    assert iso(STAMP, extras()) == "2025-03-09T14:15:16.123456789Z"
    assert iso(STAMP, extras(zone="Asia/Tokyo")) == "2025-03-09T23:15:16.123456789+09:00"
    cut = re.sub(r"(\.\d{6})\d{3}", r"\1", iso(STAMP, extras(zone="Asia/Tokyo")))
    assert datetime.fromisoformat(cut) == datetime(
        2025, 3, 9, 14, 15, 16, 123456, tzinfo=timezone.utc
    )


def test_what_has_passed():
    write = stamp_writer(extras(age=True))
    now = time.time()
    for seconds, pattern in (
        (1, r"1\.\d{3} s ago"), (90, r"90\.\d{3} s ago"), (180, r"3\.0 min ago"),
        (3 * 3600, r"3\.0 h ago"), (86400 * 10, r"10\.0 d ago"),
        (-86400 * 10, r"in 10\.0 d"), (-90, r"in (?:90|89)\.\d{3} s"),
    ):
        assert re.fullmatch(pattern, write(TimeStamp.from_unix_timestamp(now - seconds)))


def test_a_record_that_was_never_processed():
    undefined = TimeStamp(0, 0)
    for settings in (extras(), extras(zone="UTC"), extras(age=True)):
        assert stamp_writer(settings)(undefined) == "<undefined>"
        assert iso(undefined, settings) is None


def test_zones_that_do_not_exist():
    check_zone("Europe/Berlin")
    with pytest.raises(UsageError, match="'Europe/Atlantis' is unknown"):
        check_zone("Europe/Atlantis")


def test_a_zone_of_this_host_that_is_a_day_from_utc(monkeypatch):
    """The system knows it, but not Python."""
    monkeypatch.setenv("TZ", "XXX-24")
    time.tzset()
    with pytest.raises(UsageError, match="the time zone of this host .TZ. is a day or more"):
        stamp_writer(extras(time_format="%H"))
    assert stamp_writer(extras(time_format="%H", zone="UTC"))(STAMP) == "14"
