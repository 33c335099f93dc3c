"""How much of what the client does is logged."""
from __future__ import annotations

import logging

import pytest

import caproto as ca
from caproto._catools.verbosity import log_to_stderr


def test_each_level_adds_something(ioc, call):
    def logged(option):
        return call("get", option, ioc.pv("double"), ioc=ioc).err

    searches, circuits, commands = map(logged, ("-v", "-vv", "-vvv"))
    assert "Search 1 for 1 name to" in searches and "circ]" not in searches
    assert "Search 1 for 1 name to" in circuits and "Connected" in circuits
    assert "ReadNotifyRequest" not in circuits and "ReadNotifyRequest" in commands


@pytest.mark.parametrize(("verbosity", "shown"), [(1, False), (2, False), (3, True)])
def test_what_a_repeater_sends_belongs_to_the_commands(
    verbosity, shown, capsys, loggers_as_before
):
    log_to_stderr(verbosity)
    for datagram in ([ca.RepeaterConfirmResponse("127.0.0.1")], [ca.Beacon(13, 5064, 7)]):
        logging.getLogger("caproto.bcast").debug(
            "%r", datagram, extra={"direction": "<<<---", "their_address": ("127.0.0.1", 5065)}
        )
        assert (type(datagram[0]).__name__ in capsys.readouterr().err) is shown
