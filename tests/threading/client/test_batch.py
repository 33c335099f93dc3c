"""Many requests sent together: at the end of the block, one send per circuit, no silent loss."""
from __future__ import annotations

import functools
import threading
from time import monotonic

import pytest

import caproto as ca
from caproto import CaprotoTimeoutError, CaprotoTypeError, CaprotoValueError, ChannelType
from caproto.threading.client import AccessError, Batch, Context, ContextDisconnectedError
from tests.harness.fake_server import FakePV, ignore
from tests.threading.client.told import Told, flush


def connect(ctx, *names):
    pvs = ctx.get_pvs(*names)
    for pv in pvs:
        pv.wait_for_connection()
    return pvs


def keep(into: dict, name: str, response) -> None:
    into[name] = response.data.tolist()


def test_replies_reach_their_callbacks(server, ctx, wait_for):
    x, y, wave = connect(ctx, "x", "y", "wave")
    seen: dict = {}
    with Batch() as batch:
        for pv in (x, y, wave):
            batch.read(pv, functools.partial(keep, seen, pv.name))
    wait_for(lambda: len(seen) == 3)
    assert seen == {"x": [1.5], "y": [2.5], "wave": [1, 2, 3]}


def test_nothing_is_sent_before_the_end_of_the_block(server, ctx):
    (x,) = connect(ctx, "x")
    with Batch() as batch:
        batch.read(x, print)
        batch.write(x, 3.0)
        x.read()  # a later request that has been answered
        assert len(server.received(ca.ReadNotifyRequest)) == 1
        assert not server.received(ca.WriteRequest)


def test_one_send_for_each_circuit(start_server, monkeypatch, wait_for):
    servers = [start_server({f"{host}:{i}": float(i) for i in range(200)}) for host in "ab"]
    addresses = " ".join(f"127.0.0.1:{server.port}" for server in servers)
    environ = {**servers[0].environ, "EPICS_CA_ADDR_LIST": addresses}
    from caproto.threading.client import ClientConfiguration

    configuration = ClientConfiguration.from_environment(environ)
    with Context(configuration=configuration, timeout=10) as ctx:
        pvs = connect(ctx, *(name for server in servers for name in server.pvs))
        sent: list[int] = []
        for manager in ctx.circuit_managers.values():
            sock = manager._circuit._transport._socket

            class Counting:
                def __init__(self, sock) -> None:
                    self._sock = sock

                def __getattr__(self, name):
                    return getattr(self._sock, name)

                def send(self, data):
                    sent.append(len(data))
                    return self._sock.send(data)

            manager._circuit._transport._socket = Counting(sock)
        seen: dict = {}
        with Batch() as batch:
            for pv in pvs:
                batch.read(pv, functools.partial(keep, seen, pv.name))
        assert sent == [200 * 16] * 2
        wait_for(lambda: len(seen) == 400)
        assert seen == {f"{host}:{i}": [float(i)] for host in "ab" for i in range(200)}


def test_writes_with_and_without_confirmation(server, ctx, wait_for):
    x, y = connect(ctx, "x", "y")
    confirmed: list = []
    with Batch() as batch:
        batch.write(x, 7.0, lambda response: confirmed.append(response))
        batch.write(y, 8.0)
    wait_for(lambda: confirmed)
    assert confirmed[0].status.success
    assert x.read().data[0] == 7.0 and y.read().data[0] == 8.0
    assert len(server.received(ca.WriteNotifyRequest)) == 1
    assert len(server.received(ca.WriteRequest)) == 1


def test_in_the_order_in_which_they_were_made(server, ctx, wait_for):
    (x,) = connect(ctx, "x")
    seen: list = []
    with Batch() as batch:
        for value in range(20):
            batch.write(x, float(value))
            batch.read(x, lambda response: seen.append(response.data[0]))
    wait_for(lambda: len(seen) == 20)
    assert seen == [float(value) for value in range(20)]


