"""User callbacks, held weakly unless the user asks for more.

The entries are a tuple that is replaced whole, so the threads that call them iterate without a
lock. A thread that changes it holds the Context's lock.
"""
from __future__ import annotations

import functools
import logging
import math
import os
import weakref
from collections.abc import Callable, Collection
from types import CodeType, FunctionType, MethodType
from typing import Final

from .. import _imports
from .._errors import CaprotoKeyError, CaprotoTypeError
from .._log import LogAllowance
from .._numbers import counted
from .._typing import NamedTuple

Function = Callable[..., object]
#: Returns a function, or None if it was garbage-collected.
Reference = Callable[[], Function | None]

#: Among the flags of a code object: it has ``*args``.
_VARARGS: Final = 4

#: Carried by the SystemExit that ends a user's callback, and its thread, as the interpreter exits;
#: also why a Context is closed then.
EXITING = "the interpreter is exiting"


class Entry(NamedTuple):
    """One registered callback."""

    token: int
    reference: Reference
    with_owner: bool  #: whether it is called with its owner before the argument
    name: str  #: of the function, for the log: it may be gone by then
    #: Of a bound method that is held weakly: references to its object and its function. To call the
    #: function with the object takes 150 ns less than to make a new method, as *reference* does.
    bound_to: Callable[[], object] | None = None
    function: Reference | None = None


class Callbacks:
    """The callbacks of one Subscription.

    Attributes
    ----------
    entries : tuple of Entry
        Replaced whole at each change.
    """

    __slots__ = ("_failing", "_next_token", "entries")

    def __init__(self) -> None:
        self.entries: tuple[Entry, ...] = ()
        self._next_token = 0
        self._failing: dict[int, LogAllowance] | None = None  # most callbacks never fail

    def new_token(self) -> int:
        """Return a number that no callback had here before."""
        token = self._next_token
        self._next_token += 1
        return token

    @staticmethod
    def make_entry(
        token: int,
        function: Function,
        strong: bool,
        with_owner: bool,
        died: Callable[[object], None],
    ) -> Entry:
        """Refer to *function*; *died* is called from the garbage collector. Needs no lock."""
        reference = make_reference(function, strong, died)
        if strong or not isinstance(function, MethodType):
            return Entry(token, reference, with_owner, name_of(function))
        bound_to, plain = weakref.ref(function.__self__), weakref.ref(function.__func__)
        return Entry(token, reference, with_owner, name_of(function), bound_to, plain)

    def append(self, entry: Entry) -> None:
        """Register *entry*."""
        self.entries = (*self.entries, entry)

    def check_token(self, token: int) -> None:
        """Raise CaprotoKeyError if no callback was ever given this token."""
        if not 0 <= token < self._next_token:
            raise CaprotoKeyError(f"{token!r} is not a token that add_callback returned here")

    def remove(self, tokens: Collection[int]) -> set[int]:
        """Forget these callbacks; return the tokens of those that were there."""
        found = {entry.token for entry in self.entries if entry.token in tokens}
        self.entries = tuple(entry for entry in self.entries if entry.token not in tokens)
        if self._failing is not None:
            for token in found:
                self._failing.pop(token, None)
        return found

    def dead(self) -> list[Entry]:
        """Find the callbacks that were garbage-collected."""
        return [entry for entry in self.entries if entry.reference() is None]

    def functions(self) -> dict[int, Function]:
        """Return the callbacks that still exist, by token."""
        found = ((entry.token, entry.reference()) for entry in self.entries)
        return {token: function for token, function in found if function is not None}

    def failed(
        self, token: int, name: str, error: BaseException, pv_name: str, log: logging.Logger,
        now: float,
    ) -> None:
        """Log what a callback raised: a traceback the first time, then one line a minute.

        Raises
        ------
        SystemExit
            If it is the one that ends our threads when the interpreter exits.
        """
        reraise_exit(error)
        allowance = (self._failing or {}).get(token)
        if allowance is None:
            allowance = LogAllowance(1)
            if any(entry.token == token for entry in self.entries):  # it may have removed itself
                self._failing = {**(self._failing or {}), token: allowance}
            allowance.take(now)
            log.error("%r: the user callback %s failed", pv_name, name, exc_info=error)
            return
        withheld = allowance.take(now)
        if withheld is not None:
            log.error(
                "%r: the user callback %s failed %s, the last time with %r",
                pv_name, name, counted(withheld + 1, "more time"), error,
            )


def name_of(function: Function) -> str:
    """Name a callback as its author would: ``Plot.update (plot.py:12)``."""
    plain = function.func if isinstance(function, functools.partial) else function
    name = getattr(plain, "__qualname__", None) or type(plain).__qualname__
    code = getattr(plain, "__code__", None)
    if not isinstance(code, CodeType):
        return str(name)
    return f"{name} ({os.path.basename(code.co_filename)}:{code.co_firstlineno})"


