from __future__ import annotations

import decimal
import fractions
import hashlib
import json
import math
import struct
import subprocess
import sys
from array import array
from collections import deque

import numpy
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from caproto._errors import CaprotoError, CaprotoTypeError, CaprotoValueError, RemoteProtocolError
from caproto._protocol import dbr as dbr
from caproto._protocol.dbr import LAYOUTS, AlarmSeverity, AlarmStatus, ChannelType, TimeStamp
from caproto._protocol.payload import (
    data_view,
    elements_of,
    encode,
    metadata_of,
    native_view,
    payload_size,
    strings_of,
)
from caproto.backend import select_backend
from tests.harness.each_case import each_case
from tests.vectors_support import layouts, messages

INTEGERS = {
    ChannelType.INT: (-(2**15), 2**15 - 1),
    ChannelType.ENUM: (0, 2**16 - 1),
    ChannelType.CHAR: (-128, 255),
    ChannelType.LONG: (-(2**31), 2**31 - 1),
}

#: By name: they are made when they are asked for.
STRUCTURES = {structure.__name__: structure for structure in dbr.DBR_TYPES.values()}


@pytest.fixture(params=["numpy", "array"])
def backend(request):
    select_backend(request.param)
    yield request.param
    select_backend("numpy")


def values_of(data) -> list:
    """As Python objects, whatever the backend."""
    return data.tolist() if hasattr(data, "tolist") else list(data)


# ---- recorded traffic ----------------------------------------------------------------------------

REPLIES = [vector for vector in messages() if "dbr_type" in vector.decoded]
WRITES = [
    vector
    for vector in messages()
    if vector.header["command_name"] in ("WRITE", "WRITE_NOTIFY") and vector.direction == "c2s"
]


def comparable(value):
    """A value as the recordings spell it."""
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


def assert_values(found: list, decoded: dict) -> None:
    found = [comparable(value) for value in found]
    if "data" in decoded:
        assert found == decoded["data"]
        return
    assert found[: len(decoded["data_first"])] == decoded["data_first"]
    assert found[-len(decoded["data_last"]) :] == decoded["data_last"]
    text = json.dumps(found, separators=(",", ":"))
    assert hashlib.sha256(text.encode()).hexdigest() == decoded["data_sha256"]


def test_the_recordings_cover_all_types():
    read = {vector.header["data_type"] for vector in REPLIES}
    written = {vector.header["data_type"] for vector in WRITES}
    assert read == set(range(39)) - {35, 36}
    assert written == {*range(7), 35, 36}


@each_case("vector", REPLIES, ids=lambda vector: vector.name)
def test_values_of_a_real_server(vector, backend):
    header = vector.header
    found = data_view(vector.payload, header["data_type"], header["data_count"])
    assert len(found) == vector.decoded["count"]
    assert_values(values_of(found), vector.decoded)
    native = native_view(vector.payload, header["data_type"], header["data_count"])
    assert_values(values_of(native), vector.decoded)


@each_case("vector", REPLIES, ids=lambda vector: vector.name)
def test_metadata_of_a_real_server(vector):
    metadata = metadata_of(vector.payload, vector.header["data_type"])
    expected = dict(vector.decoded["metadata"])
    strings = expected.pop("strings", None)
    if strings is not None:
        assert [name.decode() for name in metadata.enum_strings] == strings
    for name, value in expected.items():
        assert comparable(getattr(metadata, name)) == value
    fields = [name for name, _ in type(metadata)._fields_ if name not in ("_gap", "strings")]
    assert set(fields) == set(expected)
    assert eval(repr(metadata), {**vars(dbr), **STRUCTURES}) == metadata


@each_case("vector", REPLIES, ids=lambda vector: vector.name)
def test_a_real_servers_payload_made_anew(vector):
    """What we make of a server's values and metadata says the same, with zeros in the gaps."""
    data_type, count = vector.header["data_type"], vector.header["data_count"]
    data = data_view(vector.payload, data_type, count)
    metadata = metadata_of(vector.payload, data_type)
    payload, made = encode(data, data_type, metadata=metadata)
    assert made == count and len(payload) % 8 == 0
    if (data_type, count) != (ChannelType.STRING, 1):
        assert len(payload) == len(vector.payload) == payload_size(data_type, count)
    assert metadata_of(payload, data_type) == metadata
    again = data_view(payload, data_type, count)
    assert again.dtype == data.dtype and again.tobytes() == data.tobytes()
    offset = 0
    for entry in layouts()[data_type]["metadata_fields"]:
        assert not any(payload[offset : entry["offset"]])
        sizes = {"h": 2, "H": 2, "I": 4, "i": 4, "f": 4, "d": 8, "B": 1, "8s": 8, "16x26s": 416}
        offset = entry["offset"] + sizes[entry["format"]]
    assert not any(payload[offset : LAYOUTS[data_type].value_offset])


