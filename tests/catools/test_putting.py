"""caproto-put with what caput does not have."""
from __future__ import annotations

import io
import re
import signal
import subprocess
import sys

import pytest

from tests.harness.ioc_process import clean_environ


@pytest.fixture
def before(own_ioc, call):
    """An IOC of the test's own, and a way to read its values."""

    def values(*names):
        names = [own_ioc.pv(name) for name in names]
        return [one["value"] for one in call("get", "--json", *names, ioc=own_ioc).objects]

    return own_ioc, values


def test_lines_of_a_file(before, call):
    ioc, values = before
    stdin = "\n".join([
        "# saved by hand", f"{ioc.pv('double')} 4.5", f"{ioc.pv('array_long')} 3 7 8 9",
        f"{ioc.pv('array_short')} 5 6", f"{ioc.pv('string')} two \u20ac", f"{ioc.pv('enum')} blue",
    ])
    done = call("put", "--quiet", "--from", "-", ioc=ioc, stdin=stdin)
    assert done == (0, "", "")
    assert values("double", "array_long", "array_short", "string", "enum") == [
        4.5, [7, 8, 9], [5, 6], "two \u20ac", 2
    ]


def test_what_was_saved_is_restored(before, call, tmp_path):
    ioc, values = before
    names = ["double", "enum", "string", "array_double", "array_string", "array_char", "float"]
    path = tmp_path / "saved.jsonl"
    path.write_text(call("get", "--json", *map(ioc.pv, names), ioc=ioc).out)
    saved = values(*names)
    stdin = f"{ioc.pv('double')} 1\n{ioc.pv('enum')} 0\n{ioc.pv('array_double')} 9\n" \
            f"{ioc.pv('array_string')} x\n{ioc.pv('array_char')} 1\n{ioc.pv('string')} x\n"
    call("put", "--strict", "--quiet", "--from", "-", ioc=ioc, stdin=stdin)
    assert values(*names) != saved
    assert call("put", "--strict", "--quiet", "--from", str(path), ioc=ioc) == (0, "", "")
    assert values(*names) == saved


def test_nothing_is_written_unless_all_are_connected(before, call):
    ioc, values = before
    stdin = f"{ioc.pv('double')} 5\nnonsense 1\n"
    for form in [], ["--json"], ["--strict", "--json"]:
        done = call("put", "-w", "0.3", *form, "--from", "-", ioc=ioc, stdin=stdin)
        assert done.status == 1 and values("double") == [3.14]
        assert [one["event"] for one in done.objects] == ["not connected"] * bool(form)
    done = call("put", "-w", "0.3", "--partial", "--from", "-", ioc=ioc, stdin=stdin)
    assert done.status == 1 and values("double") == [5.0]
    assert done.err.startswith("nonsense: not connected")


@pytest.mark.parametrize("json", [False, True])
def test_nothing_is_written_if_values_are_wrong(json, before, call):
    """Each of them is named."""
    ioc, values = before
    lines = [
        '{"name": "T:double", "value": 5}', "T:float 1.5", "T:enum purple",
        '{"name": "T:enum", "value": "purple"}', '{"name": "T:double", "value": "five"}',
        '{"name": "T:long", "value": 1.5}', '{"name": "T:long", "value": 2147483648}',
        '{"name": "T:array_long", "value": [1, 2, null]}', "T:array_short" + " 1" * 1000,
        f'{{"name": "T:array_short", "value": {[1] * 1000}}}',
        '{"name": "T:string", "value": {"a": 1}}',
        '{"name": "T:string", "value": "' + 41 * "x" + '"}',
    ]
    arguments = ["--json"] if json else []
    done = call("put", "--strict", *arguments, "--from", "-", ioc=ioc, stdin="\n".join(lines))
    assert done.status == 2
    if json:
        assert done.err == "" and {one["event"] for one in done.objects} == {"error"}
        named = [one["name"] for one in done.objects]
    else:
        assert done.out == ""
        *lines, last = done.err.splitlines()
        named = [line.partition(": ")[0] for line in lines]
        assert last == "Nothing was written."
    assert named == ["T:enum", "T:enum", "T:double", "T:long", "T:long", "T:array_long",
                     "T:array_short", "T:array_short", "T:string", "T:string"]
    assert values("double", "float") == [3.14, 2.5]


