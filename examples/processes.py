"""Use the client in several processes: each makes a Context of its own. Needs the random_walk IOC.

Usage: python processes.py [spawn|forkserver|fork]
"""
import multiprocessing
import os
import sys

from caproto.threading.client import Context, ContextDisconnectedError

NAMES = ["random_walk:x", "random_walk:dt"]


# begin-workers
def start_client():
    """Make the Context of this process; called once in each."""
    global ctx
    ctx = Context()


def read(name):
    """Read a PV by its name; runs in a child process."""
    (pv,) = ctx.get_pvs(name)
    return name, pv.read(timeout=10).value, os.getpid()


def main(method):
    processes = multiprocessing.get_context(method)
    with processes.Pool(2, initializer=start_client) as pool:
        for name, value, pid in pool.map(read, NAMES):
            where = "in a child" if pid != os.getpid() else "here"
            print(f"{name} is {value}, read {where}")
        pool.close()
        pool.join()  # so that the children close their Contexts
# end-workers


# begin-fork
def use_inherited(parents_pv, results):
    """Use what a fork has copied; it refuses to work, in words."""
    try:
        parents_pv.read()
    except ContextDisconnectedError as error:
        results.put(str(error))


def fork_with_a_context():
    with Context() as ctx:
        (dt,) = ctx.get_pvs("random_walk:dt")
        dt.read()
        processes = multiprocessing.get_context("fork")
        results = processes.SimpleQueue()
        child = processes.Process(target=use_inherited, args=(dt, results))
        child.start()
        print("in the child:", results.get())
        child.join()
        print("in the parent:", dt.read().value)
# end-fork


if __name__ == "__main__":
    method = sys.argv[1] if len(sys.argv) > 1 else "spawn"
    main(method)
    if method == "fork":
        fork_with_a_context()
