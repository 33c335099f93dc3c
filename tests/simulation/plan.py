"""What is to happen in one simulated world, drawn from a seed: plain data, so that it can be cut.

A `Plan` says who is there and holds the steps of users and of fate, each with its moment. What the
network does to single packets is not in it, but drawn while it runs, from the same seed.
"""
from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

#: Seconds of virtual time in which things happen; after that all is healed.
SHORTEST, LONGEST = 20.0, 120.0
#: What PVs are, the frequent ones more than once.
_KINDS = (*["double"] * 5, *["integers"] * 2, *["string"] * 2, "large")
CLIENT_HOST = "10.0.0.100"
NAME_SERVER = ("10.0.0.90", 5064)


class Step(NamedTuple):
    """One thing that happens."""

    #: Seconds after the start.
    at: float
    #: Which: a key of `USERS` or `FATE`.
    kind: str
    arguments: tuple[Any, ...]

    def __str__(self) -> str:
        return f"{self.at:9.3f} {self.kind}{self.arguments}"


@dataclass(frozen=True)
class Plan:
    """A world and what happens in it.

    Attributes
    ----------
    seed : int
    servers : tuple of ((str, int), dict)
        Address of each, and what it serves: names and kinds.
    name_server : bool
        Whether the client knows one.
    connection_timeout, search_period : float
        As in EPICS_CA_CONN_TMO and EPICS_CA_MAX_SEARCH_PERIOD.
    duration : float
    lines : bool
        Whether threads lose the processor between any two lines, not only where they ask for locks
        or for the system. That is slow.
    steps : tuple of Step
        In the order of time.
    """

    seed: int
    servers: tuple[tuple[tuple[str, int], dict[str, str]], ...]
    name_server: bool
    connection_timeout: float
    search_period: float
    duration: float
    lines: bool
    steps: tuple[Step, ...]

    @property
    def names(self) -> list[str]:
        """Every name that is served."""
        return sorted({name for _, kinds in self.servers for name in kinds})

    def with_steps(self, steps: Sequence[Step]) -> Plan:
        return dataclasses.replace(self, steps=tuple(steps))


def priority_of(name: str) -> int:
    """The priority with which users get a PV: there are two circuits to most servers."""
    return 10 * (name[-1] in "1357")


def draw(seed: int) -> Plan:
    """The plan of a seed."""
    return _Drawing(seed).plan()


class _Drawing:
    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.chance = random.Random(f"plan {seed}")
        self.steps: list[Step] = []
        self.unlucky = 0
        self.number = 0  # of the latest write: each is another one

    def plan(self) -> Plan:
        chance = self.chance
        self.servers = self._servers()
        self.served = sorted({name for _, kinds in self.servers for name in kinds})
        self.names = [*self.served, "nobody:has:this"]
        self.duration = chance.uniform(SHORTEST, LONGEST)
        self.name_server = chance.random() < 0.35
        self._add("get", 0.0, tuple(chance.sample(self.names, chance.randint(1, len(self.names)))))
        for _ in range(chance.choice((5, 15, 40, 80))):
            self._draw_one(USERS)
        for _ in range(chance.choice((0, 1, 3, 6, 12))):
            self._draw_one(FATE)
        if chance.random() < 0.1:
            self._add("disconnect", chance.uniform(0.0, self.duration))
        return Plan(
            self.seed,
            tuple(self.servers),
            self.name_server,
            chance.choice((4.0, 10.0, 30.0)),
            chance.choice((60.0, 100.0)),
            self.duration,
            self.seed % 40 == 39,
            tuple(sorted(self.steps)),
        )

    def _servers(self) -> list[tuple[tuple[str, int], dict[str, str]]]:
        chance = self.chance
        servers = []
        for number in range(chance.choice((1, 1, 2, 3))):
            kinds = {
                f"s{number}:x{index}": chance.choice(_KINDS)
                for index in range(chance.choice((1, 2, 4, 8)))
            }
            servers.append(((f"10.0.0.{number + 1}", 5064), kinds))
        return servers

    def _draw_one(self, table: dict[str, tuple[int, Callable[[_Drawing], Any]]]) -> None:
        kinds = list(table)
        (kind,) = self.chance.choices(kinds, [table[kind][0] for kind in kinds])
        # Steps come in bursts: some at the same moment as the one before, some soon after it.
        how = self.chance.random()
        if self.steps and how < 0.6:
            at = self.steps[-1].at + (0.01 if how < 0.3 else 20.0) * self.chance.random()
        else:
            at = self.chance.uniform(0.0, self.duration)
        result = table[kind][1](self)
        self._add(kind, min(at, self.duration), *result)

    def _add(self, kind: str, at: float, *arguments: Any) -> None:
        self.steps.append(Step(round(at, 4), kind, arguments))

    # --- arguments

    def name(self) -> str:
        return self.chance.choice(self.names if self.chance.random() < 0.1 else self.served)

    def some_names(self) -> tuple[str, ...]:
        return tuple(self.chance.sample(self.names, self.chance.randint(1, len(self.names))))

    def server(self) -> int:
        """Misfortunes seldom come singly."""
        if self.chance.random() < 0.5:
            self.unlucky = self.chance.randrange(len(self.servers))
        return self.unlucky

    def timeout(self) -> float:
        return self.chance.choice((0.05, 1.0, 2.0, 10.0, 60.0))

    def next_number(self) -> int:
        self.number += 1
        return 1_000_000 + self.number

    def seconds(self) -> float:
        """How long something bad lasts: often short, at times longer than any watchdog."""
        longest = self.chance.choice((0.1, 1.0, 5.0, 20.0, 60.0))
        return round(longest * self.chance.random() + 0.01, 3)

    def share(self) -> float:
        return self.chance.choice((0.05, 0.3, 0.7, 1.0))

    def operations(self) -> tuple[tuple[str, str, int], ...]:
        """What a batch does: reads (number 0) and writes."""
        return tuple(
            ("write", name, self.next_number()) if self.chance.random() < 0.5 else ("read", name, 0)
            for name in (self.name() for _ in range(self.chance.randint(1, 6)))
        )


