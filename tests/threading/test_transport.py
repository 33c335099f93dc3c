"""One TCP socket that never blocks its owner: connecting, the outbox, hanging up, the loop."""
from __future__ import annotations

import errno
import gc
import math
import random
import select
import socket
import threading
import time
import weakref

import pytest

from caproto._errors import CaprotoNetworkError, DeadCircuitError
from caproto._os.sockets import WakeUp, poll
from caproto.threading import _transport
from caproto.threading._transport import Transport, Waker, describe, hang_up, serve_socket
from caproto.threading._waiting import Deadline, Poller
from tests.harness.ports import LOOPBACK, free_port

READABLE, WRITABLE = 1, 4


class Pipe:
    """A Transport that is connected to `peer`, a plain blocking socket."""

    def __init__(self) -> None:
        with socket.create_server((LOOPBACK, 0)) as listener:
            # Small buffers on both sides, so that a few hundred kilobytes fill the pipe.
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
            self.transport = Transport(listener.getsockname(), 10.0)
            self.sock = self.transport.open()
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8192)
            self.peer, self.peer_address = listener.accept()
        self.peer.settimeout(10)
        assert poll({self.sock: WRITABLE}, 10)
        assert self.transport.connect(True) is None

    def readable(self) -> None:
        """Wait until our end has something to read."""
        assert poll({self.sock: READABLE}, 10)

    def read(self, size: int) -> bytes:
        """What arrives at the peer."""
        received = bytearray()
        while len(received) < size:
            data = self.peer.recv(65536)
            assert data, "the end of the stream, too early"
            received += data
        return bytes(received)

    def woken(self) -> bool:
        return bool(poll({self.transport.wakeup: READABLE}, 0))

    def close(self) -> None:
        self.sock.close()
        self.peer.close()
        self.transport.wakeup.close()


@pytest.fixture
def pipe():
    made = Pipe()
    yield made
    made.close()


@pytest.fixture
def nowhere():
    """The address of a host that does not answer: its listener's queue is full."""
    with socket.socket() as listener:
        listener.bind((LOOPBACK, 0))
        listener.listen(0)
        fillers = []
        for _ in range(3):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
            fillers.append(filler)
        yield listener.getsockname()
        for filler in fillers:
            filler.close()


BIG = random.Random(1).randbytes(1 << 20)


# ---- connecting ------------------------------------------------------------------------------


def test_connected(pipe):
    assert pipe.transport.established
    assert pipe.transport.our_address() == pipe.peer_address


def test_refused():
    transport = Transport((LOOPBACK, free_port()), 10.0)
    sock = transport.open()
    assert poll({sock: WRITABLE}, 10)
    with pytest.raises(CaprotoNetworkError, match="refused") as raised:
        transport.connect(True)
    assert raised.value.errno == errno.ECONNREFUSED
    assert not transport.established
    transport.abandon()


def test_refused_at_once():
    transport = Transport(("255.255.255.255", 5064), 10.0)  # TCP has no broadcasts
    with pytest.raises(CaprotoNetworkError, match="255.255.255.255:5064"):
        transport.open()
    transport.abandon()


def test_a_host_that_does_not_answer(nowhere):
    begun = time.monotonic()
    transport = Transport(nowhere, 0.05)
    sock = transport.open()
    again_at = transport.connect(False)
    assert begun + 0.05 <= again_at <= time.monotonic() + 0.05
    assert not poll({sock: WRITABLE}, again_at - time.monotonic())
    with pytest.raises(CaprotoNetworkError, match="does not answer"):
        transport.connect(False)
    transport.abandon()


# ---- writing ---------------------------------------------------------------------------------


def test_what_is_queued_before_the_connection_is_written_when_there_is_one():
    with socket.create_server((LOOPBACK, 0)) as listener:
        transport = Transport(listener.getsockname(), 10.0)
        transport.queue([b"one ", b"two "])
        assert transport.flush(), "nobody to write to, so nothing to push"
        sock = transport.open()
        assert transport.flush()
        peer, _ = listener.accept()
        assert poll({sock: WRITABLE}, 10)
        transport.connect(True)
        transport.queue([memoryview(b"three")])
        assert transport.flush()
        with peer:
            assert peer.recv(100) == b"one two three"
    transport.abandon()


def test_flush_writes_what_fits_and_says_that_more_is_left(pipe):
    pipe.transport.queue([BIG])
    begun = time.monotonic()
    assert not pipe.transport.flush()
    assert not pipe.transport.flush(), "nothing was read meanwhile"
    assert time.monotonic() - begun < 5
    assert pipe.woken(), "the thread is to push, too"


