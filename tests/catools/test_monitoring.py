"""caproto-monitor with what camonitor does not have."""
from __future__ import annotations

import csv
import functools
import signal
import subprocess
import sys
import threading

import pytest

from tests.harness.ioc_process import clean_environ


def test_a_number_of_updates(ioc, call):
    done = call("monitor", "--count", "3", ioc.pv("fast_counter"), ioc=ioc)
    assert done.status == 0 and len(done.lines) == 3
    values = [float(line.split()[3]) for line in done.lines]
    assert values == sorted(values)


def test_an_end_and_one_that_is_missing(ioc, call):
    done = call("monitor", "--json", "--duration", "0.5", "-w", "0.2", ioc.pv("double"), "nonsense",
                ioc=ioc)
    assert done.status == 1 and done.err == ""
    found, missing = done.objects
    assert (found["value"], found["units"]) == (3.14, "mm") and found["arrival"]
    assert missing["event"] == "not connected"
    done = call("monitor", "--duration", "0.4", "-w", "0.2", "nonsense", ioc=ioc)
    assert done.out == "" and done.err.startswith("nonsense: not connected: searching")


def test_no_read_access(ioc, call):
    """Nothing is printed of such a PV; that must not look like success."""
    names, problem = [ioc.pv("noaccess"), ioc.pv("double")], "no read access (ECA_NORDACCESS)"
    for words, status in (["--strict"], 2), ([], 1):
        done = call("monitor", *words, "--duration", "0.3", *names, ioc=ioc)
        assert (done.status, done.err) == (status, f"{names[0]}: {problem}\n")
        assert len(done.lines) == 1 and names[1] in done.out
    done = call("monitor", "--json", "--duration", "0.3", names[0], ioc=ioc)
    assert [(one["event"], one["text"]) for one in done.objects] == [("error", problem)]
    done = call("monitor", "--until", "> 0", "--duration", "20", *names, ioc=ioc)
    assert (done.status, done.err) == (2, f"{names[0]}: {problem}\n")


