from __future__ import annotations

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caproto._errors import CaprotoValueError
from caproto._protocol.status import CASeverity, CAStatus, status_from_number
from tests.harness.each_case import each_case
from tests.vectors_support import eca_codes

TABLE = eca_codes()


@each_case("entry", TABLE, ids=lambda entry: entry["name"])
def test_every_code_of_the_table(entry):
    status = CAStatus[entry["name"]]
    assert status == entry["code"]
    assert status.code_with_severity == entry["code"]
    assert status.code == entry["number"]
    assert status.severity == entry["severity"]
    assert status.severity.name == entry["severity_name"]
    assert status.description
    assert status_from_number(entry["code"]) is status
    assert CAStatus(entry["code"]) is status


def test_the_table_has_nothing_else():
    assert {status.name for status in CAStatus} == {entry["name"] for entry in TABLE}
    assert len(CAStatus.__members__) == 61


def test_success_is_the_lowest_bit():
    successes = {status.name for status in CAStatus if status.success}
    assert successes == {
        entry["name"] for entry in TABLE if entry["severity_name"] in ("SUCCESS", "INFO")
    }
    assert status_from_number(4003).success and not status_from_number(4002).success


@given(st.integers(0, 2**32 - 1))
def test_any_code_survives(code):
    status = status_from_number(code)
    assert isinstance(status, CAStatus)
    assert status == code and hash(status) == hash(code)
    assert status.code << 3 | status.severity == code
    assert eval(repr(status)) == status


def test_an_unknown_code_says_so():
    status = status_from_number(4003)
    assert status.name == "ECA_UNKNOWN(500)"
    assert status.severity is CASeverity.INFO
    assert "500" in status.description
    assert repr(status) == "CAStatus(4003)"
    assert str(status) == f"{status}" == "ECA_UNKNOWN(500)"


def test_an_unknown_code_is_not_remembered():
    status_from_number(4003)
    assert len(CAStatus) == 61
    assert 4003 not in {status.code_with_severity for status in CAStatus}


def test_how_a_known_code_prints():
    assert repr(CAStatus.ECA_GETFAIL) == "CAStatus.ECA_GETFAIL"
    assert f"{CAStatus.ECA_GETFAIL}" == "ECA_GETFAIL"
    assert f"{CAStatus.ECA_GETFAIL:d}" == "152"


@pytest.mark.parametrize("value", [-1, "ECA_NORMAL", 1.5, None])
def test_not_a_code(value):
    with pytest.raises(CaprotoValueError, match="not a status code"):
        CAStatus(value)


def test_pickle():
    assert pickle.loads(pickle.dumps(CAStatus.ECA_TIMEOUT)) is CAStatus.ECA_TIMEOUT


@pytest.mark.parametrize("status", [CAStatus.ECA_TIMEOUT, status_from_number(4003)])
def test_name_value_and_number_all_work(status):
    assert status.value == status == status.code_with_severity == int(status)
    assert status.value.description == status.description
    assert status.value.name == status.name
    assert CAStatus(status.value) == status
    assert pickle.loads(pickle.dumps(status)) == status
