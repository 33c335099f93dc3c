"""The demo IOCs as users run them: each in a process that shows every warning, and ends on one."""
from __future__ import annotations

import importlib
import math
import pkgutil
import re
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence

import pytest

from caproto import (
    CAStatus,
    ChannelType,
    EventAddResponse,
    ReadNotifyResponse,
    WriteNotifyResponse,
    ioc_examples,
)
from tests.harness.ioc_process import DemoIOC
from tests.harness.raw_client import PATIENCE, RawClient
from tests.harness.waiting import wait_for

NAMES = sorted(module.name for module in pkgutil.iter_modules(ioc_examples.__path__))
PREFIXES = {
    "alarms": "alarms:", "camera": "cam:", "long_texts": "text:", "motors": "motor:",
    "orbit": "orbit:", "random_walk": "random_walk:", "settings": "settings:",
    "slow_put": "slow:", "types_and_enums": "types:", "waveform": "waveform:",
}


class StrictIOC(DemoIOC):
    """A demo IOC in the development mode of Python, in which warnings are errors."""

    def _command(self) -> Sequence[str]:
        python, *rest = super()._command()
        return [python, "-X", "dev", "-W", "error", *rest]

    def end(self, number: signal.Signals) -> int:
        """Send it a signal; its exit code."""
        assert self.process is not None
        self.process.send_signal(number)
        code = self.process.wait(PATIENCE)
        self.kill()  # closes the pipes
        return code


@pytest.fixture
def start() -> Iterator[Callable[..., StrictIOC]]:
    """``start("waveform", "--argument")``: ended after the test."""
    started: list[StrictIOC] = []

    def start(name: str, *arguments: str) -> StrictIOC:
        started.append(StrictIOC(name, *arguments))
        return started[-1].start()

    yield start
    for process in started:
        process.kill()


#: Each demo is ended by one of the signals; by the other one, too, in the thorough tests.
ENDS = [
    pytest.param(name, number, marks=[pytest.mark.thorough] if (index + turn) % 2 else [])
    for index, name in enumerate(NAMES)
    for turn, number in enumerate((signal.SIGTERM, signal.SIGINT))
]


def value(client: RawClient, name: str, **how) -> list:
    reply = client.ask(client.connect(name).read(**how), ReadNotifyResponse)
    assert reply.status == 1
    return reply.data.tolist()


def put(client: RawClient, name: str, data: object, **how) -> CAStatus:
    request = client.connect(name).write(data, notify=True, **how)
    return client.ask(request, WriteNotifyResponse).status


# ---- every one -----------------------------------------------------------------------------------


def test_all_demos_are_known_here():
    assert set(PREFIXES) == set(NAMES)


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
@pytest.mark.parametrize("name, number", ENDS)
def test_it_prints_its_names_serves_them_and_ends_in_good_order(start, name, number):
    """With SIGINT under another prefix."""
    prefix, arguments = PREFIXES[name], []
    if number == signal.SIGINT:
        prefix, arguments = "other{}:", ["--prefix", "other{{}}:"]
    process = start(name, *arguments)
    names = process.pv_names
    assert names and all(pv.startswith(prefix) for pv in names)
    with RawClient(process.address) as client:
        for pv in names:
            assert client.ask(client.connect(pv).read(), ReadNotifyResponse).status == 1
        assert process.end(number) == 0  # while a client is connected
    assert process.output == [f"PVs: {names}"]  # nothing else, on stderr either


@pytest.mark.parametrize("name", sorted(set(NAMES) - {"types_and_enums", "waveform"}))
def test_a_table_in_its_documentation_names_the_pvs(name):
    """Those of the second motor are like those of the first, and all monitors of an orbit."""
    module = importlib.import_module(f"caproto.ioc_examples.{name}")
    (group,) = (kind for key, kind in vars(module).items() if key.endswith("IOC"))
    for pv in group(prefix=PREFIXES[name]).pvdb:
        first = re.sub(r"^(orbit:\w)(\d+)", lambda found: found[1] + "1".zfill(len(found[2])), pv)
        assert first.replace("motor:y", "motor:x") in module.__doc__


