# mypy: disable-error-code="no-redef"
"""An IOC with arrays: a moving sine, and room for large ones (64 MB)."""
from __future__ import annotations

import math

import numpy

from caproto.server import ChannelByte, ChannelData, PVGroup, ioc_arg_parser, pvproperty, run

#: Elements of the sine.
POINTS = 1000


class WaveformIOC(PVGroup):
    """Arrays."""

    period = pvproperty(value=0.5, units="s", precision=3, doc="Seconds between updates of wave.")
    phase = pvproperty(value=0.0, units="rad", precision=3, read_only=True)
    wave = pvproperty(value=numpy.zeros(POINTS), units="V", doc="A sine that moves.")
    doubles = pvproperty(value=numpy.arange(10.0), max_length=1 << 23, doc="Room for 64 MB.")
    bytes = pvproperty(value=b"", dtype=ChannelByte, max_length=1 << 26, doc="Room for 64 MB.")

    @wave.scan(period=period)
    def wave(self, instance: ChannelData) -> None:
        phase = (self.phase.value + 0.1) % (2 * math.pi)
        self.phase.write(phase)
        instance.write(numpy.sin(numpy.linspace(0, 4 * math.pi, POINTS) + phase))


def main() -> None:
    """Serve until Ctrl-C."""
    ioc_options, run_options = ioc_arg_parser(
        default_prefix="waveform:", desc="A moving sine, and room for large arrays."
    )
    run(WaveformIOC(**ioc_options), **run_options)


if __name__ == "__main__":
    main()
