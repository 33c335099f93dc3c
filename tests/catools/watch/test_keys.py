"""The table of keys is complete, and none has two meanings."""
from __future__ import annotations

from caproto._catools.watch.app import WatchApp
from caproto._catools.watch.keys import KEYS, help_text


def test_no_key_has_two_meanings():
    keys = [name for key in KEYS for name in key.keys.split(",")]
    assert len(keys) == len({*keys})


def test_each_has_its_action():
    for key in KEYS:
        name = key.action.partition("(")[0]
        assert callable(getattr(WatchApp, f"action_{name}"))


def test_the_help_has_all():
    assert len(help_text().splitlines()) == len(KEYS)
    assert all(key.meaning in help_text() for key in KEYS)
