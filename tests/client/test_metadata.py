"""Metadata of a channel: texts are str, and what a type does not have is empty or None."""
from __future__ import annotations

import json
import math

import pytest

import caproto as ca
from caproto import ChannelType
from caproto._client.metadata import LIMITS, Metadata, known_metadata, metadata_from
from caproto._protocol.channel_facts import ChannelFacts

LIMITS_OF_X = {name: float(number) for number, name in enumerate(LIMITS)}


@pytest.fixture
def double() -> Metadata:
    return metadata_from(ca.DBR_CTRL_DOUBLE(units=b"\xb5m", precision=3, **LIMITS_OF_X))


def test_of_a_number(double):
    assert (double.units, double.precision, double.enum_strings) == ("µm", 3, ())
    assert {name: getattr(double, name) for name in LIMITS} == LIMITS_OF_X


def test_of_an_integer():
    found = metadata_from(ca.DBR_CTRL_LONG(units=b"counts", upper_ctrl_limit=7))
    assert found.units == "counts" and found.precision is None and found.upper_ctrl_limit == 7


def test_of_an_enum():
    found = metadata_from(ca.DBR_CTRL_ENUM(enum_strings=(b"off", b"on")))
    assert found.enum_strings == ("off", "on") and found.units == "" and found.precision is None
    assert all(getattr(found, name) is None for name in LIMITS)


def test_of_what_carries_none():
    assert metadata_from(ca.DBR_CTRL_STRING()) == metadata_from(None) == Metadata()


def test_a_dict_for_json(double):
    assert json.loads(json.dumps(double.to_dict())) == {
        "units": "µm", "precision": 3, "enum_strings": [], **LIMITS_OF_X,
    }


def test_it_prints_as_a_block_of_what_there_is(double):
    lines = str(double).splitlines()
    assert lines[:3] == ["Metadata", "  units                µm", "  precision            3"]
    assert "enum_strings" not in str(double) and len(lines) == 3 + len(LIMITS)
    assert "'off', 'on'" in str(Metadata(enum_strings=("off", "on")))
    assert str(Metadata()).split() == ["Metadata", "none"]
    assert "µm" in double._repr_html_()


class TestKnown:
    def facts(self, native, structure=None) -> ChannelFacts:
        facts = ChannelFacts(native, 1)
        return facts if structure is None else facts.described(structure.DBR_ID, bytes(structure))

    def test_nothing(self):
        assert known_metadata(self.facts(ChannelType.DOUBLE)) is None

    def test_a_control_reply(self):
        known = known_metadata(self.facts(ChannelType.DOUBLE, ca.DBR_CTRL_DOUBLE(units=b"s")))
        assert known == metadata_from(ca.DBR_CTRL_DOUBLE(units=b"s"))

    def test_a_graphic_reply_is_not_enough(self):
        """It has no control limits."""
        facts = self.facts(ChannelType.DOUBLE, ca.DBR_GR_DOUBLE(units=b"s"))
        assert known_metadata(facts) is None

    def test_a_text_has_none(self):
        assert known_metadata(self.facts(ChannelType.STRING)) == Metadata()

    def test_undefined_limits_are_nan(self):
        control = ca.DBR_CTRL_DOUBLE(upper_alarm_limit=math.nan)
        assert math.isnan(known_metadata(self.facts(ChannelType.DOUBLE, control)).upper_alarm_limit)
