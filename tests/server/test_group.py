"""PVs declared as class attributes: names, types, functions, groups inside groups, command line."""
from __future__ import annotations

import threading

import numpy
import pytest

import caproto
from caproto import AccessRights, CaprotoTypeError, CaprotoValueError, ChannelType, WriteRequest
from caproto._server.group import channel_class
from caproto.server import (
    ChannelAlarm,
    ChannelByte,
    ChannelChar,
    ChannelDouble,
    ChannelEnum,
    ChannelFloat,
    ChannelInteger,
    ChannelShort,
    ChannelString,
    PVGroup,
    SubGroup,
    get_pv_pair_wrapper,
    pvproperty,
)


def put(channel, value) -> None:
    """Write as a client does."""
    request = WriteRequest(value, channel.data_type, None, 0, 0)
    channel.put(channel.from_client(request.payload, channel.data_type, request.data_count))


# ---- which channel class ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "dtype, kind",
    [
        (float, ChannelDouble),
        (int, ChannelInteger),
        (str, ChannelString),
        (bool, ChannelEnum),
        (bytes, ChannelByte),
        (ChannelType.STRING, ChannelString),
        (ChannelType.INT, ChannelShort),
        (ChannelType.FLOAT, ChannelFloat),
        (ChannelType.ENUM, ChannelEnum),
        (ChannelType.CHAR, ChannelByte),
        (ChannelType.LONG, ChannelInteger),
        (ChannelType.DOUBLE, ChannelDouble),
        (ChannelType.CTRL_LONG, ChannelInteger),
        (5, ChannelInteger),
        (ChannelChar, ChannelChar),
    ],
    ids=str,
)
def test_the_class_that_a_data_type_names(dtype, kind):
    assert channel_class(dtype) is kind
    assert channel_class(dtype, value=None) is kind


@pytest.mark.parametrize(
    "value, kind",
    [
        (1.5, ChannelDouble),
        (1, ChannelInteger),
        ("text", ChannelString),
        (True, ChannelEnum),
        (b"bytes", ChannelByte),
        ([1, 2], ChannelInteger),
        ([1, 2.5], ChannelDouble),
        ((1.0, True), ChannelDouble),
        ([True, False], ChannelEnum),
        (["a", "b"], ChannelString),
        (numpy.float64(1), ChannelDouble),
        (numpy.int32(1), ChannelInteger),
        (numpy.zeros(2, "f4"), ChannelFloat),
        (numpy.zeros(2, ">f8"), ChannelDouble),
        (numpy.zeros(2, "i2"), ChannelShort),
        (numpy.zeros(2, "u2"), ChannelInteger),
        (numpy.zeros(2, "u1"), ChannelByte),
        (numpy.zeros(2, "u4"), ChannelDouble),
        (numpy.zeros(2, bool), ChannelByte),
    ],
    ids=repr,
)
def test_the_class_that_fits_a_value(value, kind):
    assert channel_class(None, value) is kind
    kind(value=value)


@pytest.mark.parametrize(
    "dtype, value", [("float", 1), (object, 1), (None, object()), (None, []), (None, {}), (99, 1)]
)
def test_nothing_fits(dtype, value):
    with pytest.raises((CaprotoTypeError, CaprotoValueError)):
        channel_class(dtype, value)


# ---- declarations ----------------------------------------------------------------------------


class Simple(PVGroup):
    """A group of the plainest kind."""

    number = pvproperty(value=1.5, units="mm", precision=3, doc="how far")
    default = pvproperty()
    text = pvproperty(value="hello", name="TEXT")
    switch = pvproperty(value=True)
    state = pvproperty(value="b", dtype=ChannelType.ENUM, enum_strings=["a", "b"])
    fixed = pvproperty(value=7, read_only=True)
    wave = pvproperty(value=[1, 2, 3], max_length=10)
    long = pvproperty(dtype=ChannelChar, value="long text", max_length=100)


def test_on_the_class_an_attribute_is_the_declaration_on_an_instance_the_channel():
    group = Simple("s:")
    assert isinstance(Simple.number, pvproperty) and Simple.number.__doc__ == "how far"
    assert Simple.number.attr_name == "number"
    assert repr(Simple.number) == "<pvproperty number ChannelDouble>"
    assert isinstance(group.number, ChannelDouble)
    assert group.attr_pvdb["number"] is group.pvdb["s:number"] is group.number
    assert group.number.name == "s:number"


def test_the_names_are_in_the_order_of_declaration():
    assert list(Simple("s:").pvdb) == [
        "s:number", "s:default", "s:TEXT", "s:switch", "s:state", "s:fixed", "s:wave", "s:long"
    ]
    assert list(Simple.declarations()) == [
        "number", "default", "text", "switch", "state", "fixed", "wave", "long"
    ]
    assert list(Simple().pvdb)[:2] == ["number", "default"]


