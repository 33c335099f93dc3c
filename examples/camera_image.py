"""Get images of an areaDetector camera, find the spot in each, and save the last one as a PNG.

Usage: python camera_image.py [PICTURE]
Demo IOC: python -m caproto.ioc_examples.camera
"""
import queue
import sys

import matplotlib.image

from caproto.threading.client import Context

plugin = "cam:image1:"
path = sys.argv[1] if len(sys.argv) > 1 else "spot.png"
images = queue.SimpleQueue()

with Context() as ctx:
    # areaDetector sends pixels row after row; their number in a row comes first.
    sizes = ctx.read(plugin + "ArraySize0_RBV", plugin + "ArraySize1_RBV")
    width, height = sizes.to_dict().values()
    print(f"{width} x {height} pixels")

    pixels = ctx.get_pv(plugin + "ArrayData")
    subscription = pixels.subscribe()
    subscription.add_callback(images.put, strong=True)
    for number in range(5):
        image = images.get(timeout=10).value[: width * height].reshape(height, width)
        row, column = divmod(int(image.argmax()), width)
        print(f"image {number}: brightest at x = {column}, y = {row}: {image[row, column]}")
    subscription.clear()

matplotlib.image.imsave(path, image, cmap="gray")
print("saved", path)
