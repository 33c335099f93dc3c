"""Read many PVs, only a few of which are connected at any time. Needs the types_and_enums IOC.

Usage: python go_idle.py [NAME ...]
"""
import sys

from caproto.threading.client import Context

AT_A_TIME = 3
NAMES = sys.argv[1:] or [
    f"types:{name}"
    for name in ("double", "float", "long", "short", "char", "string", "enum", "switch")
]


# begin-few
def read_few_at_a_time(ctx, names):
    """Read all of *names*, with at most `AT_A_TIME` channels open."""
    values = {}
    for start in range(0, len(names), AT_A_TIME):
        few = ctx.get_pvs(*names[start : start + AT_A_TIME])
        try:
            for pv in few:
                values[pv.name] = pv.read().value
            print(ctx)
        finally:
            for pv in few:
                pv.go_idle()
    return values
# end-few


def main():
    # begin-again
    with Context() as ctx:
        for name, value in read_few_at_a_time(ctx, NAMES).items():
            print(name, value)
        print(ctx)
        # A PV that is idle connects again by itself.
        pv = ctx.pvs[NAMES[0], 0]
        print(pv)
        pv.read()
        print(pv)
        # One that has a callback ignores the request.
        sub = pv.subscribe()
        sub.add_callback(print_update)
        pv.go_idle()
        print("with a callback:", "connected" if pv.connected else "idle")
        sub.clear()
        pv.go_idle()
        print("without:", "connected" if pv.connected else "idle")
    # end-again


def print_update(response):
    print("update:", response.value)


if __name__ == "__main__":
    main()
