"""Say where PVs are served, and why one is not found.

Usage: python where.py NAME [NAME ...]
"""
import sys
import time

from caproto.threading.client import Context


def main(names, patience=2.0):
    with Context() as ctx:
        print("searched at:", *(f"{host}:{port}" for host, port in destinations(ctx)))
        pvs = ctx.get_pvs(*names)
        deadline = time.monotonic() + patience
        while not all(pv.connected for pv in pvs) and time.monotonic() < deadline:
            time.sleep(0.05)
        for pv in pvs:
            if pv.connected:
                host, port = pv.circuit_manager.address
                print(f"{pv.name}: {host}:{port}")
            else:
                print(ctx.explain(pv))
        return 0 if all(pv.connected for pv in pvs) else 1


def destinations(ctx):
    """Where this client asks for PVs: by UDP, then name servers by TCP."""
    return [*ctx.configuration.search_addresses(), *ctx.configuration.name_servers]


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    sys.exit(main(sys.argv[1:]))
