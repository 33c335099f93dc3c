"""What seeds have found, made small: each of these plans has failed once."""
from __future__ import annotations

from .plan import Plan, Step


def _plan(
    *steps: tuple[float, str, tuple[object, ...]],
    connection_timeout: float = 4.0,
    name_server: bool = False,
) -> Plan:
    """A world with one server, in which little happens."""
    return Plan(
        seed=0,
        servers=((("10.0.0.1", 5064), {"s0:x0": "double"}),),
        name_server=name_server,
        connection_timeout=connection_timeout,
        search_period=60.0,
        duration=steps[-1][0] + 40.0,
        lines=False,
        steps=tuple(Step(*step) for step in steps),
    )


FOUND: dict[str, Plan] = {
    # The callbacks of the first circuit were still at work, and told old values after new ones.
    "a server comes back on another port while callbacks are slow": _plan(
        (1.0, "subscribe", ("s0:x0", 1)),
        (2.0, "slow", ("s0:x0", 7.0)),
        (5.0, "post", ("s0:x0", 40)),
        (10.0, "kill", (0, 5.0, "port")),
        (50.0, "slow", ("s0:x0", 0.0)),
    ),
    # The same for the second callback of one update.
    "a server comes back on another port during the first of two callbacks": _plan(
        (1.0, "subscribe", ("s0:x0", 1)),
        (2.0, "subscribe", ("s0:x0", 1)),
        (5.0, "slow", ("s0:x0", 7.0)),
        (10.0, "post", ("s0:x0", 1)),
        (11.0, "kill", (0, 1.0, "port")),
        (50.0, "slow", ("s0:x0", 0.0)),
    ),
    # With the connection silent nothing was sent any more, and nothing told that it was gone.
    "a silent server is restarted with its host": _plan(
        (1.0, "get", (("s0:x0",),)),
        (5.0, "freeze", (0, 40.0)),
        (20.0, "power", (0, 1.0)),
    ),
    # No further update came, and only a further one would have asked for the thread again.
    "there is no thread for the callbacks of a circuit when it begins": _plan(
        (5.0, "read", ("s0:x0", 2.0)),
        (10.0, "kill", (0, 2.0, "port")),
        (10.1, "power", (0, 40.0)),
        (45.0, "no_threads", (15.0,)),
        (56.0, "subscribe", ("s0:x0", 1)),
        connection_timeout=30.0,
        name_server=True,
    ),
    # Not a defect: a callback waits as long as there is no thread for it.
    "there is no thread for the callbacks of a batch until after its timeout": _plan(
        (5.0, "write", ("s0:x0", 1000001, "wait", 2.0)),
        (10.0, "reset", (0,)),
        (10.006, "no_threads", (13.0,)),
        (10.2, "batch", ((("write", "s0:x0", 1000002),), 10.0)),
    ),
    # The read came after the request and did not count, because the write before it took long.
    "a PV is used again while its last operation before going idle lasts": _plan(
        (1.0, "slow_puts", (0, 3.0, 20.0)),
        (2.0, "write", ("s0:x0", 1000001, "wait", 10.0)),
        (3.0, "idle", ("s0:x0",)),
        (4.0, "read", ("s0:x0", 2.0)),
    ),
    # The wish was forgotten, and no update ever came again.
    "events on while the server does not respond": _plan(
        (1.0, "subscribe", ("s0:x0", 1)),
        (5.0, "freeze", (0, 30.0)),
        (6.0, "events", ("s0:x0", False)),
        (20.0, "events", ("s0:x0", True)),
        (40.0, "post", ("s0:x0", 1)),
    ),
}
