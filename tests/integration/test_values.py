"""Values: what the client reads is what the IOC has, and what the C client reads.

Where nothing else is said, the expectation is what libca gives its user, decoded independently.
"""
from __future__ import annotations

import collections
import queue
import re
from datetime import datetime

import numpy
import pytest

from caproto import (
    AccessError,
    AccessRights,
    CaprotoValueError,
    CAStatus,
    ChannelType,
    ReadError,
    native_type,
)
from tests.harness.ioc_process import IOC_FILES
from tests.integration.c_client import readings

pytestmark = [pytest.mark.ioc, pytest.mark.libca]

#: All records, but for those that change by themselves.
RECORDS = sorted(
    set(re.findall(r'^record\(\w+, "\$\(P\)(\w+)"', (IOC_FILES / "records.db").read_text(), re.M))
    - {"counter", "fast_counter", "slow_counter"}
)
#: More than that is not read in each of the 39 types.
LARGE = {"million"}
ARRAYS = {
    "array_string": 10, "array_short": 100, "array_float": 100, "array_enum": 100,
    "array_char": 200, "array_long": 100, "array_double": 1000, "empty": 10,
}  # fmt: skip
#: What EPICS makes of the type of each record; all others are DOUBLE.
NATIVE = {
    "long": "LONG", "short": "INT", "float": "FLOAT", "char": "CHAR", "string": "STRING",
    "bool": "ENUM", "enum": "ENUM", "enum16": "ENUM", "long_string": "STRING",
    "array_string": "STRING", "array_short": "INT", "array_float": "FLOAT", "array_enum": "ENUM",
    "array_char": "CHAR", "array_long": "LONG", "slow_part": "LONG", "very_slow_part": "LONG",
}  # fmt: skip


