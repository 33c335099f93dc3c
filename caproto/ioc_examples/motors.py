# mypy: disable-error-code="no-redef"
"""An IOC with two motors, x and y, and a detector that sees most at x = 1, y = -2.

The names are those of the EPICS motor record. For y read y instead of x:

===============  ==================================================================
motor:x          where to go, in mm; a write with completion returns when it is there
motor:x.RBV      where it is
motor:x.DMOV     1 if it stands still, 0 while it moves
motor:x.STOP     write 1 to stop: the write to motor:x is then complete, too
motor:x.VELO     mm per second
motor:detector   what the detector counts at this place, when it is read
===============  ==================================================================
"""
from __future__ import annotations

import math

from caproto.server import ChannelData, PVGroup, SubGroup, ioc_arg_parser, pvproperty, run

#: Seconds between two updates of a position.
TICK = 0.02


class Axis(PVGroup):
    """One motor."""

    setpoint = pvproperty(
        name="", value=0.0, units="mm", precision=3, lower_ctrl_limit=-10.0, upper_ctrl_limit=10.0
    )
    readback = pvproperty(name=".RBV", value=0.0, units="mm", precision=3, read_only=True)
    done = pvproperty(name=".DMOV", value=1, read_only=True)
    stop = pvproperty(name=".STOP", value=0)
    velocity = pvproperty(name=".VELO", value=10.0, units="mm/s", precision=3)

    @setpoint.putter
    def setpoint(self, instance: ChannelData, value: float) -> float:
        """Move. The client's write is complete when this returns; the result is the setpoint."""
        instance.write(value)
        self.done.write(0)
        position: float = self.readback.value
        while position != value and not self.stop.value and not self.stopping.wait(TICK):
            step = self.velocity.value * TICK
            position = min(max(value, position - step), position + step)
            self.readback.write(position)
        self.stop.write(0)
        self.done.write(1)
        return position

    @stop.putter
    def stop(self, instance: ChannelData, value: int) -> int:
        return 0 if self.done.value else value


class MotorsIOC(PVGroup):
    """Two motors and a detector."""

    x = SubGroup(Axis, prefix="x")
    y = SubGroup(Axis, prefix="y")
    detector = pvproperty(value=0.0, units="counts", precision=1, read_only=True)

    @detector.getter
    def detector(self, instance: ChannelData) -> float:
        across = self.x.readback.value - 1
        along = self.y.readback.value + 2
        return 1000 * math.exp(-(across**2 + along**2) / 4)


def main() -> None:
    """Serve until Ctrl-C."""
    ioc_options, run_options = ioc_arg_parser(
        default_prefix="motor:", desc="Two motors and a detector."
    )
    run(MotorsIOC(**ioc_options), **run_options)


if __name__ == "__main__":
    main()
