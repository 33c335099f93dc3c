"""Writing: every kind of value and argument, what is refused at the call, and what goes wrong."""
from __future__ import annotations

import array
import functools
import threading
import time

import numpy
import pytest

from caproto import (
    CaprotoTypeError,
    CaprotoValueError,
    CAStatus,
    ChannelType,
    ErrorResponse,
    ReadNotifyRequest,
    WriteNotifyRequest,
    WriteNotifyResponse,
    WriteRequest,
)
from caproto.threading.client import (
    AccessError,
    CaprotoTimeoutError,
    ContextDisconnectedError,
    DeadCircuitError,
    DisconnectedError,
    WriteError,
)
from tests.conformance.items import item
from tests.harness.fake_server import FakePV, hang_up, ignore
from tests.threading.client.told import Told, flush, hold_callbacks


@pytest.fixture
def pv(server, ctx):
    """``pv(name)``: connected."""
    server.pvs["enum"] = FakePV(1, ChannelType.ENUM)
    server.pvs["chars"] = FakePV([65], ChannelType.CHAR, max_count=50)
    server.pvs["texts"] = FakePV(["a"], ChannelType.STRING, max_count=5)

    def connected(name):
        (found,) = ctx.get_pvs(name)
        found.wait_for_connection()
        return found

    return connected


@pytest.fixture
def x(pv):
    return pv("x")


#: Channel, what is written, what travels.
VALUES = [
    ("x", 2, "4000000000000000"),
    ("x", 2.0, "4000000000000000"),
    ("x", [2], "4000000000000000"),
    ("x", (2.0,), "4000000000000000"),
    ("x", numpy.float64(2), "4000000000000000"),
    ("x", numpy.array([2], "i2"), "4000000000000000"),
    ("x", numpy.array([2], ">f8"), "4000000000000000"),
    ("x", numpy.array(2.0, "<f4"), "4000000000000000"),
    ("x", array.array("d", [2]), "4000000000000000"),
    ("x", bytes.fromhex("4000000000000000"), "4000000000000000"),  # as it travels
    ("x", True, "3ff0000000000000"),
    ("wave", [1, -2], "00000001fffffffe"),
    ("wave", range(3), "000000000000000100000002" "00000000"),
    ("wave", numpy.array([[1, 2], [3, 4]]), "00000001000000020000000300000004"),
    ("wave", numpy.array([1.0, 2.0]), "0000000100000002"),
    ("text", "abc", "6162630000000000"),
    ("text", b"abc", "6162630000000000"),
    ("text", "grün", "6772c3bc6e000000"),
    ("text", ["abcdefgh"], "61626364656667680000000000000000"),
    ("text", "", "0000000000000000"),
    ("texts", ["a", b"b"], "61" + "00" * 39 + "62" + "00" * 39),
    ("texts", numpy.array(["a", "b"]), "61" + "00" * 39 + "62" + "00" * 39),
    ("texts", numpy.array([b"a", b"b"], "S40"), "61" + "00" * 39 + "62" + "00" * 39),
    ("chars", "hi!", "6869210000000000"),
    ("chars", b"hi!", "6869210000000000"),
    ("chars", [104, 105], "6869000000000000"),
    ("enum", 2, "0002000000000000"),
]

#: Channel, what is written, how, and what is raised.
IMPOSSIBLE = [
    ("x", "text", {}, CaprotoTypeError),
    ("x", None, {}, CaprotoTypeError),
    ("x", object(), {}, CaprotoTypeError),
    ("x", [1, "a"], {}, CaprotoTypeError),
    ("x", [1, 2], {}, CaprotoValueError),
    ("x", b"123", {}, CaprotoValueError),
    ("wave", 1.5, {}, CaprotoValueError),
    ("wave", 1 << 31, {}, CaprotoValueError),
    ("wave", numpy.array([1 << 40]), {}, CaprotoValueError),
    ("wave", range(11), {}, CaprotoValueError),
    ("wave", [1], {"data_count": 2}, CaprotoValueError),
    ("wave", [1], {"data_count": -1}, CaprotoValueError),
    ("wave", [1], {"data_count": "1"}, CaprotoTypeError),
    ("wave", [1], {"data_type": "nonsense"}, CaprotoValueError),
    ("x", 1, {"data_type": "time"}, CaprotoValueError),
    ("x", 1, {"data_type": ChannelType.CTRL_DOUBLE}, CaprotoValueError),
    ("text", 5, {}, CaprotoTypeError),
    ("text", "x" * 40, {}, CaprotoValueError),
    ("enum", -1, {}, CaprotoValueError),
]