@pytest.mark.parametrize("name", NAMES)
def test_help_tells_what_it_is_for(name, monkeypatch, capsys):
    module = importlib.import_module(f"caproto.ioc_examples.{name}")
    monkeypatch.setattr(sys, "argv", [name, "--help"])
    with pytest.raises(SystemExit) as caught:
        module.main()
    assert caught.value.code == 0
    shown = capsys.readouterr()
    assert shown.err == ""
    assert PREFIXES[name] in shown.out and "--interfaces" in shown.out


@pytest.mark.parametrize(
    "arguments", [["--port", "70000"], ["--port", "x"], ["--log", "nonsense"], ["--nonsense"]]
)
def test_mistakes_on_the_command_line_are_told_in_one_line(arguments, monkeypatch, capsys):
    from caproto.ioc_examples import random_walk

    monkeypatch.setattr(sys, "argv", ["random_walk", *arguments])
    with pytest.raises(SystemExit) as caught:
        random_walk.main()
    assert caught.value.code == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("random_walk: error:") and arguments[-1].upper() in last.upper()


# ---- single ones ---------------------------------------------------------------------------------


def test_random_walk(start):
    process = start("random_walk", "--prefix", "")
    with RawClient(process.address) as client:
        assert value(client, "dt") == [3.0]
        x = client.connect("x")
        client.ask(x.subscribe(), EventAddResponse)
        started = time.monotonic()
        assert put(client, "dt", 0.02) == 1
        walk = [client.receive(EventAddResponse).data[0] for _ in range(10)]
        assert 0.1 < time.monotonic() - started < PATIENCE  # at once, not after 3 s; then 50 Hz
        steps = [abs(after - before) for before, after in zip(walk, walk[1:], strict=False)]
        assert all(0 < step <= 1 for step in steps)


def test_slow_put(start):
    process = start("slow_put")
    with RawClient(process.address) as client:
        names = ("motor", "moving", "refuses", "quick", "delay")
        motor, moving, refuses, quick, delay = (client.connect(f"slow:{name}") for name in names)
        assert not moving.access_rights & 2
        client.ask(delay.write(0.3, notify=True), WriteNotifyResponse)
        client.ask(moving.subscribe(), EventAddResponse)
        started = time.monotonic()
        slow = motor.write(12.5, notify=True)
        client.send(slow)
        assert client.receive(EventAddResponse).data[0] == 1
        assert client.ask(quick.write(7, notify=True), WriteNotifyResponse).status == 1
        assert client.ask(quick.read(), ReadNotifyResponse).data[0] == 7
        assert client.ask(motor.read(), ReadNotifyResponse).data[0] == 0.0  # on its way
        done = client.receive(WriteNotifyResponse)
        assert done.ioid == slow.ioid and done.status == 1
        assert 0.3 <= time.monotonic() - started < PATIENCE
        assert client.ask(motor.read(), ReadNotifyResponse).data[0] == 12.5
        assert client.ask(moving.read(), ReadNotifyResponse).data[0] == 0
        failed = client.ask(refuses.write(1.0, notify=True), WriteNotifyResponse)
        assert failed.status is CAStatus.ECA_PUTFAIL
        assert client.ask(refuses.read(), ReadNotifyResponse).data[0] == 0.0
        # It ends while a put is under way.
        client.ask(delay.write(60.0, notify=True), WriteNotifyResponse)
        client.send(motor.write(1.0, notify=True))
        client.ask(quick.read(), ReadNotifyResponse)
        assert process.end(signal.SIGTERM) == 0
    assert len(process.output) == 1  # refusing is no failure to be logged


