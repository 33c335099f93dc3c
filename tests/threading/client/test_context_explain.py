"""Why is this PV not connected? The report says what is true, and hints at the likely cause."""
from __future__ import annotations

import threading

import pytest

import caproto as ca
from caproto import CaprotoKeyError, CaprotoTimeoutError, CaprotoTypeError
from caproto.threading.client import ClientConfiguration, Context, SharedBroadcaster, _search_socket
from tests.harness.fake_server import FakePV, ignore
from tests.harness.ports import free_port

LOOPBACK = "127.0.0.1"


def configuration(*addresses: str, **options) -> ClientConfiguration:
    options = {"auto_addr_list": False, "use_repeater": False, **options}
    return ClientConfiguration(addr_list=addresses, **options)


def hinted(explanation, words: str) -> bool:
    return any(words in hint for hint in explanation.hints)


def test_a_connected_pv_has_no_hints(ctx):
    (pv,) = ctx.get_pvs("x")
    pv.wait_for_connection()
    explanation = ctx.explain(pv)
    assert explanation.connected
    assert explanation.hints == []
    assert explanation.circuit.created
    assert explanation.circuit.version == 13
    assert explanation.circuit.rights == "READ|WRITE"
    assert explanation.search.status is None
    assert explanation.search.found == 1


def test_the_report_prints_for_the_prompt(ctx, server):
    (pv,) = ctx.get_pvs("x")
    pv.wait_for_connection()
    text = repr(ctx.explain(pv))
    assert text.startswith("'x': connected to")
    assert f"connected to {LOOPBACK}:{server.port}" in text
    assert "access: READ|WRITE" in text
    assert f"server_port = {server.port}" in text
    assert "protocol 4.13, 0 operations without reply" in text


def tries(pv) -> int:
    """How often the name was asked for."""
    status = pv.context.explain(pv).search.status
    return status.tries if status is not None else 0


def test_a_name_that_nobody_has(ctx, server, wait_for):
    (known,) = ctx.get_pvs("x")
    known.wait_for_connection()
    (pv,) = ctx.get_pvs("nobody:has:this")
    wait_for(lambda: tries(pv) >= 2)
    explanation = ctx.explain(pv)
    assert not explanation.connected
    assert explanation.search.destinations == {(LOOPBACK, server.port): ""}
    status = explanation.search.status
    assert status.last_sent <= explanation.now
    assert status.next_due > status.last_sent
    assert explanation.server is None and explanation.circuit is None
    assert hinted(explanation, "misspelled")
    assert f"by UDP to {LOOPBACK}:{server.port}" in str(explanation)
    assert "1 name was found" in str(explanation)


def test_nobody_answers_at_all(wait_for):
    with Context(configuration=configuration(f"{LOOPBACK}:{free_port()}")) as ctx:
        (pv,) = ctx.get_pvs("x")
        wait_for(lambda: tries(pv) > 2)
        explanation = ctx.explain(pv)
        assert hinted(explanation, "no server answers any search")
        assert hinted(explanation, "only this host is searched")
        assert hinted(explanation, "misspelled")
        assert "no server has answered any search so far" in str(explanation)


def test_while_search_addresses_are_resolved(monkeypatch):
    """Host names may take their time: it is too early to say that there is nobody."""
    known = threading.Event()
    look_up = _search_socket.resolve_addresses
    monkeypatch.setattr(
        _search_socket, "resolve_addresses", lambda *args: known.wait(10) and look_up(*args)
    )
    with Context(configuration=configuration(f"{LOOPBACK}:{free_port()}")) as ctx:
        (pv,) = ctx.get_pvs("x")
        try:
            explanation = ctx.explain(pv)
            assert "resolving search addresses" in str(explanation)
            assert not hinted(explanation, "there is no address to search")
            assert why(pv).endswith("the search has only just started")
        finally:
            known.set()


def test_there_is_no_address_to_search(wait_for):
    with Context(configuration=configuration()) as ctx:
        (pv,) = ctx.get_pvs("x")
        wait_for(lambda: ctx.explain(pv).search.resolved)
        explanation = ctx.explain(pv)
        assert explanation.search.destinations == {}
        assert hinted(explanation, "there is no address to search")
        assert "no UDP destination" in str(explanation)


