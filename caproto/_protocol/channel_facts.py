"""ChannelFacts: what is known about a channel, so that its responses can say more than they carry.

A circuit gives each response the facts that it knows at that moment; it never asks the server for
them. A graphic or control reply that passes by adds its metadata (units, precision, names of the
states), which later responses of the channel then show.
"""
from __future__ import annotations

import re
from functools import lru_cache

from .._typing import NamedTuple
from .arrays import Buffer
from .dbr import CHANNEL_TYPES, LAYOUTS, ChannelType, DbrMetadata
from .text import decode_text

__all__ = ["UNKNOWN", "ChannelFacts", "facts_of_channel"]

#: Types with units, limits or names of states: graphic and control, but not those of STRING.
DESCRIPTIVE_TYPES = frozenset(
    layout.channel_type
    for layout in LAYOUTS
    if layout.family in ("graphic", "control") and layout.native is not ChannelType.STRING
)
_CHAR = int(ChannelType.CHAR)
#: A field is asked for as one long text: ``X.DESC$``, perhaps with a section or filters.
_LONG_TEXT = re.compile(r"[^.]+\..*\$(?:\[[^\]]*\])?(?:\{.*\})?", re.DOTALL)


class ChannelFacts(NamedTuple):
    """What is known about a channel; never changed, only replaced.

    Parameters
    ----------
    native_type : ChannelType or None
        The channel's own type; None if unknown, as for a response that no circuit has seen.
    native_count : int or None
        How many elements it can have; None if unknown.
    long_text : bool
        Whether its name asks for a long text (``X.DESC$``), which comes as an array of CHAR.
    described_as : int
        The type whose metadata is known; 0 if none is.
    description : bytes
        That metadata, as on the wire.
    """

    native_type: ChannelType | None = None
    native_count: int | None = None
    long_text: bool = False
    described_as: int = 0
    description: bytes = b""

    @property
    def is_array(self) -> bool:
        """Whether the channel is known to be an array; it may have one element or none now."""
        return self.native_count is not None and self.native_count != 1

    @property
    def metadata(self) -> DbrMetadata | None:
        """A copy of the newest graphic or control metadata; None if there was none."""
        if not self.described_as:
            return None
        return LAYOUTS[self.described_as].struct.from_buffer_copy(self.description)

    @property
    def units(self) -> str:
        """Engineering units; empty if it has none or they are unknown."""
        return decode_text(getattr(self.metadata, "units", b""))

    @property
    def precision(self) -> int | None:
        """Number of decimals to show; None if unknown."""
        return getattr(self.metadata, "precision", None)

    @property
    def enum_strings(self) -> tuple[str, ...]:
        """Names of the states; empty if it has none or they are unknown."""
        return tuple(map(decode_text, getattr(self.metadata, "enum_strings", ())))

    def described(self, data_type: int, payload: Buffer) -> ChannelFacts:
        """Return the facts with the metadata of a reply, if it has units, limits or states.

        Parameters
        ----------
        data_type : int
            Of the reply.
        payload : bytes or memoryview
            Its payload.
        """
        if data_type not in DESCRIPTIVE_TYPES:
            return self
        front = bytes(payload[: LAYOUTS[data_type].value_offset])
        if len(front) < LAYOUTS[data_type].value_offset:
            return self
        return ChannelFacts(
            self.native_type, self.native_count, self.long_text, data_type, front
        )


#: Nothing is known.
UNKNOWN = ChannelFacts()


def facts_of_channel(name: str, native_type: int, native_count: int) -> ChannelFacts:
    """Return the facts of a channel that was just created; the same object for similar ones.

    Parameters
    ----------
    name : str
        As the client asked for it.
    native_type, native_count : int
        As the server has answered.
    """
    long_text = (
        native_type == _CHAR and "$" in name and bool(_LONG_TEXT.fullmatch(name))
    )
    return _shared(native_type, native_count, long_text)


@lru_cache(maxsize=256)
def _shared(native_type: int, native_count: int, long_text: bool) -> ChannelFacts:
    return ChannelFacts(CHANNEL_TYPES[native_type], native_count, long_text)
