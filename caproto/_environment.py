"""The EPICS_CA_* and EPICS_CAS_* variables as values.

Two immutable objects, `ClientConfiguration` and `ServerConfiguration`, hold the network settings of
a client or a server. They come from the environment (`from_environment`), read once, or from
arguments, so that two clients in one process can use different networks. The functions here return
single values of the present environment.

Texts are read by the rules of EPICS base. A wrong variable is logged and replaced by the default,
as EPICS users expect: a typing error in a login script must not stop a client. A wrong argument
raises.

This module reads `os.environ` and asks for the addresses of the network interfaces; it opens no
socket and resolves no host name. Hosts may therefore be names here; `sockets.resolve_addresses`
resolves them.
"""
from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Iterable, Mapping

from ._addresses import ANY_INTERFACE, Address, interface_addresses, read_addresses, warn
from ._errors import CaprotoTypeError, CaprotoValueError
from ._numbers import is_real, whole
from ._protocol.constants import REPEATER_PORT, SERVER_PORT
from ._protocol.text import print_lines
from ._settings import Settings
from ._typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from typing import Any, Final, TypeVar

    from ._protocol.text import Printer

    T = TypeVar("T")

__all__ = [
    "ClientConfiguration",
    "ServerConfiguration",
    "get_environment_variables",
]


LOOPBACK: Final = "127.0.0.1"
#: The least value for a variable; a shorter period would flood the network.
MINIMUM_SEARCH_PERIOD: Final = 60.0
#: The least value for a variable.
MINIMUM_ARRAY_BYTES: Final = 16384
#: Ports below belong to other services; the variables may not name them.
LOWEST_PORT: Final = 5001
#: Bytes before the payload of an array (the extended header).
ARRAY_HEADER_BYTES: Final = 24


# Texts -------------------------------------------------------------------------------------------


def _parse_int(text: str) -> int:
    """Read an optional sign and digits; ignore the rest."""
    match = re.match(r"\s*([+-]?\d+)", text, re.ASCII)
    if match is None:
        raise CaprotoValueError("is not an integer")
    return int(match[1])


def _parse_port(text: str) -> int:
    port = _parse_int(text)
    if not LOWEST_PORT <= port <= 65535:
        raise CaprotoValueError(f"is not a port number from {LOWEST_PORT} to 65535")
    return port


def _parse_float(text: str) -> float:
    """Read a number in C's syntax, decimal or hexadecimal; ignore what follows it."""
    match = re.match(r"\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)", text, re.ASCII)
    hexadecimal = re.match(
        r"\s*([+-]?0[xX](?:[0-9a-fA-F]+\.?[0-9a-fA-F]*|\.[0-9a-fA-F]+)(?:[pP][+-]?\d+)?)",
        text,
        re.ASCII,
    )
    if hexadecimal is not None:
        return float.fromhex(hexadecimal[1])
    if match is None:
        raise CaprotoValueError("is not a number")
    return float(match[1])


def _parse_seconds(text: str) -> float:
    seconds = _parse_float(text)
    if not 0 < seconds < math.inf:
        raise CaprotoValueError("is not a positive, finite number of seconds")
    return seconds


def _parse_period(text: str) -> float:
    period = _parse_float(text)
    if period == math.inf:  # the search for a name would end
        raise CaprotoValueError("is not a finite number of seconds")
    return period


def _parse_array_bytes(text: str) -> int:
    size = _parse_int(text)
    if size < MINIMUM_ARRAY_BYTES:
        raise CaprotoValueError(f"is less than {MINIMUM_ARRAY_BYTES}")
    return size


def _parse_ttl(text: str) -> int:
    ttl = _parse_int(text)
    if not 0 < ttl < 256:
        raise CaprotoValueError("is not in the range 1 to 255")
    return ttl


def _parse_yes(text: str) -> bool:
    return text.strip().lower() == "yes"