def test_partial_writes_lose_and_repeat_nothing(pipe):
    pieces = [BIG[start : start + 100_001] for start in range(0, len(BIG), 100_001)]
    received = []
    reader = threading.Thread(target=lambda: received.append(pipe.read(len(BIG) + 3)))
    pipe.transport.queue(pieces)
    assert not pipe.transport.flush()
    pipe.transport.queue([b"end"])
    reader.start()
    pipe.transport.push(Deadline(10))
    assert pipe.transport.flush()
    reader.join(10)
    assert received == [BIG + b"end"]


def test_the_thread_is_woken_when_it_can_write_not_before(pipe):
    """A thread that finds the token taken goes back to sleep, and would leave the rest there."""
    wakeup, seen = pipe.transport.wakeup, []

    class Watched:
        def set(self) -> None:
            seen.append(pipe.transport._writing)

    pipe.transport.wakeup = Watched()
    pipe.transport.queue([BIG])
    assert not pipe.transport.flush()
    assert seen == [False]
    pipe.transport.wakeup = wakeup


@pytest.mark.parametrize("serving", [False, True])
def test_the_thread_that_is_noted_as_writing_owns_the_token(pipe, serving):
    """Else a signal handler that came in between would leave its request to its own thread."""
    transport, seen = pipe.transport, []

    class Watched:
        """The token, and whether its owner is noted as writing when it takes and releases it."""

        def __init__(self, token) -> None:
            self._token = token

        def acquire(self, blocking=True) -> bool:
            seen.append(transport._writing)
            return self._token.acquire(blocking)

        def release(self) -> None:
            seen.append(transport._writing)
            self._token.release()

        def __enter__(self) -> None:
            self.acquire()

        def __exit__(self, *exception) -> None:
            self.release()

    class Socket:
        def send(self, data) -> int:
            seen.append(transport._writing)
            return len(data)

    token, sock = transport.token, transport._socket
    transport.token, transport._socket = Watched(token), Socket()
    transport.queue([b"x"])
    assert transport.flush(serving=serving)
    assert seen == [False, True, False]
    transport.token, transport._socket = token, sock


def test_an_interrupt_that_leaves_a_writer_noted_is_made_good(pipe):
    """The thread of the socket does not believe the note: it tries the token."""
    pipe.transport.queue([b"left"])
    pipe.transport._writing = True  # as after two interrupts at the wrong lines
    assert pipe.transport.flush(), "left to the thread with the token, as it seems"
    assert pipe.transport.flush(serving=True)
    assert pipe.read(4) == b"left"
    pipe.transport.queue([b"more"])
    assert pipe.transport.flush()
    assert pipe.read(4) == b"more"


def test_the_thread_of_the_socket_does_not_wait_for_the_token(pipe):
    taken, give_back = threading.Event(), threading.Event()

    def take() -> None:
        with pipe.transport.token:
            taken.set()
            assert give_back.wait(10)

    other = threading.Thread(target=take)
    other.start()
    assert taken.wait(10)
    pipe.transport.queue([b"x"])
    assert pipe.transport.flush(serving=True), "the other thread writes it"
    assert list(pipe.transport.outbox) == [b"x"]
    give_back.set()
    other.join(10)


def test_the_thread_does_not_wake_itself(pipe):
    """It waits for the socket to take bytes, and would not sleep."""
    pipe.transport.queue([BIG])
    assert not pipe.transport.flush(serving=True)
    assert not pipe.woken()


def test_when_bytes_were_last_taken_while_others_waited(pipe):
    transport = pipe.transport
    transport.queue([b"alone"])
    transport.flush()
    assert transport.taken_at == -math.inf, "nothing had to wait"
    begun = time.monotonic()
    transport.queue([BIG])
    assert not transport.flush()
    full_since = transport.taken_at
    assert begun <= full_since <= time.monotonic()
    assert not transport.flush()
    assert transport.taken_at == full_since, "nothing was taken"
    received = 0
    while transport.taken_at == full_since:
        received += len(pipe.peer.recv(65536))
        assert not transport.flush()
    halfway = transport.taken_at
    pusher = threading.Thread(target=transport.push, args=(Deadline(10),))
    pusher.start()
    pipe.read(len(b"alone") + len(BIG) - received)
    pusher.join(10)
    last = transport.taken_at
    assert halfway < last <= time.monotonic(), "also what went last had waited"
    transport.queue([b"alone"])
    assert transport.flush()
    assert transport.taken_at == last


