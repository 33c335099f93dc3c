"""User callbacks of subscriptions: held weakly, called in the form they want, free to misbehave."""
from __future__ import annotations

import functools
import gc
import logging
import threading
import weakref

import pytest

from caproto import CaprotoTypeError, EventAddRequest, EventCancelRequest
from tests.conformance.items import item
from tests.harness.waiting import wait_for
from tests.threading.client.told import Told, flush, hold_callbacks


@pytest.fixture
def x(ctx):
    (pv,) = ctx.get_pvs("x")
    pv.wait_for_connection()
    return pv


@pytest.fixture
def warnings(caplog):
    """The warnings that were logged so far, as texts."""
    return lambda: [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]


class TestForms:
    """``f(response)``, or ``f(subscription, response)`` for what takes two."""

    def called_with(self, server, x, function, strong=False):
        """The arguments of the call that tells the first update."""
        sub = x.subscribe()
        seen.clear()
        sub.add_callback(function, strong=strong)
        flush(x)
        sub.clear()
        (arguments,) = seen
        assert arguments[-1].data.tolist() == [1.5]
        assert arguments[:-1] in ((), (sub,))
        return len(arguments)

    def test_functions(self, server, x):
        assert self.called_with(server, x, takes_one) == 1
        assert self.called_with(server, x, takes_two) == 2
        assert self.called_with(server, x, takes_any) == 2
        assert self.called_with(server, x, takes_a_default) == 1

    def test_bound_methods(self, server, x):
        machine = Machine()
        assert self.called_with(server, x, machine.one) == 1
        assert self.called_with(server, x, machine.two) == 2

    def test_partials(self, server, x):
        partial = functools.partial(takes_two, "extra")
        sub = x.subscribe()
        seen.clear()
        sub.add_callback(partial)
        flush(x)
        ((extra, response),) = seen
        assert extra == "extra" and response.data.tolist() == [1.5]

    def test_callable_objects(self, server, x):
        machine = Machine()
        assert self.called_with(server, x, machine) == 2

    def test_the_form_is_no_matter_of_warnings(self, server, x, warnings):
        self.called_with(server, x, takes_one)
        self.called_with(server, x, takes_two)
        assert not warnings()

    @pytest.mark.parametrize("function", [5, "text", lambda: None, lambda a, b, c: None])
    def test_what_cannot_be_called_raises_at_the_call(self, server, x, function):
        sub = x.subscribe()
        with pytest.raises(CaprotoTypeError):
            sub.add_callback(function, strong=True)
        assert not sub.callbacks
        flush(x)
        assert not server.received(EventAddRequest)


seen: list[tuple] = []


def takes_one(response):
    seen.append((response,))


def takes_two(sub, response):
    seen.append((sub, response))


def takes_any(*args):
    seen.append(args)


def takes_a_default(response, label="mine"):
    assert label == "mine"
    seen.append((response,))


class Machine:
    def one(self, response):
        seen.append((response,))

    def two(self, sub, response):
        seen.append((sub, response))

    def __call__(self, sub, response):
        seen.append((sub, response))


class TestDecorator:
    def test_it_leaves_the_function_as_it_is(self, x):
        told, sub = Told(), x.subscribe()

        @sub.add_callback()
        def function(response):
            told(response)

        assert list(sub.callbacks.values()) == [function]
        assert told.wait() == [1.5]

    def test_a_strong_one_needs_no_name(self, x):
        told, sub = Told(), x.subscribe()
        sub.add_callback(strong=True)(lambda response: told(response))
        gc.collect()
        assert told.wait() == [1.5] and len(sub.callbacks) == 1


