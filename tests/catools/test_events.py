"""What happens to PVs, in one stream."""
from __future__ import annotations

import pytest

from caproto import ChannelType, EventAddRequest
from caproto._catools.events import Events
from caproto._catools.extras import Extras
from caproto._catools.samples import sampled_type
from caproto._catools.settings import Settings
from caproto.threading.client import Context
from tests.harness.fake_server import FakePV, FakeServer


@pytest.fixture
def settings(loggers_as_before):
    return Settings("caproto-monitor")


def test_metadata_comes_before_the_value(ioc, settings):
    with Context(configuration=ioc.configuration) as context:
        events = Events(context, [ioc.pv("double")], settings, with_metadata=True)
        first, second = events.next(10), events.next(10)
        events.end()
        assert first.metadata.units == "mm" and first.reading is None
        assert second.metadata is None and second.reading.length == 1
        assert events.begun(ioc.pv("double"))


def test_no_read_access_is_an_event(ioc, settings):
    settings.extras = Extras()
    with Context(configuration=ioc.configuration) as context:
        events = Events(context, [ioc.pv("noaccess")], settings)
        event = events.next(10)
        events.end()
    assert event.problem == "no read access (ECA_NORDACCESS)" and event.reading is None


def test_the_type_is_the_caller_s_choice(ioc, settings):
    for type_of, expected in (
        ({}, ChannelType.TIME_STRING), ({"type_of": sampled_type}, ChannelType.TIME_ENUM),
    ):
        with Context(configuration=ioc.configuration) as context:
            events = Events(context, [ioc.pv("enum")], settings, **type_of)
            assert events.next(10).reading.data_type == expected
            events.end()
            assert events.next(0.1) is None


def test_a_pv_that_comes_back_with_another_type(settings):
    """Updates of the old type, which the server would refuse, are not asked for."""
    server = FakeServer({"x": FakePV([1.5], ChannelType.DOUBLE)}).start()
    try:
        with Context(configuration=server.configuration) as context:
            events = Events(context, ["x"], settings, with_metadata=True)
            assert events.next(10).metadata is not None
            assert events.next(10).reading.native is ChannelType.DOUBLE
            server.stop()
            assert events.next(10).reading is None
            server.pvs["x"] = FakePV([b"a", b"b"], ChannelType.STRING)
            server.start()
            context.broadcaster.search_now()
            assert events.next(20).metadata is not None
            event = events.next(10)
            assert (event.native, event.room) == (ChannelType.STRING, 2)
            assert event.reading.elements == [b"a", b"b"]
            assert {one.data_type for one in server.connection.commands(EventAddRequest)} == {
                ChannelType.CTRL_STRING, ChannelType.TIME_STRING
            }
            events.end()
    finally:
        server.stop()
