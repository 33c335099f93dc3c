"""What must hold: a table of named checks, each of which yields what is wrong.

``healed``: everything that was bad is over for as long as it may take to be well again.
``resting``: soon after every PV that nobody has subscribed to was asked to go idle.
``used again``: after that every PV was read.
``over``: the Context was disconnected.
"""
from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from caproto import AccessRights, CaprotoTypeError

from .plan import priority_of
from .servers import Server, number_of

if TYPE_CHECKING:
    from .simulation import Simulation

Check = Callable[["Simulation"], Iterator[str]]


def _server_of(simulation: Simulation, name: str) -> Server | None:
    """Where a PV is."""
    for server in simulation.fate.servers:
        if server.running and name in server.kinds:
            return server
    return None


def every_operation_ends(simulation: Simulation) -> Iterator[str]:
    for operation in simulation.users.operations:
        if not operation.outcomes and not operation.what.startswith("batch"):
            yield f"{operation} has not ended"


def no_write_twice(simulation: Simulation) -> Iterator[str]:
    received = Counter(
        entry for server in simulation.fate.servers for entry in server.received
    )
    for (name, number), times in received.items():
        if times > 1:
            yield f"{number} was written {times} times to {name}"


def confirmed_writes_arrived(simulation: Simulation) -> Iterator[str]:
    received = {entry for server in simulation.fate.servers for entry in server.received}
    for operation in simulation.users.operations:
        good = operation.outcomes in (["written"], ["told ECA_NORMAL"])
        if operation.number and good:
            if (operation.name, operation.number) not in received:
                yield f"{operation} was confirmed and has not arrived"


def good_times_are_good(simulation: Simulation) -> Iterator[str]:
    """Before anything bad has happened, and when it is long over, operations succeed."""
    for operation in simulation.users.operations:
        good = operation.ended < simulation.trouble or operation.begun > simulation.well
        served = _server_of(simulation, operation.name) is not None
        if good and served and operation.timeout >= 1.0 and operation.error is not None:
            if not isinstance(operation.error, CaprotoTypeError):  # of text or number
                yield f"{operation} failed in good times: {operation.error!r}"


def what_is_served_is_connected(simulation: Simulation) -> Iterator[str]:
    for (name, _), pv in simulation.context.pvs.items():
        server = _server_of(simulation, name)
        if server is None:
            if pv.connected:
                yield f"{pv} is connected"
        elif not pv.connected and name not in simulation.users.resting:
            yield f"{pv} is not connected: {simulation.context.explain(pv)}"
        elif pv.connected and pv.circuit_manager.circuit.address != server.address:
            yield f"{pv} is connected to {pv.circuit_manager}, not to {server.address}"


def idle_pvs_are_idle(simulation: Simulation) -> Iterator[str]:
    wanted = {watch.name for watch in simulation.users.watches if watch.wanted}
    for (name, _), pv in simulation.context.pvs.items():
        searched = simulation.context.explain(pv).search.status is not None
        if (pv.connected or searched) and name not in wanted:
            yield f"{pv} was asked to go idle"


def wish_and_wire_agree(simulation: Simulation) -> Iterator[str]:
    subscriptions = {(w.name, w.way) for w in simulation.users.watches if w.wanted}
    wanted = Counter(
        name for name, _ in subscriptions if _server_of(simulation, name) is not None
    )
    there = Counter(
        name
        for server in simulation.fate.servers
        for connection in server.connections
        for name in connection.subscriptions()
    )
    if wanted != there:
        yield f"too few: {dict(wanted - there)}, too many: {dict(there - wanted)}"


def last_values_arrive(simulation: Simulation) -> Iterator[str]:
    for watch in simulation.users.watches:
        server = _server_of(simulation, watch.name)
        if watch.wanted and server is not None:
            value = number_of(server.pvs[watch.name].value)
            if watch.numbers[-1:] != [value]:
                yield f"{watch.name} is {value}, the callback was told {watch.numbers[-3:]}"


def order_is_kept(simulation: Simulation) -> Iterator[str]:
    for watch in simulation.users.watches:
        for server in simulation.fate.servers:
            if watch.name not in server.kinds or watch.name in server.refreshed:
                continue
            place = {number: index for index, number in enumerate(server.history[watch.name])}
            places = [place[number] for number in watch.numbers if number in place]
            if places != sorted(places):
                yield f"{watch.name}: the values came in the order {watch.numbers}"


