"""Tables of PVs, against a real IOC and against scripted servers."""
from __future__ import annotations

import copy
import gc
import math
import pickle
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from time import monotonic

import numpy as np
import pytest

import caproto as ca
from caproto import CaprotoTimeoutError, CaprotoTypeError, CaprotoValueError, ChannelType
from caproto.threading.client import (
    AccessError,
    Context,
    ContextDisconnectedError,
    ReadError,
    WriteError,
)
from tests.harness.databases import many, many_names
from tests.harness.fake_server import FakePV, ignore

pytestmark = pytest.mark.ioc


class TestReading:
    def test_columns_in_the_order_of_the_names(self, real):
        table = real.table(["T:long", "T:double", "T:enum"])
        snap = table.read()
        assert snap.ok.all() and not snap.errors and snap.connected.all()
        assert snap.values.tolist() == [real.read(n).to_dict()[n] for n in snap.names]
        stamps = [real.read(n)[n].metadata.stamp.as_datetime64() for n in snap.names]
        assert snap.timestamps.tolist() == [stamp.astype(int) for stamp in stamps]

    def test_alarms(self, start_server):
        server = start_server({"x": 1.0})
        server.on[ca.ReadNotifyRequest] = lambda connection, command: connection.send(
            ca.ReadNotifyResponse(
                2.5, command.data_type, 1, 1, command.ioid,
                metadata=(ca.AlarmStatus.HIGH, ca.AlarmSeverity.MINOR_ALARM, ca.TimeStamp(7, 9)),
            )
        )
        with Context(configuration=server.configuration) as ctx:
            snap = ctx.table(["x"]).read()
        assert (snap.severity.tolist(), snap.status.tolist()) == ([1], [ca.AlarmStatus.HIGH])
        assert snap.timestamps[0] == np.datetime64("1990-01-01T00:00:07.000000009")

    @pytest.mark.parametrize(
        "name, dtype, count, value",
        [
            ("T:long", int, 1, None), ("T:enum", "enum", 1, 1), ("T:enum", str, 1, b"green"),
            ("T:string", str, 1, b"hello"), ("T:double", np.float32, 1, np.float32(3.14)),
            ("T:array_long", int, 2, None), ("T:array_double", float, 2, None),
            ("T:array_string", str, 2, None), ("T:array_char", "char", 3, None),
        ],
    )  # fmt: skip
    def test_all_kinds_of_columns(self, real, name, dtype, count, value):
        snap = real.table([name], dtype=dtype, count=count).read()
        assert snap.ok.all(), snap.errors
        alone = real.get_pv(name).read(
            data_type=ChannelType.STRING if dtype is str else None, data_count=count
        )
        expected = alone.native_data.tolist()
        if value is not None:
            assert snap.values.tolist() == [value]
        if dtype is not np.float32:
            assert np.ravel(snap.values).tolist() == expected

    def test_one_type_for_each_name(self, real):
        types = {"T:bool": int, "T:string": str, "T:double": float}
        snap = real.table(types, dtype=types).read()
        assert snap.to_dict() == {"T:bool": 1, "T:string": "hello", "T:double": 3.14}
        assert snap.values.dtype == object

    def test_without_time_or_alarm(self, real):
        for family in ("status", "native"):
            snap = real.table(["T:double"], data_type=family).read()
            assert snap.values.tolist() == [3.14] and np.isnat(snap.timestamps[0])

    def test_partial_results(self, real):
        table = real.table(["T:double", "T:missing", "T:noaccess", "T:string", "T:long"])
        snap = table.read(timeout=1)
        assert snap.ok.tolist() == [True, False, False, False, True]
        assert snap.connected.tolist() == [True, False, True, True, True]
        assert isinstance(snap.errors["T:missing"], CaprotoTimeoutError)
        assert "was not found within 1 s" in str(snap.errors["T:missing"])
        assert isinstance(snap.errors["T:noaccess"], AccessError)
        with pytest.raises(ReadError, match="ECA_GETFAIL .*; its value is a text$"):
            raise snap.errors["T:string"]
        assert np.isnan(snap.values[[1, 2, 3]]).all()
        alone = real.read("T:string", data_type="TIME_DOUBLE").errors["T:string"]
        assert str(snap.errors["T:string"]) == str(alone)

    def test_no_reply(self, server, ctx):
        table = ctx.table(["x", "y"])
        table.wait_for_connection()
        server.on[ca.ReadNotifyRequest] = ignore
        begun = monotonic()
        snap = table.read(timeout=0.2)
        assert monotonic() - begun < 3 and not snap.ok.any() and snap.connected.all()
        assert "'x': no reply to the read within 0.2 s" in str(snap.errors["x"])
        del server.on[ca.ReadNotifyRequest]
        assert table.read().ok.all()
        for circuit in ctx.circuit_managers.values():
            assert not circuit.circuit.ranges

    def test_a_circuit_that_is_lost_under_a_read(self, server, ctx):
        """A read changes nothing: it is repeated on the next circuit."""
        table = ctx.table(["x", "y"])
        table.wait_for_connection()
        server.on[ca.ReadNotifyRequest] = lambda connection, command: (
            server.on.clear(), connection.reset()
        )
        assert table.read(timeout=10).values.tolist() == [1.5, 2.5]

    def test_a_server_that_drops_a_channel_under_a_read(self, server, ctx):
        table = ctx.table(["x", "y"])
        table.wait_for_connection()

        def drop(connection, command):
            server.on.clear()
            connection.send(ca.ServerDisconnResponse(connection.channel("x").cid))

        server.on[ca.ReadNotifyRequest] = drop
        assert table.read(timeout=10).values.tolist() == [1.5, 2.5]

    def test_too_few_elements(self, server, ctx):
        snap = ctx.table(["x", "wave"], count=3).read()
        assert snap.ok.tolist() == [False, True] and snap.values[1].tolist() == [1, 2, 3]
        assert "3 elements are more than" in str(snap.errors["x"])

    def test_a_write_is_seen_by_the_next_read(self, own_ioc):
        with Context(configuration=own_ioc.configuration, timeout=10) as ctx:
            table = ctx.table(["T:double", "T:long"])
            table.read()
            ctx.write({"T:double": 2.5})
            assert table.read().values[0] == 2.5

    def test_an_ioc_that_is_restarted(self, own_ioc, wait_for):
        with Context(configuration=own_ioc.configuration, timeout=30) as ctx:
            table = ctx.table(["T:double", "T:long"])
            assert table.read().ok.all()
            own_ioc.kill()
            wait_for(lambda: not table.connected.any())
            own_ioc.start()
            assert table.read().ok.all() and table.connected.all()

    def test_ten_thousand(self, start_ioc, tmp_path):
        database = tmp_path / "many.db"
        database.write_text(many(10_000))
        ioc = start_ioc([database])
        with Context(configuration=ioc.configuration, timeout=60) as ctx:
            table = ctx.table(many_names(10_000))
            for _ in range(3):  # the first one PV by PV, as they connect
                assert table.read().values.tolist() == list(range(10_000))

    def test_a_closed_context(self, server):
        with Context(configuration=server.configuration) as ctx:
            table = ctx.table(["x"])
        with pytest.raises(ContextDisconnectedError):
            table.read()


