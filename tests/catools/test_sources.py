"""Names and values from files and standard input."""
from __future__ import annotations

import io
import sys

import pytest

from caproto._catools.options import UsageError
from caproto._catools.sources import assignments_from, names_from


@pytest.fixture
def file(tmp_path):
    def write(text):
        path = tmp_path / "list.txt"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return str(path)

    return write


def stdin(text, encoding="latin-1"):
    return io.TextIOWrapper(io.BytesIO(text.encode()), encoding=encoding)


def test_names_with_comments(file, monkeypatch):
    monkeypatch.setattr(sys, "stdin", stdin("e\n"))
    path = file('# all\na  # the first\n\n  b c\n{"name": "d", "value": 1}\n')
    assert names_from([path, "-"]) == ["a", "b", "c", "d", "e"]


def test_names_may_have_any_bytes(file):
    assert names_from([file(b"x:\xb5\n")]) == ["x:\udcb5"]


@pytest.mark.parametrize("encoding", ["latin-1", "ascii"])
def test_the_encoding_of_the_locale_does_not_matter(encoding, monkeypatch):
    monkeypatch.setattr(sys, "stdin", stdin("x:\u20ac \u00e9\u00a0\n", encoding))
    (one,) = assignments_from(["-"])
    assert (one.name, one.text) == ("x:\u20ac", "\u00e9\u00a0")


def test_a_byte_order_mark_is_no_part_of_the_first_name(file):
    assert names_from([file("\ufeffa\nb\n")]) == ["a", "b"]


def test_numbers_of_json_keep_their_digits(file):
    path = file('{"name": "a", "value": [1e-400, 1.00000000000000000001, 1e309, -0, 5]}\n')
    (one,) = assignments_from([path])
    assert [number.text for number in one.value] == [
        "1e-400", "1.00000000000000000001", "1e309", "-0", "5"
    ]


def test_values(file):
    path = file('# saved\na 1\nb two words # here\n{"name": "c", "value": [1, 2]}\n')
    first, second, third = assignments_from([path])
    assert (first.name, first.words, first.kind) == ("a", ["1"], "line")
    assert second.words == ["two", "words", "#", "here"]  # it may be part of a text
    assert (third.name, third.value, third.kind) == ("c", [1, 2], "json")


def test_errors_in_saved_json_have_no_value(file):
    path = file('{"name": "a", "event": "not connected", "text": "why"}\nb 1\n')
    error, value = assignments_from([path])
    assert (error.name, error.has_value, error.place) == ("a", False, f"{path}, line 1")
    assert (value.name, value.has_value) == ("b", True)


def test_csv_is_refused(file):
    for text in ("time,name,value\n", "# mine\na,b\n", "a b,c\n"):
        with pytest.raises(UsageError, match="has a comma: .*not CSV"):
            names_from([file(text)])
    for text in ("name,value\nx,1\n", "x, 1\n"):
        with pytest.raises(UsageError, match="line 1: .* has a comma: .*not CSV"):
            assignments_from([file(text)])
    filtered = 'x.{"arr":{"s":1,"e":2}}'
    assert names_from([file(filtered)]) == [filtered]
    assert assignments_from([file("x 1,5\n")])[0].words == ["1,5"]  # may be a text


def test_only_line_feeds_end_lines(file):
    text = "a\u2028b\x85c\x0bd"
    path = file(f'{{"name": "a", "value": "{text[:-2]}"}}\r\nb {text}\r\n')
    first, second = assignments_from([path])
    assert (first.value, second.text) == (text[:-2], text)


def test_where_names_and_values_are(file):
    path, places = file('# list\na b\n{"name": "c", "value": 1}\n'), {}
    names_from([path], places)
    assert places == {"a": f"{path}, line 2", "b": f"{path}, line 2", "c": f"{path}, line 3"}
    (value,) = assignments_from([file("\na   two   words  \n")])
    assert (value.place, value.text) == (f"{path}, line 2", "two   words")


def test_what_cannot_be_read(file, monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "stdin", None)
    for source, message in (
        (str(tmp_path / "none"), "none cannot be read: No such file"),
        (str(tmp_path), "cannot be read: Is a directory"),
        ("-", "standard input cannot be read: it is closed"),
        ("a\0b", "cannot be read: embedded null"),
    ):
        with pytest.raises(UsageError, match=message):
            names_from([source])
    for text, message in (
        ("a 1\nb\n", "line 2: no value for 'b'"), ("{x\n", "line 1: this is not JSON"),
        ('{"value": 1}\n', "line 1: the object has no 'name'"),
        ('{"name": "a", "value": 1, "value": 2}\n', "line 1: .* a key is there twice"),
        ('{"value": ' + "[" * 100_000, "line 1: this is not JSON"),
    ):
        with pytest.raises(UsageError, match=message):
            assignments_from([file(text)])


@pytest.mark.parametrize("text", ['[{"name": "x", "value": 1}]', '["x", "y"]', "[\n"])
def test_a_list_of_json_is_refused(text, tmp_path):
    file = tmp_path / "list.json"
    file.write_text(text)
    for read in (names_from, assignments_from):
        with pytest.raises(UsageError, match="line 1: this is a list of JSON; each of its objects"):
            read([str(file)])
