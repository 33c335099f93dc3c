"""Explanation: why is this PV not connected?

The state of one PV at one moment, gathered by `Context.explain`, with hints for the user. Making it
changes nothing and waits for nothing.
"""
from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from .._addresses import Address
from .._environment import ClientConfiguration
from .._numbers import counted
from .._typing import NamedTuple
from .backoff import Failure, Loss
from .descriptions import CircuitState, describe_circuit
from .search_plan import SearchStatus
from .tables import terminal_width

#: Longer lines are continued on the next one, two columns further in, in wide terminals, too.
_WIDEST = 100


class SearchReport(NamedTuple):
    """How the search goes; see `SearchTargets` and `SearchProgress`."""

    #: Where searches are sent; with why sending failed the last time, empty if it did not.
    destinations: dict[Address, str]
    #: The name servers; with why they cannot be asked, empty if they can.
    name_servers: dict[Address, str]
    #: Configured addresses ('host:port') with an unknown host.
    unresolved: list[str]
    #: Whether the search addresses are resolved.
    resolved: bool
    #: About this name; None if it is not being searched now.
    status: SearchStatus | None
    #: Seconds until the search begins (again), after a failure; None if it is not postponed.
    postponed: float | None
    #: Names found so far by this broadcaster, and how long ago the last one (seconds; None: never).
    found: int
    last_found: float | None
    #: Whether a repeater has confirmed that it passes beacons on to us.
    registered: bool
    #: How many servers have sent beacons that were passed on.
    beacons_from: int


class CircuitReport(NamedTuple):
    """The circuit that has the PV."""

    address: Address
    #: 'connecting', 'connected', 'no response', 'closing the circuit' or 'disconnected'.
    state: str
    #: Seconds since the server sent anything.
    last_heard: float
    #: Minor protocol version in use.
    version: int
    #: Reads and writes without reply so far, on the whole circuit.
    operations: int
    #: Bytes of updates waiting for callbacks; how often the server was asked to hold updates.
    backlog: int
    pauses: int
    #: Whether the server has created the channel.
    created: bool
    #: Names of the access rights, or '' for none.
    rights: str