@each_case("vector", WRITES, ids=lambda vector: vector.name)
def test_writes_are_those_of_a_real_client(vector):
    """Byte for byte, from the values that the user of libca gave."""
    if "data" not in vector.decoded:
        found = data_view(vector.payload, vector.header["data_type"], vector.header["data_count"])
        assert_values(found.tolist(), vector.decoded)
        data = found.tolist()
    else:
        data = [float(v) if v in ("nan", "inf", "-inf") else v for v in vector.decoded["data"]]
    payload, count = encode(data, vector.header["data_type"])
    assert count == vector.header["data_count"]
    assert payload.hex() == vector.payload.hex()


def test_strings_of_a_real_server():
    for vector in REPLIES:
        data_type, count = vector.header["data_type"], vector.header["data_count"]
        native, decoded = LAYOUTS[data_type].native, vector.decoded
        found = strings_of(vector.payload, data_type, count)
        if "data" not in decoded:
            continue
        if native is ChannelType.STRING:
            assert found == decoded["data"]
        elif native is ChannelType.CHAR and count != 1:
            text = bytes(decoded["data"]).partition(b"\0")[0]
            # All of them UTF-8, but for one that is Latin-1.
            assert found == [text.decode("latin-1" if b"\xfa" in text else "utf-8")]
        elif "strings" in decoded["metadata"]:
            names = dict(enumerate(decoded["metadata"]["strings"]))
            assert found == [names.get(number, str(number)) for number in decoded["data"]]
        else:
            assert [comparable(float(text)) for text in found] == decoded["data"]


# ---- sizes ---------------------------------------------------------------------------------------


@each_case("entry", layouts(), ids=lambda entry: entry["name"])
def test_payload_size(entry):
    def padded(size):
        return (size + 7) // 8 * 8

    assert payload_size(entry["code"], 1) == padded(entry["size_of_one"])
    assert payload_size(entry["code"], 0) == padded(entry["value_offset"])
    many = entry["value_offset"] + 1001 * entry["element_size"]
    assert payload_size(entry["code"], 1001) == padded(many)


@pytest.mark.parametrize("data_type", [39, 65535, -1])
def test_no_such_type(data_type):
    for wrong in (
        lambda: payload_size(data_type, 1),
        lambda: encode(1, data_type),
    ):
        with pytest.raises(CaprotoValueError, match="0 to 38"):
            wrong()


@pytest.mark.parametrize("data_type", [39, 65535])
def test_a_peer_names_no_such_type(data_type, backend):
    for wrong in (
        lambda: data_view(bytes(80), data_type, 1),
        lambda: native_view(bytes(80), data_type, 1),
        lambda: strings_of(bytes(80), data_type, 1),
        lambda: metadata_of(bytes(80), data_type),
    ):
        with pytest.raises(RemoteProtocolError, match=f"^{data_type} is not a data type"):
            wrong()


# ---- reading -------------------------------------------------------------------------------------

ALL_TYPES = each_case("data_type", range(39), ids=lambda n: ChannelType(n).name)


@ALL_TYPES
def test_no_elements(data_type, backend):
    for payload in (b"", bytes(payload_size(data_type, 0)), memoryview(b"")):
        assert len(data_view(payload, data_type, 0)) == 0
        assert len(native_view(payload, data_type, 0)) == 0
        expected = [""] if LAYOUTS[data_type].native is ChannelType.CHAR else []
        assert strings_of(payload, data_type, 0) == expected
    metadata = metadata_of(bytes(payload_size(data_type, 0)), data_type)
    assert metadata == LAYOUTS[data_type].struct()


@ALL_TYPES
def test_a_payload_that_is_too_short(data_type, backend):
    needed = LAYOUTS[data_type].value_offset + 3 * LAYOUTS[data_type].item_size
    for size in (0, 1, LAYOUTS[data_type].value_offset, needed - 1):
        for payload in (bytes(size), memoryview(bytes(size))):
            for look in (data_view, native_view, strings_of):
                with pytest.raises(RemoteProtocolError, match=f"occupy {needed} bytes.* {size}$"):
                    look(payload, data_type, 3)
    data_view(bytes(needed), data_type, 3)


@ALL_TYPES
def test_metadata_that_is_too_short(data_type):
    for size in range(LAYOUTS[data_type].value_offset):
        with pytest.raises(RemoteProtocolError, match=ChannelType(data_type).name):
            metadata_of(bytes(size), data_type)


@each_case("count", [2**32 - 1, 2**31, 10**7])
@ALL_TYPES
def test_a_count_that_lies(data_type, count, backend):
    for look in (data_view, native_view, strings_of):
        with pytest.raises(RemoteProtocolError):
            look(bytes(1024), data_type, count)


