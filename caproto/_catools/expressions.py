"""Expressions: the conditions of ``--until`` and ``--wait-for``.

They look like Python but are no Python: a parser makes a tree of what the tables here have, and
refuses everything else. Nothing of a user's text is ever evaluated or called by its name.
"""
from __future__ import annotations

import ast
import math
import operator
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from reprlib import repr as short_repr
from typing import TypeAlias

from .._protocol.timestamp import TimeStamp
from .options import UsageError
from .samples import SEVERITIES, Sample, sample_value, severity_name
from .settings import Failed, Settings

__all__ = ["NAMES", "Condition"]

#: What an expression can be, and what its names stand for in one sample.
Thing: TypeAlias = "float | int | str | bool | None | Named | Sequence[Thing]"
Facts: TypeAlias = Mapping[str, Thing]
Part: TypeAlias = Callable[[Facts], Thing]

_LONGEST = 1000
#: An expression may begin with an operator: it is about the value then.
_SHORT = re.compile(r"\s*(==|!=|<|>|in\b|not\s+in\b)")


class Named(int):
    """A number with a name, a state or a severity: either may be compared with it."""

    name: str

    def __new__(cls, number: int, name: str) -> Named:
        """Make one."""
        made = super().__new__(cls, number)
        made.name = name
        return made


def _comparable(left: Thing, right: Thing) -> tuple[Thing, Thing]:
    """Replace what has a name by it if the other side is text."""
    if isinstance(left, Named) and isinstance(right, str):
        return left.name, right
    if isinstance(right, Named) and isinstance(left, str):
        return left, right.name
    return left, right


def _is_in(left: Thing, right: Thing) -> bool:
    if isinstance(right, str):
        text = left.name if isinstance(left, Named) else left
        return isinstance(text, str) and text in right
    if not isinstance(right, Sequence):
        raise TypeError(f"{short_repr(right)} is neither a list nor text")
    return any(operator.eq(*_comparable(left, one)) for one in right)


_COMPARISONS: Mapping[type[ast.cmpop], Callable[[Thing, Thing], bool]] = {
    ast.Eq: lambda left, right: operator.eq(*_comparable(left, right)),
    ast.NotEq: lambda left, right: operator.ne(*_comparable(left, right)),
    ast.Lt: lambda left, right: operator.lt(*_numbers(left, right)),
    ast.LtE: lambda left, right: operator.le(*_numbers(left, right)),
    ast.Gt: lambda left, right: operator.gt(*_numbers(left, right)),
    ast.GtE: lambda left, right: operator.ge(*_numbers(left, right)),
    ast.In: _is_in,
    ast.NotIn: lambda left, right: not _is_in(left, right),
}
#: No powers and no shifts: their results may be too large for any memory.
_CALCULATIONS: Mapping[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul,
    ast.Div: operator.truediv, ast.FloorDiv: operator.floordiv, ast.Mod: operator.mod,
    ast.BitAnd: lambda left, right: _whole(left) & _whole(right),
    ast.BitOr: lambda left, right: _whole(left) | _whole(right),
}
_SIGNS: Mapping[type[ast.unaryop], Callable[[float], float]] = {
    ast.USub: operator.neg, ast.UAdd: operator.pos,
}
#: Operators of other languages, outside of texts in quotes, and what is written for them here.
_FOREIGN = re.compile(r"""'[^']*'|"[^"]*"|(&&|\|\||!(?!=)|(?<![=!<>:])=(?!=))""")
_OWN = {"&&": "and", "||": "or", "!": "not", "=": "=="}
_FUNCTIONS: Mapping[str, Callable[[Sequence[Thing]], float]] = {
    "abs": lambda things: abs(_number(things)),
    "len": lambda things: len(things),
    "max": lambda things: max(map(_number, things)),
    "min": lambda things: min(map(_number, things)),
    "sum": lambda things: math.fsum(map(_number, things)),
}
_CONSTANTS: Facts = {
    "nan": math.nan, "inf": math.inf,
    **{name: Named(number, name) for number, name in enumerate(SEVERITIES)},
}
#: The names of what a sample has, and what they mean.
NAMES: Mapping[str, str] = {
    "value": "number, text, or list; a state has its number and its name",
    "state": "name of the state of an enum",
    "severity": "NO_ALARM, MINOR, MAJOR, INVALID (0 to 3)",
    "status": "name of the alarm",
    "time": "POSIX time of the value, seconds",
    "age": "seconds since then",
    "units": "units",
    "count": "number of elements",
    "name": "name of the PV",
}


