"""Sets of data types by what their values are."""
from __future__ import annotations

from .._protocol.dbr import LAYOUTS, ChannelType, graphic_types

__all__ = [
    "char_types",
    "enum_types",
    "float_types",
    "graphical_types",
    "int_types",
    "native_float_types",
    "native_int_types",
    "string_types",
]


def _types_of(*natives: ChannelType) -> frozenset[ChannelType]:
    """Return these types with their status, time, graphic and control forms."""
    return frozenset(
        layout.channel_type
        for layout in LAYOUTS
        if layout.native in natives and layout.family != "special"
    )


#: Plain types whose values are whole numbers.
native_int_types = frozenset(
    {ChannelType.INT, ChannelType.ENUM, ChannelType.CHAR, ChannelType.LONG}
)
#: Plain types whose values are floating-point numbers.
native_float_types = frozenset({ChannelType.FLOAT, ChannelType.DOUBLE})
#: CHAR in all its forms.
char_types = _types_of(ChannelType.CHAR)
#: STRING in all its forms.
string_types = _types_of(ChannelType.STRING)
#: INT and LONG in all their forms.
int_types = _types_of(ChannelType.INT, ChannelType.LONG)
#: FLOAT and DOUBLE in all their forms.
float_types = _types_of(ChannelType.FLOAT, ChannelType.DOUBLE)
#: ENUM in all its forms.
enum_types = _types_of(ChannelType.ENUM)
#: The types with limits for displays; the same as ``graphic_types``.
graphical_types = frozenset(graphic_types)
