"""Why a PV is not connected, in one line."""
from __future__ import annotations

from caproto._catools.reasons import connect_some, reason
from caproto._catools.settings import Settings
from caproto.threading.client import Context


def test_those_that_are_missing(ioc):
    settings = Settings("caproto-get")
    settings.timeout = 0.3
    with Context(configuration=ioc.configuration) as context:
        names = ["nonsense", ioc.pv("double"), "nonsense"]
        pvs, missing = connect_some(context, names, settings)
        assert [pv.name for pv in pvs] == names
        assert [pv.name for pv in missing] == ["nonsense"]
        text = reason(context, pvs[0])
        assert text.startswith("not connected: searching for 0.")
        assert f"at 127.0.0.1:{ioc.port}; " in text and "\n" not in text


def test_a_server_that_was_lost(own_ioc, wait_for):
    with Context(configuration=own_ioc.configuration) as context:
        pv = context.get_pv(own_ioc.pv("double"))
        pv.wait_for_connection(timeout=10)
        own_ioc.kill()
        wait_for(lambda: not pv.connected)
        said = f"it was at 127.0.0.1:{own_ioc.port}, which failed: "
        wait_for(lambda: said in reason(context, pv))  # its circuit goes a moment later


def test_a_hint_is_given_once(ioc):
    settings = Settings("caproto-get")
    settings.timeout = 0.3
    with Context(configuration=ioc.configuration) as context:
        _, missing = connect_some(context, ["nonsense", "nothing"], settings)
        first, second = map(str, missing.values())
        hint = "; only this host is searched (loopback)"
        assert first.endswith(hint) and hint not in second
        assert second.endswith(f" at 127.0.0.1:{ioc.port}")
