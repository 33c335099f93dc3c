"""Writing to one PV or to many, with what caput does not have."""
from __future__ import annotations

from collections.abc import Sequence

from .._client.operations import Write
from .._errors import AccessError, CaprotoError, CaprotoValueError
from .._protocol.dbr import ChannelType
from ..threading._waiting import Deadline
from ..threading.client import PV
from .access import facts_of, name_problem, start
from .exact_values import element_from_json
from .extras import Extras
from .forms import Form, form_of
from .getting import read_samples, report_missing
from .messages import say
from .options import UsageError
from .reasons import connect_some, in_shell_words
from .reports import report, usable_names
from .samples import Sample
from .settings import Failed, Settings
from .sources import Assignment, assignments_from
from .statuses import status_of
from .writing import state_names, values_to_write

__all__ = ["put"]


def put(settings: Settings, extras: Extras, words: list[str]) -> int:
    """Write values and print the PVs before and after.

    Nothing is written unless all PVs are connected and may be written, and all values can be sent:
    those of files, and with ``--strict`` all, exactly as they are given. With ``--partial`` the PVs
    that are not connected, or may not be written, do not keep the others from being written.

    Parameters
    ----------
    settings : Settings
    extras : Extras
    words : list of str
        A name and its value, or nothing if files have them.

    Returns
    -------
    int
        The exit status.
    """
    form = form_of(settings, extras)
    assignments = assignments_from(extras.sources)
    if words:
        if not words[1:]:
            raise Failed(f"No value specified. {settings.hint}")
        values = _elements(words, settings) if settings.array_input else [" ".join(words[1:])]
        assignments.insert(0, Assignment(words[0], values, kind="words"))
    is_partial = bool(extras.partial)  # whatever the form: a set of values is written as a whole
    usable, errors = _usable(assignments, form, is_partial)
    with start(settings, [one.name for one in assignments]) as context:
        pvs, missing = connect_some(context, [one.name for one in usable], settings)
        report_missing(missing, form)
        errors += missing.values()
        wanted: list[tuple[PV, tuple[object, ChannelType | None]]] = []
        wrong: list[Exception] = []
        for pv, one in zip(pvs, usable):
            if pv not in missing:
                try:
                    wanted.append((pv, _checked(pv, *_value(pv, one, settings))))
                except (Failed, CaprotoError) as error:
                    (errors if isinstance(error, AccessError) else wrong).append(error)
                    _report_error(pv, error, form)
        if wrong or (errors and not is_partial):
            if len(assignments) > 1 and not form.has_all:
                say("Nothing was written.")
            return status_of([*errors, *wrong], settings.exact)
        _show([pv for pv, _ in wanted], settings, extras, form, "old")
        written = []
        for pv, (value, data_type) in wanted:
            try:
                pv.write(
                    value, data_type=data_type, wait=settings.completion,
                    timeout=settings.patience,
                )
                written.append(pv)
            except CaprotoError as error:
                errors.append(error)
                _report_error(pv, error, form)
        errors += _show(written, settings, extras, form, "new")
        return status_of(errors, settings.exact)


def _usable(
    assignments: Sequence[Assignment], form: Form, is_partial: bool
) -> tuple[list[Assignment], list[Exception]]:
    """Report names that no PV can have, and JSON without a value; return the others."""
    places = {one.name: one.place for one in assignments if one.place}
    names = [one.name for one in assignments]
    errors: list[Exception] = [*usable_names(names, places, form, is_partial)[1]]
    usable = []
    for one in assignments:
        if not one.has_value:
            text = f"{one.place}: no value"
            errors.append(CaprotoValueError(text))
            report(Sample(one.name, "error", text=text), form)
        elif not name_problem(one.name):
            usable.append(one)
    return usable, errors


def _elements(words: Sequence[str], settings: Settings) -> Sequence[str]:
    """Return the values behind a name and their number, which caput ignores."""
    _, count, *values = words
    if settings.exact and count != str(len(values)):
        raise UsageError(
            f"-a: {count!r} is not the number of the {len(values)} values. {settings.hint}"
        )
    return values


def _report_error(pv: PV, error: Exception, form: Form) -> None:
    text = in_shell_words(error).removeprefix(f"{pv.name!r}: ")
    report(Sample(pv.name, "error", text=text), form)


def _show(
    pvs: Sequence[PV], settings: Settings, extras: Extras, form: Form, event: str
) -> Sequence[CaprotoError]:
    """Read PVs and print them, if that is wanted."""
    if event == "old" and (extras.quiet or settings.form == "terse"):
        return []
    if extras.quiet and settings.completion:
        return []
    # Quiet or not: a refusal of a write without confirmation comes before the value.
    samples, errors = read_samples(pvs, settings, event)
    if extras.quiet:
        return []
    for sample in samples:
        report(sample, form)
    return errors


def _checked(
    pv: PV, value: object, data_type: ChannelType | None
) -> tuple[object, ChannelType | None]:
    """Return the same if it can be sent.

    Raises
    ------
    AccessError
        The PV may not be written.
    CaprotoValueError, CaprotoTypeError
        It does not fit the type, or has too many elements.
    """
    if pv.channel is not None:
        deadline = Deadline(None)
        Write(pv, None, deadline, value, data_type, None, False).compose(pv.channel, 0)
    return value, data_type


def _value(
    pv: PV, assignment: Assignment, settings: Settings
) -> tuple[object, ChannelType | None]:
    """Return what to write, and the type in which it is sent; None for that of the channel."""
    native, room = facts_of(pv)
    if assignment.kind == "json":
        return _from_json(pv, assignment.value, settings), None
    words = list(assignment.words)
    exact = settings.exact or assignment.kind == "line"
    if assignment.kind == "line":
        if settings.char_as_text or room == 1:
            words = [assignment.text]
        elif words[0] == str(len(words) - 1):  # as caget prints an array: its length comes first
            words = words[1:]
        elif native is ChannelType.STRING and words[0].isdecimal() and words[0].isascii():
            raise Failed(
                f"{len(words) - 1} words are not {words[0]} texts; "
                "for texts that are empty or have blanks in them use JSON"
            )
    data = values_to_write(pv, words, settings, exact)
    return data.values, data.data_type


def _from_json(pv: PV, value: object, settings: Settings) -> object:
    """Return a value of JSON as it is written to a PV."""
    native, room = facts_of(pv)
    if native is ChannelType.CHAR and room > 1 and isinstance(value, str):
        if "\0" in value:
            raise Failed("the text has a zero byte, where receivers would cut it")
        return value
    states = state_names(pv, settings) if native is ChannelType.ENUM else ()
    if isinstance(value, list):
        if not value and room == 1:
            raise Failed("an empty list cannot be written to a PV with one element")
        return [element_from_json(one, native, states) for one in value]
    return element_from_json(value, native, states)