class TestTable:
    def test_its_columns_are_always_there(self, ctx):
        table = ctx.table(["x", "missing"])
        assert table.names == ("x", "missing") and table.index["missing"] == 1 and len(table) == 2
        assert np.isnan(table.values).all() and np.isnat(table.timestamps).all()
        assert table.severity.tolist() == table.status.tolist() == [0, 0]
        snap = table.read(timeout=0.3)
        assert table.values is snap.values and table.connected.tolist() == [True, False]
        assert repr(table) == "<Table of 2 PVs (float64), 1 connected>"
        assert repr(ctx.table(["x"], dtype=str)).startswith("<Table of 1 PV (str), ")

    def test_waiting_for_connections(self, ctx):
        table = ctx.table(["x", "y"])
        table.wait_for_connection()
        assert table.connected.all()
        words = "1 of 2 PVs are not connected; the first one: 'missing' .* within 0.2 s"
        with pytest.raises(CaprotoTimeoutError, match=words):
            ctx.table(["x", "missing"]).wait_for_connection(timeout=0.2)

    def test_idle_pvs_are_searched_together(self, start_server):
        names = [f"n{i}" for i in range(20)]
        server, asked = start_server(dict.fromkeys(names, 1.0)), set()
        with Context(configuration=server.configuration) as ctx:
            table = ctx.table(names)
            table.wait_for_connection()
            for pv in table.pvs:
                pv.go_idle()
            assert not table.connected.any()
            server.answers = lambda search: asked.add(search.name) or len(asked) == len(names)
            table.wait_for_connection()

    def test_one_that_is_lost_during_the_wait_is_waited_for(self, start_server, wait_for):
        server, served = start_server({"a": 1.0, "b": 2.0}), {"b"}
        server.answers = lambda search: search.name in served
        with Context(configuration=server.configuration) as ctx, ThreadPoolExecutor() as pool:
            table = ctx.table(["a", "b"])
            wait_for(lambda: table.connected.tolist() == [False, True])
            waiting = pool.submit(table.wait_for_connection, timeout=20)
            served.clear()
            server.connection.send(server.connection.channel("b").disconnect())
            wait_for(lambda: not table.connected.any())
            served.add("a")
            wait_for(lambda: table.connected.tolist() == [True, False])
            served.add("b")
            waiting.result()
            assert table.connected.all()

    def test_the_first_missing_one_is_named(self, ctx):
        words = "3 of 4 PVs are not connected; the first one: 'a' was not found within 0.1 s"
        with pytest.raises(CaprotoTimeoutError, match=words):
            ctx.table(["x", "a", "b", "c"]).wait_for_connection(timeout=0.1)

    def test_pvs_are_those_of_the_context(self, ctx):
        table = ctx.table(["x"], priority=np.int64(7))
        assert table.pvs == (ctx.get_pv("x", priority=7),)
        assert ctx.table(["x"], priority=np.array(7)).pvs == table.pvs

    def test_a_priority_for_each_name(self, start_server):
        server = start_server({"a": 1.0, "b": 2.0, "c": 3.0})
        with Context(configuration=server.configuration) as ctx:
            table = ctx.table(["a", "b", "c"], priority=np.array([5, 0, 5]))
            assert table.pvs == tuple(ctx.get_pv(n, priority=p) for n, p in zip("abc", (5, 0, 5)))
            with table.monitor() as live:
                assert table.read().values.tolist() == [1.0, 2.0, 3.0]
                while not live.snapshot().ok.all():
                    assert live.wait(10)
                assert live.snapshot().values.tolist() == [1.0, 2.0, 3.0]
            assert table.write([4.0, 5.0, 6.0]).ok.all()
        assert [server.pvs[name].value for name in "abc"] == [4.0, 5.0, 6.0]
        assert len(server.connections) == 2

    @pytest.mark.parametrize(
        "names, options, error",
        [
            ("x", {}, CaprotoTypeError), ([5], {}, CaprotoTypeError),
            (["x", "x"], {}, CaprotoValueError), (["x"], {"dtype": "banana"}, CaprotoValueError),
            (["x"], {"timeout": "soon"}, CaprotoTypeError),
            (["x"], {"count": 0}, CaprotoValueError), (["x"], {"priority": 100}, CaprotoValueError),
            (["x", "y"], {"priority": [0]}, CaprotoValueError),
            (["x"], {"priority": [0, 1]}, CaprotoValueError),
            (["x", "y"], {"priority": [0, 100]}, CaprotoValueError),
            (["x", "y"], {"priority": "01"}, CaprotoTypeError),
        ],
    )  # fmt: skip
    def test_wrong_arguments_raise_at_once(self, ctx, names, options, error):
        with pytest.raises(error):
            ctx.table(names, **options)
        assert not ctx.pvs

    def test_which_of_many_priorities_is_wrong(self, ctx):
        with pytest.raises(CaprotoValueError, match=r"priority\[2\] must be .*, not 100"):
            ctx.table(["x", "y", "z"], priority=[0, 99, 100])
        for priority in ("01", b"01", {0: 1, 1: 2}):
            with pytest.raises(CaprotoTypeError, match="^priority must be a whole number, not "):
                ctx.table(["x", "y"], priority=priority)
        with pytest.raises(CaprotoTypeError, match=r"priority\[1\] must be .*, not 1.5"):
            ctx.table(["x", "y"], priority=[0, 1.5])

    def test_a_long_wrong_mask_is_not_shown_whole(self, ctx):
        with pytest.raises(CaprotoValueError, match="mask must be") as raised:
            ctx.table(["x", "y"]).write(1.0, [True] * 10_000)
        assert len(str(raised.value)) < 200

    def test_without_numpy(self, ctx, monkeypatch):
        monkeypatch.setitem(sys.modules, "numpy", None)
        for name in [name for name in sys.modules if name.startswith("caproto.")
                     and name.rsplit(".", 1)[1] in ("columns", "_table")]:  # fmt: skip
            monkeypatch.delitem(sys.modules, name)
        with pytest.raises(ca.CaprotoNotImplementedError, match="table.. needs numpy"):
            ctx.table(["x"])

    def test_its_monitors_cannot_be_copied(self, ctx):
        table = ctx.table(["x"])
        for monitor in (table.monitor(), table.monitor(lambda snap, changed: None), table.record()):
            with monitor, pytest.raises(CaprotoTypeError, match="cannot be copied or pickled"):
                copy.copy(monitor)

    def test_names_of_numpy_are_plain_in_messages(self, ctx):
        (name,) = ctx.table(np.array(["missing"])).read(timeout=0).errors.items()
        assert type(name[0]) is str and str(name[1]).startswith("'missing' ")

    def test_it_cannot_be_pickled(self, ctx):
        with pytest.raises(CaprotoTypeError, match="a Table cannot be copied or pickled"):
            pickle.dumps(ctx.table(["x"]))

    def test_no_names(self, ctx):
        table = ctx.table([])
        assert len(table.read()) == 0 and not table.write(5).errors
        assert not table.restore(table.read()).errors
        assert next(table.record(timeout=0.1), None) is None

    def test_wave(self, start_server):
        server = start_server({"a": FakePV([1, 2], ChannelType.LONG), "b": FakePV([3, 4])})
        with Context(configuration=server.configuration) as ctx:
            snap = ctx.table(["a", "b"], count=2).read()
        assert snap.values.tolist() == [[1, 2], [3, 4]]


