"""SearchBook: who is told what, with a clock that the test moves by hand."""
from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import caproto as ca
from caproto import CaprotoValueError
from caproto._client import search_book
from caproto._client.registration import RegistrationAction
from caproto._client.search_book import SearchBook, SearchNews
from tests.conformance.items import item

ONE, TWO, THREE = ("10.0.0.1", 7000), ("10.0.0.2", 7000), ("10.0.0.3", 7000)


class Client:
    """A book with a clock, and what servers would send to it."""

    def __init__(self, **options) -> None:
        self.now = 100.0
        self.book: SearchBook[str] = SearchBook(
            self.now, jitter=lambda: 0.5, **{"use_repeater": False, **options}
        )

    def add(self, searcher: str, *names: str, **options) -> None:
        """Search; each key is the name in capitals."""
        self.book.add(searcher, names, [name.upper() for name in names], self.now, **options)

    def asked(self, until: float | None = None) -> dict[str, int]:
        """Move on to the next datagrams, or to a moment; the cids by name."""
        end = self.book.next_deadline() if until is None else until
        found: dict[str, int] = {}
        while (moment := self.book.next_deadline()) <= end and moment < math.inf:
            self.now = max(self.now, moment)
            for datagram in self.book.due(self.now):
                found |= {name: cid for cid, name in datagram.searches}
        self.now = max(self.now, end) if end < math.inf else self.now
        return found

    def receive(self, *commands, sender=ONE) -> SearchNews[str]:
        """Take in one datagram."""
        for command in commands:
            command.sender_address = sender
        news: SearchNews[str] = SearchNews()
        self.book.received(commands, self.now, news)
        return news

    def progress(self, searcher: str, key: str):
        return self.book.progress([searcher], key, self.now)


@pytest.fixture
def client() -> Client:
    return Client()


def reply(cid: int, address=ONE, version: int = 13) -> ca.SearchResponse:
    host, port = address
    return ca.SearchResponse(port, host, cid, version)


def test_answers_are_sorted_by_searcher_server_and_version(client):
    client.add("a", "x", "y", "z")
    client.add("b", "x")
    assert len(client.book) == 4
    cids = {}
    for datagram in client.book.due(client.now + 1):
        for cid, name in datagram.searches:
            cids.setdefault(name, []).append(cid)
    news = client.receive(
        ca.VersionResponse(13, 1),
        reply(cids["x"][0]), reply(cids["x"][1]), reply(cids["y"][0], version=12),
        reply(cids["z"][0], TWO),
    )
    assert news.found == {
        ("a", ONE, 13): (["x"], ["X"]),
        ("b", ONE, 13): (["x"], ["X"]),
        ("a", ONE, 12): (["y"], ["Y"]),
        ("a", TWO, 13): (["z"], ["Z"]),
    }
    assert not news.elsewhere and not news.beacons
    assert len(client.book) == 0 and client.book.open_searches(["a", "b"]) == 0


def test_the_same_search_twice_is_one(client):
    """Searched, postponed or found meanwhile; of another searcher it is another one."""
    client.add("a", "x", "y", "x")
    client.add("a", "x", delay=5.0)
    client.add("b", "x")
    assert client.book.open_searches(["a"]) == 2 and client.book.open_searches(["b"]) == 1
    client.add("a", "late", delay=5.0)
    client.add("a", "late", "late2")
    assert client.progress("a", "LATE").postponed == 5.0
    cids = client.asked(client.now + 1.0)
    assert set(cids) == {"x", "y", "late2"}
    news = client.receive(reply(cids["y"]))
    assert list(news.found.values()) == [(["y"], ["Y"])]
    client.add("a", "y")
    assert client.progress("a", "Y").status.tries == 0, "it was found, so this is a new search"


def test_names_and_keys_belong_together(client):
    with pytest.raises(ValueError):
        client.book.add("a", ["x", "y"], ["X"], client.now)
    with pytest.raises(CaprotoValueError):
        client.book.add("a", ["x", ""], ["X", "Y"], client.now)
    assert client.book.open_searches(["a"]) == 0 and client.progress("a", "X").status is None


def test_what_is_forgotten_is_neither_searched_nor_told(client):
    client.add("a", "x", "twice")
    client.add("a", "late", delay=1.0)
    client.add("b", "x")
    client.add("b", "later", delay=2.0)
    cids = {}
    for datagram in client.book.due(client.now + 0.1):
        for cid, name in datagram.searches:
            cids.setdefault(name, []).append(cid)
    client.receive(reply(cids["twice"][0]))
    client.book.forget("a")
    client.book.forget("a")
    client.book.forget("unknown")
    assert client.book.open_searches(["a"]) == 0
    news = client.receive(reply(cids["x"][0]), reply(cids["twice"][0], TWO), reply(cids["x"][1]))
    assert list(news.found) == [("b", ONE, 13)] and not news.elsewhere
    assert set(client.asked(client.now + 5.0)) == {"later"}


