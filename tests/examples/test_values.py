"""The examples about values and many PVs do what their pages show."""
from __future__ import annotations

import csv
import math
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path

import matplotlib.image
import pandas
import pytest

from caproto import TimeStamp
from caproto.threading.client import Context
from tests.harness.ioc_process import ROOT, DemoIOC, clean_environ
from tests.harness.waiting import wait_for
from tests.test_examples import play

PAGES = ROOT / "docs" / "how-to"


def output(ioc: DemoIOC, script: str, *arguments: str) -> list[str]:
    """The lines that an example prints; it must end well."""
    done = play(ioc.environ, script, *arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    return done.stdout.splitlines()


def shown(page: str, block: int = 0) -> list[str]:
    """What a page shows as output: the lines of one of its blocks of text."""
    text = (PAGES / f"{page}.rst").read_text()
    blocks = re.findall(r"\.\. code-block:: text\n\n((?:    .*\n|\n)+)", text)
    return [line[4:] for line in blocks[block].rstrip().splitlines()]


def masked(lines: list[str]) -> list[str]:
    """Lines with a # for each number, and no runs of blanks: for numbers that vary."""
    without_numbers = (re.sub(r"-?\d+(\.\d+)?(e-\d+)?", "#", line) for line in lines)
    return [re.sub(r" +", " ", line).strip() for line in without_numbers]


class Running:
    """An example that runs until Ctrl-C."""

    def __init__(self, ioc: DemoIOC, script: str, *arguments: str) -> None:
        path = str(ROOT / "examples" / script)
        self.process = subprocess.Popen(
            [sys.executable, "-u", "-X", "dev", "-W", "error", path, *arguments],
            env=clean_environ(**ioc.environ),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def line(self) -> str:
        """The next line that it prints."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().rstrip("\n")

    def interrupt(self) -> tuple[int, list[str]]:
        """Press Ctrl-C; returns the exit code and the remaining lines."""
        assert self.process.stdout is not None
        self.process.send_signal(signal.SIGINT)
        rest = self.process.stdout.read()  # not by communicate, which passes over what is buffered
        return self.process.wait(timeout=20), rest.splitlines()

    def kill(self) -> None:
        """End it, whatever its state."""
        self.process.kill()
        self.process.communicate(timeout=20)


@pytest.fixture
def run() -> Iterator[Callable[..., Running]]:
    """``run(ioc, "script.py", "argument")``: ended after the test."""
    started: list[Running] = []

    def start(*arguments) -> Running:
        started.append(Running(*arguments))
        return started[-1]

    yield start
    for running in started:
        running.kill()


@pytest.mark.parametrize(
    "page, script",
    [
        ("alarms", "watch_alarms"),
        ("camera-image", "camera_image"),
        ("enums", "enums"),
        ("log-to-csv", "log_to_csv"),
        ("long-strings", "long_strings"),
        ("many-pvs", "many_pvs"),
        ("plot-waveform", "plot_waveform"),
        ("save-and-restore", "save_restore"),
        ("scan-motors", "scan_motors"),
        ("time-stamps", "time_stamps"),
        ("units-and-limits", "units_and_limits"),
    ],
)
def test_the_page_says_how_to_run_its_script(page, script):
    """With the demo IOC that the script itself names."""
    code = (ROOT / "examples" / f"{script}.py").read_text()
    (demo,) = re.findall(r"^Demo IOC: python (-m caproto\.ioc_examples\.\w+)$", code, re.M)
    text = (PAGES / f"{page}.rst").read_text()
    assert f".. literalinclude:: ../../examples/{script}.py\n" in text
    assert f"$ python3 {demo} " in text and f"$ python3 examples/{script}.py" in text


def test_many_pvs(start_demo):
    assert output(start_demo("settings"), "many_pvs.py") == shown("many-pvs")


def test_log_to_csv(start_demo, run, tmp_path):
    ioc = start_demo("random_walk")
    path = tmp_path / "log.csv"
    log = run(ioc, "log_to_csv.py", str(path), "random_walk:x", "random_walk:dt")
    assert log.line() == shown("log-to-csv")[0].replace("log.csv", str(path))
    wait_for(lambda: path.exists() and path.read_text().count("random_walk:dt,") == 1)
    with Context(configuration=ioc.configuration) as ctx:
        ctx.get_pv("random_walk:dt").write(0.05)
    wait_for(lambda: path.read_text().count("random_walk:x,") >= 4)
    assert log.interrupt() == (0, shown("log-to-csv")[1:])
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    page = masked(shown("log-to-csv", 1))  # which PV comes first is chance
    assert masked(path.read_text().splitlines())[0] == page[0]
    assert {*masked(path.read_text().splitlines())} == {*page}
    assert {row["severity"] for row in rows} == {"NO_ALARM"}
    assert [row["value"] for row in rows if row["name"] == "random_walk:dt"] == ["3.0", "0.05"]
    frame = pandas.read_csv(path, parse_dates=["time"])
    assert [time.value for time in frame["time"]] == [
        int(TimeStamp.from_flexible_value(row["time"]).as_datetime64().astype(int)) for row in rows
    ]
    walk = [row for row in rows if row["name"] == "random_walk:x"]
    times = [datetime.fromisoformat(row["time"][:26] + "+00:00") for row in walk]
    assert times == sorted(times)
    assert abs(datetime.now(timezone.utc) - times[-1]) < timedelta(minutes=1)
    values = [float(row["value"]) for row in walk]
    assert all(0 < abs(b - a) <= 1 for a, b in zip(values, values[1:], strict=False))


def test_scan_motors(start_demo):
    lines = output(start_demo("motors"), "scan_motors.py")
    assert lines == shown("scan-motors")
    places = [tuple(map(float, line.split())) for line in lines[1:-1]]
    assert [place[:2] for place in places] == [(x, y) for y in (-3, -2, -1) for x in (0, 1, 2)]
    assert max(places, key=lambda place: place[2]) == (1, -2, 1000)


def test_a_scan_that_is_interrupted_stops_the_motors(start_demo, run):
    ioc = start_demo("motors")
    with Context(configuration=ioc.configuration) as ctx:
        ctx.write({"motor:x.VELO": 0.01, "motor:y.VELO": 0.01})  # takes minutes
        scan = run(ioc, "scan_motors.py")
        assert masked([scan.line()]) == masked(shown("scan-motors"))[:1]
        wait_for(lambda: ctx.read("motor:y.DMOV").to_dict() == {"motor:y.DMOV": 0})
        code, lines = scan.interrupt()
        assert code != 0 and lines[-1].startswith("KeyboardInterrupt")
        wait_for(lambda: ctx.read("motor:y.DMOV").to_dict() == {"motor:y.DMOV": 1})
        assert ctx.get_pv("motor:y.RBV").read().value > -1


#: In the place of matplotlib's window, without a display: lets its timer tick until four different
#: shapes of the wave were drawn, and prints what was seen.
WINDOW = """
import runpy, sys, time
import matplotlib.pyplot as plt

def show():
    script = sys._getframe(1).f_globals
    timer, line, shapes = script["animation"].event_source, script["line"], set()
    script["figure"].canvas.draw()  # begins the animation
    deadline = time.monotonic() + 20
    while len(shapes) < 4 and time.monotonic() < deadline:
        for function, arguments, options in list(timer.callbacks):
            function(*arguments, **options)
        shapes.add(tuple(line.get_ydata()))
        time.sleep(0.02)
    print(len(shapes), {len(shape) for shape in shapes}, plt.gca().get_ylabel())

plt.show = show
del sys.argv[0]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def test_plot_waveform_in_a_window(start_demo, tmp_path):
    ioc = start_demo("waveform")
    with Context(configuration=ioc.configuration) as ctx:
        ctx.get_pv("waveform:period").write(0.05)
    driver = tmp_path / "window.py"
    driver.write_text(WINDOW)
    assert output(ioc, str(driver), str(ROOT / "examples" / "plot_waveform.py")) == ["4 {1000} V"]


def test_plot_waveform_in_a_file(start_demo, tmp_path):
    path = tmp_path / "wave.png"
    assert output(start_demo("waveform"), "plot_waveform.py", str(path)) == []
    picture = matplotlib.image.imread(path)
    assert picture.shape == (480, 640, 4)
    assert (picture[:, :, 2] > picture[:, :, 0] + 0.3).sum() > 500  # a blue line


def test_camera_image(start_demo, tmp_path):
    ioc = start_demo("camera")
    path = tmp_path / "spot.png"
    lines = output(ioc, "camera_image.py", str(path))
    page = [line.replace("spot.png", str(path)) for line in shown("camera-image")]
    assert masked(lines) == masked(page)
    assert lines[0] == "320 x 240 pixels"
    spots = [tuple(map(int, re.findall(r"\d+", line)[1:3])) for line in lines[1:-1]]
    assert len(set(spots)) == len(spots) == 5
    for x, y in spots:
        assert abs(math.hypot(x - 160, y - 120) - 80) < 10
    picture = matplotlib.image.imread(path)[:, :, 0]
    x, y = spots[-1]
    assert picture.shape == (240, 320) and picture[y, x] == picture.max()


def test_watch_alarms(start_demo, run):
    ioc = start_demo("alarms")
    with Context(configuration=ioc.configuration) as ctx:
        ctx.write({"alarms:door": "Open"})
        watch = run(ioc, "watch_alarms.py", "alarms:door", "alarms:pressure", "alarms:sensor")
        assert watch.line() == "alarms:door = Open: MINOR_ALARM STATE"
        assert watch.line() == "Watching; Ctrl-C ends it."
        assert {watch.line() for _ in range(3)} == {  # the present state of each
            "alarms:door = Open: MINOR_ALARM STATE",
            "alarms:pressure = 1.00: NO_ALARM NO_ALARM",
            "alarms:sensor = 21.5: NO_ALARM NO_ALARM",
        }
        ctx.write({"alarms:pressure": 1.5})  # changes no alarm
        ctx.write({"alarms:pressure": 3.5})
        assert watch.line() == "alarms:pressure = 3.50: MAJOR_ALARM HIHI"
        ctx.write({"alarms:cable": "Unplugged"})
        assert watch.line() == "alarms:sensor = 21.5: INVALID_ALARM COMM"
        ctx.write({"alarms:door": "Closed"})
        assert watch.line() == "alarms:door = Closed: NO_ALARM NO_ALARM"
    assert watch.interrupt() == (0, ["Done."])


def test_watch_alarms_as_on_the_page(start_demo, run):
    ioc = start_demo("alarms")
    page = shown("alarms")
    lines = page[1:-1]  # in between, temperatures come in the order in which they pass the limits
    temperatures = [line for line in lines if "temperature" in line]
    with Context(configuration=ioc.configuration) as ctx:
        watch = run(ioc, "watch_alarms.py", "alarms:temperature", "alarms:door", "alarms:sensor")
        seen = [watch.line()]
        while seen[-1] != page[0]:
            seen.append(watch.line())  # the temperature may be in alarm already
        seen = [watch.line() for _ in range(3)]
        ctx.write({"alarms:door": "Open", "alarms:cable": "Unplugged", "alarms:period": 0.05})
        missing = {*lines[3:]} - {*seen}
        while missing:
            seen.append(watch.line())
            missing.discard(seen[-1])
    assert {*lines[1:3]} <= {*seen}
    # After the first one, which is the present state, as often as the temperature goes round.
    changes = "\n".join(line for line in seen[3:] if "temperature" in line)
    while "\n".join(temperatures[1:]) not in changes:
        line = watch.line()
        changes += f"\n{line}" if "temperature" in line else ""
        assert changes.count("\n") < 50, changes
    code, rest = watch.interrupt()
    assert code == 0 and rest[-1] == page[-1]


def test_save_and_restore(start_demo, tmp_path):
    ioc = start_demo("settings")
    path = str(tmp_path / "settings.txt")
    page = [line.replace("settings.txt", path) for line in shown("save-and-restore")]
    text = (PAGES / "save-and-restore.rst").read_text()
    names = re.findall(r'NAMES="(.*)"', text)[0].split()
    saved = output(ioc, "save_restore.py", "save", path, *names)
    assert saved == page[:1]
    assert Path(path).read_text().splitlines() == shown("save-and-restore", 1)

    writable = [name for name in names if "serial" not in name]
    with Context(configuration=ioc.configuration) as ctx:
        before = ctx.read(*names).to_dict()
        changes = dict(zip(writable, (0.7, 2, [1, 2, 3, 4], "Something unusual."), strict=True))
        assert ctx.write(changes).ok
        assert masked(output(ioc, "save_restore.py", "restore", path)) == masked(page[1:])
        for name, value in ctx.read(*names).to_dict().items():
            assert str(value) == str(before[name])


def test_save_every_setting_and_restore_it(start_demo, tmp_path):
    """Every kind of value survives."""
    ioc = start_demo("settings")
    path = str(tmp_path / "settings.txt")
    names = [name for name in ioc.pv_names if "serial" not in name]
    output(ioc, "save_restore.py", "save", path, *names)
    lines = output(ioc, "save_restore.py", "restore", path)
    assert lines == [f"12 of 12 restored from {path}"]
    saved = Path(path).read_text()
    output(ioc, "save_restore.py", "save", path, *names)
    assert Path(path).read_text() == saved
    assert "settings:offsets [0.5, -0.25]\n" in saved


@pytest.mark.ioc
def test_save_and_restore_records_of_a_real_ioc(start_ioc, tmp_path):
    ioc = start_ioc()
    path = str(tmp_path / "settings.txt")
    changes = {
        "double": 0.1, "long": -5, "string": "new", "bool": "off", "enum": 2, "array_double": [2.5],
        "array_string": ["x", "y"], "array_char": [1, 2, 3], "long_string.VAL$": "new " * 20,
        "double.DESC$": "a description of forty characters, ok....",
    }
    changes = {ioc.pv(name): value for name, value in changes.items()}
    output(ioc, "save_restore.py", "save", path, *changes)
    saved = Path(path).read_text()
    with Context(configuration=ioc.configuration) as ctx:
        assert ctx.write(changes).ok
    output(ioc, "save_restore.py", "save", path, *changes)
    changed = Path(path).read_text()
    for before, after in zip(saved.splitlines(), changed.splitlines(), strict=True):
        assert before != after
    Path(path).write_text(saved)
    lines = output(ioc, "save_restore.py", "restore", path)
    assert lines == [f"{len(changes)} of {len(changes)} restored from {path}"]
    output(ioc, "save_restore.py", "save", path, *changes)
    assert Path(path).read_text() == saved


def test_save_tells_what_is_missing(start_demo, tmp_path):
    path = str(tmp_path / "settings.txt")
    names = "settings:gain", "settings:typo"
    lines = output(start_demo("settings"), "save_restore.py", "save", path, *names)
    assert lines[0].startswith("'settings:typo' was not found")
    assert lines[-1] == f"1 saved in {path}"


def test_time_stamps(start_demo):
    lines = output(start_demo("random_walk"), "time_stamps.py")
    assert masked(lines) == masked(shown("time-stamps"))
    texts = [line.split(":", 1)[1].strip() for line in lines[:6]]
    exact, utc, local, numpy_utc, posix, age = texts
    assert exact.rstrip("Z") == numpy_utc
    moment = datetime.fromisoformat(utc)
    assert exact.startswith(moment.isoformat()[:26])
    assert abs(datetime.fromisoformat(local) - moment) < timedelta(milliseconds=1)
    assert float(posix) == pytest.approx(moment.timestamp(), abs=0.001)
    assert timedelta(0) <= datetime.now(timezone.utc) - moment < timedelta(minutes=1)
    assert 0 <= float(age.split()[0]) < 60
    periods = [float(line.split()[1]) for line in lines[6:]]
    assert 0.4 < sum(periods) / len(periods) < 2.5  # not the 3 s from before


def test_long_strings(start_demo):
    assert output(start_demo("long_texts"), "long_strings.py") == shown("long-strings")


def test_enums(start_demo):
    """The message has the address of the server."""
    lines = output(start_demo("types_and_enums"), "enums.py")
    assert lines[:-1] == shown("enums")[:-1]
    assert masked(lines[-1:]) == masked(shown("enums")[-1:])


def test_units_and_limits(start_demo):
    lines, page = output(start_demo("alarms"), "units_and_limits.py"), shown("units-and-limits")
    assert masked(lines) == masked(page)
    vary = ("  host ", "  timestamp ", "  age ")
    assert [line for line in lines if not line.startswith(vary)] == [
        line for line in page if not line.startswith(vary)
    ]
