"""Show which PVs are in alarm now, then each change of their alarms, until Ctrl-C.

Usage: python watch_alarms.py PV [PV ...]
Demo IOC: python -m caproto.ioc_examples.alarms
"""
import queue
import sys

from caproto.threading.client import Context

changes = queue.SimpleQueue()


def collect(subscription, response):
    """Pass a change on; this runs in a thread of the client."""
    changes.put((subscription.pv.name, response))


def show(name, response):
    """Print one line."""
    alarm = response.metadata
    print(f"{name} = {response.text}: {alarm.severity.name} {alarm.status.name}", flush=True)


names = sys.argv[1:] or sys.exit(__doc__)
with Context() as ctx:
    # "control" brings the names of the states of enums, too; later responses show them.
    for name, result in ctx.read(*names, data_type="control").items():
        if isinstance(result, Exception):
            print(result)
        elif result.metadata.severity:
            show(name, result)

    print("Watching; Ctrl-C ends it.", flush=True)
    for pv in ctx.get_pvs(*names):
        pv.subscribe(data_type="status", mask="alarm").add_callback(collect)
    try:
        while True:
            show(*changes.get())
    except KeyboardInterrupt:
        print("Done.")
