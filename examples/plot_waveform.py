"""Plot a waveform while it changes.

Usage: python plot_waveform.py [PICTURE]; instead of a window, it may save one picture in a file
Demo IOC: python -m caproto.ioc_examples.waveform
"""
import sys
from collections import deque

import matplotlib.pyplot as plt
from matplotlib.animation import FuncAnimation

from caproto.threading.client import Context

latest = deque(maxlen=1)  # the newest response that is not drawn yet


def draw(frame):
    """Draw the newest response; matplotlib calls this in the main thread."""
    if latest:
        line.set_ydata(latest.pop().value)
    return [line]


with Context() as ctx:
    wave = ctx.get_pv("waveform:wave")
    figure, axes = plt.subplots()
    (line,) = axes.plot(wave.read().value)
    axes.set(title=wave.name, xlabel="element", ylabel=wave.metadata.units)
    if len(sys.argv) > 1:
        figure.savefig(sys.argv[1])
    else:
        subscription = wave.subscribe()
        subscription.add_callback(latest.append, strong=True)
        animation = FuncAnimation(figure, draw, interval=100, blit=True, cache_frame_data=False)
        plt.show()  # until the window is closed
