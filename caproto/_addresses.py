"""IPv4 addresses as EPICS users write them, and those of this host.

Channel Access uses IPv4 only. A list is separated by white space; an item is a dotted quad, a host
name or a plain 32 bit number, each with or without ``:port``. Nothing is resolved and no socket is
opened here: host names stay names until `sockets.resolve_addresses` looks them up.
"""
from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping

from ._errors import CaprotoRuntimeError, CaprotoTypeError, CaprotoValueError
from ._typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any, Final

__all__ = [
    "Address",
    "get_netifaces_addresses",
    "interface_addresses",
    "parse_address",
    "read_addresses",
]

#: An IPv4 host (dotted quad or name) and a port.
Address = tuple[str, int]

ANY_INTERFACE: Final = "0.0.0.0"
#: Reaches the network of one interface, whatever its address; used if the interfaces are unknown.
LIMITED_BROADCAST: Final = "255.255.255.255"
#: No number here has more digits; Python refuses to read thousands of them.
_NUMBER: Final = "[0-9]{1,10}"


#: The program whose messages the warnings are; if it is empty, they are lines of a log.
_program = ""


def warn_as(program: str) -> None:
    """Have the first warning call `log_as_messages`; without one there is no need of a log."""
    global _program
    _program = program


def warn(message: str, *arguments: object) -> None:
    """Log a warning about the user's settings."""
    # Here, because `logging` takes long to import.
    from ._log import CONTEXT_LOGGER, adapter, log_as_messages

    if _program:
        log_as_messages(_program)
    adapter(CONTEXT_LOGGER).warning(message, *arguments)


def _dotted_quad(number: int) -> str:
    return ".".join(str(number >> shift & 0xFF) for shift in (24, 16, 8, 0))


def _is_byte(text: str) -> bool:
    return re.fullmatch(_NUMBER, text) is not None and int(text) < 256


def _parse_host(text: str) -> str:
    """Normalise a dotted quad, a plain 32 bit number, or a host name."""
    if re.fullmatch(_NUMBER, text):
        number = int(text)
        if number > 0xFFFFFFFF:
            raise CaprotoValueError(f"{text!r} is not a 32 bit address")
        return _dotted_quad(number)
    if re.fullmatch(r"[\d.]+", text):
        parts = text.split(".")
        if len(parts) != 4 or not all(map(_is_byte, parts)):
            raise CaprotoValueError(f"{text!r} is not an IPv4 address")
        return ".".join(str(int(part)) for part in parts)
    if not re.fullmatch(r"[^\s:/,;]+", text):
        raise CaprotoValueError(f"{text!r} is neither an IPv4 address nor a host name")
    return text


def parse_address(text: str, default_port: int) -> Address:
    """Parse ``host``, ``host:port`` or their numeric forms.

    Parameters
    ----------
    text : str
        ``a.b.c.d``, a host name, or a plain decimal 32 bit number, each with or without ``:port``.
    default_port : int

    Returns
    -------
    (str, int)
        The host, not resolved if it is a name, and the port.

    Raises
    ------
    CaprotoValueError
        The message names the text and what is wrong with it.
    """
    if text.count(":") > 1:
        raise CaprotoValueError(
            f"{text!r} looks like an IPv6 address; Channel Access uses IPv4 only"
        )
    host, colon, port = text.strip().partition(":")
    if not colon:
        return _parse_host(host), default_port
    if not re.fullmatch(_NUMBER, port) or not 0 < int(port) < 65536:
        raise CaprotoValueError(f"{text!r}: {port!r} is not a port number")
    return _parse_host(host), int(port)


def read_addresses(
    value: object, default_port: int, what: str, reject: Callable[[CaprotoValueError], None]
) -> tuple[Address, ...]:
    """Read addresses from a text or a sequence; pass errors in single items to *reject*."""
    items: Iterable[object]
    if isinstance(value, str):
        items = value.split()
    elif isinstance(value, Iterable):
        items = value
    else:
        raise CaprotoTypeError(f"{what} must be a str or a sequence of addresses, not {value!r}")
    addresses: dict[Address, None] = {}
    for item in items:
        try:
            if isinstance(item, str):
                address = parse_address(item, default_port)
            elif isinstance(item, tuple | list) and len(item) == 2:
                address = parse_address(f"{item[0]}:{item[1]}", default_port)
            else:
                raise CaprotoValueError(
                    f"{item!r} is not an address; use 'host:port' or (host, port)"
                )
        except CaprotoValueError as exc:
            reject(exc)
            continue
        if address in addresses and isinstance(value, str):
            warn("%s: %s:%d is given twice", what, *address)
        addresses[address] = None
    return tuple(addresses)


def get_netifaces_addresses() -> Iterator[tuple[str, str]]:
    """List the IPv4 addresses of this host, except loopback, and where to broadcast from them.

    Yields
    ------
    (str, str)
        Address of an interface, and its broadcast address, or the peer's address for a
        point-to-point link.

    Raises
    ------
    CaprotoRuntimeError
        If the package netifaces is not installed.
    """
    try:
        import netifaces
    except ImportError as exc:
        raise CaprotoRuntimeError(
            "the package netifaces is needed to find the broadcast addresses of this host"
        ) from exc
    for interface in netifaces.interfaces():
        families: Mapping[Any, Any] = netifaces.ifaddresses(interface)
        for entry in families.get(netifaces.AF_INET) or ():
            address, target = entry.get("addr"), entry.get("broadcast") or entry.get("peer")
            if address and target and not address.startswith("127."):
                yield address, target


def interface_addresses() -> list[tuple[str, str]]:
    """Call `get_netifaces_addresses`; if it fails, return one broadcast address for all."""
    try:
        return list(get_netifaces_addresses())
    except (CaprotoRuntimeError, OSError) as exc:
        warn("%s; using %s", exc, LIMITED_BROADCAST)
        return [(ANY_INTERFACE, LIMITED_BROADCAST)]