class TestValues:
    def test_become_these_bytes(self, server, pv):
        for name, data, payload in VALUES:
            pv(name).write(data)
            request = server.received(WriteNotifyRequest)[-1]
            assert bytes(request.payload).hex() == payload, (name, data)
            assert request.data_type is server.pvs[name].data_type

    @pytest.mark.parametrize(
        ("name", "text", "number"),
        [
            ("x", "7", 7), ("x", " -2.5e1 ", -25), ("x", "0x1F", 31), ("wave", "7", 7),
            ("wave", "7.0", 7), ("wave", "-0x10", -16), ("wave", ["1", "2.0", 3], [1, 2, 3]),
        ],
    )
    def test_text_that_is_a_number(self, pv, name, text, number):
        pv(name).write(text)
        wanted = number if isinstance(number, list) else [number]
        assert pv(name).read().data.tolist()[: len(wanted)] == wanted

    @pytest.mark.parametrize("text", ["seven", "", "1_000", "7 mm", "5.5", ["1", "b"], "0x"])
    def test_text_that_is_not_a_number_there(self, server, pv, text):
        with pytest.raises((CaprotoTypeError, CaprotoValueError)) as caught:
            pv("wave").write(text)
        shown = {"5.5": "5.5", "['1', 'b']": "'b'"}.get(str(text), repr(text))
        assert "'wave'" in str(caught.value) and shown in str(caught.value)
        assert not server.received(WriteNotifyRequest)

    def test_a_state_of_an_enum_by_name_is_sent_as_text(self, server, pv):
        server.on[WriteNotifyRequest] = lambda connection, command: connection.send(
            WriteNotifyResponse(command.data_type, command.data_count, 1, command.ioid)
        )
        for data in ("blue", ["blue"], [b"blue"]):
            pv("enum").write(data)
        for request in server.received(WriteNotifyRequest):
            assert request.data_type is ChannelType.STRING and request.data_count == 1
            assert bytes(request.payload) == b"blue\0\0\0\0"

    @pytest.mark.parametrize(
        ("name", "data", "arguments", "payload"),
        [
            ("x", "2.5 mm", {"data_type": "STRING"}, b"2.5 mm\0\0"),
            ("x", 7, {"data_type": ChannelType.LONG}, b"\0\0\0\7\0\0\0\0"),
            ("x", 7, {"data_type": "dbr_int"}, b"\0\7\0\0\0\0\0\0"),
            ("x", 1, {"data_type": 35}, b"\0\1\0\0\0\0\0\0"),
            ("wave", [1, 2, 3], {"data_count": 2}, b"\0\0\0\1\0\0\0\2"),
            ("wave", [1, 2, 3], {"data_type": "native", "data_count": 1}, b"\0\0\0\1\0\0\0\0"),
        ],
    )
    def test_type_and_count_may_be_chosen(self, server, pv, name, data, arguments, payload):
        server.on[WriteNotifyRequest] = lambda connection, command: connection.send(
            WriteNotifyResponse(command.data_type, command.data_count, 1, command.ioid)
        )
        pv(name).write(data, **arguments)
        (request,) = server.received(WriteNotifyRequest)
        assert bytes(request.payload) == payload

    @item(49)
    @pytest.mark.parametrize("wait", [True, False])
    def test_what_cannot_be_sent_raises_at_the_call(self, server, pv, wait):
        for name, data, arguments, error in IMPOSSIBLE:
            named = f"{name!r}|^data_(count|type)"  # the value or an argument
            with pytest.raises(error, match=named):
                pv(name).write(data, wait=wait, **arguments)
                pytest.fail(f"{name}, {data!r}, {arguments}")
        pv("x").write(0.5)  # the circuit is none the worse
        assert len(server.received(WriteNotifyRequest)) == 1
        assert not server.received(WriteRequest)

    def test_bad_arguments_raise_although_nobody_is_there(self, ctx):
        (pv,) = ctx.get_pvs("not there")
        with pytest.raises(CaprotoValueError, match="data type"):
            pv.write(1, data_type="nonsense")
        with pytest.raises(CaprotoTypeError, match="data_count"):
            pv.write(1, data_count="1")
        with pytest.raises(CaprotoTypeError, match="callback"):
            pv.write(1, callback=5)
        with pytest.raises(CaprotoValueError, match="timeout"):
            pv.write(1, timeout=float("nan"))
        with pytest.raises(CaprotoTimeoutError, match="'not there'"):
            pv.write(1, timeout=-1)


