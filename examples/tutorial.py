"""The tutorial of the threading client as a script: what a user types and what a user sees.

Start the demo IOC in one shell and this in another, or let ``make demo`` do both::

    python -m caproto.ioc_examples.random_walk
    python examples/tutorial.py

Any IOC will do that serves ``random_walk:dt`` (a period in seconds, writable) and
``random_walk:x`` (updated with that period). The script checks that everything happens as the
manual says, and ends with exit code 1 at the first thing that does not.
"""
from __future__ import annotations

import ctypes
import gc
import logging
import sys
import time

from caproto.threading.client import Context

STARTED = time.monotonic()


def title(text):
    print(f"\n--- {text}  [{time.monotonic() - STARTED:.1f} s]")


def show(typed, *result):
    """Print what was typed and, if there is one, what the prompt shows for its result."""
    print(f">>> {typed}")
    for value in result:
        print(repr(value))


def check(fact, text):
    """End with exit code 1 unless *fact* is true."""
    if not fact:
        sys.exit(f"NOT AS DESCRIBED: {text}")


def wait_until(condition, text, timeout=8.0):
    """Wait for a condition; end with exit code 1 if it does not come true."""
    deadline = time.monotonic() + timeout
    while not condition():
        check(time.monotonic() < deadline, f"{text} (waited {timeout:g} s)")
        time.sleep(0.01)


class Records(logging.Handler):
    """A list of what caproto logs during a ``with`` block."""

    def __enter__(self):
        self.records = []
        logging.getLogger("caproto").addHandler(self)
        return self.records

    def __exit__(self, *error):
        logging.getLogger("caproto").removeHandler(self)

    def emit(self, record):
        self.records.append(record)


def connect():
    title("Connect")
    ctx = Context()
    show("ctx = Context()")
    start = time.monotonic()
    x, dt = ctx.get_pvs("random_walk:x", "random_walk:dt")
    show("x, dt = ctx.get_pvs('random_walk:x', 'random_walk:dt')")
    check(time.monotonic() - start < 1, "get_pvs returns at once")
    show("dt", dt)
    show("ctx", ctx)
    check("random_walk:dt" in repr(dt), "a PV shows its name")
    dt.wait_for_connection(timeout=10)
    x.wait_for_connection(timeout=10)
    show("dt.wait_for_connection(); dt", dt)
    show("ctx", ctx)
    check(dt.connected and "connected" in repr(dt), "a PV shows that it is connected")
    check(ctx.get_pvs("random_walk:x") == [x], "the same name gives the same PV")
    return ctx, x, dt


def read_and_write(dt):
    title("Read and write")
    res = dt.read()
    show("res = dt.read(); res", res)
    show("bytes(res)", bytes(res))
    show("res.data", res.data)
    check(len(res.data) == 1 and res.data[0] > 0, "the period is one positive number")
    check(bytes(res)[16:].startswith(bytes(res.data)), "bytes(res) is what came over the wire")
    show("res.header", res.header)
    show("res.buffers", res.buffers)
    check(isinstance(res.header, ctypes.BigEndianStructure), "the header is a ctypes structure")
    check(b"".join(map(bytes, res.buffers)) == bytes(res)[16:], "the buffers are the payload")
    dt.write([1])
    show("dt.write([1])")
    check(dt.read().data[0] == 1, "what was written can be read back")
    show("dt.read().data", dt.read().data)


def subscribe(x):
    title("Subscribe")
    responses, values = [], []

    def f(response):
        responses.append(response)

    def g(response):
        values.append(response.data[0])

    sub = x.subscribe()
    token = sub.add_callback(f)
    show("sub = x.subscribe(); token = sub.add_callback(f); token", token)
    check(isinstance(token, int), "the token is an integer")
    sub.add_callback(g)
    show("sub.add_callback(g)")
    wait_until(lambda: len(values) >= 4, "x is updated every second")
    show("len(responses)", len(responses))
    show("values", values)
    seen = values[:]
    same = [response.data[0] for response in responses][-len(seen) :]
    check(same == seen, "both callbacks see the same values")

    sub.remove_callback(token)
    show("sub.remove_callback(token)")
    count, more = len(responses), len(values) + 2
    wait_until(lambda: len(values) >= more, "the second callback goes on without the first")
    check(len(responses) <= count + 1, "a callback that was removed is not called any more")

    sub.clear()
    show("sub.clear(); sub.callbacks", sub.callbacks)
    check(not sub.callbacks, "no callback is left")
    count = len(responses)
    sub.add_callback(f)
    show("sub.add_callback(f)")
    wait_until(lambda: len(responses) > count, "adding a callback again resumes the updates")

    title("Weak references")
    sub.clear()
    with Records() as records:
        sub.add_callback(lambda response: print(response.data))
        gc.collect()
        wait_until(lambda: records, "who falls into the trap is warned")
    show("sub.add_callback(lambda response: print(response.data)); sub.callbacks", sub.callbacks)
    print(records[0].getMessage())
    check(not sub.callbacks, "a lambda that nothing else refers to is dropped")
    check("random_walk:x" in records[0].getMessage(), "the warning names the PV")
    return sub, f


def idle(x, sub, f):
    title("Go idle")
    sub.clear()
    show("x", x)
    x.go_idle()
    wait_until(lambda: not x.connected, "an unused PV goes idle when asked")
    show("x.go_idle(); x", x)
    check("idle" in repr(x), "an idle PV says so")
    res = x.read()
    show("x.read()", res)
    show("x", x)
    check(x.connected, "a PV that is used connects again by itself")

    sub.add_callback(f)
    x.go_idle()
    time.sleep(0.2)  # nothing must happen, so there is nothing to wait for
    show("sub.add_callback(f); x.go_idle(); x", x)
    check(x.connected, "a PV with subscriptions ignores the request")
    sub.clear()


def loggers(ctx, x):
    title("Loggers")
    with Records() as records:
        x.read()
        check(not records, "the loggers are silent below WARNING")
        x.circuit_manager.log.setLevel("DEBUG")
        show("x.circuit_manager.log.setLevel('DEBUG'); x.read()")
        x.read()
        wait_until(lambda: len(records) >= 2, "the request and its response are logged")
        x.circuit_manager.log.setLevel("NOTSET")
    for record in records[:2]:
        print(record.getMessage())
    check(x.context.log is ctx.log, "a PV leads to its Context's logger")


def main():
    ctx, x, dt = connect()
    read_and_write(dt)
    sub, f = subscribe(x)
    idle(x, sub, f)
    loggers(ctx, x)
    ctx.disconnect()
    title("Everything as described")


if __name__ == "__main__":
    main()
