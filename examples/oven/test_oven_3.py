"""Tests of oven_3.py; run them with ``python -m pytest``."""
import pytest
from oven_3 import Oven

from caproto import AlarmSeverity, ServerConfiguration
from caproto.threading.client import ClientConfiguration, Context, WriteError
from caproto.threading.server import Server


@pytest.fixture
def oven():
    return Oven(prefix="oven:")


@pytest.fixture
def ctx(oven):
    here = ServerConfiguration(
        interfaces=("127.0.0.1",), server_port=0, auto_beacon_addr_list=False
    )
    with Server(oven, here) as server:
        there = ClientConfiguration(
            addr_list=[("127.0.0.1", server.udp_port)], auto_addr_list=False, use_repeater=False
        )
        with Context(configuration=there) as ctx:
            yield ctx


# begin-tests
def test_the_heater_needs_a_closed_door(ctx, oven):
    (heater,) = ctx.get_pvs("oven:heater")
    oven.door.write("Open")
    with pytest.raises(WriteError):
        heater.write("On")
    assert oven.heater.text == "Off"


def test_a_hot_oven_is_in_alarm(oven):
    oven.temperature.write(245)
    assert oven.temperature.alarm.severity == AlarmSeverity.MAJOR_ALARM
# end-tests
