"""Forms of output: lines as the EPICS tools print them, JSON, CSV, templates.

Each form is a class whose instances write samples; a sample that a form has no place for is
reported on standard error by the caller (`reports`).
"""
from __future__ import annotations

import io
import json
import math
from collections.abc import Callable, Mapping
from typing import Protocol

from .._client.metadata import LIMITS
from .._protocol.text import encode_text
from .._protocol.timestamp import TimeStamp
from .extras import Extras
from .lines import coloured, line_of, name_column
from .moments import iso, stamp_writer
from .options import UsageError
from .samples import Sample, sample_texts, sample_value, severity_name
from .settings import Settings
from .template import Template
from .times import UNDEFINED, Stamps
from .typenames import native_name
from .values import shown

__all__ = ["Form", "form_of", "json_line", "json_object"]

_INVALID = 3
#: Events without a value that have a line.
_NOTES = ("metadata", "disconnected")
#: The pairs of limits in JSON, and where they are.
_PAIRS = {
    "display": ("lower_disp_limit", "upper_disp_limit"),
    "warning": ("lower_warning_limit", "upper_warning_limit"),
    "alarm": ("lower_alarm_limit", "upper_alarm_limit"),
    "control": ("lower_ctrl_limit", "upper_ctrl_limit"),
}
_COLUMNS = ("time", "name", "value", "units", "severity", "status", "event", "text")


class Form(Protocol):
    """A form of output."""

    @property
    def has_all(self) -> bool:
        """Whether it has a place for every event: nothing is left to say on standard error."""

    def write(self, sample: Sample) -> str | None:
        """Write a sample; None if the form has no place for it."""


class Lines:
    """Lines as the EPICS tools print them."""

    has_all = False

    def __init__(self, settings: Settings, extras: Extras) -> None:
        self._settings = settings
        self._write = stamp_writer(extras)
        self._stamps = Stamps(settings.timestamps, self._write)

    def write(self, sample: Sample) -> str | None:
        """Write the value, or what happened."""
        settings, reading = self._settings, sample.reading
        if reading is None:
            return self._note(sample)

        def stamp(server: TimeStamp) -> str:
            return self._stamps.text(sample.place, server, sample.arrival or server)

        line = line_of(
            sample.name, reading, sample.native, sample.room, settings, stamp,
            None if settings.form == "typed" else sample_texts(sample, settings),
        )
        titles = {"old": "Old : ", "new": "New : "} if settings.form != "terse" else {}
        return titles.get(sample.event, "") + line

    def _note(self, sample: Sample) -> str | None:
        if sample.event not in _NOTES:
            return None
        words = [name_column(sample.name, self._settings)]
        if sample.arrival is not None:
            words.append(self._write(sample.arrival))
        if sample.event == "metadata":
            note = shown(encode_text(sample.text), self._settings)
        else:
            note = coloured(f"*** {sample.text}", _INVALID if self._settings.colour else 0)
        return self._settings.separator.join([*words, note])


class Json:
    """JSON, an object for each sample."""

    has_all = True

    def __init__(self, settings: Settings, extras: Extras) -> None:
        self._settings = settings
        self._extras = extras

    def write(self, sample: Sample) -> str:
        """Write all that is known."""
        return json_line(json_object(sample, self._settings, self._extras))


class Csv:
    """CSV, a row for each sample; arrays are lists in one cell.

    Raises
    ------
    UsageError
        The separator cannot be one of CSV.
    """

    has_all = True

    def __init__(self, settings: Settings, extras: Extras) -> None:
        self._settings = settings
        self._extras = extras
        self._separator = "," if settings.separator == " " else settings.separator
        if self._separator in '"\r\n\0':
            raise UsageError(f"-F: {self._separator!r} cannot separate CSV. {settings.hint}")
        self._titles = f"{self._row(_COLUMNS)}\n"

    def _row(self, cells: tuple[object, ...]) -> str:
        import csv

        row = io.StringIO()
        csv.writer(row, delimiter=self._separator, lineterminator="").writerow(cells)
        return row.getvalue()

    def write(self, sample: Sample) -> str:
        """Write a row, and before the first one the titles."""
        titles, self._titles = self._titles, ""
        return titles + self._row(self._cells(sample))

    def _cells(self, sample: Sample) -> tuple[object, ...]:
        stamp, severity = sample.stamp or sample.arrival, sample.severity
        status = sample.status
        value = _plain(sample_value(sample, self._settings))
        if sample.state is not None and not self._settings.enum_as_number:
            states = sample.states(sample.reading.elements) if sample.reading else []
            value = list(states) if sample.room > 1 else sample.state
        elif self._extras.number_form == "human":
            value = " ".join(sample_texts(sample, self._settings))
        return (
            "" if stamp is None else iso(stamp, self._extras),
            sample.name,
            json.dumps(value) if isinstance(value, list) else value,
            sample.about.units,
            "" if severity is None else severity_name(severity),
            "" if status is None else str(status),
            sample.event,
            sample.text,
        )