def make_reference(
    function: Function, strong: bool, died: Callable[[object], None] | None
) -> Reference:
    """Refer to *function*, and keep it alive only if *strong*; else call *died* when it is gone.

    Raises
    ------
    CaprotoTypeError
        If it can only be held strongly.
    """
    if strong:
        return MethodType(_identity, function)  # the smallest object that does it
    if isinstance(function, MethodType):
        return weakref.WeakMethod(function, died)
    try:
        return weakref.ref(function, died)
    except TypeError:
        raise CaprotoTypeError(
            f"the callback {function!r} cannot be held weakly; give a function or a method, "
            "or add it to a subscription with strong=True"
        ) from None


def _identity(function: Function) -> Function:
    return function


def _arity(function: Function) -> tuple[float, float] | None:
    """Count the positional arguments that *function* requires, and those that it accepts.

    Required keyword arguments are impossible to give, so with them the first number is infinite.
    Some built-in functions do not tell: None.
    """
    bound, plain = 0, function
    if type(function) is MethodType:
        bound, plain = 1, function.__func__
    elif type(function) is not FunctionType and not hasattr(function, "__signature__"):
        bound, plain = 1, type(function).__call__
    if type(plain) is FunctionType and not hasattr(plain, "__wrapped__"):
        return _arity_of_code(plain, bound)
    _imports.check_reentry("add_callback")
    import inspect  # here, because it takes long, and few callbacks need it

    try:
        parameters = inspect.signature(function).parameters.values()
    except ValueError:
        return None
    positional = [
        one for one in parameters if one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD)
    ]
    if any(one.kind is one.KEYWORD_ONLY and one.default is one.empty for one in parameters):
        return math.inf, math.inf
    variable = any(one.kind is one.VAR_POSITIONAL for one in parameters)
    required = sum(one.default is one.empty for one in positional)
    return required, math.inf if variable else len(positional)


def _arity_of_code(function: FunctionType, bound: int) -> tuple[float, float]:
    """Do what `_arity` does, for a function written in Python; takes a hundredth of the time."""
    code = function.__code__
    if code.co_kwonlyargcount > len(function.__kwdefaults__ or ()):
        return math.inf, math.inf
    variable = bool(code.co_flags & _VARARGS)
    required = max(0, code.co_argcount - len(function.__defaults__ or ()) - bound)
    return required, math.inf if variable else code.co_argcount - bound


def accepts_two(function: Function) -> bool:
    """Tell whether *function* is to be called with two arguments; else it is called with one.

    It is if it requires two positional arguments, or takes any number of them (``*args``).
    Arguments with a default do not count: ``lambda response, label=label: ...`` gets the response
    alone.

    Raises
    ------
    CaprotoTypeError
        If it accepts neither one nor two, or cannot be called at all.
    """
    if not callable(function):
        raise CaprotoTypeError(f"a callback must be callable, not {function!r}")
    arity = _arity(function)
    if arity is None:
        return False  # one argument is usual
    required, most = arity
    two = required == 2 or most == math.inf
    if not required <= (2 if two else 1) <= most:
        raise CaprotoTypeError(
            f"a callback is called as f(response) or f(subscription, response); "
            f"{function!r} accepts neither"
        )
    return two


def check_accepts(function: Function, form: str, count: int) -> None:
    """Raise CaprotoTypeError if *function* cannot be called as *form*, with *count* arguments."""
    arity = _arity(function)
    if arity is not None and not arity[0] <= count <= arity[1]:
        raise CaprotoTypeError(
            f"the callback is called as {form}; {function!r} does not accept that"
        )


def listener(function: object, form: str) -> Reference:
    """Make a weak reference to a callback about a PV, which is called as *form*.

    Raises
    ------
    CaprotoTypeError
        If it cannot be called so, with two arguments, or not be held weakly.
    """
    if not callable(function):
        raise CaprotoTypeError(f"callback must be callable, not {function!r}")
    check_accepts(function, form, 2)
    return make_reference(function, False, None)


def call(entry: Entry, owner: object, argument: object) -> None:
    """Call one callback, if it still exists."""
    function = entry.reference()
    if function is None:
        return
    if entry.with_owner:
        function(owner, argument)
    else:
        function(argument)


def report(error: BaseException, owner: object, function: object, log: logging.Logger) -> None:
    """Log what a user's function raised; not even SystemExit may end one of our threads.

    Raises
    ------
    SystemExit
        If it is the one that ends our threads when the interpreter exits.
    """
    reraise_exit(error)
    log.error("%r: the user callback %r failed", owner, function, exc_info=error)


def reraise_exit(error: BaseException) -> None:
    """Raise *error* if it is the SystemExit by which we end a thread as the interpreter exits."""
    if isinstance(error, SystemExit) and error.code is EXITING:
        raise error
