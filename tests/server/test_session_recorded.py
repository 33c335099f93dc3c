"""Requests that a script sent to a real IOC: our session answers as the IOC did.

The recording has absolute sids, so each session is told to begin with the first one that stands in
it; then header fields and values must be equal. Where we differ, `DIFFERENT` says why: in all these
cases the IOC drops the circuit, or is laxer than is good for it.
"""
from __future__ import annotations

import pytest

from caproto import AccessRights, CAStatus, ErrorResponse
from caproto._protocol.headers import pack_header
from caproto.server import ChannelByte, ChannelChar, ChannelDouble, ChannelEnum, ChannelString
from tests.server.session_rig import Rig, values_of
from tests.vectors_support import scripted_tcp

_FIELDS = ("command", "payload_size", "data_type", "data_count", "parameter1", "parameter2")
SECTIONS = {
    section["name"]: section
    for section in scripted_tcp()
    # Two circuits at once, and the IOC's slowness: tested by themselves.
    if section["name"] not in ("put_notify_blocks", "two_circuits")
}

#: What the PVs had become by the time of a section, where that matters.
VALUES = {
    "flow_control": {"VEC:mon": 14.0},
    "monitor_mask256": {"VEC:mon": 14.0},
    "small_server": {"VEC:wf:big": []},
    "old_minor8": {"VEC:wf:big": [0.0] * 8300},
    "read_legacy": {"VEC:wf:double": [0.0]},
}

#: What the IOC's administrator did while the recording ran.
RIGHTS = {
    "after the record moved to a group without any access": AccessRights.NO_ACCESS,
    "after the record moved to a read-only group": AccessRights.READ,
    "after the record moved back": AccessRights.READ | AccessRights.WRITE,
}

DIFFERENT = {
    # The IOC closes the circuit (after an ERROR, at best); we refuse the request and go on.
    "CREATE_CHAN with client version 0 in parameter 2": None,
    "READ_NOTIFY type 39": CAStatus.ECA_BADTYPE,
    "EVENT_ADD type 39": CAStatus.ECA_BADTYPE,
    "EVENT_ADD mask 0": CAStatus.ECA_BADMASK,
    "EVENT_ADD mask 0x100": CAStatus.ECA_BADMASK,
    # The IOC answers with as many zeros as the client likes.
    "READ_NOTIFY waveform count above NELM": CAStatus.ECA_BADCOUNT,
    "READ_NOTIFY scalar count 3": CAStatus.ECA_BADCOUNT,
    # The IOC reserves memory for the largest array that there may be.
    "READ_NOTIFY count 0 (array is empty now)": CAStatus.ECA_NORMAL,
    "EVENT_ADD count 0": CAStatus.ECA_NORMAL,
    # The same, but our ERROR does not say which request it is about.
    "unknown command 28": CAStatus.ECA_INTERNAL,
    "obsolete command 5 (SNAPSHOT)": CAStatus.ECA_INTERNAL,
    "payload size 7": CAStatus.ECA_INTERNAL,
}

#: The IOC accepts one id for two subscriptions, and then cancels the first one.
TWICE = "EVENT_ADD second, same id"
#: Fields of records that have no counterpart here.
FIELDS = ("NAME", "STAT", "SCAN", "INP", "INP$", "PREC", "DISV", "UDF", "RVAL", "NORD")
#: A long string record announces STRING; a ChannelChar announces CHAR, which needs no ``$``.
LONG_STRINGS = ("CREATE_CHAN VEC:lso", "CREATE_CHAN VEC:lso.$")


def make_pvs(section: str) -> dict:
    pvs = {
        "VEC:ai": ChannelDouble(value=3.25, precision=3, reported_record_type="ai"),
        "VEC:ai.RTYP": ChannelString(value="ai"),
        "VEC:ao": ChannelDouble(value=5.0, precision=3),
        "VEC:mon": ChannelDouble(value=0.0),
        "VEC:asg": ChannelDouble(value=4.5),
        "VEC:ro": ChannelDouble(value=1.0, access_rights=AccessRights.READ),
        "VEC:na": ChannelDouble(value=1.0, access_rights=AccessRights.NO_ACCESS),
        "VEC:bo": ChannelEnum(value=1, enum_strings=["zero", "one"]),
        "VEC:str": ChannelString(value=""),
        "VEC:str39": ChannelString(value="123456789012345678901234567890123456789"),
        "VEC:lso": ChannelChar(value="", max_length=120),
        "VEC:wf:double": ChannelDouble(value=[], max_length=10),
        "VEC:wf:str": ChannelString(value=[], max_length=4),
        "VEC:wf:big": ChannelDouble(value=[], max_length=8300),
        "VEC:wf:huge": ChannelByte(value=[], max_length=70000),
    }
    for name, value in VALUES.get(section, {}).items():
        pvs[name].write(value)

    def refuse(instance, value):
        raise RuntimeError("not to be modified")

    pvs["VEC:ai.RTYP"].putter = refuse
    return pvs