@each_case("vector", REPLIES, ids=lambda vector: vector.name)
def test_some_elements_are_those_of_all(vector):
    _, _, data_type, count, _, _ = vector.fields
    if not vector.payload:
        return
    whole = data_view(vector.payload, data_type, count).tolist()
    for start, stop in ((0, count), (0, 0), (0, min(count, 3)), (max(count - 3, 0), count)):
        found = list(elements_of(vector.payload, data_type, count, start, stop))
        assert repr(found) == repr(whole[start:stop])  # NaN, too


@pytest.mark.parametrize("data_type", [ChannelType.TIME_DOUBLE, ChannelType.STRING, 39], ids=str)
def test_elements_that_are_not_there(data_type):
    with pytest.raises(RemoteProtocolError):
        elements_of(bytes(24), data_type, 3, 0, 3)


def test_arrays_are_views_of_the_payload():
    payload = struct.pack(">hhII4x3d", 0, 0, 1, 2, 1.5, 2.5, 3.5)
    data = data_view(payload, ChannelType.TIME_DOUBLE, 3)
    assert data.dtype == ">f8" and data.shape == (3,) and data.tolist() == [1.5, 2.5, 3.5]
    assert numpy.shares_memory(data, numpy.frombuffer(payload, "u1"))


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview, lambda b: memoryview(bytearray(b))])
@pytest.mark.parametrize("data_type", [ChannelType.DOUBLE, ChannelType.CHAR, ChannelType.STRING])
def test_views_are_read_only_and_copies_are_not(kind, data_type):
    payload = kind(bytes(range(65, 105)) * 2)
    before = bytes(payload)
    for count in (0, 1, 2):
        data = data_view(payload, data_type, count)
        assert not data.flags.writeable
        with pytest.raises(ValueError, match="read-only"):
            data[:] = data[:1]
        copy = native_view(payload, data_type, count)
        assert copy.tolist() == data.tolist()
        copy[:] = b"x" if data_type is ChannelType.STRING else 7
    assert bytes(payload) == before


@pytest.mark.parametrize("native", list(dbr.native_types), ids=str)
def test_native_arrays(native):
    data = native_view(bytes(80), native, 2)
    assert data.dtype.isnative and data.dtype.itemsize == LAYOUTS[native].item_size
    view = data_view(bytes(80), native, 2)
    assert view.dtype == numpy.dtype(LAYOUTS[native].dtype)


@pytest.mark.parametrize("size", [8, 16, 24, 32, 40])
@pytest.mark.parametrize("data_type", [ChannelType.STRING, ChannelType.STS_STRING])
def test_a_single_text_may_be_short(size, data_type, backend):
    text = bytes(range(48, 48 + size - 1))
    payload = bytes(LAYOUTS[data_type].value_offset) + text + b"\0"
    assert values_of(data_view(payload, data_type, 1)) == [text]
    assert strings_of(payload, data_type, 1) == [text.decode()]
    if size < 40:
        with pytest.raises(RemoteProtocolError):
            data_view(payload, data_type, 2)


def test_rubbish_behind_a_text_is_not_seen(backend):
    payload = b"one\0rubbish".ljust(40, b"?") + b"x" * 40 + b"\0".ljust(40, b"?")
    assert values_of(data_view(payload, 0, 3)) == [b"one", b"x" * 40, b""]
    assert strings_of(payload, 0, 3) == ["one", "x" * 40, ""]


@pytest.mark.parametrize("data_type", [ChannelType.STRING, ChannelType.TIME_CHAR], ids=str)
def test_text_that_is_not_utf8_is_latin1_and_goes_back_as_it_came(data_type):
    latin = "Grüße".encode("latin-1") + b"\0"
    payload, count = encode(latin, data_type)
    (text,) = strings_of(payload, data_type, count)
    assert text == "Grüße"
    assert encode(text, data_type) == (payload, count)


def test_names_of_states_that_are_not_utf8_are_latin1():
    metadata = dbr.DBR_CTRL_ENUM(enum_strings=(b"f\xfcll", b"leer"))
    payload, count = encode([0, 1], ChannelType.CTRL_ENUM, metadata=metadata)
    found = strings_of(payload, ChannelType.CTRL_ENUM, count)
    assert found == ["füll", "leer"]
    assert encode(found[0], ChannelType.STRING)[0].rstrip(b"\0") == b"f\xfcll"


@pytest.mark.parametrize("family", ["graphic", "control"])
def test_enums_are_shown_by_name(family):
    data_type = dbr.field_types[family][ChannelType.ENUM]
    metadata = LAYOUTS[data_type].struct(enum_strings=(b"off", b"on", "füll".encode()))
    payload, count = encode([0, 2, 3, 65535], data_type, metadata=metadata)
    assert strings_of(payload, data_type, count) == ["off", "füll", "3", "65535"]