def test_who_finds_somebody_writing_leaves_it_to_him(pipe):
    """The one who writes looks again when he has done, so that nothing stays behind."""
    writing, go_on = threading.Event(), threading.Event()
    sock, sent = pipe.transport._socket, []

    class Slow:
        """The socket, in a call of the system that takes its time."""

        def send(self, data):
            sent.append(bytes(data))
            writing.set()
            assert go_on.wait(10)
            return sock.send(data)

        def fileno(self):
            return sock.fileno()

    pipe.transport._socket = Slow()
    pipe.transport.queue([b"first"])
    first = threading.Thread(target=pipe.transport.flush)
    first.start()
    assert writing.wait(10)
    pipe.transport.queue([b"second"])
    assert pipe.transport.flush(), "nothing for us to push"
    assert sent == [b"first"]
    go_on.set()
    first.join(10)
    assert pipe.read(11) == b"firstsecond"
    pipe.transport._socket = sock


def test_many_writers_lose_and_mix_up_nothing(pipe):
    """Each queues under the owner's lock and writes holding nothing."""
    lock, order = threading.Lock(), []

    def write(letter: bytes) -> None:
        for _ in range(300):
            with lock:
                order.append(letter * 1000)
                pipe.transport.queue([letter * 1000])
            if not pipe.transport.flush():
                pipe.transport.push(Deadline(10))

    threads = [threading.Thread(target=write, args=(bytes([65 + i]),)) for i in range(4)]
    for thread in threads:
        thread.start()
    received = pipe.read(4 * 300 * 1000)
    for thread in threads:
        thread.join(10)
    assert received == b"".join(order)


def test_nobody_writes_to_a_socket_that_is_about_to_be_closed(pipe):
    pipe.transport.detach()
    pipe.transport.queue([b"too late"])
    assert pipe.transport.flush(), "nothing is left to push"
    pipe.transport.push(Deadline(60))
    pipe.sock.shutdown(socket.SHUT_WR)
    assert pipe.peer.recv(100) == b""


