"""How users name a data type."""
from __future__ import annotations

import numpy
import pytest

from caproto._errors import CaprotoValueError
from caproto._protocol.dbr import ChannelType
from caproto._protocol.type_names import resolve_data_type


@pytest.mark.parametrize(
    "spec, expected",
    [
        (None, ChannelType.ENUM),
        ("native", ChannelType.ENUM),
        ("status", ChannelType.STS_ENUM),
        ("Time", ChannelType.TIME_ENUM),
        ("GRAPHIC", ChannelType.GR_ENUM),
        ("control", ChannelType.CTRL_ENUM),
        (ChannelType.LONG, ChannelType.LONG),
        (38, ChannelType.CLASS_NAME),
        (numpy.int64(20), ChannelType.TIME_DOUBLE),
        ("dbr_time_double", ChannelType.TIME_DOUBLE),
        ("DBR_CTRL_SHORT", ChannelType.CTRL_INT),
        ("Stsack_String", ChannelType.STSACK_STRING),
    ],
    ids=repr,
)
def test_how_users_name_a_type(spec, expected):
    found = resolve_data_type(spec, ChannelType.ENUM)
    assert found is expected


@pytest.mark.parametrize("spec", [
    39, -1, 2.0, "times", "", "DBR_", "DBR_DBR_INT", b"time", (), int, float, str, numpy.int32,
    numpy.array([1, 2]),
], ids=repr)
def test_a_wrong_type_names_the_legal_ones(spec):
    with pytest.raises(CaprotoValueError) as caught:
        resolve_data_type(spec, ChannelType.DOUBLE)
    message = str(caught.value)
    assert message.startswith(f"data_type={spec!r} ")
    for legal in ("'native'", "'time'", "'control'", "TIME_DOUBLE", "CLASS_NAME", "0 to 38"):
        assert legal in message
    assert len(message) < 350  # not a list of all 39