def counts(record):
    """One element, some, more than there are now, as many as there can be."""
    return (1, 2, ARRAYS[record] // 2, ARRAYS[record])


@pytest.fixture(scope="module")
def expected(ioc):
    """What the C client reads, before any test changes anything."""
    names = [ioc.pv(record) for record in RECORDS if record not in LARGE]
    requests = [(name, code, 0) for name in names for code in range(39)]
    requests += [
        (ioc.pv(record), family * 7 + ChannelType[NATIVE.get(record, "DOUBLE")], count)
        for record in ARRAYS
        for family in range(5)
        for count in counts(record)
    ]
    return readings(ioc, requests)


def seen(response):
    """A response in the form of a Reading."""
    metadata = {}
    if response.metadata is not None:
        for name, _ in response.metadata._fields_:
            value = getattr(response.metadata, name)
            if name == "strings":
                value = [state.value for state in value]
            if not name.startswith("_"):
                metadata[name] = value
    return (response.status.code_with_severity, metadata, list(response.data.tolist()))


def same(ours, theirs):
    """Equal, NaN included."""
    return repr(_plain(ours)) == repr(_plain(theirs))


def _plain(value):
    if isinstance(value, dict):
        return {key: _plain(value[key]) for key in sorted(value)}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return int(value) if isinstance(value, int) else value


# ---- every record, every type


def test_every_record_reads_as_in_the_c_client_in_each_of_the_39_types(ioc, ctx, expected):
    for pv in ctx.get_pvs(*[ioc.pv(record) for record in RECORDS if record not in LARGE]):
        pv.wait_for_connection()
        for data_type in ChannelType:
            reading = expected[pv.name, int(data_type), 0]
            try:
                ours = seen(pv.read(data_type=data_type))
            except ReadError as error:
                assert error.pv is pv and pv.name in str(error)
                ours = (error.status.code_with_severity, {}, [])
            except AccessError as error:
                ours = (error.status.code_with_severity, {}, [])
            if data_type is ChannelType.CLASS_NAME:  # in arrays rubbish follows
                ours, reading = (*ours[:2], ours[2][:1]), reading._replace(
                    values=reading.values[:1]
                )
            assert same(ours, reading), f"{pv.name} as {data_type.name}: {ours} != {reading}"


def test_a_part_of_an_array_reads_as_in_the_c_client(ioc, ctx, expected):
    for record, pv in zip(ARRAYS, ctx.get_pvs(*map(ioc.pv, ARRAYS))):
        for family in ("native", "status", "time", "graphic", "control"):
            for count in counts(record):
                response = pv.read(data_type=family, data_count=count)
                assert response.data_count == len(response.data) == count
                reading = expected[pv.name, int(response.data_type), count]
                assert same(seen(response), reading), f"{record} as {family} x {count}"


def test_all_native_types_and_counts_are_those_of_the_records(ioc, ctx):
    pvs = ctx.get_pvs(*[ioc.pv(record) for record in RECORDS])
    sizes = {**ARRAYS, "million": 1_000_000}
    for record, pv in zip(RECORDS, pvs):
        pv.wait_for_connection()
        native = ChannelType[NATIVE.get(record, "DOUBLE")]
        assert (pv.channel.native_data_type, pv.channel.native_data_count) == (
            native,
            sizes.get(record, 1),
        ), record
        if record != "noaccess":
            assert pv.read().data_type is native


@pytest.mark.parametrize(
    "spelling", ["TIME_SHORT", "time_int", "DBR_TIME_SHORT", "dbr_time_int", 15, "time"]
)
def test_a_type_can_be_spelt_in_many_ways(ioc, ctx, spelling):
    (pv,) = ctx.get_pvs(ioc.pv("array_short"))
    pv.write([1, -2, 3])
    response = pv.read(data_type=spelling)
    assert response.data_type is ChannelType.TIME_INT
    assert response.data.tolist() == [1, -2, 3]


def test_more_elements_than_the_channel_has_are_refused_without_asking(ioc, ctx, expected):
    (pv,) = ctx.get_pvs(ioc.pv("array_short"))
    with pytest.raises(CaprotoValueError, match="101 elements .*array_short.*100"):
        pv.read(data_count=101)
    with pytest.raises(CaprotoValueError, match="101 elements .*array_short.*100"):
        pv.write([0] * 101)
    assert pv.read(data_count=100).data_count == 100


def test_the_old_read_command_gives_the_same(ioc, ctx):
    pvs = ctx.get_pvs(*[ioc.pv(record) for record in ("double", "array_long", "enum", "string")])
    for pv in pvs:
        for family in ("native", "time", "control"):
            new = pv.read(data_type=family)
            for count in (None, new.data_count):
                old = pv.read(data_type=family, notify=False, data_count=count)
                assert type(old).__name__ == "ReadResponse"
                assert old.data.tolist()[: len(new.data)] == new.data.tolist()
                assert old.data_count == (count or pv.channel.native_data_count)
                assert old.metadata == new.metadata


def test_a_refused_old_read_raises_too(ioc, ctx):
    (pv,) = ctx.get_pvs(ioc.pv("string"))
    with pytest.raises(ReadError) as caught:
        pv.read(data_type="DOUBLE", notify=False)
    assert caught.value.status is CAStatus.ECA_GETFAIL
    assert caught.value.address == ioc.address
    assert pv.read().strings == ["hello"]  # and the circuit goes on


# ---- what the IOC's own shell says


def test_alarm_and_time_are_those_of_the_record(ioc, ctx):
    (pv,) = ctx.get_pvs(ioc.pv("double"))
    for value, severity, status in [
        (85, "MAJOR", "HIHI"), (75, "MINOR", "HIGH"), (0, "NO_ALARM", "NO_ALARM"),
        (-75, "MINOR", "LOW"), (-85, "MAJOR", "LOLO"), (3.14, "NO_ALARM", "NO_ALARM"),
    ]:  # fmt: skip
        ioc.put("double", value)
        assert (ioc.get("double.SEVR"), ioc.get("double.STAT")) == (severity, status)
        metadata = pv.read(data_type="time").metadata
        assert metadata.severity.name.removesuffix("_ALARM") == severity.removesuffix("_ALARM")
        assert metadata.status.name == status
        (stamp,) = re.findall(r"TIME: (\S+ \S+)", "\n".join(ioc.command("dbpr T:double 4")))
        seconds, fraction = stamp.split(".")
        local = datetime.strptime(seconds, "%Y-%m-%d %H:%M:%S")
        assert metadata.stamp.as_datetime().timestamp() // 1 == local.timestamp()
        assert metadata.stamp.nanoseconds == int(fraction)


def test_limits_units_and_precision_are_those_of_the_record(ioc, ctx):
    (pv,) = ctx.get_pvs(ioc.pv("double"))
    metadata = pv.read(data_type="control").metadata
    for name, field in [
        ("upper_disp_limit", "HOPR"), ("lower_disp_limit", "LOPR"),
        ("upper_alarm_limit", "HIHI"), ("upper_warning_limit", "HIGH"),
        ("lower_warning_limit", "LOW"), ("lower_alarm_limit", "LOLO"),
        ("upper_ctrl_limit", "DRVH"), ("lower_ctrl_limit", "DRVL"),
    ]:  # fmt: skip
        assert getattr(metadata, name) == float(ioc.get(f"double.{field}")), name
    assert metadata.units == ioc.get("double.EGU").encode() == b"mm"
    assert metadata.precision == int(ioc.get("double.PREC").split()[0]) == 3


def test_the_record_type_can_be_read(ioc, ctx):
    for record, kind in [("double", "ao"), ("enum", "mbbo"), ("long_string", "lso")]:
        (pv,) = ctx.get_pvs(ioc.pv(record))
        assert pv.read(data_type="CLASS_NAME").strings == [kind] == [ioc.get(f"{record}.RTYP")]


def test_alarms_can_be_acknowledged(ioc, ctx):
    (pv,) = ctx.get_pvs(ioc.pv("double"))

    def state():
        response = pv.read(data_type="STSACK_STRING")
        meta = response.metadata
        assert response.strings == [f"{float(ioc.get('double')):.3f}"]
        return (meta.severity, meta.ackt, meta.acks)

    pv.write(85)
    assert state() == (2, 1, 2)
    pv.write(0)
    assert state() == (0, 1, 2)  # not acknowledged yet
    pv.write(1, data_type="PUT_ACKS")
    assert state() == (0, 1, 2)  # a lower severity does not acknowledge a higher one
    pv.write(2, data_type=ChannelType.PUT_ACKS)
    assert state() == (0, 1, 0)
    assert ioc.get("double.ACKS") == "NO_ALARM"
    pv.write(0, data_type="DBR_PUT_ACKT")
    assert state() == (0, 0, 0) and ioc.get("double.ACKT") == "NO"
    pv.write(85)
    pv.write(3.14)
    assert state() == (0, 0, 0)  # transient alarms need no acknowledgement now
    pv.write(1, data_type="PUT_ACKT")
    assert ioc.get("double.ACKT") == "YES"


# ---- writing


@pytest.mark.parametrize(
    "record, value, shell, read",
    [
        ("double", -1.5, "-1.5", [-1.5]),
        ("double", [2], "2", [2.0]),
        ("double", numpy.float32(0.25), "0.25", [0.25]),
        ("double", numpy.array([7], ">i2"), "7", [7.0]),
        ("long", -900_000, "-900000 = 0xfff24460", [-900_000]),
        ("slow_part.SELN", 65535, "65535 = 0xffff", [65535]),
        ("long", True, "1 = 0x1", [1]),
        ("short", -32768, "-32768 = 0x8000", [-32768]),
        ("float", 0.1, "0.1", [float(numpy.float32(0.1))]),
        ("char", 255, "255 = 0xff", [255]),
        ("string", "thirty-nine characters are what fits in", None, None),
        ("string", "µm 漢字", None, None),
        ("string", "", "", [b""]),
        ("bool", 0, "off", [0]),
        ("bool", "on", "on", [1]),
        ("enum", 2, "blue", [2]),
        ("enum", "red", "red", [0]),
        ("enum", ["green"], "green", [1]),
        ("enum", numpy.array(["blue"]), "blue", [2]),
        ("enum", numpy.array(["red"], object), "red", [0]),
        ("enum", collections.deque(["blue"]), "blue", [2]),
        ("enum", b"green", "green", [1]),
        ("enum16", "the longest state name 25", "the longest state name 25", [15]),
        ("enum16", "fourteen", "fourteen", [14]),
        ("array_string", ["a", "", "c" * 39], None, [b"a", b"", b"c" * 39]),
        ("array_short", range(-3, 3), None, [-3, -2, -1, 0, 1, 2]),
        ("array_float", [1.5] * 100, None, [1.5] * 100),
        ("array_enum", [5, 65535], None, [5, 65535]),
        ("array_char", "text", None, [116, 101, 120, 116, 0]),
        ("array_char", b"\x00\xff", None, [0, 255]),
        ("array_char", numpy.array([-1, 2], "i1"), None, [255, 2]),
        ("array_char", [-1, -128], None, [255, 128]),
        ("array_char", "x" * 200, None, [120] * 200),
        ("array_long", numpy.arange(100), None, list(range(100))),
        ("array_double", numpy.linspace(0, 1, 1000), None, numpy.linspace(0, 1, 1000).tolist()),
        ("array_double", [], "(empty)", []),
    ],
)
def test_what_is_written_is_in_the_record(ioc, ctx, record, value, shell, read):
    (pv,) = ctx.get_pvs(ioc.pv(record))
    assert pv.write(value).status is CAStatus.ECA_NORMAL
    if shell is not None:
        assert ioc.get(record) == shell
    response = pv.read()
    if read is None:
        assert response.strings == [value]
    else:
        assert response.data.tolist() == read


def test_the_c_client_reads_what_we_have_written(ioc, ctx):
    written = {
        "double": -1.5, "long": -900_000, "short": -32768, "float": 0.1, "char": 255,
        "string": "µm 漢字", "bool": "off", "enum": "blue", "enum16": 7,
        "array_string": ["a", "", "c" * 39], "array_short": range(-3, 3),
        "array_float": [1.5] * 100, "array_enum": [5, 65535], "array_char": "text",
        "array_long": numpy.arange(100), "array_double": numpy.linspace(0, 1, 1000), "empty": [],
    }  # fmt: skip
    pvs = ctx.get_pvs(*map(ioc.pv, written))
    for pv, value in zip(pvs, written.values()):
        pv.write(value)
    ours = {pv.name: pv.read() for pv in pvs}
    requests = [(name, int(response.data_type), 0) for name, response in ours.items()]
    for (name, _, _), reading in readings(ioc, requests).items():
        assert ours[name].data.tolist() == reading.values, name
    assert ours[ioc.pv("string")].strings == ["µm 漢字"]


def test_enums_read_by_name_and_number(ioc, ctx):
    (pv,) = ctx.get_pvs(ioc.pv("enum"))
    names = pv.read(data_type="control").metadata.enum_strings
    assert names == (b"red", b"green", b"blue")
    for number, name in enumerate(names):
        ioc.put("enum", name.decode())
        assert pv.read().data.tolist() == [number]
        assert pv.read(data_type="control").strings == [name.decode()]
        assert pv.read(data_type="STRING").strings == [name.decode()]


def test_the_server_converts_what_is_written_in_another_type(ioc, ctx):
    double, text, enum = ctx.get_pvs(ioc.pv("double"), ioc.pv("string"), ioc.pv("enum"))
    double.write("1.25", data_type="STRING")
    assert double.read().data.tolist() == [1.25]
    double.write(7, data_type="ENUM")
    assert double.read(data_type="LONG").data.tolist() == [7]
    text.write(42, data_type="LONG")
    assert text.read().strings == ["42"]
    enum.write(2.0, data_type="DOUBLE")
    assert ioc.get("enum") == "blue"


@pytest.fixture
def no_limits(ioc):
    """The record "double" without alarm and drive limits, as long as the test runs."""
    before = {field: ioc.get(f"double.{field}") for field in ("HIHI", "HIGH", "DRVH", "DRVL")}
    for field in ("HIHI", "HIGH"):
        ioc.put(f"double.{field}", "nan")
    ioc.put("double.DRVH", 0), ioc.put("double.DRVL", 0)  # no limit: DRVH is not above DRVL
    yield
    ioc.put("double", 0)
    for field, value in before.items():
        ioc.put(f"double.{field}", value)


def test_special_numbers_survive_in_both_directions(ioc, ctx, no_limits):
    scalar, array = ctx.get_pvs(ioc.pv("double"), ioc.pv("array_double"))
    scalar.write(float("nan"))
    assert ioc.get("double") == "nan"
    assert numpy.isnan(scalar.read().data).all()
    for value in (float("inf"), float("-inf"), -0.0, 5e-324, 1.7976931348623157e308):
        scalar.write(value)
        assert repr(scalar.read().data.tolist()) == repr([value])
    values = [float("nan"), float("inf"), float("-inf"), -0.0, 5e-324]
    array.write(values)
    assert repr(array.read().data.tolist()) == repr(values)
    assert ioc.get("array_double").split()[:3] == ["nan", "inf", "-inf"]


def test_an_array_grows_shrinks_and_becomes_empty(ioc, ctx):
    (pv,) = ctx.get_pvs(ioc.pv("empty"))
    for length in (3, 10, 1, 0, 2, 0):
        pv.write([1.0] * length)
        assert ioc.get("empty.NORD") == f"{length} = {hex(length)}"
        for family in ("native", "status", "time", "graphic", "control"):
            response = pv.read(data_type=family)
            assert response.data_count == length
            assert response.data.tolist() == [1.0] * length
            assert (response.metadata is None) is (family == "native")
        assert pv.read(data_count=10).data.tolist() == [1.0] * length + [0.0] * (10 - length)


# ---- long strings, fields, parts of arrays by name


def test_long_strings_are_read_and_written_as_text(ioc, ctx):
    long, short, cut = ctx.get_pvs(
        ioc.pv("long_string.VAL$"), ioc.pv("string.VAL$"), ioc.pv("long_string")
    )
    text = "a text longer than the forty characters of a DBR_STRING, read as .VAL$"
    assert long.read().strings == [text]
    assert native_type(long.read().data_type) is ChannelType.CHAR
    assert cut.read().strings == [text[:39]]
    text = "Überlänge " * 60
    long.write(text)
    assert long.read().strings == [text]
    assert ioc.get("long_string.LEN") == f"{len(text.encode()) + 1} = {hex(len(text.encode()) + 1)}"
    short.write("short")
    assert short.read().strings == ["short"] == [ioc.get("string")]


@pytest.mark.parametrize("written", ["", "A", [0], [65], b"\xfc"], ids=repr)
@pytest.mark.parametrize("data_type", [None, "time", "control", "CHAR"])
def test_one_character_of_an_array_is_text(ioc, ctx, written, data_type):
    (pv,) = ctx.get_pvs(ioc.pv("array_char"))
    pv.write(written)
    raw = written.encode() if isinstance(written, str) else bytes(written)
    text = [raw.decode("latin-1").rstrip("\0")]
    assert pv.read(data_type=data_type).strings == text
    got = queue.SimpleQueue()
    sub = pv.subscribe(data_type=data_type)
    sub.add_callback(got.put, strong=True)
    assert got.get(timeout=10).strings == text
    pv.write("more")
    assert got.get(timeout=10).strings == ["more"]
    pv.write(text[0] if text == ["A"] else written)
    assert got.get(timeout=10).strings == text
    sub.clear()
    assert ctx.get_pvs(ioc.pv("char"))[0].read(data_type=data_type).strings[0].isdecimal()


def test_an_empty_field_is_empty_text(ioc, ctx):
    plain, long = ctx.get_pvs(ioc.pv("double.DESC"), ioc.pv("double.DESC$"))
    plain.write("")
    assert long.read().strings == [""]


def test_text_in_latin1_is_written_back_to_the_same_bytes(ioc, ctx):
    (pv,) = ctx.get_pvs(ioc.pv("string"))
    pv.write(b"20 \xb0C")
    (text,) = pv.read().strings
    assert text == "20 °C"
    pv.write("")
    pv.write(text)
    assert pv.read().data.tolist() == [b"20 \xb0C"]


@pytest.mark.parametrize("field, text", [("DESC", "what it is"), ("EGU", "kg")])
def test_fields_are_channels_too(ioc, ctx, field, text):
    plain, long = ctx.get_pvs(ioc.pv(f"double.{field}"), ioc.pv(f"double.{field}$"))
    long.write(text)
    assert plain.read().strings == [text] == [ioc.get(f"double.{field}")]
    assert long.read().strings == [text]


def test_a_part_of_an_array_can_be_named(ioc, ctx):
    ioc.pv("array_float")
    whole, part = ctx.get_pvs(ioc.pv("array_float"), ioc.pv("array_float.[1:-2]"))
    whole.write(numpy.arange(10))
    assert part.read().data.tolist() == list(range(1, 9))


# ---- access


def test_what_the_rights_forbid_is_refused_without_asking(ioc, ctx):
    readonly, noaccess = ctx.get_pvs(ioc.pv("readonly"), ioc.pv("noaccess"))
    assert readonly.read().data.tolist() == [7]
    assert readonly.access_rights == AccessRights.READ
    before = int(ioc.get("readonly")), ioc.get("readonly.PROC")
    for pv, do, status in [
        (readonly, lambda: readonly.write(1), CAStatus.ECA_NOWTACCESS),
        (readonly, lambda: readonly.write(1, wait=False), CAStatus.ECA_NOWTACCESS),
        (noaccess, lambda: noaccess.write(1), CAStatus.ECA_NOWTACCESS),
        (noaccess, noaccess.read, CAStatus.ECA_NORDACCESS),
    ]:
        with pytest.raises(AccessError, match=re.escape(pv.name)) as caught:
            do()
        assert (caught.value.pv, caught.value.status) == (pv, status)
    assert (int(ioc.get("readonly")), ioc.get("readonly.PROC")) == before
    assert noaccess.connected and noaccess.access_rights == AccessRights.NO_ACCESS
