"""Captures in the format pcap, written by hand: packets of TCP and UDP over Ethernet or bare IP."""
from __future__ import annotations

import io
import socket
import struct

Address = tuple[str, int]
CLIENT, SERVER = ("10.0.0.1", 40123), ("10.0.0.2", 5064)
SYN, ACK, FIN = 2, 16, 1
ETHERNET, RAW = 1, 101


class Capture:
    """Packets, in the order in which they are added; a packet a millisecond from 1000.0 on."""

    def __init__(self, link: int = ETHERNET) -> None:
        self._link = link
        self._file = io.BytesIO()
        self._file.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 1 << 18, link))
        self._packets = 0
        self._sequence: dict[tuple[Address, Address], int] = {}

    def file(self) -> io.BytesIO:
        return io.BytesIO(self._file.getvalue())

    def udp(self, src: Address, dst: Address, data: bytes) -> None:
        header = struct.pack(">HHHH", src[1], dst[1], 8 + len(data), 0)
        self._add(src, dst, socket.IPPROTO_UDP, header + data)

    def tcp(
        self,
        src: Address,
        dst: Address,
        data: bytes = b"",
        flags: int = ACK,
        *,
        sequence: int | None = None,
        lost: bool = False,
    ) -> int:
        """Add the next segment, or one with this number; return its number."""
        way = (src, dst)
        number = self._sequence.setdefault(way, 0xFFFFFF00) if sequence is None else sequence
        if sequence is None:
            self._sequence[way] = (number + len(data) + bool(flags & (SYN | FIN))) % (1 << 32)
        header = struct.pack(">HHIIBBHHH", *(src[1], dst[1]), number, 0, 5 << 4, flags, 1024, 0, 0)
        if not lost:
            self._add(src, dst, socket.IPPROTO_TCP, header + data)
        return number

    def connect(self, client: Address = CLIENT, server: Address = SERVER) -> None:
        self.tcp(client, server, flags=SYN)
        self.tcp(server, client, flags=SYN | ACK)

    def _add(self, src: Address, dst: Address, protocol: int, data: bytes) -> None:
        addresses = socket.inet_aton(src[0]) + socket.inet_aton(dst[0])
        size = 20 + len(data)
        packet = struct.pack(">BBHHHBBH", 0x45, 0, size, 1, 0, 64, protocol, 0) + addresses + data
        if self._link == ETHERNET:
            packet = (bytes(12) + b"\x08\x00" + packet).ljust(60, b"\xee")  # it pads
        time = (1000 + self._packets // 1000, self._packets % 1000 * 1000)
        self._file.write(struct.pack("<IIII", *time, len(packet), len(packet)) + packet)
        self._packets += 1