def _parse_auto(text: str) -> bool:
    """Read a switch: off if there is ``no`` or ``NO`` in it; EPICS leaves it on for ``No``."""
    return "no" not in text and "NO" not in text


def _parse_list(text: str) -> str:
    return text


class _Variable(NamedTuple):
    """How to read one variable."""

    default: Any
    parse: Callable[[str], Any]
    #: A variable above this one in the table; its value is the default of this one.
    fallback: str = ""
    #: Whether the empty text is a legal value.
    may_be_empty: bool = False


_VARIABLES: Final[dict[str, _Variable]] = {
    "EPICS_CA_ADDR_LIST": _Variable("", _parse_list, may_be_empty=True),
    "EPICS_CA_AUTO_ADDR_LIST": _Variable(True, _parse_auto, may_be_empty=True),
    "EPICS_CA_NAME_SERVERS": _Variable("", _parse_list, may_be_empty=True),
    "EPICS_CA_SERVER_PORT": _Variable(SERVER_PORT, _parse_port),
    "EPICS_CA_REPEATER_PORT": _Variable(REPEATER_PORT, _parse_port),
    "EPICS_CA_CONN_TMO": _Variable(30.0, _parse_seconds),
    "EPICS_CA_BEACON_PERIOD": _Variable(15.0, _parse_seconds),
    "EPICS_CA_MAX_SEARCH_PERIOD": _Variable(300.0, _parse_period),
    "EPICS_CA_MAX_ARRAY_BYTES": _Variable(MINIMUM_ARRAY_BYTES, _parse_array_bytes),
    "EPICS_CA_AUTO_ARRAY_BYTES": _Variable(True, _parse_yes),
    "EPICS_CA_MCAST_TTL": _Variable(1, _parse_ttl),
    "CAPROTO_USE_REPEATER": _Variable(True, _parse_yes),
    "EPICS_CAS_SERVER_PORT": _Variable(SERVER_PORT, _parse_port, "EPICS_CA_SERVER_PORT"),
    "EPICS_CAS_INTF_ADDR_LIST": _Variable("", _parse_list, may_be_empty=True),
    "EPICS_CAS_IGNORE_ADDR_LIST": _Variable("", _parse_list, may_be_empty=True),
    "EPICS_CAS_AUTO_BEACON_ADDR_LIST": _Variable(True, _parse_auto, may_be_empty=True),
    "EPICS_CAS_BEACON_ADDR_LIST": _Variable("", _parse_list, may_be_empty=True),
    "EPICS_CAS_BEACON_PORT": _Variable(REPEATER_PORT, _parse_port, "EPICS_CA_REPEATER_PORT"),
    "EPICS_CAS_BEACON_PERIOD": _Variable(15.0, _parse_seconds, "EPICS_CA_BEACON_PERIOD"),
}


def _value(name: str, text: str | None, default: object) -> Any:
    """Read one variable; log what cannot be read, and replace it by the default."""
    variable = _VARIABLES[name]
    if text is None:
        return default
    if not text.strip() and variable.may_be_empty:
        return variable.parse("")
    try:
        if not text.strip():
            raise CaprotoValueError("is empty")
        return variable.parse(text)
    except (ValueError, OverflowError) as exc:  # also Python's own, for very long numbers
        warn("%s=%r %s; using %r", name, text, exc, default)
        return default


