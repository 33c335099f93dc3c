"""Properties of channels: read from the snapshot, and published when they are assigned."""
from __future__ import annotations

import numpy as np
import pytest

from caproto import AccessRights, CaprotoTypeError
from caproto._server.data import PROPERTY
from caproto._server.properties import Property, check_text, checked_rights
from caproto.server import ChannelDouble, ChannelEnum, ChannelInteger, ChannelString
from tests.server.test_data import Listener


def test_properties_are_attributes():
    channel = ChannelDouble(units="mm", precision=3)
    assert (channel.units, channel.precision) == ("mm", 3)
    listener = Listener()
    channel.subscribe(listener)
    channel.units = "m"
    assert channel.units == "m" and listener.events == [PROPERTY]
    assert listener.posted[0][0].properties["units"] == "m"
    with pytest.raises(CaprotoTypeError):
        channel.units = 5
    assert isinstance(type(channel).units, Property)
    assert type(channel).units.__doc__


def test_every_class_lists_its_properties():
    assert set(ChannelString.properties()) == {"reported_record_type"}
    assert set(ChannelEnum.properties()) == {"reported_record_type", "enum_strings"}
    assert "precision" in ChannelDouble.properties()
    assert "precision" not in ChannelInteger.properties()


def test_the_default_and_the_check_are_those_of_the_class():
    class WithLevel(ChannelDouble):
        level = Property("low", check_text, "How loud.")

    assert WithLevel().level == "low" and WithLevel(level="high").level == "high"
    with pytest.raises(CaprotoTypeError, match="expected a str"):
        WithLevel(level=3)


def test_text_is_a_str():
    assert check_text("mm") == "mm"
    for wrong in (b"mm", 3, None):
        with pytest.raises(CaprotoTypeError):
            check_text(wrong)


@pytest.mark.parametrize("settings", [
    {"alarm": 5}, {"alarm": "x"}, {"clock": 5}, {"max_length": "x"}, {"access_rights": "READ"},
])
def test_wrong_settings_of_a_channel_are_named(settings):
    (name,) = settings
    with pytest.raises(CaprotoTypeError, match=name):
        ChannelInteger(**settings)


def test_rights():
    assert checked_rights(3) == checked_rights(np.uint8(3)) == AccessRights(3)
    with pytest.raises(CaprotoTypeError, match="access_rights"):
        checked_rights(None)
