"""Read and write many PVs at once.

Demo IOC: python -m caproto.ioc_examples.settings
"""
import queue

from caproto.threading.client import Batch, Context

NAMES = [f"settings:{name}" for name in ("exposure", "gain", "mode", "sample", "region")]

with Context() as ctx:
    # Read them all. Each result is a response, or the exception that says why there is none.
    results = ctx.read(*NAMES)
    for name, response in results.items():
        print(f"{name} = {response.value}")

    # Write them all, and wait until all writes are complete.
    ctx.write({"settings:gain": 4, "settings:sample": "silver", "settings:region": [8, 8, 64, 48]})
    print(ctx.read("settings:gain", "settings:sample").to_dict())

    # Some may fail: the others are done nevertheless.
    results = ctx.read("settings:gain", "settings:typo", timeout=1)
    print("ok:", results.ok)
    for name, error in results.errors.items():
        print(f"{name}: {type(error).__name__}")

    # Send requests without waiting; each response goes to a function, in a thread of the client.
    answers = queue.SimpleQueue()
    with Batch() as batch:
        for pv in ctx.get_pvs(*NAMES):
            batch.read(pv, answers.put)
    print([answers.get(timeout=2).text for _ in NAMES])