class TestWriting:
    def test_values_by_row(self, own_ioc):
        with Context(configuration=own_ioc.configuration, timeout=10) as ctx:
            table = ctx.table(["T:double", "T:long", "T:enum"])
            written = table.write([2.5, 7, 2])
            assert written.ok.all() and not written.errors
            assert table.read().values.tolist() == [2.5, 7.0, 2.0]
            assert repr(written) == "3 of 3 PVs were written"

    def test_a_text_for_a_number_is_converted_by_the_server(self, own_ioc):
        with Context(configuration=own_ioc.configuration, timeout=10) as ctx:
            table = ctx.table(["T:double"], dtype=str)
            for text in ("1.234567", "7.654321"):  # not connected yet, and then
                assert table.write(text).ok.all()
                assert float(own_ioc.get("double")) == float(text)

    def test_more_than_a_short_header_can_say(self, own_ioc):
        """Such requests and replies have the long header, for their size or for the count."""
        with Context(configuration=own_ioc.configuration, timeout=10) as ctx:
            for count in (8192, 70_000):
                table = ctx.table(["T:million", "T:double"], count=count)
                for value in (1.0, 2.0):  # PV by PV, then by columns
                    written = table.write(value, [True, False])
                    assert written.ok.tolist() == [True, False] and not written.errors
                    snap = table.read(timeout=2)
                    assert (snap.values[0] == value).all()
                    assert "elements are more than channel" in str(snap.errors["T:double"])
                assert table.write(3.0, [True, False], wait=False).ok[0]
                with table.record() as recording, table.monitor() as live:
                    assert (next(recording).value == 3.0).all()
                    while not live.snapshot().ok[0]:
                        assert live.wait(10)
                    assert (live.snapshot().values[0] == 3.0).all()
                assert table.read(timeout=1).ok[0]

    def test_chosen_rows(self, own_ioc):
        with Context(configuration=own_ioc.configuration, timeout=10) as ctx:
            table = ctx.table(["T:double", "T:long"])
            before = table.read().values
            for _ in range(2):  # PV by PV as they connect, then by columns
                written = table.write([9.0, 8.0], [False, True])
                assert written.ok.tolist() == [False, True]
                assert table.read().values.tolist() == [before[0], 8.0]

    @pytest.mark.parametrize("connected", [False, True])
    def test_partial_results(self, real, connected):
        names = ["T:readonly", "T:disabled", "T:missing", "T:double"]
        table = real.table(names)
        if connected:
            real.table([name for name in names if name != "T:missing"]).wait_for_connection()
        written = table.write([1, 1, 1, 3.14], timeout=1)
        assert written.ok.tolist() == [False, False, False, True]
        assert isinstance(written.errors["T:readonly"], AccessError)
        assert isinstance(written.errors["T:disabled"], WriteError)
        assert isinstance(written.errors["T:missing"], CaprotoTimeoutError)
        alone = real.write({"T:disabled": 1}).errors["T:disabled"]
        assert str(written.errors["T:disabled"]) == str(alone)
        assert repr(written).startswith("1 of 4 PVs were written\n'T:")

    def test_it_waits_for_what_the_writes_trigger(self, real):
        table = real.table(["T:slow"])
        table.wait_for_connection()
        begun = monotonic()
        assert table.write(1.0).ok.all()
        assert monotonic() - begun > 0.4

    def test_without_waiting(self, server, ctx, wait_for):
        for table in (ctx.table(["x", "y"]), ctx.table(["x", "y"])):
            sent = table.write([7.0, 8.0], wait=False)
            assert sent.ok.all() and not sent.confirmed
        assert table.read().values.tolist() == [7.0, 8.0]
        assert not server.received(ca.WriteNotifyRequest)
        assert len(server.received(ca.WriteRequest)) == 4

    def test_none_is_sent_twice(self, server, ctx):
        table = ctx.table(["x", "y"])
        table.wait_for_connection()
        server.on[ca.WriteNotifyRequest] = lambda connection, command: connection.reset()
        written = table.write(5.0)
        assert not written.ok.any() and "the write failed" in str(written.errors["x"])
        assert all(isinstance(one, ca.DisconnectedError) for one in written.errors.values())
        server.on.clear()
        table.wait_for_connection()
        assert len(server.received(ca.WriteNotifyRequest)) <= 2

    def test_no_confirmation(self, server, ctx):
        table = ctx.table(["x", "y"])
        table.wait_for_connection()
        server.on[ca.WriteNotifyRequest] = ignore
        error = table.write(5.0, timeout=0.2).errors["x"]
        assert "no reply to the write within 0.2 s" in str(error)
        assert "may still be in progress" in str(error)

    def test_arrays_texts_and_mixed_types(self, own_ioc):
        with Context(configuration=own_ioc.configuration, timeout=10) as ctx:
            waves = ctx.table(["T:array_double", "T:array_long"], count=2)
            mixed = ctx.table(["T:string", "T:double"], dtype=[str, float])
            for _ in range(2):
                assert waves.write([[1, 2], [3, 4]]).ok.all()
                assert waves.read().values.tolist() == [[1.0, 2.0], [3.0, 4.0]]
                assert mixed.write(["new", 0.5]).ok.all()
                assert mixed.read().to_dict() == {"T:string": "new", "T:double": 0.5}

    def test_wrong_arguments_send_nothing(self, server, ctx):
        table = ctx.table(["x", "y"])
        for values, mask in (([1, 2, 3], None), ("a", None), ([1, 2], [True]), ([1, 2], "x"),
                             ([1, 2], [[True], [True, False]]), ([1], None),
                             ([1, 2], np.ma.array([True, True], mask=[0, 1]))):  # fmt: skip
            with pytest.raises((CaprotoTypeError, CaprotoValueError)):
                table.write(values, mask)
        assert not server.received(ca.WriteNotifyRequest)

    def test_ten_thousand(self, start_ioc, tmp_path):
        database = tmp_path / "many.db"
        database.write_text(many(10_000))
        ioc = start_ioc([database])
        with Context(configuration=ioc.configuration, timeout=60) as ctx:
            table = ctx.table(many_names(10_000))
            table.wait_for_connection()
            assert table.write(np.arange(10_000) * 2).ok.all()
            assert table.read().values.tolist() == list(range(0, 20_000, 2))


