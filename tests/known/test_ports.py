"""Ports to try."""
from __future__ import annotations

import caproto as ca


def test_different_ports_of_the_dynamic_range():
    ports = list(ca.random_ports(1000))
    assert len(set(ports)) == 1000 and min(ports) >= 49152 and max(ports) < 65536


def test_one_that_is_to_be_tried_first():
    first, *others = ca.random_ports(2, try_first=5064)
    assert first == 5064 and len(others) == 2


def test_not_more_than_there_are():
    assert len(list(ca.random_ports(10**6))) == 65536 - 49152
