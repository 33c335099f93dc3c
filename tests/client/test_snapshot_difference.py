"""What differs between two snapshots."""
from __future__ import annotations

import math

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from caproto import CaprotoTypeError, CaprotoValueError
from tests.client.snapshots import ERROR, objects, snapshot


def test_values_that_differ():
    found = snapshot([1.0, 2.0, 3.0]).diff(snapshot([1.0, 2.5, 1.0]))
    assert found and len(found) == 2 and list(found) == ["n1", "n2"]
    assert found.names == ("n1", "n2") and found.compared == 3
    assert found.before.tolist() == [2.0, 3.0] and found.after.tolist() == [2.5, 1.0]
    assert found.difference.tolist() == [0.5, -2.0]
    assert not found.missing_before.any() and not found.missing_after.any()


def test_long_texts_are_shown_as_texts_where_they_differ():
    def of_chars(*texts):
        return snapshot(objects(*(numpy.frombuffer(text, numpy.uint8) for text in texts)))

    path = b"/data/2025/" + 60 * b"x"
    before = of_chars(path + b"/one\0", b"short\0", b"no zero", b"\1\2\0", b"\0\0\0", b"a\0b\0")
    after = of_chars(path + b"/two\0", b"\0\0\0\0\0\0", b"No zero", b"\1\3\0", b"on\0", b"b\0b\0")
    rows = before.diff(after).to_text().splitlines()[2:]
    assert rows[0].split()[1:] == ["'…xxxxxxxxx/one'", "'…xxxxxxxxx/two'"]
    assert rows[1].split()[1:] == ["'short'", "''"] and rows[4].split()[1:] == ["''", "'on'"]
    for row in rows[2], rows[3], rows[5]:  # these are numbers
        assert "'" not in row
    long = of_chars(60 * b"y" + b"\0").diff(of_chars(b"z" + 60 * b"y" + b"\0")).to_text()
    assert f"'{40 * 'y'}…'  'z{39 * 'y'}…'" in long


def test_nothing_differs():
    before, after = snapshot([1.0, math.nan, math.inf]), snapshot([1.0, math.nan, math.inf])
    found = before.diff(after)
    assert not found and len(found) == 0 and found.names == ()
    assert str(found) == repr(found) == "no differences (3 PVs compared)"
    assert not snapshot([]).diff(snapshot([]))


@pytest.mark.parametrize(
    ("pair", "difference"),
    [
        ((math.nan, 1.0), math.nan), ((1.0, math.nan), math.nan),
        ((1.0, math.inf), math.inf), ((math.inf, -math.inf), -math.inf),
        ((-math.inf, 0.0), math.inf),
    ],
)
def test_what_is_no_number_differs_from_others(pair, difference):
    """Whatever the tolerance."""
    found = snapshot([pair[0]]).diff(snapshot([pair[1]]), atol=1e300, rtol=1.0)
    assert found.names == ("n0",)
    numpy.testing.assert_equal(found.difference, [difference])


@given(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6), st.floats(0, 1e6), st.floats(0, 2))
def test_tolerances(before, after, atol, rtol):
    found = snapshot([before]).diff(snapshot([after]), atol=atol, rtol=rtol)
    assert bool(found) == (abs(after - before) > atol + rtol * abs(before))


def test_unsigned_numbers_have_negative_differences():
    found = snapshot(numpy.array([5], "u2")).diff(snapshot(numpy.array([2], "u2")))
    assert found.difference.tolist() == [-3.0]


def test_other_names_in_another_order():
    before = snapshot([1.0, 2.0, 3.0], ("a", "b", "c"))
    after = snapshot([4.0, 3.0, 9.0], ("d", "c", "b"))
    found = before.diff(after)
    assert found.names == ("a", "b", "d") and found.compared == 4
    assert found.before.tolist() == [1.0, 2.0, None] and found.after.tolist() == [None, 9.0, 4.0]
    assert found.missing_before.tolist() == [False, False, True]
    assert found.missing_after.tolist() == [True, False, False]
    numpy.testing.assert_equal(found.difference, [math.nan, 7.0, math.nan])


