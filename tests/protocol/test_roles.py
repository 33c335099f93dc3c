from __future__ import annotations

import copy
import enum
import pickle

import pytest

import caproto
from caproto import CLIENT, NEED_DATA, REQUEST, RESPONSE, SERVER
from caproto._protocol import roles
from caproto._protocol.roles import Direction, Role, Signal, State

MEMBERS = [member for kind in (Role, Direction, State, Signal) for member in kind]


def test_two_roles_that_are_each_others_peers():
    assert list(Role) == [CLIENT, SERVER]
    assert CLIENT.other is SERVER and SERVER.other is CLIENT


def test_two_directions():
    assert list(Direction) == [REQUEST, RESPONSE]


@pytest.mark.parametrize("member", MEMBERS, ids=repr)
def test_each_is_a_public_name(member):
    """What is printed can be imported; it is the same object."""
    assert repr(member) in roles.__all__
    assert getattr(caproto, repr(member)) is member
    assert getattr(roles, repr(member)) is member


def test_nothing_else_is_public():
    kinds = {"Role", "Direction", "State", "Signal"}
    assert set(roles.__all__) - kinds == {member.name for member in MEMBERS}
    assert kinds <= set(roles.__all__)


@pytest.mark.parametrize("member", MEMBERS, ids=repr)
def test_they_are_compared_with_is(member):
    assert copy.deepcopy(member) is member
    assert pickle.loads(pickle.dumps(member)) is member


def test_no_two_are_equal():
    """Not even those of different kinds; and none equals a text or a number."""
    assert len(set(MEMBERS)) == len(MEMBERS)
    assert CLIENT != "client" and NEED_DATA != 0


def test_states_are_not_ordered():
    assert not issubclass(State, (int, enum.IntEnum))
    with pytest.raises(TypeError):
        caproto.CONNECTED < caproto.CLOSED  # noqa: B015
