"""Weak references to callbacks, and the form in which each wants to be called."""
from __future__ import annotations

import functools
import gc
import inspect
import logging
import queue
import sys

import pytest

from caproto import CaprotoKeyError, CaprotoTypeError
from caproto._client.callbacks import (
    EXITING,
    Callbacks,
    accepts_two,
    call,
    check_accepts,
    listener,
    make_reference,
    name_of,
)


class Machine:
    def one(self, response):
        pass

    def two(self, subscription, response):
        pass

    def __call__(self, subscription, response):
        pass

    @staticmethod
    def static(response):
        pass

    @classmethod
    def of_class(cls, subscription, response):
        pass


def one(response): ...
def two(subscription, response): ...
def optional(response, more=None): ...
def anything(*args): ...
def keywords(response, *, option=1): ...
def none(): ...
def three(a, b, c): ...
def needs_keyword(response, *, option): ...


def keywords_only(**options): ...


@pytest.mark.parametrize(
    ("function", "answer"),
    [
        (one, False),
        (two, True),
        (optional, False),
        (lambda response, label="a": None, False),
        (lambda response=None, label=None: None, False),
        (lambda sub, response, label="a": None, True),
        (lambda sub, response, *, label="a": None, True),
        (lambda *args: None, True),
        (lambda response, *rest: None, True),
        (lambda sub, response, *rest: None, True),
        (functools.partial(two, response=None), False),
        (queue.SimpleQueue().put, False),
        (queue.Queue().put, False),
        (anything, True),
        (keywords, False),
        (dict, False),  # which does not tell how it is called
        (lambda response: None, False),
        (lambda sub, response: None, True),
        (functools.partial(two, "bound"), False),
        (functools.partial(three, "bound"), True),
        (Machine().one, False),
        (Machine().two, True),
        (Machine(), True),
        (Machine.static, False),
        (Machine.of_class, True),
        ([].append, False),
        (print, sys.version_info >= (3, 11)),  # an older one does not tell how it is called
    ],
)
def test_two_arguments_for_functions_that_require_two(function, answer):
    assert accepts_two(function) is answer


@pytest.mark.parametrize("function", [
    none, three, needs_keyword, keywords_only, lambda a, b, c, *rest: None, 42, None, "text",
])
def test_what_cannot_be_called_is_refused(function):
    with pytest.raises(CaprotoTypeError):
        accepts_two(function)


def test_the_form_of_other_callbacks():
    for function in (
        Machine().two, Machine(), lambda pv, state: None, lambda *news: None, lambda a, b=1: None,
        functools.partial(print, "state:"), max, dict,
    ):
        check_accepts(function, "f(pv, state)", 2)
    for function in (Machine().one, lambda: None, lambda a, b, c: None, lambda a, *, b: None):
        with pytest.raises(CaprotoTypeError, match=r"is called as f\(pv, state\); <.* not accept"):
            check_accepts(function, "f(pv, state)", 2)


def test_functions_die_when_nobody_holds_them():
    died = []

    def function(): ...

    reference = make_reference(function, False, died.append)
    assert reference() is function
    del function
    gc.collect()
    assert reference() is None
    assert len(died) == 1


def test_bound_methods_live_as_long_as_their_object():
    died = []
    machine = Machine()
    reference = make_reference(machine.one, False, died.append)
    gc.collect()
    assert reference() == machine.one
    del machine
    gc.collect()
    assert reference() is None and len(died) == 1


def test_strong_ones_stay():
    died = []
    reference = make_reference(lambda response: 7, True, died.append)
    gc.collect()
    assert reference()(None) == 7 and not died


def test_what_cannot_be_held_weakly_needs_strong():
    class Slotted:
        __slots__ = ()

        def __call__(self, response):
            return response

    with pytest.raises(CaprotoTypeError, match="strong=True"):
        make_reference(Slotted(), False, print)
    assert make_reference(Slotted(), True, print)()(3) == 3


def test_a_method_of_a_built_in_type_dies_at_once():
    """``results.append`` is a new object each time it is named; that is Python's doing."""
    results, died = [], []
    reference = make_reference(results.append, False, died.append)
    assert reference() is None and len(died) == 1


class TestCallbacks:
    def add(self, callbacks, function, with_owner=False):
        entry = callbacks.make_entry(callbacks.new_token(), function, True, with_owner, print)
        callbacks.append(entry)
        return entry

    def test_tokens_are_never_reused(self):
        callbacks = Callbacks()
        first = self.add(callbacks, one).token
        callbacks.remove({first})
        second = self.add(callbacks, two).token
        assert second != first
        assert callbacks.functions() == {second: two}

    def test_removing_twice_is_no_error(self):
        callbacks = Callbacks()
        token = self.add(callbacks, one).token
        callbacks.remove({token})
        callbacks.remove({token})
        assert not callbacks.functions()

    @pytest.mark.parametrize("token", [-1, 1, 1000])
    def test_a_token_that_never_was_is_an_error(self, token):
        callbacks = Callbacks()
        self.add(callbacks, one)
        with pytest.raises(CaprotoKeyError, match="token"):
            callbacks.check_token(token)

    def test_entries_are_replaced_whole(self):
        """Whoever iterates while another thread changes them sees the old ones, all of them."""
        callbacks = Callbacks()
        for _ in range(3):
            self.add(callbacks, one)
        seen = []
        for entry in callbacks.entries:
            callbacks.remove({entry.token})
            seen.append(entry)
        assert len(seen) == 3 and not callbacks.entries

    def test_the_dead_are_counted(self):
        callbacks = Callbacks()
        kept = self.add(callbacks, one)
        token = callbacks.new_token()
        doomed = callbacks.make_entry(token, lambda response: None, False, False, lambda _: None)
        callbacks.append(doomed)
        gc.collect()
        assert callbacks.dead() == [doomed]
        assert callbacks.functions() == {kept.token: one}