def why(pv) -> str:
    """The error of a read that waits for a moment only."""
    with pytest.raises(CaprotoTimeoutError) as raised:
        pv.read(timeout=0.01)
    return str(raised.value)


def test_an_unknown_host_is_named_by_the_report_and_by_timeouts(wait_for):
    asked = configuration("no-such-host.invalid:5064")
    with Context(configuration=asked) as ctx:
        (pv,) = ctx.get_pvs("x")
        wait_for(lambda: ctx.explain(pv).search.unresolved)
        explanation = ctx.explain(pv)
        assert "not to no-such-host.invalid:5064, an unknown host" in str(explanation)
        assert hinted(explanation, "is it misspelled?")
        assert not hinted(explanation, "are empty")
        assert why(pv) == (
            "'x' was not found within 0.01 s: there is no address to search; "
            "no-such-host.invalid:5064 is an unknown host"
        )


def test_timeouts_say_who_was_asked_and_how_and_who_cannot_be(server, wait_for):
    udp, tcp, nobody = free_port(), server.port, free_port()
    servers = f"{LOOPBACK}:{tcp} {LOOPBACK}:{nobody}"
    with Context(configuration=configuration(f"{LOOPBACK}:{udp}", name_servers=servers)) as ctx:
        (pv,) = ctx.get_pvs("nobody has it")

        def settled():
            troubles = ctx.explain(pv).search.name_servers
            return troubles.get((LOOPBACK, tcp)) == "" and "refused" in troubles[LOOPBACK, nobody]

        wait_for(settled)
        assert why(pv).endswith(
            f"no server has answered the search (sent to {LOOPBACK}:{udp}, {LOOPBACK}:{tcp} by TCP)"
            f"; the name server {LOOPBACK}:{nobody} is not available: cannot connect to "
            f"{LOOPBACK}:{nobody}: Connection refused"
        )


def test_timeouts_where_there_is_no_address_to_search(wait_for):
    with Context(configuration=configuration()) as ctx:
        (pv,) = ctx.get_pvs("x")
        wait_for(lambda: ctx.explain(pv).search.resolved)
        assert why(pv).endswith("there is no address to search; none is configured")


def test_timeouts_of_a_context_whose_broadcaster_was_disconnected(server):
    broadcaster = SharedBroadcaster(configuration=server.configuration)
    with Context(broadcaster) as ctx:
        broadcaster.disconnect()
        (pv,) = ctx.get_pvs("x")
        assert why(pv).endswith("it is not searched: the broadcaster was disconnected")


def test_a_destination_that_cannot_be_sent_to(wait_for, caplog):
    # The kernel refuses to send to port 0, as it refuses to send where there is no route.
    good, bad = (LOOPBACK, free_port()), ("240.0.0.1", 5064)
    with Context(configuration=configuration(f"{LOOPBACK}:{good[1]}", "240.0.0.1:5064")) as ctx:
        sock = ctx.broadcaster._service.socket.socket

        class Refusing:
            """The socket, behind a network without a route to one destination."""

            def __getattr__(self, name):
                return getattr(sock, name)

            def sendto(self, data, address):
                if address == bad:
                    raise OSError(101, "Network is unreachable")
                return sock.sendto(data, address)

        ctx.broadcaster._service.socket.socket = Refusing()
        try:
            (pv,) = ctx.get_pvs("x")
            wait_for(lambda: ctx.explain(pv).search.destinations.get(bad))
            explanation = ctx.explain(pv)
            assert explanation.search.destinations == {good: "", bad: "Network is unreachable"}
            assert "by UDP to 240.0.0.1:5064, which fails: Network is unreachable" in str(
                explanation
            )
            assert not hinted(explanation, "no search can leave this host")
        finally:
            ctx.broadcaster._service.socket.socket = sock
    assert [r.getMessage() for r in caplog.records if r.levelname == "WARNING"] == [
        "Cannot send searches to 240.0.0.1:5064: Network is unreachable"
    ]


def test_a_name_server_that_cannot_be_asked(wait_for):
    port = free_port()
    asked = configuration(name_servers=f"{LOOPBACK}:{port}")
    with Context(configuration=asked) as ctx:
        (pv,) = ctx.get_pvs("x")

        def refused():
            return "refused" in ctx.explain(pv).search.name_servers.get((LOOPBACK, port), "")

        wait_for(refused)
        assert hinted(ctx.explain(pv), "a name server is not available")


