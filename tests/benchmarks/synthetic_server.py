"""A server that does nothing but send updates, as fast as the socket takes them; its own process.

``python -m tests.benchmarks.synthetic_server PORT CHANNELS ROUNDS`` answers searches for any name,
lets one client create CHANNELS channels and subscribe to each, then sends ROUNDS updates (native
double, the value is the number of the round) for every subscription. It stops while the client asks
it to (EVENTS_OFF), and then goes on where it was: nothing is left out, so a client can count.
"""
from __future__ import annotations

import select
import socket
import struct
import sys

import numpy as np

HEADER = struct.Struct(">HHHHII")
UPDATE = np.dtype(
    [("head", ">u2", 4), ("status", ">u4"), ("subscription", ">u4"), ("value", ">f8")]
)
CHUNK = 256 * 1024


class Peer:
    """The one client, by TCP."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.pending = b""
        self.subscriptions: list[int] = []
        self.sending = True
        sock.sendall(HEADER.pack(0, 0, 0, 13, 0, 0))

    def listen(self, timeout: float) -> bool:
        """Take in what the client says; False when it has gone."""
        if not select.select([self.sock], [], [], timeout)[0]:
            return True
        data = self.sock.recv(1 << 20)
        self.pending += data
        answer = bytearray()
        while len(self.pending) >= 16:
            command, size, _, _, p1, p2 = HEADER.unpack_from(self.pending)
            if len(self.pending) < 16 + size:
                break
            self.pending = self.pending[16 + size :]
            if command == 18:  # CREATE_CHAN: p1 is the client's id; ours is the same
                answer += HEADER.pack(22, 0, 0, 0, p1, 3) + HEADER.pack(18, 0, 6, 1, p1, p1)
            elif command == 1:
                self.subscriptions.append(p2)
            elif command in (8, 9):
                self.sending = command == 9
            elif command == 23:
                answer += HEADER.pack(23, 0, 0, 0, 0, 0)
        self.sock.sendall(answer)
        return bool(data)


def found(datagram: bytes, client: tuple[str, int], port: int) -> tuple[bytes, tuple[str, int]]:
    """Every name asked for in *datagram* is here; what to say to whom."""
    answer, start = HEADER.pack(0, 0, 1, 13, *HEADER.unpack_from(datagram)[4:]), 0
    while start < len(datagram):
        command, size, _, _, cid, _ = HEADER.unpack_from(datagram, start)
        if command == 6:
            answer += HEADER.pack(6, 8, port, 0, 0xFFFFFFFF, cid) + struct.pack(">H6x", 13)
        start += 16 + size
    return answer, client


def main(port: int, channels: int, rounds: int) -> None:
    udp = socket.socket(type=socket.SOCK_DGRAM)
    udp.bind(("127.0.0.1", port))
    tcp = socket.create_server(("127.0.0.1", port))
    print("READY", flush=True)
    peer = None
    while peer is None or len(peer.subscriptions) < channels:
        sockets = [udp, tcp if peer is None else peer.sock]
        ready = select.select(sockets, [], [])[0]
        if udp in ready:
            udp.sendto(*found(*udp.recvfrom(65536), port))
        if peer is None and tcp in ready:
            peer = Peer(tcp.accept()[0])
        elif peer is not None and peer.sock in ready and not peer.listen(0):
            return
    at_once = max(1, CHUNK // (UPDATE.itemsize * channels))
    block = np.zeros((at_once, channels), UPDATE)
    block["head"] = (1, 8, 6, 1)
    block["status"] = 1
    block["subscription"] = np.array(peer.subscriptions)
    for first in range(0, rounds, at_once):
        part = block[: min(at_once, rounds - first)]
        part["value"] = np.arange(first, first + len(part))[:, None]
        peer.sock.sendall(part.tobytes())
        peer.listen(0)
        while not peer.sending:
            peer.listen(1.0)
    while peer.listen(1.0):  # until the client leaves
        pass


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
