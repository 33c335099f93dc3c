"""Monitors of tables: live columns, callbacks and recordings, on scripted servers and real IOCs."""
from __future__ import annotations

import gc
import itertools
import threading
import time

import numpy as np
import pytest

import caproto as ca
from caproto import CaprotoTypeError, CaprotoValueError
from caproto.threading.client import Context, ContextDisconnectedError
from tests.harness.databases import counter_names, counters
from tests.harness.interrupts import enter_each_line, in_time, interrupt_each_line

pytestmark = pytest.mark.ioc


def filled(live) -> None:
    """Wait until there is a value of each PV that is connected."""
    while not live.snapshot().ok.all():
        assert live.wait(10)


class TestLive:
    def test_it_follows_the_server(self, server, ctx):
        table = ctx.table(["x", "y"])
        with table.monitor() as live:
            filled(live)
            version = live.version
            assert live.snapshot().values.tolist() == [1.5, 2.5]
            server.post("y", 7.0)
            assert live.wait(10)
            assert live.snapshot().values.tolist() == [1.5, 7.0]
            assert live.changed(version).tolist() == [1]
            assert table.values.tolist() == [1.5, 7.0]
            assert live.column("severity").tolist() == [0, 0]
            with pytest.raises(CaprotoValueError, match="'names' is not a column"):
                live.column("names")
            assert not live.wait(0.05)
            assert live.wait(0, since=version)

    def test_the_columns_of_the_table_do_not_go_back_in_time(self, server, ctx, wait_for):
        table = ctx.table(["x", "y"], data_type="native")
        assert table.read().values.tolist() == [1.5, 2.5]
        with table.monitor() as live:
            filled(live)
            server.post("x", 9.0)
            wait_for(lambda: table.values.tolist() == [9.0, 2.5])
        assert table.values.tolist() == [9.0, 2.5]
        server.pvs["x"].value = 10.0  # without an event
        with table.monitor(mask="property") as live:
            filled(live)
            server.pvs["x"].value = 11.0
            table.read()
            assert table.values.tolist() == [11.0, 2.5]

    def test_the_end_cancels_all(self, server, ctx, wait_for):
        with ctx.table(["x", "y"]).monitor() as live:
            filled(live)
            assert server.wished("x") == server.wished("y") == 1
        wait_for(lambda: server.wished("x") == server.wished("y") == 0)
        assert not live.wait(5) and "closed" in repr(live)
        live.close()

    def test_a_close_may_interrupt_a_close(self, server, ctx):
        table = ctx.table(["x"])
        monitors = [table.monitor(lambda snap, changed: None)]

        def close() -> None:
            monitors[-1].close()

        def run() -> None:
            for _where in enter_each_line(close, close, library=True):
                monitors.append(table.monitor(lambda snap, changed: None))

        in_time(run)
        assert len(monitors) > 10 and all(live.closed for live in monitors)

    def test_the_table_closes_its_monitors(self, server, ctx, wait_for):
        table = ctx.table(["x"])
        live, recording = table.monitor(), table.record()
        filled(live)
        table.close()
        assert live.closed and recording.closed
        wait_for(lambda: server.wished("x") == 0)
        assert table.read().ok.all()

    def test_one_that_nothing_refers_to_ends(self, server, ctx, wait_for):
        live = ctx.table(["x", "y"]).monitor()  # the table lives as long as this
        filled(live)
        server.post("y", 7.0)
        while live.snapshot()["y"] != 7.0:
            assert live.wait(10)
        gc.collect()
        assert server.wished("x") == server.wished("y") == 1
        del live
        gc.collect()
        wait_for(lambda: server.wished("x") == server.wished("y") == 0)
        wait_for(lambda: not ctx.get_pv("x")._tables)

    def test_a_pv_in_a_table_and_alone_at_once(self, server, ctx, wait_for):
        seen: list[float] = []
        sub = ctx.get_pv("x").subscribe(data_type="time")
        sub.add_callback(lambda response: seen.append(response.value), strong=True)
        with ctx.table(["x", "y"]).monitor() as live, ctx.table(["x"]).monitor() as other:
            filled(live)
            filled(other)
            wait_for(lambda: seen == [1.5])
            for value in (2.0, 3.0, 4.0):
                server.post("x", value)
            wait_for(lambda: seen == [1.5, 2.0, 3.0, 4.0])
            wait_for(lambda: live.snapshot()["x"] == other.snapshot()["x"] == 4.0)
            assert ctx.get_pv("x").read().value == 4.0
        server.post("x", 5.0)
        wait_for(lambda: seen[-1] == 5.0)

    def test_pvs_that_come_later(self, server, ctx):
        with ctx.table(["x", "late"]).monitor() as live:
            while not live.snapshot().ok[0]:
                live.wait(10)
            assert live.snapshot().ok.tolist() == [True, False]
            server.pvs["late"] = server.pvs["y"]
            filled(live)
            assert live.snapshot().values.tolist() == [1.5, 2.5]

    def test_a_server_that_drops_a_channel(self, server, ctx, wait_for):
        with ctx.table(["x", "y"]).monitor() as live:
            filled(live)
            connection = server.connection
            connection.send(ca.ServerDisconnResponse(connection.channel("x").cid))
            wait_for(lambda: server.wished("x") == 1 and live.snapshot().ok.all())
            server.post("x", 9.0)
            wait_for(lambda: live.snapshot()["x"] == 9.0)
            assert server.wished("x") == server.wished("y") == 1

    def test_a_refusal_is_an_error(self, real):
        with real.table(["T:double", "T:noaccess"]).monitor() as live:
            while True:
                snap = live.snapshot()
                if snap.ok[0] and "refused the subs" in str(snap.error_at(1)):
                    break
                assert live.wait(10)
        assert snap.ok.tolist() == [True, False] and snap.connected.all()
        assert "refused the subscription: ECA_NORDACCESS" in str(snap.errors["T:noaccess"])

    def test_what_has_no_value_has_an_error(self, server, ctx):
        """As its ``ok`` says; with what a table or a file of the snapshot shows for it."""
        server.on[ca.EventAddRequest] = lambda connection, command: (
            None if connection.circuit.channels_sid[command.sid].name == "y"
            else server.usual(connection, command)
        )
        with ctx.table(["missing", "x", "y"]).monitor() as live:
            while not (live.snapshot().ok[1] and live.snapshot().connected[2]):
                assert live.wait(10)
            snap = live.snapshot()
        said = {name: (type(error).__name__, str(error)) for name, error in snap.errors.items()}
        assert said == {
            "missing": ("DisconnectedError", "'missing' is not connected"),
            "y": ("CaprotoValueError", "'y' has had no value yet"),
        }
        assert snap.errors["y"] is snap.errors["y"] and "x" not in snap.errors
        assert snap.to_arrow()["error"].to_pylist() == [said["missing"][1], None, said["y"][1]]

    def test_too_few_elements(self, server, ctx):
        with ctx.table(["x", "wave"], count=3).monitor() as live:
            while not ((snap := live.snapshot()).ok[1] and "more than" in str(snap.error_at(0))):
                assert live.wait(10)
        assert snap.values[1].tolist() == [1.0, 2.0, 3.0]
        said = "'x': the subscription failed: 3 elements are more than the channel has (1)"
        assert str(snap.errors["x"]) == said

    def test_a_pv_that_is_monitored_does_not_go_idle(self, server, ctx):
        with ctx.table(["x"]).monitor() as live:
            filled(live)
            ctx.get_pv("x").go_idle()
            assert ctx.get_pv("x").connected
        ctx.get_pv("x").go_idle()
        assert ctx.table(["x"]).read().ok.all()

    def test_a_server_that_freezes(self, own_ioc, wait_for):
        environ = {**own_ioc.environ, "EPICS_CA_CONN_TMO": "1"}
        configuration = type(own_ioc.configuration).from_environment(environ)
        with Context(configuration=configuration, timeout=10) as ctx:
            with ctx.table(["T:double", "T:long"]).monitor() as live:
                filled(live)
                own_ioc.freeze()
                try:
                    wait_for(lambda: not live.snapshot().connected.any(), timeout=20)
                finally:
                    own_ioc.thaw()
                wait_for(lambda: live.snapshot().ok.all(), timeout=20)

    def test_disconnect_wakes_those_that_wait(self, server):
        ctx = Context(configuration=server.configuration)
        live = ctx.table(["x"]).monitor()
        filled(live)
        live.wait(0)
        errors: list[Exception] = []

        def wait() -> None:
            try:
                while live.wait(30):  # the losses are changes, too
                    pass
            except ContextDisconnectedError as error:
                errors.append(error)

        thread = threading.Thread(target=wait)
        thread.start()
        ctx.disconnect()
        thread.join(10)
        assert errors

    @pytest.mark.parametrize(
        "options, error",
        [
            ({"callback": 5}, CaprotoTypeError), ({"callback": lambda: None}, CaprotoTypeError),
            ({"mask": "banana"}, CaprotoValueError),
            ({"callback": print, "period": 0}, CaprotoValueError),
            ({"callback": print, "period": "often"}, CaprotoTypeError),
        ],
    )  # fmt: skip
    def test_wrong_arguments(self, ctx, options, error):
        table = ctx.table(["x"])
        with pytest.raises(error):
            table.monitor(**options)
        with pytest.raises(CaprotoTypeError):
            table.record("soon")

    def test_wrong_arguments_of_the_result(self, ctx):
        with ctx.table(["x"]).monitor() as live:
            for timeout in ("soon", True):
                with pytest.raises(CaprotoTypeError, match="timeout must be a number of seconds"):
                    live.wait(timeout)
            for call in (live.changed, lambda since: live.wait(0, since=since)):
                for since in ("then", 1.5, [1]):
                    with pytest.raises(CaprotoTypeError, match="since must be a whole number"):
                        call(since)
            filled(live)
            assert live.wait(np.float32(0.1), since=np.int64(0)) is True


