"""Find out when a value was measured, by the clock of its server.

Demo IOC: python -m caproto.ioc_examples.random_walk
"""
import queue
from datetime import datetime, timezone

from caproto.threading.client import Context

updates = queue.SimpleQueue()

with Context() as ctx:
    x, dt = ctx.get_pvs("random_walk:x", "random_walk:dt")

    # The time comes with the value if you ask for it. (ctx.read and pv.info do so by themselves.)
    stamp = x.read(data_type="time").metadata.stamp
    print("exact:   ", stamp)
    print("datetime:", stamp.as_datetime())
    print("local:   ", stamp.as_datetime().astimezone().isoformat(" ", "milliseconds"))
    print("numpy:   ", stamp.as_datetime64())
    print("POSIX:   ", f"{stamp.timestamp:.3f}")
    age = datetime.now(timezone.utc) - stamp.as_datetime()
    print("age:     ", f"{age.total_seconds():.1f} s")

    # The time between updates.
    dt.write(0.5)
    x.subscribe(data_type="time").add_callback(updates.put, strong=True)
    stamps = [updates.get(timeout=10).metadata.stamp for _ in range(4)]
    for earlier, later in zip(stamps, stamps[1:]):
        print(f"after {later.timestamp - earlier.timestamp:.3f} s")
