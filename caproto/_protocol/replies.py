"""What is wrong with a reply or an update, held against the request that it answers.

A reply need not be what was asked for: servers answer in another type, or with fewer elements than
were asked for, and the C library hands it to its user. So can we, if the reply can be read at all:
its type must exist, and its payload must hold as many elements as its header says.
"""
from __future__ import annotations

from .._errors import ProtocolError
from .._numbers import counted
from .commands import (
    EventAddResponse,
    ReadNotifyRequest,
    ReadNotifyResponse,
    ReadRequest,
    ReadResponse,
    WriteNotifyRequest,
    WriteNotifyResponse,
)
from .dbr import LAYOUTS, ChannelType
from .message import Message, TypedMessage

Reply = ReadNotifyResponse | ReadResponse | WriteNotifyResponse

#: By type: bytes before the value, and bytes of one element.
VALUE_OFFSETS = tuple(layout.value_offset for layout in LAYOUTS)
ITEM_SIZES = tuple(layout.item_size for layout in LAYOUTS)
LAST_TYPE = len(LAYOUTS) - 1
_NORMAL = 1  # the one status with which a reply carries a value

#: Class of a request -> class of its reply.
REPLY_OF: dict[type[Message], type[TypedMessage]] = {
    ReadNotifyRequest: ReadNotifyResponse,
    ReadRequest: ReadResponse,
    WriteNotifyRequest: WriteNotifyResponse,
}
_CARRIES_VALUE = frozenset({ReadNotifyResponse, ReadResponse, EventAddResponse})


class Deviation(ProtocolError):
    """One message is not what was asked for; the circuit continues.

    Parameters
    ----------
    message : str
    usable : bool
        Whether the receiver may use it all the same.
    """

    def __init__(self, message: str, *, usable: bool = False) -> None:
        super().__init__(message)
        self.usable = usable


def check_kind(command: Message, expected: type[Message]) -> None:
    """Check that a reply is of the class that is expected.

    Raises
    ------
    Deviation
        Usable if a value was asked for and the reply carries one.
    """
    if type(command) is not expected:
        raise Deviation(
            f"{type(command).__name__} for ioid {command.fields[5]}, "
            f"which awaits a {expected.__name__}",
            usable=type(command) in _CARRIES_VALUE and expected in _CARRIES_VALUE,
        )


def check_value(command: Message, request: Message) -> bool:
    """Check type, count and size of a reply against its request.

    Returns
    -------
    bool
        Whether it carries a value; False for a failure, which has no valid data.

    Raises
    ------
    Deviation
    """
    _, size, data_type, count, status, number = command.fields
    _, _, wanted_type, wanted_count, _, _ = request.fields
    name, carries_value = type(command).__name__, type(command) in _CARRIES_VALUE
    failed = type(command) is not ReadResponse and status != _NORMAL
    if carries_value and not failed:
        _check_size(name, size, data_type, count, number)
    if data_type != wanted_type:
        raise Deviation(
            f"{name} for id {number} has type {data_type}, not {wanted_type}", usable=True
        )
    # A failure may come with any number of elements; the special types are always scalars.
    if wanted_count and count != wanted_count and not failed and data_type < ChannelType.PUT_ACKT:
        raise Deviation(
            f"{name} for id {number} has {counted(count, 'element')}, not {wanted_count}",
            usable=True,
        )
    return carries_value and not failed


def _check_size(name: str, size: int, data_type: int, count: int, number: int) -> None:
    """Check that *count* elements of *data_type* can be in *size* bytes."""
    if data_type > LAST_TYPE:
        raise Deviation(f"{name} for id {number} has type {data_type}, which does not exist")
    offset, wanted = VALUE_OFFSETS[data_type], count * ITEM_SIZES[data_type]
    if size >= offset + wanted or not (size or count):
        return
    # A single text may be cut short.
    if count == 1 and size > offset and LAYOUTS[data_type].native is ChannelType.STRING:
        return
    raise Deviation(
        f"{name} for id {number} has {counted(size, 'byte')}, not the {offset + wanted} of "
        f"{counted(count, 'element')} of {ChannelType(data_type).name}"
    )
