"""Arrays: from numpy, or from the standard library where numpy is not installed.

numpy is used when it can be imported, and is imported when the first array is made, not before: a
program that handles scalars as text never imports it. :func:`select_backend` overrides the choice.

Everything that depends on the choice is here: how a payload is viewed as an array. The
arrays of the 'numpy' backend are read-only views of the payload in the byte order of the wire;
those of the 'array' backend are ``array.array`` copies in machine order, and lists of bytes for
texts. The choice is made once, at the first use; do not change it while other threads read.
"""
from __future__ import annotations

import sys
from array import array
from collections.abc import Callable
from typing import Any, TypeAlias

from .._errors import CaprotoRuntimeError, CaprotoValueError, RemoteProtocolError
from .dbr import LAYOUTS, ChannelType, Layout

__all__ = ["Backend", "backend_name", "select_backend"]

#: The types of payloads.
Buffer: TypeAlias = bytes | bytearray | memoryview
#: Makes an array of the payload of a message and its element count.
Viewer = Callable[[Buffer, int], Any]

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


class Backend:
    """One way of making arrays.

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


def _numpy_backend() -> Backend:
    """Import numpy and make a viewer for each type.

    Raises
    ------
    CaprotoRuntimeError
        numpy is not installed.
    """
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

    return Backend("numpy", [viewer(it) for it in LAYOUTS], [native(it) for it in LAYOUTS])


def _array_backend() -> Backend:
    """Make a viewer for each type with ``array.array``."""

    def number_viewer(layout: Layout) -> Viewer:
        offset, item_size, typecode = layout.value_offset, layout.item_size, layout.typecode

        def view(payload: Buffer, count: int) -> array[Any]:
            values = payload[offset : offset + count * item_size]
            if len(values) < count * item_size:
                raise short_payload(payload, layout, count)
            numbers: array[Any] = array(typecode, bytes(values))
            if sys.byteorder == "little":
                numbers.byteswap()
            return numbers

        return view

    def viewer(layout: Layout) -> Viewer:
        if layout.native is ChannelType.STRING:
            return lambda payload, count: texts(payload, layout, count)
        return number_viewer(layout)

    viewers = [viewer(layout) for layout in LAYOUTS]
    return Backend("array", viewers, viewers)


_MAKERS: dict[str, Callable[[], Backend]] = {"numpy": _numpy_backend, "array": _array_backend}


class _Undecided:
    """Stands in for the backend until the first array is needed, and then finds one."""

    def __getattr__(self, attribute: str) -> Any:
        try:
            select_backend("numpy")
        except CaprotoRuntimeError:
            select_backend("array")
        return getattr(active, attribute)


#: The backend in use.
active: Backend | _Undecided = _Undecided()


def select_backend(name: str) -> None:
    """Choose what arrays are made of.

    Parameters
    ----------
    name : str
        'numpy' or 'array'.

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


def backend_name() -> str:
    """Return the backend in use, 'numpy' or 'array'; decide now if that was not done before."""
    name: str = active.name
    return name
