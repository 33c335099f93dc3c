"""Errors by the names of pyepics."""
from __future__ import annotations

from caproto import CaprotoError
from caproto.threading.pyepics_compat import AccessRightsException


def test_they_are_ours_too():
    assert issubclass(AccessRightsException, CaprotoError)
