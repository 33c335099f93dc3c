# mypy: disable-error-code="no-redef"
"""An IOC with PVs of every type, with units, limits and states, and one that is read-only."""
from __future__ import annotations

from typing import Any

from caproto.server import (
    ChannelByte,
    ChannelChar,
    ChannelData,
    ChannelDouble,
    ChannelEnum,
    ChannelFloat,
    ChannelShort,
    PVGroup,
    SubGroup,
    get_pv_pair_wrapper,
    ioc_arg_parser,
    pvproperty,
    run,
)

pair = get_pv_pair_wrapper()


class ArraysGroup(PVGroup):
    """Arrays of every type; clients may write up to 10 elements, or 3 texts."""

    double = pvproperty(value=[1.5, 2.5, 3.5], max_length=10)
    float = pvproperty(value=[1.5, 2.5], dtype=ChannelFloat, max_length=10)
    long = pvproperty(value=[1, 2, 3], max_length=10)
    short = pvproperty(value=[1, 2, 3], dtype=ChannelShort, max_length=10)
    char = pvproperty(value=b"abc", max_length=10)
    string = pvproperty(value=["one", "two"], max_length=3)
    empty = pvproperty(value=[], dtype=ChannelDouble, max_length=10)


class TypesIOC(PVGroup):
    """One PV of every type."""

    double = pvproperty(
        value=3.25,
        units="mm",
        precision=3,
        upper_disp_limit=100.0,
        lower_disp_limit=-100.0,
        upper_alarm_limit=90.0,
        upper_warning_limit=80.0,
        lower_warning_limit=-80.0,
        lower_alarm_limit=-90.0,
        upper_ctrl_limit=95.0,
        lower_ctrl_limit=-95.0,
    )
    float = pvproperty(value=0.5, dtype=ChannelFloat, precision=2)
    long = pvproperty(value=42, units="counts")
    short = pvproperty(value=-7, dtype=ChannelShort)
    char = pvproperty(value=65, dtype=ChannelByte)
    string = pvproperty(value="hello")
    text = pvproperty(value="a text of any length", dtype=ChannelChar, max_length=1000)
    enum = pvproperty(
        value=1, dtype=ChannelEnum, enum_strings=("Zero", "One", "Two", "Three")
    )
    switch = pvproperty(value=False, doc="A bool is an enum of two states.")
    read_only = pvproperty(value=17, read_only=True)
    arrays = SubGroup(ArraysGroup)
    position = pair(value=0.0, units="mm", doc="What is written appears in position_RBV.")

    count = pvproperty(value=0, doc="How often it has been read.")

    @count.getter
    def count(self, instance: ChannelData) -> int:
        return int(instance.value) + 1

    doubled = pvproperty(value=0.0, doc="Becomes twice what is written.")

    @doubled.putter
    def doubled(self, instance: ChannelData, value: Any) -> Any:
        return 2 * value


def main() -> None:
    """Serve until Ctrl-C."""
    ioc_options, run_options = ioc_arg_parser(
        default_prefix="types:", desc="One PV of every type."
    )
    run(TypesIOC(**ioc_options), **run_options)


if __name__ == "__main__":
    main()
