"""Info merges a value with time, its metadata and the connection; for people and programs."""
from __future__ import annotations

import json

import pytest

import caproto as ca
from caproto import AccessRights, ChannelType, SubscriptionType, TimeStamp
from caproto._client.info import Info
from caproto._client.metadata import LIMITS, Metadata, metadata_from
from caproto._client.subscriptions import SubscriptionState, form_of
from caproto._protocol.channel_facts import ChannelFacts

STAMP = TimeStamp.from_flexible_value("2026-11-22T20:01:02.250000000Z")
NOW = TimeStamp.from_flexible_value("2026-11-22T20:01:03.750000000Z")
HIGH = (ca.AlarmStatus.HIGH, ca.AlarmSeverity.MINOR_ALARM, STAMP)
CONTROL = ca.DBR_CTRL_DOUBLE(units=b"mm", precision=2, upper_ctrl_limit=90.0)


def make(
    data, data_type=ChannelType.TIME_DOUBLE, alarm=HIGH, metadata=None, access=3, count=1, **options
) -> Info:
    response = ca.ReadNotifyResponse(data, data_type, None, 1, 0, metadata=alarm)
    response.sender_address = "10.0.0.7", 5064
    facts = ChannelFacts(ca.native_type(data_type), count)
    if metadata is not None:
        facts = facts.described(metadata.DBR_ID, bytes(metadata))
    response.channel_facts = facts
    options = {
        "connected": True,
        "access": None if access is None else AccessRights(access),
        "subscriptions": (),
        "now": NOW,
        **options,
    }
    return Info("T:x", response, metadata_from(metadata), **options)


def test_a_number():
    info = make([1.5], metadata=CONTROL)
    assert (info.name, info.value, info.text) == ("T:x", 1.5, "1.50")
    assert (info.type, info.count, info.host) == (ChannelType.DOUBLE, 1, "10.0.0.7:5064")
    assert (info.access, info.connected) == ("read, write", True)
    assert (info.status, info.severity) == HIGH[:2]
    assert (info.timestamp, info.age) == (STAMP.timestamp, 1.5)
    assert (info.units, info.precision, info.enum_strings) == ("mm", 2, ())
    assert info.upper_ctrl_limit == 90.0 and info.lower_ctrl_limit == 0.0
    assert info.subscriptions == ()


def test_every_promised_attribute():
    promised = (
        "name value text type count host access connected status severity timestamp age units "
        f"precision enum_strings {' '.join(LIMITS)} subscriptions"
    ).split()
    assert list(Info.FIELDS) == promised == list(make([1.5]).to_dict())
    assert all(hasattr(make([1.5]), name) for name in promised)


def test_an_enum():
    states = ca.DBR_CTRL_ENUM(enum_strings=(b"off", b"on"))
    info = make([1], ChannelType.TIME_ENUM, metadata=states)
    assert info.value == 1 and info.value.name == info.text == "on"
    assert info.enum_strings == ("off", "on") and info.units == ""
    assert "1 'on'" in str(info)


def test_a_text():
    info = make([b"hello"], ChannelType.TIME_STRING)
    assert info.value == info.text == "hello" and info.precision is info.upper_disp_limit is None


def test_an_array():
    info = make([1.0, 2.0, 3.0], count=10)
    assert info.value.tolist() == [1.0, 2.0, 3.0] and info.count == 10
    assert "3 of 10" in str(info)


@pytest.mark.parametrize(
    "access, words",
    [(3, "read, write"), (1, "read"), (2, "write"), (0, "none"), (None, "unknown")],
)
def test_access(access, words):
    assert make([1.5], access=access).access == words


def test_a_time_that_is_not_defined():
    info = make([1.5], alarm=(17, 3, TimeStamp(0, 0)))
    assert info.age is None and "undefined" in str(info)


def test_a_reply_of_another_type_without_alarm_and_time():
    info = make([1.5], ChannelType.DOUBLE, alarm=None)
    assert info.status is info.severity is info.timestamp is info.age is None
    assert json.loads(json.dumps(info.to_dict()))["severity"] is None
    assert "severity" not in str(info)


def test_subscriptions_with_callbacks():
    class Counted(SubscriptionState):
        callbacks = {1: print, 2: print}
        wanted = True

    mask = SubscriptionType.DBE_VALUE | SubscriptionType.DBE_PROPERTY
    form = form_of("time", None, 0, 0, 0, mask)
    wanted, not_wanted = Counted(None, form), SubscriptionState(None, form)
    info = make([1.5], subscriptions=[wanted, not_wanted])
    assert info.subscriptions == ("time, value|property, 2 callbacks",)


def test_a_dict_for_json():
    found = json.loads(json.dumps(make([1.0, 2.0], count=10, metadata=CONTROL).to_dict()))
    assert found["value"] == [1.0, 2.0] and found["type"] == "DOUBLE"
    assert found["severity"] == "MINOR_ALARM" and found["status"] == "HIGH"
    assert found["units"] == "mm" and found["enum_strings"] == found["subscriptions"] == []
    assert found["timestamp"] == STAMP.timestamp


def test_it_prints_as_one_aligned_block(monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    info = make([1.5], metadata=CONTROL)
    lines = str(info).splitlines()
    assert lines[0] == "T:x" and repr(info) == str(info)
    assert len({len(line) - len(line.split(None, 1)[1]) for line in lines[1:]}) == 1
    facts = dict(line.split(None, 1) for line in lines[1:])
    assert facts["value"] == "1.5 mm" and facts["text"] == "1.50" and facts["age"] == "1.500 s"
    assert facts["access"] == "read, write" and facts["upper_ctrl_limit"] == "90.0"
    assert facts["severity"] == "MINOR_ALARM" and facts["count"] == "1"
    long = make([b"x" * 39] * 10, ChannelType.TIME_STRING, count=10)
    assert max(map(len, str(long).splitlines())) <= 60


def test_html():
    assert "<caption>T:x</caption>" in make([1.5])._repr_html_()


def test_metadata_fields_are_shared():
    assert set(Metadata._fields) < set(Info.FIELDS)
