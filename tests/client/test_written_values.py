"""Values for a table, converted to its types: nothing is lost without an error."""
from __future__ import annotations

import math
from array import array
from collections import deque
from fractions import Fraction

import numpy as np
import pandas
import pytest

from caproto import CaprotoKeyError, CaprotoTypeError, CaprotoValueError
from caproto._client.columns import TableForm
from caproto._client.written_values import check_values, restored_values
from tests.client.snapshots import snapshot


class TestValuesToWrite:
    def parts(self, values, form, rows=None):
        rows = np.arange(len(form)) if rows is None else np.array(rows)
        return [(chosen.tolist(), array.tolist()) for _, chosen, array in
                check_values(values, form, rows)]  # fmt: skip

    def test_one_for_each_or_one_for_all(self):
        form = TableForm(["a", "b", "c"], "time", float, 1)
        assert self.parts([1, 2, 3], form, [0, 2]) == [([0, 2], [1.0, 3.0])]
        assert self.parts(5, form) == [([0, 1, 2], [5.0, 5.0, 5.0])]

    def test_arrays(self):
        form = TableForm(["a", "b"], "time", int, 2)
        assert self.parts([[1, 2], [3, 4]], form) == [([0, 1], [[1, 2], [3, 4]])]
        assert self.parts([7, 8], form) == [([0, 1], [[7, 8], [7, 8]])]

    @pytest.mark.parametrize(
        "values, mask",
        [([5], None), ([5], [0]), ([5, 6], [0, 1]), ([[5], [6], [7]], None), ([[5, 6, 7]], None)],
    )
    def test_a_shape_that_is_nearly_right(self, values, mask):
        """What numpy would repeat may be meant for other rows."""
        form = TableForm(["a", "b", "c"], "time", float, 1)
        with pytest.raises(CaprotoValueError, match=r"the table needs \(3,\), or one value"):
            self.parts(values, form, mask)

    def test_each_type_its_own(self):
        form = TableForm(["a", "b", "c"], "time", [float, str, float], 1)
        assert self.parts([1, "x", 3], form) == [([0, 2], [1.0, 3.0]), ([1], [b"x"])]
        assert self.parts([1, "x", 3], form, [1]) == [([1], [b"x"])]
        assert self.parts(7, form) == [([0, 2], [7.0, 7.0]), ([1], [b"7"])]
        with pytest.raises(CaprotoValueError, match=r"has the shape \(2,\); .* needs \(3,\)"):
            self.parts([1, "x"], form)

    @pytest.mark.parametrize(
        "make",
        [
            range, np.arange, lambda n: deque(range(n)), lambda n: array("d", range(n)),
            lambda n: pandas.Series(range(n)), lambda n: pandas.Series(range(n), range(n, 0, -1)),
        ],
    )  # fmt: skip
    def test_all_sequences_are_values_for_the_rows(self, make):
        form = TableForm(["a", "b", "c", "d"], "time", [float, float, int, str], 1)
        assert [chosen for chosen, _ in self.parts(make(4), form)] == [[0, 1], [2], [3]]
        assert [values for _, values in self.parts(make(4), form)][:2] == [[0.0, 1.0], [2]]
        for wrong in (1, 2, 5):  # there are two floats, one int and one text
            for rows in (None, [0, 1], [2]):
                with pytest.raises(CaprotoValueError, match=r"the table needs \(4,\), or one"):
                    self.parts(make(wrong), form, rows)

    def test_arrays_of_several_types(self):
        """One array for all, or one for each row: never one number for each row."""
        form = TableForm(list("abcdef"), "time", [float] * 3 + [int] * 3, 3)
        rows = [[n, n + 1, n + 2] for n in range(6)]
        for values in (rows, np.array(rows)):
            assert self.parts(values, form) == [([0, 1, 2], rows[:3]), ([3, 4, 5], rows[3:])]
            assert self.parts(values, form, [0, 5]) == [([0], rows[:1]), ([5], rows[5:])]
        for values in ([7, 8, 9], np.array([7, 8, 9])):
            assert self.parts(values, form) == [
                ([0, 1, 2], [[7, 8, 9]] * 3), ([3, 4, 5], [[7, 8, 9]] * 3)
            ]
        assert self.parts(5, form, [1, 3]) == [([1], [[5] * 3]), ([3], [[5] * 3])]
        for values in ([1, 2, 3, 4, 5, 6], [1, 2], rows[:3], [row[:2] for row in rows]):
            for rows_to_write in (None, [0, 1, 2], [3]):
                with pytest.raises(CaprotoValueError, match=r"the table needs \(6, 3\), or one"):
                    self.parts(values, form, rows_to_write)

    @pytest.mark.filterwarnings("error")
    def test_numbers_of_short_types_have_the_limits_of_the_table(self):
        for dtype, kind, limit in ((np.float32, int, 2.0**31), (np.float16, "short", 2.0**15)):
            form = TableForm(["a"], "time", kind, 1)
            with pytest.raises(CaprotoValueError, match="values are out of the range of int"):
                self.parts(np.array([limit], dtype), form)
            assert self.parts(np.array([-limit], dtype), form) == [([0], [-int(limit)])]
        assert self.parts(np.array([7], np.float16), TableForm(["a"], "time", "enum", 1)) == [
            ([0], [7])
        ]

    def test_what_pandas_has_by_name(self):
        import pandas
        form = TableForm(["a", "b"], "time", float, 1)
        for index, values in ((["a", "b"], [1.0, 2.0]), (["b", "a"], [2.0, 1.0]),
                              ([5, 6], [1.0, 2.0])):  # fmt: skip
            series = pandas.Series([1.0, 2.0], index=index)
            assert self.parts(series, form) == [([0, 1], values)]
        for index in (["a", "x"], ["a", "a"], ["a", "b", "c"]):
            with pytest.raises(CaprotoValueError, match="but not each name of the table once"):
                self.parts(pandas.Series(range(len(index)), index=index), form)

    @pytest.mark.parametrize(
        "values", [list(np.ma.array([1.0, 2.0], mask=[0, 1])), [np.ma.masked, 2.0]]
    )
    def test_masked_elements_of_a_list(self, values):
        with pytest.raises(CaprotoValueError, match="values has masked elements"):
            self.parts(values, TableForm(["a", "b"], "time", float, 1))

    @pytest.mark.parametrize("values", [{"a": 1.0}, {1.0}, {"a": 1.0}.values(), iter([1.0])])
    def test_neither_array_nor_list_nor_one_value(self, values):
        kind = type(values).__name__
        with pytest.raises(CaprotoTypeError, match=f"or one value for all, not {kind}$"):
            self.parts(values, TableForm(["a"], "time", float, 1))

    def test_a_snapshot_is_restored_and_not_written(self):
        with pytest.raises(CaprotoTypeError, match=r"not TableSnapshot: .* call restore\(\)"):
            self.parts(snapshot([1.0]), TableForm(["a"], "time", float, 1))

    def test_an_array_that_fits_is_copied(self):
        form, given = TableForm(["a", "b"], "time", float, 1), np.array([1.0, 2.0])
        ((one, rows, values),) = check_values(given, form, np.arange(2))
        given[:] = 0.0
        assert one is form.forms[0] and rows.tolist() == [0, 1] and values.tolist() == [1.0, 2.0]

    def test_names_of_states_are_texts(self):
        with pytest.raises(CaprotoTypeError, match="'Single'; a table with dtype=str writes texts"):
            self.parts(["Single"], TableForm(["a"], "time", "enum", 1))

    def test_whole_numbers(self):
        form = TableForm(["a", "b"], "time", int, 1)
        assert self.parts([True, False], form) == [([0, 1], [1, 0])]
        assert self.parts([1.0, -2.0], form) == [([0, 1], [1, -2])]
        assert self.parts([-2.0**31, 2.0**31 - 1], form) == [([0, 1], [-1 << 31, (1 << 31) - 1])]

    def test_what_is_no_finite_number_can_be_written_as_a_float(self):
        form = TableForm(["a", "b", "c"], "time", np.float32, 1)
        ((_, values),) = self.parts([math.inf, -math.inf, math.nan], form)
        assert values[:2] == [math.inf, -math.inf] and math.isnan(values[2])

    def test_text_for_numbers_and_bytes_for_text(self):
        assert self.parts(["1.5", "2"], TableForm(["a", "b"], "time", float, 1)) == [
            ([0, 1], [1.5, 2.0])
        ]
        text = TableForm(["a", "b"], "time", str, 1)
        assert self.parts([b"x", b"y" * 39], text) == [([0, 1], [b"x", b"y" * 39])]
        assert self.parts(["é", 1.5], text) == [([0, 1], ["é".encode(), b"1.5"])]

    def test_one_for_all_types(self):
        form = TableForm(["a", "b"], "time", [int, str], 1)
        for value in (5, np.int16(5), np.array(5), "5"):
            assert self.parts(value, form) == [([0], [5]), ([1], [b"5"])]

    def test_other_rows_may_be_anything(self):
        form = TableForm(["a", "b"], "time", int, 1)
        assert self.parts([1, math.nan], form, [0]) == [([0], [1])]

    @pytest.mark.parametrize(
        "values, dtype, expected",
        [
            ([True, False], int, [1, 0]), (["7", "1e3"], int, [7, 1000]),
            (np.array([1, 2], ">i8"), "char", [1, 2]), ([math.nan, math.inf], "float", None),
            ([Fraction(1, 2), 1 << 70], float, [0.5, 2.0**70]), ([0.5, b"x"], str, [b"0.5", b"x"]),
        ],
    )  # fmt: skip
    def test_what_can_be_converted_without_loss(self, values, dtype, expected):
        ((_, array),) = self.parts(values, TableForm(["a", "b"], "time", dtype, 1))
        assert str(array) == str(values if expected is None else expected)

    @pytest.mark.filterwarnings("error")
    @pytest.mark.parametrize(
        "values, dtype, error",
        [
            ([1, 2, 3], float, r"values has the shape \(3,\); the table needs \(2,\)"),
            ([[1, 2]] * 3, float, "values has the shape"),
            ([1.5, 2], int, "values are not whole numbers"),
            ([1, 1 << 40], int, "values are out of the range of int32"),
            ([1, 1 << 70], int, "out of the range of int32"),
            (1e300, int, "out of the range of int32"),
            (10**400, int, "values are out of the range of int32"),
            (-1, "char", "out of the range of uint8"),
            (np.array([2.5, 1], object), int, "values are not whole numbers"),
            (1e300, "float", "values are out of the range of float32"),
            ([1, math.nan], "enum", "values are not whole numbers"),
            (["x", 1], float, "values cannot be written as float64"),
            (None, float, "values cannot be written as float64"),
            ([1.0, None], float, "values cannot be written as float64"),
            (np.ma.array([1, 2], mask=[0, 1]), float, "values has masked elements"),
            (1j, float, "they are of type complex128"),
            (np.array(["2020"] * 2, "M8[Y]"), float, "they are of type"),
            ([1, [2]], str, "values cannot be made an array"),
            ([[1, 2], [3, 4]], [int, float], "values has the shape"),
            (["x" * 40, ""], str, "a text of more than 39 bytes"),
            ("a\0b", str, "a text contains a zero byte"),
            ([None, "x"], str, "values cannot be written as texts: None is none"),
            (True, str, "values cannot be written as texts"),
            ([object(), 1], float, "values cannot be written as float64"),
            ([None, 1], float, "values cannot be written as float64"),
            ([1j, 1], float, "values cannot be written as float64: they are of type complex"),
            (np.array([1.5, 2], object), int, "values are not whole numbers"),
            ([1, 1 << 70], int, "values are out of the range of int32"),
            ([1, 1 << 2000], float, "values are out of the range of float64"),
            ([1, -1e300], np.float32, "values are out of the range of float32"),
            ([1, -1], "enum", "values are out of the range of uint16"),
            ([1.0, 1e19], int, "values are out of the range of int32"),
        ],
    )
    def test_what_cannot_be_written(self, values, dtype, error):
        with pytest.raises((CaprotoTypeError, CaprotoValueError), match=error):
            self.parts(values, TableForm(["a", "b"], "time", dtype, 1))


