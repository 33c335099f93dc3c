"""Captures in the format pcap or pcapng, written by hand: packets of TCP and UDP."""
from __future__ import annotations

import io
import socket
import struct

Address = tuple[str, int]
CLIENT, SERVER = ("10.0.0.1", 40123), ("10.0.0.2", 5064)
SYN, ACK, FIN = 2, 16, 1
ETHERNET, RAW, LOOPBACK, COOKED, COOKED_2 = 1, 101, 0, 113, 276
#: What precedes a packet of IP on each kind of link; the cooked ones are those of "tcpdump -i any".
HEADERS = {
    ETHERNET: bytes(12) + b"\x08\x00",
    RAW: b"",
    LOOPBACK: struct.pack("=I", socket.AF_INET),
    COOKED: struct.pack(">HHH8sH", 0, 1, 6, bytes(8), 0x800),
    COOKED_2: struct.pack(">HHIHBB8s", 0x800, 0, 1, 1, 0, 6, bytes(8)),
}


class Capture:
    """Packets, in the order in which they are added; a packet a millisecond from 1000.0 on."""

    def __init__(self, link: int = ETHERNET) -> None:
        self._link = link
        self._packets: list[bytes] = []
        self._sequence: dict[tuple[Address, Address], int] = {}

    def file(self) -> io.BytesIO:
        """The capture as pcap."""
        parts = [struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 1 << 18, self._link)]
        for number, packet in enumerate(self._packets):
            time = (1000 + number // 1000, number % 1000 * 1000)
            parts += struct.pack("<IIII", *time, len(packet), len(packet)), packet
        return io.BytesIO(b"".join(parts))

    def file_ng(self) -> io.BytesIO:
        """The same as pcapng: a section, an interface, and a block for each packet."""

        def block(kind: int, body: bytes) -> bytes:
            size = struct.pack("<I", 12 + len(body))
            return struct.pack("<I", kind) + size + body + size

        parts = [
            block(0x0A0D0D0A, struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1)),
            block(1, struct.pack("<HHI", self._link, 0, 1 << 18)),
        ]
        for number, packet in enumerate(self._packets):
            microseconds = 1_000_000_000 + 1000 * number
            header = struct.pack(
                "<IIIII", 0, microseconds >> 32, microseconds & 0xFFFFFFFF, *[len(packet)] * 2
            )
            parts.append(block(6, header + packet + bytes(-len(packet) % 4)))
        return io.BytesIO(b"".join(parts))

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
        packet = HEADERS[self._link] + packet
        if self._link == ETHERNET:
            packet = packet.ljust(60, b"\xee")  # it pads
        self._packets.append(packet)
