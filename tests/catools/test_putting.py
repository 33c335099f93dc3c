"""caproto-put with what caput does not have."""
from __future__ import annotations

import pytest


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
        f"{ioc.pv('array_short')} 5 6", f"{ioc.pv('string')} two words", f"{ioc.pv('enum')} blue",
    ])
    done = call("put", "--quiet", "--from", "-", ioc=ioc, stdin=stdin)
    assert done == (0, "", "")
    assert values("double", "array_long", "array_short", "string", "enum") == [
        4.5, [7, 8, 9], [5, 6], "two words", 2
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
    done = call("put", "-w", "0.3", "--from", "-", ioc=ioc, stdin=stdin)
    assert done.status == 1 and done.out == "" and values("double") == [3.14]
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
        named = [line.partition(": ")[0] for line in done.err.splitlines()]
    assert named == ["T:enum", "T:enum", "T:double", "T:long", "T:long", "T:array_long",
                     "T:array_short", "T:array_short", "T:string", "T:string"]
    assert values("double", "float") == [3.14, 2.5]


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