def test_a_postponed_search_begins_in_time_and_keeps_what_is_known(client):
    client.add("a", "lost", delay=3.0, lost=True)
    client.add("a", "soon", delay=1.0)
    assert client.progress("a", "LOST")[:2] == (None, 3.0)
    assert client.book.next_deadline() == client.now + 1.0
    client.book.search_now(client.now)
    assert set(client.asked(101.5)) == {"soon"}, "postponed names are not hurried"
    assert client.progress("a", "LOST").postponed == 1.5
    assert set(client.asked(103.1)) >= {"lost"}
    status = client.progress("a", "LOST").status
    assert status.lost and status.tries >= 1 and status.name == "lost"


def test_search_now(client):
    client.add("a", "x")
    client.asked(client.now + 60.0)
    assert client.progress("a", "X").status.next_due > client.now + 5.0
    client.book.search_now(client.now)
    assert set(client.asked(client.now + 0.1)) == {"x"}


@item(25)
def test_answers_to_nothing_and_doubled_ones_are_nothing(client):
    client.add("a", "x")
    cid = client.asked()["x"]
    news = client.receive(reply(cid), reply(cid), reply(cid + 1))
    assert len(news.found) == 1 and not news.elsewhere
    assert not client.receive(reply(cid)).found


@item(26)
def test_a_second_server_is_reported_once_whoever_is_faster(client, monkeypatch):
    monkeypatch.setattr(search_book, "REMEMBERED", 3)
    told = []
    for first, second in ((ONE, TWO), (ONE, TWO), (TWO, ONE), (ONE, THREE)):
        client.add("a", "x", lost=True)
        cid = client.asked(client.now + 0.1)["x"]
        for _ in range(2):
            told += client.receive(reply(cid, first)).elsewhere
            told += client.receive(reply(cid, second)).elsewhere
    assert told == [("a", "X", ONE, TWO), ("a", "X", ONE, THREE)]
    for name in "bcdefghi":  # there is an end to what is remembered
        client.add("a", name)
        cid = client.asked(client.now + 0.1)[name]
        client.receive(reply(cid, ONE), reply(cid, TWO))
    assert 3 <= len(client.book._reported) < 6 and 3 <= len(client.book._answered) < 6


@item(24)
@pytest.mark.parametrize("version, address", [(13, TWO), (4, ("10.0.0.1", 5555))])
def test_where_the_server_is(version, address):
    client = Client(server_port=5555)
    client.add("a", "x")
    news = client.receive(reply(client.asked()["x"], TWO, version), sender=("10.0.0.1", 99))
    assert list(news.found) == [("a", address, version)]


def test_answers_over_tcp(client):
    client.add("a", "x", "y")
    cids = client.asked()
    news: SearchNews[str] = SearchNews()
    answers = [
        ca.SearchResponse(7000, "10.0.0.2", cids["x"], None),
        ca.SearchResponse(0, None, cids["y"], None),
    ]
    for answer in answers:
        answer.sender_address = ONE
    client.book.answered(answers, 12, client.now, news)
    assert set(news.found) == {("a", TWO, 12), ("a", ONE, 12)}


def test_the_payload_of_an_answer_may_be_a_view_of_writable_memory(client):
    """As that of a large message is."""
    client.add("a", "x")
    answer = ca.SearchResponse(7000, "10.0.0.2", client.asked()["x"], 13)
    answer.payload = memoryview(bytearray(answer.payload)).toreadonly()
    news: SearchNews[str] = SearchNews()
    client.book.answered([answer], 13, client.now, news)
    assert set(news.found) == {("a", TWO, 13)}


def test_what_is_withdrawn_is_not_searched(client):
    client.add("a", "x", "y")
    client.add("a", "later", "too", delay=5.0)
    client.add("b", "x")
    client.book.withdraw("a", ["X", "LATER", "UNKNOWN"])
    client.book.withdraw("nobody", ["X"])
    assert client.book.open_searches(["a"]) == 2 and len(client.book) == 2
    assert client.progress("a", "X").status is client.progress("a", "X").postponed is None
    assert set(client.asked(client.now + 10.0)) == {"x", "y", "too"}  # the x of b
    client.book.withdraw("a", ["TOO"])
    assert client.book.open_searches(["a"]) == 1


def test_an_answer_to_what_was_withdrawn_is_no_news(client):
    client.add("a", "x")
    cid = client.asked()["x"]
    client.book.withdraw("a", ["X"])
    assert not client.receive(reply(cid)).found
    client.add("a", "x")
    assert client.receive(reply(client.asked()["x"])).found


def test_what_is_withdrawn_while_it_is_postponed_may_be_asked_for_again(client):
    client.add("a", "x", "y", delay=5.0)
    client.book.withdraw("a", ["X"])
    client.add("a", "x")
    assert set(client.asked(client.now + 1.0)) == {"x"}
    client.asked(client.now + 10.0)
    assert client.book.open_searches(["a"]) == len(client.book) == 2


