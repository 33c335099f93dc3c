"""An oven, step 2: something happens."""
from caproto.server import PVGroup, ioc_arg_parser, pvproperty, run


# begin-group
class Oven(PVGroup):
    """An oven that gets as hot as it is set."""

    temperature = pvproperty(value=20.0, units="C", precision=1, read_only=True)
    setpoint = pvproperty(value=20.0, units="C", precision=1)
    period = pvproperty(value=0.1, units="s", precision=2, doc="Between two measurements.")

    @temperature.scan(period=period)
    def temperature(self, instance):
        """Come a tenth closer to the setpoint."""
        difference = self.setpoint.value - instance.value
        instance.write(instance.value + 0.1 * difference)
# end-group


if __name__ == "__main__":
    ioc_options, run_options = ioc_arg_parser(default_prefix="oven:", desc="An oven.")
    run(Oven(**ioc_options), **run_options)
