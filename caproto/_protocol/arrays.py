"""Arrays: from numpy, or from the standard library where numpy is not installed.

numpy is used when it can be imported, and is imported when the first array is made, not before: a
program that handles scalars as text never imports it. :func:`select_backend` overrides the choice.

Everything that depends on the choice is here: how a payload is viewed as an array. The
arrays of the 'numpy' backend are read-only views of the payload in the byte order of the wire;
those of the 'array' backend are copies: :class:`Array`, and :class:`DbrStringArray` for texts. A
program may register a backend of its own. The choice is made once, at the first use; do not change
it while other threads read.
"""
from __future__ import annotations

import sys
from array import array
from collections import UserList
from collections.abc import Callable, Iterable, Mapping

from .. import _imports
from .._errors import CaprotoRuntimeError, CaprotoTypeError, CaprotoValueError, RemoteProtocolError
from .._typing import TYPE_CHECKING, NamedTuple
from .constants import MAX_STRING_SIZE
from .dbr import LAYOUTS, ChannelType, Layout

if TYPE_CHECKING:
    from typing import Any, TypeAlias
    _Numbers = array[Any]
    _Texts = UserList[bytes]
else:
    _Numbers, _Texts = array, UserList

__all__ = [
    "Array", "Backend", "DbrStringArray", "backend_name", "register_backend", "select_backend"
]

_MACHINE_ORDER = "<" if sys.byteorder == "little" else ">"

#: The types of payloads.
Buffer: TypeAlias = bytes | bytearray | memoryview
#: Makes an array of the payload of a message and its element count.
Viewer: TypeAlias = "Callable[[Buffer, int], Any]"

_CTRL_STRING, _TIME_STRING = LAYOUTS[ChannelType.CTRL_STRING], LAYOUTS[ChannelType.TIME_STRING]


def short_payload(payload: Buffer, layout: Layout, count: int) -> RemoteProtocolError:
    """Describe a payload that is too short for what its message says about it."""
    wanted = layout.value_offset + layout.item_size * count
    return RemoteProtocolError(
        f"{count} element(s) of {layout.channel_type} occupy {wanted} bytes; the payload has only "
        f"{len(payload)}"
    )


def texts(payload: Buffer, layout: Layout, count: int) -> list[bytes]:
    """Cut *count* texts out of a payload.

    Each ends at its first zero byte, or at 40 without one; what follows is ignored. A single text
    may be sent shorter than 40 bytes. Some servers answer CTRL_STRING with a time stamp, in the
    layout of TIME_STRING: the size tells.

    Raises
    ------
    RemoteProtocolError
        The payload is too short.
    """
    size, start = layout.item_size, layout.value_offset
    if layout is _CTRL_STRING and len(payload) >= _TIME_STRING.value_offset + size * count:
        start = _TIME_STRING.value_offset
    values = bytes(payload[start : start + size * count])
    if len(values) < size * count and not (count == 1 and values):
        raise short_payload(payload, layout, count)
    starts = range(0, len(values), size)
    return [values[start : start + size].partition(b"\0")[0] for start in starts]


class Array(_Numbers):
    """An ``array.array`` that knows in which byte order its numbers travel.

    Parameters
    ----------
    type_code : str
        As for ``array.array``.
    values : iterable of numbers, or bytes-like
        Numbers, or the bytes of numbers in the order *endian*.
    endian : str
        ``'<'`` or ``'>'``: the byte order of `tobytes`. In memory the numbers have that of the
        machine.
    """

    __slots__ = ("endian",)
    endian: str

    def __new__(
        cls, type_code: str, values: Iterable[float] | Buffer, *, endian: str = "<"
    ) -> Array:
        if endian not in ("<", ">"):
            raise CaprotoValueError(f"endian must be '<' or '>', not {endian!r}")
        if not isinstance(values, (bytes, bytearray, memoryview)):
            self = super().__new__(cls, type_code, values)
        else:
            self = super().__new__(cls, type_code, bytes(values))
            if endian != _MACHINE_ORDER:
                self.byteswap()
        self.endian = endian
        return self

    def tobytes(self) -> bytes:
        """Return the numbers in the byte order ``endian``."""
        numbers: array[Any] = array(self.typecode, self)
        if self.endian != _MACHINE_ORDER:
            numbers.byteswap()
        return numbers.tobytes()

    def __deepcopy__(self, memo: object) -> Array:
        return _make_array(self.typecode, self.tolist(), self.endian)

    def __copy__(self) -> Array:
        return _make_array(self.typecode, self.tolist(), self.endian)

    def __reduce_ex__(self, protocol: object) -> tuple[object, ...]:
        return _make_array, (self.typecode, self.tolist(), self.endian)


