"""Read captures of network traffic: the Channel Access commands in a pcap or pcapng file.

::

    from caproto.sync.shark import shark
    with open('traffic.pcap', 'rb') as file:
        for seen in shark(file):
            print(seen.timestamp, seen.src, seen.command)

It needs dpkt: ``pip install 'caproto[shark]'``. ``caproto-shark`` is the same as a command.
"""
from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import IO, Any

from .._addresses import Address
from .._environment import ClientConfiguration
from .._errors import CaprotoRuntimeError, CaprotoValueError, RemoteProtocolError
from .._numbers import counted
from .._protocol.broadcaster import extract_address
from .._protocol.commands import (
    CIRCUIT_COMMANDS,
    DATAGRAM_COMMANDS,
    Beacon,
    EventCancelResponse,
    Message,
    RepeaterConfirmResponse,
    SearchResponse,
)
from .._protocol.constants import REPEATER_PORT, SERVER_PORT
from .._protocol.framing import CIRCUIT_CONSTRUCTORS, Framer, read_datagram
from .._protocol.headers import HEADER
from .._protocol.reassembly import Gap, Reassembly
from .._protocol.roles import CLIENT, SERVER, Role
from .._typing import NamedTuple

__all__ = ["Seen", "shark"]

#: Payloads above this size are named and skipped: only wrong bytes announce them.
_MAX_PAYLOAD = 256 << 20
#: The message with which both sides begin a circuit: its command and its payload size are 0.
_VERSION = bytes(4)
#: A server cancels a subscription by an update without payload.
_EMPTY = {EventCancelResponse.ID: EventCancelResponse.from_wire}
#: Flags of TCP.
_FIN, _SYN, _RST, _ACK = 1, 2, 4, 16


class Seen(NamedTuple):
    """One command in a capture, or bytes that are none."""

    #: When the last of its packets was captured, in POSIX seconds.
    timestamp: float
    #: That packet: the layer of the link, IP, and TCP or UDP with the ports, as dpkt has them.
    ethernet: Any
    ip: Any
    transport: Any
    #: Addresses of the hosts that sent and received it.
    src: str
    dst: str
    #: The command; for wrong or missing bytes, the error that says so.
    command: Message | RemoteProtocolError


def shark(file: IO[bytes], *, server_ports: Iterable[int] = ()) -> Iterator[Seen]:
    """Yield the commands in a capture, in the order of the packets that complete them.

    What is not Channel Access is left out: it is recognized by the ports of servers and of the
    repeater, which search replies and beacons in the capture add to, and by the message that begins
    a circuit. Wrong and missing bytes are yielded as errors; reading goes on with the next packet.

    Parameters
    ----------
    file : binary file
        In the format pcap or pcapng; a pipe from ``tcpdump -w -`` will do.
    server_ports : iterable of int
        Ports of servers, besides 5064 and EPICS_CA_SERVER_PORT.

    Yields
    ------
    Seen

    Raises
    ------
    CaprotoRuntimeError
        If dpkt is not installed.
    CaprotoValueError
        If the file, or what follows the commands so far, is not a capture, or it has a kind of link
        that is not supported.
    """
    configuration = ClientConfiguration.from_environment()
    traffic = _Traffic(
        {SERVER_PORT, configuration.server_port, *server_ports},
        {REPEATER_PORT, configuration.repeater_port},
    )
    for timestamp, link, ip in _packets(file):
        transport, src, dst = ip.data, _host(ip.src), _host(ip.dst)
        for command in traffic.commands((src, transport.sport), (dst, transport.dport), transport):
            yield Seen(timestamp, link, ip, transport, src, dst, command)


def _packets(file: IO[bytes]) -> Iterator[tuple[float, Any, Any]]:
    """Yield the time, the packet and the part of IP of all packets with TCP or UDP."""
    try:
        import dpkt
    except ImportError:
        raise CaprotoRuntimeError(
            "reading captures needs the package dpkt: pip install 'caproto[shark]'"
        ) from None
    try:
        reader = dpkt.pcap.UniversalReader(file)
        link = reader.datalink()
    except (ValueError, dpkt.dpkt.Error) as error:
        raise CaprotoValueError(f"this is not a capture: {error}") from None
    links = {
        dpkt.pcap.DLT_EN10MB: dpkt.ethernet.Ethernet,
        dpkt.pcap.DLT_NULL: dpkt.loopback.Loopback,
        dpkt.pcap.DLT_LOOP: dpkt.loopback.Loopback,
        dpkt.pcap.DLT_LINUX_SLL: dpkt.sll.SLL,
        dpkt.pcap.DLT_LINUX_SLL2: dpkt.sll2.SLL2,
        dpkt.pcap.DLT_RAW: _Bare,
        101: _Bare,  # LINKTYPE_RAW, the number in files
    }
    if link not in links:
        raise CaprotoValueError(f"captures with a link of type {link} are not supported")
    parse = links[link] if links[link] is not _Bare else lambda data: _Bare(dpkt.ip.IP(data))
    for timestamp, data in _records(reader, dpkt.dpkt):
        try:
            packet = parse(data)
        except (dpkt.dpkt.Error, IndexError, ValueError):
            continue  # not whole: not something that a host has read either
        ip = packet.data
        if isinstance(ip, dpkt.ip.IP) and isinstance(ip.data, dpkt.tcp.TCP | dpkt.udp.UDP):
            yield float(timestamp), packet, ip


def _records(reader: Iterable[tuple[float, bytes]], errors: Any) -> Iterator[tuple[float, bytes]]:
    """Yield the times and packets that are whole; *errors* is the module with dpkt's exceptions."""
    try:
        yield from reader
    except errors.NeedData:
        return  # the capture was cut off, by a signal or a full disk
    except (errors.Error, ValueError) as error:
        raise CaprotoValueError(f"from here on this is not a capture: {error}") from None