def test_types_and_values():
    group = Simple()
    assert group.number.value == 1.5 and group.number.units == "mm" and group.number.precision == 3
    assert isinstance(group.default, ChannelDouble) and group.default.value == 0
    assert (group.switch.value, group.switch.text) == (1, "On")
    assert group.switch.enum_strings == ("Off", "On")
    assert group.state.text == "b"
    assert group.fixed.access_rights is AccessRights.READ
    assert group.wave.max_length == 10 and group.wave.length == 3
    assert group.long.value == "long text" and group.long.max_length == 100


def test_a_bool_may_have_names_of_its_own():
    class Door(PVGroup):
        door = pvproperty(dtype=bool, enum_strings=["closed", "open"])

    assert Door().door.text == "closed"


def test_alarm_and_rights_may_be_declared():
    class Alarmed(PVGroup):
        x = pvproperty(value=1, alarm=ChannelAlarm(severity=2), access_rights=0)

    assert Alarmed().x.alarm.severity == 2 and Alarmed().x.access_rights == 0


def test_each_instance_has_channels_of_its_own():
    one, two = Simple("1:"), Simple("2:")
    one.number.write(7)
    assert two.number.value == 1.5
    assert one.number.stopping is one.stopping and one.stopping is not two.stopping
    assert isinstance(one.stopping, threading.Event) and not one.stopping.is_set()


def test_a_channel_cannot_be_replaced_by_assignment():
    group = Simple()
    with pytest.raises(CaprotoTypeError, match=r"changed by \.number\.write"):
        group.number = 5
    assert group.number.value == 1.5


def test_what_is_declared_wrongly_fails():
    with pytest.raises(CaprotoTypeError, match="'p:x': .* has no property colour"):
        type("Bad", (PVGroup,), {"x": pvproperty(value=1, colour="red")})("p:")
    with pytest.raises(CaprotoTypeError, match="'x': ChannelString.*states need dtype=ChannelEnum"):
        type("Bad", (PVGroup,), {"x": pvproperty(value="A", enum_strings=["A", "B"])})()
    with pytest.raises(CaprotoValueError, match="'x': max_length=1 is less than the 2 elements"):
        type("Bad", (PVGroup,), {"x": pvproperty(value=[1, 2], max_length=1)})()
    with pytest.raises(CaprotoTypeError, match="cannot tell the data type"):
        pvproperty(value=object())


def test_two_pvs_cannot_have_the_same_name():
    class Twice(PVGroup):
        a = pvproperty(value=1)
        b = pvproperty(value=1, name="a")

    with pytest.raises(CaprotoValueError, match="two PVs of Twice are called 'p:a'"):
        Twice("p:")


def test_repr_of_a_group():
    assert repr(Simple("s:")) == "<Simple prefix='s:' (8 PVs)>"


# ---- macros ----------------------------------------------------------------------------------


class WithMacros(PVGroup):
    x = pvproperty(value=1, name="{axis}:x")
    plain = pvproperty(value=1)


def test_macros_in_prefix_and_names():
    group = WithMacros("{beamline}:", macros={"beamline": "BL1", "axis": "theta"})
    assert list(group.pvdb) == ["BL1:theta:x", "BL1:plain"]
    assert group.macros == {"beamline": "BL1", "axis": "theta"}


def test_a_missing_macro_is_named():
    with pytest.raises(CaprotoValueError, match="no macro 'axis' for .*there are .*'other'"):
        WithMacros("p:", macros={"other": "1"})
    for broken in ("{}:", "{beamline:", "{other.x}"):
        with pytest.raises(CaprotoValueError, match="no macro"):
            Simple(broken, macros={"other": "1"})


# ---- functions -------------------------------------------------------------------------------