def states_alternate(simulation: Simulation) -> Iterator[str]:
    for name, states in simulation.users.states.items():
        # Whoever asks when the PV is known already is told the present state, too.
        if any(state == after for state, after in zip(states, states[1:])):
            yield f"{name}: {states}"
        pv = simulation.context.pvs[name, priority_of(name)]
        if pv.connected != (states[-1:] == ["connected"]):
            yield f"{name} was last told {states[-1:]}, and connected is {pv.connected}"


#: What may be reported as an error: the host has no more threads or descriptors.
_SCARCITY = ("can't start new thread", "Too many open files")


def rights_are_known(simulation: Simulation) -> Iterator[str]:
    for (name, _), pv in simulation.context.pvs.items():
        told = simulation.users.rights.get(name)
        if pv.connected and not told == pv.access_rights == AccessRights(3):
            yield f"{pv}: the callback was told {told!r}"


def no_complaints(simulation: Simulation) -> Iterator[str]:
    for text in simulation.complaints.texts:
        if not any(words in text for words in _SCARCITY):
            yield text
    yield from simulation.system.failures


def circuits_are_few(simulation: Simulation) -> Iterator[str]:
    managers = simulation.context.circuit_managers
    used = {pv.circuit_manager for pv in simulation.context.pvs.values()}
    for manager in managers.values():
        if manager not in used:
            yield f"{manager} serves no PV"
    connections = sum(len(server.connections) for server in simulation.fate.servers)
    if connections > len(managers):
        yield f"{connections} connections for {len(managers)} circuits"


def nothing_waits_in_tables(simulation: Simulation) -> Iterator[str]:
    for manager in simulation.context.circuit_managers.values():
        if manager.circuit.pending:
            yield f"{manager} still waits for {manager.circuit.pending}"
        if manager.backlog:
            yield f"{manager} has a backlog of {manager.backlog}"


def what_runs_is_bounded(simulation: Simulation) -> Iterator[str]:
    circuits = len(simulation.context.circuit_managers)
    # For each circuit a reader and a callback thread; searches, name server, those of earlier
    # circuits that have just ended.
    threads = [thread.name for thread in simulation.system.threads]
    if len(threads) > 2 * circuits + 4:
        yield f"{len(threads)} threads for {circuits} circuits: {threads}"
    waiting = simulation.world.waiting
    if waiting > 100:
        yield f"{waiting} events are still to come"


def nothing_is_left(simulation: Simulation) -> Iterator[str]:
    for thread in simulation.system.threads:
        yield f"thread {thread.name!r} has not ended"
    for fd, sock in simulation.system.sockets.items():
        yield f"socket {fd} {sock.getsockname()} is open"
    for server in simulation.fate.servers:
        if server.connections:
            yield f"{server.address} still has {len(server.connections)} clients"


#: Name, moment and check, in this order.
INVARIANTS: dict[str, tuple[str, Check]] = {
    "operations succeed in good times": ("used again", good_times_are_good),
    "what is served is connected": ("healed", what_is_served_is_connected),
    "wish and wire agree": ("healed", wish_and_wire_agree),
    "last values arrive": ("healed", last_values_arrive),
    "the order of the wire is kept": ("healed", order_is_kept),
    "states alternate": ("healed", states_alternate),
    "access rights are known": ("healed", rights_are_known),
    "circuits are few": ("healed", circuits_are_few),
    "nothing waits in tables": ("healed", nothing_waits_in_tables),
    "idle PVs are idle": ("resting", idle_pvs_are_idle),
    "no circuit without PVs": ("resting", circuits_are_few),
    "threads and timers are few": ("used again", what_runs_is_bounded),
    "all is connected again": ("used again", what_is_served_is_connected),
    "no defect shows in the log": ("over", no_complaints),
    "every operation ends": ("over", every_operation_ends),
    "no write is sent twice": ("over", no_write_twice),
    "confirmed writes have arrived": ("over", confirmed_writes_arrived),
    "nothing is left": ("over", nothing_is_left),
}