class _Bare:
    """A packet of a link without headers."""

    def __init__(self, ip: Any) -> None:
        self.data = ip


def _host(packed: bytes) -> str:
    return ".".join(map(str, packed))


class _Traffic:
    """All conversations in a capture."""

    def __init__(self, server_ports: set[int], repeater_ports: set[int]) -> None:
        self._server_ports = server_ports
        self._repeater_ports = repeater_ports
        self._directions: dict[tuple[Address, Address], _Direction] = {}

    def commands(
        self, src: Address, dst: Address, transport: Any
    ) -> list[Message | RemoteProtocolError]:
        """Return the commands that a packet completes."""
        if hasattr(transport, "seq"):
            return self._segment(src, dst, transport)
        return self._datagram(src, dst, bytes(transport.data))

    # ---- UDP

    def _datagram(
        self, src: Address, dst: Address, data: bytes
    ) -> list[Message | RemoteProtocolError]:
        role = self._speaker_of_datagram(src, dst, data)
        if role is None:
            return []
        commands, error = read_datagram(data, src, role)
        for command in commands:
            if isinstance(command, SearchResponse | Beacon):
                self._server_ports.add(extract_address(command)[1])
        return [*commands, error] if error is not None else [*commands]

    def _speaker_of_datagram(self, src: Address, dst: Address, data: bytes) -> Role | None:
        """Tell who sent it; None if it is not Channel Access."""
        first = int.from_bytes(data[:2], "big") if len(data) >= HEADER.size else -1
        kinds = {role for role in (CLIENT, SERVER) if first in DATAGRAM_COMMANDS[role]}
        ports = {src[1], dst[1]}
        if ports & self._repeater_ports and len(kinds) == 1:
            return kinds.pop()
        if dst[1] in self._server_ports:
            return CLIENT
        if src[1] in self._server_ports or ports & self._repeater_ports:
            return SERVER
        # The repeater uses any port for what it sends to clients.
        forwarded = first in (Beacon.ID, RepeaterConfirmResponse.ID) and len(data) == HEADER.size
        return SERVER if forwarded else None

    # ---- TCP

    def _segment(
        self, src: Address, dst: Address, segment: Any
    ) -> list[Message | RemoteProtocolError]:
        way, data = (src, dst), bytes(segment.data)
        if segment.flags & _SYN:
            begins = not segment.flags & _ACK
            self._directions[way] = direction = _Direction(src, CLIENT if begins else SERVER)
            direction.order.begin(segment.seq)
            return []
        found = self._directions.get(way) or self._joined(src, dst, data)
        if found is None:
            return []
        if found.recognized is None and data:
            known = {src[1], dst[1]} & self._server_ports
            found.recognized = bool(known) or data.startswith(_VERSION[: len(data)])
        commands = found.take(found.order.add(segment.seq, data))
        if segment.flags & (_FIN | _RST):
            commands += found.take(found.order.end())
            self._directions.pop(way, None)
        return commands

    def _joined(self, src: Address, dst: Address, data: bytes) -> _Direction | None:
        """Begin in the middle of a connection, if this is a circuit."""
        role = self._speaker_of_segment(src, dst, data)
        if role is None:
            return None
        self._directions[src, dst] = direction = _Direction(src, role)
        return direction

    def _speaker_of_segment(self, src: Address, dst: Address, data: bytes) -> Role | None:
        """Tell who sent it: by the ports, else by the first message."""
        back = self._directions.get((dst, src))
        if back is not None:
            return back.role.other
        to_server, to_client = dst[1] in self._server_ports, src[1] in self._server_ports
        if to_server is not to_client:
            return CLIENT if to_server else SERVER
        if len(data) < HEADER.size:
            return None
        first = int.from_bytes(data[:2], "big")
        kinds = {role for role in (CLIENT, SERVER) if first in CIRCUIT_COMMANDS[role]}
        if to_server and len(kinds) == 1:
            return kinds.pop()
        if to_server or data.startswith(_VERSION):
            return CLIENT if dst[1] < src[1] else SERVER  # clients get high ports
        return None


class _Direction:
    """What one side of a circuit says.

    Attributes
    ----------
    role : Role
        Who speaks.
    order : Reassembly
    recognized : bool or None
        Whether it is Channel Access; None before it has said anything.
    """

    def __init__(self, sender: Address, role: Role) -> None:
        self.role = role
        self.order = Reassembly()
        self.recognized: bool | None = None
        self._sender = sender
        self._framer: Framer | None = None  # made for what is recognized: it takes memory

    def _new_framer(self) -> Framer:
        constructors = CIRCUIT_CONSTRUCTORS[self.role]
        empty = {**constructors, **_EMPTY} if self.role is SERVER else constructors
        return Framer(constructors, self._sender, empty, _MAX_PAYLOAD)

    def take(self, pieces: list[bytes | Gap]) -> list[Message | RemoteProtocolError]:
        """Return the commands in *pieces*; after wrong bytes begin again with the next piece."""
        found: list[Message | RemoteProtocolError] = []
        for piece in pieces if self.recognized else ():
            framer = self._framer = self._framer or self._new_framer()
            error: RemoteProtocolError | None
            if isinstance(piece, Gap):
                error = RemoteProtocolError(f"{counted(piece.size, 'byte')} missing in the capture")
            else:
                found += framer.feed(piece)
                error = framer.error
            if error is not None:
                found.append(error)
                self._framer = None
        return found
