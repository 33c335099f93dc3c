"""What to do when callbacks are slower than the updates. Needs the random_walk IOC."""
import threading
import time

from caproto.threading.client import Context


def draw(value):
    """Something slow: a plot, a file on a network drive, a fit."""
    time.sleep(0.05)


# begin-every
def every_update(x):
    """Simply be slow: the updates wait, in order, and none is lost."""
    drawn = []

    def on_update(response):
        draw(response.value)
        drawn.append(response.value)

    sub = x.subscribe()
    sub.add_callback(on_update)
    time.sleep(1.0)
    print(f"every update: {len(drawn)} drawn, {x.circuit_manager.backlog} bytes are waiting")
    sub.clear()
# end-every


# begin-latest
class Latest:
    """Hand only the latest value from a callback to another thread."""

    def __init__(self):
        self._arrived = threading.Event()
        self._response = None

    def on_update(self, response):
        """Keep *response*; this is the callback, and it never takes long."""
        self._response = response
        self._arrived.set()

    def wait(self, timeout=None):
        """Return the latest response that has not been returned yet, or None at the timeout."""
        if not self._arrived.wait(timeout):
            return None
        self._arrived.clear()  # before the value is taken: what comes now is seen next time
        return self._response


def latest_only(x):
    """Draw in a thread of our own, always the latest value; skip what is out of date."""
    latest = Latest()
    sub = x.subscribe()
    sub.add_callback(latest.on_update)
    drawn = 0
    end = time.monotonic() + 1.0
    while time.monotonic() < end:
        response = latest.wait(timeout=1.0)
        if response is not None:
            draw(response.value)
            drawn += 1
    print(f"latest only: {drawn} drawn, {x.circuit_manager.backlog} bytes are waiting")
    sub.clear()
# end-latest


# begin-hold
def hold(x):
    """Ask the server to hold the updates while they are of no use."""
    values = []

    def on_update(response):
        values.append(response.value)

    sub = x.subscribe()
    sub.add_callback(on_update)
    time.sleep(0.5)
    x.circuit_manager.events_off()  # for all PVs on this circuit
    time.sleep(0.2)  # what was under way arrives
    before = len(values)
    time.sleep(0.5)
    print(f"held: {len(values) - before} updates in half a second")
    x.circuit_manager.events_on()  # the newest value comes at once, then the updates go on
    time.sleep(0.5)
    print(f"on again: {len(values) - before} updates in half a second")
    print("pauses:", x.circuit_manager.pauses)
    sub.clear()
# end-hold


# begin-workers
def several_workers():
    """Let slow callbacks of several PVs run side by side."""
    done = threading.Barrier(3)

    def on_update(response):
        time.sleep(0.5)
        done.wait()

    with Context(max_workers=2) as ctx:
        pvs = ctx.get_pvs("random_walk:x", "random_walk:dt")
        for pv in pvs:
            pv.wait_for_connection()
        start = time.monotonic()
        for pv in pvs:
            pv.subscribe().add_callback(on_update)
        done.wait(timeout=10)
        elapsed = time.monotonic() - start
    print(f"two callbacks of half a second each were done after {elapsed:.1f} s")
# end-workers


def main():
    with Context() as ctx:
        x, dt = ctx.get_pvs("random_walk:x", "random_walk:dt")
        period = dt.read().value
        dt.write(0.01)  # a hundred updates a second
        every_update(x)
        latest_only(x)
        hold(x)
        dt.write(period)
    several_workers()


if __name__ == "__main__":
    main()
