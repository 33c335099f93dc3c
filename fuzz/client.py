"""What a client makes of anything that a server says: a circuit's session with PVs in use.

Two PVs are connected, with subscriptions, reads and writes under way; then the server says the
input. Every operation ends once, however the bytes are cut.
"""
from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

from caproto import SERVER
from caproto._client.deliveries import Deliveries
from caproto._client.operations import Read, Write
from tests.client.test_circuit_session import FakePV, Limit, World

from .support import (
    check_memory,
    check_same,
    pieces,
    recorded_messages,
    recorded_streams,
    renumbered,
)

#: Ids of operations and subscriptions are below this.
_IDS = 12


def seeds() -> Iterator[bytes]:
    yield from recorded_streams(SERVER)
    for index, data in enumerate(recorded_messages(SERVER)):
        yield renumbered(data, None, index % _IDS)


def fuzz_target(data: bytes) -> None:
    check_same(_converse([data]), _converse(pieces(data)))
    check_memory(lambda: _converse([data]), data)


class _Conversation(World):
    """The PVs and what is under way; how often each operation has ended."""

    def __init__(self) -> None:
        super().__init__()
        self.ended: Counter[int] = Counter()
        x, y = self.connect("x", "y")
        self.subscribe(x)
        self.subscribe(y)
        self.numbers = [self._begin(kind, pv) for pv in (x, y) for kind in ("read", "write")]
        self.send()

    def _begin(self, kind: str, pv: FakePV) -> int:
        conversation, limit = self, Limit()

        class CountedRead(Read):
            def answered(self, response: Any, out: Any) -> None:
                conversation.ended[number] += 1

            failed = answered

        class CountedWrite(Write):
            answered = failed = CountedRead.answered

        operation = (
            CountedRead(pv, None, limit) if kind == "read"
            else CountedWrite(pv, None, limit, 1.5, None, None, True)
        )
        number = self.begin(operation, pv)
        return number


def _converse(chunks: Iterable[bytes]) -> list[Any]:
    conversation = _Conversation()
    session = conversation.session
    error: Any = None
    updates: list[bytes] = []
    channels: list[str] = []
    for chunk in chunks:
        commands = session.circuit.feed(chunk)
        out = Deliveries()
        then, error = session.receive(commands, 1.0, out)
        updates += [bytes(response) for _, response in out]
        if then is not None:
            for operation in then.failed.values():
                operation.failed(error, out)
            channels += [pv.name for pv in (*then.created, *then.lost)]
        error = error or session.circuit.error
        if error is not None:
            break
    session.data_to_send()  # may differ: a channel that nobody asked for is given back each time
    outcome = [updates, channels, str(error), sorted(conversation.ended.items())]
    for operation in session.end(error).operations.values():
        operation.failed(error, Deliveries())
    assert conversation.ended == dict.fromkeys(conversation.numbers, 1), conversation.ended
    return outcome
