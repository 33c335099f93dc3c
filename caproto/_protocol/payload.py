"""Values to payloads and back.

A payload is the metadata of its type, the values, and zeros up to a multiple of 8 bytes. Every
conversion between Python values and these bytes is here (the view of bytes as an array is in
:mod:`caproto.backend`); all functions are pure, and use tables by data type.

Receiving is liberal: bytes in gaps and after the ends of texts are ignored, and a single text may
be cut short. Sending is strict: a value that does not fit the type is refused, with the value and
the type in the message, and gaps are zeros.
"""
from __future__ import annotations

import math
import struct
import sys
from array import array
from collections.abc import Callable, Sequence
from ctypes import c_float
from reprlib import repr as short_repr

from .._errors import CaprotoError, CaprotoTypeError, CaprotoValueError, RemoteProtocolError
from .._numbers import counted
from .._typing import TYPE_CHECKING
from . import arrays
from .arrays import Buffer, short_payload, texts
from .constants import MAX_STRING_SIZE
from .dbr import CHANNEL_TYPES, LAYOUTS, ChannelType, DbrMetadata, Layout, TimeStamp
from .text import decode_text, encode_text

if TYPE_CHECKING:
    from typing import Any

__all__ = [
    "data_view",
    "elements_of",
    "encode",
    "metadata_of",
    "native_view",
    "payload_size",
    "shortest",
    "strings_of",
]

#: By type: offset of the values plus 7, and bytes per element.
_SIZES: dict[int, tuple[int, int]] = {
    layout.channel_type: (layout.value_offset + 7, layout.item_size) for layout in LAYOUTS
}


def payload_size(data_type: int, count: int) -> int:
    """Count the bytes that *count* elements of *data_type* occupy, padding included.

    Raises
    ------
    CaprotoValueError
        There is no such type.
    """
    try:
        front, item_size = _SIZES[data_type]
    except (KeyError, TypeError):
        front, item_size = _SIZES[ChannelType(data_type)]  # raises a helpful error
    return (front + item_size * count) & -8


# ---- payload to values ---------------------------------------------------------------------------


def _no_such_type(data_type: int) -> RemoteProtocolError:
    return RemoteProtocolError(
        f"{data_type} is not a data type; they run from 0 to {len(CHANNEL_TYPES) - 1}"
    )


def data_view(payload: Buffer, data_type: int, count: int) -> Any:
    """View the values of a payload in place.

    Parameters
    ----------
    payload : bytes, bytearray or memoryview
        Of a message; it may be empty if *count* is 0.
    data_type : ChannelType or int
        What it holds.
    count : int
        How many elements.

    Returns
    -------
    numpy.ndarray of shape (count,)
        Read-only, big-endian, over the same memory; texts are a copy of type ``S40``, because they
        must be cut at their ends. With the 'array' backend, an ``array.array`` in machine byte
        order, and a list of bytes for texts.

    Raises
    ------
    RemoteProtocolError
        The payload is too short for its type and count, or there is no such type.
    """
    try:
        viewer = arrays.active.viewers[data_type]
    except IndexError:
        raise _no_such_type(data_type) from None
    return viewer(payload, count)


def native_view(payload: Buffer, data_type: int, count: int) -> Any:
    """Copy the values of a payload in machine byte order; the copy can be written to."""
    try:
        native = arrays.active.natives[data_type]
    except IndexError:
        raise _no_such_type(data_type) from None
    return native(payload, count)


def elements_of(
    payload: Buffer, data_type: int, count: int, start: int, stop: int
) -> Sequence[Any]:
    """Convert some of the values of a payload, for people: numbers, or bytes for texts.

    Does not need numpy, and takes time for these elements only.

    Parameters
    ----------
    payload, data_type, count
        As for `data_view`.
    start, stop : int
        The range of elements, within *count*.

    Raises
    ------
    RemoteProtocolError
        The payload is too short for its type and count, or there is no such type.
    """
    layout = _received_layout(data_type)
    if start == stop:
        return ()
    size, offset = layout.item_size, layout.value_offset
    if layout.native is ChannelType.STRING:
        if count == 1:  # it may be cut short
            return texts(payload, layout, 1)[start:stop]
        values = bytes(payload[offset + size * start : offset + size * stop])
        if len(values) == size * (stop - start):
            return texts(values, LAYOUTS[layout.native], stop - start)
    elif len(payload) >= offset + size * stop:
        return struct.unpack_from(
            f">{stop - start}{layout.typecode}", payload, offset + size * start
        )
    raise short_payload(payload, layout, count)


