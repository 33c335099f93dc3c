"""A decorator that waits for the connection of a PV."""
from __future__ import annotations

import pytest

from caproto.threading.client import CaprotoTimeoutError, ensure_connected


@ensure_connected
def type_of(pv, note=""):
    """Tell its type."""
    return pv.channel.native_data_type.name + note


def test_it_waits_and_passes_everything_on(ctx):
    (x,) = ctx.get_pvs("x")
    assert type_of(x) == "DOUBLE" and type_of(x, note="!") == "DOUBLE!"
    assert type_of.__doc__ == "Tell its type."


def test_without_a_connection(ctx):
    (pv,) = ctx.get_pvs("not there", timeout=0.05)
    with pytest.raises(CaprotoTimeoutError, match="'not there' was not found within 0.05 s"):
        type_of(pv)
