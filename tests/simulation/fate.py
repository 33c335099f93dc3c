"""What happens to servers, hosts and the network: one method for each kind of step in `plan.FATE`.

Whatever lasts is undone when its time is over, and by `Fate.heal`: then every server runs, and the
network is a good one.
"""
from __future__ import annotations

import functools
from collections.abc import Callable

from caproto import AccessRights, Beacon
from caproto.server import ChannelData
from caproto.threading.client._circuit import THREAD_RETRY

from .network import Weather
from .plan import CLIENT_HOST, NAME_SERVER, Plan
from .servers import BEACON_PORT, KINDS, NameServer, Server
from .system import System
from .world import Event


class Fate:
    """The servers of a plan, and everything that is done to them.

    Attributes
    ----------
    servers : list of Server
    name_server : NameServer or None
    """

    def __init__(self, plan: Plan, system: System) -> None:
        self.world, self.network = system.world, system.network
        self.servers = [Server(self.world, self.network, *entry) for entry in plan.servers]
        self.name_server: NameServer | None = None
        if plan.name_server:
            self.name_server = NameServer(
                self.world, self.network, NAME_SERVER, self.servers
            )
            self.name_server.start()
        self.system = system
        self._undo: list[tuple[Event, Callable[[], None]]] = []
        for server in self.servers:
            server.start()

    def heal(self) -> None:
        """End everything that is bad."""
        for event, undo in self._undo:
            if event.function is not None:
                event.cancel()
                undo()
        self._undo.clear()
        self.world.note("healed")

    def _for(self, seconds: float, undo: Callable[[], None]) -> None:
        self._undo.append((self.world.after(seconds, undo), undo))

    # --- the network

    def weather(self, loss: float, doubling: float, delay: float, seconds: float) -> None:
        fragments = self.network.weather.fragments
        self.network.weather = Weather(loss, doubling, delay, fragments=fragments)
        self._for(seconds, self._good_weather)

    def _good_weather(self) -> None:
        self.network.weather = Weather(fragments=self.network.weather.fragments)

    def fragments(self, seconds: float) -> None:
        self.network.weather.fragments = True
        self._for(seconds, self._whole)

    def _whole(self) -> None:
        self.network.weather.fragments = False

    def slow_host(self, number: int, latency: float, seconds: float) -> None:
        host = self.servers[number].address[0]
        self.network.slow[host] = latency
        self._for(seconds, lambda: self.network.slow.pop(host, None))

    def cable(self, number: int, seconds: float) -> None:
        self._pull(self.servers[number].address[0], seconds)

    def our_cable(self, seconds: float) -> None:
        self._pull(CLIENT_HOST, seconds)

    def _pull(self, host: str, seconds: float) -> None:
        self.network.down.add(host)
        self._for(seconds, lambda: self.network.down.discard(host))

    def firewall(self, number: int, seconds: float) -> None:
        host = self.servers[number].address[0]
        self.network.closed.add(host)
        self._for(seconds, lambda: self.network.closed.discard(host))

    def forged_beacon(self, number: int, serial: int) -> None:
        host, port = self.servers[number].address
        beacon = Beacon(13, port, serial, host)
        self.network.send(bytes(beacon), ("10.0.0.66", 40000), (CLIENT_HOST, BEACON_PORT))

    # --- servers

    def kill(self, number: int, seconds: float, how: str) -> None:
        """The process ends; later it is there again, perhaps elsewhere or with other types."""
        server = self.servers[number]
        server.stop()
        self._for(seconds, lambda: self._restart(server, how))

    def _restart(self, server: Server, how: str) -> None:
        if server.running:
            return
        host, port = server.address
        if how == "port":
            server.address = host, port + 1
        elif how == "host":
            server.address = f"10.1{host[host.index('.', 3):]}", port
        elif how == "kinds":
            kinds = list(KINDS)
            for name, kind in server.kinds.items():
                server.kinds[name] = kinds[(kinds.index(kind) + 1) % len(kinds)]
        server.start()

    def power(self, number: int, seconds: float) -> None:
        """The host is gone without a word, and comes back with the process."""
        server = self.servers[number]
        host = server.address[0]
        server.stop(power=True)
        self.network.down.add(host)

        def back() -> None:
            self.network.down.discard(host)
            server.start()

        self._for(seconds, back)

    def freeze(self, number: int, seconds: float) -> None:
        server = self.servers[number]
        server.freeze(True)
        self._for(seconds, lambda: server.freeze(False))

    def reset(self, number: int) -> None:
        for connection in list(self.servers[number].connections):
            other = connection.stream.other
            if other is not None:
                other.cut_in_the_middle()

    def refuse(self, number: int, seconds: float) -> None:
        """It answers searches but takes no clients."""
        server = self.servers[number]
        self.network.stop_listening(server.address)
        self._for(seconds, server.listen)

    def rights(self, name: str, rights: int, seconds: float) -> None:
        """What clients may do with a PV changes."""
        for data in self._data(name):
            data.access_rights = AccessRights(rights)
            self._for(seconds, lambda: self._all_rights(name))

    def _all_rights(self, name: str) -> None:
        for data in self._data(name):
            data.access_rights = AccessRights(3)

    def _data(self, name: str) -> list[ChannelData]:
        return [s.pvs[name] for s in self.servers if s.running and name in s.pvs]

    def give_up(self, name: str) -> None:
        for server in self.servers:
            server.give_up(name)

    def no_channel(self, name: str, seconds: float) -> None:
        for server in self.servers:
            if name in server.kinds:
                server.refuse(name, True)
                self._for(seconds, functools.partial(server.refuse, name, False))

    def odd_replies(self, number: int, what: tuple[str, ...], seconds: float) -> None:
        server = self.servers[number]
        server.odd_replies = what
        self._for(seconds, lambda: setattr(server, "odd_replies", ()))

    def slow_puts(self, number: int, put_time: float, seconds: float) -> None:
        server = self.servers[number]
        server.put_time = put_time
        self._for(seconds, lambda: setattr(server, "put_time", 0.0))

    def name_server_off(self, seconds: float) -> None:
        if self.name_server is not None:
            self.name_server.stop()
            self._for(seconds, self.name_server.start)

    # --- our own host

    def no_descriptors(self, seconds: float) -> None:
        self.system.no_descriptors = True
        self._for(seconds, lambda: setattr(self.system, "no_descriptors", False))

    def no_threads(self, seconds: float) -> None:
        self.system.no_threads = True
        now = self.world.now
        self.system.threadless.append((now, now + seconds + THREAD_RETRY))
        self._for(seconds, lambda: setattr(self.system, "no_threads", False))