class TestRestoredValues:
    def test_they_are_in_the_rows_of_the_table(self):
        snap = snapshot([1.0, 2.0, 3.0], ok=np.array([True, False, True]))
        first, second, third = snap.names
        values, mask = restored_values(snap, TableForm([third, "x", second, first], "time", int, 1))
        assert values[[0, 3]].tolist() == [3, 1] and mask.tolist() == [True, False, False, True]

    def test_a_name_that_the_table_does_not_have(self):
        with pytest.raises(CaprotoKeyError, match="the table has no '.*', which is in the snap"):
            restored_values(snapshot([1.0]), TableForm(["x"], "time", float, 1))

    @pytest.mark.parametrize("dtype", [int, [int, "short", int, "short", int]])
    @pytest.mark.parametrize("first", range(5))
    def test_the_first_wrong_value_is_named(self, first, dtype):
        snap = snapshot([row + 0.5 * (row >= first) for row in range(5)])
        with pytest.raises(
            CaprotoValueError,
            match=f"'{snap.names[first]}': values are not whole numbers, .*: {first}.5$",
        ):
            restored_values(snap, TableForm(snap.names, "time", dtype, 1))

    def test_another_number_of_elements(self):
        snap = snapshot([[1.0, 2.0]])
        with pytest.raises(CaprotoValueError, match="they have 2 elements, and the table 3$"):
            restored_values(snap, TableForm(snap.names, "time", float, 3))
        with pytest.raises(CaprotoValueError, match="they have 1 element, and the table 2$"):
            restored_values(snapshot([1.0]), TableForm(snap.names, "time", float, 2))
