"""Sources of names, and of values to write: files and standard input.

A line has a name, or several; with values it has a name and a value. Empty lines and those that
begin with ``#`` are skipped. A line that begins with ``{`` is JSON, as ``--json`` prints it.
"""
from __future__ import annotations

import codecs
import json
import os
import re
import sys
from collections.abc import Iterable, Iterator, Sequence

from .._protocol.text import encode_text
from .._typing import NamedTuple
from .number_forms import JsonNumber
from .options import UsageError
from .values import raw_text

__all__ = ["Assignment", "assignments_from", "names_from"]

#: Not what else Unicode has for blanks: it belongs to names and texts.
_BLANKS = " \t\r\f\v"


class Assignment(NamedTuple):
    """A value for a PV."""

    name: str
    #: The elements, or what there is of them on a line.
    words: Sequence[str] = ()
    #: What follows the name on a line, with all blanks in it.
    text: str = ""
    #: 'words' of a command line, a 'line' of a file, or 'json'.
    kind: str = "line"
    #: The value that JSON has; None if it has none.
    value: object = None
    #: Where it is in a file, ``'values.txt, line 3'``.
    place: str = ""

    @property
    def has_value(self) -> bool:
        """Whether there is a value; JSON that reports an error has none."""
        return self.kind != "json" or self.value is not None


class _Line(NamedTuple):
    """A line, and where it is."""

    text: str
    place: str


def names_from(sources: Sequence[str], places: dict[str, str] | None = None) -> list[str]:
    """Return the names in some files.

    Parameters
    ----------
    sources : sequence of str
        Paths; '-' is standard input.
    places : dict of str to str, optional
        Filled with where each name is, ``'names.txt, line 3'``.

    Raises
    ------
    UsageError
        A file cannot be read, or a line is not what it must be.
    """
    names: list[str] = []
    for line in _lines(sources):
        if line.text.startswith("{"):
            found = [_name_in(_object(line), line)]
        else:
            found = _without_comment(_words(line.text))
            for name in found:
                _check_name(name, line)
        names += found
        if places is not None:
            places.update(dict.fromkeys(found, line.place))
    return names


def assignments_from(sources: Sequence[str]) -> list[Assignment]:
    """Return the names and values in some files.

    Parameters
    ----------
    sources : sequence of str
        Paths; '-' is standard input.

    Raises
    ------
    UsageError
        As for `names_from`, or a line that is not JSON has no value.
    """
    return [_assignment(line) for line in _lines(sources)]


def _assignment(line: _Line) -> Assignment:
    if line.text.startswith("{"):
        content = _object(line)
        name = _name_in(content, line)
        return Assignment(name, kind="json", value=content.get("value"), place=line.place)
    name, *rest = _words(line.text, 2)
    _check_name(name, line)
    if not rest:
        raise UsageError(f"{line.place}: no value for {name!r}")
    return Assignment(name, _words(rest[0]), rest[0], place=line.place)


def _lines(sources: Iterable[str]) -> Iterator[_Line]:
    """Yield all lines that are neither empty nor comments."""
    for source in sources:
        title = "standard input" if source == "-" else source
        try:
            texts = _read(source)
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise UsageError(f"{title} cannot be read: {reason}") from None
        for number, text in enumerate(texts, 1):
            text = text.strip(_BLANKS)
            if text and not text.startswith("#"):
                yield _Line(text, f"{title}, line {number}")


def _read(source: str) -> list[str]:
    """Return the lines of a file, whatever the locale. Names and texts may have any bytes.

    Lines end with line feeds only: texts in JSON may have what else Python takes for an end.
    """
    if source == "-":
        if sys.stdin is None:
            raise ValueError("it is closed")
        content = sys.stdin.buffer.read()
    else:
        with open(os.path.expanduser(encode_text(source)), "rb") as file:
            content = file.read()
    return raw_text(content.removeprefix(codecs.BOM_UTF8)).split("\n")


def _words(text: str, at_most: int = 0) -> list[str]:
    return re.split(f"[{_BLANKS}]+", text, maxsplit=at_most - 1 if at_most else 0)


def _without_comment(words: list[str]) -> list[str]:
    """Drop what follows a word that begins with ``#``."""
    return words[: next((at for at, word in enumerate(words) if word.startswith("#")), None)]


def _check_name(name: str, line: _Line) -> None:
    """Raise UsageError for a line of CSV, or of a list of JSON.

    In braces, those of a filter, a name may have commas.
    """
    if name.startswith(("[{", '["')) or name == "[":
        raise UsageError(
            f"{line.place}: this is a list of JSON; each of its objects must have a line of its own"
        )
    if "," in name.partition("{")[0]:
        raise UsageError(
            f"{line.place}: {name!r} has a comma: a line is NAME or NAME VALUE, with blanks, or "
            "JSON as --json prints it, not CSV (names from CSV: cut -d, -f2 FILE | tail -n +2)"
        )


def _object(line: _Line) -> dict[str, object]:
    try:
        content = json.loads(
            line.text, parse_int=JsonNumber, parse_float=JsonNumber, object_pairs_hook=_unique
        )
    except (ValueError, RecursionError) as error:  # of lists that are too deep
        raise UsageError(f"{line.place}: this is not JSON: {error}") from None
    assert isinstance(content, dict)  # it begins with a brace
    return content


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Make a dict; of two values for one key it would keep the last."""
    content = dict(pairs)
    if len(content) < len(pairs):
        raise ValueError("a key is there twice")
    return content


def _name_in(content: dict[str, object], line: _Line) -> str:
    name = content.get("name")
    if not isinstance(name, str):
        raise UsageError(f"{line.place}: the object has no 'name'")
    return name
