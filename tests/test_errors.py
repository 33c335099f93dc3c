"""The tree of errors: what its picture says is true, and every error can be shown and shipped."""
from __future__ import annotations

import builtins
import pickle
import re

import pytest

import caproto
from caproto import CAStatus, _errors
from caproto._errors import CaprotoError, CaprotoKeyError, ErrorResponseReceived

ERRORS = {name: getattr(_errors, name) for name in _errors.__all__}
RESPONSES = [error for error in ERRORS.values() if issubclass(error, ErrorResponseReceived)]


def drawn() -> dict[str, tuple[str | None, str | None]]:
    """Name -> name of the parent and of the builtin, as the docstring of the module draws them."""
    found: dict[str, tuple[str | None, str | None]] = {}
    line_of_descent: dict[int, str] = {}  # column -> name
    for line in _errors.__doc__.splitlines():
        names = re.findall(
            r"\b([A-Z]\w+(?:Error|Received)|SkipWrite|Forbidden)\b(?: \((\w+)\))?", line
        )
        if not names:
            continue
        column = line.index("─") if "─" in line else 0
        parents = [name for place, name in line_of_descent.items() if place < column]
        for name, builtin in names:
            found[name] = parents[-1] if parents else None, builtin or None
        line_of_descent = {k: v for k, v in line_of_descent.items() if k < column}
        line_of_descent[column] = names[-1][0]
    return found


def test_the_picture_shows_every_error():
    assert set(drawn()) == set(ERRORS)


@pytest.mark.parametrize("name", ERRORS)
def test_the_picture_is_true(name):
    parent, builtin = drawn()[name]
    expected = [ERRORS[parent]] if parent else [Exception]
    if builtin:
        expected.append(getattr(builtins, builtin))
    assert list(ERRORS[name].__bases__) == expected


@pytest.mark.parametrize(
    "kind", ["Key", "Value", "Type", "Runtime", "Attribute", "NotImplemented", "Timeout"]
)
def test_errors_like_those_of_python_may_be_caught_as_such(kind):
    with pytest.raises(getattr(builtins, f"{kind}Error"), match="no such thing"):
        raise ERRORS[f"Caproto{kind}Error"]("no such thing")


def test_network_errors_are_those_of_the_operating_system():
    with pytest.raises(OSError) as caught:
        raise _errors.CaprotoNetworkError(111, "refused")
    assert caught.value.errno == 111 and caught.value.strerror == "refused"


@pytest.mark.parametrize("error", ERRORS.values(), ids=list(ERRORS))
class TestEachError:
    def test_it_is_public(self, error):
        assert issubclass(error, CaprotoError)
        assert getattr(caproto, error.__name__) is error
        assert error.__name__ in caproto.__all__

    def test_it_says_what_it_was_given(self, error):
        sentence = "channel 'x' is not connected: it's \"searched\""
        assert str(error(sentence)) == sentence

    def test_it_can_be_pickled(self, error):
        again = pickle.loads(pickle.dumps(error("what happened")))
        assert type(again) is error
        assert str(again) == "what happened" and again.args == ("what happened",)

    def test_it_is_described(self, error):
        assert "__doc__" in vars(error) and error.__doc__[0].isupper()


def test_a_key_error_reads_like_a_sentence():
    """KeyError alone would show quotation marks around it."""
    assert str(KeyError("no subscription 7")) == "'no subscription 7'"
    assert str(CaprotoKeyError("no subscription 7")) == "no subscription 7"


@pytest.mark.parametrize("error", RESPONSES, ids=lambda error: error.__name__)
def test_what_a_server_refused_is_known(error):
    refused = error("no", pv="the pv", status=CAStatus.ECA_NOWTACCESS, address=("10.0.0.1", 5064))
    for one in refused, pickle.loads(pickle.dumps(refused)):
        assert (one.pv, one.status, one.address) == (
            "the pv", CAStatus.ECA_NOWTACCESS, ("10.0.0.1", 5064),
        )
        assert str(one) == "no"
    unknown = error("no")
    assert (unknown.pv, unknown.status, unknown.address) == (None, None, None)
    with pytest.raises(TypeError):
        error("no", "the pv")


def test_all_refusals_are_caught_as_one():
    assert {error.__name__ for error in RESPONSES} == {
        "ErrorResponseReceived", "ReadError", "WriteError", "SubscriptionError", "AccessError",
    }
