"""ValueResponse: what the commands share that bring a value to a client, for programs and people.

`value` and `text` are what most programs want. What is printed says as much as the response
carries, and as its channel knew (units, names of states) when it came; nothing is asked for.
"""
from __future__ import annotations

from .._errors import ReadError, RemoteProtocolError
from .._typing import TYPE_CHECKING
from .channel_facts import ChannelFacts
from .dbr import LAYOUTS, ChannelType, Layout
from .message import DataMessage
from .payload import shortest
from .presentation import (
    SHORTENED,
    alarm_words,
    array_words,
    fill_lines,
    html_of,
    number_text,
    reads_as_text,
    state_words,
    text_words,
    time_words,
    wrapped,
)
from .status import CAStatus
from .text import decode_text, print_lines
from .timestamp import TimeStamp

if TYPE_CHECKING:
    from typing import Any, ClassVar

    from .text import Printer

__all__ = ["EnumValue", "ValueResponse", "value_words"]

_STRING, _ENUM, _CHAR, _FLOAT = (
    ChannelType.STRING, ChannelType.ENUM, ChannelType.CHAR, ChannelType.FLOAT
)


class EnumValue(int):
    """The state of an enum: a number that may know its name.

    Parameters
    ----------
    number : int
    name : str or None
        None if the name is unknown, or the state has none.
    """

    name: str | None

    def __new__(cls, number: int, name: str | None = None) -> EnumValue:
        """Make it; an int is made here, not in ``__init__``."""
        self = super().__new__(cls, number)
        self.name = name
        return self

    def __repr__(self) -> str:
        return f"EnumValue({int(self)}, {self.name!r})"

    def __str__(self) -> str:
        return int.__repr__(self)


class ValueResponse(DataMessage):
    """A value from a server: the base of the replies to reads, and of updates."""

    __slots__ = ()
    _most_shown: ClassVar[int] = SHORTENED - 1

    @property
    def status(self) -> CAStatus:
        """The ECA status."""
        raise NotImplementedError

    @property
    def value(self) -> Any:
        """The value as Python has it.

        A scalar is a float, an int or a str, and the state of an enum an int that also has its
        ``name`` (None if unknown). The value of an array is an array in machine byte order that can
        be changed, also if it has one element now, or none; without numpy it is an
        ``array.array``. An array of STRING is a list of str. A long text (``X.DESC$``) is a str.

        Raises
        ------
        ReadError
            The server sent an error status instead of a value.
        RemoteProtocolError
            The payload is shorter than type and count demand.
        """
        self._check()
        layout = self._layout()
        if layout.native is _CHAR and self.facts.long_text:
            return self.strings[0]
        if self._is_scalar(layout):
            return self._scalar(layout)
        return self.strings if layout.native is _STRING else self.native_data

    @property
    def text(self) -> str:
        """The value as text, whatever its type.

        The name of the state of an enum if it is known; an array of CHAR up to its first zero;
        numbers with as many decimals as the channel's precision says, if it is known. Elements of
        other arrays have ``", "`` between them.

        Raises
        ------
        ReadError
            The server sent an error status instead of a value.
        RemoteProtocolError
            The payload is shorter than type and count demand.
        """
        self._check()
        layout, facts, count = self._layout(), self._known(), self.fields[3]
        if layout.native is _ENUM and layout.family != "special":
            names = facts.enum_strings
            states = self._elements(0, count)
            return ", ".join(names[n] if n < len(names) else str(n) for n in states)
        if facts.precision is None or layout.native not in (_FLOAT, ChannelType.DOUBLE):
            return ", ".join(self.strings)
        numbers = self._elements(0, count)
        return ", ".join(number_text(number, facts.precision) for number in numbers)

    # ---- for people

    def __repr__(self) -> str:
        return wrapped(self.as_line())

    def __str__(self) -> str:
        return "\n".join(self._lines())

    def _repr_pretty_(self, printer: Printer, cycle: bool) -> None:
        """Print it at the prompt of IPython."""
        print_lines(printer, self._lines())

    def _repr_html_(self) -> str:
        """Show it in a notebook."""
        return html_of(self._lines(), type(self).__name__)

    # ---- inside

    def _check(self) -> None:
        status = self.status
        if status != CAStatus.ECA_NORMAL:
            raise ReadError(
                f"there is no value, the server answered {status.name} ({status.description})",
                status=status,
                address=self.sender_address,
            )

    def _known(self) -> ChannelFacts:
        """Return what it tells about its channel itself, or else what was known before."""
        return self.facts.described(self.fields[2], self.payload)

    def _layout(self) -> Layout:
        return LAYOUTS[self.data_type]  # raises a helpful error

    def _is_scalar(self, layout: Layout) -> bool:
        """Tell whether it is one value, and not an array that happens to have one element."""
        return self.fields[3] == 1 and (layout.family == "special" or not self.facts.is_array)

    def _scalar(self, layout: Layout) -> float | int | str:
        element = self._elements(0, 1)[0]
        if layout.native is _ENUM and layout.family != "special":
            names = self._known().enum_strings
            return EnumValue(element, names[element] if element < len(names) else None)
        if layout.native is _STRING:
            return decode_text(element)
        number: float | int = element
        return number

    def _lines(self) -> list[str]:
        """Say the value, the alarm and the time, as far as it carries them."""
        if self.status != CAStatus.ECA_NORMAL:
            return [f"no value: {self.status.name}, {self.status.description}"]
        try:
            layout, metadata = self._layout(), self.metadata
            parts = self._value_words(layout)
        except RemoteProtocolError:
            return repr(self).splitlines()
        if metadata is not None:
            parts.append(alarm_words(metadata.status, metadata.severity))
            if layout.family == "time":
                parts.append(time_words(metadata.stamp, TimeStamp.now()))
        return fill_lines(parts)

    def _value_words(self, layout: Layout) -> list[str]:
        """Say the value; and the number of elements, if not all of them are shown."""
        count = self.fields[3]
        if layout.native is _CHAR and self._is_text(layout):
            return [text_words(self.strings[0])]
        units = self._known().units if layout.native is not _STRING else ""
        if units:
            units = f" {units}" if units.isprintable() else f" {units!r}"
        if self._is_scalar(layout):
            return [self._scalar_words(layout) + units]
        words = array_words(count, layout.native, self._elements, units)
        return [words, f"{count} elements"] if count >= SHORTENED else [words]

    def _is_text(self, layout: Layout) -> bool:
        """Tell whether an array of CHAR is a text, as far as one can."""
        if self.facts.long_text:
            return True
        if self._is_scalar(layout):
            return False
        offset, count = layout.value_offset, self.fields[3]
        return reads_as_text(bytes(self.payload[offset : offset + count]))

    def _scalar_words(self, layout: Layout) -> str:
        scalar = self._scalar(layout)
        if isinstance(scalar, EnumValue):
            return state_words(scalar, self._known().enum_strings)
        if isinstance(scalar, str):
            return text_words(scalar)
        return shortest(scalar) if layout.native is _FLOAT else repr(scalar)


def value_words(response: ValueResponse) -> str:
    """Write a value, with its units if they are known, on one line; for tables."""
    return ", ".join(response._value_words(response._layout()))