class TestNotification:
    @item(47)
    @pytest.mark.parametrize(
        ("arguments", "confirmed"),
        [
            ({}, True),
            ({"notify": True}, True),
            ({"notify": None}, True),
            ({"wait": False}, False),
            ({"wait": False, "notify": False}, False),
            ({"wait": False, "notify": True}, True),
        ],
        ids=str,
    )
    def test_is_asked_for_by_who_waits(self, server, x, arguments, confirmed):
        response = x.write(2.0, **arguments)
        assert isinstance(response, WriteNotifyResponse) is arguments.get("wait", True)
        assert x.read().data[0] == 2.0
        assert len(server.received(WriteNotifyRequest)) == confirmed
        assert len(server.received(WriteRequest)) == (not confirmed)

    @pytest.mark.parametrize("notify", [None, True])
    def test_and_by_who_gives_a_callback(self, server, x, notify):
        told = Told()
        assert x.write(2.0, wait=False, callback=told, notify=notify) is None
        told.wait_for_calls(1)
        (response,) = told.responses
        assert isinstance(response, WriteNotifyResponse)
        assert response.status is CAStatus.ECA_NORMAL

    def test_waiting_the_callback_gets_it_too(self, x):
        told = Told()
        response = x.write(2.0, callback=told)
        told.wait_for_calls(1)
        assert told.responses == [response]

    @pytest.mark.parametrize(
        "arguments", [{}, {"callback": print}, {"wait": False, "callback": print}], ids=str
    )
    def test_not_to_ask_and_to_wait_is_a_contradiction(self, server, ctx, arguments):
        (pv,) = ctx.get_pvs("not there")
        with pytest.raises(CaprotoValueError, match="notify"):
            pv.write(1, notify=False, **arguments)

    def test_writes_arrive_in_order(self, server, x):
        for number in range(100):
            x.write(number, wait=False)
        assert x.read().data[0] == 99
        assert [r.data[0] for r in server.received(WriteRequest)] == list(range(100))

    def test_from_many_threads_each_gets_its_own_confirmation(self, server, pv):
        waves = [pv("wave"), pv("x")]
        barrier, wrong = threading.Barrier(8), []

        def work(number):
            barrier.wait(10)
            for _ in range(25):
                response = waves[number % 2].write(number)
                if response.data_type is not (ChannelType.LONG, ChannelType.DOUBLE)[number % 2]:
                    wrong.append(response)

        threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert not wrong and len(server.received(WriteNotifyRequest)) == 200


class TestRefusals:
    def test_an_error_status_raises_with_pv_status_and_address(self, server, x):
        server.on[WriteNotifyRequest] = lambda connection, command: connection.send(
            WriteNotifyResponse(command.data_type, 1, CAStatus.ECA_PUTFAIL, command.ioid)
        )
        with pytest.raises(WriteError) as caught:
            x.write(2.0)
        error = caught.value
        assert (error.pv, error.status, error.address) == (
            x, CAStatus.ECA_PUTFAIL, server.address,
        )
        for word in ("'x'", "ECA_PUTFAIL", f"127.0.0.1:{server.port}"):
            assert word in str(error)

    @item(50)
    def test_an_error_message_finishes_the_write(self, server, x):
        server.on[WriteNotifyRequest] = lambda connection, command: connection.send(
            ErrorResponse(
                command.header, connection.channel("x").cid, CAStatus.ECA_NOWTACCESS, "go away"
            )
        )
        with pytest.raises(WriteError, match="go away") as caught:
            x.write(2.0)
        assert caught.value.status is CAStatus.ECA_NOWTACCESS and caught.value.pv is x

    @item(50)
    def test_without_notification_a_refusal_is_logged_with_the_name(
        self, server, x, caplog, wait_for
    ):
        server.on[WriteRequest] = lambda connection, command: connection.send(
            ErrorResponse(
                command.header, connection.channel("x").cid, CAStatus.ECA_PUTFAIL, "go away"
            )
        )
        x.write(2.0, wait=False)
        # Not with the reply to a later read: what that wakes may be quicker than the log.
        wait_for(lambda: caplog.records)
        (record,) = caplog.records
        assert record.pv == "x" and "'x'" in record.getMessage()
        assert "ECA_PUTFAIL" in record.getMessage() and "go away" in record.getMessage()

    @item(49)
    @pytest.mark.parametrize("wait", [True, False])
    def test_without_write_access_it_raises_at_the_call(self, server, pv, wait):
        with pytest.raises(AccessError) as caught:
            pv("readonly").write(1.0, wait=wait)
        error = caught.value
        assert (error.pv.name, error.status, error.address) == (
            "readonly", CAStatus.ECA_NOWTACCESS, server.address,
        )
        assert "'readonly'" in str(error) and "ECA_NOWTACCESS" in str(error)
        assert pv("readonly").read().data[0] == 7.0
        assert not server.received(WriteNotifyRequest) and not server.received(WriteRequest)


