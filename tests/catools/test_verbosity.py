"""How much of what the client does is logged."""
from __future__ import annotations


def test_each_level_adds_something(ioc, call):
    def logged(option):
        return call("get", option, ioc.pv("double"), ioc=ioc).err

    searches, circuits, commands = map(logged, ("-v", "-vv", "-vvv"))
    assert "Search 1 for 1 names" in searches and "circ]" not in searches
    assert "Search 1 for 1 names" in circuits and "Connected" in circuits
    assert "ReadNotifyRequest" not in circuits and "ReadNotifyRequest" in commands
