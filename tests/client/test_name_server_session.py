"""NameServerSession without sockets: what is said, when it can be asked, how long it pauses."""
from __future__ import annotations

import math
import struct

import pytest

import caproto as ca
from caproto._client.name_server_session import NameServerNews, NameServerSession
from tests.conformance.items import item

ADDRESS = ("10.0.0.1", 5064)


class Talk:
    """A session with a clock, and the server's side of it."""

    def __init__(self, timeout: float = 30.0) -> None:
        self.now = 50.0
        self.session = NameServerSession(
            ADDRESS, timeout, host_name="here", client_name="me", now=self.now
        )

    def connect(self, version: int | None = 13) -> NameServerNews | None:
        """Make a connection to a server, which tells its version (unless that is None)."""
        self.server = ca.VirtualCircuit(ca.SERVER, ("10.0.0.9", 1), protocol_version=version or 13)
        greeting = self.read(self.session.begin())
        self.session.established(self.now)
        kinds = [type(command) for command in greeting]
        assert kinds == [ca.VersionRequest, ca.ClientNameRequest, ca.HostNameRequest]
        assert (greeting[1].name, greeting[2].name) == ("me", "here")
        return None if version is None else self.say(ca.VersionResponse(version))

    def read(self, buffers) -> list[ca.Message]:
        """What the server has received."""
        commands, _ = self.server.recv(*buffers)
        assert self.server.error is None
        for command in commands:
            self.server.process_command(command)
        return commands

    def say(self, *commands: ca.Message, more: bytes = b"") -> NameServerNews:
        """Let the server say something."""
        data = b"".join(map(bytes, commands)) + more
        self.session.get_buffer()[: len(data)] = data
        return self.session.received(len(data), self.now)

    def beat(self) -> list[ca.Message]:
        """Wait for the deadline; what is sent then."""
        self.now = self.session.deadline
        return self.read(self.session.beat(self.now, -math.inf))


@pytest.fixture
def talk() -> Talk:
    return Talk()


def test_it_can_be_asked_once_it_has_told_its_version(talk):
    assert talk.session.problem == "not connected yet"
    talk.connect(None)
    assert talk.session.problem and talk.session.search([(1, "x")]) == []
    assert talk.say(ca.VersionResponse(12)) == ([], 12, True, None)
    assert talk.session.problem == ""
    searches = talk.read(talk.session.search([(1, "x"), (2, "y")]))
    assert [(search.cid, search.name) for search in searches] == [(1, "x"), (2, "y")]
    answer = ca.SearchResponse(7000, "10.0.0.3", 1, None)
    news = talk.say(answer)
    assert [found.cid for found in news.answers] == [1]
    assert (news.version, news.ready, news.error) == (12, False, None)


@item(28)
def test_a_server_that_is_too_old_is_never_asked(talk):
    assert talk.connect(11).ready is False
    assert "version 4.11" in talk.session.problem
    assert talk.session.search([(1, "x")]) == []


def test_a_silent_server_is_reported_once_and_asked_when_it_responds_again(talk):
    talk.connect()
    assert talk.session.deadline == talk.now + 30.0
    [probe] = talk.beat()
    assert isinstance(probe, ca.EchoRequest) and talk.session.problem == ""
    [probe] = talk.beat()
    assert isinstance(probe, ca.EchoRequest) and "does not respond" in talk.session.problem
    assert "does not respond" in talk.session.take_report()
    assert talk.session.take_report() == ""
    assert talk.session.search([(1, "x")]) == []
    talk.now += 1.0
    assert talk.say(ca.EchoResponse()).ready
    assert talk.session.problem == "" and talk.session.search([(1, "x")])


def test_one_that_takes_no_searches_is_asked_for_an_echo(talk):
    """Whatever it says meanwhile."""
    talk.connect()
    taken = talk.now
    for _ in range(3):
        talk.now += 9.0
        talk.say(ca.NotFoundResponse(13, 99))
        talk.session.held_up(taken)
    assert talk.session.deadline == taken + 30.0


def test_answers_count_although_the_bytes_after_them_are_nonsense(talk):
    talk.connect()
    news = talk.say(ca.SearchResponse(7000, "10.0.0.3", 1, None), more=b"\xff\xff" * 16)
    assert [found.cid for found in news.answers] == [1]
    assert isinstance(news.error, ca.CaprotoError)


@pytest.mark.parametrize(
    "strange",
    [
        ca.ReadNotifyResponse(bytes(8), ca.ChannelType.DOUBLE, 1, 1, 77),
        ca.EventAddResponse(bytes(8), ca.ChannelType.DOUBLE, 1, 1, 77),
        ca.CreateChanResponse(ca.ChannelType.DOUBLE, 1, 5, 9),
        ca.ServerDisconnResponse(5),
    ],
)
def test_what_it_was_not_asked_for_is_ignored(talk, strange):
    talk.connect()
    news = talk.say(strange, ca.SearchResponse(7000, "10.0.0.3", 1, None))
    assert [found.cid for found in news.answers] == [1] and news.error is None
    assert talk.session.problem == ""


def test_a_payload_that_no_answer_has_is_not_stored(talk):
    talk.connect()
    size = 50_000_000
    header = struct.pack(">HHHHIIII", ca.ReadNotifyResponse.ID, 0xFFFF, 6, 0, 1, 1, size, size // 8)
    talk.say(more=header)
    largest = 0
    while size:
        buffer = talk.session.get_buffer()
        largest = max(largest, len(buffer))
        count = min(len(buffer), size)
        size -= count
        assert talk.session.received(count, talk.now).error is None
    assert largest < 1_000_000
    assert talk.say(ca.SearchResponse(7000, "10.0.0.3", 1, None)).answers


@item(41)
def test_pauses_double_up_to_the_longest_and_begin_again_after_an_answer():
    talk = Talk(math.inf)
    pauses = []
    for _ in range(12):
        talk.session.lost("refused", talk.now)
        pauses.append(talk.session.pause())
    assert pauses[:4] == [0.25, 0.5, 1.0, 2.0] and pauses[-1] == 30.0
    talk.connect()
    talk.session.lost("reset", talk.now)
    assert talk.session.pause() == 30.0, "a greeting is not enough"
    talk.connect()
    talk.say(ca.SearchResponse(7000, "10.0.0.3", 1, None))
    talk.session.lost("reset", talk.now)
    assert talk.session.pause() == 0.25


@pytest.mark.parametrize("lived, pause", [(9.0, 0.5), (10.0, 0.25)])
def test_a_connection_that_lasted_was_a_good_one(talk, lived, pause):
    talk.session.lost("refused", talk.now)
    talk.session.pause()
    talk.connect()
    talk.now += lived
    talk.session.lost("reset", talk.now)
    assert talk.session.pause() == pause


def test_a_short_connection_timeout_bounds_the_pauses():
    talk = Talk(timeout=0.4)
    assert [talk.session.pause() for _ in range(3)] == [0.25, 0.4, 0.4]


def test_each_problem_is_reported_once_until_the_server_was_in_order(talk):
    reports = []
    for reason in ("refused", "refused", "no route", "refused"):
        talk.session.lost(reason, talk.now)
        reports.append(talk.session.take_report())
    assert reports == ["refused", "", "no route", "refused"]
    talk.connect()
    talk.say(ca.SearchResponse(7000, "10.0.0.3", 1, None))
    talk.session.lost("refused", talk.now)
    assert talk.session.take_report() == "refused"
    assert talk.session.problem == "refused"