class Condition:
    """A parsed expression.

    Parameters
    ----------
    text : str
        ``value > 3 and severity < MAJOR``; ``> 3`` is short for ``value > 3``.

    Raises
    ------
    UsageError
        It cannot be read, or has something that no table here has.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        try:
            if len(text) > _LONGEST:
                raise SyntaxError(f"it has more than {_LONGEST} characters")
            whole = f"value {text}" if _SHORT.match(text) else text.strip()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # about odd escape sequences in texts
                self._part = _part(ast.parse(whole, mode="eval").body)
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            reason = _why(error, text)
            raise UsageError(f"the condition {text!r} cannot be read: {reason}") from None

    def holds(self, sample: Sample, settings: Settings) -> bool:
        """Tell whether it is true of a sample.

        Raises
        ------
        Failed
            Its parts do not go together: text is less than a number, for example.
        """
        try:
            return bool(self._part(_facts(sample, settings)))
        except (TypeError, ArithmeticError, LookupError, ValueError) as error:
            raise Failed(f"the condition {self.text!r}: {error}") from None


def _why(error: Exception, text: str) -> str:
    """Say why *text* cannot be read, and where."""
    if not isinstance(error, SyntaxError):
        return str(error)
    for found in _FOREIGN.finditer(text):
        if found[1]:
            return f"at character {found.start() + 1}: write {_OWN[found[1]]!r} for {found[1]!r}"
    if error.offset is None or error.text is None:  # the message is one of ours
        return str(error.msg)
    whole = error.text.rstrip("\n")
    return f"at character {max(1, error.offset + len(text.lstrip()) - len(whole))}: {error.msg}"


def _facts(sample: Sample, settings: Settings) -> Facts:
    """Return what the names stand for."""
    value: Thing = sample_value(sample, settings)
    if isinstance(value, int) and sample.state is not None:
        value = Named(value, sample.state)
    severity, stamp = sample.severity, sample.stamp
    time = stamp.timestamp if stamp is not None else math.nan
    return {
        **_CONSTANTS,
        "value": value,
        "state": sample.state,
        "severity": Named(severity, severity_name(severity)) if severity is not None else None,
        "status": str(sample.status) if sample.status is not None else None,
        "time": time,
        "age": TimeStamp.now().timestamp - time,
        "units": sample.about.units,
        "count": sample.reading.length if sample.reading is not None else 0,
        "name": sample.name,
    }


# ---- the parts of an expression


def _part(node: ast.expr) -> Part:
    """Make a function of a node of the tree; refuse what is in none of the tables."""
    make = _NODES.get(type(node))
    if make is None:
        raise SyntaxError(f"{ast.unparse(node)!r} is not allowed")
    return make(node)


def _constant(node: ast.Constant) -> Part:
    if isinstance(node.value, bool) or not isinstance(node.value, int | float | str):
        raise SyntaxError(f"{node.value!r} is not allowed")
    value = node.value
    return lambda facts: value


def _name(node: ast.Name) -> Part:
    name = node.id
    if name not in NAMES and name not in _CONSTANTS:
        known = ", ".join((*NAMES, *_CONSTANTS))
        raise SyntaxError(f"there is no {name!r}; there are {known}, and texts stand in quotes")
    return lambda facts: facts[name]


def _list(node: ast.List | ast.Tuple) -> Part:
    parts = [_part(one) for one in node.elts]
    return lambda facts: [part(facts) for part in parts]


def _junction(node: ast.BoolOp) -> Part:
    join = all if isinstance(node.op, ast.And) else any
    parts = [_part(one) for one in node.values]
    return lambda facts: join(part(facts) for part in parts)


def _sign(node: ast.UnaryOp) -> Part:
    part = _part(node.operand)
    if isinstance(node.op, ast.Not):
        return lambda facts: not part(facts)
    sign = _SIGNS.get(type(node.op))
    if sign is None:
        raise SyntaxError(f"{ast.unparse(node)!r} is not allowed")
    return lambda facts: sign(_number(part(facts)))


def _calculation(node: ast.BinOp) -> Part:
    calculate = _CALCULATIONS.get(type(node.op))
    if calculate is None:
        raise SyntaxError(f"{ast.unparse(node)!r} is not allowed")
    left, right = _part(node.left), _part(node.right)
    return lambda facts: calculate(_number(left(facts)), _number(right(facts)))


def _comparison(node: ast.Compare) -> Part:
    parts = [_part(one) for one in (node.left, *node.comparators)]
    tests = [_COMPARISONS.get(type(one)) for one in node.ops]
    if None in tests:
        raise SyntaxError(f"{ast.unparse(node)!r} is not allowed")

    def compare(facts: Facts) -> bool:
        things = [part(facts) for part in parts]
        return all(
            test(left, right) for test, left, right in zip(tests, things, things[1:]) if test
        )

    return compare


def _element(node: ast.Subscript) -> Part:
    whole, index = _part(node.value), _part(node.slice)

    def element(facts: Facts) -> Thing:
        things = whole(facts)
        if not isinstance(things, Sequence):
            raise TypeError(f"{short_repr(things)} has no elements")
        place = _whole(_number(index(facts)))
        if not -len(things) <= place < len(things):
            raise LookupError(f"there is no element {place}; there are {len(things)}")
        return things[place]

    return element


def _call(node: ast.Call) -> Part:
    name = node.func.id if isinstance(node.func, ast.Name) else ast.unparse(node.func)
    function = _FUNCTIONS.get(name)
    if function is None or len(node.args) != 1 or node.keywords:
        raise SyntaxError(
            f"{ast.unparse(node)!r} is not allowed; there are {', '.join(_FUNCTIONS)} of one thing"
        )
    part = _part(node.args[0])

    def call(facts: Facts) -> float:
        thing = part(facts)
        if name != "abs" and not isinstance(thing, Sequence):
            raise TypeError(f"{name}() is for lists; {short_repr(thing)} is a single value")
        if name in ("max", "min") and not thing:
            raise ValueError(f"{name}() of an empty list")
        return function(thing)  # type: ignore[arg-type]  # abs raises TypeError

    return call


_NODES: Mapping[type[ast.expr], Callable[..., Part]] = {
    ast.Constant: _constant, ast.Name: _name, ast.List: _list, ast.Tuple: _list,
    ast.BoolOp: _junction, ast.UnaryOp: _sign, ast.BinOp: _calculation,
    ast.Compare: _comparison, ast.Subscript: _element, ast.Call: _call,
}


def _number(thing: Thing | Sequence[Thing]) -> float:
    if not isinstance(thing, int | float):
        raise TypeError(f"{short_repr(thing)} is not a number")
    return thing


def _numbers(left: Thing, right: Thing) -> tuple[float, float]:
    return _number(left), _number(right)


def _whole(number: float) -> int:
    if not isinstance(number, int):
        raise TypeError(f"{short_repr(number)} is not a whole number")
    return number