def test_sender_and_reader_push_together(pipe):
    """Whoever finds the socket writable writes; the order is that of the queue."""
    pipe.transport.queue([BIG[start : start + 50_000] for start in range(0, len(BIG), 50_000)])
    threads = [
        threading.Thread(target=pipe.transport.push, args=(Deadline(10),)) for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    assert pipe.read(len(BIG)) == BIG
    for thread in threads:
        thread.join(10)
        assert not thread.is_alive()


def test_push_gives_up_at_its_deadline_and_keeps_the_rest(pipe):
    pipe.transport.queue([BIG])
    begun = time.monotonic()
    pipe.transport.push(Deadline(0.05))
    assert 0.05 <= time.monotonic() - begun < 5
    pusher = threading.Thread(target=pipe.transport.push, args=(Deadline(None),))
    pusher.start()
    assert pipe.read(len(BIG)) == BIG
    pusher.join(10)
    assert not pusher.is_alive()


def test_push_ends_when_the_socket_is_closed(pipe):
    pipe.transport.queue([BIG])
    pipe.sock.close()
    pipe.transport.push(Deadline(60))


def test_push_before_there_is_a_connection():
    """A circuit that is closed while it connects: nobody waits, least of all without end."""
    with socket.create_server((LOOPBACK, 0)) as listener:
        transport = Transport(listener.getsockname(), 10.0)
        transport.queue((b"abc",))
        transport.push(Deadline(None))
        with transport.open() as sock:
            assert poll({sock: WRITABLE}, 10)  # it is there, but nobody has looked yet
            transport.push(Deadline(None))
        transport.wakeup.close()


# ---- reading, and the end --------------------------------------------------------------------


def test_receive_nothing_something_and_the_end(pipe):
    buffer = memoryview(bytearray(10))
    assert pipe.transport.receive_into(buffer) is None
    pipe.peer.sendall(b"abc")
    pipe.readable()
    assert pipe.transport.receive_into(buffer) == 3
    assert bytes(buffer[:3]) == b"abc"
    assert pipe.transport.receive_into(buffer) is None
    pipe.peer.close()
    pipe.readable()
    assert pipe.transport.receive_into(buffer) == 0


def break_connection(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    sock.close()


def test_a_reset_is_an_error_for_who_reads(pipe):
    break_connection(pipe.peer)
    pipe.readable()
    with pytest.raises(ConnectionResetError):
        pipe.transport.receive_into(memoryview(bytearray(10)))


def test_a_reset_is_noted_by_who_writes_and_wakes_the_thread(pipe):
    break_connection(pipe.peer)
    pipe.readable()
    pipe.transport.queue([b"in vain", b"also"])
    assert pipe.transport.flush(), "nothing left to push"
    assert isinstance(pipe.transport.error, OSError)
    assert pipe.woken()
    assert pipe.transport.flush()


def test_abandoned_by_the_child_of_a_fork(pipe):
    pipe.transport.abandon()
    assert pipe.sock.fileno() == -1
    assert pipe.transport.wakeup.fileno() == -1
    pipe.transport.wakeup.set()  # harmless


def test_abandoned_in_the_middle_of_a_write_it_has_no_writer(pipe):
    """A signal handler may fork there; in the child the write never goes on."""
    pipe.transport.queue([b"half"])
    with pipe.transport.token:
        pipe.transport.abandon()
        assert not pipe.transport.token._is_owned()


def test_hang_up_lets_the_peer_read_all_although_we_did_not(pipe):
    """With unread bytes in it, a socket that is merely closed would be reset."""
    pipe.peer.sendall(b"late update" * 100)
    pipe.readable()
    pipe.transport.queue([b"last words"])
    pipe.transport.flush()
    poller = Poller(pipe.sock, pipe.transport.wakeup)
    thread = threading.Thread(target=hang_up, args=(pipe.sock, poller))
    thread.start()
    end = select.poll()
    end.register(pipe.peer, select.POLLRDHUP)
    assert end.poll(10_000), "the end of our stream has arrived, and nothing was read yet"
    assert pipe.read(10) == b"last words"
    assert pipe.peer.recv(10) == b""
    pipe.peer.sendall(b"my last words")
    pipe.peer.close()
    thread.join(10)
    assert pipe.sock.fileno() == -1


def test_hang_up_does_not_wait_for_ever(pipe, monkeypatch):
    monkeypatch.setattr(_transport, "HANG_UP_TIME", 0.05)
    begun = time.monotonic()
    hang_up(pipe.sock, Poller(pipe.sock, pipe.transport.wakeup))
    assert 0.05 <= time.monotonic() - begun < 5
    assert pipe.peer.recv(10) == b"", "the end of the stream, in good order"


def test_hang_up_on_nobody():
    transport = Transport((LOOPBACK, free_port()), 10.0)
    sock = transport.open()
    hang_up(sock, Poller(sock, transport.wakeup))
    assert sock.fileno() == -1
    transport.abandon()


@pytest.mark.parametrize(
    "error, text",
    [
        (ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"),
         "Connection reset by peer"),
        (CaprotoNetworkError("the host does not answer"), "the host does not answer"),
        (DeadCircuitError("the server closed the connection"), "the server closed the connection"),
        (ValueError(), "ValueError()"),
    ],
)
def test_errors_in_words(error, text):
    assert describe(error) == text


# ---- the loop --------------------------------------------------------------------------------


class Owner:
    """Notes its turns; ends after `last`."""

    def __init__(self, last: int = 1_000_000) -> None:
        self.turns: list[tuple[bool, bool]] = []
        self.last = last
        self.again_at: float | None = None
        self.writing = False
        self.sock: socket.socket | None = None

    def service(self, readable: bool, writable: bool):
        self.turns.append((readable, writable))
        if readable and self.sock is not None:
            self.sock.recv(100)
        return None if len(self.turns) >= self.last else (self.again_at, self.writing)


@pytest.fixture
def wakeup():
    made = WakeUp()
    yield made
    made.close()


@pytest.fixture
def ends():
    ours, theirs = socket.socketpair()
    yield ours, theirs
    ours.close()
    theirs.close()


def loop(owner: Owner, sock: socket.socket, wakeup: WakeUp) -> threading.Thread:
    thread = threading.Thread(
        target=serve_socket, args=(weakref.ref(owner, Waker(wakeup)), sock, wakeup)
    )
    thread.start()
    return thread


def test_one_turn_for_each_reason_to_wake(ends, wakeup, wait_for):
    ours, theirs = ends
    owner = Owner(last=4)
    owner.sock = ours
    thread = loop(owner, ours, wakeup)
    wait_for(lambda: owner.turns == [(False, False)])  # the first one, for a start
    theirs.send(b"x")
    wait_for(lambda: owner.turns[1:] == [(True, False)])
    wakeup.set()
    wait_for(lambda: owner.turns[2:] == [(False, False)])
    owner.writing = True
    wakeup.set()
    thread.join(10)
    assert not thread.is_alive()


def test_a_turn_may_ask_to_be_told_when_the_socket_takes_bytes(ends, wakeup):
    owner = Owner(last=2)
    owner.writing = True
    loop(owner, ends[0], wakeup).join(10)
    assert owner.turns == [(False, False), (False, True)]


def test_a_turn_comes_at_its_deadline_and_not_before(ends, wakeup):
    owner = Owner(last=2)
    owner.again_at = time.monotonic() + 0.05
    loop(owner, ends[0], wakeup).join(10)
    assert len(owner.turns) == 2
    assert time.monotonic() >= owner.again_at


def test_an_owner_whom_nobody_needs_ends_the_loop(ends, wakeup, wait_for):
    owner = Owner()
    thread = loop(owner, ends[0], wakeup)
    turns = owner.turns
    wait_for(lambda: turns)
    del owner
    gc.collect()
    thread.join(10)
    assert not thread.is_alive()