class TestCallback:
    def test_it_gets_snapshots_and_what_has_changed(self, server, ctx, wait_for):
        calls: list = []
        table = ctx.table(["x", "y"])
        table.wait_for_connection()
        with table.monitor(lambda snap, changed: calls.append((snap, changed)), period=0.01):
            wait_for(lambda: calls and calls[-1][0].ok.all())
            server.post("y", 9.0)
            wait_for(lambda: calls[-1][0]["y"] == 9.0)
            assert calls[-1][1].tolist() == [1]
        count = len(calls)
        server.post("y", 10.0)
        assert ctx.get_pv("y").read().value == 10.0
        assert len(calls) == count

    @pytest.mark.filterwarnings("error::pytest.PytestUnhandledThreadExceptionWarning")
    @pytest.mark.parametrize("period", [30.0, float("inf")])
    def test_at_most_so_often(self, server, ctx, wait_for, period):
        calls: list = []
        table = ctx.table(["x"])
        table.wait_for_connection()
        with table.monitor(lambda snap, changed: calls.append(snap), period=period):
            wait_for(lambda: calls)
            server.post("x", 9.0)
            assert ctx.get_pv("x").read().value == 9.0
            assert len(calls) == 1

    def test_what_it_raises_is_logged_and_it_goes_on(self, server, ctx, caplog, wait_for):
        calls = itertools.count()

        def bad(snap, changed):
            next(calls)
            raise ValueError("a defect of the user's")

        with ctx.table(["x"]).monitor(bad, period=0.01):
            wait_for(lambda: "a defect of the user's" in caplog.text)
            for value in range(20):
                server.post("x", float(value))
            wait_for(lambda: next(calls) > 5)


