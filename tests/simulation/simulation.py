"""One run of a simulated world: a plan carried out, then healed, then judged."""
from __future__ import annotations

import gc
import logging
import math
import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from caproto import CLIENT, Beacon, Broadcaster, RepeaterConfirmResponse, RepeaterRegisterRequest
from caproto._environment import ClientConfiguration
from caproto.threading.client import Context

from .fate import Fate
from .invariants import INVARIANTS
from .network import BROADCAST, Address, Network
from .plan import CLIENT_HOST, NAME_SERVER, USERS, Plan
from .servers import BEACON_PORT, SEARCH_PORT
from .system import System, Thread, use
from .users import Users
from .world import START, World


class Violation(AssertionError):
    """An invariant does not hold.

    Attributes
    ----------
    invariant : str
        Its name.
    """

    def __init__(self, invariant: str, text: str) -> None:
        super().__init__(f"{invariant}: {text}")
        self.invariant = invariant


class _Complaints(logging.Handler):
    """Collects what the client reports as a defect of its own."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if record.exc_info and record.exc_info[1] is not None:
            text += f": {record.exc_info[1]!r}"
        self.texts.append(text)


class Simulation:
    """A world made of a plan.

    Parameters
    ----------
    plan : Plan
    verbose : bool
        Whether to keep a record of all that happens.
    """

    def __init__(self, plan: Plan, verbose: bool = False) -> None:
        self.plan = plan
        self.world = World(plan.seed, verbose)
        self.network = Network(self.world)
        self.system = System(self.world, self.network, plan.lines)
        self.fate = Fate(plan, self.system)
        self.complaints = _Complaints()
        self.users = Users(self.system, self.fate.servers)
        #: When the first bad thing happened, and when all was well again.
        self.trouble = self.well = math.inf
        self._repeater_runs = False
        self._registered: list[Address] = []

    @property
    def bound(self) -> float:
        """Seconds after which everything must be well again."""
        plan = self.plan
        return 2 * (plan.connection_timeout + 5.0) + 1.5 * plan.search_period + 20.0

    def run(self) -> None:
        """Carry the plan out.

        Raises
        ------
        Violation
            At the first sign of something wrong.
        """
        use(self.system)
        random.seed(self.plan.seed)  # the client asks it for a moment to search again
        with _quiet(self.complaints):
            self._run()

    def _run(self) -> None:
        world, plan = self.world, self.plan
        self.system.repeater = self._start_repeater
        world.watchers.append(self._check_each)
        world.at(START, self._in_thread, self._begin)
        world.run(START + 1e-2)
        for step in plan.steps:
            world.at(START + 0.02 + step.at, self._do, step.kind, step.arguments)
        world.run(START + 0.03 + plan.duration)
        self.fate.heal()
        self._in_thread(self._everything_on)
        world.run(world.now + self.bound)
        self.well = world.now
        if not self.users.closed:
            self._live_on()
        self._in_thread(self.context.disconnect)
        world.run(world.now + 10.0)
        self._check("over")

    def _live_on(self) -> None:
        """All must be well now, and stay so."""
        world = self.world
        self._check("healed")
        self._in_thread(self._rest)
        world.run(world.now + 5.0)
        self._check("resting")
        for name in self.plan.names:
            self.users.do("read", name, 5.0)
        world.run(world.now + 6.0)
        self._check("used again")

    def _in_thread(self, function: Any) -> None:
        self.system.start(Thread(function, "user"))

    def _begin(self) -> None:
        plan = self.plan
        servers = f"{NAME_SERVER[0]}:{NAME_SERVER[1]}" if plan.name_server else ""
        configuration = ClientConfiguration(
            addr_list=f"{BROADCAST}:{SEARCH_PORT}",
            auto_addr_list=False,
            name_servers=servers,
            conn_tmo=plan.connection_timeout,
            max_search_period=plan.search_period,
        )
        self.context = Context(
            configuration=configuration, host_name="client", client_name="simulation"
        )
        self.users.context = self.context

    def _do(self, kind: str, arguments: tuple[Any, ...]) -> None:
        """Carry out one step."""
        self.world.note(f"step {kind}{arguments}")
        if kind == "post":
            self._post(*arguments)
        elif kind in USERS:
            self.users.do(kind, *arguments)
        else:
            self.trouble = min(self.trouble, self.world.now)
            getattr(self.fate, kind)(*arguments)

    def _post(self, name: str, times: int) -> None:
        for server in self.fate.servers:
            if name in server.kinds:
                for _ in range(times):
                    server.post(name)

    def _everything_on(self) -> None:
        """End what users have done to themselves."""
        for watch in self.users.watches:
            watch.pause = 0.0
        for manager in self.context.circuit_managers.values():
            manager.events_on()

    def _rest(self) -> None:
        for pv in self.context.pvs.values():
            pv.go_idle()

    # --- the repeater of the client's host

    def _start_repeater(self) -> None:
        self._repeater_runs = True
        self.network.bind((CLIENT_HOST, BEACON_PORT), self._repeat)

    def _repeat(self, data: bytes, sender: Address) -> None:
        host, port = sender
        if host == CLIENT_HOST:
            assert data[:2] == bytes(RepeaterRegisterRequest("0.0.0.0"))[:2], (data, sender)
            if sender not in self._registered:
                self._registered.append(sender)
            confirmation = bytes(RepeaterConfirmResponse(host))
            self.network.send(confirmation, (CLIENT_HOST, BEACON_PORT), sender)
            return
        for command in Broadcaster(CLIENT).recv(data, sender):
            assert isinstance(command, Beacon)
            address = host if command.address == "0.0.0.0" else command.address
            beacon = Beacon(command.version, command.server_port, command.beacon_id, address)
            for client in self._registered:
                self.network.send(bytes(beacon), (CLIENT_HOST, BEACON_PORT), client)

    # --- judgement

    def _check_each(self) -> None:
        """After each event."""
        for text in self.system.failures:
            raise Violation("threads do not fail", text)
        for invariant, text in self.users.violations:
            raise Violation(invariant, text)

    def _check(self, when: str) -> None:
        for name, (moment, invariant) in INVARIANTS.items():
            if moment == when:
                for text in invariant(self):
                    raise Violation(name, text)


@contextmanager
def _quiet(complaints: logging.Handler) -> Iterator[None]:
    """Collect complaints, print nothing."""
    logger = logging.getLogger("caproto")
    before = logger.handlers[:], logger.propagate, logger.level
    logger.handlers[:] = [complaints]
    logger.propagate = False
    logger.setLevel(logging.WARNING)
    gc.disable()  # finalizers would run at moments that are not drawn from the seed
    try:
        yield
    finally:
        gc.enable()
        logger.handlers[:], logger.propagate = before[0], before[1]
        logger.setLevel(before[2])
