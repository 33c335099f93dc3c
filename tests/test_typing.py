"""The stand-in for `typing`: named tuples are those that everybody knows."""
from __future__ import annotations

import copy
import inspect
import pickle
import typing

import pytest

from caproto._typing import NamedTuple


class Pair(NamedTuple):
    """Two of a kind."""

    first: int
    second: str = "b"

    @property
    def both(self) -> str:
        return f"{self.first}{self.second}"

    @classmethod
    def one(cls) -> Pair:
        return cls(1)

    def __str__(self) -> str:
        return "pair"


class Known(typing.NamedTuple):
    """Two of a kind."""

    first: int
    second: str = "b"


def test_a_named_tuple_is_what_typing_makes():
    ours, known = Pair(1), Known(1)
    assert ours == known == (1, "b") and isinstance(ours, tuple)
    assert repr(ours).replace("Pair", "Known") == repr(known)
    for attribute in ("_fields", "_field_defaults", "__match_args__", "__doc__", "__module__"):
        assert getattr(Pair, attribute) == getattr(Known, attribute)
    assert inspect.signature(Pair).parameters.keys() == inspect.signature(Known).parameters.keys()
    assert typing.get_type_hints(Pair) == typing.get_type_hints(Known)
    assert not hasattr(ours, "__dict__")


def test_its_methods():
    assert (Pair.one().both, str(Pair(2)), f"{Pair(2, 'c').both}") == ("1b", "pair", "2c")


def test_its_copies():
    pair = Pair(7, "x")
    assert pickle.loads(pickle.dumps(pair)) == copy.deepcopy(pair) == pair
    assert type(pickle.loads(pickle.dumps(pair))) is Pair
    assert pair._replace(first=8) == Pair(8, "x") and pair._asdict() == {"first": 7, "second": "x"}


def test_what_it_refuses():
    with pytest.raises(TypeError, match="first"):
        Pair()
    with pytest.raises(AttributeError):
        Pair(1).first = 2