class TestRecording:
    def test_every_update(self, server, ctx):
        with ctx.table(["x", "y"]).record() as recording:
            first = {"x": False, "y": False}
            index, value = [], []
            while len(index) < 2:
                block = next(recording)
                index += block.index.tolist()
                value += block.value.tolist()
            assert sorted(zip(index, value, strict=True)) == [(0, 1.5), (1, 2.5)] and first
            for number in range(100):
                server.post("x", float(number))
            seen: list[float] = []
            while len(seen) < 100:
                block = next(recording)
                assert not block.index.any() and not block.gap.any()
                seen += block.value.tolist()
            assert seen == list(range(100))

    def test_an_interrupted_step_loses_nothing(self, server, ctx):
        with ctx.table(["x"]).record(timeout=5) as recording:
            assert next(recording).value.tolist() == [1.5]
            posted, seen = 1, []
            server.post("x", 0.0)
            for _where in interrupt_each_line(lambda: seen.extend(next(recording).value.tolist())):
                server.post("x", float(posted))
                posted += 1
            while len(seen) < posted:
                seen.extend(next(recording).value.tolist())
        assert seen == list(range(posted)) and posted > 20

    def test_it_ends_when_nothing_comes(self, server, ctx):
        assert sum(len(block) for block in ctx.table(["x", "y"]).record(timeout=0.5)) == 2

    def test_it_ends_when_it_is_closed(self, server, ctx):
        recording = ctx.table(["x"]).record()
        timer = threading.Timer(0.2, recording.close)
        timer.start()
        assert sum(len(block) for block in recording) == 1
        timer.join()
        assert "closed" in repr(recording)

    def test_a_closed_context_is_an_error(self, server):
        with Context(configuration=server.configuration) as ctx:
            recording = ctx.table(["x"]).record()
            next(recording)
        with pytest.raises(ContextDisconnectedError):
            next(recording)

    def test_an_ioc_that_is_killed_and_restarted(self, start_ioc, tmp_path, wait_for):
        """Nothing is doubled, nothing is left out but in a gap, and the gap is marked."""
        database = tmp_path / "counters.db"
        database.write_text(counters(50))
        ioc = start_ioc([database])
        names = counter_names(50)
        with Context(configuration=ioc.configuration, timeout=30) as ctx:
            table = ctx.table(names)
            table.wait_for_connection()
            with table.record(timeout=30) as recording:
                ioc.put("run", 1)
                before = self.take(recording, 2_000)
                ioc.kill()
                killed = np.datetime64(time.time_ns(), "ns")
                wait_for(lambda: not table.connected.any())
                ioc.start()
                ioc.put("run", 1)
                after = self.take(recording, 2_000, until_gaps=50)
        index = np.concatenate([block.index for block in before + after])
        value = np.concatenate([block.value for block in before + after])
        gap = np.concatenate([block.gap for block in before + after])
        stamp = np.concatenate([block.timestamp for block in before + after])
        for row in range(50):
            values, gaps = value[index == row], gap[index == row]
            assert gaps.sum() == 1, f"row {row}"
            place = int(gaps.argmax())
            for part in (values[:place], values[place:]):
                # The IOC itself leaves values out if it is late; none comes twice.
                assert (np.diff(part) > 0).all(), f"row {row}: {part}"
            times = stamp[index == row]
            assert (times[:place] < killed).all() and (times[place + 1 :] > killed).all()

    def take(self, recording, count: int, until_gaps: int = 0) -> list:
        blocks: list = []
        while sum(map(len, blocks)) < count or sum(b.gap.sum() for b in blocks) < until_gaps:
            blocks.append(next(recording))
        return blocks

    def test_the_server_is_asked_to_wait_while_nothing_is_taken(self, server, ctx, monkeypatch,
                                                                wait_for):  # fmt: skip
        monkeypatch.setattr("caproto._client.flow_control.HIGH_WATER", 2_000)
        monkeypatch.setattr("caproto._client.flow_control.LOW_WATER", 500)
        with ctx.table(["x"]).record() as recording:
            next(recording)
            for number in range(300):
                server.post("x", float(number))
            server.wait_for(ca.EventsOffRequest)
            last = -1.0
            while last < 299.0:
                last = float(next(recording).value[-1])
            server.wait_for(ca.EventsOnRequest)

    def test_one_that_nothing_refers_to_stops_no_other(self, server, ctx, monkeypatch, wait_for):
        """Its updates are never taken, so they must not stop those of the circuit."""
        monkeypatch.setattr("caproto._client.flow_control.HIGH_WATER", 2_000)
        for _block in ctx.table(["x"]).record():
            break
        gc.collect()
        wait_for(lambda: server.wished("x") == 0)
        recording = ctx.table(["x"]).record()
        next(recording)
        for number in range(300):
            server.post("x", float(number))
        server.wait_for(ca.EventsOffRequest)
        del recording
        gc.collect()
        server.wait_for(ca.EventsOnRequest)
        with ctx.table(["y"]).monitor() as live:
            filled(live)
            server.post("y", 9.0)
            wait_for(lambda: live.snapshot()["y"] == 9.0)
