"""Get units, precision and limits of a PV.

Demo IOC: python -m caproto.ioc_examples.alarms
"""
from caproto.threading.client import Context

with Context() as ctx:
    pv = ctx.get_pv("alarms:pressure")
    pv.write(1)

    # Everything about the PV, for people.
    print(pv.info())

    # For programs: read once per connection, then from the cache.
    about = pv.metadata
    low, high = about.lower_ctrl_limit, about.upper_ctrl_limit
    print(f"can be set from {low:g} to {high:g} {about.units}")

    # A server may cut a value to the limits without an error: check first. Equal limits are none.
    for wanted in (2.5, 9.0):
        if low < high and not low <= wanted <= high:
            print(f"{wanted} {about.units} is beyond the limits")
        else:
            pv.write(wanted)
            print(f"{wanted} {about.units} written")
