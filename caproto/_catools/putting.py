"""Writing to one PV or to many, with what caput does not have."""
from __future__ import annotations

from collections.abc import Sequence

from .._client.operations import Write
from .._errors import AccessError, CaprotoError, CaprotoTypeError, CaprotoValueError
from .._protocol.dbr import ChannelType
from ..threading._waiting import Deadline
from ..threading.client import PV
from .access import facts_of, start
from .extras import Extras
from .forms import Form, form_of
from .getting import read_samples, usable_pvs
from .monitoring import report
from .samples import Sample
from .settings import Failed, Settings
from .sources import Assignment, assignments_from
from .statuses import status_of
from .writing import values_to_write

__all__ = ["put"]

#: What JSON has for numbers that it does not have.
_NUMBERS = {"NaN": float("nan"), "Infinity": float("inf"), "-Infinity": float("-inf")}


def put(settings: Settings, extras: Extras, words: list[str]) -> int:
    """Write values and print the PVs before and after.

    Nothing is written unless all PVs are connected and all values can be sent.

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
        values = words[2:] if settings.array_input else [" ".join(words[1:])]
        assignments.insert(0, Assignment(words[0], values, "words"))
    names = [one.name for one in assignments]
    with start(settings, names) as context:
        pvs, missing = usable_pvs(context, names, settings, extras)
        for pv, error in missing.items():
            report(Sample(pv.name, "not connected", text=str(error)), form)
        wanted, wrong = [], []
        for pv, one in zip(pvs, assignments):
            if pv not in missing:
                try:
                    wanted.append((pv, _checked(pv, *_value(pv, one, settings))))
                except (Failed, CaprotoValueError, CaprotoTypeError) as error:
                    wrong.append(error)
                    _report_error(pv, error, form)
        if wrong:
            return status_of(wrong, settings.exact)
        errors: list[CaprotoError] = list(missing.values())
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


def _report_error(pv: PV, error: Exception, form: Form) -> None:
    text = str(error).removeprefix(f"{pv.name!r}: ")
    report(Sample(pv.name, "error", text=text), form)


def _show(
    pvs: Sequence[PV], settings: Settings, extras: Extras, form: Form, event: str
) -> Sequence[CaprotoError]:
    """Read PVs and print them, if that is wanted."""
    if extras.quiet or (event == "old" and settings.form == "terse"):
        return []
    samples, errors = read_samples(pvs, settings, event)
    for sample in samples:
        report(sample, form)
    return errors


def _checked(
    pv: PV, value: object, data_type: ChannelType | None
) -> tuple[object, ChannelType | None]:
    """Return the same if it can be sent.

    Raises
    ------
    CaprotoValueError, CaprotoTypeError
        It does not fit the type, or has too many elements.
    """
    try:
        if pv.channel is not None:
            deadline = Deadline(None)
            Write(pv, None, deadline, value, data_type, None, False).compose(pv.channel, 0)
    except AccessError:  # it is reported when the value is written, as one that the server refuses
        pass
    return value, data_type


def _value(
    pv: PV, assignment: Assignment, settings: Settings
) -> tuple[object, ChannelType | None]:
    """Return what to write, and the type in which it is sent; None for that of the channel."""
    native, room = facts_of(pv)
    if assignment.kind == "json":
        if native is ChannelType.ENUM:
            return _states_from_json(pv, assignment.value, settings), None
        return _from_json(assignment.value, native), None
    words = list(assignment.words)
    if assignment.kind == "line":
        if settings.char_as_text or room == 1:
            words = [" ".join(words)]
        elif words[0] == str(len(words) - 1):  # as caget prints an array: its length comes first
            words = words[1:]
    data = values_to_write(pv, words, settings)
    return data.values, data.data_type


def _states_from_json(pv: PV, value: object, settings: Settings) -> object:
    """Return the numbers of states, which JSON has by number or name."""
    if isinstance(value, list):
        return [_states_from_json(pv, one, settings) for one in value]
    if not isinstance(value, str):
        return value
    (number,) = values_to_write(pv, [value], settings).values
    return number


def _from_json(value: object, native: ChannelType) -> object:
    """Return a value of JSON as it is written to a channel of a type."""
    if native is ChannelType.STRING:
        return value
    if isinstance(value, list):
        return [_from_json(one, native) for one in value]
    if native in (ChannelType.FLOAT, ChannelType.DOUBLE) and isinstance(value, str):
        return _NUMBERS.get(value, value)
    return value