def test_enums_without_names_are_shown_by_number():
    payload, count = encode([0, 2], ChannelType.TIME_ENUM)
    assert strings_of(payload, ChannelType.TIME_ENUM, count) == ["0", "2"]


def test_chars_are_one_text_or_one_number():
    payload, count = encode("Größe", ChannelType.CHAR)
    assert count == 8  # UTF-8, and a zero
    assert strings_of(payload, ChannelType.CHAR, count) == ["Größe"]
    assert strings_of(payload, ChannelType.CHAR, 2) == ["Gr"]
    assert strings_of(payload, ChannelType.CHAR, 1) == ["71"]


@pytest.mark.parametrize(
    "text, strings", [("", [""]), ("A", ["A"]), ("\xfc".encode("latin-1"), ["ü"])], ids=repr
)
@pytest.mark.parametrize("data_type", [ChannelType.CHAR, ChannelType.CTRL_CHAR], ids=str)
def test_one_character_of_an_array_is_text(text, strings, data_type):
    payload, _ = encode(text, data_type)
    assert strings_of(payload, data_type, 1, of_array=True) == strings
    assert strings_of(payload, data_type, 0, of_array=True) == [""]


def test_that_a_channel_is_an_array_matters_for_chars_alone():
    for data_type in set(range(35)) - {4, 11, 18, 25, 32}:
        payload, count = encode(["7"] if data_type % 7 == 0 else [7], data_type)
        plain = strings_of(payload, data_type, count)
        assert strings_of(payload, data_type, count, of_array=True) == plain


@pytest.mark.parametrize(
    "value, text",
    [
        (0.1, "0.1"),
        (0.3, "0.3"),
        (3.0, "3.0"),
        (1e10, "1e+10"),
        (3.4028234663852886e38, "3.4028235e+38"),
    ],
)
def test_short_floats_have_short_texts(value, text):
    payload, count = encode(value, ChannelType.FLOAT)
    (found,) = strings_of(payload, ChannelType.FLOAT, count)
    assert float(found) == float(text) and len(found) <= len(str(float(text)))


@given(st.floats(width=32))
def test_the_text_of_a_float_gives_the_float_back(value):
    payload, count = encode(value, ChannelType.FLOAT)
    (text,) = strings_of(payload, ChannelType.FLOAT, count)
    assert encode(float(text), ChannelType.FLOAT)[0] == payload or math.isnan(value)


@given(st.floats())
def test_the_text_of_a_double_gives_the_double_back(value):
    payload, count = encode(value, ChannelType.DOUBLE)
    (text,) = strings_of(payload, ChannelType.DOUBLE, count)
    assert encode(float(text), ChannelType.DOUBLE)[0] == payload or math.isnan(value)


def test_text_does_not_need_numpy():
    code = (
        "import sys, caproto\n"
        "from caproto._protocol.payload import encode, strings_of, metadata_of\n"
        "for data, data_type in (([1.5, 2.5], 20), ('on', 0), (0.1, 2), ('text', 4), (3, 31)):\n"
        "    payload, count = encode(data, data_type)\n"
        "    metadata_of(payload, data_type), strings_of(payload, data_type, count)\n"
        "print('numpy' in sys.modules)\n"
    )
    output = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout
    assert output == "False\n"


@given(st.binary(max_size=600), st.integers(0, 50), st.integers(0, 30) | st.integers(0, 2**32 - 1))
def test_garbage_is_values_or_a_clean_error(payload, data_type, count):
    for look in (
        lambda: data_view(payload, data_type, count),
        lambda: native_view(payload, data_type, count),
        lambda: strings_of(payload, data_type, count),
        lambda: repr(metadata_of(payload, data_type)),
    ):
        try:
            look()
        except CaprotoError as error:
            assert isinstance(error, RemoteProtocolError)


# ---- writing -------------------------------------------------------------------------------------


def numbers(native):
    if native in INTEGERS:
        lowest, highest = INTEGERS[native]
        return st.integers(0 if native is ChannelType.CHAR else lowest, highest)
    return st.floats(width=32 if native is ChannelType.FLOAT else 64)


texts = st.binary(max_size=39).map(lambda raw: raw.replace(b"\0", b"_"))
typed_values = st.sampled_from(range(39)).flatmap(
    lambda data_type: st.tuples(
        st.just(data_type),
        st.lists(
            texts
            if LAYOUTS[data_type].native is ChannelType.STRING
            else numbers(LAYOUTS[data_type].native),
            max_size=20,
        ),
    )
)


def same(one: list, other: list) -> bool:
    return len(one) == len(other) and all(
        a == b or (a != a and b != b) for a, b in zip(one, other, strict=True)
    )


