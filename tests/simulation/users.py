"""What users do with the client, each in a thread of its own, and what becomes of it.

`Users` has one method for each kind of step in `plan.USERS`. Whatever ends is held against what
must hold of it at once; what can only be judged in the end is kept.
"""
from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from caproto import AccessRights, CaprotoError, CaprotoTimeoutError, CaprotoTypeError
from caproto.threading.client import PV, Batch, Context, Subscription

from .plan import priority_of
from .servers import Server, number_of
from .system import System, Thread

#: Seconds that a call may take beyond its timeout, waiting for the processor.
SLACK = 0.1
#: What an error says of the server, or of the search for it.
_WHERE = re.compile(r"\d+\.\d+\.\d+\.\d+:\d+|search")
#: What a subscription can be.
WAYS: tuple[dict[str, Any], ...] = (
    {}, {"data_type": "time"}, {"data_type": "time", "mask": 1},
)


@dataclass
class Operation:
    """A read or write of a user."""

    what: str
    name: str
    number: int
    begun: float
    timeout: float
    outcomes: list[str] = field(default_factory=list)
    error: CaprotoError | None = None
    ended: float = math.inf

    def __str__(self) -> str:
        return f"{self.what} of {self.name} ({self.number}, timeout {self.timeout})"


@dataclass
class Watch:
    """A callback of a subscription, and what it was told."""

    name: str
    way: int
    subscription: Subscription
    callback: Any = None
    token: Any = None
    wanted: bool = True
    numbers: list[int] = field(default_factory=list)
    pause: float = 0.0  # how long each callback takes