def get_environment_variables(environ: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Read all EPICS_CA_* and EPICS_CAS_* variables that caproto uses.

    Parameters
    ----------
    environ : mapping of str to str, optional
        Default: `os.environ`.

    Returns
    -------
    dict of str to (str, int, float or bool)
        The effective values. Address lists stay texts. Unset variables, and those that cannot be
        read (which is logged), have their default.
    """
    environ = os.environ if environ is None else environ
    values: dict[str, Any] = {}
    for name, variable in _VARIABLES.items():
        default = values[variable.fallback] if variable.fallback else variable.default
        values[name] = _value(name, environ.get(name), default)
    return values


# Configurations ----------------------------------------------------------------------------------


def _argument_addresses(value: object, default_port: int, what: str) -> tuple[Address, ...]:
    def reject(error: CaprotoValueError) -> None:
        raise CaprotoValueError(f"{what}: {error}")

    return read_addresses(value, default_port, what, reject)


def variable_addresses(text: str, default_port: int, name: str) -> tuple[Address, ...]:
    """Read the addresses in the *text* of the variable *name*; log those that cannot be read."""

    def reject(error: CaprotoValueError) -> None:
        warn("%s: %s; skipped", name, error)

    return read_addresses(text, default_port, name, reject)


def _check_int(what: str, value: object, lowest: int, highest: int) -> int:
    try:
        number = whole(value)
    except TypeError:
        raise CaprotoTypeError(f"{what} must be an integer, not {value!r}") from None
    if not lowest <= number <= highest:
        raise CaprotoValueError(f"{what} must be between {lowest} and {highest}, not {number}")
    return number


def _check_number(what: str, value: object, lowest: float) -> float:
    if not is_real(value):
        raise CaprotoTypeError(f"{what} must be a number, not {value!r}")
    try:
        number: float = whole(value)
    except TypeError:
        number = float(value)
    if math.isnan(number) or number < lowest:
        raise CaprotoValueError(f"{what} must be at least {lowest}, not {number}")
    return number


def _check_seconds(what: str, value: object) -> float:
    number = _check_number(what, value, 0.0)
    if not number:
        raise CaprotoValueError(f"{what} must be a positive number of seconds, not {number}")
    return number


def _check_bool(what: str, value: object) -> None:
    if not isinstance(value, bool):
        raise CaprotoTypeError(f"{what} must be True or False, not {value!r}")


def _unique(addresses: Iterable[T]) -> list[T]:
    return list(dict.fromkeys(addresses))


class ClientConfiguration(Settings):
    """The network settings of a client; the EPICS_CA_* variables as values.

    Addresses may be given as in the variables, ``'10.0.0.255 ioc7:5066'``, or as a sequence of such
    texts or of (host, port) pairs. Use `replace` to make a variant.

    Attributes
    ----------
    addr_list : tuple of (str, int)
        Where to send searches: hosts, broadcast or multicast addresses (EPICS_CA_ADDR_LIST).
    auto_addr_list : bool
        Also search on the broadcast address of each network interface (EPICS_CA_AUTO_ADDR_LIST).
    name_servers : tuple of (str, int)
        Servers to search over TCP (EPICS_CA_NAME_SERVERS).
    server_port : int
        Default port of searches and name servers (EPICS_CA_SERVER_PORT, 5064).
    repeater_port : int
        Where the repeater listens (EPICS_CA_REPEATER_PORT, 5065).
    conn_tmo : float
        Seconds without a sign of life before a circuit is probed, and longest time to connect
        (EPICS_CA_CONN_TMO, 30). With infinity neither ever happens.
    max_search_period : float
        Longest interval between searches of one name, in seconds, at least 60 and finite
        (EPICS_CA_MAX_SEARCH_PERIOD, 300).
    max_array_bytes : int
        Largest array, in bytes, if `auto_array_bytes` is False; see `max_payload`
        (EPICS_CA_MAX_ARRAY_BYTES, 16384, which is also the least).
    auto_array_bytes : bool
        Accept arrays of any size (EPICS_CA_AUTO_ARRAY_BYTES).
    mcast_ttl : int
        Time-to-live of multicast searches (EPICS_CA_MCAST_TTL, 1).
    use_repeater : bool
        Register with a repeater, and start one if none runs; without, beacons are not heard
        (CAPROTO_USE_REPEATER, a variable of caproto).

    Raises
    ------
    CaprotoValueError, CaprotoTypeError
        The message names the argument and what it should be.
    """

    __module__ = "caproto"  # where users find it, also before it is imported from there

    addr_list: tuple[Address, ...] = ()
    auto_addr_list: bool = True
    name_servers: tuple[Address, ...] = ()
    server_port: int = SERVER_PORT
    repeater_port: int = REPEATER_PORT
    conn_tmo: float = 30.0
    max_search_period: float = 300.0
    max_array_bytes: int = MINIMUM_ARRAY_BYTES
    auto_array_bytes: bool = True
    mcast_ttl: int = 1
    use_repeater: bool = True

    def __post_init__(self) -> None:
        for port in ("server_port", "repeater_port"):
            self.__dict__[port] = _check_int(port, getattr(self, port), 1, 65535)
        for switch in ("auto_addr_list", "auto_array_bytes", "use_repeater"):
            _check_bool(switch, getattr(self, switch))
        self.__dict__["conn_tmo"] = _check_seconds("conn_tmo", self.conn_tmo)
        self.__dict__["max_search_period"] = _check_number(
            "max_search_period", self.max_search_period, MINIMUM_SEARCH_PERIOD
        )
        if self.max_search_period == math.inf:
            raise CaprotoValueError("max_search_period must be a finite number of seconds, not inf")
        self.__dict__["max_array_bytes"] = _check_number(
            "max_array_bytes", self.max_array_bytes, MINIMUM_ARRAY_BYTES
        )
        self.__dict__["mcast_ttl"] = _check_int("mcast_ttl", self.mcast_ttl, 1, 255)
        for name in ("addr_list", "name_servers"):
            addresses = _argument_addresses(getattr(self, name), self.server_port, name)
            self.__dict__[name] = addresses

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] | None = None) -> ClientConfiguration:
        """Read the EPICS_CA_* variables, now.

        Parameters
        ----------
        environ : mapping of str to str, optional
            Default: `os.environ`. A variable that cannot be read is logged and replaced by the
            default.
        """
        values = get_environment_variables(environ)
        port = values["EPICS_CA_SERVER_PORT"]
        period = values["EPICS_CA_MAX_SEARCH_PERIOD"]
        if not period >= MINIMUM_SEARCH_PERIOD:
            warn(
                "EPICS_CA_MAX_SEARCH_PERIOD=%g is too short; using %g",
                period,
                MINIMUM_SEARCH_PERIOD,
            )
            period = MINIMUM_SEARCH_PERIOD
        return cls(
            addr_list=variable_addresses(values["EPICS_CA_ADDR_LIST"], port, "EPICS_CA_ADDR_LIST"),
            auto_addr_list=values["EPICS_CA_AUTO_ADDR_LIST"],
            name_servers=variable_addresses(
                values["EPICS_CA_NAME_SERVERS"], port, "EPICS_CA_NAME_SERVERS"
            ),
            server_port=port,
            repeater_port=values["EPICS_CA_REPEATER_PORT"],
            conn_tmo=values["EPICS_CA_CONN_TMO"],
            max_search_period=period,
            max_array_bytes=values["EPICS_CA_MAX_ARRAY_BYTES"],
            auto_array_bytes=values["EPICS_CA_AUTO_ARRAY_BYTES"],
            mcast_ttl=values["EPICS_CA_MCAST_TTL"],
            use_repeater=values["CAPROTO_USE_REPEATER"],
        )

    @property
    def max_payload(self) -> float:
        """Largest payload to accept, in bytes; infinite with `auto_array_bytes`."""
        return math.inf if self.auto_array_bytes else self.max_array_bytes + ARRAY_HEADER_BYTES

    def search_addresses(self) -> list[Address]:
        """Return where searches go: the list, then the broadcast addresses of the interfaces.

        The interfaces are looked up now. If `auto_addr_list` is on and no interface can broadcast,
        this host itself is asked. An empty result means that only name servers can find anything.

        Returns
        -------
        list of (str, int)
            Without duplicates; hosts may be names.
        """
        automatic: list[Address] = []
        if self.auto_addr_list:
            automatic = [(target, self.server_port) for _, target in interface_addresses()]
            automatic = automatic or [(LOOPBACK, self.server_port)]
        return _unique((*self.addr_list, *automatic))

    def __str__(self) -> str:
        return _described(self)

    def _repr_pretty_(self, printer: Printer, cycle: bool) -> None:
        """Print it at the prompt of IPython: a line for each setting."""
        settings = (f"  {line}" for line in str(self).splitlines())
        print_lines(printer, [type(self).__name__, *settings])


class ServerConfiguration(Settings):
    """The network settings of a server; the EPICS_CAS_* variables as values.

    Attributes
    ----------
    interfaces : tuple of str
        Addresses to listen on; ``('0.0.0.0',)`` is all of them (EPICS_CAS_INTF_ADDR_LIST).
        Multicast addresses in it are to be joined.
    ignore_addr_list : tuple of str
        Searches from these hosts get no answer (EPICS_CAS_IGNORE_ADDR_LIST).
    server_port : int
        UDP port of searches and preferred TCP port; 0 takes any free ones
        (EPICS_CAS_SERVER_PORT, else EPICS_CA_SERVER_PORT, 5064).
    auto_beacon_addr_list : bool
        Send beacons to the broadcast addresses of the interfaces (EPICS_CAS_AUTO_BEACON_ADDR_LIST).
    beacon_addr_list : tuple of (str, int)
        Further destinations of beacons (EPICS_CAS_BEACON_ADDR_LIST).
    beacon_port : int
        EPICS_CAS_BEACON_PORT, else EPICS_CA_REPEATER_PORT, 5065.
    beacon_period : float
        Longest interval between beacons in seconds (EPICS_CAS_BEACON_PERIOD, else
        EPICS_CA_BEACON_PERIOD, 15).
    max_array_bytes, auto_array_bytes, mcast_ttl
        As in `ClientConfiguration`.

    Raises
    ------
    CaprotoValueError, CaprotoTypeError
        The message names the argument and what it should be.
    """

    __module__ = "caproto"  # where users find it, also before it is imported from there

    interfaces: tuple[str, ...] = (ANY_INTERFACE,)
    ignore_addr_list: tuple[str, ...] = ()
    server_port: int = SERVER_PORT
    auto_beacon_addr_list: bool = True
    beacon_addr_list: tuple[Address, ...] = ()
    beacon_port: int = REPEATER_PORT
    beacon_period: float = 15.0
    max_array_bytes: int = MINIMUM_ARRAY_BYTES
    auto_array_bytes: bool = True
    mcast_ttl: int = 1

    def __post_init__(self) -> None:
        self.__dict__["server_port"] = _check_int("server_port", self.server_port, 0, 65535)
        self.__dict__["beacon_port"] = _check_int("beacon_port", self.beacon_port, 1, 65535)
        for switch in ("auto_beacon_addr_list", "auto_array_bytes"):
            _check_bool(switch, getattr(self, switch))
        self.__dict__["beacon_period"] = _check_seconds("beacon_period", self.beacon_period)
        self.__dict__["max_array_bytes"] = _check_number(
            "max_array_bytes", self.max_array_bytes, MINIMUM_ARRAY_BYTES
        )
        self.__dict__["mcast_ttl"] = _check_int("mcast_ttl", self.mcast_ttl, 1, 255)
        addresses = _argument_addresses(self.beacon_addr_list, self.beacon_port, "beacon_addr_list")
        self.__dict__["beacon_addr_list"] = addresses
        for name in ("interfaces", "ignore_addr_list"):
            hosts = _hosts(_argument_addresses(getattr(self, name), SERVER_PORT, name))
            self.__dict__[name] = hosts
        if not self.interfaces:
            self.__dict__["interfaces"] = (ANY_INTERFACE,)
        if ANY_INTERFACE in self.interfaces and len(self.interfaces) > 1:
            raise CaprotoValueError(
                f"interfaces: {ANY_INTERFACE} means all of them and cannot be combined: "
                f"{self.interfaces}"
            )

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] | None = None) -> ServerConfiguration:
        """Read the EPICS_CAS_* variables, now.

        Parameters
        ----------
        environ : mapping of str to str, optional
            Default: `os.environ`. A variable that cannot be read is logged and replaced by the
            default.
        """
        values = get_environment_variables(environ)

        def hosts(name: str) -> tuple[str, ...]:
            return _hosts(variable_addresses(values[name], SERVER_PORT, name))

        interfaces = hosts("EPICS_CAS_INTF_ADDR_LIST") or (ANY_INTERFACE,)
        if ANY_INTERFACE in interfaces and len(interfaces) > 1:
            warn("EPICS_CAS_INTF_ADDR_LIST: %s means all interfaces", ANY_INTERFACE)
            interfaces = (ANY_INTERFACE,)
        return cls(
            interfaces=interfaces,
            ignore_addr_list=hosts("EPICS_CAS_IGNORE_ADDR_LIST"),
            server_port=values["EPICS_CAS_SERVER_PORT"],
            auto_beacon_addr_list=values["EPICS_CAS_AUTO_BEACON_ADDR_LIST"],
            beacon_addr_list=variable_addresses(
                values["EPICS_CAS_BEACON_ADDR_LIST"],
                values["EPICS_CAS_BEACON_PORT"],
                "EPICS_CAS_BEACON_ADDR_LIST",
            ),
            beacon_port=values["EPICS_CAS_BEACON_PORT"],
            beacon_period=values["EPICS_CAS_BEACON_PERIOD"],
            max_array_bytes=values["EPICS_CA_MAX_ARRAY_BYTES"],
            auto_array_bytes=values["EPICS_CA_AUTO_ARRAY_BYTES"],
            mcast_ttl=values["EPICS_CA_MCAST_TTL"],
        )

    @property
    def max_payload(self) -> float:
        """Largest payload to accept, in bytes; infinite with `auto_array_bytes`."""
        return math.inf if self.auto_array_bytes else self.max_array_bytes + ARRAY_HEADER_BYTES

    def beacon_addresses(self) -> list[Address]:
        """Return where beacons go: the list, then the broadcast addresses of the interfaces in use.

        The interfaces are looked up now. A server on the loopback interface, or on a host that
        cannot broadcast, sends them to this host itself.

        Returns
        -------
        list of (str, int)
            Without duplicates; hosts may be names.
        """
        automatic: list[Address] = []
        if self.auto_beacon_addr_list:
            everywhere = ANY_INTERFACE in self.interfaces
            targets = [
                target
                for address, target in interface_addresses()
                if everywhere or address in (*self.interfaces, ANY_INTERFACE)
            ]
            if not targets or any(host.startswith("127.") for host in self.interfaces):
                targets.append(LOOPBACK)
            automatic = [(target, self.beacon_port) for target in targets]
        return _unique((*self.beacon_addr_list, *automatic))

    def __str__(self) -> str:
        return _described(self)

    def _repr_pretty_(self, printer: Printer, cycle: bool) -> None:
        """Print it at the prompt of IPython: a line for each setting."""
        settings = (f"  {line}" for line in str(self).splitlines())
        print_lines(printer, [type(self).__name__, *settings])


def _hosts(addresses: Iterable[Address]) -> tuple[str, ...]:
    return tuple(_unique(host for host, _ in addresses))


def _described(configuration: ClientConfiguration | ServerConfiguration) -> str:
    """Write one setting per line, for people."""

    def shown(value: object) -> str:
        if not isinstance(value, tuple):
            return str(value)
        items = [f"{item[0]}:{item[1]}" if isinstance(item, tuple) else item for item in value]
        return " ".join(items) or "(empty)"

    return "\n".join(
        f"{name} = {shown(value)}" for name, value in configuration
    )