@pytest.mark.parametrize("name", ["numpy", "array"])
@given(typed_values)
def test_round_trip_of_any_values(name, typed):
    data_type, values = typed
    select_backend(name)
    try:
        for data in (values, tuple(values), deque(values)):
            payload, count = encode(data, data_type)
            assert count == len(values) and len(payload) % 8 == 0
            assert same(values_of(data_view(payload, data_type, count)), values)
    finally:
        select_backend("numpy")


@given(typed_values)
def test_round_trip_through_arrays_of_either_byte_order(typed):
    data_type, values = typed
    layout = LAYOUTS[data_type]
    expected = encode(values, data_type)
    orders = "|" if layout.native is ChannelType.STRING else "<>"
    for order in orders:
        source = numpy.array(values, numpy.dtype(layout.dtype).newbyteorder(order))
        assert encode(source, data_type) == expected
    if layout.native is not ChannelType.STRING:
        assert encode(array(layout.typecode, values), data_type) == expected
        assert encode(memoryview(array(layout.typecode, values)), data_type) == expected
    if layout.native not in (ChannelType.STRING, ChannelType.ENUM):
        raw = struct.pack(f">{len(values)}{layout.typecode}", *values)
        for kind in (bytes, bytearray, memoryview):
            assert encode(kind(raw), data_type) == expected


@pytest.mark.parametrize("data_type", [ChannelType.LONG, ChannelType.CHAR], ids=str)
def test_what_is_sent_stays_as_it_is(data_type):
    """Only our copy of the user's array gets the byte order of the wire."""
    for data in (array(LAYOUTS[data_type].typecode, [1, 2]), numpy.array([1, 2]), [1, 2]):
        encode(data, data_type)
        assert list(data) == [1, 2]


@given(typed_values, st.integers(0, 20))
def test_a_count_sends_the_first_elements(typed, count):
    data_type, values = typed
    if count > len(values):
        with pytest.raises(CaprotoValueError, match=rf"data_count={count}.*{len(values)} element"):
            encode(values, data_type, count)
    else:
        assert encode(values, data_type, count) == encode(values[:count], data_type)


@pytest.mark.parametrize("count", [-1, 2])
def test_a_count_that_cannot_be(count):
    with pytest.raises(CaprotoValueError, match="data_count"):
        encode(1.0, ChannelType.DOUBLE, count)


@pytest.mark.parametrize(
    "text, size", [("", 8), ("1234567", 8), ("12345678", 16), ("x" * 31, 32), ("x" * 39, 40)]
)
def test_a_single_text_is_sent_short(text, size):
    payload, count = encode(text, ChannelType.STRING)
    assert (len(payload), count) == (size, 1)
    assert payload == text.encode().ljust(size, b"\0")
    assert len(encode(text, ChannelType.TIME_STRING)[0]) == 56
    assert len(encode([text, text], ChannelType.STRING)[0]) == 80


@pytest.mark.parametrize(
    "data",
    [
        "abc",
        b"abc",
        b"abc\0\0",
        ["abc"],
        (b"abc",),
        numpy.array("abc"),
        numpy.array(["abc"]),
        numpy.array([b"abc"], "S40"),
        numpy.array(["abc"], object),
        numpy.str_("abc"),
        numpy.bytes_(b"abc"),
    ],
    ids=repr,
)
def test_kinds_of_text(data):
    assert encode(data, ChannelType.STRING) == (b"abc\0\0\0\0\0", 1)


@each_case(
    "data",
    [
        3,
        3.0,
        [3],
        numpy.float32(3),
        numpy.int8(3),
        numpy.array(3),
        numpy.array([3], ">u2"),
        numpy.array([3], object),
        decimal.Decimal(3),
        fractions.Fraction(3),
        range(3, 4),
        deque([3]),
        array("d", [3]),
        memoryview(array("h", [3])),
    ],
    ids=lambda data: type(data).__name__,
)
@each_case("native", [*INTEGERS, ChannelType.FLOAT, ChannelType.DOUBLE], ids=str)
def test_kinds_of_numbers(data, native):
    payload, count = encode(data, native)
    assert count == 1
    assert data_view(payload, native, 1).tolist() == [3]


def test_masked_elements_have_no_value_to_send():
    data = numpy.ma.array([1.0, 2.0, 3.0], mask=[False, True, False])
    with pytest.raises(CaprotoValueError, match="masked"):
        encode(data, ChannelType.DOUBLE)
    assert encode(data.filled(0), ChannelType.LONG) == encode([1, 0, 3], ChannelType.LONG)
    assert encode(data[:1], ChannelType.LONG) == encode([1], ChannelType.LONG)


