from __future__ import annotations

import copy
import json
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caproto._errors import CaprotoValueError
from caproto._protocol.text import (
    Latin1Text,
    check_encoding,
    decode_text,
    encode_as,
    encode_text,
)


def test_text_is_utf8():
    text = decode_text("größe µ".encode())
    assert text == "größe µ" and type(text) is str
    assert encode_text(text) == "größe µ".encode()


def test_what_is_not_utf8_is_latin1_and_can_be_printed_and_stored(capsys, tmp_path):
    text = decode_text(b"Gr\xfc\xdfe")
    assert text == "Grüße"
    print(text)
    assert capsys.readouterr().out == "Grüße\n"
    (tmp_path / "text").write_text(text, encoding="utf-8")
    assert json.loads(json.dumps([text])) == ["Grüße"]


def test_latin1_goes_back_as_it_came():
    text = decode_text(b"Gr\xfc\xdfe")
    for again in (text, copy.deepcopy(text), pickle.loads(pickle.dumps(text))):
        assert encode_text(again) == b"Gr\xfc\xdfe"
    assert encode_text("Grüße") == "Grüße".encode(), "typed by a user, the same text is UTF-8"
    assert encode_text(text.upper()) == text.upper().encode(), "so is what is made from it"


@given(st.binary())
def test_all_bytes_survive(raw):
    text = decode_text(raw)
    assert encode_text(text) == raw
    text.encode()  # there are no surrogates in it
    assert isinstance(text, Latin1Text) == (raw.decode(errors="replace").encode() != raw)


def test_bytes_that_python_has_escaped_are_these_bytes():
    """As in names from a command line that is not UTF-8."""
    assert encode_text(b"\xb5m".decode("utf-8", "surrogateescape")) == b"\xb5m"


def test_what_stands_for_no_bytes_is_refused():
    with pytest.raises(CaprotoValueError, match="cannot be sent as UTF-8"):
        encode_text("\ud800" * 1000)


def test_an_encoding_that_the_user_chose():
    check_encoding("latin-1")
    assert encode_as("é", "latin-1") == b"\xe9"
    for encoding in ("klingon", 5):
        with pytest.raises(CaprotoValueError, match="string_encoding"):
            check_encoding(encoding)
    with pytest.raises(CaprotoValueError, match="'€'"):
        encode_as("€", "latin-1")