class Explanation(NamedTuple):
    """The state of one PV at one moment; print it, or use its parts.

    Attributes
    ----------
    name : str
        Of the PV.
    state : str
        Where it stands, in a few words.
    connected : bool
    search : SearchReport
        Destinations, name servers, unknown hosts, errors of sending, number of tries, next try.
    server : tuple of (str, int) or None
        The server that has, or last had, this PV.
    last_failure : Failure or None
        The last failure of that server.
    circuit : CircuitReport or None
        The connection to it.
    configuration : ClientConfiguration
        The environment in force.
    since : float
        When the PV came into this state, on the monotonic clock.
    now : float
        When this was written, likewise.
    """

    name: str
    state: str
    connected: bool
    search: SearchReport
    server: Address | None
    last_failure: Failure | None
    circuit: CircuitReport | None
    configuration: ClientConfiguration
    since: float
    now: float

    @property
    def hints(self) -> list[str]:
        """List what to check, the likeliest cause first; empty if all is well."""
        return [text for applies, text in _HINTS if applies(self)]

    def __str__(self) -> str:
        import textwrap  # here, because a script without a prompt does not need it

        width = min(terminal_width(), _WIDEST)
        lines = [f"{self.name!r}: {self.state}"]
        for title, content in self._sections():
            for line in content:
                head = f"  {title:14}"
                lines += textwrap.wrap(
                    line, width, initial_indent=head, subsequent_indent=" " * (len(head) + 2),
                    break_long_words=False, break_on_hyphens=False,
                )
                title = ""
        return "\n".join(lines)

    def __repr__(self) -> str:  # so that the prompt shows the text
        return str(self)

    def _repr_html_(self) -> str:
        """Show the text in a notebook."""
        from html import escape

        return f"<pre>{escape(str(self))}</pre>"

    def _sections(self) -> Iterator[tuple[str, Iterable[str]]]:
        yield "search", self._search_lines()
        if self.server is not None:
            yield "server", self._server_lines(self.server)
        if self.circuit is not None:
            yield "circuit", self._circuit_lines(self.circuit)
        yield "environment", str(self.configuration).splitlines()
        yield "hints", self.hints

    def _search_lines(self) -> Iterator[str]:
        search, status, now = self.search, self.search.status, self.now
        if status is not None and status.tries:
            age = max(0.0, now - status.last_sent)  # a search may be sent while this is made
            text = f"searched {counted(status.tries, 'time')}, last {age:.1f} s ago"
            if status.next_due > now:
                text += f", next in {status.next_due - now:.1f} s"
            yield text + ("; its server was lost before" if status.lost else "")
        elif status is not None:
            yield "about to be searched for the first time"
        elif search.postponed is not None:
            yield f"begins again in {search.postponed:.1f} s"
        else:
            yield "none at present"
        for (host, port), problem in search.destinations.items():
            yield f"by UDP to {host}:{port}" + (f", which fails: {problem}" if problem else "")
        if not search.resolved:
            yield "resolving search addresses"
        elif not search.destinations:
            yield "no UDP destination"
        for (host, port), problem in search.name_servers.items():
            yield f"by TCP to {host}:{port}" + (f", which fails: {problem}" if problem else "")
        for address in search.unresolved:
            yield f"not to {address}, an unknown host"
        if search.last_found is None:
            yield "no server has answered any search so far"
        else:
            names = counted(search.found, "name was", "names were")
            yield f"{names} found, the last one {search.last_found:.1f} s ago"
        if search.beacons_from:
            yield f"beacons were heard from {counted(search.beacons_from, 'server')}"
        elif search.registered:
            yield "no beacon was heard yet, although a repeater passes them on"
        if not search.registered:
            yield "no repeater: beacons are not heard"

    def _server_lines(self, server: Address) -> Iterator[str]:
        host, port = server
        yield f"{host}:{port}"
        if self.last_failure is not None:
            yield f"last failure {self.now - self.last_failure.when:.1f} s ago: {self.last_failure}"

    @staticmethod
    def _circuit_lines(circuit: CircuitReport) -> Iterator[str]:
        text = describe_circuit(CircuitState(circuit.state), circuit.address)
        yield f"{text}, last heard {circuit.last_heard:.1f} s ago"
        operations = counted(circuit.operations, "operation")
        yield f"protocol 4.{circuit.version}, {operations} without reply"
        if circuit.backlog or circuit.pauses:
            yield (
                f"{counted(circuit.backlog, 'byte')} of updates wait for callbacks; the server was "
                f"asked to hold updates {counted(circuit.pauses, 'time')}"
            )
        yield (
            f"channel created, access: {circuit.rights or 'none'}"
            if circuit.created
            else "the server has not created the channel yet"
        )


def _searching(report: Explanation) -> bool:
    return report.circuit is None and (
        report.search.status is not None or report.search.postponed is not None
    )


def _nowhere(report: Explanation) -> bool:
    search = report.search
    asked = search.destinations or search.name_servers or search.unresolved
    return _searching(report) and search.resolved and not asked


def _unknown_host(report: Explanation) -> bool:
    return _searching(report) and bool(report.search.unresolved)


def _all_fail(report: Explanation) -> bool:
    destinations = report.search.destinations
    return _searching(report) and bool(destinations) and all(destinations.values())


def _loopback_only(report: Explanation) -> bool:
    hosts = [host for host, _ in report.search.destinations]
    loopback = bool(hosts) and all(host.startswith("127.") for host in hosts)
    return _searching(report) and loopback and not _all_fail(report)


def _no_broadcast(report: Explanation) -> bool:
    # With nothing to broadcast to, the automatic list falls back to this host itself.
    return _loopback_only(report) and report.configuration.auto_addr_list


