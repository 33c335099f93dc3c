"""caproto-info with what cainfo does not have."""
from __future__ import annotations


def test_for_programs(ioc, call):
    done = call("info", "--json", "-w", "0.3", ioc.pv("readonly"), "nonsense", ioc=ioc)
    found, missing = done.objects
    assert done.status == 1 and done.err == ""
    assert (found["event"], found["access"], found["value"]) == ("info", ["read"], 7.0)
    assert found["limits"]["display"] == [0.0, 0.0]
    assert (missing["name"], missing["event"]) == ("nonsense", "not connected")


def test_those_that_are_connected(ioc, call):
    done = call("info", "--partial", "-w", "0.3", ioc.pv("double"), "nonsense", ioc=ioc)
    assert done.status == 1
    assert "    Native data type: DBF_DOUBLE" in done.lines
    assert done.err.startswith("nonsense: not connected: searching")
    assert call("info", "--strict", "-s", "1", ioc.pv("double"), ioc=ioc).status == 0
    done = call("info", "--json", "-s", "1", ioc.pv("double"), ioc=ioc)
    assert (done.status, done.out) == (1, "") and "exclude each other" in done.err