def request_bytes(step) -> bytes:
    if "c2s" in step:
        return bytes.fromhex(step["c2s"])
    headers = [tuple(m["header"][name] for name in _FIELDS) for m in step["c2s_messages"]]
    return b"".join(pack_header(fields) + bytes(fields[1]) for fields in headers)


def recorded_facts(message) -> tuple:
    fields = tuple(message["header"][name] for name in _FIELDS)
    decoded = message["decoded"]
    if "original_request" in decoded:  # an ERROR: its text is free
        return "ERROR", fields[4], fields[5], decoded["original_request"]["command"]
    if "data" in decoded:
        return fields, decoded["data"]
    return fields, None


def our_facts(reply, recorded) -> tuple:
    if isinstance(reply, ErrorResponse):
        return "ERROR", reply.cid, reply.status.code_with_severity, reply.original_fields[0]
    return reply.fields, None if recorded[1] is None else values_of(reply)


def is_different(note: str) -> bool:
    return note in DIFFERENT or note in LONG_STRINGS or (
        note.startswith("CREATE_CHAN ") and note.rpartition(".")[2] in FIELDS
    )


def first_sid(section) -> int:
    for step in section["steps"]:
        for message in step["s2c_messages"]:
            if message["header"]["command_name"] == "CREATE_CHAN":
                return message["header"]["parameter2"]
    return 0


@pytest.mark.parametrize("name", SECTIONS)
def test_we_answer_as_the_recorded_ioc_did(name):
    section = SECTIONS[name]
    pvs = make_pvs(name)
    limits = {"max_payload": 17000} if name == "small_server" else {}
    rig = Rig(pvs, greet=False, port=25064, **limits)
    rig.session._next_sid = first_sid(section)
    values = iter((11.0, 12.0))
    for step in section["steps"]:
        note = step["note"]
        if note == TWICE:
            break
        if note == "after the value changed":
            pvs["VEC:asg"].write(next(values))
        elif note in RIGHTS:
            pvs["VEC:asg"].access_rights = RIGHTS[note]
        replies = rig.raw(request_bytes(step))
        recorded = [recorded_facts(message) for message in step["s2c_messages"]]
        if note in DIFFERENT:
            assert getattr(replies[-1], "status", None) == DIFFERENT[note], note
        elif not is_different(note):
            assert len(replies) == len(recorded), note
            assert [our_facts(*pair) for pair in zip(replies, recorded)] == recorded, note


@pytest.mark.parametrize(
    "name, closes",
    [
        ("bad_command", True),
        ("bad_command5", True),
        ("misaligned", True),
        ("priority_bad", True),
        ("version3", True),
        ("read_badtype", False),
        ("read_badsid", False),
        ("read_legacy", False),
        ("write_errors", False),
        ("write_badtype", False),
        ("monitor_badcancel", False),
        ("monitor_mask0", False),
        ("monitor_mask256", False),
        ("monitor_badtype", False),
        ("clear_channel", False),
        ("create_fail", False),
    ],
)
def test_where_the_ioc_closes_the_circuit_we_do_so_only_if_nothing_can_follow(name, closes):
    section = SECTIONS[name]
    assert section["steps"][-1]["connection_closed_by_server"]
    rig = Rig(make_pvs(name), greet=False)
    rig.session._next_sid = first_sid(section)
    for step in section["steps"]:
        rig.raw(request_bytes(step))
    assert rig.session.closing is closes


def test_a_sid_of_another_circuit_is_rejected_as_recorded():
    """The IOC closes the second circuit; neither it nor ours disturbs the first."""
    (section,) = (s for s in scripted_tcp() if s["name"] == "two_circuits")
    pvs = make_pvs("two_circuits")
    mine, other = Rig(pvs, greet=False), Rig(pvs, greet=False)
    mine.session._next_sid = 64
    for step in section["steps"]:
        rig = other if step["note"].startswith("[other circuit]") else mine
        replies = rig.raw(request_bytes(step))
        recorded = [recorded_facts(message) for message in step["s2c_messages"]]
        if "SID" in step["note"]:
            (error,) = replies
            assert isinstance(error, ErrorResponse) and error.status is CAStatus.ECA_INTERNAL
        else:
            assert [our_facts(*pair) for pair in zip(replies, recorded, strict=True)] == recorded
    assert not mine.session.closing and not other.session.closing
