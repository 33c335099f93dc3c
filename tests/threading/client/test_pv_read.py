"""Reading: every argument, what is refused at the call, and what happens when no reply comes."""
from __future__ import annotations

import threading
import time

import pytest

from caproto import (
    CaprotoTypeError,
    CaprotoValueError,
    CAStatus,
    ChannelType,
    ErrorResponse,
    ReadNotifyRequest,
    ReadNotifyResponse,
    ReadRequest,
    ReadResponse,
)
from caproto.threading.client import (
    AccessError,
    CaprotoTimeoutError,
    ContextDisconnectedError,
    ErrorResponseReceived,
    ReadError,
)
from tests.conformance.items import item
from tests.harness.fake_server import FakePV, FakeServer, hang_up, ignore
from tests.threading.client.told import Told, flush, hold_callbacks


@pytest.fixture
def pv(ctx):
    """``pv(name)``: connected."""

    def connected(name):
        (found,) = ctx.get_pvs(name)
        found.wait_for_connection()
        return found

    return connected


@pytest.fixture
def x(pv):
    return pv("x")


class Held:
    """A handler that answers nothing until it is told to."""

    def __init__(self, server: FakeServer, kind: type) -> None:
        self.server = server
        self.waiting: list = []
        server.on[kind] = lambda connection, command: self.waiting.append((connection, command))

    def answer(self):
        """The usual answers to what was held so far."""
        waiting, self.waiting = self.waiting, []
        for connection, command in waiting:
            self.server.usual(connection, command)


class TestTypes:
    def test_enum_number_or_name_in_any_case(self, server, x):
        server.pvs["x"].value = 4  # fits all of them
        for wanted, expected in (
            (None, "DOUBLE"), ("native", "DOUBLE"), ("Native", "DOUBLE"),
            ("status", "STS_DOUBLE"), ("time", "TIME_DOUBLE"), ("TIME", "TIME_DOUBLE"),
            ("graphic", "GR_DOUBLE"), ("control", "CTRL_DOUBLE"),
            (ChannelType.TIME_DOUBLE, "TIME_DOUBLE"), (20, "TIME_DOUBLE"),
            ("TIME_DOUBLE", "TIME_DOUBLE"), ("time_double", "TIME_DOUBLE"),
            ("DBR_TIME_DOUBLE", "TIME_DOUBLE"), ("dbr_Time_Double", "TIME_DOUBLE"),
            ("long", "LONG"), ("DBR_STRING", "STRING"), (0, "STRING"), (ChannelType.INT, "INT"),
        ):
            response = x.read(data_type=wanted)
            request = server.received(ReadNotifyRequest)[-1]
            assert request.data_type is response.data_type is ChannelType[expected], wanted

    @pytest.mark.parametrize(
        ("name", "native"), [("x", "DOUBLE"), ("wave", "LONG"), ("text", "STRING")]
    )
    def test_families_follow_the_channel(self, pv, name, native):
        assert pv(name).read().data_type is ChannelType[native]
        response = pv(name).read(data_type="time")
        assert response.data_type is ChannelType["TIME_" + native]
        assert abs(response.metadata.timestamp - time.time()) < 60

    @pytest.mark.parametrize("name", ["x", "not there"])
    @pytest.mark.parametrize("wait", [True, False])
    def test_anything_else_raises_at_the_call(self, server, ctx, name, wait):
        (pv,) = ctx.get_pvs(name)
        for wanted in ("nonsense", "", 39, -1, 1.0, b"TIME_DOUBLE", [], "DBR_"):
            with pytest.raises(CaprotoValueError, match="data type") as caught:
                pv.read(data_type=wanted, wait=wait)
            assert repr(wanted) in str(caught.value)
        assert not server.received(ReadNotifyRequest)


