"""The columns of a table: types, and what replies put into them."""
from __future__ import annotations

import math
import struct

import numpy as np
import pytest

import caproto as ca
from caproto import CaprotoValueError, ChannelType, EventAddResponse
from caproto._client.columns import (
    Columns,
    TableForm,
    decode,
    decode_one,
    empty_values,
    equal_rows,
    make_form,
)
from caproto._protocol.id_ranges import Block, IdRange
from tests.vectors_support import messages


def block_of(responses: list[ca.EventAddResponse]) -> Block:
    """Some right updates of one form as a block."""
    command, size, data_type, count, _, _ = responses[0].fields
    one = IdRange(command, data_type, count, 1, len(responses))
    block = Block.from_wire(responses[0].fields, b"")
    data = b"".join(map(bytes, responses))
    block.range, block.offsets = one, np.arange(len(responses))
    block.records = np.frombuffer(data, f"V{16 + size}")
    return block


class TestTypes:
    @pytest.mark.parametrize(
        "dtype, number, column",
        [
            (float, ChannelType.TIME_DOUBLE, "f8"), (int, ChannelType.TIME_LONG, "i4"),
            (str, ChannelType.TIME_STRING, "S40"), ("enum", ChannelType.TIME_ENUM, "u2"),
            ("Short", ChannelType.TIME_INT, "i2"), (np.float32, ChannelType.TIME_FLOAT, "f4"),
            (np.dtype("u1"), ChannelType.TIME_CHAR, "u1"), ("U12", ChannelType.TIME_STRING, "S40"),
            (np.uint16, ChannelType.TIME_ENUM, "u2"), ("float", ChannelType.TIME_FLOAT, "f4"),
            (ChannelType.LONG, ChannelType.TIME_LONG, "i4"),
        ],
    )  # fmt: skip
    def test_what_users_call_them(self, dtype, number, column):
        form = make_form(dtype, "time", 1)
        assert (form.data_type, form.dtype) == (number, np.dtype(column))

    def test_the_family_says_what_comes_along(self):
        assert make_form(float, "status", 1).data_type == ChannelType.STS_DOUBLE
        assert make_form(float, "native", 1).data_type == ChannelType.DOUBLE

    @pytest.mark.parametrize(
        "dtype",
        ["banana", np.int64, np.complex64, 5, None.__class__, b"x", True, ChannelType.TIME_LONG,
         "int"],
    )
    def test_what_channel_access_does_not_have(self, dtype):
        with pytest.raises(CaprotoValueError, match="is not a type of Channel Access"):
            make_form(dtype, "time", 1)

    @pytest.mark.parametrize(
        "arguments, error",
        [
            ((["a", "a"], "time", float, 1), "'a' is twice"),
            ((["a"], "graphic", float, 1), "read as 'time', 'status' or 'native'"),
            ((["a"], 5, float, 1), "read as 'time'"),
            ((["a"], "time", float, 0), "count must be between 1 and"),
            ((["a"], "time", float, 1 << 32), "count must be between 1 and"),
            ((["a"], "time", float, 10**9), "number of elements of type DOUBLE does not fit"),
            ((["a"], "time", float, 1.5), "count must be a whole number"),
            ((["a"], "time", float, True), "count must be a whole number"),
            ((["a"], "time", {1}, 1), "is not a type of Channel Access"),
            ((["a"], "time", [[1]], 1), "is not a type of Channel Access"),
            ((["a"], "time", np.array(["f8"]), 1), "is not a type of Channel Access"),
            ((["a"], "time", None, 1), "is not a type of Channel Access"),
            ((["a"], "time", [float, int], 1), "1 name, but 2 types"),
            ((["a"], "time", {"b": int}, 1), "dtype has no type for 'a'"),
        ],
    )
    def test_wrong_arguments(self, arguments, error):
        with pytest.raises(ca.CaprotoError, match=error):
            TableForm(*arguments)

    @pytest.mark.parametrize("dtype", [float, [], {}])
    def test_no_names(self, dtype):
        form = TableForm([], "time", dtype, np.int64(2))
        assert Columns(form).values.shape == (0, 2) and not form.mixed

    def test_one_type_for_each_name(self):
        form = TableForm(["a", "b", "c"], "time", {"a": float, "b": str, "c": float}, 1)
        assert form.mixed and [form.of(row).dtype.kind for row in range(3)] == ["f", "S", "f"]
        assert form.select(form.forms[0], np.arange(3)).tolist() == [0, 2]
        assert not TableForm(["a", "b"], "time", [int, int], 1).mixed


