"""An oven, step 4: a write that takes as long as what it does, and can be stopped."""
import threading

from caproto.server import PVGroup, Refused, ioc_arg_parser, pvproperty, run


# begin-group
class Oven(PVGroup):
    """An oven; a write to ``goto`` ends when the temperature is reached."""

    temperature = pvproperty(value=20.0, units="C", precision=1, read_only=True)
    setpoint = pvproperty(value=20.0, units="C", precision=1, read_only=True)
    goto = pvproperty(
        value=20.0, units="C", precision=1, lower_ctrl_limit=20.0, upper_ctrl_limit=250.0
    )
    busy = pvproperty(value=False, enum_strings=("Done", "Busy"), read_only=True)
    stop = pvproperty(value=0)

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.stopped = threading.Event()

    @goto.putter
    def goto(self, instance, value):
        """Set the temperature, and wait until it is reached."""
        self.stopped.clear()
        self.setpoint.write(value)
        self.busy.write("Busy")
        try:
            while abs(self.temperature.value - value) > 0.5:
                if self.stopped.wait(0.02) or self.stopping.is_set():
                    raise Refused("stopped")
        finally:
            self.busy.write("Done")

    @stop.putter
    def stop(self, instance, value):
        """End a ``goto``, and stay at the present temperature."""
        self.setpoint.write(self.temperature.value)
        self.stopped.set()
        return 0

    @temperature.scan(period=0.1)
    def temperature(self, instance):
        """Come a tenth closer to the setpoint."""
        instance.write(instance.value + 0.1 * (self.setpoint.value - instance.value))
# end-group


if __name__ == "__main__":
    ioc_options, run_options = ioc_arg_parser(default_prefix="oven:", desc="An oven.")
    run(Oven(**ioc_options), **run_options)