@pytest.mark.parametrize("data", [True, [True], numpy.bool_(True), numpy.array([True])], ids=repr)
@pytest.mark.parametrize("native", [ChannelType.ENUM, ChannelType.DOUBLE], ids=str)
def test_truth_is_one(data, native):
    payload, _ = encode(data, native)
    assert data_view(payload, native, 1).tolist() == [1]


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_texts_as_they_travel(kind):
    raw = b"one\0?".ljust(40, b"?") + b"x" * 39 + b"\0" + bytes(40)
    payload, count = encode(kind(raw), ChannelType.STRING)
    assert count == 3
    assert payload == b"one".ljust(40, b"\0") + raw[40:]
    with pytest.raises(CaprotoValueError, match="40 bytes; STRING holds 39"):
        encode(kind(b"x" * 80), ChannelType.STRING)
    assert encode(kind(b"one"), ChannelType.STRING) == (b"one\0\0\0\0\0", 1)


def test_more_dimensions_go_row_by_row():
    data = numpy.arange(6).reshape(2, 3).T
    payload, count = encode(data, ChannelType.LONG)
    assert data_view(payload, ChannelType.LONG, count).tolist() == [0, 3, 1, 4, 2, 5]


@pytest.mark.parametrize("native, limits", INTEGERS.items(), ids=str)
@pytest.mark.parametrize("make", [int, float, numpy.int64, lambda v: numpy.array([0, v])])
def test_integers_that_do_not_fit(native, limits, make):
    for limit, beyond in zip(limits, (-1, 1), strict=True):
        encode(make(limit), native)
        with pytest.raises(CaprotoValueError, match=f"does not fit {native}, {limits[0]} to"):
            encode(make(limit + beyond), native)


#: Ways to pass one number, whatever it is.
WRAPS = {
    "bare": lambda v: v,
    "list": lambda v: [0, v],
    "tuple": lambda v: (v,),
    "deque": lambda v: deque([v]),
    "objects": lambda v: numpy.array([0, v], object),
    "object": lambda v: numpy.array(v, object),
    "list of an array": lambda v: [numpy.array(v)],
}
ANY_WRAP = each_case("wrap", WRAPS)
#: Classes of numbers; each makes one of a float that it can hold exactly.
CLASSES = [
    float, decimal.Decimal, fractions.Fraction, numpy.float16, numpy.float32, numpy.float64,
    numpy.longdouble, numpy.array, numpy.atleast_1d,
]
ANY_CLASS = each_case("make", CLASSES, ids=lambda make: make.__name__)


@each_case("value", [1.5, math.nan, math.inf, -math.inf, -0.25])
@ANY_CLASS
@ANY_WRAP
def test_integers_must_be_whole(value, make, wrap):
    if make is fractions.Fraction and not math.isfinite(value):
        return  # there is no such fraction
    if wrap is not WRAPS["bare"] and make is numpy.atleast_1d:
        return  # an array in an array is not a number, see below
    for native in INTEGERS:
        with pytest.raises(CaprotoValueError, match=f"whole number, as {native} needs|not fit"):
            encode(wrap(make(value)), native)


@ANY_CLASS
@ANY_WRAP
def test_whole_numbers_of_all_classes(make, wrap):
    if wrap is not WRAPS["bare"] and make is numpy.atleast_1d:
        return
    for native in [*INTEGERS, ChannelType.FLOAT, ChannelType.DOUBLE]:
        payload, count = encode(wrap(make(100.0)), native)
        assert data_view(payload, native, count)[-1] == 100


@each_case(
    "value",
    [
        decimal.Decimal("3.7"),
        fractions.Fraction(7, 2),
        numpy.longdouble(1) + numpy.finfo(numpy.longdouble).eps,
        decimal.Decimal("1." + "0" * 40 + "1"),
        fractions.Fraction(10**40 + 1, 10**40),
    ],
    ids=lambda value: type(value).__name__,
)
@ANY_WRAP
def test_a_fraction_that_no_float_sees_is_one(value, wrap):
    with pytest.raises(CaprotoValueError, match="not a whole number"):
        encode(wrap(value), ChannelType.LONG)


@each_case(
    "value",
    [
        10**400, -(10**400), 10**5000, decimal.Decimal("1e400"), decimal.Decimal("-1e999999"),
        fractions.Fraction(10**400), numpy.longdouble("1e400"),
    ],
    ids=lambda value: type(value).__name__,
)
@each_case("native", [*INTEGERS, ChannelType.FLOAT, ChannelType.DOUBLE], ids=str)
@ANY_WRAP
def test_numbers_that_no_type_can_hold(value, native, wrap):
    with pytest.raises(CaprotoValueError, match=f"does not fit {native}|too large for {native}"):
        encode(wrap(value), native)


@ANY_CLASS
@ANY_WRAP
def test_floats_that_would_become_infinite(make, wrap):
    if make is numpy.float16 or (wrap is not WRAPS["bare"] and make is numpy.atleast_1d):
        return
    for value in (1e39, -3.5e38):
        with numpy.errstate(over="ignore"):
            number = make(value)
        if make is numpy.float32:
            continue  # it is infinite already
        with pytest.raises(CaprotoValueError, match="too large for FLOAT"):
            encode(wrap(number), ChannelType.FLOAT)