def metadata_of(payload: Buffer, data_type: int) -> DbrMetadata:
    """Copy the metadata at the front of a payload into a ``DBR_*`` structure.

    Raises
    ------
    RemoteProtocolError
        The payload is too short for it, as in a reply that carries only a status; or there is no
        such type.
    """
    layout = _received_layout(data_type)
    try:
        return layout.struct.from_buffer_copy(payload)
    except ValueError:
        raise short_payload(payload, layout, 0) from None


def strings_of(
    payload: Buffer, data_type: int, count: int, of_array: bool = False
) -> list[str]:
    """Return the values of a payload as text. Does not need numpy.

    Texts are decoded as UTF-8, or as Latin-1 if they are not UTF-8. Enums are returned by state
    name if the metadata has the names, else by number. An array of CHAR is one text; a single
    CHAR is a number, unless *of_array* says that the channel has room for more.

    Raises
    ------
    RemoteProtocolError
        The payload is too short for its type and count, or there is no such type.
    """
    layout = _received_layout(data_type)
    if layout.native is ChannelType.CHAR and (of_array or count != 1):
        return _text_of_chars(payload, layout, count)
    return _TO_STRINGS.get(layout.native, _number_strings)(payload, layout, count)


def _received_layout(data_type: int) -> Layout:
    try:
        return LAYOUTS[data_type]
    except IndexError:
        raise _no_such_type(data_type) from None


def _numbers(payload: Buffer, layout: Layout, count: int) -> tuple[Any, ...]:
    """Unpack the values as Python numbers."""
    if count and len(payload) < layout.value_offset + layout.item_size * count:
        raise short_payload(payload, layout, count)  # before making a very long format
    if not count:
        return ()
    return struct.unpack_from(f">{count}{layout.typecode}", payload, layout.value_offset)


def _number_strings(payload: Buffer, layout: Layout, count: int) -> list[str]:
    return [str(number) for number in _numbers(payload, layout, count)]


def _float_strings(payload: Buffer, layout: Layout, count: int) -> list[str]:
    return [shortest(number) for number in _numbers(payload, layout, count)]


#: Of 32 bits.
_SMALLEST_NORMAL = 2.0**-126


def shortest(number: float) -> str:
    """Write a number of 32 bits in the shortest way: 0.1, not 0.10000000149011612."""
    # Six digits of any normal number come back; the smallest ones have fewer.
    for digits in range(6 if abs(number) >= _SMALLEST_NORMAL else 1, 9):
        short = float(f"{number:.{digits}g}")
        if c_float(short).value == number:
            return str(short)
    return str(float(f"{number:.9g}"))


def _text_strings(payload: Buffer, layout: Layout, count: int) -> list[str]:
    return [decode_text(text) for text in texts(payload, layout, count)]


def _text_of_chars(payload: Buffer, layout: Layout, count: int) -> list[str]:
    values = bytes(payload[layout.value_offset : layout.value_offset + count])
    if len(values) < count:
        raise short_payload(payload, layout, count)
    return [decode_text(values.partition(b"\0")[0])]


def _enum_strings(payload: Buffer, layout: Layout, count: int) -> list[str]:
    numbers = _numbers(payload, layout, count)
    if not count or layout.family not in ("graphic", "control"):
        return [str(number) for number in numbers]
    names = [decode_text(name) for name in layout.struct.from_buffer_copy(payload).enum_strings]
    # States beyond the names exist: records hold them, and menus have more than travel.
    return [names[number] if number < len(names) else str(number) for number in numbers]


_TO_STRINGS: dict[ChannelType, Callable[[Buffer, Layout, int], list[str]]] = {
    ChannelType.STRING: _text_strings,
    ChannelType.ENUM: _enum_strings,
    ChannelType.FLOAT: _float_strings,
}


# ---- values to payload ---------------------------------------------------------------------------
# Numbers are Any here: they may be of any class, such as int, Decimal or numpy.float32.

#: Integer type -> smallest and largest value. CHAR is signed in records and unsigned in Channel
#: Access: servers take both for the same 8 bits.
_RANGES: dict[ChannelType, tuple[int, int]] = {
    ChannelType.INT: (-0x8000, 0x7FFF),
    ChannelType.ENUM: (0, 0xFFFF),
    ChannelType.CHAR: (-0x80, 0xFF),
    ChannelType.LONG: (-0x80000000, 0x7FFFFFFF),
}