def test_call_with_and_without_owner():
    seen = []
    callbacks = Callbacks()
    for with_owner in (True, False):
        entry = callbacks.make_entry(0, lambda *a: seen.append(a), True, with_owner, print)
        call(entry, "owner", "argument")
    assert seen == [("owner", "argument"), ("argument",)]


def test_the_dead_are_not_called():
    entry = Callbacks().make_entry(0, lambda argument: 1 / 0, False, False, lambda _: None)
    gc.collect()
    call(entry, "owner", 1)


class TestFailures:
    LOG = logging.getLogger("caproto")

    def fail(self, callbacks, token, now, error):
        callbacks.failed(token, "f (file.py:3)", error, "pv", self.LOG, now)

    def test_a_traceback_first_then_a_counted_line_a_minute(self, caplog):
        callbacks = Callbacks()
        entry = callbacks.make_entry(callbacks.new_token(), one, True, False, print)
        callbacks.append(entry)
        for second in range(125):
            self.fail(callbacks, entry.token, 1000.0 + second, ValueError(f"at {second}"))
        first, *later = caplog.records
        assert first.getMessage() == "'pv': the user callback f (file.py:3) failed"
        assert str(first.exc_info[1]) == "at 0"
        assert [record.getMessage() for record in later] == [
            "'pv': the user callback f (file.py:3) failed 60 more times, "
            f"the last time with ValueError('at {second}')"
            for second in (60, 120)
        ]
        assert not any(record.exc_info for record in later)

    def test_each_callback_is_counted_by_itself(self, caplog):
        callbacks = Callbacks()
        for number in range(3):
            callbacks.append(callbacks.make_entry(callbacks.new_token(), one, True, False, print))
            self.fail(callbacks, number, 5.0, ValueError())
        assert len(caplog.records) == 3

    def test_nothing_is_kept_of_those_that_are_gone(self):
        callbacks = Callbacks()
        for token in range(3):
            callbacks.append(callbacks.make_entry(callbacks.new_token(), one, True, False, print))
            self.fail(callbacks, token, 5.0, ValueError())
        callbacks.remove({0})
        self.fail(callbacks, 0, 6.0, ValueError())  # it has removed itself, then failed
        assert set(callbacks._failing) == {1, 2}
        callbacks.remove({1, 2})
        assert not callbacks._failing

    def test_our_own_exit_goes_on(self, caplog):
        with pytest.raises(SystemExit):
            self.fail(Callbacks(), 0, 5.0, SystemExit(EXITING))
        self.fail(Callbacks(), 0, 5.0, SystemExit("the user's"))
        assert len(caplog.records) == 1


@pytest.mark.parametrize(
    ("function", "name"),
    [
        (one, "one (test_callbacks.py:"),
        (Machine().one, "Machine.one (test_callbacks.py:"),
        (functools.partial(two, None), "two (test_callbacks.py:"),
        ([].append, "list.append"),
        (Machine(), "Machine"),
        (Machine, "Machine"),
        (print, "print"),
    ],
)
def test_names_of_functions(function, name):
    assert name_of(function).startswith(name)


@functools.wraps(one)
def wrapped_one(*args): ...


class OptionIsRequired:
    """It says so itself, as objects of other languages do."""

    __signature__ = inspect.signature(needs_keyword)

    def __call__(self, *args): ...


class TwoAreRequired(OptionIsRequired):
    __signature__ = inspect.signature(two)


def test_what_says_itself_how_it_is_called_is_believed():
    assert not accepts_two(wrapped_one) and accepts_two(TwoAreRequired())
    with pytest.raises(CaprotoTypeError, match="accepts neither"):
        accepts_two(OptionIsRequired())


def test_a_form_with_a_required_keyword_is_refused():
    with pytest.raises(CaprotoTypeError, match=r"called as f\(pv, state\)"):
        check_accepts(needs_keyword, "f(pv, state)", 2)
    check_accepts(two, "f(pv, state)", 2)
    check_accepts(print, "f(pv, state)", 2)


@pytest.mark.parametrize("wrong", [3, None, "print"])
def test_what_cannot_be_called_is_no_callback_of_a_pv(wrong):
    with pytest.raises(CaprotoTypeError, match=f"callback must be callable, not {wrong!r}"):
        listener(wrong, "f(pv, state)")
