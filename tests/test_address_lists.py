"""Single questions about addresses, answered from the present environment."""
from __future__ import annotations

import pytest

import caproto as ca
from caproto import _address_lists

LISTS = (
    ca.get_address_list, ca.get_beacon_address_list, ca.get_client_address_list,
    ca.get_server_address_list,
)


def test_lists_are_about_the_present_environment(monkeypatch):
    for name in ca.get_environment_variables():
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("EPICS_CA_ADDR_LIST", "10.1.1.1:7")
    monkeypatch.setenv("EPICS_CA_AUTO_ADDR_LIST", "NO")
    monkeypatch.setenv("EPICS_CAS_INTF_ADDR_LIST", "10.0.0.7")
    monkeypatch.setenv("EPICS_CAS_AUTO_BEACON_ADDR_LIST", "NO")
    monkeypatch.setenv("EPICS_CAS_BEACON_ADDR_LIST", "10.0.0.255")
    assert ca.get_client_address_list() == [("10.1.1.1", 7)]
    assert ca.get_address_list() == ["10.1.1.1"]
    assert ca.get_server_address_list() == ["10.0.0.7"]
    assert ca.get_beacon_address_list() == [("10.0.0.255", 5065)]


@pytest.mark.parametrize("function", LISTS, ids=lambda function: function.__name__)
def test_the_protocol_is_channel_access(function):
    assert function(protocol=ca.Protocol.ChannelAccess) == function() == function(protocol="CA")
    with pytest.raises(ca.CaprotoValueError, match="protocol='PVA'"):
        function(protocol="PVA")


def test_an_address_of_this_host(monkeypatch):
    monkeypatch.setattr(
        _address_lists, "get_netifaces_addresses", lambda: iter([("10.0.0.5", "10.0.0.255")])
    )
    assert ca.get_local_address() == "10.0.0.5"
    monkeypatch.setattr(_address_lists, "get_netifaces_addresses", lambda: iter([]))
    assert ca.get_local_address() == "127.0.0.1"

    def missing():
        raise ca.CaprotoRuntimeError("no netifaces")

    monkeypatch.setattr(_address_lists, "get_netifaces_addresses", missing)
    assert ca.get_local_address() == "127.0.0.1"