#: By typecode of the elements: one number to big-endian bytes.
_PACK_ONE: dict[str, Callable[[Any], bytes]] = {
    typecode: struct.Struct(">" + typecode).pack
    for typecode in {layout.typecode for layout in LAYOUTS}
}


def encode(
    data: object, data_type: int, data_count: int | None = None, metadata: object = None
) -> tuple[bytes, int]:
    """Make the payload of a message.

    Parameters
    ----------
    data : scalar, str, bytes, sequence, numpy.ndarray or array.array
        The values. Arrays may have any byte order and element type, as long as the values fit.
        bytes are the values as on the wire, big-endian; for STRING they may also be one text, and
        for ENUM they are refused. str is text for STRING, and for CHAR UTF-8 with a zero at its
        end.
    data_type : ChannelType or int
        The type to convert them to.
    data_count : int, optional
        How many of them to send; all by default.
    metadata : DbrMetadata or tuple of (status, severity, TimeStamp), optional
        What precedes the values: the structure of this type, or such a tuple, of which the type
        uses the items that it has, or a tuple of all the fields of the structure. Zeros by default.

    Returns
    -------
    payload : bytes
        Padded to a multiple of 8. A single plain STRING is sent as short as its text.
    count : int
        Number of elements in it.

    Raises
    ------
    CaprotoTypeError
        These values can never be of that type: text for numbers, for example.
    CaprotoValueError
        A value does not fit: too large, too long, not a whole number for an integer type; or there
        are fewer than *data_count*.
    """
    try:
        layout, encoder = _ENCODERS[data_type]
    except (KeyError, TypeError):
        layout, encoder = _ENCODERS[ChannelType(data_type)]  # raises a helpful error
    values, count = encoder(data, layout)
    if data_count is not None and data_count != count:
        if not 0 <= data_count < count:
            raise CaprotoValueError(
                f"data_count={data_count!r} does not fit the {count} element(s) of data"
            )
        values, count = values[: data_count * layout.item_size], data_count
    if data_type == _STRING and count == 1:
        values = values.rstrip(b"\0") + b"\0"
    if metadata is not None or layout.value_offset:
        values = _encode_metadata(metadata, layout) + values
    gap = -len(values) % 8
    return (values + bytes(gap) if gap else values), count


_STRING = ChannelType.STRING
_ALARM_FRONT = struct.Struct(">hh")
_TIME_FRONT = struct.Struct(">hhII")


def _encode_metadata(metadata: object, layout: Layout) -> bytes:
    """Make the bytes before the values."""
    if metadata is None:
        return bytes(layout.value_offset)
    if isinstance(metadata, DbrMetadata):
        if type(metadata) is not layout.struct:
            raise CaprotoTypeError(
                f"metadata of {layout.channel_type} is a {layout.struct.__name__}, "
                f"not a {type(metadata).__name__}"
            )
        return bytes(metadata.cleaned())
    return _encode_alarm(metadata, layout)


def _encode_alarm(metadata: Any, layout: Layout) -> bytes:
    """Make the bytes before the values from ``(status, severity, TimeStamp)`` or all fields."""
    try:
        if len(metadata) != 3 or (isinstance(metadata[2], int) and layout.family != "time"):
            return bytes(layout.struct(*metadata).cleaned())
        status, severity, stamp = metadata
        if layout.family == "time":
            front = _TIME_FRONT.pack(status, severity, *TimeStamp.from_flexible_value(stamp))
        else:
            front = _ALARM_FRONT.pack(status, severity)
    except (TypeError, ValueError, struct.error) as error:
        raise CaprotoTypeError(
            f"metadata={metadata!r} is neither a {layout.struct.__name__} nor "
            f"(status, severity, TimeStamp): {error}"
        ) from None
    return front.ljust(layout.value_offset, b"\0")[: layout.value_offset]


def _wrong_type(data: object, layout: Layout, hint: str) -> CaprotoTypeError:
    return CaprotoTypeError(
        f"{short_repr(data)} of type {type(data).__name__} cannot be sent as {layout.native}: "
        + hint
    )


