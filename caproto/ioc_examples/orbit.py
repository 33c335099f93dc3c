# mypy: disable-error-code="no-redef"
"""An IOC with the orbit of a storage ring: 500 positions, and 50 magnets that correct them.

==========================  =======================================================
orbit:x001 ... orbit:x250   horizontal positions of the beam, in mm
orbit:y001 ... orbit:y250   vertical positions
orbit:h01 ... orbit:h25     horizontal kicks of the magnets, in mrad; writable
orbit:v01 ... orbit:v25     vertical kicks
orbit:period                seconds between two measurements of all positions
==========================  =======================================================

A position of more than 1 mm is a minor alarm, of more than 2 mm a major one.
"""
from __future__ import annotations

import numpy

from caproto.server import ChannelData, PVGroup, ioc_arg_parser, pvproperty, run

MONITORS, MAGNETS = 250, 25
#: Oscillations of the beam in one turn, and millimetres of noise.
TUNES, NOISE = {"x": 11.3, "y": 7.4}, 0.002
#: The plane in which each kind of magnet acts.
PLANES = {"h": "x", "v": "y"}

RANDOM = numpy.random.default_rng(1)


def response(tune: float) -> numpy.ndarray:
    """Return how much each magnet moves the beam at each monitor, in mm per mrad."""
    monitors = numpy.linspace(0, 1, MONITORS, endpoint=False)[:, None]
    magnets = (numpy.arange(MAGNETS) + 0.5) / MAGNETS
    advance = 2 * numpy.pi * tune * numpy.abs(monitors - magnets)
    moved: numpy.ndarray = numpy.cos(advance - numpy.pi * tune) / numpy.sin(numpy.pi * tune)
    return moved


RESPONSES = {plane: response(tune) for plane, tune in TUNES.items()}
#: The orbit without any correction: small errors of all magnets.
ERRORS = {plane: RESPONSES[plane] @ RANDOM.normal(0, 0.15, MAGNETS) for plane in TUNES}


def position() -> pvproperty:
    """Declare the position at one monitor."""
    return pvproperty(
        value=0.0, units="mm", precision=3, read_only=True,
        lower_alarm_limit=-2.0, lower_warning_limit=-1.0,
        upper_warning_limit=1.0, upper_alarm_limit=2.0,
    )  # fmt: skip


def kick() -> pvproperty:
    """Declare the kick of one magnet."""
    return pvproperty(
        value=0.0, units="mrad", precision=4, lower_ctrl_limit=-1.0, upper_ctrl_limit=1.0
    )


class Ring(PVGroup):
    """What measures the orbit."""

    period = pvproperty(value=0.1, units="s", precision=3)

    @period.scan(period=period)
    def period(self, instance: ChannelData) -> None:
        """Measure all positions."""
        for kind, plane in PLANES.items():
            kicks = [self.attr_pvdb[f"{kind}{n:02}"].value for n in range(1, MAGNETS + 1)]
            orbit = ERRORS[plane] + RESPONSES[plane] @ kicks
            orbit += RANDOM.normal(0, NOISE, MONITORS)
            for number, value in enumerate(orbit.tolist(), 1):
                self.attr_pvdb[f"{plane}{number:03}"].write(value)


#: The same with all its PVs, which are too many to write down.
OrbitIOC = type(
    "OrbitIOC",
    (Ring,),
    {f"{plane}{n:03}": position() for plane in TUNES for n in range(1, MONITORS + 1)}
    | {f"{kind}{n:02}": kick() for kind in PLANES for n in range(1, MAGNETS + 1)},
)


def main() -> None:
    """Serve until Ctrl-C."""
    ioc_options, run_options = ioc_arg_parser(
        default_prefix="orbit:", desc="The orbit of a storage ring, and magnets that correct it."
    )
    run(OrbitIOC(**ioc_options), **run_options)


if __name__ == "__main__":
    main()
