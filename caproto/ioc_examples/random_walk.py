"""An IOC with a value that walks at random, and the period of its steps.

==================  ======================================================
random_walk:dt      seconds between two steps; writing it takes effect at once
random_walk:x       the value
==================  ======================================================
"""
# mypy: disable-error-code="no-redef"
from __future__ import annotations

import random

from caproto.server import ChannelData, PVGroup, ioc_arg_parser, pvproperty, run


class RandomWalkIOC(PVGroup):
    """A random walk."""

    dt = pvproperty(value=3.0, units="s", precision=3, doc="Seconds between two steps.")
    x = pvproperty(value=0.0, precision=3, doc="Where we are.")

    @x.scan(period=dt)
    def x(self, instance: ChannelData) -> None:
        instance.write(instance.value + 2 * random.random() - 1)


def main() -> None:
    """Serve until Ctrl-C."""
    ioc_options, run_options = ioc_arg_parser(
        default_prefix="random_walk:", desc="A value that walks at random."
    )
    run(RandomWalkIOC(**ioc_options), **run_options)


if __name__ == "__main__":
    main()
