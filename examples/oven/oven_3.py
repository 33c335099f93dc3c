"""An oven, step 3: limits, alarms, and writes that are refused."""
from caproto import AlarmSeverity, AlarmStatus
from caproto.server import PVGroup, Refused, ioc_arg_parser, pvproperty, run


# begin-group
class Oven(PVGroup):
    """An oven with a heater, a door, and a sensor that may break."""

    temperature = pvproperty(
        value=20.0, units="C", precision=1, read_only=True,
        upper_warning_limit=200.0, upper_alarm_limit=240.0,
    )
    setpoint = pvproperty(
        value=20.0, units="C", precision=1, lower_ctrl_limit=20.0, upper_ctrl_limit=250.0
    )
    period = pvproperty(
        value=0.1, units="s", precision=2, lower_ctrl_limit=0.01, upper_ctrl_limit=10.0
    )
    heater = pvproperty(value=False, enum_strings=("Off", "On"))
    door = pvproperty(value=False, enum_strings=("Closed", "Open"))
    sensor = pvproperty(value=True, enum_strings=("Broken", "Good"))

    @heater.putter
    def heater(self, instance, value):
        """Heat only while the door is closed."""
        if value and self.door.text == "Open":
            raise Refused("the door is open")

    @door.putter
    def door(self, instance, value):
        """Switch the heater off when the door is opened."""
        if value:
            self.heater.write("Off")

    @temperature.scan(period=period)
    def temperature(self, instance):
        """Come a tenth closer to the setpoint, or to that of the room."""
        if self.sensor.text == "Broken":
            instance.write(status=AlarmStatus.READ, severity=AlarmSeverity.INVALID_ALARM)
            return
        target = self.setpoint.value if self.heater.text == "On" else 20.0
        instance.write(instance.value + 0.1 * (target - instance.value))
# end-group


if __name__ == "__main__":
    ioc_options, run_options = ioc_arg_parser(default_prefix="oven:", desc="An oven.")
    run(Oven(**ioc_options), **run_options)