def test_the_round_trip_is_learned_from_numbered_answers(client):
    client.add("a", "x")
    [datagram] = client.book.due(client.now + 0.1)
    client.now += 0.6
    client.receive(ca.VersionResponse(13, datagram.sequence), reply(datagram.searches[0][0]))
    assert client.book._plan.round_trip > 0.1


def test_progress_counts_what_was_found(client):
    assert client.progress("a", "X") == (None, None, 0, None, False, 0)
    client.add("a", "x")
    client.receive(reply(client.asked()["x"]))
    client.now += 2.0
    progress = client.progress("a", "X")
    assert progress.status is None and progress.found == 1
    assert progress.last_found == pytest.approx(2.0)


@item(29)
def test_beacons_that_are_news(client):
    """The first of a server is not, nor its repetition; a restart makes names be searched soon."""
    def beacon(number: int, seconds: float):
        client.asked(client.now + seconds)
        return client.receive(ca.Beacon(13, 7000, number)).beacons

    client.add("a", "x")
    client.asked(client.now + 100.0)
    assert [beacon(1, 15.0), beacon(1, 0.0), beacon(2, 15.0)] == [[], [], [(ONE, False)]]
    assert [beacon(number, 15.0) for number in (3, 4)] == [[(ONE, True)]] * 2
    client.asked(client.now + 2.0)
    assert client.progress("a", "X").status.next_due > client.now + 10.0
    assert client.receive(ca.Beacon(13, 7000, 5)).beacons == [(ONE, False)]
    assert set(client.asked(client.now + 1.0)) == {"x"}


def test_the_first_beacon_of_a_server_with_a_circuit_is_no_news(client):
    """However many circuits it has; after the last one its numbers may begin again."""
    client.book.circuit_opened(ONE)
    client.book.circuit_opened(ONE)
    assert client.receive(ca.Beacon(13, 7000, 70)).beacons == [(ONE, False)]
    client.book.circuit_closed(ONE)
    assert client.receive(ca.Beacon(13, 7000, 70)).beacons == [], "a repetition"
    client.book.circuit_closed(ONE)
    assert client.receive(ca.Beacon(13, 7000, 0)).beacons == [(ONE, False)], "a new beginning"


def test_registration_with_the_repeater():
    client = Client(use_repeater=True, registration_retry_time=5.0)
    assert client.book.next_deadline() == client.now
    assert client.book.register(client.now) is RegistrationAction.REGISTER
    assert client.book.register(client.now) is RegistrationAction.NOTHING
    client.now = client.book.next_deadline()
    assert client.book.register(client.now) is RegistrationAction.START_REPEATER
    assert not client.progress("a", "X").registered
    client.receive(ca.RepeaterConfirmResponse("127.0.0.1"))
    assert client.progress("a", "X").registered
    assert client.book.next_deadline() == client.now + 300.0
    client.now += 200.0
    assert client.progress("a", "X").beacons_from == 0
    client.receive(ca.Beacon(13, 7000, 1))
    assert client.progress("a", "X").beacons_from == 1
    assert client.book.next_deadline() == client.now + 300.0


steps = st.one_of(
    st.tuples(
        st.just("add"), st.sampled_from("ab"), st.sampled_from("uvwxyz"),
        st.booleans(), st.sampled_from([0.0, 0.0, 0.7, 3.0]),
    ),
    st.tuples(st.just("forget"), st.sampled_from("ab")),
    st.tuples(st.just("wait"), st.floats(0.0, 5.0)),
    st.tuples(st.just("answer"), st.integers(1, 40), st.sampled_from([ONE, TWO])),
    st.tuples(st.just("now")),
)


@settings(max_examples=150)
@given(st.lists(steps, max_size=60))
def test_each_search_ends_exactly_once_and_none_is_lost(history):
    client = Client()
    wanted: set[tuple[str, str]] = set()
    for what, *arguments in history:
        if what == "add":
            searcher, name, lost, delay = arguments
            client.add(searcher, name, lost=lost, delay=delay)
            wanted.add((searcher, name.upper()))
        elif what == "forget":
            client.book.forget(*arguments)
            wanted = {pair for pair in wanted if pair[0] != arguments[0]}
        elif what == "wait":
            client.asked(client.now + arguments[0])
        elif what == "now":
            client.book.search_now(client.now)
        else:
            news = client.receive(reply(*arguments))
            for (searcher, _, _), (names, keys) in news.found.items():
                assert [name.upper() for name in names] == keys
                for key in keys:
                    wanted.remove((searcher, key))
        assert client.book.open_searches("ab") == len(wanted)
    asked = client.asked(client.now + 400.0)  # more than the longest interval
    assert {name.upper() for name in asked} == {key for _, key in wanted}
    assert len(client.book) == len(wanted)
