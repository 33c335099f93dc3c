"""As what a value is requested."""
from __future__ import annotations

from caproto import ChannelType
from caproto._catools.request_form import printed_type, request_form
from caproto._catools.settings import Settings


def test_types_that_print_well():
    settings = Settings("caget")
    assert printed_type(ChannelType.ENUM, settings) == ChannelType.TIME_STRING
    assert printed_type(ChannelType.DOUBLE, settings) == ChannelType.TIME_DOUBLE
    settings.enum_as_number = settings.float_as_string = True
    assert printed_type(ChannelType.ENUM, settings) == ChannelType.TIME_ENUM
    assert printed_type(ChannelType.FLOAT, settings) == ChannelType.TIME_STRING


def test_the_number_of_elements():
    settings = Settings("caget")
    assert request_form(ChannelType.LONG, 10, settings) == (ChannelType.TIME_LONG, 10)
    settings.count = 3
    assert request_form(ChannelType.LONG, 10, settings) == (ChannelType.TIME_LONG, 3)
    settings.count = 30
    assert request_form(ChannelType.LONG, 10, settings) == (ChannelType.TIME_LONG, 10)
    settings.count, settings.asynchronous = 0, True
    assert request_form(ChannelType.LONG, 10, settings) == (ChannelType.TIME_LONG, None)


def test_another_type():
    settings = Settings("caget")
    settings.form, settings.data_type = "typed", 34
    assert request_form(ChannelType.LONG, 1, settings) == (ChannelType.CTRL_DOUBLE, 1)