SCALARS = [
    one for session in ("read_plain", "read_sts", "read_time", "monitor", "arrays")
    for one in messages(session)
    if one.header["command"] in (1, 15) and one.direction == "s2c"
    and one.header["parameter1"] == 1 and one.payload and one.header["data_type"] < 21
]  # fmt: skip


@pytest.mark.parametrize("vector", SCALARS, ids=lambda one: one.name)
def test_a_recorded_value_is_the_same_in_a_block_and_alone(vector):
    """And both are what the recording says."""
    _, _, data_type, count, _, _ = vector.fields
    layout = ca.ChannelType(data_type)
    family = "time" if data_type >= 14 else "status" if data_type >= 7 else "native"
    plain = ca.ChannelType(data_type % 7)
    if not count:
        return
    form = TableForm(["x"], family, plain, count).forms[0]
    assert form.data_type == layout
    response = EventAddResponse.from_wire((1, *vector.fields[1:]), vector.payload)
    size = vector.fields[1]
    values, stamps, severity, status = decode(block_of([response, response]), form)
    value, stamp, one_severity, one_status = decode_one(response, form)
    assert len(values) == 2 and size
    np.testing.assert_array_equal(values[0], value)
    np.testing.assert_array_equal(values[1], value)
    np.testing.assert_array_equal(value, np.reshape(response.native_data, np.shape(value)))
    assert (None if stamps is None else stamps[0]) == stamp
    if severity is not None:
        assert (severity[0], status[0]) == (one_severity, one_status)


