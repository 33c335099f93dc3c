"""Templates: the option ``--format``, ``'{name} {value:.3f} {time:%H:%M:%S}'``.

Only the names of the table here may stand in braces, without attributes or indices,
and with widths that a line can have.
"""
from __future__ import annotations

from collections.abc import Callable, Mapping

from .._protocol.timestamp import TimeStamp
from .._typing import NamedTuple
from .extras import Extras
from .moments import check_time_format, stamp_writer
from .options import UsageError
from .samples import Sample, sample_texts, sample_value, severity_name
from .settings import Failed, Settings
from .template_text import Braces, read_template
from .times import seconds_between
from .typenames import native_name

__all__ = ["FIELDS", "Template", "refuse_fields_of_updates"]


class _Facts(NamedTuple):
    """What the fields of a template are made of."""

    sample: Sample
    settings: Settings
    extras: Extras
    number: int
    before: TimeStamp | None


class _Moment:
    """A time stamp in a template: ``{time}`` as in lines, ``{time:%H:%M:%S}`` by strftime."""

    def __init__(self, stamp: TimeStamp | None, extras: Extras) -> None:
        self._stamp, self._extras = stamp, extras

    def __format__(self, form: str) -> str:
        if self._stamp is None:
            return "<undefined>"
        return stamp_writer(self._extras, form)(self._stamp)


class _Elements:
    """The value in a template: as in lines, or each element with a format of its own."""

    def __init__(self, facts: _Facts) -> None:
        self._facts = facts

    def __format__(self, form: str) -> str:
        sample, settings = self._facts.sample, self._facts.settings
        if not form:
            return settings.separator.join(sample_texts(sample, settings))
        value = sample_value(sample, settings)
        if sample.state is not None and not settings.enum_as_number:
            value = sample.state
        elements = value if isinstance(value, list) else [value]
        return settings.separator.join(_written(element, form) for element in elements)


class _Element:
    """Another field of a template than the value."""

    def __init__(self, content: float | str) -> None:
        self._content = content

    def __format__(self, form: str) -> str:
        return _written(self._content, form)


def _written(content: object, form: str) -> str:
    """Write a text or a number in a format of Python.

    Raises
    ------
    _Misfit
        The format is not one for its type.
    """
    kind, conversions = _KINDS[str if isinstance(content, str) else type(content)]
    if form[-1:].isalpha() and form[-1] not in conversions:
        raise _Misfit(form, kind)
    try:
        return format(content, form)
    except (ValueError, TypeError, OverflowError):
        raise _Misfit(form, kind) from None


class _Misfit(Exception):
    """A format, and what it is not a format for."""


#: Of each type: what it is called, and the letters with which its formats may end. Not c: it makes
#: any character of a number, half ones and control characters, too.
_KINDS: Mapping[type, tuple[str, str]] = {
    str: ("text", "s"),
    int: ("a whole number", "bdoxXneEfFgG"),
    float: ("a floating-point number", "neEfFgG"),
    type(None): ("an event without a value", ""),
}


def _severity(facts: _Facts) -> str:
    severity = facts.sample.severity
    return "" if severity is None else severity_name(severity)


def _delta(facts: _Facts) -> float:
    stamp = facts.sample.stamp
    if stamp is None or facts.before is None:
        return 0.0
    return seconds_between(stamp, facts.before)


#: The fields that only updates have.
_OF_UPDATES = ("arrival", "number", "delta")
#: The fields whose formats are those of `strftime`.
_TIMES = ("time", "arrival")
#: What may stand in braces.
FIELDS: Mapping[str, Callable[[_Facts], float | str | _Moment | _Elements]] = {
    "name": lambda facts: facts.sample.name,
    "value": _Elements,
    "state": lambda facts: facts.sample.state or "",
    "units": lambda facts: facts.sample.about.units,
    "precision": lambda facts: facts.sample.about.precision or 0,
    "time": lambda facts: _Moment(facts.sample.stamp, facts.extras),
    "arrival": lambda facts: _Moment(facts.sample.arrival, facts.extras),
    "severity": _severity,
    "status": lambda facts: str(facts.sample.status or "NO_ALARM"),
    "type": lambda facts: native_name(facts.sample.native).removeprefix("DBF_"),
    "count": lambda facts: facts.sample.room,
    "host": lambda facts: facts.sample.host,
    "event": lambda facts: facts.sample.event,
    "number": lambda facts: facts.number,
    "delta": _delta,
}


def _check_field(braces: Braces) -> None:
    """Raise unless this may stand in braces.

    Raises
    ------
    UsageError
    """
    field, form, conversion = braces
    if field not in FIELDS:
        raise UsageError(f"--format: {{{field}}} is not a field; there are {', '.join(FIELDS)}")
    if conversion:
        raise UsageError(f"--format: {{{field}}} takes no '!'")
    if field in _TIMES:
        check_time_format(form, "--format")
    else:
        braces.check_widths()


def refuse_fields_of_updates(text: str) -> None:
    """Refuse a template with fields that a value has only as an update of a monitor.

    Raises
    ------
    UsageError
    """
    for field, _, _ in read_template(text)[1]:
        if field in _OF_UPDATES:
            raise UsageError(f"--format: {{{field}}} is for caproto-monitor only")


class Template:
    """A template of the user.

    Parameters
    ----------
    extras : Extras
        The text of the template is among them, with ``\\n``, ``\\t`` and the other escape
        sequences of C.

    Raises
    ------
    UsageError
        Something in braces is not a field, or its format is not allowed.
    """

    def __init__(self, extras: Extras) -> None:
        self._extras = extras
        self._text, found = read_template(extras.template)
        for braces in found:
            _check_field(braces)
        plain = [field for field, form, _ in found if not form]
        if extras.number_form == "human" and "value" in plain and "units" in plain:
            raise UsageError("--format: with --human {value} has its units; leave {units} out")

    def fill(
        self,
        sample: Sample,
        settings: Settings,
        number: int,
        before: TimeStamp | None,
    ) -> str:
        """Write a sample.

        Parameters
        ----------
        sample : Sample
        settings : Settings
        number : int
            The number of this update of the PV, from 1.
        before : TimeStamp or None
            The time stamp of the update before.

        Raises
        ------
        Failed
            A field does not have the type that its format needs.
        """
        facts = _Facts(sample, settings, self._extras, number, before)
        fields = {name: _formattable(make(facts)) for name, make in FIELDS.items()}
        try:
            return self._text.format_map(fields)
        except _Misfit as misfit:
            form, kind = misfit.args
            hint = ""
            if sample.state is not None and kind == "text":
                hint = "; with -n an enum is a number"
            raise Failed(
                f"--format: {sample.name}: {form!r} is not a format for {kind}{hint}"
            ) from None


def _formattable(content: float | str | _Moment | _Elements) -> object:
    return _Element(content) if isinstance(content, (float, int, str)) else content