def test_types_and_enums(start):
    process = start("types_and_enums")
    with RawClient(process.address) as client:

        def channel(name: str):
            return client.connect(f"types:{name}")

        types = {
            "double": ChannelType.DOUBLE, "float": ChannelType.FLOAT, "long": ChannelType.LONG,
            "short": ChannelType.INT, "char": ChannelType.CHAR, "string": ChannelType.STRING,
            "text": ChannelType.CHAR, "enum": ChannelType.ENUM, "switch": ChannelType.ENUM,
        }
        assert {name: channel(name).native_data_type for name in types} == types
        arrays = {name: channel(f"arrays:{name}") for name in (
            "double", "float", "long", "short", "char", "string", "empty"
        )}
        assert {name: array.native_data_count for name, array in arrays.items()} == {
            **dict.fromkeys(arrays, 10), "string": 3
        }
        assert client.ask(arrays["empty"].read(), ReadNotifyResponse).data_count == 0
        control = client.ask(
            channel("double").read(ChannelType.CTRL_DOUBLE), ReadNotifyResponse
        ).metadata
        assert control.units == b"mm" and control.precision == 3
        assert (control.lower_ctrl_limit, control.upper_ctrl_limit) == (-95.0, 95.0)
        states = client.ask(channel("enum").read(ChannelType.CTRL_ENUM), ReadNotifyResponse)
        assert states.metadata.enum_strings == (b"Zero", b"One", b"Two", b"Three")
        assert not channel("read_only").access_rights & 2
        assert put(client, "types:doubled", 21.0) == 1
        assert value(client, "types:doubled") == [42.0]
        assert [value(client, "types:count") for _ in range(2)] == [[1], [2]]
        assert put(client, "types:position", 3.5) == 1
        assert value(client, "types:position_RBV") == [3.5]
        assert put(client, "types:enum", "Three") == 1
        assert value(client, "types:enum") == [3]
        assert put(client, "types:double", 90.0) == 1
        alarm = client.ask(channel("double").read(ChannelType.STS_DOUBLE), ReadNotifyResponse)
        assert (alarm.metadata.status, alarm.metadata.severity) == (3, 2)  # HIHI, MAJOR


def test_waveform(start):
    process = start("waveform")
    with RawClient(process.address) as client:
        period, wave = client.connect("waveform:period"), client.connect("waveform:wave")
        assert client.connect("waveform:doubles").native_data_count * 8 == 1 << 26
        assert client.connect("waveform:bytes").native_data_count == 1 << 26
        client.ask(period.write(0.01, notify=True), WriteNotifyResponse)
        client.send(wave.subscribe())
        shapes = [client.receive(EventAddResponse).data for _ in range(5)]
        assert all(len(shape) == 1000 and max(abs(shape)) <= 1 for shape in shapes)
        assert all((a != b).any() for a, b in zip(shapes[1:], shapes[2:], strict=False))
        wait_for(lambda: value(client, "waveform:phase") != [0.0])


def test_alarms(start):
    process = start("alarms")
    with RawClient(process.address) as client:

        def alarm(name: str) -> tuple[int, int]:
            """Status and severity."""
            channel = client.connect(f"alarms:{name}")
            reply = client.ask(channel.read(channel.native_data_type + 7), ReadNotifyResponse)
            return reply.metadata.status, reply.metadata.severity

        for pressure, expected in ((1.0, (0, 0)), (2.0, (4, 1)), (3.5, (3, 2)), (0.4, (6, 1))):
            assert put(client, "alarms:pressure", pressure) == 1
            assert alarm("pressure") == expected  # NO_ALARM; HIGH, MINOR; HIHI, MAJOR; LOW, MINOR
        assert alarm("door") == (0, 0)
        put(client, "alarms:door", "Open")
        assert alarm("door") == (7, 1)  # STATE, MINOR
        put(client, "alarms:door", "Closed")
        assert alarm("door") == (0, 0)
        put(client, "alarms:cable", "Unplugged")
        assert alarm("sensor") == (9, 3)  # COMM, INVALID
        assert value(client, "alarms:sensor") == [21.5]
        put(client, "alarms:cable", "Plugged")
        assert alarm("sensor") == (0, 0)
        put(client, "alarms:period", 0.05)
        # The temperature goes through its upper limits, with the right alarms.
        temperature = client.connect("alarms:temperature")
        client.send(temperature.subscribe(data_type=ChannelType.STS_DOUBLE))
        seen = {}
        while 100.0 not in seen:
            update = client.receive(EventAddResponse)
            seen[update.data[0]] = (update.metadata.status, update.metadata.severity)
        assert {value: seen[value] for value in (75, 80, 85, 90, 95)} == {
            75: (0, 0), 80: (4, 1), 85: (4, 1), 90: (3, 2), 95: (3, 2)
        }