def test_types_and_counts(server, ctx, wait_for):
    x, wave = connect(ctx, "x", "wave")
    seen: list = []
    with Batch() as batch:
        batch.read(x, lambda response: seen.append(response), data_type="time")
        batch.read(wave, lambda response: seen.append(response), data_count=2)
        batch.write(x, "2.5", data_type=ChannelType.STRING)
        batch.write(wave, [9, 9, 9], data_count=1)
    wait_for(lambda: len(seen) == 2)
    assert seen[0].data_type is ChannelType.TIME_DOUBLE
    assert seen[1].data.tolist() == [1, 2]
    wait_for(lambda: len(server.received(ca.WriteRequest)) == 2)
    first, second = server.received(ca.WriteRequest)
    assert first.data_type is ChannelType.STRING and second.data.tolist() == [9]


@pytest.mark.parametrize(
    "spoil, error",
    [
        (lambda batch, x: batch.read(x, 3), CaprotoTypeError),
        (lambda batch, x: batch.read(x.name, print), CaprotoTypeError),
        (lambda batch, x: batch.write(None, 1.0), CaprotoTypeError),
        (lambda batch, x: batch.read(x, print, data_type="banana"), CaprotoValueError),
        (lambda batch, x: batch.read(x, print, data_count=-1), CaprotoValueError),
        (lambda batch, x: batch.write(x, 1.0, 3), CaprotoTypeError),
        (lambda batch, x: batch.write(x, 1.0, data_count="many"), CaprotoTypeError),
    ],
)
def test_impossible_arguments_raise_at_the_call(server, ctx, spoil, error):
    (x,) = ctx.get_pvs("x")
    batch = Batch()
    with pytest.raises(error):
        spoil(batch, x)


def test_a_time_that_is_over(ctx):
    (pv,) = ctx.get_pvs("not there")
    with pytest.raises(CaprotoTimeoutError, match="'not there' was not found within 0 s"):
        with Batch(timeout=-1) as batch:
            batch.read(pv, print)


def test_an_impossible_timeout():
    with pytest.raises(CaprotoValueError):
        Batch(timeout=float("nan"))


def test_a_block_that_fails_sends_nothing(server, ctx):
    (x,) = connect(ctx, "x")
    with pytest.raises(ZeroDivisionError):
        with Batch() as batch:
            batch.write(x, 3.0)
            raise ZeroDivisionError
    assert x.read().data[0] == 1.5
    with batch:  # and what it had collected is forgotten
        pass
    assert x.read().data[0] == 1.5
    assert not server.received(ca.WriteRequest)


def test_a_batch_can_be_used_again(server, ctx, wait_for):
    (x,) = connect(ctx, "x")
    seen: list = []
    batch = Batch()
    for _ in range(2):
        with batch:
            batch.read(x, lambda response: seen.append(response))
    wait_for(lambda: len(seen) == 2)


def test_pvs_that_are_not_connected_yet_are_waited_for(server, ctx, wait_for):
    names = ["x", "y", "wave", "text"]
    seen: dict = {}
    with Batch(timeout=10) as batch:
        for pv in ctx.get_pvs(*names):
            batch.read(pv, functools.partial(keep, seen, pv.name))
    wait_for(lambda: set(seen) == set(names))


def test_a_pv_that_nobody_has_delays_no_other(server, ctx, wait_for):
    """Each is asked as soon as it is connected, in whatever order they were noted."""
    seen: dict = {}
    held: list = []
    server.answers = lambda search: search.name in ("x", "y") and not held
    held.append("until all are searched")
    pvs = ctx.get_pvs("nobody", "x", "noone", "y")
    wait_for(lambda: {search.name for search in server.searches} == {pv.name for pv in pvs})
    held.clear()
    begun = monotonic()
    moments: dict = {}

    def note(name, response):
        keep(seen, name, response)
        moments[name] = monotonic() - begun

    with pytest.raises(CaprotoTimeoutError, match="'nobody' was not found within 2 s"):
        with Batch(timeout=2) as batch:
            for pv in pvs:
                batch.read(pv, functools.partial(note, pv.name))
                batch.write(pv, 4.5)
    assert set(seen) == {"x", "y"} and max(moments.values()) < 1.9
    assert [pv.read().data[0] for pv in ctx.get_pvs("x", "y")] == [4.5, 4.5]


