# mypy: disable-error-code="no-redef"
"""An IOC with a camera that sees a bright spot go round; the names are those of areaDetector.

===========================  ==================================================
cam:cam1:Acquire             1 while it takes images, as it does from the start
cam:cam1:AcquirePeriod       seconds between two images
cam:cam1:ArrayCounter_RBV    how many images it has taken
cam:image1:ArraySize0_RBV    pixels in a row
cam:image1:ArraySize1_RBV    rows
cam:image1:ArrayData         the pixels, 8 bit each, row after row
===========================  ==================================================
"""
from __future__ import annotations

import math

import numpy

from caproto.server import ChannelByte, ChannelData, PVGroup, ioc_arg_parser, pvproperty, run

WIDTH, HEIGHT = 320, 240
#: The spot: its radius, that of the circle on which it goes, and images for one round.
SPOT, CIRCLE, ROUND = 12.0, 80.0, 40

NOISE = numpy.random.default_rng()


def take_image(number: int) -> numpy.ndarray:
    """Return the pixels of image *number*: a spot on a dark background with noise."""
    angle = 2 * math.pi * number / ROUND
    across = numpy.arange(WIDTH) - (WIDTH / 2 + CIRCLE * math.cos(angle))
    down = numpy.arange(HEIGHT)[:, None] - (HEIGHT / 2 + CIRCLE * math.sin(angle))
    light = 200 * numpy.exp(-(across**2 + down**2) / (2 * SPOT**2))
    return (light + NOISE.uniform(0, 20, light.shape)).astype(numpy.uint8).ravel()


class CameraIOC(PVGroup):
    """A camera."""

    acquire = pvproperty(name="cam1:Acquire", value=True, enum_strings=("Done", "Acquire"))
    period = pvproperty(name="cam1:AcquirePeriod", value=0.2, units="s", precision=3)
    counter = pvproperty(name="cam1:ArrayCounter_RBV", value=0, read_only=True)
    width = pvproperty(name="image1:ArraySize0_RBV", value=WIDTH, read_only=True)
    height = pvproperty(name="image1:ArraySize1_RBV", value=HEIGHT, read_only=True)
    image = pvproperty(
        name="image1:ArrayData", value=take_image(0), dtype=ChannelByte, read_only=True
    )

    @image.scan(period=period)
    def image(self, instance: ChannelData) -> None:
        if self.acquire.value:
            number = self.counter.value + 1
            instance.write(take_image(number))
            self.counter.write(number)


def main() -> None:
    """Serve until Ctrl-C."""
    ioc_options, run_options = ioc_arg_parser(
        default_prefix="cam:", desc="A camera that sees a bright spot go round."
    )
    run(CameraIOC(**ioc_options), **run_options)


if __name__ == "__main__":
    main()