def test_nothing_is_written_unless_all_may_be_written(before, call):
    ioc, values = before
    stdin = f"{ioc.pv('double')} 5\n{ioc.pv('readonly')} 1\n"
    for options, status, value in ([], 1, 3.14), (["--strict"], 2, 3.14), (["--partial"], 1, 5.0):
        done = call("put", "--quiet", *options, "--from", "-", ioc=ioc, stdin=stdin)
        assert (done.status, values("double")) == (status, [value])
        assert f"{ioc.pv('readonly')}: no write access" in done.err
        assert done.err.endswith("Nothing was written.\n") == (value == 3.14)


def test_all_faults_are_named_at_once(before, call):
    ioc, values = before
    stdin = "nonsense 1\nT:double 5\nT:enum purple\nnothing 2\n"
    for strict, status in (["--strict"], 2), ([], 1):
        done = call("put", "-w", "0.3", *strict, "--from", "-", ioc=ioc, stdin=stdin)
        assert (done.status, done.out) == (status, "")
        assert [line.split(":")[0] for line in done.err.splitlines()] == [
            "nonsense", "nothing", "T", "Nothing was written."
        ]
    assert values("double") == [3.14]


def test_what_was_missing_when_it_was_saved_is_no_success(before, call):
    ioc, values = before
    saved = call("get", "--json", "-w", "0.3", ioc.pv("double"), "nonsense", ioc=ioc).out
    call("put", "--quiet", ioc.pv("double"), "9", ioc=ioc)
    said = "nonsense: standard input, line 2: no value\n"
    for options, status in ([], 1), (["--strict"], 2):
        done = call("put", "--quiet", *options, "--from", "-", ioc=ioc, stdin=saved)
        assert done == (status, "", f"{said}Nothing was written.\n") and values("double") == [9.0]
    done = call("put", "--quiet", "--partial", "--from", "-", ioc=ioc, stdin=saved)
    assert done == (1, "", said) and values("double") == [3.14]


def test_a_warning_that_cannot_be_written_does_not_keep_from_writing(before, call, monkeypatch):
    ioc, values = before
    for words, status in (["-w", "x", "T:double", "5"], 0), (["--strict", "T:double", "7x"], 2):
        with open("/dev/full", "wb", buffering=0) as full, monkeypatch.context() as patch:
            stream = io.TextIOWrapper(full, line_buffering=True)  # kept, because it is replaced
            patch.setattr(sys, "stderr", stream)
            assert call("put", *words, ioc=ioc).status == status
    assert values("double") == [5.0]


def test_json_has_states_by_number_or_name(before, call):
    ioc, values = before
    for state, number in (('"blue"', 2), ("1", 1)):
        stdin = f'{{"name": "T:enum", "value": {state}}}'
        assert call("put", "--quiet", "--from", "-", ioc=ioc, stdin=stdin) == (0, "", "")
        assert values("enum") == [number]


def test_old_and_new(before, call):
    ioc, _ = before
    done = call("put", "--json", ioc.pv("double"), "5", ioc=ioc)
    assert [(one["event"], one["value"]) for one in done.objects] == [("old", 3.14), ("new", 5.0)]
    done = call("put", "--partial", "-t", ioc.pv("double"), "6", ioc=ioc)
    assert done == (0, "6\n", "")


def test_statuses(before, call):
    ioc, _ = before
    for arguments, status in (
        (["--strict", "double", "1"], 0), (["--strict", "disabled", "1"], 2),
        (["--strict", "readonly", "1"], 2), (["--strict", "-w", "0.2", "very_slow", "1"], 1),
        (["--quiet", "readonly", "1"], 1), (["--quiet", "double"], 1),
        (["--strict", "double", "x y z"], 2),
    ):
        words = [ioc.pv(one) if one.isidentifier() and len(one) > 3 else one for one in arguments]
        done = call("put", *words, ioc=ioc)
        assert done.status == status, (arguments, done)


TOO_LONG = 40 * "x"