def _name_server_fails(report: Explanation) -> bool:
    return _searching(report) and any(report.search.name_servers.values())


def _others_found(report: Explanation) -> bool:
    return _searching(report) and report.server is None and report.search.found > 0


def _one_of_several(report: Explanation) -> bool:
    broadcast = any(host == "127.255.255.255" for host, _ in report.search.destinations)
    return _loopback_only(report) and _others_found(report) and not broadcast


def _no_answers(report: Explanation) -> bool:
    status = report.search.status
    return (
        _searching(report)
        and not report.search.found
        and status is not None
        and status.tries > 2
        and not _nowhere(report)
        and not _all_fail(report)
    )


def _odd_name(report: Explanation) -> bool:
    return not report.connected and (
        report.name != report.name.strip() or any(c in report.name for c in " \t\n'\"")
    )


def _failing(report: Explanation) -> bool:
    failure = report.last_failure
    return _searching(report) and failure is not None and failure.when >= report.since


def _loss(report: Explanation) -> Loss | None:
    return report.last_failure.loss if report.last_failure is not None else None


def _cannot_connect(report: Explanation) -> bool:
    return _failing(report) and _loss(report) is Loss.USELESS


def _refused(report: Explanation) -> bool:
    return _failing(report) and _loss(report) is not Loss.USELESS


def _unresponsive(report: Explanation) -> bool:
    circuit = report.circuit
    return circuit is not None and circuit.state == CircuitState.UNRESPONSIVE.value


def _not_created(report: Explanation) -> bool:
    circuit = report.circuit
    if circuit is None or circuit.created:
        return False
    return circuit.state == CircuitState.CONNECTED.value


def _no_access(report: Explanation) -> bool:
    return report.connected and report.circuit is not None and not report.circuit.rights


#: The condition of each hint, and its text.
_HINTS: tuple[tuple[Callable[[Explanation], bool], str], ...] = (
    (
        _nowhere,
        "there is no address to search: EPICS_CA_ADDR_LIST and EPICS_CA_NAME_SERVERS are empty, "
        "and EPICS_CA_AUTO_ADDR_LIST is NO",
    ),
    (
        _unknown_host,
        "a host in EPICS_CA_ADDR_LIST or EPICS_CA_NAME_SERVERS is unknown: is it misspelled?",
    ),
    (_all_fail, "no search can leave this host: is the network up?"),
    (
        _no_broadcast,
        "no network interface of this host can broadcast, so only this host is searched: list "
        "the servers in EPICS_CA_ADDR_LIST",
    ),
    (
        _loopback_only,
        "only this host is searched (loopback)",
    ),
    (
        _name_server_fails,
        "a name server is not available: is it running, and does a firewall block the connection?",
    ),
    (
        _odd_name,
        "the name contains blanks or quotes: is that intended?",
    ),
    (
        _others_found,
        "other PVs were found by the same searches: is the name misspelled, or its IOC down?",
    ),
    (
        _one_of_several,
        "of several IOCs of this host that share a port only one hears a search, unless the "
        "address is 127.255.255.255",
    ),
    (
        _no_answers,
        "no server answers any search: is the name misspelled, or its IOC down? Or it is the wrong "
        "network or port (EPICS_CA_ADDR_LIST, EPICS_CA_SERVER_PORT), or a firewall that stops UDP",
    ),
    (
        _cannot_connect,
        "the server answers searches but refuses or drops connections: a firewall "
        "that stops TCP, an address that is reachable only from its own network, or an IOC that is "
        "being restarted",
    ),
    (
        _refused,
        "the server had this PV, or claimed to; it may be restarting",
    ),
    (
        _unresponsive,
        "the server is connected but silent: it hangs, or the network is interrupted; the PV "
        "can be used again as soon as the server answers",
    ),
    (
        _not_created,
        "the server has the name but has not created the channel yet: it is busy, or it is a "
        "gateway that waits for its own server",
    ),
    (_no_access, "the server's access rules let this user on this host neither read nor write"),
)
