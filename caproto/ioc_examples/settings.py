"""An IOC with the settings of a device: a dozen PVs of several kinds, to be saved and restored.

======================  =============================================
settings:exposure       seconds, a float
settings:gain           an integer
settings:mode           Single, Continuous or External: an enum
settings:shutter        Closed or Open
settings:sample         a text of at most 39 characters
settings:comment        a long text
settings:labels         two texts
settings:region         four integers: left, top, width, height
settings:offsets        up to eight floats
settings:calibration    three floats
settings:threshold      a float, with limits
settings:cycles         a 16 bit integer
settings:serial_number  a text that cannot be written
======================  =============================================
"""
from __future__ import annotations

from caproto.server import (
    ChannelChar,
    ChannelEnum,
    ChannelShort,
    PVGroup,
    ioc_arg_parser,
    pvproperty,
    run,
)


class SettingsIOC(PVGroup):
    """The settings of a device."""

    exposure = pvproperty(value=0.1, units="s", precision=3)
    gain = pvproperty(value=2)
    mode = pvproperty(
        value=1, dtype=ChannelEnum, enum_strings=("Single", "Continuous", "External")
    )
    shutter = pvproperty(value=False, enum_strings=("Closed", "Open"))
    sample = pvproperty(value="copper foil")
    comment = pvproperty(value="Nothing unusual.", dtype=ChannelChar, max_length=1000)
    labels = pvproperty(value=["left", "right"])
    region = pvproperty(value=[0, 0, 320, 240])
    offsets = pvproperty(value=[0.5, -0.25], max_length=8, precision=3)
    calibration = pvproperty(value=[1.0, 0.002, 0.0], precision=6)
    threshold = pvproperty(
        value=12.5, units="keV", precision=2, lower_ctrl_limit=0.0, upper_ctrl_limit=50.0
    )
    cycles = pvproperty(value=10, dtype=ChannelShort)
    serial_number = pvproperty(value="SN-2041", read_only=True)


def main() -> None:
    """Serve until Ctrl-C."""
    ioc_options, run_options = ioc_arg_parser(
        default_prefix="settings:", desc="The settings of a device."
    )
    run(SettingsIOC(**ioc_options), **run_options)


if __name__ == "__main__":
    main()
