"""An oven, step 6: several of them in a laboratory, with names from the command line."""
from caproto.server import PVGroup, SubGroup, get_pv_pair_wrapper, ioc_arg_parser, pvproperty, run

# begin-groups
pair = get_pv_pair_wrapper(readback_suffix="_RBV")


class Oven(PVGroup):
    """One oven."""

    temperature = pvproperty(value=20.0, units="C", precision=1, read_only=True)
    setpoint = pair(value=20.0, units="C", precision=1)
    label = pvproperty(value="an oven", name="{kind}:label")

    def __init__(self, *args, speed, **kwargs):
        super().__init__(*args, **kwargs)
        self.speed = speed

    @temperature.scan(period=0.1)
    def temperature(self, instance):
        """Come closer to the setpoint."""
        difference = self.setpoint.readback.value - instance.value
        instance.write(instance.value + self.speed * difference)


class Laboratory(PVGroup):
    """Two ovens, and what they have in common."""

    left = SubGroup(Oven, speed=0.1)
    right = SubGroup(Oven, speed=0.5, prefix="R:")
    hottest = pvproperty(value=20.0, units="C", precision=1, read_only=True)

    @right.temperature.startup
    def right(self, instance):
        """Begin at another temperature; *self* is the oven."""
        instance.write(30.0)

    @hottest.scan(period=0.1)
    def hottest(self, instance):
        """Compare the ovens."""
        ovens = (self.left, self.right)
        instance.write(max(oven.temperature.value for oven in ovens))
# end-groups


# begin-main
if __name__ == "__main__":
    ioc_options, run_options = ioc_arg_parser(
        default_prefix="lab:", desc="Two ovens.", macros={"kind": "electric"}
    )
    run(Laboratory(**ioc_options), **run_options)
# end-main