class FromTemplate:
    """What a template of the user says."""

    has_all = False

    def __init__(self, settings: Settings, extras: Extras) -> None:
        self._settings = settings
        self._template = Template(extras)
        self._updates: dict[int, int] = {}
        self._last: dict[int, TimeStamp] = {}

    def write(self, sample: Sample) -> str | None:
        """Fill the template in; events without a value have no place in it."""
        if sample.reading is None:
            return None
        number = self._updates[sample.place] = self._updates.get(sample.place, 0) + 1
        before = self._last.get(sample.place)
        if sample.stamp is not None:
            self._last[sample.place] = sample.stamp
        return self._template.fill(sample, self._settings, number, before)


_FORMS: Mapping[str, Callable[[Settings, Extras], Form]] = {
    "lines": Lines, "json": Json, "csv": Csv, "template": FromTemplate,
}


def form_of(settings: Settings, extras: Extras) -> Form:
    """Make the form that the extras ask for.

    Raises
    ------
    UsageError
        The template cannot be read, or the separator cannot be one of CSV.
    """
    return _FORMS[extras.output](settings, extras)


# ---- JSON


def json_line(content: Mapping[str, object]) -> str:
    """Write JSON on one line; bytes of a name that are no UTF-8 become escape sequences."""
    line = json.dumps(_plain(content), ensure_ascii=False, allow_nan=False)
    return line.encode("utf-8", "backslashreplace").decode("utf-8")


def json_object(sample: Sample, settings: Settings, extras: Extras) -> dict[str, object]:
    """Gather what is known about a sample; what is unknown is None."""
    about, stamp, severity = sample.about, sample.stamp, sample.severity
    found: dict[str, object] = {"name": sample.name, "event": sample.event}
    if sample.text:
        found["text"] = sample.text
    if sample.arrival is not None:
        found["arrival"] = iso(sample.arrival, extras)
    if sample.reading is None and sample.event != "metadata":
        return found
    if sample.reading is not None:
        found |= {
            "value": sample_value(sample, settings),
            "state": sample.state,
            "time": None if stamp is None else iso(stamp, extras),
            "timestamp": None if stamp is None or stamp == UNDEFINED else stamp.timestamp,
            "severity": None if severity is None else severity_name(severity),
            "status": None if sample.status is None else str(sample.status),
        }
    limits = {
        kind: [_limit(getattr(about, name)) for name in names] for kind, names in _PAIRS.items()
    }
    known = any(getattr(about, name) is not None for name in LIMITS)
    return found | {
        "units": about.units or None,
        "precision": about.precision,
        "limits": limits if known else None,
        "enum_strings": list(about.enum_strings) or None,
        "type": native_name(sample.native).removeprefix("DBF_"),
        "count": sample.room,
        "host": sample.host or None,
    }


def _limit(limit: float | None) -> float | None:
    """Return a limit; None where there is no such limit, which servers say with NaN."""
    return None if limit is None or limit != limit else limit


def _plain(content: object) -> object:
    """Make of *content* what JSON can hold: it has no infinity and no NaN."""
    if isinstance(content, float) and not math.isfinite(content):
        return "NaN" if content != content else f"{'-' * (content < 0)}Infinity"
    if isinstance(content, Mapping):
        return {key: _plain(one) for key, one in content.items()}
    if isinstance(content, list):
        return [_plain(one) for one in content]
    return content