class TestCounts:
    @item(45)
    def test_by_default_everything_that_there_is_now(self, server, pv):
        wave = pv("wave")
        assert wave.read().data.tolist() == [1, 2, 3]
        assert server.received(ReadNotifyRequest)[0].data_count == 0
        server.pvs["wave"].value = [1] * 7
        assert wave.read().data_count == 7

    @item(45)
    def test_older_servers_are_asked_for_the_announced_count(self, start_server, ctx):
        from caproto.threading.client import Context

        old = start_server({"wave": FakePV([1, 2, 3], ChannelType.LONG, max_count=5)}, version=12)
        with Context(configuration=old.configuration, timeout=5) as ctx:
            (wave,) = ctx.get_pvs("wave")
            assert wave.read().data.tolist() == [1, 2, 3, 0, 0]
        assert old.received(ReadNotifyRequest)[0].data_count == 5

    def test_as_many_as_asked_for(self, server, pv):
        wave = pv("wave")
        assert wave.read(data_count=2).data.tolist() == [1, 2]
        assert wave.read(data_count=10).data.tolist() == [1, 2, 3] + [0] * 7
        assert [r.data_count for r in server.received(ReadNotifyRequest)] == [2, 10]

    def test_an_impossible_count_raises_at_the_call(self, server, pv):
        wave = pv("wave")
        for count in (11, -1, 1 << 32):
            with pytest.raises(CaprotoValueError, match=str(count)):
                wave.read(data_count=count)
        assert not server.received(ReadNotifyRequest)

    def test_no_count_at_all_raises_at_the_call(self, ctx):
        (pv,) = ctx.get_pvs("not there")
        for count in ("1", 1.0, True):
            with pytest.raises(CaprotoTypeError, match="data_count"):
                pv.read(data_count=count)

    @item(11)
    @pytest.mark.parametrize("data_type", ["native", "time", "control"])
    def test_no_elements(self, server, pv, data_type):
        server.pvs["wave"].value = []
        response = pv("wave").read(data_type=data_type)
        assert response.data_count == len(response.data) == 0
        assert response.data.tolist() == []


