"""What is heard about searches: replies and beacons, searches, and what a name server says by TCP.

The first byte of an input says who hears it: a client, a server, or a client that has asked a name
server.
"""
from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from caproto import (
    CLIENT,
    SERVER,
    Broadcaster,
    EchoResponse,
    SearchResponse,
    VersionResponse,
)
from caproto._client.name_server_session import NameServerSession
from caproto._client.search_book import SearchBook, SearchNews
from caproto._server.directory import Directory
from caproto._server.search_replies import search_replies
from caproto.server import ChannelDouble

from .support import (
    check_memory,
    check_same,
    look_at,
    pieces,
    recorded_datagrams,
    recorded_streams,
)

_SENDER = ("10.0.0.9", 5064)
_NAMES = 40
#: Whatever is said to us, we send no more than this many datagrams in half a minute.
_MAX_DATAGRAMS = 200
#: Longest datagram that answers a search.
_MAX_REPLY = 1024


def seeds() -> Iterator[bytes]:
    for number, speaker in enumerate((SERVER, CLIENT)):
        for data in recorded_datagrams(speaker):
            yield bytes([number]) + data
    answer = bytes(VersionResponse(13)) + bytes(SearchResponse(5064, "10.0.0.1", 7, None))
    yield b"\2" + answer + bytes(EchoResponse())
    for data in recorded_streams(SERVER):
        yield b"\2" + data


def fuzz_target(data: bytes) -> None:
    hear = (_client_hears, _server_hears, _name_server_says)[data[0] % 3 if data else 0]
    hear(data[1:])
    check_memory(lambda: hear(data[1:]), data)


def _client_hears(data: bytes) -> None:
    book: SearchBook[str] = SearchBook(0.0, jitter=lambda: 0.5)
    names = [f"x{number}" for number in range(_NAMES)]
    book.add("searcher", names, names, 0.0)
    book.due(0.1)
    broadcaster, news = Broadcaster(CLIENT), SearchNews[str]()
    commands = broadcaster.recv(data, _SENDER)
    broadcaster.process_commands(commands)
    for command in commands:
        look_at(command)
    book.received(commands, 0.2, news)
    found = [key for _, keys in news.found.values() for key in keys]
    assert len(book) == _NAMES - len(found) and set(found) <= set(names)
    for _, (host, port), _ in news.found:
        assert isinstance(host, str) and 0 <= port < 65536
    # The others are searched on, in moderation.
    sent: set[str] = set()
    datagrams, now = 0, 0.2
    while (now := max(now + 1e-3, book.next_deadline())) < 30.0:
        book.register(now)
        for datagram in book.due(now):
            datagrams += 1
            sent |= {name for _, name in datagram.searches}
    assert datagrams <= _MAX_DATAGRAMS and sent == set(names) - set(found)


def _server_hears(data: bytes) -> None:
    for command in Broadcaster(SERVER).recv(data, _SENDER):
        look_at(command)
    directory = Directory({"x": ChannelDouble()})
    replies = search_replies(data, _SENDER, directory, 5064)
    assert all(len(reply) <= _MAX_REPLY for reply in replies)
    assert sum(map(len, replies)) <= 2 * len(data) + 16


def _name_server_says(data: bytes) -> None:
    check_same(_conversation([data]), _conversation(pieces(data)))


def _conversation(chunks: Iterable[bytes]) -> list[Any]:
    """The answers that a client takes from a name server, and how it ends."""
    session = NameServerSession(
        _SENDER, 30.0, host_name="client", client_name="fuzz", now=0.0
    )
    session.begin()
    session.established(0.0)
    answers: list[Any] = []
    for chunk in chunks:
        while chunk:
            buffer = session.get_buffer()
            size = min(len(buffer), len(chunk))
            buffer[:size], chunk = chunk[:size], chunk[size:]
            news = session.received(size, 1.0)
            answers += news.answers
            if news.error is not None:
                return [*answers, str(news.error)]
    session.search([(1, "x")])
    return [*answers, session.problem]