class Functions(PVGroup):
    """Everything that can be hooked in, by decorators."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.calls = []

    x = pvproperty(value=0)

    @x.getter
    def x(self, instance):
        self.calls.append(("get", instance))
        return 42

    @x.putter
    def x(self, instance, value):
        self.calls.append(("put", instance, value))
        return value + 1

    @x.startup
    def x(self, instance):
        self.calls.append(("startup", instance))

    @x.scan(period=0.5)
    def x(self, instance):
        self.calls.append(("scan", instance))


def test_decorated_functions_get_the_group_and_the_channel():
    group = Functions("f:")
    group.x.refresh()
    assert group.x.value == 42
    put(group.x, 7)
    assert group.x.value == 8
    group.x.startup(group.x)
    group.x.scan(group.x)
    assert group.x.scan_period == 0.5
    assert group.calls == [
        ("get", group.x), ("put", group.x, 7), ("startup", group.x), ("scan", group.x)
    ]


def test_functions_of_one_instance_do_not_touch_another():
    one, two = Functions("1:"), Functions("2:")
    put(one.x, 7)
    assert one.calls and not two.calls


def test_functions_may_be_given_to_the_declaration():
    calls = []

    class Given(PVGroup):
        x = pvproperty(
            lambda group, instance: calls.append((group, instance)),
            lambda group, instance, value: calls.append((group, instance, value)),
            lambda group, instance: calls.append("startup"),
            value=0,
        )

    group = Given()
    group.x.refresh()
    put(group.x, 7)
    group.x.startup(group.x)
    assert calls == [(group, group.x), (group, group.x, 7), "startup"]


def test_without_functions_there_are_none():
    x = Simple().number
    assert x.getter is x.putter is x.startup is x.scan is None


def test_a_decorator_changes_nothing_but_a_copy():
    plain = pvproperty(value=0)
    decorated = plain.putter(lambda group, instance, value: None)
    assert plain.putter_function is None and decorated.putter_function is not None


class Periods(PVGroup):
    dt = pvproperty(value=3.0)
    x = pvproperty(value=0)
    y = pvproperty(value=0)

    @dt.putter
    def dt(self, instance, value):
        """A decorated period is still the same PV."""

    @x.scan(period=dt)
    def x(self, instance):
        instance.write(instance.value + 1)

    @y.scan(2)
    def y(self, instance):
        """A period in seconds."""


def test_the_period_of_a_scan_may_be_another_pv_of_the_group():
    group = Periods()
    assert group.x.scan_period is group.dt
    assert group.y.scan_period == 2
    other = Periods()
    assert other.x.scan_period is other.dt


def test_the_period_of_a_scan_cannot_be_a_pv_of_another_group():
    class Wrong(PVGroup):
        x = pvproperty(value=0)

        @x.scan(period=Simple.number)
        def x(self, instance):
            """Never called."""

    with pytest.raises(CaprotoValueError, match="the scan period of x is a PV of another group"):
        Wrong()


# ---- inheritance -----------------------------------------------------------------------------


def test_a_subclass_has_the_pvs_of_its_bases_and_may_replace_them():
    class More(Simple):
        extra = pvproperty(value=1)
        number = pvproperty(value="now a text")

    group = More("m:")
    assert len(group.pvdb) == 9 and group.extra.value == 1
    assert group.number.value == "now a text"
    assert Simple().number.value == 1.5


def test_a_subclass_may_decorate_a_pv_of_its_base():
    class Doubled(Simple):
        @Simple.number.putter
        def number(self, instance, value):
            return 2 * value

    group = Doubled()
    put(group.number, 3.0)
    assert group.number.value == 6 and group.number.units == "mm"
    assert Simple().number.putter is None


def test_a_subclass_may_take_a_pv_out():
    class Less(Simple):
        number = None

    assert "number" not in Less().pvdb and len(Less().pvdb) == 7


# ---- groups inside groups --------------------------------------------------------------------


class Inner(PVGroup):
    """An axis."""

    position = pvproperty(value=0.0)
    named = pvproperty(value=0, name="{letter}")

    def __init__(self, prefix="", *, speed=1, **kwargs):
        super().__init__(prefix, **kwargs)
        self.speed = speed


class Outer(PVGroup):
    first = pvproperty(value=1)
    a = SubGroup(Inner, macros={"letter": "A"})
    b = SubGroup(Inner, prefix="second_", macros={"letter": "B"}, doc="the other", speed=5)
    last = pvproperty(value=2)

    @b.position.putter
    def b(self, instance, value):
        self.position.write(-value)
        return -value


def test_groups_inside_have_their_names_and_places():
    outer = Outer("o:")
    assert list(outer.pvdb) == [
        "o:first", "o:a:position", "o:a:A", "o:second_position", "o:second_B", "o:last"
    ]
    assert outer.a.position is outer.pvdb["o:a:position"]
    assert list(outer.groups) == ["a", "b"] and outer.groups["a"] is outer.a
    assert list(outer.attr_pvdb) == ["first", "last"]
    assert outer.a.parent is outer and outer.parent is None
    assert outer.a.stopping is outer.stopping
    assert (outer.a.speed, outer.b.speed) == (1, 5)


def test_on_the_class_a_group_inside_is_its_declaration():
    assert isinstance(Outer.a, SubGroup) and Outer.a.attr_name == "a"
    assert Outer.a.__doc__ == "An axis." and Outer.b.__doc__ == "the other"
    with pytest.raises(AttributeError, match="nonsense"):
        getattr(Outer.a, "nonsense")  # noqa: B009


def test_a_pv_of_one_group_inside_can_be_decorated_outside():
    outer = Outer()
    put(outer.b.position, 5.0)
    put(outer.a.position, 5.0)
    assert (outer.a.position.value, outer.b.position.value) == (5, -5)
    assert Inner("x", macros={"letter": "X"}).position.putter is None


def test_all_functions_can_be_given_to_a_pv_of_a_group_inside():
    class Hooked(PVGroup):
        sub = SubGroup(Inner, macros={"letter": "A"})

        @sub.position.getter
        def sub(self, instance):
            return self.speed + 6

        @sub.position.startup
        def sub(self, instance):
            instance.write(-1)

        @sub.position.scan(period=0.1)
        def sub(self, instance):
            instance.write(-2)

    position = Hooked().sub.position
    position.refresh()
    assert position.value == 7
    position.startup(position)
    assert position.value == -1
    position.scan(position)
    assert position.value == -2 and position.scan_period == 0.1


def test_macros_of_the_outer_group_hold_inside():
    class Whole(PVGroup):
        sub = SubGroup(Inner, prefix="{place}:")

    assert "w:attic:Z" in Whole("w:", macros={"letter": "Z", "place": "attic"}).pvdb


def test_braces_of_the_outer_prefix_are_no_macros_inside():
    class Whole(PVGroup):
        sub = SubGroup(Inner, prefix="{place}:")

    group = Whole("XF:31{{Tbl}}:", macros={"letter": "Z", "place": "attic"})
    assert group.prefix == "XF:31{Tbl}:"
    assert "XF:31{Tbl}:attic:Z" in group.pvdb


def test_names_of_different_groups_may_not_collide_either():
    class Clash(PVGroup):
        x_position = pvproperty(value=0)
        x = SubGroup(Inner, prefix="x_", macros={"letter": "A"})

    with pytest.raises(CaprotoValueError, match="x_position"):
        Clash()


def test_groups_may_be_nested_deeply():
    class Middle(PVGroup):
        inner = SubGroup(Inner, macros={"letter": "I"})

    class Top(PVGroup):
        middle = SubGroup(Middle)

    top = Top("t:")
    assert list(top.pvdb) == ["t:middle:inner:position", "t:middle:inner:I"]
    assert top.middle.inner.position.stopping is top.stopping


# ---- pairs -----------------------------------------------------------------------------------

pair = get_pv_pair_wrapper()
other_pair = get_pv_pair_wrapper(setpoint_suffix=":SP", readback_suffix=":RB")


class Camera(PVGroup):
    exposure = pair(value=1.0, units="s", doc="how long")
    gain = other_pair(name="Gain", value=1)

    @gain.setpoint.putter
    def gain(self, instance, value):
        self.readback.write(10 * value)


def test_a_pair_is_two_pvs():
    camera = Camera("cam:")
    assert list(camera.pvdb) == ["cam:exposure", "cam:exposure_RBV", "cam:Gain:SP", "cam:Gain:RB"]
    assert camera.exposure.setpoint.value == camera.exposure.readback.value == 1.0
    assert camera.exposure.readback.units == "s"
    assert camera.exposure.readback.access_rights is AccessRights.READ
    assert camera.exposure.setpoint.access_rights == AccessRights.READ | AccessRights.WRITE
    assert Camera.exposure.__doc__ == "how long"


def test_what_is_written_to_the_setpoint_appears_in_the_readback():
    camera = Camera()
    put(camera.exposure.setpoint, 2.5)
    assert camera.exposure.setpoint.value == camera.exposure.readback.value == 2.5


def test_a_putter_may_do_otherwise():
    camera = Camera()
    put(camera.gain.setpoint, 3)
    assert (camera.gain.setpoint.value, camera.gain.readback.value) == (3, 30)


def test_functions_of_a_pair_are_those_of_the_setpoint():
    calls = []

    class Pairs(PVGroup):
        x = pair(
            value=0,
            putter=lambda group, instance, value: calls.append(("put", value)),
            getter=lambda group, instance: calls.append("get"),
        )

    group = Pairs()
    put(group.x.setpoint, 5)
    group.x.setpoint.refresh()
    assert calls == [("put", 5), "get"]
    assert group.x.readback.value == 0 and group.x.readback.getter is None


def test_the_public_names():
    for name in ("PVGroup", "SubGroup", "pvproperty", "get_pv_pair_wrapper", "ioc_arg_parser"):
        assert name in caproto.server.__all__
        assert getattr(caproto.server, name).__module__ == "caproto.server"