class Users:
    """All users of one Context.

    Attributes
    ----------
    violations : list of (str, str)
        What must not be, as name of the invariant and text.
    operations : list of Operation
    watches : list of Watch
    states : dict of str to list of str
        What the connection state callbacks have told.
    rights : dict of str to AccessRights
        What the access rights callbacks have told last.
    """

    def __init__(self, system: System, servers: list[Server]) -> None:
        self.system, self.world = system, system.world
        self.context: Context
        self.servers = servers
        self.violations: list[tuple[str, str]] = []
        self.operations: list[Operation] = []
        self.watches: list[Watch] = []
        self.states: dict[str, list[str]] = {}
        self.rights: dict[str, AccessRights] = {}
        self.resting: set[str] = set()  # asked to go idle, and not used since
        self.held: set[str] = set()  # PVs by which events were switched off
        self.pauses: list[tuple[float, float]] = []  # of slow callbacks
        self.closed = False

    def do(self, kind: str, *arguments: Any) -> None:
        """Begin a step, in a thread of its own."""
        function = getattr(self, kind)
        thread = Thread(lambda: self._guarded(kind, function, arguments), f"user {kind}")
        self.system.start(thread)

    def _guarded(self, kind: str, function: Callable[..., None], arguments: Any) -> None:
        try:
            function(*arguments)
        except CaprotoError as error:
            # Without threads or descriptors, or after the end, a call may fail, if it says so.
            if not (self.system.no_threads or self.system.no_descriptors or self.closed):
                self.violate("calls succeed", f"{kind}{arguments} raised {error!r}")

    def violate(self, invariant: str, text: str) -> None:
        self.world.note(f"violation: {invariant}: {text}")
        self.violations.append((invariant, text))

    def pv(self, name: str) -> PV:
        """The PV; whoever comes first has its states told."""
        callback = None
        if name not in self.states:
            self.states[name] = []
            callback = self._state_changed
        return self.context.get_pvs(
            name, priority=priority_of(name), connection_state_callback=callback,
            access_rights_callback=None if callback is None else self._rights_changed,
        )[0]

    # --- steps

    def get(self, names: tuple[str, ...]) -> None:
        for priority in sorted(set(map(priority_of, names))):
            group = [name for name in names if priority_of(name) == priority]
            new = [name for name in group if name not in self.states]
            self.states.update((name, []) for name in new)
            if new:
                self.context.get_pvs(
                    *new, priority=priority, connection_state_callback=self._state_changed,
                    access_rights_callback=self._rights_changed,
                )
            for name, pv in zip(group, self.context.get_pvs(*group, priority=priority)):
                if pv is not self.context.pvs[name, priority]:
                    self.violate("one PV for each name", name)

    def read(self, name: str, timeout: float) -> None:
        operation = self._begin("read", name, 0, timeout)
        try:
            response = self.pv(name).read(timeout=timeout)
        except CaprotoError as error:
            self._failed(operation, error)
        else:
            self._ended(operation, str(self._known(name, response)))

    def write(self, name: str, number: int, how: str, timeout: float) -> None:
        operation = self._begin("write", name, number, timeout)
        try:
            self.pv(name).write(self._value(name, number), wait=how == "wait", timeout=timeout)
        except CaprotoError as error:
            self._failed(operation, error)
        else:
            self._ended(operation, "written" if how == "wait" else "sent")

    def batch(self, parts: tuple[tuple[str, str, int], ...], timeout: float) -> None:
        operations = [
            self._begin(f"batch {what}", name, number, timeout) for what, name, number in parts
        ]
        try:
            with Batch(timeout=timeout) as batch:
                for operation in operations:
                    pv = self.pv(operation.name)
                    tell = self._teller(operation)
                    if operation.what == "batch read":
                        batch.read(pv, tell)
                    else:
                        value = self._value(operation.name, operation.number)
                        batch.write(pv, value, tell)
        except CaprotoError as error:
            self.world.note(f"batch: {error}")
        for operation in operations:
            if self.world.now > operation.begun + timeout + SLACK:
                self.violate("timeouts are kept", f"batch with {operation}")

    def _teller(self, operation: Operation) -> Callable[[Any], None]:
        def tell(response: Any) -> None:
            if operation.what == "batch read" and response.status.success:
                self._known(operation.name, response)
            self._ended(operation, f"told {response.status.name}")

        return tell

    def read_many(self, names: tuple[str, ...], timeout: float) -> None:
        names = self._first_circuit(names)
        operations = [self._begin("many read", name, 0, timeout) for name in names]
        for operation, result in zip(operations, self._many(names, timeout), strict=True):
            if isinstance(result, CaprotoError):
                self._failed(operation, result)
            else:
                self._ended(operation, str(self._known(operation.name, result)))

    def write_many(self, parts: tuple[tuple[str, int], ...], timeout: float) -> None:
        numbers = dict(parts)
        names = self._first_circuit(numbers)
        values = {name: self._value(name, numbers[name]) for name in names}
        operations = [self._begin("many write", name, numbers[name], timeout) for name in names]
        for operation, result in zip(operations, self._many(values, timeout), strict=True):
            if isinstance(result, CaprotoError):
                self._failed(operation, result)
            else:
                self._ended(operation, "written")

    def _first_circuit(self, names: Iterable[str]) -> tuple[str, ...]:
        """Those of *names* that `Context.read` reads as we do; their states are told."""
        found = tuple(name for name in names if priority_of(name) == 0)
        for name in found:
            self.pv(name)
        return found

    def _many(self, what: tuple[str, ...] | dict[str, Any], timeout: float) -> list[Any]:
        try:
            if isinstance(what, dict):
                return list(self.context.write(what, timeout=timeout).values())
            return list(self.context.read(*what, timeout=timeout).values())
        except CaprotoError as error:  # the Context is closed
            return [type(error)(f"{name}: {error}; search") for name in what]

    def subscribe(self, name: str, way: int) -> None:
        """Add one more callback."""
        subscription = self.pv(name).subscribe(**WAYS[way])
        watch = Watch(name, way, subscription)
        watch.callback = self._updater(watch)
        self.resting.discard(name)
        watch.token = subscription.add_callback(watch.callback)
        self.resting.discard(name)
        self.watches.append(watch)

    def unsubscribe(self, name: str, way: int) -> None:
        """Remove the oldest callback that is there."""
        for watch in self.watches:
            if watch.wanted and (watch.name, watch.way) == (name, way):
                watch.wanted = False
                watch.subscription.remove_callback(watch.token)
                break

    def idle(self, name: str) -> None:
        self.resting.add(name)
        self.pv(name).go_idle()
        self.resting.add(name)  # what began meanwhile may have come before or after it

    def slow(self, name: str, pause: float) -> None:
        for watch in self.watches:
            if watch.name == name:
                watch.pause = pause

    def events(self, name: str, on: bool) -> None:
        manager = self.pv(name).circuit_manager
        if manager is not None:
            (manager.events_on if on else manager.events_off)()
            (self.held.discard if on else self.held.add)(name)

    def disconnect(self) -> None:
        self.closed = True
        self.context.disconnect()

    # --- what becomes of it

    def _begin(self, what: str, name: str, number: int, timeout: float) -> Operation:
        operation = Operation(what, name, number, self.world.now, timeout)
        self.operations.append(operation)
        self.resting.discard(name)
        return operation

    def _ended(self, operation: Operation, outcome: str) -> None:
        self.world.note(f"{operation}: {outcome}")
        operation.outcomes.append(outcome)
        operation.ended = self.world.now
        if len(operation.outcomes) > 1:
            self.violate("an operation ends once", f"{operation}: {operation.outcomes}")
        limit = operation.begun + operation.timeout
        waited = self._held_up_since(limit) if operation.what == "batch write" else 0.0
        if self.world.now > limit + waited + SLACK:
            took = self.world.now - operation.begun
            self.violate("timeouts are kept", f"{operation} ended after {took:.2f} s")

    def _held_up_since(self, moment: float) -> float:
        """How long callbacks waited since *moment*, for slow ones or for a thread."""
        held_up = (*self.pauses, *self.system.threadless)
        return sum(max(0.0, end - max(begin, moment)) for begin, end in held_up)

    def _failed(self, operation: Operation, error: CaprotoError) -> None:
        operation.error = error
        self._ended(operation, f"{type(error).__name__}: {error}")
        if self.closed:
            return
        if operation.name not in str(error) and not isinstance(error, CaprotoTypeError):
            self.violate("errors name the PV", f"{operation}: {error!r}")
        elif not _WHERE.search(str(error)) and not isinstance(error, CaprotoTypeError):
            self.violate("errors name phase and server", f"{operation}: {error!r}")
        took = self.world.now - operation.begun
        if isinstance(error, CaprotoTimeoutError) and took < operation.timeout - SLACK:
            self.violate("timeouts are kept", f"{operation} gave up after {took:.2f} s")

    def _value(self, name: str, number: int) -> Any:
        """*number* in the form that the channel takes now, as far as we can know."""
        channel = self.pv(name).channel
        native = None if channel is None else channel.native_data_type
        return str(number) if native is not None and native.name == "STRING" else number

    def _known(self, name: str, response: Any) -> int:
        """The number in a response, which the PV must have had."""
        number = number_of(response.strings if response.data_type in (0, 14) else response.data)
        if not any(number in server.history.get(name, ()) for server in self.servers):
            self.violate("values are those of the server", f"{name}: {number}")
        return number

    def _updater(self, watch: Watch) -> Callable[[Any, Any], None]:
        def update(subscription: Any, response: Any) -> None:
            number = self._known(watch.name, response)
            self.world.note(f"update {watch.name} {watch.way}: {number}")
            watch.numbers.append(number)
            if watch.pause:
                self.pauses.append((self.world.now, self.world.now + watch.pause))
                self.system.sleep(watch.pause)

        return update

    def _rights_changed(self, pv: PV, rights: AccessRights) -> None:
        self.world.note(f"{pv.name} has {rights!r}")
        self.rights[pv.name] = rights

    def _state_changed(self, pv: PV, state: str) -> None:
        self.world.note(f"{pv.name} is {state}")
        self.states[pv.name].append(state)
