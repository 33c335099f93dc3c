"""A notebook as a script: each ``# %%`` begins a cell. Needs the random_walk IOC, and Jupyter."""
# %% connect
from caproto.threading.client import Context

ctx = Context()
x, dt = ctx.get_pvs("random_walk:x", "random_walk:dt")
dt.wait_for_connection()
dt
# %% read
dt.read(data_type="control")
# %% info
dt.info()
# %% write
dt.write(0.2)
dt.read().value
# %% show
from IPython.display import display

shown = display("waiting for an update", display_id=True)


def show(response):
    """Replace what is shown below the cell."""
    shown.update(response)


sub = x.subscribe(data_type="time")
token = sub.add_callback(show)
# %% collect
values = []


def collect(response):
    values.append(response.value)


token = sub.add_callback(collect)
# %% look
len(values)
# %% loop
import time

try:
    while True:
        print(f"{x.read().value:.3f}", end=" ", flush=True)
        time.sleep(0.2)
except KeyboardInterrupt:
    print("stopped")
# %% wait
dt.read(timeout=5).value
# %% end
ctx.disconnect()
ctx
