"""Write every update of some PVs to a CSV file, until Ctrl-C.

Usage: python log_to_csv.py FILE PV [PV ...]
Demo IOC: python -m caproto.ioc_examples.random_walk
"""
import csv
import queue
import sys

from caproto.threading.client import Context

if len(sys.argv) < 3:
    sys.exit(__doc__)
path, names = sys.argv[1], sys.argv[2:]
updates = queue.SimpleQueue()


def collect(subscription, response):
    """Pass an update on; this runs in a thread of the client."""
    updates.put((subscription.pv.name, response))


with Context() as ctx, open(path, "a", newline="") as file:
    log = csv.writer(file)
    if file.tell() == 0:
        log.writerow(["time", "name", "value", "severity"])
    for pv in ctx.get_pvs(*names):
        pv.subscribe(data_type="time").add_callback(collect)
    print(f"Logging to {path}; Ctrl-C ends it.", flush=True)
    try:
        while True:
            name, response = updates.get()
            about = response.metadata
            log.writerow([about.stamp, name, response.value, about.severity.name])
            file.flush()
    except KeyboardInterrupt:
        print("Done.")
