"""As what a value is requested: its type, and the number of elements."""
from __future__ import annotations

from .._protocol.dbr import ChannelType, field_types
from .settings import Settings

__all__ = ["printed_type", "request_form"]

_FLOATS = (ChannelType.FLOAT, ChannelType.DOUBLE)


def printed_type(native: ChannelType, settings: Settings) -> ChannelType:
    """Return the type that a value of a *native* type is requested as, if no other is wanted."""
    if native is ChannelType.ENUM and not settings.enum_as_number:
        native = ChannelType.STRING
    if native in _FLOATS and settings.float_as_string:
        native = ChannelType.STRING
    return field_types["time"][native]


def request_form(
    native: ChannelType, room: int, settings: Settings
) -> tuple[ChannelType, int | None]:
    """Return the type and the number of elements to request; None for those that are filled.

    Parameters
    ----------
    native : ChannelType
        The channel's own type.
    room : int
        The number of elements that the channel can have.
    settings : Settings
    """
    data_type = printed_type(native, settings)
    if settings.form == "typed":
        assert settings.data_type is not None
        data_type = ChannelType(settings.data_type)
    if settings.asynchronous and not settings.count:
        return data_type, None
    return data_type, min(settings.count or room, room)
