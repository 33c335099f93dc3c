"""EPICS variables, read by the rules of EPICS base (section 11 of the protocol notes).

Numbers in brackets are items of the conformance list.
"""
from __future__ import annotations

import logging
import math

import pytest

from caproto import _environment
from caproto._environment import (
    ClientConfiguration,
    ServerConfiguration,
    get_environment_variables,
)
from caproto._errors import CaprotoAttributeError, CaprotoError
from tests.conformance.items import item
from tests.pretty import pretty


@pytest.fixture(autouse=True)
def interfaces(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """What the network interfaces are said to be; a test may change the list."""
    addresses = [("10.0.0.7", "10.0.0.255"), ("172.16.0.7", "172.16.255.255")]
    monkeypatch.setattr(_environment, "interface_addresses", lambda: list(addresses))
    return addresses


def client(**variables: str) -> ClientConfiguration:
    return ClientConfiguration.from_environment(variables)


def server(**variables: str) -> ServerConfiguration:
    return ServerConfiguration.from_environment(variables)


def test_defaults_of_a_client() -> None:
    expected = ClientConfiguration(
        addr_list=(),
        auto_addr_list=True,
        name_servers=(),
        server_port=5064,
        repeater_port=5065,
        conn_tmo=30.0,
        max_search_period=300.0,
        max_array_bytes=16384,
        auto_array_bytes=True,
        mcast_ttl=1,
        use_repeater=True,
    )
    assert client() == expected == ClientConfiguration()


def test_defaults_of_a_server() -> None:
    expected = ServerConfiguration(
        interfaces=("0.0.0.0",),
        ignore_addr_list=(),
        server_port=5064,
        auto_beacon_addr_list=True,
        beacon_addr_list=(),
        beacon_port=5065,
        beacon_period=15.0,
    )
    assert server() == expected == ServerConfiguration()


@pytest.mark.parametrize(
    ("text", "expected"), [("6000", 6000), ("+6000", 6000), ("6000abc", 6000), (" 6000 ", 6000)]
)
def test_integers_ignore_what_follows(text: str, expected: int) -> None:
    assert client(EPICS_CA_SERVER_PORT=text).server_port == expected


@pytest.mark.parametrize("text", ["", " ", "x", "5000", "65536", "-6000", "0", "\u0667000"])
def test_impossible_ports_are_warned_of_once_and_replaced(
    text: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert client(EPICS_CA_REPEATER_PORT=text).repeater_port == 5065
    [record] = caplog.records
    assert record.levelno == logging.WARNING
    assert f"EPICS_CA_REPEATER_PORT={text!r}" in record.getMessage()


@pytest.mark.parametrize(
    ("text", "expected"),
    [("2", 2.0), ("2.5e1", 25.0), (".5", 0.5), ("0x10", 16.0), ("12 seconds", 12.0)],
)
def test_floats(text: str, expected: float) -> None:
    assert client(EPICS_CA_CONN_TMO=text).conn_tmo == expected


@pytest.mark.parametrize("text", ["", "soon", "-1", "0", "\u0663"])
def test_impossible_floats(text: str, caplog: pytest.LogCaptureFixture) -> None:
    assert client(EPICS_CA_CONN_TMO=text).conn_tmo == 30.0
    assert "EPICS_CA_CONN_TMO" in caplog.text


@pytest.mark.parametrize(
    ("text", "expected"), [("yes", True), ("YES", True), ("yEs", True), ("no", False), ("1", False)]
)
def test_booleans_are_true_if_they_say_yes(text: str, expected: bool) -> None:
    assert client(EPICS_CA_AUTO_ARRAY_BYTES=text).auto_array_bytes is expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [("NO", False), ("no", False), ("No", True), ("YES", True), ("", True), ("0", True)],
)
def test_the_automatic_list_is_on_unless_it_says_no(text: str, expected: bool) -> None:
    assert client(EPICS_CA_AUTO_ADDR_LIST=text).auto_addr_list is expected


@item(22)
@pytest.mark.parametrize(("text", "expected"), [("10", 60), ("-1", 60), ("60", 60), ("90", 90)])
def test_the_search_period_is_at_least_60_seconds(
    text: str, expected: float, caplog: pytest.LogCaptureFixture
) -> None:
    """[22]"""
    assert client(EPICS_CA_MAX_SEARCH_PERIOD=text).max_search_period == expected
    assert bool(caplog.records) is (float(text) < 60)


@pytest.mark.parametrize(
    ("name", "text", "default"),
    [
        ("EPICS_CA_MAX_SEARCH_PERIOD", "1e400", 300.0),
        ("EPICS_CA_MAX_SEARCH_PERIOD", "0x1p5000", 300.0),
        ("EPICS_CA_CONN_TMO", "0x1p5000", 30.0),
        ("EPICS_CA_REPEATER_PORT", "9" * 5000, 5065),
    ],
)
def test_monstrous_numbers_are_warned_of_once_and_replaced(
    name: str, text: str, default: float, caplog: pytest.LogCaptureFixture
) -> None:
    assert get_environment_variables({name: text})[name] == default
    [record] = caplog.records
    assert name in record.getMessage()


def test_a_server_may_be_given_infinite_time_to_be_silent() -> None:
    """By a program; in a variable it is a slip of the keyboard."""
    assert ClientConfiguration(conn_tmo=math.inf).conn_tmo == math.inf


#: Values that make no sense, for all variables but the switches, which take any text.
NONSENSE = {
    "EPICS_CA_ADDR_LIST": ["10.0.0.999", "10.0.0.1:port", "10.0.0.1:70000", "fe80::1"],
    "EPICS_CA_NAME_SERVERS": ["10.0.0.999", "ns1:port"],
    "EPICS_CA_SERVER_PORT": ["", "port", "-5064", "80", "65536"],
    "EPICS_CA_REPEATER_PORT": ["", "port", "0", "99999"],
    "EPICS_CA_CONN_TMO": ["", "soon", "0", "-1", "nan", "1e400"],
    "EPICS_CA_BEACON_PERIOD": ["", "often", "0", "-15"],
    "EPICS_CA_MAX_SEARCH_PERIOD": ["", "never", "inf", "1e400"],
    "EPICS_CA_MAX_ARRAY_BYTES": ["", "many", "0", "-1", "16383"],
    "EPICS_CA_MCAST_TTL": ["", "x", "0", "256"],
    "EPICS_CAS_SERVER_PORT": ["", "port", "80"],
    "EPICS_CAS_INTF_ADDR_LIST": ["10.0.0.999", "0.0.0.0 10.0.0.7"],
    "EPICS_CAS_IGNORE_ADDR_LIST": ["10.0.0.999"],
    "EPICS_CAS_BEACON_ADDR_LIST": ["10.0.0.999", "10.0.0.1:port"],
    "EPICS_CAS_BEACON_PORT": ["", "port", "80"],
    "EPICS_CAS_BEACON_PERIOD": ["", "often", "0"],
}
SWITCHES = {
    "EPICS_CA_AUTO_ADDR_LIST", "EPICS_CA_AUTO_ARRAY_BYTES", "EPICS_CAS_AUTO_BEACON_ADDR_LIST",
    "CAPROTO_USE_REPEATER",
}


def test_all_variables_are_tried_with_nonsense() -> None:
    assert set(NONSENSE) | SWITCHES == set(get_environment_variables({}))


@pytest.mark.parametrize(
    ("name", "text"), [(name, text) for name, texts in NONSENSE.items() for text in texts]
)
def test_nonsense_is_reported_and_replaced(
    name: str, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert client(**{name: text}) == ClientConfiguration()
    assert server(**{name: text}) == ServerConfiguration()
    assert any(record.getMessage().startswith(name) for record in caplog.records)


@pytest.mark.parametrize("name", sorted(SWITCHES))
def test_a_switch_takes_any_text(name: str, caplog: pytest.LogCaptureFixture) -> None:
    assert get_environment_variables({name: "perhaps"})[name] in (True, False)
    assert not caplog.records


def test_array_limit_is_at_least_16384_and_24_bytes_are_added() -> None:
    limited = client(EPICS_CA_AUTO_ARRAY_BYTES="no", EPICS_CA_MAX_ARRAY_BYTES="100")
    assert limited.max_payload == 16384 + 24
    limited = client(EPICS_CA_AUTO_ARRAY_BYTES="no", EPICS_CA_MAX_ARRAY_BYTES="1000000")
    assert limited.max_payload == 1000024
    assert client(EPICS_CA_MAX_ARRAY_BYTES="1000000").max_payload == math.inf


def test_addresses_take_the_server_port() -> None:
    configuration = client(
        EPICS_CA_ADDR_LIST="10.1.1.1 ioc:7000",
        EPICS_CA_NAME_SERVERS="ns1 ns2:8000",
        EPICS_CA_SERVER_PORT="6064",
        EPICS_CA_AUTO_ADDR_LIST="NO",
    )
    assert configuration.addr_list == (("10.1.1.1", 6064), ("ioc", 7000))
    assert configuration.name_servers == (("ns1", 6064), ("ns2", 8000))
    assert configuration.search_addresses() == [("10.1.1.1", 6064), ("ioc", 7000)]


def test_bad_items_are_reported_and_skipped(caplog: pytest.LogCaptureFixture) -> None:
    configuration = client(EPICS_CA_ADDR_LIST="10.1.1.1 10.1.1.999 10.1.1.2:x 10.1.1.3")
    assert [host for host, _ in configuration.addr_list] == ["10.1.1.1", "10.1.1.3"]
    assert "10.1.1.999" in caplog.text
    assert "10.1.1.2:x" in caplog.text


def test_the_automatic_list_has_the_broadcast_addresses() -> None:
    configuration = client(EPICS_CA_ADDR_LIST="10.0.0.255 10.9.9.9")
    assert configuration.search_addresses() == [
        ("10.0.0.255", 5064),
        ("10.9.9.9", 5064),
        ("172.16.255.255", 5064),
    ]


def test_without_interfaces_this_host_is_asked(interfaces: list[tuple[str, str]]) -> None:
    interfaces.clear()
    assert client().search_addresses() == [("127.0.0.1", 5064)]
    assert client(EPICS_CA_AUTO_ADDR_LIST="NO").search_addresses() == []
    assert server().beacon_addresses() == [("127.0.0.1", 5065)]


def test_server_variables_default_to_those_of_the_client() -> None:
    """[82]"""
    configuration = server(
        EPICS_CA_SERVER_PORT="6064", EPICS_CA_REPEATER_PORT="6065", EPICS_CA_BEACON_PERIOD="3"
    )
    assert configuration.server_port == 6064
    assert configuration.beacon_port == 6065
    assert configuration.beacon_period == 3.0
    configuration = server(
        EPICS_CA_SERVER_PORT="6064", EPICS_CAS_SERVER_PORT="7064", EPICS_CAS_BEACON_PORT="7065"
    )
    assert (configuration.server_port, configuration.beacon_port) == (7064, 7065)


def test_a_wrong_default_is_warned_of_once(caplog: pytest.LogCaptureFixture) -> None:
    assert server(EPICS_CA_SERVER_PORT="x").server_port == 5064
    assert len(caplog.records) == 1


def test_the_address_lists_of_clients_are_no_business_of_servers() -> None:
    configuration = server(EPICS_CA_ADDR_LIST="10.3.3.3", EPICS_CA_AUTO_ADDR_LIST="NO")
    assert configuration.beacon_addresses() == [("10.0.0.255", 5065), ("172.16.255.255", 5065)]


def test_beacons_go_out_of_the_interfaces_in_use() -> None:
    """[82]"""
    one = server(EPICS_CAS_INTF_ADDR_LIST="172.16.0.7", EPICS_CAS_BEACON_ADDR_LIST="10.5.5.5:99")
    assert one.beacon_addresses() == [("10.5.5.5", 99), ("172.16.255.255", 5065)]
    local = server(EPICS_CAS_INTF_ADDR_LIST="127.0.0.1")
    assert local.beacon_addresses() == [("127.0.0.1", 5065)]
    silent = server(EPICS_CAS_AUTO_BEACON_ADDR_LIST="NO")
    assert silent.beacon_addresses() == []


def test_interfaces_and_ignored_hosts() -> None:
    """[82] ports in these lists mean nothing."""
    configuration = server(
        EPICS_CAS_INTF_ADDR_LIST="10.0.0.7:99 172.16.0.7",
        EPICS_CAS_IGNORE_ADDR_LIST="10.0.0.66 10.0.0.66:5 10.0.0.67",
    )
    assert configuration.interfaces == ("10.0.0.7", "172.16.0.7")
    assert configuration.ignore_addr_list == ("10.0.0.66", "10.0.0.67")


def test_all_interfaces_cannot_be_combined(caplog: pytest.LogCaptureFixture) -> None:
    assert server(EPICS_CAS_INTF_ADDR_LIST="0.0.0.0 10.0.0.7").interfaces == ("0.0.0.0",)
    assert "EPICS_CAS_INTF_ADDR_LIST" in caplog.text
    with pytest.raises(CaprotoError, match="interfaces"):
        ServerConfiguration(interfaces=("0.0.0.0", "10.0.0.7"))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("addr_list", "10.0.0.999"),
        ("addr_list", 5),
        ("addr_list", [("10.0.0.1", 0)]),
        ("name_servers", ["a:b"]),
        ("auto_addr_list", "NO"),
        ("server_port", "5064"),
        ("server_port", 0),
        ("server_port", True),
        ("repeater_port", 65536),
        ("conn_tmo", 0),
        ("conn_tmo", "30"),
        ("conn_tmo", math.nan),
        ("max_search_period", 10.0),
        ("max_search_period", math.inf),
        ("max_array_bytes", 100),
        ("mcast_ttl", 256),
        ("use_repeater", None),
    ],
)
def test_impossible_arguments_raise_and_are_named(name: str, value: object) -> None:
    with pytest.raises(CaprotoError, match=name):
        ClientConfiguration(**{name: value})


