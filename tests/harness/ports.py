"""Free ports on the loopback interface."""
from __future__ import annotations

import random
import socket

LOOPBACK = "127.0.0.1"
# Below the range from which kernels take ports for outgoing connections, so that nobody gets one
# by accident between our look and its use; far from the ports of EPICS.
_CHOICE = range(20000, 32000)


def free_port() -> int:
    """A port that is free for TCP and for UDP on 127.0.0.1 at this moment."""
    for _ in range(1000):
        port = random.choice(_CHOICE)
        if _is_free(port):
            return port
    raise RuntimeError("no free port found")


def _is_free(port: int) -> bool:
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        with socket.socket(socket.AF_INET, kind) as sock:
            try:
                sock.bind((LOOPBACK, port))
            except OSError:
                return False
    return True


def listens(port: int) -> bool:
    """Whether a program has the UDP port, on Linux; without taking it even for a moment."""
    with open("/proc/net/udp") as table:
        return any(f":{port:04X}" in line.split()[1] for line in list(table)[1:])
