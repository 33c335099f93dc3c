"""Settings: immutable objects made of keyword arguments."""
from __future__ import annotations

import copy
import dataclasses
import pickle

import pytest

from caproto import CaprotoAttributeError, CaprotoTypeError
from caproto._settings import Settings


class Oven(Settings):
    degrees: float = 180.0
    fan: bool = False


def test_fields_have_their_defaults_or_what_is_given():
    assert (Oven().degrees, Oven().fan) == (180.0, False)
    assert (Oven(fan=True).degrees, Oven(fan=True).fan) == (180.0, True)


def test_an_unknown_setting_is_named_with_those_that_exist():
    with pytest.raises(CaprotoTypeError, match="Oven has no setting 'colour'; it has degrees, fan"):
        Oven(colour="red")


def test_equal_settings_are_equal_and_hash_alike():
    assert Oven(fan=True) == Oven(fan=True)
    assert hash(Oven(fan=True)) == hash(Oven(fan=True))
    assert Oven() != Oven(fan=True)
    assert Oven() != (180.0, False)


def test_nothing_can_be_changed():
    oven = Oven()
    with pytest.raises(CaprotoAttributeError, match=r"replace\(fan=\.\.\.\)"):
        oven.fan = True
    with pytest.raises(CaprotoAttributeError):
        del oven.fan
    assert oven == Oven()


def test_a_variant_leaves_the_original_alone():
    oven = Oven()
    hot = oven.replace(degrees=250.0)
    assert (hot.degrees, hot.fan, oven.degrees) == (250.0, False, 180.0)
    if hasattr(copy, "replace"):
        assert copy.replace(oven, degrees=250.0) == hot


def test_repr_evaluates_back():
    assert eval(repr(Oven(fan=True))) == Oven(fan=True)


def test_settings_can_be_copied_and_pickled():
    assert copy.deepcopy(Oven(fan=True)) == Oven(fan=True)
    assert pickle.loads(pickle.dumps(Oven(fan=True))) == Oven(fan=True)


def test_settings_are_checked_as_they_are_made():
    class Checked(Oven):
        degrees: float = 1.0

        def __post_init__(self) -> None:
            if self.degrees < 0:
                raise ValueError("too cold")

    with pytest.raises(ValueError, match="too cold"):
        Checked().replace(degrees=-1.0)


def test_a_subclass_has_the_settings_of_its_base():
    class Grill(Oven):
        grill: bool = True

    assert dict(Grill(fan=True)) == {"degrees": 180.0, "fan": True, "grill": True}


def test_the_functions_of_dataclasses_take_them():
    oven = Oven(degrees=210.0)
    assert dataclasses.is_dataclass(oven)
    assert dataclasses.replace(oven, fan=True) == Oven(degrees=210.0, fan=True)
    assert dataclasses.asdict(oven) == dict(oven)
    assert [field.name for field in dataclasses.fields(Oven)] == [name for name, _ in oven]
    with pytest.raises(CaprotoTypeError, match="no setting 'grill'"):
        dataclasses.replace(oven, grill=True)
