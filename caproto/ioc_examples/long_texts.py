"""An IOC with texts that are longer than the 39 characters of a Channel Access string.

=================  =================================================================
text:message       at most 39 characters
text:note          up to 1,999 characters, as an array of CHAR
text:valve         a number ...
text:valve.DESC    ... and its description: a string, and as text:valve.DESC$ all of it
=================  =================================================================
"""
from __future__ import annotations

from caproto.server import ChannelChar, PVGroup, ioc_arg_parser, pvproperty, run


class LongTextsIOC(PVGroup):
    """Short and long texts."""

    message = pvproperty(value="at most 39 characters")
    note = pvproperty(
        value="A note may be as long as a page.\nIt may have several lines.",
        dtype=ChannelChar,
        max_length=2000,
    )
    valve = pvproperty(value=12.5, units="%", precision=1)
    valve_description = pvproperty(
        name="valve.DESC",
        value="Cooling water valve of the second mirror, upstream side",
        dtype=ChannelChar,
        max_length=100,
        report_as_string=True,
    )


def main() -> None:
    """Serve until Ctrl-C."""
    ioc_options, run_options = ioc_arg_parser(
        default_prefix="text:", desc="Texts of more than 39 characters."
    )
    run(LongTextsIOC(**ioc_options), **run_options)


if __name__ == "__main__":
    main()