@pytest.mark.parametrize(
    "infinity", [math.inf, numpy.float32("inf"), numpy.longdouble("inf"), decimal.Decimal("inf")]
)
@ANY_WRAP
def test_an_infinite_float_is_sent_as_it_is(infinity, wrap):
    for native in (ChannelType.FLOAT, ChannelType.DOUBLE):
        payload, count = encode(wrap(infinity), native)
        assert data_view(payload, native, count)[-1] == math.inf


@pytest.mark.parametrize("value", [-1, -128, 255])
@pytest.mark.parametrize(
    "make",
    [int, float, decimal.Decimal, numpy.int16, numpy.float64, lambda v: numpy.array([v], ">i4"),
     lambda v: numpy.array([v], "f4"), lambda v: numpy.array(v, object), lambda v: array("h", [v])],
)
def test_a_char_may_be_negative(value, make):
    """A record's CHAR is signed; on the wire it is the same 8 bits."""
    payload, count = encode(make(value), ChannelType.CHAR)
    assert (payload[0], count) == (value & 0xFF, 1)


def test_arrays_of_signed_bytes_are_chars():
    data = numpy.array([-1, 2, -128], "i1")
    assert encode(data, ChannelType.CHAR) == (b"\xff\x02\x80" + bytes(5), 3)
    assert encode(array("b", [-1, 2, -128]), ChannelType.CHAR) == encode(data, ChannelType.CHAR)


@pytest.mark.parametrize("value", [-129, 256, 2**32 + 1, 2**64 - 1])
def test_what_is_no_char_in_an_array(value):
    for dtype in ("i8", "u8", "f8", "g"):
        if dtype != "i8" or value < 2**63:
            with numpy.errstate(invalid="ignore"):
                data = numpy.array([0, value]).astype(dtype)
            if data[1] == value:
                with pytest.raises(CaprotoValueError, match="does not fit CHAR, -128 to 255"):
                    encode(data, ChannelType.CHAR)


def test_an_integer_too_large_for_a_double():
    with pytest.raises(CaprotoValueError, match="too large for DOUBLE"):
        encode(10**400, ChannelType.DOUBLE)


@each_case(
    "data",
    [
        "3", None, object(), {}, {1}, 1j, ["3"], [[1]], [None], numpy.array(["3"]), [b"3"],
        [bytearray(b"3")], [memoryview(b"3")], [array("B", b"3")], [1, 2j], numpy.array([2j]),
        [numpy.complex64(2)], numpy.complex128(2), [numpy.array(2j)], [numpy.array([1])],
        numpy.timedelta64(3, "ns"), [numpy.timedelta64(3, "s")], numpy.array([3], "m8[ns]"),
        numpy.datetime64(3, "ns"), numpy.array([1, None], object), [numpy.str_("3")],
        decimal.Decimal("sNaN"),
    ],
    ids=lambda data: type(data).__name__,
)
@each_case("native", [ChannelType.DOUBLE, ChannelType.LONG], ids=str)
def test_what_is_not_a_number(data, native):
    with pytest.raises(CaprotoTypeError, match=f"of type .* cannot be sent as {native}: it takes"):
        encode(data, native)


@pytest.mark.parametrize("data", ["On", b"On", bytearray(b"On"), memoryview(b"On")])
def test_the_state_of_an_enum_is_its_number(data):
    with pytest.raises(CaprotoTypeError, match="number of a state.*data_type='STRING'"):
        encode(data, ChannelType.ENUM)


@pytest.mark.parametrize("data", [3, None, [3], ["a", None], numpy.array([3]), {}], ids=repr)
def test_what_is_not_text(data):
    told = "cannot be sent as STRING: it takes str or bytes.*data_type='DOUBLE'"
    with pytest.raises(CaprotoTypeError, match=told):
        encode(data, ChannelType.STRING)


@pytest.mark.parametrize("text", ["x" * 40, "ü" * 20, b"x" * 41, ["ok", "x" * 400]], ids=len)
def test_texts_that_are_too_long(text):
    with pytest.raises(CaprotoValueError, match=r"has \d+ bytes; STRING holds 39.*CHAR") as caught:
        encode(text, ChannelType.STRING)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("data_type", [ChannelType.STRING, ChannelType.CHAR], ids=str)
def test_text_that_has_no_utf8(data_type):
    with pytest.raises(CaprotoValueError, match="UTF-8"):
        encode("\ud800", data_type)


def test_a_zero_inside_a_text():
    with pytest.raises(CaprotoValueError, match="zero byte"):
        encode("a\0b", ChannelType.STRING)


@pytest.mark.parametrize("size", [1, 7, 9])
def test_raw_bytes_must_be_whole_elements(size):
    with pytest.raises(CaprotoValueError, match=f"{size} byte.*DOUBLE.*8 bytes each"):
        encode(bytes(size), ChannelType.DOUBLE)