#: Command lines, and what is said about them. caput writes something of each, or asks the server.
INEXACT = [
    (["string", TOO_LONG], "'xxxxxxxxxxxx...xxxxxxxxxxxxx' has 40 bytes; STRING holds 39\n"),
    (["enum", "purple"], "'purple' is not a state; there are red, green, blue\n"),
    (["-s", "enum", "1"], "'1' is not a state; there are red"),
    (["string", r"a\qb"], "not an escape"),
    (["-n", "enum", "70000"], "70000 is not the number of a state, 0 to 2"),
    (["enum", ""], "'' is not a state; there are"), (["enum", "\u0661"], "is not a state"),
    (["enum", "3"], "3 is not the number of a state"), (["bool", "2"], "0 to 1"),
    (["-a", "array_long", "3", "1"], "-a: '3' is not the number of the 1 values"),
    (["-a", "array_long", "x", "1"], "-a: 'x' is not the number of the 1 values"),
    (["-a", "array_string", "2", "a", TOO_LONG], "has 40 bytes"),
    (["-a", "array_long", "101", *map(str, range(101))], "101 elements are more than"),
    (["array_long", "1", "2"], "'1 2' is not a whole number"),
    (["long", ""], "not a whole number"), (["long", "1.7"], "1.7 is not a whole number"),
    (["long", "7abc"], "not a whole number"), (["long", "2147483648"], "does not fit LONG"),
    (["short", "32768"], "does not fit INT"), (["char", "256"], "does not fit CHAR"),
    (["float", "1e39"], "beyond the range of FLOAT"), (["double", "1e309"], "beyond the range"),
    (["-S", "double", "x"], "-S is for arrays of CHAR"),
    (["-S", "array_char", 201 * "x"], "202 elements are more than"),
]


def test_strict_writes_exactly_what_is_given_or_nothing(before, call):
    ioc, values = before
    for words, said in INEXACT:
        words = list(words)
        at = next(at for at, word in enumerate(words) if not word.startswith("-"))
        name, words[at] = words[at], ioc.pv(words[at])
        old = values(name)
        done = call("put", "--strict", *words, ioc=ioc)
        assert (done.status, done.out, values(name)) == (2, "", old), words
        assert said in done.err and len(done.err.splitlines()) == 1, words
        assert "data_type=" not in done.err


def test_strict_writes(before, call):
    ioc, values = before
    for words, value in (
        (["long", "1e3"], 1000), (["long", "0x10"], 16), (["short", "-32768"], -32768),
        (["enum", "blue"], 2), (["-n", "enum", "1"], 1), (["string", "two  words"], "two  words"),
        (["string", 39 * "x"], 39 * "x"), (["-a", "array_long", "2", "7", "8"], [7, 8]),
        (["float", "0.1"], 0.1), (["double", "nan"], "NaN"), (["char", "-1"], 255),
        (["-S", "array_char", "hi"], [104, 105, 0]), (["-a", "array_enum", "1", "9"], [9]),
    ):
        at = next(at for at, word in enumerate(words) if not word.startswith("-"))
        name = words[at]
        words = [*words[:at], ioc.pv(name), *words[at + 1 :]]
        assert call("put", "--strict", "--quiet", *words, ioc=ioc) == (0, "", "")
        assert values(name) == [value]


def test_files_are_exact_without_strict_too(before, call):
    ioc, values = before
    for line, said in (
        ("T:string " + TOO_LONG, "has 40 bytes"), ("T:long 1.5", "not a whole number"),
        ("T:enum 7", "0 to 2"), ("T:enum purple", "there are red, green, blue"),
        ('{"name": "T:enum", "value": "purple"}', "there are red, green, blue"),
        ('{"name": "T:string", "value": "' + TOO_LONG + '"}', "has 40 bytes; STRING holds 39\n"),
        ("T:array_string 10 a b", "2 words are not 10 texts"),
        ('{"name": "T:long", "value": true}', "true cannot be written to LONG"),
        ('{"name": "T:long", "value": "7"}', '"7" cannot be written to LONG'),
        ('{"name": "T:long", "value": []}', "an empty list"),
        ('{"name": "T:array_char", "value": "a\\u0000b"}', "zero byte"),
    ):
        old = values("string", "long", "enum", "array_string", "array_char")
        done = call("put", "--from", "-", ioc=ioc, stdin=f"{line}\nT:double 5")
        assert (done.status, done.out) == (1, "") and said in done.err
        assert values("string", "long", "enum", "array_string", "array_char") == old
    assert values("double") == [3.14]
    stdin = "T:string  two   words "
    assert call("put", "--quiet", "--from", "-", ioc=ioc, stdin=stdin) == (0, "", "")
    assert values("string") == ["two   words"]


