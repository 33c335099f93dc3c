# mypy: disable-error-code="no-redef"
"""An IOC with alarms: by limits, by the state of an enum, and of a sensor that fails.

===================  ==============================================================
alarms:temperature   rises and falls through all its limits, in 40 steps
alarms:period        seconds between two steps
alarms:pressure      writable; its limits: low 0.5, high 2 (minor), 3 (major)
alarms:door          Closed or Open; open is a minor alarm
alarms:cable         Plugged or Unplugged
alarms:sensor        at the end of this cable: its value is invalid when unplugged
===================  ==============================================================
"""
from __future__ import annotations

from caproto import AlarmSeverity, AlarmStatus
from caproto.server import ChannelData, PVGroup, ioc_arg_parser, pvproperty, run


class AlarmsIOC(PVGroup):
    """Things that can go wrong."""

    period = pvproperty(value=0.2, units="s", precision=3)
    temperature = pvproperty(
        value=50.0, units="degC", precision=1, read_only=True,
        lower_alarm_limit=10.0, lower_warning_limit=20.0,
        upper_warning_limit=80.0, upper_alarm_limit=90.0,
        lower_disp_limit=0.0, upper_disp_limit=100.0,
    )
    pressure = pvproperty(
        value=1.0, units="bar", precision=2,
        lower_warning_limit=0.5, upper_warning_limit=2.0, upper_alarm_limit=3.0,
        lower_disp_limit=0.0, upper_disp_limit=4.0,
        lower_ctrl_limit=0.0, upper_ctrl_limit=4.0,
    )
    door = pvproperty(value=0, dtype=bool, enum_strings=("Closed", "Open"))
    cable = pvproperty(value=1, dtype=bool, enum_strings=("Unplugged", "Plugged"))
    sensor = pvproperty(value=21.5, units="degC", precision=1, read_only=True)

    rising = True

    @temperature.scan(period=period)
    def temperature(self, instance: ChannelData) -> None:
        value = instance.value + (5.0 if self.rising else -5.0)
        if value in (0.0, 100.0):
            self.rising = not self.rising
        instance.write(value)

    @door.putter
    def door(self, instance: ChannelData, value: int) -> None:
        if value:
            instance.write(value, status=AlarmStatus.STATE, severity=AlarmSeverity.MINOR_ALARM)
        else:
            instance.write(value, status=AlarmStatus.NO_ALARM, severity=AlarmSeverity.NO_ALARM)

    @cable.putter
    def cable(self, instance: ChannelData, value: int) -> None:
        if value:
            self.sensor.write(21.5, status=AlarmStatus.NO_ALARM, severity=AlarmSeverity.NO_ALARM)
        else:  # the value stays what it was when it was last measured
            self.sensor.write_metadata(
                status=AlarmStatus.COMM, severity=AlarmSeverity.INVALID_ALARM
            )


def main() -> None:
    """Serve until Ctrl-C."""
    ioc_options, run_options = ioc_arg_parser(
        default_prefix="alarms:", desc="Alarms of several kinds."
    )
    run(AlarmsIOC(**ioc_options), **run_options)


if __name__ == "__main__":
    main()