class TestWeakReferences:
    def test_each_that_dies_is_told_of_with_its_name_and_that_of_the_pv(
        self, server, x, warnings
    ):
        class Plot:
            def update(self, response):
                pass

        sub, here = x.subscribe(), "test_subscription_callbacks.py"
        sub.add_callback(lambda response: None)
        sub.add_callback([].append)
        sub.add_callback(Plot().update)
        names = (f"<lambda> ({here}:", "callback list.append was", f"Plot.update ({here}:")
        gc.collect()
        wait_for(lambda: len(warnings()) == 3)
        for name in names:
            (text,) = [text for text in warnings() if name in text]
            assert "'x'" in text and "garbage-collected" in text and "strong=True" in text
            assert "list.append" in text and "bound method of a temporary object" in text
        wait_for(lambda: not server.wished("x"))
        assert not sub.callbacks

    def test_many_that_die_are_counted(self, server, ctx, x, warnings, monkeypatch):
        now = [1000.0]
        monkeypatch.setattr(ctx._home, "now", lambda: now[0])
        sub = x.subscribe()
        for _ in range(50):
            sub.add_callback(lambda response: None)
        gc.collect()
        flush(x)
        assert len(warnings()) == 10
        now[0] += 60
        sub.add_callback(lambda response: None)
        gc.collect()
        flush(x)
        assert len(warnings()) == 11
        assert "40 more have died" in warnings()[-1]

    def test_of_those_that_are_removed_nothing_is_said(self, server, x, warnings):
        sub = x.subscribe()
        for remove in (sub.remove_callback, lambda token: sub.clear()):
            function = functools.partial(lambda response: None)
            token = sub.add_callback(function)
            remove(token)
            del function
            gc.collect()
        flush(x)
        assert not warnings()

    @item(52)
    def test_dead_callbacks_are_cancelled_at_the_server(self, server, x):
        told = Told()

        def function(response):
            told(response)

        sub = x.subscribe()
        sub.add_callback(function)
        told.wait()
        del function
        gc.collect()
        (cancel,) = server.wait_for(EventCancelRequest)
        assert cancel.subscriptionid == server.received(EventAddRequest)[0].subscriptionid
        flush(x)
        assert server.wished("x") == 0

    def test_the_death_of_one_does_not_concern_the_others(self, server, x):
        dies, stays, sub = Told(), Told(), x.subscribe()
        sub.add_callback(dies)
        sub.add_callback(stays)
        stays.wait()
        reference = weakref.ref(dies)
        del dies
        gc.collect()
        assert reference() is None
        server.post("x", 2.0)
        flush(x)
        assert stays.values == [1.5, 2.0] and server.wished("x") == 1
        assert list(sub.callbacks.values()) == [stays]

    def test_a_bound_method_lives_as_long_as_its_object(self, server, x):
        class Machine:
            def __init__(self):
                self.told = Told()

            def update(self, response):
                self.told(response)

        machine = Machine()
        told = machine.told
        x.subscribe().add_callback(machine.update)
        gc.collect()
        told.wait()
        server.post("x", 2.0)
        assert told.wait(2) == [1.5, 2.0]
        del machine
        gc.collect()
        server.wait_for(EventCancelRequest)
        assert told.values == [1.5, 2.0]

    def test_a_strong_one_stays_until_it_is_removed(self, server, x, warnings):
        told, sub = Told(), x.subscribe()

        def function(response):
            told(response)

        token = sub.add_callback(function, strong=True)
        reference = weakref.ref(function)
        del function
        gc.collect()
        assert told.wait() == [1.5]
        server.post("x", 2.0)
        flush(x)
        assert told.values == [1.5, 2.0] and not warnings()
        sub.remove_callback(token)
        flush(x)
        gc.collect()
        assert reference() is None and server.wished("x") == 0

    def test_one_that_died_before_the_connection_is_never_requested(self, server, ctx, warnings):
        server.answers = lambda search: False
        (x,) = ctx.get_pvs("x")
        sub = x.subscribe()
        sub.add_callback(lambda response: pytest.fail("it should be dead"))
        gc.collect()
        assert not sub.callbacks
        server.answers = lambda search: True
        ctx.broadcaster.search_now()
        x.wait_for_connection()
        flush(x)
        assert server.wished("x") == 0
        assert len(warnings()) == 1 and "'x'" in warnings()[0]

    def test_one_that_dies_as_often_as_it_is_added_leaves_nothing(self, server, x):
        """The collector strikes at any moment, in any thread."""
        sub = x.subscribe()
        for _ in range(200):
            sub.add_callback(lambda response: None)
        last = Told()
        sub.add_callback(last)
        last.wait()
        flush(x)
        assert server.wished("x") == 1 and list(sub.callbacks.values()) == [last]