def test_a_name_that_no_pv_can_have(before, call):
    ioc, values = before
    stdin = f"T:double 5\n{992 * 'y'} 1\n"
    said = "standard input, line 2: the name has 992 bytes, more than 991\n"
    done = call("put", "--quiet", "--from", "-", ioc=ioc, stdin=stdin)
    assert done.status == 1 and said in done.err and values("double") == [3.14]
    done = call("put", "--quiet", "--partial", "--from", "-", ioc=ioc, stdin=stdin)
    assert done.status == 1 and done.err.endswith(said) and values("double") == [5.0]


@pytest.fixture
def begin():
    """``begin("put", "x", "1", ioc=ioc)``: start a tool; its process, ended after the test."""
    started = []

    def start(tool, *words, ioc):
        started.append(subprocess.Popen(
            [sys.executable, "-u", "-m", f"caproto.commandline.{tool}", *words], text=True,
            env=clean_environ(**ioc.environ), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        ))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.mark.parametrize(
    ("option", "status", "said"),
    [("--strict", 2, "slow:motor: the write failed: 127.0.0.1:"),
     pytest.param("-c", 1, "Virtual circuit disconnect", marks=pytest.mark.thorough)],
)
def test_a_write_is_never_sent_twice(option, status, said, start_demo, begin, call):
    """Its IOC is killed while it waits, and starts again at the same place."""
    ioc = start_demo("slow_put")
    call("put", "--quiet", "slow:delay", "50", ioc=ioc)
    process = begin("put", option, "-w", "30", "slow:motor", "5", ioc=ioc)
    moving = call("get", "--wait-for", "== 1", "--duration", "20", "slow:moving", ioc=ioc)
    assert moving.status == 0
    ioc.restart()
    out, err = process.communicate(timeout=20)
    assert process.returncode == status and said in err
    assert out.startswith("Old : slow:motor") and "New" not in out
    there = call("get", "--json", "slow:motor", "slow:moving", ioc=ioc).objects
    assert [one["value"] for one in there] == [0.0, 0]


def test_ctrl_c_while_it_waits_for_the_server(start_demo, begin, call):
    ioc = start_demo("slow_put")
    call("put", "--quiet", "slow:delay", "50", ioc=ioc)
    waiting = [begin("put", option, "-w", "30", "slow:motor", "5", ioc=ioc)
               for option in ("-c", "--strict")]
    for process in waiting:
        assert process.stdout.readline().startswith("Old : ")
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=20) == ("", "")
        assert process.returncode == -signal.SIGINT  # 130 for a shell


def test_a_frozen_ioc(own_ioc, begin):
    """Each tool ends when its time is up, and names the PV."""
    slow, long = own_ioc.pv("very_slow"), own_ioc.pv("long")
    put = begin("put", "--strict", "-w", "2", slow, "1", ioc=own_ioc)
    until = begin("monitor", "--until", "> 1e9", "--duration", "2", long, ioc=own_ioc)
    first = [process.stdout.readline() for process in (put, until)]
    assert first[0].startswith(f"Old : {slow}") and first[1].startswith(long)
    own_ioc.freeze()
    get = begin("get", "--strict", "-w", "0.5", long, ioc=own_ioc)
    for process, said in (
        (put, rf"{slow}: no reply to the write within 2.0 s; .* \(a larger -w waits longer\)"),
        (until, f"{long}: '> 1e9' was not true within 2 s"), (get, f"{long}: not connected: "),
    ):
        out, err = process.communicate(timeout=20)
        assert (process.returncode, out) == (1, "") and re.match(said, err)


@pytest.mark.parametrize("words", [[], ["--quiet"]])
def test_a_text_that_is_no_number(words, ioc):
    """The server refuses it; without -c only a message says so, which is that of the tool."""
    done = subprocess.run(
        [sys.executable, "-m", "caproto.commandline.put", *words, ioc.pv("double"), "abc"],
        capture_output=True, text=True, timeout=60, env=clean_environ(**ioc.environ),
    )
    assert done.returncode == 0
    (line,) = done.stderr.splitlines()
    assert line.startswith("caproto-put: 'T:double': the server refused a write: ECA_PUTFAIL (")
    assert line.count("T:double") == 1
