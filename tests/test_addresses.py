"""Addresses as EPICS users write them, and those of this host."""
from __future__ import annotations

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caproto._addresses import (
    get_netifaces_addresses,
    interface_addresses,
    parse_address,
    read_addresses,
)
from caproto._errors import CaprotoError, CaprotoRuntimeError, CaprotoTypeError


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("10.0.0.255", ("10.0.0.255", 5064)),
        ("10.0.0.255:5070", ("10.0.0.255", 5070)),
        ("010.0.0.1", ("10.0.0.1", 5064)),
        ("ioc7", ("ioc7", 5064)),
        ("ioc7.example.org:5066", ("ioc7.example.org", 5066)),
        ("2130706433", ("127.0.0.1", 5064)),  # a plain 32 bit number
        ("2130706433:99", ("127.0.0.1", 99)),
        ("0", ("0.0.0.0", 5064)),
        (" 10.0.0.1 ", ("10.0.0.1", 5064)),
    ],
)
def test_legal_addresses(text: str, expected: tuple[str, int]) -> None:
    assert parse_address(text, 5064) == expected


@pytest.mark.parametrize(
    "text",
    ["", ":5064", "10.0.0", "10.0.0.256", "10.0.0.1.2", "1.2.3.4:", "1.2.3.4:x", "ioc:0"]
    + ["9" * 5000, "9" * 5000 + ".1.2.3", "ioc:" + "9" * 5000, "\u0663.1.2.3", "ioc:\u0663"]
    + ["ioc:65536", "4294967296", "a,b", "fe80::1", "1..2.3", "a b"],
)
def test_illegal_addresses(text: str) -> None:
    with pytest.raises(CaprotoError):
        parse_address(text, 5064)


@pytest.mark.parametrize("text", ["::1", "[::1]:5066", "fe80::1"])
def test_ipv6_is_named_as_what_it_is(text: str) -> None:
    with pytest.raises(CaprotoError, match="looks like an IPv6 address; Channel Access uses IPv4"):
        parse_address(text, 5064)


@given(st.text(max_size=20))
def test_any_text_is_an_address_or_our_error(text: str) -> None:
    try:
        host, port = parse_address(text, 5064)
    except CaprotoError:
        return
    assert host
    assert 0 < port < 65536


def test_lists_are_separated_by_white_space_and_bad_items_are_handed_over() -> None:
    rejected: list[Exception] = []
    found = read_addresses("1.2.3.4\tioc:70\r\n bad:port 1.2.3.4", 5064, "LIST", rejected.append)
    assert found == (("1.2.3.4", 5064), ("ioc", 70))
    [error] = rejected
    assert "bad:port" in str(error)


def test_duplicates_in_a_text_are_reported(caplog: pytest.LogCaptureFixture) -> None:
    read_addresses("1.2.3.4 1.2.3.4:5064", 5064, "LIST", pytest.fail)
    assert "LIST: 1.2.3.4:5064 is given twice" in caplog.text


def test_sequences() -> None:
    mixed = ["1.2.3.4", ("ioc", 70), ["5.6.7.8", "80"]]
    expected = (("1.2.3.4", 5064), ("ioc", 70), ("5.6.7.8", 80))
    assert read_addresses(mixed, 5064, "LIST", pytest.fail) == expected
    rejected: list[Exception] = []
    assert read_addresses([17], 5064, "LIST", rejected.append) == ()
    assert "17" in str(rejected[0])
    with pytest.raises(CaprotoTypeError, match="LIST must be"):
        read_addresses(17, 5064, "LIST", pytest.fail)


def test_addresses_of_this_host_are_numbers_and_not_loopback() -> None:
    for pair in get_netifaces_addresses():
        for address in pair:
            assert parse_address(address, 1)[0] == address
            assert not address.startswith("127.")


def test_without_netifaces(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "netifaces", None)
    with pytest.raises(CaprotoRuntimeError, match="netifaces is needed"):
        list(get_netifaces_addresses())
    assert interface_addresses() == [("0.0.0.0", "255.255.255.255")]
    assert "using 255.255.255.255" in caplog.text