class TestNoConfirmation:
    def test_no_reply(self, server, x):
        server.on[WriteNotifyRequest] = ignore
        with pytest.raises(CaprotoTimeoutError) as caught:
            x.write(2.0, timeout=0.1)
        for word in ("'x'", "no reply to the write", "0.1 s", "last heard", str(server.port)):
            assert word in str(caught.value)

    def test_not_found(self, ctx):
        with pytest.raises(CaprotoTimeoutError, match="'not there' was not found within 0.05 s"):
            ctx.get_pvs("not there")[0].write(1, wait=False, timeout=0.05)

    def test_the_message_says_that_it_may_go_on_and_how_to_wait_longer(self, server, x):
        server.on[WriteNotifyRequest] = ignore
        with pytest.raises(CaprotoTimeoutError, match="still be in progress.*larger timeout="):
            x.write(2.0, timeout=0.01)

    @pytest.mark.parametrize("wait", [True, False])
    def test_a_callback_without_reply_is_called_once_at_its_timeout(self, server, x, wait):
        waiting, told = [], Told()
        server.on[WriteNotifyRequest] = lambda *command: waiting.append(command)
        begun = time.monotonic()
        if wait:
            with pytest.raises(CaprotoTimeoutError):
                x.write(2.0, callback=told, timeout=0.2)
        else:
            x.write(2.0, wait=False, callback=told, timeout=0.2)
        told.wait_for_calls(1)
        assert time.monotonic() - begun >= 0.2
        (response,) = told.responses
        assert isinstance(response, WriteNotifyResponse)
        assert response.status is CAStatus.ECA_TIMEOUT
        assert response.data_type is ChannelType.DOUBLE and response.data_count == 1
        server.usual(*waiting[0])  # the reply that is too late
        flush(x)
        assert told.responses == [response]

    def test_each_of_many_is_called_at_its_own_timeout(self, server, x):
        server.on[WriteNotifyRequest] = ignore
        moments, told = {}, Told()

        def note(number, response):
            moments[number] = time.monotonic()
            told(response)

        begun = time.monotonic()
        for number in range(40):
            x.write(2.0, wait=False, callback=functools.partial(note, number),
                    timeout=0.1 + 0.01 * number)
        told.wait_for_calls(40)
        assert all(moments[number] >= begun + 0.1 + 0.01 * number for number in range(40))
        assert {response.status for response in told.responses} == {CAStatus.ECA_TIMEOUT}

    @pytest.mark.parametrize("wait", [True, False])
    def test_a_callback_is_told_at_once_that_the_circuit_is_lost(self, server, x, wait):
        told = Told()
        server.on[WriteNotifyRequest] = hang_up
        if wait:
            with pytest.raises(DisconnectedError):
                x.write(2.0, callback=told, timeout=60)
        else:
            x.write(2.0, wait=False, callback=told, timeout=60)
        told.wait_for_calls(1)
        assert [response.status for response in told.responses] == [CAStatus.ECA_DISCONN]

    def test_a_reply_that_waits_too_long_for_the_callback_thread(self, x):
        told = Told()
        with hold_callbacks(x):
            x.write(2.0, wait=False, callback=told, timeout=0.01)
            x.write(3.0)
            with pytest.raises(CaprotoTimeoutError):
                x.context.get_pvs("not there")[0].read(timeout=0.02)
        flush(x)
        assert [response.status for response in told.responses] == [CAStatus.ECA_TIMEOUT]

    def test_the_callback_of_a_call_that_has_returned_gets_the_same_however_late(self, x):
        told = Told()
        with hold_callbacks(x):
            response = x.write(2.0, callback=told, timeout=0.5)
            with pytest.raises(CaprotoTimeoutError):
                x.context.get_pvs("not there")[0].read(timeout=0.6)
        flush(x)
        assert told.responses == [response] and response.status is CAStatus.ECA_NORMAL

    def test_a_write_is_never_repeated(self, server, x):
        server.on[WriteNotifyRequest] = hang_up
        with pytest.raises(DisconnectedError) as caught:
            x.write(2.0)
        assert isinstance(caught.value, DeadCircuitError)
        assert f"127.0.0.1:{server.port}" in str(caught.value)
        assert x.read().data[0] == 1.5  # connected again
        assert len(server.received(WriteNotifyRequest)) == 1
        assert len(server.connections) == 2

    def test_what_was_not_sent_waits_for_the_next_circuit(self, server, ctx, x, wait_for):
        server.answers = lambda search: False
        server.drop_all()
        wait_for(lambda: not x.connected)
        thread = threading.Thread(target=lambda: x.write(2.0))
        thread.start()
        server.answers = lambda search: True
        ctx.broadcaster.search_now()
        thread.join(10)
        assert server.pvs["x"].value == 2.0
        assert len(server.received(WriteNotifyRequest)) == 1

    def test_the_end_of_the_context_ends_a_waiting_write(self, server, ctx, x):
        server.on[WriteNotifyRequest] = ignore
        errors = []

        def write():
            try:
                x.write(2.0, timeout=None)
            except Exception as error:
                errors.append(error)

        thread = threading.Thread(target=write)
        thread.start()
        server.wait_for(WriteNotifyRequest)
        ctx.disconnect()
        thread.join(10)
        (error,) = errors
        assert isinstance(error, ContextDisconnectedError)