def spot(pixels) -> tuple[float, float]:
    """Find the middle of what is bright in an image of 320 x 240."""
    bright = [(i % 320, i // 320) for i, pixel in enumerate(pixels.tolist()) if pixel > 100]
    return sum(x for x, _ in bright) / len(bright), sum(y for _, y in bright) / len(bright)


def test_camera(start):
    process = start("camera")
    with RawClient(process.address) as client:
        size = [value(client, f"cam:image1:ArraySize{n}_RBV")[0] for n in (0, 1)]
        assert size == [320, 240]
        image = client.connect("cam:image1:ArrayData")
        assert image.native_data_type is ChannelType.CHAR
        put(client, "cam:cam1:AcquirePeriod", 0.01)
        client.send(image.subscribe())
        spots = [spot(client.receive(EventAddResponse).data) for _ in range(4)]
        for x, y in spots:  # on the circle around the middle
            assert abs(((x - 160) ** 2 + (y - 120) ** 2) ** 0.5 - 80) < 2
        assert len({(round(x), round(y)) for x, y in spots}) >= 3  # it moves


def test_a_camera_that_does_not_acquire_takes_no_image():
    from caproto.ioc_examples.camera import CameraIOC

    camera = CameraIOC(prefix="")
    camera.image.scan(camera.image)
    camera.acquire.write("Done")
    camera.image.scan(camera.image)
    assert camera.counter.value == 1
    camera.acquire.write("Acquire")
    camera.image.scan(camera.image)
    assert camera.counter.value == 2


def test_motors(start):
    process = start("motors")
    with RawClient(process.address) as client, RawClient(process.address) as other:
        assert put(client, "motor:x", 1.0) == 1
        assert value(client, "motor:x.RBV") == [1.0]  # a complete write has arrived
        assert value(client, "motor:detector") == [pytest.approx(1000 / math.e)]  # 2 mm from it
        assert put(client, "motor:y", -20.0) == 1
        assert value(client, "motor:y") == value(client, "motor:y.RBV") == [-10.0]  # the limit
        # It is stopped by another client.
        assert put(client, "motor:x.STOP", 1) == 1
        assert put(client, "motor:x.VELO", 0.5) == 1
        client.ask(client.connect("motor:x.DMOV").subscribe(), EventAddResponse)
        client.send(client.connect("motor:x").write(10.0, notify=True))  # would take 18 s
        assert client.receive(EventAddResponse).data[0] == 0
        assert value(other, "motor:x") == [10.0]
        wait_for(lambda: value(other, "motor:x.RBV") > [1.0])
        assert put(other, "motor:x.STOP", 1) == 1
        assert client.receive(WriteNotifyResponse).status == 1
        (stopped,) = value(client, "motor:x.RBV")
        assert 1.0 < stopped < 10.0
        assert value(client, "motor:x") == [stopped]
        assert value(client, "motor:x.STOP") == [0] and value(client, "motor:x.DMOV") == [1]
        # It ends while a motor moves.
        client.send(client.connect("motor:x").write(10.0, notify=True))
        wait_for(lambda: value(other, "motor:x.RBV") > [stopped])
        assert process.end(signal.SIGTERM) == 0


def test_settings(start):
    process = start("settings")
    with RawClient(process.address) as client:
        kinds = {client.connect(name).native_data_type for name in process.pv_names}
        assert kinds == {ChannelType(number) for number in range(7)} - {ChannelType.FLOAT}
        writable = [n for n in process.pv_names if client.connect(n).access_rights & 2]
        assert set(process.pv_names) - set(writable) == {"settings:serial_number"}


def test_long_texts(start):
    process = start("long_texts")
    with RawClient(process.address) as client:
        whole = "Cooling water valve of the second mirror, upstream side"
        assert value(client, "text:valve.DESC") == [whole[:39].encode()]
        assert client.connect("text:valve.DESC").native_data_type is ChannelType.STRING
        assert bytes(value(client, "text:valve.DESC$")) == whole.encode() + b"\0"
        assert put(client, "text:valve.DESC$", b"short\0") == 1
        assert value(client, "text:valve.DESC") == [b"short"]
        assert client.connect("text:note").native_data_count == 2000