def test_a_server_that_refuses_connections(ctx, server, wait_for):
    server.stop_tcp()
    (pv,) = ctx.get_pvs("x")

    def refused():
        trouble = ctx.explain(pv).last_failure
        return trouble is not None and trouble.failures >= 2

    wait_for(refused)
    explanation = ctx.explain(pv)
    assert explanation.server == server.address
    assert "refused" in explanation.last_failure.reason
    assert hinted(explanation, "refuses or drops connections")
    assert f"{LOOPBACK}:{server.port}" in str(explanation)
    assert "attempts in a row" in str(explanation)


def test_a_postponed_search_says_when_it_begins_again(ctx, server, wait_for):
    server.on[ca.CreateChanRequest] = lambda connection, command: connection.send(
        connection.circuit.channels[command.cid].create_fail()
    )
    (pv,) = ctx.get_pvs("x")
    wait_for(lambda: ctx.explain(pv).search.postponed)
    explanation = ctx.explain(pv)
    assert 0 < explanation.search.postponed <= 10
    assert "begins again in" in str(explanation)
    assert hinted(explanation, "the server had this PV")


def test_a_channel_that_is_not_created(ctx, server, wait_for):
    server.on[ca.CreateChanRequest] = ignore
    (pv,) = ctx.get_pvs("x")
    wait_for(lambda: pv.circuit_manager is not None and pv.circuit_manager.connected)
    explanation = ctx.explain(pv)
    assert not explanation.circuit.created
    assert hinted(explanation, "has not created the channel")


def test_a_pv_without_any_access(start_server, wait_for):
    server = start_server({"locked": FakePV(1.0, rights=0)})
    with Context(configuration=server.configuration) as ctx:
        (pv,) = ctx.get_pvs("locked")
        pv.wait_for_connection()
        explanation = ctx.explain(pv)
        assert explanation.circuit.rights == ""
        assert hinted(explanation, "access rules")


def test_a_server_that_does_not_respond(server, wait_for):
    quick = ClientConfiguration.from_environment({**server.environ, "EPICS_CA_CONN_TMO": "0.2"})
    with Context(configuration=quick) as ctx:
        (pv,) = ctx.get_pvs("x")
        pv.wait_for_connection()
        heartbeat = pv.circuit_manager._circuit.session.heartbeat
        heartbeat.echo_timeout = 0.2  # five seconds would be a long test
        server.connection.stop_reading()
        wait_for(lambda: not pv.connected)
        explanation = ctx.explain(pv)
        assert explanation.circuit.state == "no response"
        assert hinted(explanation, "connected but silent")
        server.connection.go_on_reading()


def test_an_idle_pv_is_not_searched(ctx, wait_for):
    (pv,) = ctx.get_pvs("x")
    pv.wait_for_connection()
    pv.go_idle()
    wait_for(lambda: not pv.connected)
    explanation = ctx.explain(pv)
    assert explanation.state == "idle"
    assert explanation.search.status is None and explanation.search.postponed is None
    assert "none at present" in str(explanation)
    assert explanation.hints == []


def test_blanks_in_a_name_are_pointed_out(ctx):
    (pv,) = ctx.get_pvs("x ")
    assert hinted(ctx.explain(pv), "blanks or quotes")


def test_a_name_means_the_pv_of_the_lowest_priority(ctx, wait_for):
    (high,) = ctx.get_pvs("x", priority=7)
    (low,) = ctx.get_pvs("x", priority=1)
    high.wait_for_connection()
    low.wait_for_connection()
    low.go_idle()
    wait_for(lambda: not low.connected)
    assert ctx.explain("x").state == "idle"
    assert ctx.explain(high).connected


@pytest.mark.parametrize("what", [None, 5, ["x"]])
def test_what_is_no_pv_is_refused(ctx, what):
    with pytest.raises(CaprotoTypeError, match="pv must be a PV or the name of one"):
        ctx.explain(what)


def test_a_pv_of_somebody_else_is_refused(ctx, server):
    with pytest.raises(CaprotoKeyError, match="'unknown' is not a PV of this Context"):
        ctx.explain("unknown")
    with Context(configuration=server.configuration) as other:
        (foreign,) = other.get_pvs("x")
        with pytest.raises(CaprotoKeyError):
            ctx.explain(foreign)