@pytest.mark.ioc
class TestRealIOC:
    """Written by us, looked at from inside the IOC."""

    @pytest.fixture
    def keep(self, ioc, real):
        """``keep(record)``: a PV, whose value is restored after the test."""
        pvs = []

        def kept(record):
            (pv,) = real.get_pvs(ioc.pv(record))
            pvs.append((pv, pv.read()))
            return pv

        yield kept
        for pv, before in pvs:
            pv.write(before.data)

    @pytest.mark.parametrize(
        ("record", "data", "seen"),
        [
            ("double", 2.5, "2.5"),
            ("string", "a text", "a text"),
            ("enum", "blue", "blue"),
            ("enum", 0, "red"),
        ],
    )
    def test_scalars(self, ioc, keep, record, data, seen):
        keep(record).write(data)
        assert ioc.get(record).split(" = ")[-1].strip('"') == seen

    def test_the_server_converts_a_number_to_text_and_back(self, keep):
        """As the message for a wrong type of value recommends."""
        text, number = keep("string"), keep("double")
        text.write(2.5, data_type="DOUBLE")
        number.write("1.25", data_type="STRING")
        assert float(text.read().strings[0]) == 2.5 and number.read().data[0] == 1.25

    def test_a_state_that_is_none_is_refused(self, keep):
        with pytest.raises(WriteError):
            keep("enum").write("purple")

    @pytest.mark.parametrize("data", [[4, 5], [], numpy.arange(100, dtype="i4")], ids=len)
    def test_arrays(self, keep, data):
        pv = keep("array_long")
        pv.write(data)
        assert pv.read().data.tolist() == list(data)

    def test_completion_is_waited_for(self, keep):
        pv = keep("slow")
        start = time.monotonic()
        pv.write(1, timeout=10)
        assert time.monotonic() - start > 0.4  # the record takes 0.5 s, by a clock of its own

    def test_and_not_waited_for(self, keep):
        pv, told = keep("slow"), Told()
        start = time.monotonic()
        pv.write(2, wait=False, callback=told, timeout=10)
        assert pv.read().data[0] == 2 and not told.responses
        told.wait_for_calls(1)
        assert time.monotonic() - start > 0.4
        assert told.responses[0].status is CAStatus.ECA_NORMAL

    def test_readonly(self, ioc, real):
        (pv,) = real.get_pvs(ioc.pv("readonly"))
        with pytest.raises(AccessError, match="no write access"):
            pv.write(1)
        assert pv.read().data[0] == 7


def test_a_read_after_a_write_sees_it(server, x):
    x.write(4.5)
    assert x.read().data[0] == 4.5
    assert len(server.received(ReadNotifyRequest)) == 1


def test_numbers_in_an_array_for_a_text_are_refused(server, ctx):
    (text,) = ctx.get_pvs("text")
    with pytest.raises(CaprotoTypeError, match="'text'"):
        text.write(numpy.array([1, 2]))
