"""Those who search, in tests: what they are told; and what a server would answer."""
from __future__ import annotations

import threading

import caproto as ca


class Listener:
    """Notes what it is told, and by which thread."""

    def __init__(self) -> None:
        self.told: list[tuple] = []
        self.threads: set[str] = set()
        self.heard: dict = {}

    def _note(self, *what) -> None:
        self.threads.add(threading.current_thread().name)
        self.told.append(what)

    def found(self, address, version, keys) -> None:
        self._note("found", address, version, list(keys))

    def found_elsewhere(self, key, first, second) -> None:
        self._note("again", key, first, second)

    def beacon(self, address, good) -> None:
        self._note("beacon", address, good)

    def searching(self) -> None:
        pass

    def last_heard(self):
        return self.heard

    @property
    def again(self) -> list:
        return [tuple(rest) for what, *rest in self.told if what == "again"]

    @property
    def keys(self) -> list:
        return sorted(key for what, *rest in self.told if what == "found" for key in rest[-1])


class Broken(Listener):
    """Fails a number of times in all that it is told."""

    def __init__(self, failures: int) -> None:
        super().__init__()
        self.failures = failures

    def _note(self, *what) -> None:
        if self.failures:
            self.failures -= 1
            raise ZeroDivisionError
        super()._note(*what)

    def searching(self) -> None:
        self._note("searching")


class Verdicts:
    """Stands for the table of beacons; the rhythm itself is tested with it."""

    def __init__(self, *verdicts) -> None:
        self.verdicts = list(verdicts)
        self.beacons: list[tuple] = []

    def heard(self) -> int:
        return len(self.beacons)

    def beacon(self, host, port, number, version, now):
        self.beacons.append((host, port, number, version))
        return self.verdicts.pop(0)


def configuration(*destinations, **options) -> ca.ClientConfiguration:
    options = {"auto_addr_list": False, "use_repeater": False, **options}
    return ca.ClientConfiguration(addr_list=destinations, **options)


def reply(search, port=5064, ip=None, version=13) -> ca.SearchResponse:
    return ca.SearchResponse(port, ip, search.cid, version)