def test_a_context_that_is_closed_meanwhile_fails_its_own_requests_only(server, ctx, wait_for):
    seen: dict = {}
    with Context(configuration=server.configuration) as other:
        (x,), (lost,) = ctx.get_pvs("x"), other.get_pvs("nobody")
    with pytest.raises(ContextDisconnectedError):
        with Batch(timeout=60) as batch:
            batch.read(lost, print)
            batch.read(x, functools.partial(keep, seen, "x"))
    wait_for(lambda: seen)


def test_closing_a_context_ends_the_wait(server, wait_for):
    ctx = Context(configuration=server.configuration)
    (nobody,) = ctx.get_pvs("nobody")
    closer = threading.Thread(target=lambda: (wait_for(lambda: nobody._waiters), ctx.disconnect()))
    closer.start()
    with pytest.raises(ContextDisconnectedError):
        with Batch(timeout=1e30) as batch:
            batch.read(nobody, print)
    closer.join()


def test_an_idle_pv_is_woken(server, ctx, wait_for):
    x, y = connect(ctx, "x", "y")
    x.go_idle()
    wait_for(lambda: not x.connected)
    seen: dict = {}
    with Batch(timeout=10) as batch:
        for pv in (x, y):
            batch.read(pv, functools.partial(keep, seen, pv.name))
    wait_for(lambda: set(seen) == {"x", "y"})


def test_a_pv_that_was_to_go_idle_is_used_by_a_batch_and_stays(server, ctx, wait_for):
    """`go_idle` waits for a pending operation; meanwhile the PV is used again."""
    x, y = connect(ctx, "x", "y")
    held: list = []
    server.on[ca.ReadNotifyRequest] = lambda connection, command: held.append((connection, command))
    seen: dict = {}
    x.read(wait=False, callback=functools.partial(keep, seen, "first"), timeout=10)
    wait_for(lambda: held)
    x.go_idle()
    with Batch(timeout=10) as batch:
        batch.read(x, functools.partial(keep, seen, "second"))
    wait_for(lambda: len(held) == 2)
    del server.on[ca.ReadNotifyRequest]
    for connection, command in held:
        server.usual(connection, command)
    wait_for(lambda: set(seen) == {"first", "second"})
    y.read()  # the circuit's thread has been around since
    assert x.connected
    assert not server.received(ca.ClearChannelRequest)


def test_what_cannot_be_sent_does_not_stop_the_rest(server, ctx, caplog, wait_for):
    readonly, x, y = connect(ctx, "readonly", "x", "y")
    nobody, noone = ctx.get_pvs("nobody", "noone")
    start = monotonic()
    with pytest.raises(AccessError, match="'readonly': no write access"):
        with Batch(timeout=0.2) as batch:
            batch.write(nobody, 1.0)
            batch.write(readonly, 1.0)
            batch.write(x, "no number")
            batch.write(y, 9.0)
            batch.write(noone, 1.0)
    assert monotonic() - start < 5, "one timeout for all"
    assert y.read().data[0] == 9.0
    told = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len(told) == 3
    assert told[0].startswith("Not sent: 'x': 'no number' of type str cannot be sent as DOUBLE")
    assert [record.pv for record in caplog.records if record.levelname == "WARNING"] == [
        "x", "nobody", "noone",
    ]
    assert "'nobody' was not found within 0.2 s" in told[1]


def test_a_pv_that_is_not_found_is_a_timeout_that_names_it(server, ctx):
    (nobody,) = ctx.get_pvs("nobody")
    with pytest.raises(CaprotoTimeoutError, match="'nobody' was not found within 0.1 s"):
        with Batch(timeout=0.1) as batch:
            batch.read(nobody, print)


