"""What users may pass, and what is refused, with which words."""
from __future__ import annotations

from fractions import Fraction

import numpy
import pytest

from caproto import (
    CaprotoTypeError,
    CaprotoValueError,
    ChannelType,
    ClientConfiguration,
    SubscriptionType,
)
from caproto._client import arguments
from caproto._client.arguments import DEFAULT


class WrongIndex:
    """It claims to be a whole number."""

    def __index__(self):
        return "three"  # noqa: PLE0305 - that is what is wrong with it


class TestTimeout:
    @pytest.mark.parametrize(
        "timeout", [0, 1, 2.5, float("inf"), numpy.float32(0.5), Fraction(1, 4)]
    )
    def test_numbers_of_seconds(self, timeout):
        seconds = arguments.check_timeout(timeout)
        assert seconds == timeout and type(seconds) in (int, float)

    def test_none_is_no_end(self):
        assert arguments.check_timeout(None) is None

    @pytest.mark.parametrize("timeout", ["1", True, [1], 1j])
    def test_other_things(self, timeout):
        with pytest.raises(CaprotoTypeError, match="timeout must be a number of seconds or None"):
            arguments.check_timeout(timeout)

    def test_more_than_a_float_can_hold(self):
        with pytest.raises(CaprotoValueError, match="timeout is too large; None waits without end"):
            arguments.check_timeout(10**400)

    def test_not_a_number(self):
        with pytest.raises(CaprotoValueError, match="timeout must be a number .* not NaN"):
            arguments.check_timeout(float("nan"))

    @pytest.mark.parametrize("timeout", [-1, -0.001, float("-inf")])
    def test_a_deadline_that_has_passed(self, timeout):
        """A call may have one; the default of many calls may not."""
        assert arguments.check_timeout(timeout) == timeout
        with pytest.raises(CaprotoValueError, match="timeout must not be negative, got "):
            arguments.check_timeout(timeout, lasting=True)

    def test_in_words(self):
        assert arguments.waited("within", 2) == "within 2 s"
        assert arguments.waited("after", -0.5).startswith("after 0 s (timeout=-0.5: the time was")

    def test_the_default_stays_the_default(self):
        assert arguments.check_default_timeout(DEFAULT) is DEFAULT
        assert arguments.check_default_timeout(3) == 3
        assert repr(DEFAULT) == "DEFAULT"
        with pytest.raises(CaprotoValueError):
            arguments.check_default_timeout(-1)


class TestCount:
    @pytest.mark.parametrize("count", [None, 0, 1, 2**32 - 1, numpy.int64(7)])
    def test_possible(self, count):
        arguments.check_count(count)

    @pytest.mark.parametrize("count", [1.0, "1", True, WrongIndex(), numpy.array([1, 2])])
    def test_not_a_number(self, count):
        with pytest.raises(CaprotoTypeError, match="data_count must be a whole number or None"):
            arguments.check_count(count)

    @pytest.mark.parametrize("count", [-1, 2**32])
    def test_out_of_range(self, count):
        with pytest.raises(CaprotoValueError, match=r"between 0 and 2\*\*32 - 1, not"):
            arguments.check_count(count)


class TestDataType:
    @pytest.mark.parametrize(
        "data_type", [None, 20, ChannelType.TIME_DOUBLE, "time", "time_double"]
    )
    def test_possible(self, data_type):
        arguments.check_data_type(data_type)

    @pytest.mark.parametrize("data_type", ["no such type", 1000])
    def test_impossible(self, data_type):
        with pytest.raises(CaprotoValueError):
            arguments.check_data_type(data_type)

    @pytest.mark.parametrize(
        ("one", "other"),
        [(None, "native"), ("TIME", "time"), (20, "DBR_TIME_DOUBLE"), (ChannelType.LONG, 5)],
    )
    def test_the_key_does_not_depend_on_the_spelling(self, one, other):
        assert arguments.data_type_key(one) == arguments.data_type_key(other)

    def test_a_family_is_not_a_type(self):
        assert arguments.data_type_key("time") != arguments.data_type_key("time_double")


class TestMask:
    def test_the_default_is_value_and_alarm(self):
        wanted = SubscriptionType.DBE_VALUE | SubscriptionType.DBE_ALARM
        assert arguments.check_mask(None) == wanted

    @pytest.mark.parametrize("mask", [1, SubscriptionType.DBE_LOG, 0x8000])
    def test_any_bits(self, mask):
        assert arguments.check_mask(mask) == mask

    @pytest.mark.parametrize(
        ("mask", "bits"),
        [
            ("value", 1), ("LOG", 2), ("Alarm", 4), ("property", 8), ("DBE_LOG", 2),
            ("value|alarm", 5), ("dbe_value | DBE_ALARM", 5), ("value,log,alarm", 7),
            ("value log", 3), ("value, alarm|property", 13), ("value|value", 1),
        ],
    )
    def test_names(self, mask, bits):
        assert arguments.check_mask(mask) == bits

    @pytest.mark.parametrize(
        "mask",
        [0, -1, 0x10000, "", "|", "values", "value|5", 1.0, WrongIndex(), numpy.array([1, 2])],
    )
    def test_no_mask(self, mask):
        with pytest.raises(CaprotoValueError, match="mask=.* VALUE, LOG, ALARM, PROPERTY"):
            arguments.check_mask(mask)