def test_missing_values():
    """Missing in both is no difference."""
    before = snapshot([1.0, 0.0, 0.0], ok=numpy.array([True, False, False]), errors={"n1": ERROR})
    after = snapshot([0.0, 2.0, 5.0], ok=numpy.array([False, True, False]), errors={"n0": ERROR})
    found = before.diff(after, atol=100)
    assert found.names == ("n0", "n1") and found.compared == 2
    assert found.missing_after.tolist() == [True, False]
    rows = [line.split() for line in str(found).splitlines()[2:]]
    assert rows == [["n0", "1.0", "missing"], ["n1", "missing", "2.0"]]


def test_arrays():
    before = snapshot([[1.0, 2.0], [3.0, 4.0], [math.nan, 1.0]])
    after = snapshot([[1.0, 2.0], [3.5, 2.0], [math.nan, 2.0]])
    found = before.diff(after)
    assert found.names == ("n1", "n2") and found.difference.tolist() == [-2.0, 1.0]
    assert found.before[0].tolist() == [3.0, 4.0]
    assert before.diff(after, atol=1.5).names == ("n1",)
    empty = snapshot(numpy.zeros((2, 0)))
    assert not empty.diff(empty)


def test_texts():
    found = snapshot(["a", "b"]).diff(snapshot(numpy.array([b"a", b"c"])))
    assert found.names == ("n1",) and math.isnan(found.difference[0])
    assert str(found).splitlines()[-1].split() == ["n1", "'b'", "'c'"]


def test_values_of_different_types():
    pair, nothing = numpy.array([1, 2]), numpy.array([])
    before = snapshot(objects(1.0, "a", pair, pair, 5, nothing))
    after = snapshot(objects(1, "a", numpy.array([1, 5]), numpy.array([1]), "5", nothing))
    found = before.diff(after)
    assert found.names == ("n2", "n3", "n4")
    numpy.testing.assert_equal(found.difference, [3.0, math.nan, math.nan])
    assert before.diff(after, atol=3).names == ("n3", "n4")


def test_scalars_against_arrays():
    found = snapshot([1.0, 2.0]).diff(snapshot([[1.0, 2.0], [2.0, 3.0]]))
    assert found.names == ("n0", "n1")


def test_it_prints_as_a_table_that_fits(monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    found = snapshot(["a" * 60, "b"]).diff(snapshot(["c" * 60, "d"]))
    lines = str(found).splitlines()
    assert max(map(len, lines)) <= 40 and repr(found) == str(found)
    assert lines[0] == "2 of 2 PVs differ"
    assert lines[1].split() == ["name", "before", "after", "difference"]
    html = found._repr_html_()
    assert html.startswith("<table><caption>2 of 2 PVs differ</caption>") and "aaaa" in html


def test_of_many_rows_the_middle_is_cut():
    lines = str(snapshot(numpy.arange(100.0)).diff(snapshot(numpy.arange(100.0) + 1))).splitlines()
    assert len(lines) == 2 + 61 and lines[57] == "… 40 more …"
    assert lines[2].split() == ["n0", "0.0", "1.0", "+1"] and lines[-1].startswith("n99")


@pytest.mark.parametrize(
    ("tolerance", "error"),
    [("1", CaprotoTypeError), (True, CaprotoTypeError), (None, CaprotoTypeError),
     (numpy.ones(2), CaprotoTypeError),
     (-1, CaprotoValueError), (math.nan, CaprotoValueError)],
)
@pytest.mark.parametrize("name", ["atol", "rtol"])
def test_a_wrong_tolerance(name, tolerance, error):
    with pytest.raises(error, match=f"{name} must be "):
        snapshot([1.0]).diff(snapshot([1.0]), **{name: tolerance})


def test_all_rows_as_text():
    found = snapshot(["a" * 60] * 100).diff(snapshot(["c"] * 100))
    lines = found.to_text().splitlines()
    assert len(lines) == 102 and "a" * 60 in lines[50]
    assert max(map(len, found.to_text(40).splitlines())) == 40
    assert snapshot([1]).diff(snapshot([1])).to_text(5) == "no differences (1 PV compared)"