def test_no_callback_after_the_timeout(server, ctx, caplog, wait_for):
    (x,) = connect(ctx, "x")
    server.on[ca.ReadNotifyRequest] = ignore
    seen: list = []
    with Batch(timeout=0.1) as batch:
        batch.read(x, lambda response: seen.append(response))
    wait_for(lambda: caplog.records)
    message = "The read of 'x' failed: no reply to the read within 0.1 s"
    assert message in caplog.records[0].getMessage()
    assert not x.circuit_manager.circuit.pending, "the id is free again"
    (request,) = server.received(ca.ReadNotifyRequest)
    del server.on[ca.ReadNotifyRequest]
    server.usual(server.connection, request)
    x.read()
    assert not seen


def test_the_time_counts_from_the_end_of_the_block(server, ctx, wait_for):
    (x,) = connect(ctx, "x")
    seen: list = []
    with Batch(timeout=1.0) as batch:
        batch.read(x, lambda response: seen.append(response))
        gone = batch._deadline
        gone.moment -= 100  # as if the block had taken so long
    wait_for(lambda: seen)


def test_lost_in_the_middle_they_go_to_the_next_circuit(server, ctx, wait_for):
    """Between the choice of a circuit and the sending it may be lost: then nothing was sent."""
    x, y = connect(ctx, "x", "y")
    manager = x.circuit_manager
    original = manager._circuit.request_many

    def late(requests, deadline):
        server.connection.reset()
        wait_for(lambda: manager.dead)
        return original(requests, deadline)

    manager._circuit.request_many = late
    seen: dict = {}
    with Batch(timeout=10) as batch:
        for pv in (x, y):
            batch.read(pv, functools.partial(keep, seen, pv.name))
    wait_for(lambda: set(seen) == {"x", "y"})
    assert x.circuit_manager is not manager


def test_a_refused_read_gives_no_value(start_server, caplog, wait_for):
    server = start_server({"x": FakePV(1.0)})
    server.on[ca.ReadNotifyRequest] = lambda connection, command: connection.send(
        ca.ReadNotifyResponse(
            [0.0], command.data_type, 1, ca.CAStatus.ECA_GETFAIL, command.ioid
        )
    )
    with Context(configuration=server.configuration, timeout=5) as ctx:
        (x,) = connect(ctx, "x")
        seen: list = []
        with Batch() as batch:
            batch.read(x, lambda response: seen.append(response))
        wait_for(lambda: caplog.records)
    assert "'x': the server" in caplog.records[0].getMessage()
    assert "ECA_GETFAIL" in caplog.records[0].getMessage()
    assert not seen


def test_many_batches_from_many_threads(server, ctx, wait_for):
    pvs = connect(ctx, "x", "y", "wave", "text")
    seen: list = []

    def work() -> None:
        for _ in range(20):
            with Batch(timeout=20) as batch:
                for pv in pvs:
                    batch.read(pv, lambda response: seen.append(response))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    wait_for(lambda: len(seen) == 4 * 20 * len(pvs))


def test_the_callback_of_a_write_without_reply_is_called_once_at_the_timeout(server, ctx):
    x, y = connect(ctx, "x", "y")
    held = []
    server.on[ca.WriteNotifyRequest] = lambda *command: held.append(command)
    told = Told()
    with Batch(timeout=0.1) as batch:
        batch.write(x, 1.0, told)
        batch.write(y, 2.0, told)
    told.wait_for_calls(2)
    for command in held:
        server.usual(*command)  # replies that are too late
    flush(x)
    assert [type(response) for response in told.responses] == 2 * [ca.WriteNotifyResponse]
    assert {response.status for response in told.responses} == {ca.CAStatus.ECA_TIMEOUT}


def test_the_repr_says_how_much_is_to_be_sent(server, ctx):
    (x,) = connect(ctx, "x")
    with Batch(timeout=3) as batch:
        batch.write(x, 1)
        assert repr(batch) == "<Batch: 1 request to send, timeout=3>"
    assert repr(batch) == "<Batch: 0 requests to send, timeout=3>"