class TestReplies:
    def test_the_reply_is_returned(self, server, x):
        response = x.read()
        assert isinstance(response, ReadNotifyResponse)
        assert response.data.tolist() == [1.5]
        assert response.status is CAStatus.ECA_NORMAL
        assert response.sender_address == server.address

    def test_without_waiting_the_callback_gets_it(self, x):
        told = Told()
        assert x.read(wait=False, callback=told) is None
        assert told.wait() == [1.5]

    def test_waiting_the_callback_gets_it_too(self, server, x):
        told = Told()
        response = x.read(callback=told)
        told.wait()
        assert told.responses == [response]
        assert len(server.received(ReadNotifyRequest)) == 1

    def test_neither_is_no_error(self, server, x):
        assert x.read(wait=False) is None
        flush(x)
        assert len(server.received(ReadNotifyRequest)) == 2

    def test_a_callback_needs_no_other_reference(self, x):
        values = []
        x.read(wait=False, callback=lambda response: values.append(response.data[0]))
        flush(x)
        assert values == [1.5]

    def test_what_cannot_be_called_raises_at_the_call(self, server, x):
        for callback in (5, "text", ()):
            with pytest.raises(CaprotoTypeError, match="callback"):
                x.read(callback=callback)
        assert not server.received(ReadNotifyRequest)

    def test_replies_and_updates_are_told_in_the_order_of_the_wire(self, server, x):
        told = Told()
        x.subscribe().add_callback(told)
        told.wait()
        for number in range(30):
            server.post("x", float(number))
            x.read(wait=False, callback=told)
            assert x.read(callback=told).data[0] == number
        flush(x)
        assert told.values == [1.5, *(float(n) for n in range(30) for _ in range(3))]

    def test_also_those_of_calls_that_wait(self, server, x):
        """The update comes right behind the reply, before the caller is awake."""
        def answer(connection, command):
            server.pvs["x"].value = 1.0
            reply = server.read_reply(connection, command)
            server.pvs["x"].value = 2.0
            updates = [server.update_for("x", r) for r in connection.subscriptions("x").values()]
            connection.send(reply, *updates)

        told = Told()
        x.subscribe().add_callback(told)
        told.wait()
        server.on[ReadNotifyRequest] = answer
        for _ in range(20):
            x.read(callback=told)
        assert told.wait(41) == [1.5] + [1.0, 2.0] * 20

    def test_an_exception_in_a_callback_is_logged_with_the_name(self, x, caplog):
        def fails(response):
            raise ValueError("the user's mistake")

        x.read(wait=False, callback=fails)
        flush(x)
        (record,) = caplog.records
        assert "'x'" in record.getMessage() and isinstance(record.exc_info[1], ValueError)

    def test_the_obsolete_way(self, server, x):
        response = x.read(notify=False)
        assert isinstance(response, ReadResponse) and response.data.tolist() == [1.5]
        assert len(server.received(ReadRequest)) == 1
        assert not server.received(ReadNotifyRequest)

    @item(51)
    def test_from_many_threads_each_gets_its_own(self, pv):
        wave, barrier, wrong = pv("wave"), threading.Barrier(10), []

        def work(count):
            barrier.wait(10)
            for _ in range(30):
                if wave.read(data_count=count).data_count != count:
                    wrong.append(count)

        threads = [threading.Thread(target=work, args=(n + 1,)) for n in range(10)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert not wrong and not any(thread.is_alive() for thread in threads)

    def test_text(self, pv):
        response = pv("text").read()
        assert response.data.tolist() == [b"hello"] and response.strings == ["hello"]

    def test_from_inside_a_callback(self, x):
        values = []
        x.read(wait=False, callback=lambda response: values.append(x.read().data[0]))
        flush(x)
        flush(x)
        assert values == [1.5]


class TestRefusals:
    @item(46)
    def test_an_error_status_raises_with_pv_status_and_address(self, server, x):
        def refuse(connection, command):
            connection.send(
                ReadNotifyResponse(
                    [0.0], command.data_type, 1, CAStatus.ECA_GETFAIL, command.ioid
                )
            )

        server.on[ReadNotifyRequest] = refuse
        with pytest.raises(ReadError) as caught:
            x.read()
        error = caught.value
        assert isinstance(error, ErrorResponseReceived)
        assert (error.pv, error.status, error.address) == (
            x, CAStatus.ECA_GETFAIL, server.address,
        )
        for word in ("'x'", "ECA_GETFAIL", f"127.0.0.1:{server.port}"):
            assert word in str(error)

    @item(50)
    @pytest.mark.parametrize("notify", [True, False])
    def test_an_error_message_finishes_the_read(self, server, x, notify):
        def refuse(connection, command):
            connection.send(
                ErrorResponse(
                    command.header, connection.channel("x").cid, CAStatus.ECA_BADCOUNT, "too many"
                )
            )

        server.on[ReadNotifyRequest] = server.on[ReadRequest] = refuse
        with pytest.raises(ReadError, match="too many") as caught:
            x.read(notify=notify)
        assert caught.value.status is CAStatus.ECA_BADCOUNT and caught.value.pv is x

    @item(49)
    @pytest.mark.parametrize("wait", [True, False])
    def test_without_read_access_it_raises_at_the_call(self, server, pv, wait):
        told = Told()
        with pytest.raises(AccessError) as caught:
            pv("writeonly").read(wait=wait, callback=told)
        error = caught.value
        assert (error.pv.name, error.status, error.address) == (
            "writeonly", CAStatus.ECA_NORDACCESS, server.address,
        )
        assert "'writeonly'" in str(error) and "ECA_NORDACCESS" in str(error)
        assert pv("x").read().data[0] == 1.5
        assert len(server.received(ReadNotifyRequest)) == 1 and not told.responses


class TestTimeouts:
    def test_impossible_ones_raise_at_the_call(self, ctx):
        (pv,) = ctx.get_pvs("not there")
        with pytest.raises(CaprotoValueError, match="timeout"):
            pv.read(timeout=float("nan"))
        with pytest.raises(CaprotoValueError, match="timeout must not be negative"):
            pv.timeout = -0.1
        for timeout in ("1", True, [1]):
            with pytest.raises(CaprotoTypeError, match="timeout"):
                pv.read(timeout=timeout)
            with pytest.raises(CaprotoTypeError, match="timeout"):
                pv.timeout = timeout

    def test_a_deadline_that_has_passed(self, server, ctx):
        """As in ``timeout=deadline - time.time()``: an answer that is not there is too late."""
        (pv,) = ctx.get_pvs("not there")
        for call in (pv.read, pv.wait_for_connection, pv.wait_for_search):
            with pytest.raises(CaprotoTimeoutError, match="'not there' was not found within 0 s"):
                call(timeout=-0.1)

    def test_a_reply_that_is_not_there_yet(self, server, x):
        server.on[ReadNotifyRequest] = ignore
        with pytest.raises(CaprotoTimeoutError, match="'x': no reply to the read within 0 s"):
            x.read(timeout=-0.1)
        x.wait_for_connection(timeout=-0.1)  # nothing to wait for

    def test_not_found(self, server, ctx):
        (pv,) = ctx.get_pvs("not there")
        with pytest.raises(CaprotoTimeoutError) as caught:
            pv.read(timeout=0.1)
        assert isinstance(caught.value, TimeoutError)
        for word in ("'not there'", "not found", "0.1 s", f"127.0.0.1:{server.port}"):
            assert word in str(caught.value)

    def test_no_reply(self, server, x):
        server.on[ReadNotifyRequest] = ignore
        with pytest.raises(CaprotoTimeoutError) as caught:
            x.read(timeout=0.1)
        for word in ("'x'", "no reply to the read", "0.1 s", "last heard", str(server.port)):
            assert word in str(caught.value)

    def test_the_time_is_for_everything_together(self, server, ctx):
        """Being found and connected late leaves less time for the reply, not as much again."""
        server.on[ReadNotifyRequest] = ignore
        (x,) = ctx.get_pvs("x")
        start = time.monotonic()
        with pytest.raises(CaprotoTimeoutError):
            x.read(timeout=0.5)
        assert 0.5 <= time.monotonic() - start < 5

    def test_that_of_the_call_before_that_of_the_pv_before_that_of_the_context(
        self, server, ctx
    ):
        server.on[ReadNotifyRequest] = ignore
        ctx.timeout = 0.03
        (x,) = ctx.get_pvs("x")
        x.wait_for_connection(timeout=10)
        for seconds, arguments in ((0.03, {}), (0.02, {"timeout": 0.02})):
            with pytest.raises(CaprotoTimeoutError, match=f" {seconds} s"):
                x.read(**arguments)
        x.timeout = 0.04
        assert x.timeout == 0.04
        with pytest.raises(CaprotoTimeoutError, match=" 0.04 s"):
            x.read()

    def test_a_late_reply_disturbs_nobody(self, server, x):
        held = Held(server, ReadNotifyRequest)
        with pytest.raises(CaprotoTimeoutError):
            x.read(timeout=0.05)
        del server.on[ReadNotifyRequest]
        server.pvs["x"].value = 2.0
        held.answer()
        server.pvs["x"].value = 3.0
        assert x.read().data[0] == 3.0

    def test_a_callback_never_comes_after_its_timeout(self, server, x, wait_for):
        held, told, in_time = Held(server, ReadNotifyRequest), Told(), Told()
        x.read(wait=False, callback=told, timeout=0.05)
        x.read(wait=False, callback=in_time, timeout=60)
        late = time.monotonic() + 0.05
        wait_for(lambda: len(held.waiting) == 2 and time.monotonic() > late)
        del server.on[ReadNotifyRequest]
        held.answer()
        assert in_time.wait() == [1.5]
        assert not told.responses

    def test_nor_when_the_callbacks_before_it_took_too_long(self, server, x, wait_for):
        told = Told()
        with hold_callbacks(x):
            x.read(wait=False, callback=told, timeout=0.05)
            late = time.monotonic() + 0.05
            wait_for(lambda: time.monotonic() > late)
        flush(x)
        assert not told.responses

    def test_none_waits_for_ever(self, server, ctx):
        """As long as it takes; here until the server comes up after the default timeout."""
        server.answers = lambda search: False
        (x,) = ctx.get_pvs("x", timeout=0.01)
        result = []
        thread = threading.Thread(target=lambda: result.append(x.read(timeout=None).data[0]))
        thread.start()
        with pytest.raises(CaprotoTimeoutError):
            x.read()
        server.answers = lambda search: True
        ctx.broadcaster.search_now()
        thread.join(10)
        assert result == [1.5]


class TestLosses:
    @item(40)
    def test_a_lost_read_is_repeated_on_the_next_circuit(self, server, x):
        server.on[ReadNotifyRequest] = lambda connection, command: (
            server.on.clear(), hang_up(connection, command)
        )
        assert x.read().data[0] == 1.5
        assert len(server.connections) == 2

    def test_within_its_timeout(self, server, x):
        server.answers = lambda search: False
        server.on[ReadNotifyRequest] = hang_up
        with pytest.raises(CaprotoTimeoutError, match="'x'"):
            x.read(timeout=0.3)

    def test_a_lost_read_with_a_callback_is_logged(self, server, x, caplog, wait_for):
        told = Told()
        server.on[ReadNotifyRequest] = hang_up
        x.read(wait=False, callback=told)
        wait_for(lambda: "read of 'x' failed" in caplog.text)
        assert not told.responses

    @pytest.mark.parametrize("connected", [True, False])
    def test_the_end_of_the_context_ends_a_waiting_read(self, server, ctx, connected, wait_for):
        server.on[ReadNotifyRequest] = ignore
        (pv,) = ctx.get_pvs("x" if connected else "not there")
        errors = []

        def read():
            try:
                pv.read(timeout=None)
            except Exception as error:
                errors.append(error)

        thread = threading.Thread(target=read)
        thread.start()
        wait_for(lambda: server.received(ReadNotifyRequest) if connected else server.searches)
        ctx.disconnect()
        thread.join(10)
        (error,) = errors
        assert isinstance(error, ContextDisconnectedError)
        with pytest.raises(ContextDisconnectedError):
            pv.read()
