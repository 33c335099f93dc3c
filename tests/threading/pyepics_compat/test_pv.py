"""Reading, writing and callbacks of a PV of pyepics."""
from __future__ import annotations

import threading
import time

import numpy
import pytest

from caproto import CaprotoValueError
from caproto.threading.pyepics_compat import PV, AccessRightsException, caget
from caproto.threading.pyepics_compat._connection import KEYS
from tests.harness.fake_server import FakePV
from tests.threading.pyepics_compat.conftest import Told

pytestmark = pytest.mark.ioc


class TestGet:
    def test_scalars_are_of_python(self, pv):
        for name, kind in (("x", float), ("long", int), ("switch", int), ("text", str)):
            for use_monitor in (True, False):
                assert type(pv(name).get(use_monitor=use_monitor)) is kind

    def test_an_array_stays_one(self, pv, wait_for):
        wave = pv("wave")
        wave.put([1, 2, 3], wait=True)
        wait_for(lambda: wave.get().tolist() == [1, 2, 3])
        assert wave.get(as_numpy=False) == [1.0, 2.0, 3.0]
        assert wave.get(count=1).tolist() == [1.0] and wave.get(count=1, as_numpy=False) == [1.0]
        assert wave.get(as_string=True) == "<array size=3, type=time_double>"
        assert (wave.count, wave.nelm) == (3, 10)
        assert wave.get(count=5).tolist() == [1, 2, 3, 0, 0]  # read: the server fills up
        assert wave.get(count=2, use_monitor=False).tolist() == [1, 2]
        assert wave.get().tolist() == [1, 2, 3] and wave.count == 3  # as before

    @pytest.mark.parametrize("use_monitor", [True, False])
    def test_an_array_without_elements(self, pv, use_monitor):
        empty = pv("empty")
        value = empty.get(use_monitor=use_monitor)
        assert len(value) == empty.count == 0 and value.dtype == "int16"
        assert empty.get(as_numpy=False, use_monitor=use_monitor) == []

    def test_text(self, pv, wait_for):
        x, switch, chars = pv("x"), pv("switch"), pv("chars")
        x.put(1.23456, wait=True)
        switch.put("On", wait=True)
        chars.put("hello", wait=True)
        wait_for(lambda: x.get() == 1.23456 and switch.get() == 1 and len(chars.get()) == 6)
        for use_monitor in (True, False):
            assert x.get(as_string=True, use_monitor=use_monitor) == "1.235"
            assert switch.get(as_string=True, use_monitor=use_monitor) == "On"
            assert chars.get(as_string=True, use_monitor=use_monitor) == "hello"
        assert (x.char_value, switch.char_value) == ("1.235", "On")

    def test_what_is_not_there_is_none(self, context):
        missing = PV("nobody", connection_timeout=0.05)
        assert missing.get() is None and missing.get_with_metadata() is None
        assert missing.put(1) is None and missing.get_ctrlvars() is None

    def test_a_read_that_is_not_answered_is_none(self, start_server):
        from caproto import ReadNotifyRequest
        from caproto.threading.client import Context
        from tests.harness.fake_server import ignore

        server = start_server({"a": FakePV(1.5)})
        with Context(configuration=server.configuration) as ctx:
            a = PV("a", context=ctx, auto_monitor=False)
            assert a.wait_for_connection(10)
            server.on[ReadNotifyRequest] = ignore
            assert a.get(timeout=0.05) is None

    @pytest.mark.parametrize(
        "form, keys",
        [
            ("native", {"value"}),
            ("time", {"value", "status", "severity", "timestamp", "posixseconds", "nanoseconds"}),
            ("ctrl", {
                "value", "status", "severity", "precision", "units", "upper_disp_limit",
                "lower_disp_limit", "upper_alarm_limit", "lower_alarm_limit",
                "upper_warning_limit", "lower_warning_limit", "upper_ctrl_limit",
                "lower_ctrl_limit",
            }),
        ],
    )  # fmt: skip
    def test_a_read_has_what_came_with_it(self, pv, form, keys):
        x = pv("x", auto_monitor=False)
        assert set(x.get_with_metadata(form=form, use_monitor=False)) == keys

    def test_the_cache_has_everything_and_is_never_given_away(self, pv, wait_for):
        x = pv("x")
        wait_for(lambda: x._args["value"] is not None)
        found = x.get_with_metadata(with_ctrlvars=True)
        assert set(KEYS) <= set(found) and found["units"] == "mm"
        value = found.pop("value")
        assert x.get() == value
        assert x.get_with_metadata(as_namespace=True).value == value

    def test_time(self, pv):
        x = pv("x", auto_monitor=False)
        x.put(1.0, wait=True)
        found = x.get_timevars()
        assert abs(found["timestamp"] - time.time()) < 60
        assert found["timestamp"] == pytest.approx(
            found["posixseconds"] + 1e-9 * found["nanoseconds"], abs=1e-6
        )

    def test_a_wrong_form(self, pv):
        with pytest.raises(CaprotoValueError, match="form must be one of"):
            pv("x").get_with_metadata(form="fancy")

    def test_two_hundred_threads(self, pv):
        x = pv("x", auto_monitor=False)
        x.put(2.5, wait=True)
        found: list = []
        threads = [
            threading.Thread(target=lambda: found.append(x.get(timeout=10))) for _ in range(200)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert found == [2.5] * 200


class TestPut:
    def test_after_its_end_everybody_gets_the_new_value(self, pv, context):
        """The update may come later than the confirmation of the put."""
        x, other = pv("x"), pv("x")
        seen: list = []
        for number in range(50):
            value = float(number % 7)
            assert x.put(value, wait=True) == 1
            seen.append((value, x.get(), other.get(), caget(x.pvname)))
        assert all(len(set(values)) == 1 for values in seen)

    def test_it_returns_one(self, pv):
        x = pv("x")
        assert x.put(1.5) == 1 and x.put(2.5, wait=True) == 1
        assert x.get(use_monitor=False) == 2.5
        x.value = 3.5
        assert x.put(4.5, timeout=None, wait=True) == 1

    def test_conversions(self, pv):
        long, texts, text = pv("long"), pv("texts"), pv("text")
        long.put(3.7, wait=True)
        assert long.get(use_monitor=False) == 3
        texts.put(["a", 2], wait=True)
        assert texts.get(use_monitor=False).tolist() == ["a", "2"]
        texts.put("one", wait=True)
        assert texts.get(use_monitor=False, as_numpy=False) == ["one"]
        text.put("µm", wait=True)
        assert text.get(use_monitor=False) == "µm"
        with pytest.raises(ValueError):
            long.put("x")

    def test_the_end_is_told_to_callbacks(self, pv, wait_for):
        x = pv("x")
        told, other = Told(), Told()
        x.put(1.0, callback=told, callback_data={"more": 3})
        x.put(1.0, callback=other, callback_data=7)
        wait_for(lambda: told.calls and other.calls)
        assert told.calls == [((), {"pvname": x.pvname, "more": 3})]
        assert other.calls == [((), {"pvname": x.pvname, "data": 7})]

    def test_put_complete(self, pv, wait_for):
        slow = pv("slow.PROC")
        assert slow.put_complete is None
        slow.put(1, use_complete=True)
        assert slow.put_complete is False
        wait_for(lambda: slow.put_complete)
        slow.put(1)
        assert slow.put_complete is None

    def test_a_wait_that_is_too_short(self, pv, wait_for):
        slow = pv("slow.PROC")
        assert slow.put(1, wait=True, timeout=0.1) == -1
        assert slow.put(1, wait=True, timeout=10) == 1

    def test_a_refusal_is_logged(self, pv, caplog, wait_for):
        refused = pv("refused")
        assert refused.put(1, wait=True) == 1  # as with pyepics
        assert "refused the write" in caplog.text

    def test_no_write_access(self, start_server):
        from caproto.threading.client import Context

        server = start_server({"a": FakePV(1.5, rights=1)})
        with Context(configuration=server.configuration) as ctx:
            a = PV("a", context=ctx)
            assert a.wait_for_connection(10) and a.access == "read-only"
            with pytest.raises(AccessRightsException, match="'a'"):
                a.put(1)

    def test_a_hundred_threads_each_with_data(self, pv, wait_for):
        x = pv("x")
        told: list = []

        def put(number):
            x.put(1.0, wait=True, callback=lambda **k: told.append(k["data"]), callback_data=number)

        threads = [threading.Thread(target=put, args=(number,)) for number in range(100)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(told) == list(range(100))


class TestCallbacks:
    def test_all_keywords_in_each_call(self, pv, told, wait_for):
        x = pv("x", auto_monitor=True)
        index = x.add_callback(told, more=3)
        x.put(1.23456, wait=True)
        wait_for(lambda: 1.23456 in told.values())
        args, keywords = told.calls[-1]
        assert args == () and set(keywords) == {*KEYS, "more", "cb_info"}
        assert keywords["cb_info"] == (index, x) and keywords["more"] == 3
        assert keywords["char_value"] == "1.235" and keywords["units"] == "mm"
        assert keywords["upper_ctrl_limit"] == 8.0 and keywords["chid"].pv is x

    def test_indices(self, pv):
        x = pv("x", auto_monitor=False)
        assert x.add_callback(print) == 1 and x.add_callback(print) == 2
        assert x.add_callback(repr, index=-999) == -999 and x.add_callback(print) == 3
        x.remove_callback(3)
        x.remove_callback(77)
        assert x.add_callback(print) == 3
        x.clear_callbacks()
        assert x.add_callback(print) == 1

    def test_they_are_called_in_the_order_of_their_indices(self, pv):
        x = pv("x", auto_monitor=False)
        order: list = []
        for index in (5, -3, 2):
            x.add_callback(lambda cb_info, **_: order.append(cb_info[0]), index=index)
        x.run_callbacks()
        assert order == [-3, 2, 5]
        x.run_callback(2)
        x.run_callback(77)
        assert order == [-3, 2, 5, 2]

    def test_run_now_reads_if_nothing_is_known(self, pv, told):
        x = pv("x", auto_monitor=False)
        x.put(2.5, wait=True)
        x.add_callback(told, run_now=True)
        assert told.values() == [2.5] and told.calls[0][1]["char_value"] == "2.500"

    def test_one_that_raises_stops_no_other(self, pv, told, caplog, wait_for):
        x = pv("x")

        def wrong(**_):
            raise RuntimeError("on purpose")

        x.add_callback(wrong)
        x.add_callback(told)
        x.put(1.0, wait=True)
        x.put(2.0, wait=True)
        wait_for(lambda: 2.0 in told.values())
        assert "on purpose" in caplog.text

    def test_they_may_call_everything(self, pv, wait_for):
        x, y = pv("x"), pv("y")
        seen: list = []

        def busy(value=None, **_):
            if not seen:
                y.put(5.5, wait=True)
                seen.append((y.get(use_monitor=False), x.get_ctrlvars()["units"]))
                x.add_callback(print, index=9, with_ctrlvars=True)
                x.remove_callback(9)

        x.add_callback(busy)
        x.put(3.0, wait=True)
        wait_for(lambda: seen)
        assert seen == [(5.5, "mm")]

    def test_what_is_not_callable_is_not_added(self, pv):
        assert pv("x").add_callback(None) is None

    def test_clearing_may_drop_the_others(self, pv):
        x = pv("x", print, connection_callback=print, access_callback=print)
        x.clear_callbacks(with_access_callback=True, with_connect_callback=True)
        assert (x.callbacks, x.connection_callbacks, x.access_callbacks) == ({}, [], [])


def test_the_value_property(pv):
    x = pv("x")
    x.put(2.0, wait=True)
    assert PV.value.fget(x) == x.get()


def test_numpy_values_are_taken(pv):
    x = pv("x")
    assert x.put(numpy.float32(1.5), wait=True) == 1 and x.get(use_monitor=False) == 1.5


def test_poll_returns(pv):
    pv("x").poll()