class TestMisbehaviour:
    @pytest.mark.parametrize("error", [ValueError, SystemExit])
    def test_an_exception_is_logged_with_the_name_of_the_pv_and_nobody_else_suffers(
        self, server, x, caplog, error
    ):
        def fails(response):
            raise error("the user's mistake")

        told, sub = Told(), x.subscribe()
        sub.add_callback(fails)
        sub.add_callback(told)
        told.wait()
        server.post("x", 2.0)
        flush(x)
        assert told.values == [1.5, 2.0]
        records = [r for r in caplog.records if r.levelno == logging.ERROR]
        (record,) = records  # of the second failure there is no second traceback
        assert "'x'" in record.getMessage() and "fails (test_subscr" in record.getMessage()
        assert record.pv == "x"
        assert isinstance(record.exc_info[1], error)

    def test_one_that_fails_each_time_is_told_of_once_a_minute(
        self, server, ctx, x, caplog, monkeypatch
    ):
        now = [1000.0]
        monkeypatch.setattr(ctx._home, "now", lambda: now[0])

        def fails(response):
            raise ValueError(f"no {response.data[0]}")

        def lines():
            return [r.getMessage() for r in caplog.records if r.levelno == logging.ERROR]

        sub = x.subscribe()
        sub.add_callback(fails)
        for seconds in range(130):
            flush(x)
            now[0] = 1000.0 + seconds
            server.post("x", float(seconds))
        flush(x)
        first, *later = lines()
        assert "fails" in first and "times" not in first
        assert ["61 more times" in later[0], "60 more times" in later[1]] == [True, True]
        assert len(later) == 2
        assert "ValueError('no 60.0')" in later[0] and "'x'" in later[0]
        assert sum(r.exc_info is not None for r in caplog.records) == 1

    def test_one_may_remove_itself(self, server, x):
        told, sub = Told(), x.subscribe()

        def once(response):
            told(response)
            sub.remove_callback(token)

        with hold_callbacks(x):  # so that the token is known when it is called
            token = sub.add_callback(once)
            server.wait_for(EventAddRequest)
            server.post("x", 2.0)
        server.wait_for(EventCancelRequest)
        flush(x)
        assert told.values == [1.5]
        assert server.wished("x") == 0 and not sub.callbacks

    def test_one_may_clear_add_and_read(self, server, x):
        told, sub, values = Told(), x.subscribe(), []

        def busy(response):
            sub.clear()
            values.append(x.read().data[0])
            sub.add_callback(told)

        sub.add_callback(busy)
        told.wait()
        flush(x)
        assert values == [1.5] and told.values == [1.5]
        assert server.wished("x") == 1 and list(sub.callbacks.values()) == [told]

    def test_a_slow_one_delays_no_reply(self, server, ctx, x):
        (y,) = ctx.get_pvs("y")
        with hold_callbacks(x):
            assert y.read().data[0] == 2.5
            y.write(3.5)
            assert x.read().data[0] == 1.5

    def test_the_same_function_twice_is_two_callbacks(self, server, x):
        told, sub = Told(), x.subscribe()
        tokens = {sub.add_callback(told), sub.add_callback(told)}
        told.wait(2)
        server.post("x", 2.0)
        flush(x)
        assert told.values == [1.5, 1.5, 2.0, 2.0]
        sub.remove_callback(tokens.pop())
        server.post("x", 3.0)
        flush(x)
        assert told.values[4:] == [3.0]

    def test_callbacks_run_in_the_thread_of_their_circuit(self, server, x):
        names = []

        def function(response):
            names.append(threading.current_thread().name)

        x.subscribe().add_callback(function)
        flush(x)
        assert names == [f"ca-callback 127.0.0.1:{server.port}"]


def test_the_most_recent_response(server, ctx, wait_for):
    (x,) = ctx.get_pvs("x")
    subscription, told = x.subscribe(), Told()
    assert subscription.most_recent_response is None
    subscription.add_callback(told)
    told.wait_for_calls(1)
    server.post("x", 7.0)
    told.wait_for_calls(2)
    assert subscription.most_recent_response is told.responses[-1]