def _encode_numbers(data: object, layout: Layout) -> tuple[bytes, int]:
    """Convert numbers, one or many, to big-endian bytes."""
    if isinstance(data, (int, float)):
        try:
            return _PACK_ONE[layout.typecode](data), 1
        except (struct.error, OverflowError):
            return _pack((data,), layout), 1
    if isinstance(data, (list, tuple)):
        return _pack(data, layout), len(data)
    if hasattr(data, "dtype"):
        return _encode_ndarray(data, layout)
    if isinstance(data, (bytes, bytearray)):
        return _raw(bytes(data), layout)
    if isinstance(data, memoryview):
        return _encode_memoryview(data, layout)
    if isinstance(data, array) and data.typecode == layout.typecode:
        return _encode_array(data), len(data)
    if isinstance(data, Sequence) and not isinstance(data, str):
        return _pack(data, layout), len(data)
    return _pack((data,), layout), 1


def _raw(data: bytes, layout: Layout) -> tuple[bytes, int]:
    """Take bytes that are in wire format already; for the state of an enum they are text."""
    if layout.native is ChannelType.ENUM:
        raise _wrong_type(data, layout, _HINTS[ChannelType.ENUM])
    count, rest = divmod(len(data), layout.item_size)
    if rest:
        raise CaprotoValueError(
            f"{counted(len(data), 'byte is', 'bytes are')} not a whole number of elements of "
            f"{layout.native}, which take {layout.item_size} bytes each"
        )
    return data, count


def _encode_memoryview(data: memoryview, layout: Layout) -> tuple[bytes, int]:
    """Take a view of bytes as wire format, and a view of anything else as its values."""
    if data.format in ("B", "b", "c"):
        return _raw(bytes(data), layout)
    values = data.tolist()
    return _pack(values, layout), len(values)


def _encode_array(data: array[Any]) -> bytes:
    """Copy an array of exactly the right type, and swap its bytes if necessary."""
    if sys.byteorder == "little":
        data = data[:]
        data.byteswap()
    return bytes(data)


def _encode_ndarray(data: Any, layout: Layout) -> tuple[bytes, int]:
    """Convert a numpy array or scalar; more than one dimension is sent row by row."""
    import numpy

    if numpy.ma.is_masked(data):
        raise CaprotoValueError(
            "the array has masked elements; call its filled() to choose what to send for them"
        )
    source: Any = numpy.ravel(data)
    target = numpy.dtype(layout.dtype)
    if source.dtype.kind not in "biuf":
        values = list(source) if source.dtype.kind in "mM" else source.tolist()
        return _pack(values, layout), source.size
    if numpy.can_cast(source.dtype, target, "safe"):
        return source.astype(target).tobytes(), source.size
    with numpy.errstate(all="ignore"):
        if layout.native is ChannelType.CHAR:
            packed = source.astype("i8").astype(target)
            misfit = (packed != source) & (packed.view("i1") != source)
        else:
            packed = source.astype(target)
            if target.kind == "f":
                misfit = numpy.isinf(packed) & numpy.isfinite(source)
            else:
                misfit = packed != source
    if misfit.any():
        _number(source[misfit.argmax()], layout)
    return packed.tobytes(), source.size


def _pack(values: Sequence[Any], layout: Layout) -> bytes:
    """Convert Python numbers to big-endian bytes: at once if they fit, else one by one."""
    form = f">{len(values)}{layout.typecode}"
    try:
        # struct takes only exact integers, but whatever has a __float__ for a float: a Decimal that
        # becomes infinite, a complex number of numpy. Their sum is not a plain number either. It
        # does not begin with 0, because numpy warns where that is added to a time.
        if layout.native in _RANGES or isinstance(sum(values[1:], values[0]), (int, float)):
            return struct.pack(form, *values)
    except (struct.error, ArithmeticError, TypeError, ValueError, IndexError):
        pass
    return struct.pack(form, *[_number(value, layout) for value in values])


def _number(value: Any, layout: Layout) -> float:
    """Make *value*, of any class, a number that fits exactly, or raise the reason why not."""
    hint = _HINTS.get(layout.native, _NUMBER_HINT)
    if hasattr(value, "dtype"):
        if value.dtype.kind not in "biufO" or value.ndim:
            raise _wrong_type(value, layout, hint)  # numpy would drop an imaginary part or a unit
        plain = value.item()
        if type(plain) is not type(value):  # it is, if Python has nothing that holds as much
            return _number(plain, layout)
    limits = _RANGES.get(layout.native)
    try:
        if limits is None:
            return _real(value, layout)
        return _integer(value, layout, *limits)
    except (TypeError, ValueError, ArithmeticError) as error:
        if isinstance(error, CaprotoError):
            raise
        raise _wrong_type(value, layout, hint) from None