def _make_array(type_code: str, values: list[float], endian: str) -> Array:
    return Array(type_code, values, endian=endian)


class DbrStringArray(_Texts):
    """Texts as a list of bytes, which becomes what travels and is made of it."""

    def tobytes(self) -> bytes:
        """Return each text with zeros up to 40 bytes.

        Raises
        ------
        CaprotoValueError
            If a text is longer.
        """
        for text in self:
            if len(text) > MAX_STRING_SIZE:
                raise CaprotoValueError(
                    f"{text!r} has {len(text)} bytes; {MAX_STRING_SIZE} is the limit"
                )
        return b"".join(text.ljust(MAX_STRING_SIZE, b"\0") for text in self)

    @classmethod
    def frombuffer(cls, buf: Buffer, data_count: int | None = None) -> DbrStringArray:
        """Cut bytes into texts of 40 bytes, each of which ends at its first zero.

        Parameters
        ----------
        buf : bytes-like
            The last text may be shorter.
        data_count : int, optional
            How many texts to take. By default all.
        """
        raw = bytes(buf)
        starts = range(0, len(raw), MAX_STRING_SIZE)[:data_count]
        return cls(raw[i : i + MAX_STRING_SIZE].partition(b"\0")[0] for i in starts)


class Backend(NamedTuple):
    """A way of making arrays that a program brings; see `register_backend`.

    Attributes
    ----------
    name : str
        For `select_backend`.
    convert_values, python_to_epics : callable
        Not used: values to be sent are converted by caproto, from any sequence or array.
    epics_to_python : callable
        ``epics_to_python(value, native_type, data_count, *, auto_byteswap=True)`` makes an array of
        *data_count* elements of the bytes *value*, which are in the byte order of the wire.
    type_map : mapping
        Not used.
    array_types : tuple of type
        Not used.
    """

    name: str
    convert_values: Callable[..., Any]
    epics_to_python: Callable[..., Any]
    python_to_epics: Callable[..., Any]
    type_map: Mapping[ChannelType, Any]
    array_types: tuple[type, ...]


class Views:
    """The functions that view payloads as arrays, for one backend.

    Attributes
    ----------
    name : str
        'numpy' or 'array'.
    viewers : tuple of callables
        ``viewers[data_type](payload, count)`` returns the values as an array, without a copy where
        the backend can.
    natives : tuple of callables
        The same as a new array in machine byte order, which can be written to.
    """

    __slots__ = ("name", "natives", "viewers")

    def __init__(self, name: str, viewers: list[Viewer], natives: list[Viewer]) -> None:
        self.name = name
        self.viewers = tuple(viewers)
        self.natives = tuple(natives)


