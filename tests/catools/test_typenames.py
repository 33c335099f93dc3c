"""Names of types."""
from __future__ import annotations

from caproto._catools.typenames import TYPE_NUMBERS, native_name, request_name


def test_names():
    assert request_name(20) == "DBR_TIME_DOUBLE" and request_name(1) == "DBR_SHORT"
    assert native_name(3) == "DBF_ENUM"


def test_what_can_be_read():
    assert TYPE_NUMBERS["CTRL_SHORT"] == 29 and TYPE_NUMBERS["CLASS_NAME"] == 38
    assert {"INT", "PUT_ACKT", "PUT_ACKS"}.isdisjoint(TYPE_NUMBERS)