class TestRestoring:
    def test_only_what_differs_is_written(self, server, ctx):
        table = ctx.table(["x", "y"])
        snap = table.read()
        table.write([1.5, 9.0])
        count = len(server.received(ca.WriteNotifyRequest))
        written = table.restore(snap)
        assert written.ok.tolist() == [False, True]
        assert len(server.received(ca.WriteNotifyRequest)) == count + 1
        assert table.read().values.tolist() == [1.5, 2.5]
        assert table.restore(snap, only_changed=False).ok.all()

    def test_nan_is_not_written_again(self, server, ctx):
        server.pvs["x"] = FakePV(math.nan)
        for table in (ctx.table(["x", "y"]), ctx.table(["x", "y"], dtype=[float, "float"])):
            snap = table.read()
            assert not table.restore(snap).ok.any()
            assert not server.received(ca.WriteNotifyRequest)

    def test_what_is_missing_in_the_snapshot_is_left_alone(self, server, ctx):
        snap = ctx.table(["missing", "y"]).read(timeout=0.3)
        written = ctx.table(["x", "y", "missing"]).restore(snap, only_changed=False)
        assert written.ok.tolist() == [False, True, False]
        assert [*map(str, written.errors.values())] == [
            "'missing': the snapshot has no value of it"
        ]
        assert "the snapshot has no value" in repr(written)

    @pytest.mark.parametrize("only_changed", [True, False])
    def test_arrays_are_not_cut_to_the_one_element_that_a_table_of_scalars_has(
        self, server, ctx, only_changed
    ):
        table = ctx.table(["x", "wave"])
        snap = table.read()
        table.write(8.0, [True, False])
        written = table.restore(snap, only_changed=only_changed)
        assert written.ok.tolist() == [True, False] and list(written.errors) == ["wave"]
        with pytest.raises(CaprotoValueError, match="has up to 10 elements, of which the snapshot"):
            raise written.errors["wave"]
        assert len(ctx.get_pv("wave").read().data) == 3

    def test_arrays_that_were_not_connected_are_not_cut_either(self, server, ctx):
        snap = ctx.table(["x", "wave"]).read()
        with Context(configuration=server.configuration, timeout=10) as other:
            written = other.table(["x", "wave"]).restore(snap, only_changed=False)
        assert written.ok.tolist() == [True, False]
        assert "has up to 10 elements" in str(written.errors["wave"])
        assert [write.data_count for write in server.received(ca.WriteNotifyRequest)] == [1]

    def test_what_is_not_connected_is_not_written(self, server, ctx):
        snap = ctx.table(["x", "y"]).read()
        del server.pvs["y"]
        with Context(configuration=server.configuration) as other:
            written = other.table(["x", "y"]).restore(snap, only_changed=False, timeout=0.3)
        assert written.ok.tolist() == [True, False] and list(written.errors) == ["y"]
        with pytest.raises(CaprotoTimeoutError, match="'y'.*search"):
            raise written.errors["y"]

    def test_an_array_that_is_lost_during_the_read_is_not_cut(self, server, ctx):
        table, asked = ctx.table(["wave", "x"]), []
        snap = table.read()

        def answer_the_first_and_hang_up(connection, command):
            asked.append(command)
            if len(asked) == 1:
                server.usual(connection, command)
            else:
                connection.reset()

        server.on[ca.ReadNotifyRequest] = answer_the_first_and_hang_up
        found_again = monotonic() + 2.2  # after the read, in time for a write
        server.answers = lambda search: monotonic() > found_again
        written = table.restore(snap, only_changed=False, timeout=1.5)
        assert len(asked) == 2 and not written.ok.any() and set(written.errors) == {"wave", "x"}
        assert str(written.errors["wave"]) == "'wave' is not connected"
        assert not server.received(ca.WriteNotifyRequest)

    def test_what_cannot_be_read_may_not_differ(self, server, ctx):
        table = ctx.table(["x"])
        snap = table.read()
        server.on[ca.ReadNotifyRequest] = ignore
        written = table.restore(snap, timeout=0.2)
        assert not written.ok.any() and "no reply to the read" in str(written.errors["x"])
        assert not server.received(ca.WriteNotifyRequest)
        assert table.restore(snap, only_changed=False, timeout=1.0).ok.all()

    def test_only_the_pvs_of_the_snapshot_are_waited_for(self, server, ctx):
        snap = ctx.table(["x", "y"]).read()
        table = ctx.table(["x", "missing", "y"])
        for only_changed in (True, False):
            written = table.restore(snap, only_changed=only_changed, timeout=None)
            assert not written.errors and not written.ok[1]

    def test_arrays_and_mixed_types(self, server, ctx):
        for options in ({"count": 2}, {"dtype": [int], "count": 3}):
            table = ctx.table(["wave"], **options)
            snap = table.read()
            table.write(8)
            assert table.restore(snap).ok.all()
            assert np.array_equal(table.read().values, snap.values)

    def test_restore_arrays_of_different_types(self, server, ctx):
        server.pvs["texts"] = FakePV(["a", "b", "c"], ChannelType.STRING)
        table = ctx.table(["wave", "texts"], dtype={"wave": float, "texts": str}, count=3)
        snap = table.read()
        assert not table.restore(snap).ok.any()
        assert table.write("1").ok.all()
        assert table.restore(snap).ok.all()
        assert not snap.diff(table.read())

    def test_wrong_arguments(self, ctx):
        snap = ctx.table(["x"]).read()
        with pytest.raises(ca.CaprotoKeyError, match="the table has no 'x'"):
            ctx.table(["y"]).restore(snap)
        with pytest.raises(CaprotoValueError, match="the values of the snapshot cannot be those"):
            ctx.table(["text"]).restore(ctx.table(["text"], dtype=str).read())
        with pytest.raises(CaprotoValueError, match="not whole numbers"):
            ctx.table(["x"], dtype=int).restore(snap)  # 1.5
        with pytest.raises(CaprotoTypeError, match="snapshot must be a TableSnapshot"):
            ctx.table(["y"]).restore({"y": 1})


def test_a_table_that_is_gone_leaves_nothing_behind(ctx, wait_for):
    pv = ctx.get_pv("x")
    tables = [ctx.table(["x", "y"]) for _ in range(3)]
    with tables[0].monitor() as live:
        while not live.snapshot().ok.all():
            assert live.wait(10)
        assert len(pv._tables) == 3
    tables.clear()
    gc.collect()
    wait_for(lambda: not pv._tables)


def test_in_the_child_of_a_fork_no_lock_is_held(start_server):
    """As the child finds it: another thread held the lock, and does not exist any more."""
    server = start_server({"x": 1.5})
    ctx = Context(configuration=server.configuration)
    table = ctx.table(["x"])
    live = table.monitor()
    table.wait_for_connection()
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        with table._core.state.lock:
            held.set()
            assert done.wait(10)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait(10)
    circuits = list(ctx.circuit_managers.values())
    try:
        ctx._home._after_fork()
        assert not table.connected.any() and live.closed
        with pytest.raises(ContextDisconnectedError, match="before fork"):
            table.read()
    finally:
        done.set()
        thread.join()
        for circuit in circuits:
            circuit.disconnect()
        ctx.disconnect()
