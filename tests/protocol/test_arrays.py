from __future__ import annotations

import copy
import pickle
import subprocess
import sys
from array import array

import numpy
import pytest

from caproto import backend
from caproto._errors import CaprotoTypeError, CaprotoValueError, RemoteProtocolError
from caproto._protocol.arrays import _MAKERS, Array, Backend, DbrStringArray
from caproto._protocol.dbr import ChannelType
from caproto._protocol.payload import data_view, encode, native_view


@pytest.fixture(autouse=True)
def _numpy_afterwards():
    yield
    backend.select_backend("numpy")


def run(code: str) -> list[str]:
    """What *code* prints in a fresh interpreter."""
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr
    return finished.stdout.split()


def test_numpy_arrays():
    backend.select_backend("numpy")
    assert backend.backend_name == "numpy"
    payload, count = encode([1, 2, 3], ChannelType.INT)
    assert isinstance(data_view(payload, ChannelType.INT, count), numpy.ndarray)
    assert isinstance(native_view(payload, ChannelType.INT, count), numpy.ndarray)
    assert isinstance(data_view(bytes(40), ChannelType.STRING, 1), numpy.ndarray)


def test_arrays_of_the_standard_library():
    backend.select_backend("array")
    assert backend.backend_name == "array"
    payload, count = encode([1, 2, 3], ChannelType.INT)
    for look in (data_view, native_view):
        assert look(payload, ChannelType.INT, count) == array("h", [1, 2, 3])
        assert look(b"one".ljust(40, b"\0"), ChannelType.STRING, 1) == [b"one"]


@pytest.mark.parametrize("name", ["numpy", "array"])
def test_what_one_backend_gives_any_can_send(name):
    for data_type in range(39):
        backend.select_backend(name)
        values = ["1", "2"] if data_type in (0, 7, 14, 21, 28, 37, 38) else [1, 2]
        sent = encode(values, data_type)
        views = (data_view(*sent_as(sent, data_type)), native_view(*sent_as(sent, data_type)))
        for other in ("numpy", "array"):
            backend.select_backend(other)
            for view in views:
                assert encode(view, data_type) == sent


def sent_as(sent, data_type):
    payload, count = sent
    return payload, data_type, count


@pytest.mark.parametrize("name", ["Numpy", "", None, "pandas"])
def test_no_such_backend(name):
    with pytest.raises(CaprotoValueError, match="numpy, array"):
        backend.select_backend(name)
    assert backend.backend_name == "numpy"


def test_numpy_is_imported_at_the_first_array():
    assert run(
        "import sys, caproto, caproto.backend\n"
        "from caproto._protocol.payload import data_view\n"
        "print('numpy' in sys.modules)\n"
        "print(data_view(bytes(8), 6, 1)[0], caproto.backend.backend_name)\n"
        "print('numpy' in sys.modules)\n"
    ) == ["False", "0.0", "numpy", "True"]


def test_without_numpy():
    assert run(
        "import sys\n"
        "sys.modules['numpy'] = None\n"  # importing it fails now
        "import caproto, caproto.backend\n"
        "from caproto._protocol.payload import data_view, encode\n"
        "payload, count = encode([1, 2.5], 6)\n"
        "data = data_view(payload, 6, count)\n"
        "print(type(data).__name__, data[1], caproto.backend.backend_name)\n"
        "try:\n"
        "    caproto.backend.select_backend('numpy')\n"
        "except caproto.CaprotoRuntimeError:\n"
        "    print('refused')\n"
        "print(caproto.backend.backend_name)\n"
    ) == ["Array", "2.5", "array", "refused", "array"]


def test_chosen_before_the_first_array():
    assert run(
        "import sys, caproto.backend\n"
        "caproto.backend.select_backend('array')\n"
        "from caproto._protocol.payload import data_view\n"
        "print(type(data_view(bytes(8), 6, 1)).__name__, 'numpy' in sys.modules)\n"
    ) == ["Array", "False"]


# ---- the classes of the backend without numpy ----------------------------------------------------


@pytest.mark.parametrize("endian, raw", [("<", b"\1\0\2\0"), (">", b"\0\1\0\2")])
def test_an_array_has_the_byte_order_of_its_bytes(endian, raw):
    for values in ([1, 2], raw, bytearray(raw), memoryview(raw)):
        numbers = Array("h", values, endian=endian)
        assert isinstance(numbers, array) and numbers.endian == endian
        assert numbers.tolist() == [1, 2] and numbers.tobytes() == raw
        assert encode(numbers, ChannelType.INT) == encode([1, 2], ChannelType.INT)
    for again in (copy.copy(numbers), copy.deepcopy(numbers), pickle.loads(pickle.dumps(numbers))):
        assert again == numbers and again.endian == endian


def test_a_byte_order_that_there_is_not():
    with pytest.raises(CaprotoValueError, match="'='"):
        Array("h", [1], endian="=")


def test_data_without_numpy_have_the_order_of_the_wire_and_native_data_of_the_machine():
    backend.select_backend("array")
    payload, count = encode([1, 2], ChannelType.INT)
    data = data_view(payload, ChannelType.INT, count)
    assert data.tolist() == [1, 2] and data.endian == ">" and data.tobytes() == payload[:4]
    native = native_view(payload, ChannelType.INT, count)
    assert native.tobytes() == array("h", [1, 2]).tobytes()


def test_texts_become_bytes_and_are_made_of_them():
    texts = DbrStringArray([b"abc", b"d" * 40])
    raw = texts.tobytes()
    assert raw == b"abc" + bytes(37) + b"d" * 40
    assert DbrStringArray.frombuffer(raw) == texts == [b"abc", b"d" * 40]
    assert DbrStringArray.frombuffer(raw, data_count=1) == [b"abc"]
    assert DbrStringArray.frombuffer(b"abc") == [b"abc"]
    with pytest.raises(CaprotoValueError, match="41 bytes"):
        DbrStringArray([b"d" * 41]).tobytes()


# ---- backends of programs ------------------------------------------------------------------------


def test_a_registered_backend_makes_what_is_received(monkeypatch):
    def make(value, native_type, data_count, *, auto_byteswap=True):
        assert auto_byteswap
        return native_type, data_count, value

    monkeypatch.setattr("caproto._protocol.arrays._MAKERS", dict(_MAKERS))
    backend.register_backend(Backend("mine", tuple, make, tuple, {}, (tuple,)))
    backend.select_backend("mine")
    assert backend.backend_name == "mine"
    backend.select_backend(backend.backend_name)
    payload, count = encode([1, 2], ChannelType.TIME_LONG)
    expected = (ChannelType.LONG, 2, b"\0\0\0\1\0\0\0\2")
    for look in (data_view, native_view):
        assert look(payload, ChannelType.TIME_LONG, count) == expected
        with pytest.raises(RemoteProtocolError, match="4 element"):
            look(payload, ChannelType.TIME_LONG, 4)


@pytest.mark.parametrize("wrong", [3, "numpy", Backend("x", tuple, None, tuple, {}, ())])
def test_what_is_no_backend(wrong):
    with pytest.raises(CaprotoTypeError, match="not a Backend"):
        backend.register_backend(wrong)


def test_the_backend_has_no_other_attributes():
    with pytest.raises(AttributeError, match="'nope'"):
        print(backend.nope)
