"""What the report about a PV says, and the hints that follow from it."""
from __future__ import annotations

import pytest

from caproto import ClientConfiguration
from caproto._client.backoff import Failure, Loss
from caproto._client.explanation import CircuitReport, Explanation, SearchReport
from caproto._client.search_plan import SearchStatus

SERVER = "10.0.0.1", 5064


def search(**changes) -> SearchReport:
    report = SearchReport(
        destinations={("10.0.0.255", 5064): ""},
        name_servers={},
        unresolved=[],
        resolved=True,
        status=SearchStatus(name="x", tries=3, last_sent=98.0, next_due=104.0, lost=False),
        postponed=None,
        found=0,
        last_found=None,
        registered=True,
        beacons_from=2,
    )
    return report._replace(**changes)


CIRCUIT = CircuitReport(
    address=SERVER, state="connected", last_heard=1.0, version=13, operations=2, backlog=0,
    pauses=0, created=True, rights="READ",
)


def explain(**changes) -> Explanation:
    report = Explanation(
        name="x",
        state="searching for 5.0 s",
        connected=False,
        search=search(),
        server=None,
        last_failure=None,
        circuit=None,
        configuration=ClientConfiguration(),
        since=95.0,
        now=100.0,
    )
    return report._replace(**changes)


def test_it_begins_with_the_name_and_the_state():
    assert str(explain()).splitlines()[0] == "'x': searching for 5.0 s"
    assert repr(explain()) == str(explain())


def test_a_notebook_shows_the_same_text():
    html = explain(name="<x>")._repr_html_()
    assert html.startswith("<pre>&#x27;&lt;x&gt;&#x27;: searching") and "<x>" not in html


def test_it_tells_how_the_search_goes():
    text = str(explain())
    assert "searched 3 times, last 2.0 s ago, next in 4.0 s" in text
    assert "10.0.0.255:5064" in text


def test_it_tells_why_sending_fails():
    text = str(explain(search=search(destinations={("10.0.0.255", 5064): "No route to host"})))
    assert "No route to host" in text


def test_it_tells_when_a_search_begins_again():
    assert "2.5 s" in str(explain(search=search(status=None, postponed=2.5)))


def test_it_tells_the_last_failure_of_the_server():
    failure = Failure("Connection refused", 97.0, Loss.USELESS, 3, 103.0)
    text = str(explain(server=SERVER, last_failure=failure))
    assert "10.0.0.1:5064" in text and "Connection refused (3 attempts in a row)" in text


def test_a_connected_one_has_a_circuit_and_no_hints():
    report = explain(
        connected=True, state="connected", server=SERVER, circuit=CIRCUIT,
        search=search(status=None),
    )
    assert report.hints == []
    assert "connected to 10.0.0.1:5064" in str(report)


@pytest.mark.parametrize(
    "changes", [{"destinations": {}}, {"unresolved": ["nowhere:5064"]}], ids=["none", "unknown"]
)
def test_there_is_a_hint_if_the_search_cannot_succeed(changes):
    assert len(explain(search=search(**changes)).hints) > 0


SEARCHED = search().status


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"status": SEARCHED._replace(lost=True)}, "next in 4.0 s; its server was lost before"),
        ({"status": SEARCHED._replace(next_due=99.0)}, "searched 3 times, last 2.0 s ago\n"),
        ({"status": SEARCHED._replace(tries=0)}, "about to be searched for the first time"),
        ({"status": None}, "none at present"),
        ({"resolved": False}, "resolving search addresses"),
        ({"destinations": {}}, "no UDP destination"),
        ({"name_servers": {SERVER: ""}}, "by TCP to 10.0.0.1:5064\n"),
        ({"name_servers": {SERVER: "refused"}}, "by TCP to 10.0.0.1:5064, which fails: refused"),
        ({"unresolved": ["nowhere:5064"]}, "not to nowhere:5064, an unknown host"),
        ({"found": 7, "last_found": 1.5}, "7 names were found, the last one 1.5 s ago"),
        ({"found": 1, "last_found": 1.5}, "1 name was found, the last one 1.5 s ago"),
        ({"status": SEARCHED._replace(tries=1)}, "searched 1 time, last"),
        ({}, "beacons were heard from 2 servers"),
        ({"beacons_from": 0}, "no beacon was heard yet, although a repeater passes them on"),
        ({"beacons_from": 0, "registered": False}, "no repeater: beacons are not heard"),
    ],
)
def test_each_fact_about_the_search_has_a_line(monkeypatch, changes, line):
    monkeypatch.setenv("COLUMNS", "100")
    assert line in str(explain(search=search(**changes)))


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({}, "protocol 4.13, 2 operations without reply"),
        ({"backlog": 9, "pauses": 1}, "9 bytes of updates wait for callbacks; the server"),
        ({"created": False}, "the server has not created the channel yet"),
        ({"rights": ""}, "channel created, access: none"),
    ],
)
def test_each_fact_about_the_circuit_has_a_line(changes, line):
    assert line in str(explain(server=SERVER, circuit=CIRCUIT._replace(**changes)))


def test_a_server_without_failures_is_only_named():
    assert "last failure" not in str(explain(server=SERVER))


@pytest.mark.parametrize(("terminal", "width"), [("60", 60), ("300", 100)])
def test_long_lines_are_continued_below(monkeypatch, terminal, width):
    monkeypatch.setenv("COLUMNS", terminal)
    report = explain(search=search(destinations={("127.0.0.1", 5064): ""}))
    lines = str(report).splitlines()
    (hint,) = (hint for hint in report.hints if hint.startswith("no server answers"))
    assert len(hint) > 100
    assert hint in " ".join(str(report).split())
    assert max(map(len, lines)) <= width
    assert any(line.startswith(" " * 18) for line in lines)