def _odd(d: _Drawing) -> tuple[str, ...]:
    return tuple(d.chance.sample(("good", "late", "twice", "stray"), d.chance.randint(1, 3)))


Table = dict[str, tuple[int, Callable[[_Drawing], tuple[Any, ...]]]]

#: What users do: how often, and with which arguments.
USERS: Table = {
    "get": (2, lambda d: (d.some_names(),)),
    "read": (8, lambda d: (d.name(), d.timeout())),
    "write": (6, lambda d: (d.name(), d.next_number(), d.chance.choice(("wait", "quiet")),
                            d.timeout())),
    "batch": (2, lambda d: (d.operations(), d.timeout())),
    "read_many": (2, lambda d: (d.some_names(), d.timeout())),
    "write_many": (1, lambda d: (tuple((n, d.next_number()) for n in d.some_names()), d.timeout())),
    "subscribe": (6, lambda d: (d.name(), d.chance.randrange(3))),
    "unsubscribe": (3, lambda d: (d.name(), d.chance.randrange(3))),
    "idle": (3, lambda d: (d.name(),)),
    "slow": (2, lambda d: (d.name(), d.chance.choice((0.0, 0.01, 1.0, 7.0)))),
    "post": (15, lambda d: (d.name(), d.chance.choice((1, 1, 1, 3, 40)))),
    "disconnect": (0, lambda d: ()),  # drawn apart: once at most
    "events": (1, lambda d: (d.name(), d.chance.random() < 0.5)),
}

#: What happens to them.
FATE: Table = {
    "weather": (3, lambda d: (d.share(), d.share(), d.share(), d.seconds())),
    "fragments": (1, lambda d: (d.seconds(),)),
    "slow_host": (2, lambda d: (d.server(), d.chance.choice((0.1, 1.0, 4.0)), d.seconds())),
    "cable": (2, lambda d: (d.server(), d.seconds())),
    "our_cable": (1, lambda d: (d.seconds(),)),
    "kill": (3, lambda d: (d.server(), d.seconds(), d.chance.choice(("same", "port", "host",
                                                                      "kinds")))),
    "power": (2, lambda d: (d.server(), d.seconds())),
    "freeze": (3, lambda d: (d.server(), d.seconds())),
    "reset": (3, lambda d: (d.server(),)),
    "refuse": (1, lambda d: (d.server(), d.seconds())),
    "firewall": (1, lambda d: (d.server(), d.seconds())),
    "odd_replies": (2, lambda d: (d.server(), _odd(d), d.seconds())),
    "rights": (2, lambda d: (d.name(), d.chance.randrange(4), d.seconds())),
    "give_up": (1, lambda d: (d.name(),)),
    "no_channel": (1, lambda d: (d.name(), d.seconds())),
    "slow_puts": (1, lambda d: (d.server(), d.chance.choice((0.1, 3.0)), d.seconds())),
    "name_server_off": (1, lambda d: (d.seconds(),)),
    "forged_beacon": (2, lambda d: (d.server(), d.chance.randrange(1 << 16))),
    "no_descriptors": (1, lambda d: (d.seconds(),)),
    "no_threads": (1, lambda d: (d.seconds(),)),
}
