"""Fixtures for the synchronous client."""
from __future__ import annotations

import pytest

from caproto.sync.client import read, write


@pytest.fixture
def environment(ioc, monkeypatch):
    """As in a script: the IOC is found through the environment."""
    for name, text in ioc.environ.items():
        monkeypatch.setenv(name, text)


@pytest.fixture
def double(ioc, environment):
    """A PV that has 3.5, and gets it back after the test."""
    name = ioc.pv("double")
    before = read(name).data[0]
    write(name, 3.5, notify=True)
    yield name
    write(name, before, notify=True)
