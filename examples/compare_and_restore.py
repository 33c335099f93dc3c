"""Save the settings of many magnets, see what has changed later, and restore them.

Usage: python compare_and_restore.py FILE
Demo IOC: python -m caproto.ioc_examples.orbit
"""
import sys

from caproto.threading.client import Context, TableSnapshot

NAMES = [f"orbit:{kind}{number:02}" for kind in "hv" for number in range(1, 26)]

if len(sys.argv) != 2:
    sys.exit(__doc__)
path = sys.argv[1]

with Context() as ctx:
    table = ctx.table(NAMES)
    before = table.read()
    before.save(path)
    print(f"{before.ok.sum()} of {len(before)} magnets are saved in {path}")

    # A day of work: someone changes three of them.
    ctx.write({"orbit:h03": 0.25, "orbit:h04": -0.1, "orbit:v20": 0.05})

    saved = TableSnapshot.load(path)
    print(saved.diff(table.read(), atol=1e-6))

    done = table.restore(saved)
    print(f"{done.ok.sum()} were written, {len(done.errors)} failed")
    print(saved.diff(table.read()))
