"""Use the client from asyncio: read, write, and iterate over updates. Needs the random_walk IOC."""
import asyncio
import contextlib

from caproto.threading.client import Context


# begin-call
async def call(function, *arguments, **options):
    """Run a call that waits, such as ``pv.read``, in a thread; the event loop goes on."""
    return await asyncio.to_thread(function, *arguments, **options)
# end-call


# begin-updates
async def updates(pv, **options):
    """Yield the updates of *pv*; if the loop is slow, only the latest of those that wait.

    *options* are those of ``pv.subscribe``.
    """
    loop = asyncio.get_running_loop()
    latest = None
    arrived = asyncio.Event()

    def arrive(response):  # in the event loop
        nonlocal latest
        latest = response
        arrived.set()

    def on_update(response):  # in a thread of the client
        with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
            loop.call_soon_threadsafe(arrive, response)

    sub = pv.subscribe(**options)
    token = sub.add_callback(on_update)
    try:
        while True:
            await arrived.wait()
            arrived.clear()
            yield latest
    finally:
        sub.remove_callback(token)
# end-updates


# begin-watch
async def watch(pv, count):
    """Print *count* updates, then stop."""
    async with contextlib.aclosing(updates(pv)) as responses:
        async for response in responses:
            print(pv.name, response.value)
            count -= 1
            if not count:
                break
# end-watch


# begin-completion
async def put(pv, value, timeout=60.0):
    """Write and wait for completion, without a thread that waits; return the status."""
    loop = asyncio.get_running_loop()
    reply = loop.create_future()

    def on_reply(response):  # in a thread of the client, once: also after a refusal or the timeout
        with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
            loop.call_soon_threadsafe(arrive, response)

    def arrive(response):  # in the event loop
        if not reply.done():
            reply.set_result(response)

    await call(pv.write, value, wait=False, callback=on_reply, timeout=timeout)
    return (await reply).status
# end-completion


# begin-main
async def main(ctx):
    x, dt = ctx.get_pvs("random_walk:x", "random_walk:dt")  # does not wait
    response = await call(dt.read, timeout=5)
    print("period:", response.value)
    print("written:", (await put(dt, 0.1)).name)
    await asyncio.gather(watch(x, 3), watch(dt, 1))
    await call(dt.write, response.value)


if __name__ == "__main__":
    with Context() as ctx:
        asyncio.run(main(ctx))
# end-main
