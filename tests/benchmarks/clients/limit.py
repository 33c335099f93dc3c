"""What Python can do at all: the same bytes on a raw socket, by the shortest programs we know.

No protocol is implemented here: no search (the port is known), no states, no errors, no flow
control, no callbacks, native doubles only. Its figures tell how fast this machine is at this
moment.
"""
from __future__ import annotations

import math
import os
import queue
import socket
import struct
import threading

from frame import FAULTS, PATIENCE, Client

HEADER = struct.Struct(">HHHHII")
EXTENSION = struct.Struct(">II")
#: EVENT_ADD or READ_NOTIFY with one double.
DOUBLE = struct.Struct(">HHHHIId")
EVENT_ADD, READ_NOTIFY, WRITE_NOTIFY = 1, 15, 19
CLIENT_NAME, HOST_NAME, CREATE_CHANNEL = 20, 21, 18
DBR_DOUBLE = 6
CHUNK = 1 << 16


def text(content: str) -> bytes:
    data = content.encode() + b"\0"
    return data.ljust((len(data) + 7) & -8, b"\0")


def chunks_of(sock: socket.socket, size: int):
    """What comes, in whole messages of *size* bytes each."""
    buffer = memoryview(bytearray(CHUNK // size * size))
    pending = 0
    while received := sock.recv_into(buffer[pending:]):
        filled = pending + received
        pending = filled % size
        yield buffer[: filled - pending]
        buffer[:pending] = buffer[filled - pending : filled]


class Limit(Client):
    def __init__(self):
        super().__init__()
        port = int(os.environ["EPICS_CA_SERVER_PORT"])
        self.sock = socket.create_connection(("127.0.0.1", port))
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        name = text("limit")
        self.sock.sendall(
            HEADER.pack(0, 0, 0, 13, 0, 0)
            + HEADER.pack(HOST_NAME, len(name), 0, 0, 0, 0) + name
            + HEADER.pack(CLIENT_NAME, len(name), 0, 0, 0, 0) + name
        )
        self.updates = None

    def connect(self, names):
        request = bytearray()
        for number, name in enumerate(names):
            data = text(name)
            request += HEADER.pack(CREATE_CHANNEL, len(data), 0, 0, number, 13) + data
        threading.Thread(target=self.sock.sendall, args=(request,)).start()
        ids = {}
        while len(ids) < len(names):
            command, _, _, _, cid, sid = self.header()
            if command == CREATE_CHANNEL:
                ids[cid] = sid
        self.channels = [ids[number] for number in range(len(names))]

    def header(self):
        """The next one, and its extension."""
        command, size, data_type, count, *numbers = HEADER.unpack(self.exactly(16))
        if size == 0xFFFF and not count:
            size, count = EXTENSION.unpack(self.exactly(8))
        return (command, size, data_type, count, *numbers)

    def exactly(self, size):
        data = bytearray()
        while len(data) < size:
            data += self.sock.recv(size - len(data))
        return data

    # --- updates

    def subscribe(self, check):
        request = bytearray()
        for number, channel in enumerate(self.channels):
            request += HEADER.pack(EVENT_ADD, 16, DBR_DOUBLE, 1, channel, number)
            request += struct.pack(">fffHxx", 0, 0, 0, 5)
        self.updates = Updates(self.sock, len(self.channels), check)
        self.watches = [View(self.updates, number) for number in range(len(self.channels))]
        self.sock.sendall(request)

    def do_mark(self, collect=False):
        mark = super().do_mark(collect)
        if self.updates is not None:
            mark["updates"] = self.updates.count
        return mark

    def faults(self):
        return {what: getattr(self.updates, what) for what in FAULTS}

    # --- many at once

    def ask_all(self, request, size):
        """Send from here while a thread reads the replies; they come one for one."""
        replies = []

        def read():
            for chunk in chunks_of(self.sock, size):
                form = DOUBLE if size == 24 else HEADER
                replies.extend(form.iter_unpack(chunk))
                if len(replies) == len(self.channels):
                    return

        reader = threading.Thread(target=read)
        reader.start()
        self.sock.sendall(request)
        reader.join(PATIENCE)
        return replies

    def read_all(self):
        pack = HEADER.pack
        request = b"".join(
            [pack(READ_NOTIFY, 0, DBR_DOUBLE, 1, sid, i) for i, sid in enumerate(self.channels)]
        )
        return [reply[-1] for reply in self.ask_all(request, 24)]

    def do_read_all_in_order(self):
        """For whoever wants to know what the server has."""
        return self.read_all()

    def write_all(self, values):
        pack = DOUBLE.pack
        request = b"".join([
            pack(WRITE_NOTIFY, 8, DBR_DOUBLE, 1, sid, i, value)
            for i, (sid, value) in enumerate(zip(self.channels, values))
        ])
        return sum(reply[4] == 1 for reply in self.ask_all(request, 16))

    # --- one at a time, with a reader thread

    def many_times(self, action, times, *arguments):
        self.replies = queue.SimpleQueue()

        def read():
            for _ in range(times):
                self.replies.put(self.sock.recv(CHUNK))

        reader = threading.Thread(target=read)
        reader.start()
        seconds = super().many_times(action, times, *arguments)
        reader.join(PATIENCE)
        return seconds

    def read_one(self):
        self.sock.sendall(HEADER.pack(READ_NOTIFY, 0, DBR_DOUBLE, 1, self.channels[0], 7))
        return DOUBLE.unpack(self.replies.get())[-1]

    def do_read_one(self, times):
        seconds = self.many_times("read_one", times)
        return {"seconds": seconds, "value": self.read_all()[0]}

    def write_one(self, value):
        self.sock.sendall(
            DOUBLE.pack(WRITE_NOTIFY, 8, DBR_DOUBLE, 1, self.channels[0], 7, value)
        )
        assert HEADER.unpack(self.replies.get())[4] == 1

    # --- arrays

    def read_array(self):
        import numpy

        self.sock.sendall(HEADER.pack(READ_NOTIFY, 0, DBR_DOUBLE, 0, self.channels[0], 7))
        _, size, _, count, _, _ = self.header()
        data = bytearray(size)
        view, got = memoryview(data), 0
        while got < size:
            got += self.sock.recv_into(view[got:])
        return numpy.frombuffer(data, ">f8", count)

    def do_fill(self, count):
        """Write its indices into the first one, an array: for whoever reads it later."""
        import numpy

        data = numpy.arange(count, dtype=">f8").tobytes()
        head = (WRITE_NOTIFY, len(data), DBR_DOUBLE, count, self.channels[0], 7)
        if len(data) > 0xFFF0:
            header = HEADER.pack(WRITE_NOTIFY, 0xFFFF, DBR_DOUBLE, 0, *head[-2:])
            self.sock.sendall(header + EXTENSION.pack(len(data), count) + data)
        else:
            self.sock.sendall(HEADER.pack(*head) + data)
        assert HEADER.unpack(self.exactly(16))[4] == 1


class Updates:
    """The thread that takes in the updates of all subscriptions.

    Attributes
    ----------
    count : int
        Of all updates.
    last : list of float
        The last value of each subscription; NaN before the first.
    missing, repeated, backward : int
        As of `frame.Watch`, all subscriptions together.
    """

    def __init__(self, sock, subscriptions, check):
        self.sock, self.check = sock, check
        self.count = self.missing = self.repeated = self.backward = 0
        self.last = [math.nan] * subscriptions
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        last, check = self.last, self.check
        for chunk in chunks_of(self.sock, 24):
            values = []
            append = values.append
            for _, _, _, _, _, subscription, value in DOUBLE.iter_unpack(chunk):
                append(value)
                if check and value != last[subscription] + 1:
                    self.note(value - last[subscription])
                last[subscription] = value
            self.count += len(values)

    def note(self, step):
        """A step that is not one; that from NaN is none."""
        self.missing += int(step) - 1 if step > 1 else 0
        self.repeated += step == 0
        self.backward += step < 0


class View:
    """One subscription, to be looked at like a `frame.Watch`."""

    def __init__(self, updates, number):
        self.updates, self.number = updates, number

    @property
    def last(self):
        return self.updates.last[self.number]

    @property
    def count(self):
        """Whether there was any."""
        return not math.isnan(self.last)


if __name__ == "__main__":
    Limit().serve()
