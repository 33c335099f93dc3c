"""An oven, step 5: arrays, texts, values made on request, and a thread of its own."""
import time

import numpy

from caproto.server import ChannelChar, PVGroup, ioc_arg_parser, pvproperty, run


# begin-group
class Oven(PVGroup):
    """An oven that keeps a history and a log."""

    temperature = pvproperty(value=20.0, units="C", precision=1)
    history = pvproperty(value=numpy.full(100, 20.0), units="C", precision=1, read_only=True)
    recipe = pvproperty(value=[20.0], units="C", max_length=50, doc="Up to 50 temperatures.")
    message = pvproperty(value="", dtype=ChannelChar, max_length=256, read_only=True)
    uptime = pvproperty(value=0.0, units="s", precision=1, read_only=True)

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.started = time.monotonic()

    @uptime.getter
    def uptime(self, instance):
        """Return the value at the moment when a client reads it."""
        return time.monotonic() - self.started

    @history.startup
    def history(self, instance):
        """Take down the temperature ten times a second, until the server stops."""
        while not self.stopping.wait(0.1):
            instance.write(numpy.append(instance.value[1:], self.temperature.value))

    @recipe.putter
    def recipe(self, instance, values):
        """Say what was received; the temperatures are stored rounded."""
        self.message.write(f"a recipe of {len(values)} temperatures, up to {max(values):.1f} C")
        return numpy.round(values)
# end-group


if __name__ == "__main__":
    ioc_options, run_options = ioc_arg_parser(default_prefix="oven:", desc="An oven.")
    run(Oven(**ioc_options), **run_options)