@pytest.mark.parametrize(("words", "status"), [([], 0), (["--strict"], 2)])
def test_an_ioc_that_has_gone(own_ioc, words, status):
    """camonitor goes on as if nothing were wrong; with --strict the status tells."""
    process = subprocess.Popen(
        [sys.executable, "-u", "-m", "caproto.commandline.monitor", *words, "--duration", "2",
         own_ioc.pv("double")],
        env=clean_environ(**own_ioc.environ), text=True, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        assert process.stdout.readline().startswith("T:double")
        own_ioc.kill()
        out, err = process.communicate(timeout=20)
    finally:
        process.kill()
    assert process.returncode == status and out.endswith("disconnected\n")
    assert err == ("T:double: disconnected at the end\n" if status else "")


def test_a_number_of_updates_that_did_not_come(ioc, call):
    words = ["--quiet", "--count", "5", "--duration", "0.3", ioc.pv("double")]
    assert call("monitor", *words, ioc=ioc) == (0, "", "")
    assert call("monitor", "--strict", *words, ioc=ioc) == (
        1, "", f"{ioc.pv('double')}: 1 of 5 updates came within 0.3 s\n"
    )


def test_a_name_that_no_pv_can_have(ioc, call):
    done = call("monitor", "--count", "1", "", ioc.pv("double"), ioc=ioc)
    assert (done.status, done.err) == (1, "'': the name is empty\n") and len(done.lines) == 1


@pytest.mark.parametrize("form", ["--json", "--csv"])
def test_whatever_ends_it_is_an_object_or_a_row(own_ioc, call, form):
    """Nothing is said on standard error."""
    double, text = own_ioc.pv("double"), own_ioc.pv("string")
    for tool, words, status, said in (
        ("monitor", ["--until", "< 0", "--duration", "0.2", double], 1, "not true within 0.2 s"),
        ("monitor", ["--until", "< 0", "--count", "1", double], 1, "not true within 1 update"),
        ("monitor", ["--until", "> 0", text], 2, "'hello' is not a number"),
        ("monitor", ["--strict", "--count", "2", "--duration", "0.2", double], 1, "1 of 2 updates"),
        ("monitor", ["--until", "> 0", "-w", "0.2", "nonsense"], 2, "searching"),
        ("get", ["--wait-for", "< 0", "--duration", "0.2", double], 1, "not true within 0.2 s"),
        ("get", ["--wait-for", "> 0", text], 2, "'hello' is not a number"),
        ("get", ["--wait-for", "> 0", "-w", "0.2", "nonsense"], 2, "searching"),
        ("get", ["--wait-for", "> 0", own_ioc.pv("noaccess")], 2, "no read access"),
        ("get", ["--strict", "--all-or-nothing", "-w", "0.2", double, "nonsense"], 1, "searching"),
        ("get", ["--wait-for", "> 0", ""], 2, "the name is empty"),
    ):
        done = call(tool, form, *words, ioc=own_ioc)
        events = done.objects if form == "--json" else [*csv.DictReader(done.lines)]
        assert (done.status, done.err) == (status, ""), words
        assert said in events[-1]["text"], words
        assert events[-1]["event"] in ("error", "not connected")
    done = call("put", "--json", "-w", "0.2", "nonsense", "1", ioc=own_ioc)
    assert done.err == "" and [one["event"] for one in done.objects] == ["not connected"]


def test_until(ioc, call):
    names = ioc.pv("fast_counter"), ioc.pv("double")
    done = call("monitor", "--until", "value % 5 == 0 or value == 3.14", *names, ioc=ioc)
    assert done.status == 0
    last = [line for line in done.lines if line.startswith(names[0])][-1]
    assert float(last.split()[3]) % 5 == 0
    done = call("monitor", "--quiet", "--until", "< 0", "--duration", "0.3", *names, ioc=ioc)
    assert (done.status, done.out) == (1, "")
    assert done.err == "".join(f"{name}: '< 0' was not true within 0.3 s\n" for name in names)


def test_what_is_never_found_is_a_failure_whatever_ends_the_wait(ioc, call):
    for limits in (["--duration", "0.3"], ["-w", "0.3"], ["-w", "0.2", "--duration", "0.4"]):
        for tool, option in (("monitor", "--until"), ("get", "--wait-for")):
            done = call(tool, option, "> 3", *limits, "nonsense", "nothing", ioc=ioc)
            assert done.status == 2, (limits, tool)
            named = [line.partition(": ")[0] for line in done.err.splitlines()]
            assert named == ["nonsense", "nothing"]


def test_updates_that_end_before_the_condition_is_true(ioc, call):
    name = ioc.pv("double")
    done = call("monitor", "--quiet", "--until", "< 0", "--count", "1", name, ioc=ioc)
    assert (done.status, done.out) == (1, "")
    assert done.err == f"{name}: '< 0' was not true within 1 update\n"
    assert call("monitor", "--until", "> 0", "--count", "1", name, ioc=ioc).status == 0


def test_csv_and_templates(ioc, call):
    done = call("monitor", "--csv", "--count", "2", ioc.pv("fast_counter"), ioc=ioc)
    first, second = csv.DictReader(done.lines)
    assert float(first["value"]) < float(second["value"]) and first["time"] < second["time"]
    done = call("monitor", "--format", "{number} {delta:.3f}", "--count", "3",
                ioc.pv("fast_counter"), ioc=ioc)
    assert [line.split()[0] for line in done.lines] == ["1", "2", "3"]
    assert done.lines[0] == "1 0.000" and 0 < float(done.lines[2].split()[1]) < 1


def test_statistics(ioc, call):
    done = call("monitor", "--csv", "--stats", "--quiet", "--count", "1", ioc.pv("long"), ioc=ioc)
    assert done.status == 0 and done.out == "" and ioc.pv("long") in done.err
    done = call("monitor", "--stats", "--quiet", "--duration", "0.6", "--json",
                ioc.pv("fast_counter"), ioc.pv("double"), ioc=ioc)
    fast, still = done.objects
    assert fast["event"] == "stats" and fast["updates"] > 3 and 50 < fast["rate"] < 150
    assert (still["updates"], still["rate"]) == (1, None)


def test_changes_of_metadata(own_ioc, call):
    change_later = threading.Timer(0.5, own_ioc.put, ("double.EGU", "um"))
    change_later.start()
    done = call("monitor", "--metadata", "--until", 'units == "um"', "--duration", "20",
                own_ioc.pv("double"), ioc=own_ioc)
    change_later.join(20)  # the IOC says that it has done it after its clients know
    assert done.status == 0
    value, change = done.lines
    assert change.split()[0] == own_ioc.pv("double") and change.endswith(" units: mm -> um")


def test_what_is_missing_is_reported_also_at_an_early_end(ioc, call):
    done = call("monitor", "--json", "--duration", "0.3", "-w", "60", "nonsense", ioc=ioc)
    assert done.status == 1
    assert [(one["name"], one["event"]) for one in done.objects] == [("nonsense", "not connected")]


def test_a_name_that_is_there_twice(ioc, call):
    done = call("monitor", "--json", "--count", "2", ioc.pv("long"), ioc.pv("long"), ioc=ioc)
    assert [one["value"] for one in done.objects] == [-123456, -123456]


def test_a_disconnection_and_a_reconnection(own_ioc, call):
    threading.Timer(0.5, lambda: (own_ioc.kill(), own_ioc.restart())).start()
    done = call("monitor", "--json", "--count", "2", own_ioc.pv("double"), ioc=own_ioc)
    assert [one["event"] for one in done.objects] == ["value", "disconnected", "value"]


@pytest.mark.parametrize("options", [["--stats", "--json"], ["--json"]])
def test_ctrl_c_and_flushing(ioc, options):
    """Each line arrives at once, through a pipe, too."""
    process = subprocess.Popen(
        [sys.executable, "-m", "caproto.commandline.monitor", *options, ioc.pv("double")],
        env={**clean_environ(**ioc.environ), "PYTHONUNBUFFERED": ""},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )
    assert '"value": 3.14' in process.stdout.readline()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=20)
    assert (process.returncode, err, len(out.splitlines())) == (
        -signal.SIGINT, "", len(options) - 1  # 130 for a shell
    )


