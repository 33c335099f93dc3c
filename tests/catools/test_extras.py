"""What is asked for beyond the EPICS tools."""
from __future__ import annotations

from caproto._catools.extras import Extras


def test_some_of_the_pvs_suffice_where_errors_have_a_place():
    extras = Extras()
    assert not extras.may_be_partial
    extras.output = "csv"
    assert extras.may_be_partial
    extras.partial = False
    assert not extras.may_be_partial
