"""caproto-get with what caget does not have."""
from __future__ import annotations

import csv
import json
import subprocess
import sys
from types import SimpleNamespace

import pytest

import caproto as ca
from tests.harness.fake_server import FakeServer
from tests.harness.ioc_process import clean_environ


def test_json_of_each_kind(ioc, call):
    names = [ioc.pv(name) for name in ("double", "enum", "string", "array_long", "array_char")]
    done = call("get", "--json", "-S", *names, ioc=ioc)
    assert done.status == 0 and done.err == ""
    assert [one["value"] for one in done.objects] == [
        3.14, 1, "hello", [100000, -200000, 300000], "Hi!"
    ]
    assert done.objects[0]["limits"]["alarm"] == [-80, 80]
    assert done.objects[1]["enum_strings"] == ["red", "green", "blue"]
    assert done.objects[1]["state"] == "green"
    assert {one["host"] for one in done.objects} == {f"127.0.0.1:{ioc.port}"}


def test_some_are_missing(ioc, call):
    names = "nonsense", ioc.pv("double")
    whole = call("get", "-w", "0.3", "--all-or-nothing", *names, ioc=ioc)
    assert whole.status == 1 and whole.out == ""
    first, last = whole.err.splitlines()
    assert first.startswith("nonsense: not connected: searching for 0.")
    assert last == "Channel connect timed out: some PV(s) not found."

    some = call("get", "-w", "0.3", "--partial", *names, ioc=ioc)
    assert some.status == 1 and some.out == f"{ioc.pv('double'):30} 3.14\n"
    assert some.err.startswith("nonsense: not connected: searching")

    missing, found = call("get", "-w", "0.3", "--json", *names, ioc=ioc).objects
    assert missing["event"] == "not connected" and "searching" in missing["text"]
    assert found["value"] == 3.14


def test_statuses(ioc, call):
    for arguments, status in (
        (["--strict", "double"], 0), (["--strict", "-w", "0.2", "nonsense"], 1),
        (["--strict", "noaccess"], 2), (["--strict", "-w", "x", "double"], 2), (["--strict"], 2),
        (["--strict", "--frobnicate"], 2), (["--json", "noaccess"], 1), (["--frobnicate"], 1),
        (["--wait-for", "> 3", "double"], 0), (["--wait-for", "value >", "double"], 2),
        (["--wait-for", "> 4", "--duration", "0.2", "double"], 1),
        (["--wait-for", "> 4", "-w", "0.2", "nonsense"], 2),
        (["--wait-for", "> 'a'", "double"], 2), (["--format", "{x}", "double"], 1),
        (["--duration", "1", "double"], 1),
    ):
        words = [ioc.pv(one) if one in ("double", "noaccess") else one for one in arguments]
        assert call("get", *words, ioc=ioc).status == status, arguments


def test_metadata_that_cannot_be_read_are_an_error_where_all_must_be_exact(call):
    """Otherwise they are missing: the value is there."""

    def refuse(connection, command):
        if command.data_type == ca.ChannelType.CTRL_DOUBLE:
            status = ca.CAStatus.ECA_GETFAIL
            connection.send(
                ca.ReadNotifyResponse([0.0], command.data_type, 1, status, command.ioid)
            )
        else:
            connection.server.usual(connection, command)

    with FakeServer({"x": 2.5}) as server:
        server.on[ca.ReadNotifyRequest] = refuse
        done = call("get", "--json", "x", ioc=server)
        assert (done.status, done.err, done.objects[0]["value"]) == (0, "", 2.5)
        done = call("get", "--json", "--strict", "x", ioc=server)
        assert (done.status, done.objects[0]["value"]) == (2, 2.5)
        assert done.err.startswith("x: its metadata: ") and "ECA_GETFAIL" in done.err
        done = call("get", "--strict", "x", ioc=server)  # which shows none
        assert (done.status, done.err) == (0, "")


def test_what_is_wrong_in_the_environment_is_said_once(ioc, call, monkeypatch, caplog):
    """Although two ways to read the value are tried."""
    monkeypatch.setenv("EPICS_CA_CONN_TMO", "abc")
    environ = {**ioc.environ, "EPICS_CA_ADDR_LIST": "nowhere.invalid 127.0.0.1"}
    assert call("get", "-w", "0.2", "nonsense", ioc=SimpleNamespace(environ=environ)).status == 1
    assert caplog.text.count("'abc' is not a number") == 1
    assert caplog.text.count("cannot resolve the host name 'nowhere.invalid'") == 1


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_warnings_are_messages_of_the_tool(options, ioc):
    command = [sys.executable, "-m", "caproto.commandline.get", *options, ioc.pv("double")]
    environ = clean_environ(**ioc.environ, EPICS_CA_CONN_TMO="x")
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environ)
    assert done.returncode == 0 and done.stderr.startswith("caproto-get: EPICS_CA_CONN_TMO='x'")


def test_two_forms_at_once_are_refused(ioc, call):
    for words in (
        ["--json", "--csv"], ["--csv", "--format", "{name}"], ["--format", "{name}", "--json"],
        ["-t", "--json"], ["--csv", "-t"], ["-t", "--format", "{name}"],
    ):
        for more, status in ((["--strict"], 2), ([], 1)):
            done = call("get", *more, *words, ioc.pv("double"), ioc=ioc)
            assert (done.status, done.out) == (status, "") and "exclude each other" in done.err
    done = call("get", "--format", "{value}", "--format", "{name}", ioc.pv("long"), ioc=ioc)
    assert done.out == ioc.pv("long") + "\n"  # the same option again replaces the first