class TestStoring:
    def update(self, value: float, severity: int = 0) -> ca.EventAddResponse:
        metadata = 7, severity, ca.TimeStamp(1, 5)
        return EventAddResponse(value, ChannelType.TIME_DOUBLE, 1, 1, 9, metadata=metadata)

    def test_the_last_of_several_for_one_row_stays(self):
        columns = Columns(TableForm(["a", "b"], "time", float, 1))
        columns.store(np.array([1, 1]), block_of([self.update(1.0), self.update(2.0, 3)]))
        assert math.isnan(columns.values[0]) and columns.values[1] == 2.0
        assert columns.severity.tolist() == [0, 3] and columns.status.tolist() == [0, 7]
        assert np.isnat(columns.timestamps[0])
        assert columns.timestamps[1] == np.datetime64("1990-01-01T00:00:01.000000005")
        assert columns.ok.tolist() == [False, True]

    def test_mixed_types_are_objects(self):
        columns = Columns(TableForm(["a", "b"], "time", [str, float], 1))
        columns.store(np.array([1]), block_of([self.update(1.5)]))
        text = EventAddResponse("hi", ChannelType.TIME_STRING, 1, 1, 9)
        columns.store_one(0, text)
        assert columns.values.dtype == object and columns.values.tolist() == [b"hi", 1.5]

    def test_a_text_ends_at_its_first_zero(self):
        raw = EventAddResponse.from_wire(
            (1, 40, 0, 1, 1, 9), b"one\0rest" + bytes(32)
        )
        form = TableForm(["a"], "native", str, 1).forms[0]
        assert decode(block_of([raw, raw]), form)[0].tolist() == [b"one", b"one"]

    def test_another_number_of_elements_does_not_fit(self):
        columns = Columns(TableForm(["a"], "time", float, 2))
        assert columns.values.shape == (1, 2)
        with pytest.raises(CaprotoValueError, match="1 element came, not 2"):
            columns.store_one(0, self.update(1.0))

    def test_a_text_does_not_fit_into_a_column_of_numbers(self):
        columns = Columns(TableForm(["a"], "time", float, 1))
        with pytest.raises(CaprotoValueError, match="STRING came, which the column cannot hold"):
            columns.store_one(0, EventAddResponse("x", ChannelType.STRING, 1, 1, 9))

    @pytest.mark.parametrize("alone", [True, False])
    @pytest.mark.parametrize("family", ["native", "status"])
    def test_what_a_type_does_not_carry_stays_missing(self, family, alone):
        form = TableForm(["a", "b"], family, float, 1)
        columns = Columns(form)
        number = ChannelType(form.forms[0].data_type)
        metadata = {"metadata": (7, 3)} if family == "status" else {}
        response = EventAddResponse(1.5, number, 1, 1, 9, **metadata)
        if alone:
            columns.store_one(1, response)
        else:
            columns.store(np.array([1]), block_of([response]))
        assert columns.values[1] == 1.5 and columns.ok.tolist() == [False, True]
        assert np.isnat(columns.timestamps).all()
        assert columns.severity.tolist() == ([0, 3] if metadata else [0, 0])
        assert columns.status.tolist() == ([0, 7] if metadata else [0, 0])

    def test_missing_values(self):
        assert Columns(TableForm(["a"], "time", int, 1)).values.tolist() == [0]
        assert Columns(TableForm(["a"], "time", str, 1)).values.tolist() == [b""]
        mixed = Columns(TableForm(["a", "b"], "time", [float, "enum"], 2)).values
        assert np.isnan(mixed[0]).all() and mixed[1].tolist() == [0, 0]


def test_the_times_are_exact():
    """Nanoseconds that a float would round."""
    payload = struct.pack(">HHIIxxxxd", 0, 0, 4_000_000_000, 999_999_999, 1.0)
    response = EventAddResponse.from_wire((1, 24, 20, 1, 1, 9), payload)
    form = TableForm(["a"], "time", float, 1).forms[0]
    stamps = decode(block_of([response, response]), form)[1]
    assert stamps[0] == response.metadata.stamp.as_datetime64()


@pytest.mark.parametrize(
    "first, second, equal",
    [
        ([1.0, math.nan, 2.0], [1.0, math.nan, 3.0], [True, True, False]),
        ([[1, 2], [3, 4]], [[1, 2], [3, 5]], [True, False]),
        ([b"a", b"b"], [b"a", b""], [True, False]),
    ],
)  # fmt: skip
def test_equal_rows(first, second, equal):
    assert equal_rows(np.array(first), np.array(second)).tolist() == equal


def test_equal_rows_of_mixed_types_with_nan():
    """As in columns of one type."""
    form = TableForm(["a", "b", "c"], "time", [float, int, str], 2)
    column = empty_values(form)
    assert equal_rows(column, empty_values(form)).tolist() == [True, True, True]
    column[0] = np.array([math.nan, 1.0])
    assert equal_rows(column, empty_values(form)).tolist() == [False, True, True]
    scalars = empty_values(TableForm(["a", "b"], "time", [float, str], 1))
    assert equal_rows(scalars, scalars.copy()).tolist() == [True, True]


def test_equal_rows_of_mixed_types():
    first, second = np.empty(3, object), np.empty(3, object)
    first[:] = b"a", 1.0, 2.0
    second[:] = b"a", 1.0, 3.0
    first[2] = np.array([1, 2])
    second[2] = np.array([1, 2])
    assert equal_rows(first, second).tolist() == [True, True, True]
    second[0] = b"b"
    assert equal_rows(first, second).tolist() == [False, True, True]