# ---- metadata ------------------------------------------------------------------------------------


@ALL_TYPES
def test_an_alarm_and_a_time_go_where_there_is_room(data_type):
    stamp = TimeStamp(5, 6)
    triple = (AlarmStatus.HIGH, AlarmSeverity.MINOR_ALARM, stamp)
    data = "1" if LAYOUTS[data_type].native is ChannelType.STRING else 1
    payload, _ = encode(data, data_type, metadata=triple)
    metadata = metadata_of(payload, data_type)
    if data_type >= 7 and data_type not in (35, 36, 38):
        assert (metadata.status, metadata.severity) == triple[:2]
    if LAYOUTS[data_type].family == "time":
        assert metadata.stamp == stamp
    blank = metadata_of(encode(data, data_type)[0], data_type)
    assert blank == LAYOUTS[data_type].struct()
    assert payload[LAYOUTS[data_type].value_offset :] == encode(data, data_type)[0][
        LAYOUTS[data_type].value_offset :
    ]


def test_the_time_of_the_metadata_is_flexible():
    payload, _ = encode(1, ChannelType.TIME_INT, metadata=(0, 0, "1990-01-01T00:00:01.25Z"))
    assert metadata_of(payload, ChannelType.TIME_INT).stamp == TimeStamp(1, 250_000_000)


def test_metadata_of_another_type():
    with pytest.raises(CaprotoTypeError, match="TIME_INT is a DBR_TIME_INT, not a DBR_TIME_LONG"):
        encode(1, ChannelType.TIME_INT, metadata=dbr.DBR_TIME_LONG())


@pytest.mark.parametrize(
    "metadata",
    [(1, 2, 0, 4), 3, "abc", (1, 2, None), ("HIGH", 1, 0.0), (0, 0, 0.0), (10**6, 0, 1e9)],
)
def test_metadata_that_is_none(metadata):
    with pytest.raises(CaprotoError):
        encode(1, ChannelType.TIME_INT, metadata=metadata)


@example(23, bytes(range(1, 200)))
@given(st.integers(7, 38), st.binary(min_size=424, max_size=424))
def test_rubbish_in_received_metadata_is_not_sent_on(data_type, rubbish):
    metadata = metadata_of(rubbish.ljust(424, b"?"), data_type)
    assume(getattr(metadata, "nanoseconds", 0) < 10**9)
    payload, _ = encode([], data_type, metadata=metadata)
    assert metadata_of(payload, data_type) == metadata
    assert bytes(metadata_of(payload, data_type)) == bytes(metadata.cleaned())


@pytest.mark.parametrize("texts", [["left"], ["x" * 39], ["left", "right", ""]])
@pytest.mark.parametrize("stamped", [False, True], ids=["as the C library", "with a time stamp"])
def test_both_layouts_of_ctrl_string(texts, stamped):
    """They are told apart by their size; status and severity stand in the same place."""
    front = struct.pack(">hh", 3, 2) + (struct.pack(">II", 1000, 500) if stamped else b"")
    payload = front + b"".join(text.encode().ljust(40, b"\0") for text in texts)
    payload += bytes(-len(payload) % 8)
    assert strings_of(payload, ChannelType.CTRL_STRING, len(texts)) == texts
    assert data_view(payload, ChannelType.CTRL_STRING, len(texts)).tolist() == [
        text.encode() for text in texts
    ]
    metadata = metadata_of(payload, ChannelType.CTRL_STRING)
    assert (metadata.status, metadata.severity) == (3, 2)


@pytest.mark.parametrize("data_type, fields", [
    (ChannelType.STS_DOUBLE, (1, 2)),
    (ChannelType.CTRL_STRING, (1, 2)),
    (ChannelType.GR_DOUBLE, (1, 2, 3)),
    (ChannelType.CTRL_DOUBLE, (1, 2, 3, 0, b"mm", 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0)),
    (ChannelType.CTRL_LONG, (1, 2, b"mm", 1, 2, 3, 4, 5, 6, 7, 8)),
])
def test_metadata_may_be_all_the_fields(data_type, fields):
    values = ["1"] if LAYOUTS[data_type].native is ChannelType.STRING else [1]
    sent, _ = encode(values, data_type, metadata=fields)
    assert metadata_of(sent, data_type) == LAYOUTS[data_type].struct(*fields)
    assert metadata_of(sent, data_type).severity == 2


@pytest.mark.parametrize("fields", [(1, 2, 3, 4), (1,) * 20, ("HIHI", 1), 5])
def test_metadata_that_do_not_fit(fields):
    with pytest.raises(CaprotoTypeError, match="metadata="):
        encode([1], ChannelType.STS_INT, metadata=fields)
