"""The part of ``epics.ca`` that programs call."""
from __future__ import annotations

import threading

import pytest

from caproto.threading.pyepics_compat import PV, ca

pytestmark = pytest.mark.ioc


def test_a_channel_id_leads_back_to_its_pv(pv, context):
    x = pv("x")
    assert x.chid.pv is x and x.chid == x.chid and int(x.chid) == x.chid.value
    assert ca.isConnected(x.chid) and ca.read_access(x.chid) == ca.write_access(x.chid) == 1
    missing = PV("nobody").chid
    assert missing.pv is None or not ca.isConnected(missing)
    assert ca.read_access(missing) == ca.write_access(missing) == 0
    assert ca.initialize_libca() is ca.finalize_libca() is None
    assert x.connected


def test_contexts_are_nothing_to_care_about():
    for function in (
        ca.use_initial_context, ca.create_context, ca.attach_context, ca.detach_context,
        ca.current_context,
    ):
        assert function() is None
    assert ca.withInitialContext(lambda a: a + 1)(2) == 3
    assert ca.CAThread is threading.Thread
    assert ca.poll() == ca.pend_event() == ca.pend_io() == ca.flush_io() == 1
