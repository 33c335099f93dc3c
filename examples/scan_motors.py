"""Scan two motors over a grid: move both at once, wait until they are there, read the detector.

Demo IOC: python -m caproto.ioc_examples.motors
"""
from caproto.threading.client import Context

X, Y, DETECTOR = "motor:x", "motor:y", "motor:detector"
best = (0.0, 0.0, 0.0)

with Context() as ctx:
    try:
        print("     x      y  counts")
        for y in (-3, -2, -1):
            for x in (0, 1, 2):
                # The writes return when both motors have arrived, or after 30 s.
                results = ctx.write({X: x, Y: y}, timeout=30)
                for error in results.errors.values():
                    raise error
                places = ctx.read(X + ".RBV", Y + ".RBV", DETECTOR).to_dict()
                print("{:6.2f} {:6.2f} {:7.1f}".format(*places.values()))
                best = max(best, (places[DETECTOR], x, y))
    except BaseException:  # also Ctrl-C
        ctx.write({X + ".STOP": 1, Y + ".STOP": 1})
        raise
    counts, x, y = best
    ctx.write({X: x, Y: y}, timeout=30)
    print(f"most at x = {x}, y = {y}: {counts:.1f}")