def _numpy_views() -> Views:
    """Import numpy and make a viewer for each type.

    Raises
    ------
    CaprotoRuntimeError
        numpy is not installed.
    """
    _imports.check_reentry("The first use of numpy")
    try:
        import numpy
    except ImportError as error:
        raise CaprotoRuntimeError(f"the 'numpy' backend cannot be used: {error}") from None

    def frozen(values: Any) -> Any:
        values.flags.writeable = False
        return values

    def text_viewer(layout: Layout) -> Viewer:
        return lambda payload, count: frozen(
            numpy.array(texts(payload, layout, count), dtype=layout.dtype)
        )

    def number_viewer(layout: Layout) -> Viewer:
        frombuffer, dtype, offset = numpy.frombuffer, numpy.dtype(layout.dtype), layout.value_offset

        def view(payload: Buffer, count: int) -> Any:
            if type(payload) is not bytes:
                payload = memoryview(payload).toreadonly()
            try:
                return frombuffer(payload, dtype, count, offset)
            except ValueError:
                if count:
                    raise short_payload(payload, layout, count) from None
                return frozen(numpy.zeros(0, dtype))

        return view

    def native(layout: Layout) -> Viewer:
        view, dtype = viewer(layout), numpy.dtype(layout.dtype).newbyteorder("=")
        return lambda payload, count: view(payload, count).astype(dtype)

    def viewer(layout: Layout) -> Viewer:
        return (text_viewer if layout.native is ChannelType.STRING else number_viewer)(layout)

    return Views("numpy", [viewer(it) for it in LAYOUTS], [native(it) for it in LAYOUTS])


def _array_views() -> Views:
    """Make a viewer for each type with ``array.array``."""

    def viewer(layout: Layout, endian: str) -> Viewer:
        if layout.native is ChannelType.STRING:
            return lambda payload, count: DbrStringArray(texts(payload, layout, count))

        def view(payload: Buffer, count: int) -> Array:
            numbers = Array(layout.typecode, _values(payload, layout, count), endian=">")
            numbers.endian = endian
            return numbers

        return view

    viewers = [viewer(layout, ">") for layout in LAYOUTS]
    natives = [viewer(layout, _MACHINE_ORDER) for layout in LAYOUTS]
    return Views("array", viewers, natives)


def _values(payload: Buffer, layout: Layout, count: int) -> bytes:
    """Return the bytes of *count* values.

    Raises
    ------
    RemoteProtocolError
        The payload is too short.
    """
    size = count * layout.item_size
    values = bytes(payload[layout.value_offset : layout.value_offset + size])
    if len(values) < size:
        raise short_payload(payload, layout, count)
    return values


def _views_of(backend: Backend) -> Views:
    """Make the views of a backend that a program has registered."""

    def viewer(layout: Layout) -> Viewer:
        return lambda payload, count: backend.epics_to_python(
            _values(payload, layout, count), layout.native, count
        )

    viewers = [viewer(layout) for layout in LAYOUTS]
    return Views(backend.name, viewers, viewers)


_MAKERS: dict[str, Callable[[], Views]] = {"numpy": _numpy_views, "array": _array_views}


class _Undecided:
    """Stands in for the backend until the first array is needed, and then finds one."""

    def __getattr__(self, attribute: str) -> Any:
        try:
            select_backend("numpy")
        except CaprotoRuntimeError:
            select_backend("array")
        return getattr(active, attribute)


#: The backend in use.
active: Views | _Undecided = _Undecided()


def select_backend(name: str) -> None:
    """Choose what arrays are made of.

    Parameters
    ----------
    name : str
        'numpy', 'array', or the name of one that was registered.

    Raises
    ------
    CaprotoValueError
        There is no such backend.
    CaprotoRuntimeError
        numpy was asked for and is not installed.
    """
    global active
    if name not in _MAKERS:
        raise CaprotoValueError(f"{name!r} is not a backend; they are {', '.join(_MAKERS)}")
    active = _MAKERS[name]()


def register_backend(new_backend: Backend) -> None:
    """Make a backend known to `select_backend`, which then uses it for what is received.

    Raises
    ------
    CaprotoTypeError
        It lacks a name, or the function ``epics_to_python``.
    """
    name = getattr(new_backend, "name", None)
    if not isinstance(name, str) or not callable(getattr(new_backend, "epics_to_python", None)):
        raise CaprotoTypeError(f"{new_backend!r} is not a Backend")
    _MAKERS[name] = lambda: _views_of(new_backend)


def backend_name() -> str:
    """Return the name of the backend in use; decide now if that was not done before."""
    name: str = active.name
    return name
