"""Fixtures: one IOC for each file, which its tests may change, and a Context that finds it."""
from __future__ import annotations

from collections.abc import Iterator

import pytest

from caproto.threading.client import Context
from tests.harness.ioc_process import SoftIOC


@pytest.fixture(scope="module")
def ioc() -> Iterator[SoftIOC]:
    """A real IOC of this file's own; tests need not restore what they change."""
    with SoftIOC() as process:
        yield process


@pytest.fixture
def ctx(ioc) -> Iterator[Context]:
    """A Context that finds `ioc`."""
    with Context(configuration=ioc.configuration, timeout=10) as context:
        yield context
