"""``Context.read`` and ``Context.write``: many PVs at once, with partial results."""
from __future__ import annotations

import pickle
import threading
from time import monotonic

import pytest

import caproto as ca
from caproto import CaprotoTimeoutError, CaprotoTypeError, CaprotoValueError, ReentrantCallError
from caproto.threading.client import (
    PV,
    AccessError,
    Context,
    ContextDisconnectedError,
    WriteError,
    _reentry,
)
from tests.harness.databases import many, many_names
from tests.harness.fake_server import ignore

pytestmark = pytest.mark.ioc


class TestReading:
    def test_responses_by_name_in_the_order_of_asking(self, real):
        names = ["T:string", "T:double", "T:array_long", "T:enum"]
        results = real.read(*names)
        assert list(results) == names and results.ok and results.errors == {}
        assert results["T:double"].data.tolist() == [3.14]
        assert results.to_dict()["T:string"] == "hello"

    def test_with_alarm_and_time_unless_asked_otherwise(self, real):
        assert real.read("T:double")["T:double"].data_type is ca.ChannelType.TIME_DOUBLE
        assert real.read("T:enum")["T:enum"].data_type is ca.ChannelType.TIME_ENUM
        native = real.read("T:double", data_type="native")["T:double"]
        assert native.data_type is ca.ChannelType.DOUBLE
        text = real.read("T:double", "T:enum", data_type=ca.ChannelType.STRING)
        assert text.to_dict() == {"T:double": "3.140", "T:enum": "green"}

    def test_partial_results(self, real):
        results = real.read("T:double", "T:missing", "T:noaccess", timeout=1)
        assert not results.ok and list(results.errors) == ["T:missing", "T:noaccess"]
        assert isinstance(results["T:missing"], CaprotoTimeoutError)
        assert "'T:missing' was not found within 1 s" in str(results["T:missing"])
        assert isinstance(results["T:noaccess"], AccessError)
        assert results.to_dict() == {"T:double": 3.14}

    def test_results_go_to_other_processes(self, real):
        results = pickle.loads(pickle.dumps(real.read("T:double", "T:noaccess")))
        assert results["T:double"].data.tolist() == [3.14]
        error = results["T:noaccess"]
        assert isinstance(error, AccessError) and error.pv == "T:noaccess"

    def test_a_name_given_twice_is_read_once(self, server, ctx):
        assert list(ctx.read("x", "y", "x")) == ["x", "y"]
        assert len(server.received(ca.ReadNotifyRequest)) == 2

    def test_no_names(self, ctx):
        assert ctx.read() == {} and ctx.read().ok

    @pytest.mark.parametrize("names", [["x", "y"], ("x",), 5, None, b"x"])
    def test_names_that_are_not_text(self, ctx, names):
        with pytest.raises(CaprotoTypeError, match=r"write read\(\*names\)"):
            ctx.read(names)

    @pytest.mark.parametrize(
        "options, error",
        [
            ({"data_type": "banana"}, CaprotoValueError), ({"timeout": "soon"}, CaprotoTypeError),
        ],
    )
    def test_other_wrong_arguments(self, ctx, options, error):
        with pytest.raises(error):
            ctx.read("x", **options)
        assert not ctx.pvs

    def test_the_timeout_is_the_contexts_unless_given(self, server):
        with Context(configuration=server.configuration, timeout=0.2) as ctx:
            assert "within 0.2 s" in str(ctx.read("missing")["missing"])
            assert "within 0.1 s" in str(ctx.read("missing", timeout=0.1)["missing"])

    def test_one_deadline_for_all(self, server, ctx):
        server.on[ca.ReadNotifyRequest] = ignore
        begun = monotonic()
        results = ctx.read("x", "y", "missing", "gone", timeout=0.5)
        assert monotonic() - begun < 3 and len(results.errors) == 4

    def test_a_closed_context(self, server):
        with Context(configuration=server.configuration) as ctx:
            pass
        for call in (lambda: ctx.read("x"), lambda: ctx.write({"x": 1.0})):
            with pytest.raises(ContextDisconnectedError):
                call()

    def test_in_a_callback(self, server, ctx, wait_for):
        """The answers, and new connections, come through another thread."""
        seen: list = []
        sub = ctx.get_pv("x").subscribe()

        def callback(response):
            seen.append((ctx.read("x", "y", "text"), ctx.write({"y": 9.0})))

        sub.add_callback(callback)
        wait_for(lambda: seen)
        read, written = seen[0]
        assert read.ok and len(read) == 3 and written.ok

    def test_inside_another_call_it_is_refused(self, ctx):
        with _reentry.serving():
            with pytest.raises(ReentrantCallError, match="Context.read"):
                ctx.read("x")
            with pytest.raises(ReentrantCallError, match="Context.write"):
                ctx.write({"x": 1.0})

    def test_from_several_threads(self, server, ctx):
        results: list = []
        threads = [
            threading.Thread(target=lambda: results.append(ctx.read("x", "y", "wave", "text")))
            for _ in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(results) == 8 and all(result.ok for result in results)

    def test_an_ioc_that_hangs_delays_the_others_not_beyond_the_timeout(self, own_ioc):
        with Context(configuration=own_ioc.configuration) as ctx:
            ctx.get_pv("T:double").wait_for_connection(timeout=10)
            own_ioc.freeze()
            try:
                results = ctx.read("T:double", timeout=0.5)
                assert "no reply to the read within 0.5 s" in str(results["T:double"])
            finally:
                own_ioc.thaw()
            assert ctx.read("T:double", timeout=10).ok

    def test_an_ioc_that_is_restarted(self, own_ioc):
        with Context(configuration=own_ioc.configuration, timeout=30) as ctx:
            assert ctx.read("T:double", "T:long").ok
            own_ioc.kill()
            own_ioc.start()
            assert ctx.read("T:double", "T:long").ok

    def test_ten_thousand(self, start_ioc, tmp_path):
        database = tmp_path / "many.db"
        database.write_text(many(10_000))
        ioc = start_ioc([database])
        with Context(configuration=ioc.configuration, timeout=60) as ctx:
            names = many_names(10_000)
            results = ctx.read(*names)
            assert results.ok and list(results) == names
            assert results.to_dict() == {name: float(i) for i, name in enumerate(names)}
            assert ctx.write(dict.fromkeys(names, 1.0)).ok
            assert set(ctx.read(*names, "T:missing", timeout=2.5).to_dict().values()) == {1.0}


class TestWriting:
    def test_values_by_name(self, own_ioc):
        with Context(configuration=own_ioc.configuration, timeout=10) as ctx:
            values = {"T:double": 2.5, "T:enum": "blue", "T:string": "new", "T:array_long": [7, 8]}
            results = ctx.write(values)
            assert results.ok and list(results) == list(values)
            assert all(isinstance(one, ca.WriteNotifyResponse) for one in results.values())
            again = ctx.read(*values).to_dict()
            assert again.pop("T:array_long").tolist() == [7, 8]
            assert again == {"T:double": 2.5, "T:enum": 2, "T:string": "new"}

    def test_partial_results(self, real):
        values = {"T:readonly": 1, "T:disabled": 1, "T:long": "no number", "T:missing": 1}
        errors = real.write({**values, "T:double": 3.14}, timeout=1).errors
        assert list(errors) == list(values)
        assert isinstance(errors["T:readonly"], AccessError)
        assert isinstance(errors["T:disabled"], WriteError)
        assert isinstance(errors["T:long"], (CaprotoTypeError, CaprotoValueError))
        assert isinstance(errors["T:missing"], CaprotoTimeoutError)
        assert all(repr(name) in str(error) for name, error in errors.items())

    def test_it_waits_for_what_the_writes_trigger(self, real):
        begun = monotonic()
        assert real.write({"T:slow": 1.0}).ok
        assert monotonic() - begun > 0.4

    def test_nothing(self, ctx):
        assert ctx.write({}) == {} and ctx.write({}).ok

    @pytest.mark.parametrize("values", [[("x", 1.0)], "x", None, {"x"}])
    def test_values_must_be_a_mapping(self, ctx, values):
        with pytest.raises(CaprotoTypeError, match="values must be a dict"):
            ctx.write(values)

    def test_names_must_be_text(self, ctx):
        with pytest.raises(CaprotoTypeError):
            ctx.write({5: 1.0})


class TestOne:
    def test_get_pv(self, server, ctx):
        states: list = []

        def note(pv, state):
            states.append((pv.name, state))

        pv = ctx.get_pv("x", priority=3, timeout=7, connection_state_callback=note)
        assert isinstance(pv, PV) and pv.name == "x" and pv.priority == 3 and pv.timeout == 7
        assert ctx.get_pvs("x", priority=3) == [pv]
        pv.wait_for_connection()
        assert pv.read().data.tolist() == [1.5]

    def test_a_list_is_refused(self, ctx):
        with pytest.raises(CaprotoTypeError):
            ctx.get_pv(["x"])