class TestNamesAndPriorities:
    def test_names(self):
        names = ["a", "x:y.VAL", "é"]
        assert arguments.check_names(names) == arguments.check_names(numpy.array(names)) == names
        assert type(arguments.check_names(numpy.array(names))[0]) is str

    def test_a_list_in_place_of_names(self):
        with pytest.raises(CaprotoTypeError, match=r"PV names must be str, not \['a'\] \(list\)"):
            arguments.check_names([["a"]])

    @pytest.mark.parametrize("name", ["", "x" * 2000, "a\0b"])
    def test_names_that_cannot_be_searched(self, name):
        with pytest.raises(CaprotoValueError):
            arguments.check_names([name])

    @pytest.mark.parametrize("priority", [0, 99])
    def test_priorities(self, priority):
        assert arguments.check_priority(priority) is priority
        assert type(arguments.check_priority(numpy.int64(priority))) is int

    @pytest.mark.parametrize("priority", [-1, 100])
    def test_priorities_out_of_range(self, priority):
        text = f"priority must be between 0 and 99, not {priority}"
        with pytest.raises(CaprotoValueError, match=text):
            arguments.check_priority(priority)

    @pytest.mark.parametrize("priority", [1.0, True, "1"])
    def test_priorities_that_are_not_numbers(self, priority):
        with pytest.raises(CaprotoTypeError, match="priority must be a whole number"):
            arguments.check_priority(priority)

    @pytest.mark.parametrize(
        "address", [None, 5, "1.2.3.4:5064", ("1.2.3.4",), ("1.2.3.4", "5064"), (b"1.2.3.4", 5064)]
    )
    def test_what_is_no_address(self, address):
        with pytest.raises(CaprotoTypeError, match=r"address must be a tuple of \(host, port\)"):
            arguments.check_address(address)

    @pytest.mark.parametrize("address", [("host", 5064), ("1.2.3.4", 0), ("1.2.3.4", 1 << 16)])
    def test_addresses_that_no_server_can_have(self, address):
        with pytest.raises(CaprotoValueError, match="IPv4 address|a port is between 1 and 65535"):
            arguments.check_address(address)

    def test_addresses(self):
        assert arguments.check_address(("127.0.0.1", 5064)) == ("127.0.0.1", 5064)
        _, port = arguments.check_address(("127.0.0.1", numpy.uint16(5064)))
        assert port == 5064 and type(port) is int

    @pytest.mark.parametrize("key", [None, "x", ("x",), ("x", "0"), [["x"], 0]])
    def test_what_is_no_key(self, key):
        with pytest.raises(CaprotoTypeError, match="keys must be tuples of"):
            arguments.check_keys([("y", 0), key])

    @pytest.mark.parametrize("values", [None, 5, "text"])
    def test_what_cannot_be_listed(self, values):
        with pytest.raises(CaprotoTypeError, match="names must be a list or another iterable, not"):
            arguments.listed("names", values)

    def test_lists(self):
        assert arguments.listed("names", iter("ab")) == ["a", "b"]

    def test_callbacks(self):
        arguments.check_callback(None)
        arguments.check_callback(print)
        with pytest.raises(CaprotoTypeError, match="callback must be callable, not 3"):
            arguments.check_callback(3)


class TestOtherArguments:
    def test_seconds(self):
        arguments.check_seconds("period", 0.5)
        with pytest.raises(CaprotoTypeError, match="period must be a number of seconds, not '1'"):
            arguments.check_seconds("period", "1")
        with pytest.raises(CaprotoValueError, match="period must be more than 0 seconds, not 0"):
            arguments.check_seconds("period", 0)
        with pytest.raises(CaprotoValueError, match="period is too large"):
            arguments.check_seconds("period", 1 << 2000)

    def test_whole_numbers(self):
        assert arguments.check_whole("since", numpy.int64(3)) == 3
        for value in (1.0, "1", True, None, WrongIndex()):
            with pytest.raises(CaprotoTypeError, match="since must be a whole number, not"):
                arguments.check_whole("since", value)

    def test_configurations(self):
        arguments.check_configuration(None)
        arguments.check_configuration(ClientConfiguration())
        with pytest.raises(CaprotoTypeError, match="configuration must be a ClientConfiguration"):
            arguments.check_configuration({"conn_tmo": 5})

    def test_tokens(self):
        arguments.check_token(3)
        with pytest.raises(CaprotoTypeError, match="token must be what add_callback returned"):
            arguments.check_token("3")

    def test_keys(self):
        assert arguments.check_keys([("x", 0), ("y", numpy.int8(1))]) == [("x", 0), ("y", 1)]
        assert arguments.check_keys([]) == []