def test_arguments_may_be_written_like_variables() -> None:
    configuration = ClientConfiguration(addr_list="10.0.0.1 ioc:7", server_port=9)
    assert configuration.addr_list == (("10.0.0.1", 9), ("ioc", 7))
    assert ClientConfiguration(addr_list=["10.0.0.1", ("ioc", 7)], server_port=9) == configuration


def test_configurations_are_values() -> None:
    configuration = ClientConfiguration(addr_list="10.0.0.1")
    assert hash(configuration) == hash(ClientConfiguration(addr_list="10.0.0.1"))
    with pytest.raises(CaprotoAttributeError):
        configuration.conn_tmo = 5.0
    variant = configuration.replace(conn_tmo=5.0)
    assert (variant.addr_list, variant.conn_tmo) == (configuration.addr_list, 5.0)


def test_a_server_may_take_any_free_port() -> None:
    assert ServerConfiguration(server_port=0).server_port == 0


def test_configurations_print_readably() -> None:
    lines = str(ClientConfiguration(addr_list="10.0.0.1 ioc:7")).splitlines()
    assert "addr_list = 10.0.0.1:5064 ioc:7" in lines
    assert "name_servers = (empty)" in lines
    assert "interfaces = 0.0.0.0" in str(ServerConfiguration()).splitlines()


@pytest.mark.parametrize("kind", [ClientConfiguration, ServerConfiguration])
def test_the_prompt_shows_a_line_for_each_setting(kind) -> None:
    title, *lines = pretty(kind()).splitlines()
    assert title == kind.__name__
    assert [line.split(" = ")[0].strip() for line in lines] == list(dict(kind()))
    assert [line.strip() for line in lines] == str(kind()).splitlines()


def test_single_questions_are_about_the_present_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in get_environment_variables():
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("EPICS_CA_ADDR_LIST", "10.1.1.1:7")
    monkeypatch.setenv("EPICS_CA_AUTO_ADDR_LIST", "NO")
    monkeypatch.setenv("EPICS_CAS_INTF_ADDR_LIST", "10.0.0.7")
    variables = get_environment_variables()
    assert variables["EPICS_CA_ADDR_LIST"] == "10.1.1.1:7"
    assert variables["EPICS_CA_AUTO_ADDR_LIST"] is False
    assert variables["EPICS_CA_CONN_TMO"] == 30.0
