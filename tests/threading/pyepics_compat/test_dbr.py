"""The constants of ``epics.dbr``."""
from __future__ import annotations

from caproto import ChannelType
from caproto.threading.pyepics_compat import dbr


def test_numbers_are_those_of_the_protocol():
    for name in dbr.__all__:
        if name.startswith("DBE_"):
            continue
        known = name.replace("SHORT", "INT")
        assert getattr(dbr, name) == ChannelType[known]
    assert (dbr.DBE_VALUE, dbr.DBE_LOG, dbr.DBE_ALARM, dbr.DBE_PROPERTY) == (1, 2, 4, 8)
