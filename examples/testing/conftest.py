"""A fake beamline for the tests: PVs served by the process of the tests itself."""
import math

import pytest

from caproto import ServerConfiguration
from caproto.server import PVGroup, Refused, pvproperty
from caproto.threading.client import ClientConfiguration, Context
from caproto.threading.server import Server


# begin-ioc
class FakeBeamline(PVGroup):
    """A motor between -10 and 10, and a detector that reads most at 3."""

    motor = pvproperty(value=0.0)
    detector = pvproperty(value=0.0, read_only=True)

    @motor.putter
    def motor(self, instance, value):
        if abs(value) > 10:
            raise Refused("the motor is at its limit")
        self.detector.write(math.exp(-((value - 3) ** 2)))
# end-ioc


# begin-server
@pytest.fixture
def beamline():
    """The PVs, for the tests to look at and to change."""
    return FakeBeamline(prefix="line:")


@pytest.fixture
def server(beamline):
    """Serve them on this host only, on a free port, until the end of the test."""
    configuration = ServerConfiguration(
        interfaces=("127.0.0.1",), server_port=0, auto_beacon_addr_list=False
    )
    with Server(beamline, configuration) as server:
        yield server
# end-server


# begin-client
@pytest.fixture
def ctx(server):
    """A client that finds this server, and nothing else on the network."""
    configuration = ClientConfiguration(
        addr_list=[("127.0.0.1", server.udp_port)], auto_addr_list=False, use_repeater=False
    )
    with Context(configuration=configuration, timeout=5) as ctx:
        yield ctx
# end-client


# begin-environment
@pytest.fixture
def environment(server, monkeypatch):
    """The same for code that makes a Context of its own, and for programs that a test starts."""
    monkeypatch.setenv("EPICS_CA_ADDR_LIST", f"127.0.0.1:{server.udp_port}")
    monkeypatch.setenv("EPICS_CA_AUTO_ADDR_LIST", "NO")
    monkeypatch.setenv("EPICS_CA_NAME_SERVERS", "")
    monkeypatch.setenv("CAPROTO_USE_REPEATER", "NO")
# end-environment