@pytest.fixture
def large(start_ioc, call, monkeypatch):
    """Runs a tool that cannot get the updates of a PV; the name of the PV."""
    record = 'record(waveform, "$(P)large") { field(FTVL, "DOUBLE") field(NELM, "100000") }\n'
    ioc = start_ioc(("records.db", record))
    monkeypatch.setenv("EPICS_CA_MAX_ARRAY_BYTES", "16384")
    monkeypatch.setenv("EPICS_CA_AUTO_ARRAY_BYTES", "NO")
    return functools.partial(call, ioc=ioc), ioc.pv("large")


def test_updates_that_the_server_refuses(large):
    """They are a failure, whatever else ends the tool."""
    run, name = large
    words = ["--count", "1", "-#", "100000", "T:double", name]
    for options in ["monitor", "--strict"], ["monitor", "--strict", "--json"]:
        done = run(*options, *words)
        assert done.status == 2
        if options[-1] == "--json":
            (found,) = [one["text"] for one in done.objects if one["event"] == "error"]
            assert done.err == ""
        else:
            (found,) = [line.removeprefix(f"{name}: ") for line in done.err.splitlines()]
        assert found.startswith("the server sends no updates: ")
    for options in ["monitor", "--until", "> 0"], ["get", "--wait-for", "> 0"]:
        done = run(*options, "--duration", "20", "-#", "100000", name)
        assert (done.status, done.out) == (2, "")
        assert done.err.startswith(f"{name}: the server sends no updates: ")


def test_updates_that_are_too_large_are_reported_without_our_options_too(start_ioc):
    record = 'record(waveform, "$(P)large") { field(FTVL, "DOUBLE") field(NELM, "100000") }\n'
    ioc = start_ioc((record,))
    process = subprocess.Popen(
        [sys.executable, "-m", "caproto.commandline.monitor", "-#", "100000", ioc.pv("large")],
        env=clean_environ(**ioc.environ, EPICS_CA_MAX_ARRAY_BYTES="16384",
                          EPICS_CA_AUTO_ARRAY_BYTES="NO"),
        stderr=subprocess.PIPE, text=True,
    )
    try:
        assert process.stderr is not None
        line = process.stderr.readline()
        assert ioc.pv("large") in line and "the server sends no updates: " in line
    finally:
        process.terminate()
        process.communicate(timeout=20)


def test_with_exact_statuses_the_last_update_is_no_end_while_a_pv_is_not_found(ioc, call):
    words = ["--count", "1", ioc.pv("double"), "nonsense"]
    done = call("monitor", "--strict", "-w", "0.3", *words, ioc=ioc)
    assert (done.status, len(done.lines)) == (1, 1)
    assert done.err.startswith("nonsense: not connected: searching")
    assert call("monitor", *words, ioc=ioc).status == 0
    done = call("monitor", "--strict", "--count", "1", ioc.pv("double"), ioc.pv("long"), ioc=ioc)
    assert (done.status, len(done.lines), done.err) == (0, 1, "")
    done = call("monitor", "--strict", "--count", "1", ioc.pv("double"), ioc.pv("noaccess"),
                ioc=ioc)
    assert (done.status, len(done.lines)) == (2, 1)


@pytest.mark.parametrize(("name", "status"), [("nonsense", 1), ("noaccess", 2)])
def test_with_exact_statuses_it_ends_if_no_pv_can_send_an_update(ioc, call, name, status):
    name = ioc.pv(name) if name == "noaccess" else name
    done = call("monitor", "--strict", "--json", "--count", "1", "-w", "0.3", name, ioc=ioc)
    assert done.status == status and len(done.objects) == 1


def test_a_condition_of_a_pv_that_is_disconnected_at_the_end(own_ioc):
    command = [sys.executable, "-m", "caproto.commandline.monitor", "--until", "> 1e9"]
    process = subprocess.Popen(
        [*command, "--duration", "2", own_ioc.pv("double")], text=True,
        env=clean_environ(**own_ioc.environ), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )
    assert process.stdout is not None and process.stdout.readline()
    own_ioc.kill()
    _, errors = process.communicate(timeout=20)
    assert process.returncode == 2
    assert "'> 1e9' was not true within 2 s, and it is disconnected" in errors


def test_a_closed_pipe(ioc):
    done = subprocess.run(
        f"{sys.executable} -m caproto.commandline.monitor --json {ioc.pv('fast_counter')} "
        "| head -1 >/dev/null; echo ${PIPESTATUS[0]}",
        shell=True, executable="/bin/bash", env=clean_environ(**ioc.environ),
        capture_output=True, text=True, timeout=30,
    )
    assert (done.stdout, done.stderr) == ("141\n", "")