def _integer(value: Any, layout: Layout, lowest: int, highest: int) -> int:
    """Make *value* a whole number; compare it first, because it may be very large."""
    if value == value and not lowest <= value <= highest:
        raise CaprotoValueError(
            f"{_shown(value)} does not fit {layout.native}, {lowest} to {highest}"
        )
    number = int(value) if value == value else None  # NaN differs from itself
    if number is None or number != value:
        raise CaprotoValueError(
            f"{_shown(value)} is not a whole number, as {layout.native} needs; round it, or let "
            "the server convert it: data_type='DOUBLE'"
        )
    return number & 0xFF if layout.native is ChannelType.CHAR else number


def _real(value: Any, layout: Layout) -> float:
    """Make *value* a float; one that would become infinite is refused."""
    if not (hasattr(value, "__float__") or hasattr(value, "__index__")):
        raise TypeError  # float() would read text, and whatever is like bytes
    try:
        number = float(value)
        struct.pack(">" + layout.typecode, number)
        too_large = bool(math.isinf(number) and number != value)
    except OverflowError:
        too_large = True
    if too_large:
        raise CaprotoValueError(f"{_shown(value)} is too large for {layout.native}")
    return number


def _shown(value: Any) -> str:
    """Write a number as a user would: ``1.5``, not ``np.float32(1.5)``; cut if it is long."""
    try:
        text = str(value)
    except ValueError:  # Python refuses to write integers of more than 4300 digits
        return f"a number of {value.bit_length()} bits"
    return text if len(text) <= 60 else f"{text[:25]}...{text[-25:]}"


_NUMBER_HINT = "it takes numbers; to let the server convert text, use data_type='STRING'"
_HINTS = {
    ChannelType.STRING: (
        "it takes str or bytes; to let the server convert a number, use data_type='DOUBLE'"
    ),
    ChannelType.ENUM: "it takes the number of a state; to send its name, use data_type='STRING'",
}


def _encode_chars(data: object, layout: Layout) -> tuple[bytes, int]:
    """Convert text to a C string, or numbers."""
    if isinstance(data, str):
        values = encode_text(data) + b"\0"
        return values, len(values)
    return _encode_numbers(data, layout)


def _encode_texts(data: Any, layout: Layout) -> tuple[bytes, int]:
    """Convert texts, one or many, to 40 bytes each."""
    if isinstance(data, (bytes, bytearray, memoryview)):
        data = _split_texts(bytes(data))
    elif isinstance(data, str):
        data = (data,)
    elif hasattr(data, "dtype"):
        import numpy

        data = numpy.ravel(data).tolist()
    elif not isinstance(data, Sequence):
        raise _wrong_type(data, layout, _HINTS[ChannelType.STRING])
    return b"".join([_text(text, layout).ljust(40, b"\0") for text in data]), len(data)


def _split_texts(data: bytes) -> list[bytes]:
    """Take bytes as one text, or a multiple of 40 bytes as texts in the form of the wire."""
    count, rest = divmod(len(data), MAX_STRING_SIZE)
    if rest or not count:
        return [data]
    return texts(data, LAYOUTS[_STRING], count)


def _text(text: object, layout: Layout) -> bytes:
    """Convert one text to its bytes on the wire, without padding."""
    if not isinstance(text, (str, bytes)):
        raise _wrong_type(text, layout, _HINTS[ChannelType.STRING])
    raw = text if isinstance(text, bytes) else encode_text(text)
    raw = raw.rstrip(b"\0")
    if len(raw) >= MAX_STRING_SIZE:
        raise CaprotoValueError(
            f"{short_repr(text)} has {len(raw)} bytes; {layout.native} holds "
            f"{MAX_STRING_SIZE - 1}. Send longer texts as arrays of CHAR"
        )
    if b"\0" in raw:
        raise CaprotoValueError(f"{text!r} contains a zero byte, where receivers would cut it")
    return raw


_TO_BYTES = {ChannelType.STRING: _encode_texts, ChannelType.CHAR: _encode_chars}

#: By type: its layout, and the function from values to their bytes and number.
_ENCODERS: dict[int, tuple[Layout, Callable[[Any, Layout], tuple[bytes, int]]]] = {
    layout.channel_type: (layout, _TO_BYTES.get(layout.native, _encode_numbers))
    for layout in LAYOUTS
}
