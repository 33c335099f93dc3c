# mypy: disable-error-code="no-redef"
"""An IOC with slow puts: a client that waits for its write waits for the motion.

=============  ====================================================================
slow:delay     seconds that a write to slow:motor takes
slow:motor     takes a while to reach its setpoint; moving meanwhile
slow:moving    whether it does
slow:refuses   every write fails, after the delay
slow:quick     has nothing to do with it: is served meanwhile
=============  ====================================================================
"""
from __future__ import annotations

from typing import Any

from caproto.server import ChannelData, PVGroup, Refused, ioc_arg_parser, pvproperty, run


class SlowPutIOC(PVGroup):
    """Puts that take time."""

    delay = pvproperty(value=1.0, units="s", precision=3, lower_ctrl_limit=0, upper_ctrl_limit=60)
    motor = pvproperty(value=0.0, units="mm", precision=3)
    moving = pvproperty(value=False, enum_strings=("Done", "Moving"), read_only=True)
    refuses = pvproperty(value=0.0)
    quick = pvproperty(value=0)

    @motor.putter
    def motor(self, instance: ChannelData, value: Any) -> None:
        self.moving.write("Moving")
        self.stopping.wait(self.delay.value)
        self.moving.write("Done")

    @refuses.putter
    def refuses(self, instance: ChannelData, value: Any) -> None:
        self.stopping.wait(self.delay.value)
        raise Refused(f"{instance.name} refuses {value}")


def main() -> None:
    """Serve until Ctrl-C."""
    ioc_options, run_options = ioc_arg_parser(
        default_prefix="slow:", desc="Slow puts."
    )
    run(SlowPutIOC(**ioc_options), **run_options)


if __name__ == "__main__":
    main()
