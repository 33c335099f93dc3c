"""An oven, step 1: one PV."""
from caproto.server import PVGroup, ioc_arg_parser, pvproperty, run


class Oven(PVGroup):
    """An oven with a temperature."""

    temperature = pvproperty(value=20.0, units="C", precision=1, doc="What the sensor measures.")


if __name__ == "__main__":
    ioc_options, run_options = ioc_arg_parser(default_prefix="oven:", desc="An oven.")
    run(Oven(**ioc_options), **run_options)
