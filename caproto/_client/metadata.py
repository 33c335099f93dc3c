"""Metadata: what describes the values of a channel, and seldom changes."""
from __future__ import annotations

from .._protocol.channel_facts import ChannelFacts
from .._protocol.dbr import LAYOUTS, ChannelType, DbrMetadata
from .._protocol.text import decode_text
from .._typing import NamedTuple
from .tables import html_table, terminal_width, text_block

#: The eight limits, in the order in which they are shown.
LIMITS = (
    "upper_disp_limit", "lower_disp_limit", "upper_alarm_limit", "upper_warning_limit",
    "lower_warning_limit", "lower_alarm_limit", "upper_ctrl_limit", "lower_ctrl_limit",
)


class Metadata(NamedTuple):
    """Units, precision, limits and states of a channel, as text and numbers.

    It prints as an aligned block of those that the channel has.

    Attributes
    ----------
    units : str
        Engineering units; empty if the channel has none.
    precision : int or None
        Number of decimals to show; None if the channel has none.
    enum_strings : tuple of str
        Names of the states; empty unless the channel is an enum.
    upper_disp_limit, lower_disp_limit : float, int or None
        Range of a display.
    upper_alarm_limit, upper_warning_limit, lower_warning_limit, lower_alarm_limit
        Where the severity becomes MAJOR or MINOR; NaN where there is no such limit.
    upper_ctrl_limit, lower_ctrl_limit : float, int or None
        Range of values that may be written. Limits are None for enums and texts.
    """

    units: str = ""
    precision: int | None = None
    enum_strings: tuple[str, ...] = ()
    upper_disp_limit: float | None = None
    lower_disp_limit: float | None = None
    upper_alarm_limit: float | None = None
    upper_warning_limit: float | None = None
    lower_warning_limit: float | None = None
    lower_alarm_limit: float | None = None
    upper_ctrl_limit: float | None = None
    lower_ctrl_limit: float | None = None

    def to_dict(self) -> dict[str, object]:
        """Make a dict of plain values by name, ready for JSON."""
        return {**self._asdict(), "enum_strings": list(self.enum_strings)}

    def __str__(self) -> str:
        facts = facts_of(self) or [("none", "")]
        return text_block("Metadata", facts, terminal_width())

    def __repr__(self) -> str:  # so that the prompt shows the text
        return str(self)

    def _repr_html_(self) -> str:
        return html_table("Metadata", (), facts_of(self))


def facts_of(metadata: Metadata) -> list[tuple[str, str]]:
    """List what the channel has of these, by name, for people."""
    shown = [
        ("units", metadata.units),
        ("precision", "" if metadata.precision is None else str(metadata.precision)),
        ("enum_strings", ", ".join(map(repr, metadata.enum_strings))),
    ]
    limits = ((name, getattr(metadata, name)) for name in LIMITS)
    shown += [(name, str(limit)) for name, limit in limits if limit is not None]
    return [(name, text) for name, text in shown if text]


def metadata_from(structure: DbrMetadata | None) -> Metadata:
    """Make it of a control structure; what this does not have keeps its default."""
    found = {name: getattr(structure, name, None) for name in (*LIMITS, "precision")}
    return Metadata(
        units=decode_text(getattr(structure, "units", b"")),
        enum_strings=tuple(map(decode_text, getattr(structure, "enum_strings", ()))),
        **found,
    )


def known_metadata(facts: ChannelFacts) -> Metadata | None:
    """Make it of what is known about a channel; None if it would have to be asked for."""
    if facts.native_type is ChannelType.STRING:
        return Metadata()  # texts have none
    structure = facts.metadata
    if structure is None or LAYOUTS[structure.DBR_ID].family != "control":
        return None
    return metadata_from(structure)