def test_a_name_that_no_pv_can_have_costs_only_itself(ioc, call, tmp_path):
    file, double = tmp_path / "names", ioc.pv("double")
    file.write_text(f"{double}\n{992 * 'y'}\nx\0\n{ioc.pv('enum')}\n")
    long = "'yyyyyyyyyyyy...yyyyyyyyyyyyy'"
    problems = [f"{file}, line 2: the name has 992 bytes, more than 991",
                f"{file}, line 3: the name has a zero byte"]
    done = call("get", "--strict", "--partial", "-t", "--from", str(file), ioc=ioc)
    assert done.status == 2 and done.lines == ["3.14", "green"]
    assert done.err.splitlines() == [f"{long}: {problems[0]}", f"'x\\x00': {problems[1]}"]
    done = call("get", "--json", "--from", str(file), ioc=ioc)
    assert done.status == 1 and done.err == ""
    assert [(one["event"], one.get("text")) for one in done.objects] == [
        ("error", problems[0]), ("error", problems[1]), ("value", None), ("value", None)
    ]
    done = call("get", "--from", str(file), ioc=ioc)  # it takes all or none
    assert done.out == "" and done.err.endswith("2 of 4 names cannot be those of PVs.\n")
    done = call("get", "--json", "--wait-for", "> 0", double, "", ioc=ioc)
    assert done.status == 2 and [one["text"] for one in done.objects] == ["the name is empty"]
    assert call("get", "-t", "", double, ioc=ioc) == (
        1, "3.14\n", "CA error Invalid string occurred while trying to create channel ''.\n"
    )


@pytest.mark.parametrize("form", ["--json", "--csv"])
def test_a_name_that_is_no_text_costs_only_itself(ioc, form, tmp_path):
    """JSON can have half a character; it is written as an escape sequence."""
    names = tmp_path / "names"
    names.write_text('{"name": "\\ud800x"}\n' + ioc.pv("double"))
    done = subprocess.run(
        [sys.executable, "-m", "caproto.commandline.get", form, "--from", str(names)],
        env=clean_environ(**ioc.environ), capture_output=True, text=True, timeout=60,
    )
    assert (done.returncode, done.stderr) == (1, "")
    assert "\\ud800x" in done.stdout and "3.14" in done.stdout


def test_names_from_standard_input(ioc, call):
    done = call("get", "--from", "-", ioc=ioc, stdin="# none\n")
    assert done.status == 1 and "none in standard input" in done.err
    stdin = f"# names\n{ioc.pv('long')}\n"
    done = call("get", "--from", "-", "-t", ioc.pv("double"), ioc=ioc, stdin=stdin)
    assert done.lines == ["3.14", "-123456"]


def test_forms(ioc, call):
    done = call("get", "--strict", "--format", "{name} {arrival}", ioc.pv("double"), ioc=ioc)
    assert (done.status, done.out) == (2, "") and "{arrival} is for caproto-monitor" in done.err
    double, array = ioc.pv("double"), ioc.pv("array_double")
    done = call("get", "--csv", double, array, ioc=ioc)
    rows = list(csv.DictReader(done.lines))
    assert [json.loads(row["value"]) for row in rows] == [3.14, [0.25, -0.5, 1e300]]
    done = call("get", "--format", r"{name}\t{value:.1f}{units}", double, ioc=ioc)
    assert done.lines == [f"{double}\t3.1mm"]
    done = call("get", "--human", ioc.pv("long"), ioc.pv("float"), ioc=ioc)
    assert [line.split()[1:] for line in done.lines] == [["-123,456", "counts"], ["2.5", "A"]]
    done = call("get", "--precise", "-#", "2", array, ioc=ioc)
    assert done.lines == [f"{array} 2 0.25 -0.5"]


def test_a_line_is_that_of_caget_whatever_else_is_asked_for(ioc, call):
    """States and arrays included, which are read in another way then."""
    names = [ioc.pv(name) for name in ("double", "enum", "array_short", "string")]
    for form in ([], ["-a"], ["-t"], ["-n"], ["-d", "TIME_STRING"], ["-F", ","], ["-#", "2"]):
        plain = call("get", *form, *names, ioc=ioc)
        assert call("get", "--partial", *form, *names, ioc=ioc) == plain, form


@pytest.mark.parametrize("expression", ['== "green"', "== 1", "state != 'red' and severity < 1"])
def test_waiting_prints_what_was_waited_for(ioc, call, expression):
    done = call("get", "--wait-for", expression, ioc.pv("enum"), ioc=ioc)
    assert done == (0, f"{ioc.pv('enum'):30} green\n", "")


def test_waiting_for_a_change(ioc, call):
    counter = ioc.pv("fast_counter")
    start = json.loads(call("get", "--json", counter, ioc=ioc).out)["value"]
    done = call("get", "--wait-for", f"> {start + 3}", "-t", "--duration", "20", counter, ioc=ioc)
    assert done.status == 0 and float(done.out) > start + 3
