"""The conformance list of Channel Access 4.13: numbered, testable statements; tests name them.

A test says which statements it is about with the decorator `item`::

    @item(37)
    def test_an_idle_circuit_is_probed(): ...

`table` makes the table of the manual from that; test_table.py sees to it that no statement is
without a test. Versions are minor versions of the protocol.
"""
from __future__ import annotations

import pytest

#: Part -> number -> statement.
PARTS: dict[str, dict[int, str]] = {
    "Codec": {
        1: (
            "A normal header is 16 bytes, an extended one 24; both decode to the same "
            "structure."
        ),
        2: "Payload size field 0xFFFF alone selects the extended form on receipt.",
        3: (
            "Encoding uses the extended form exactly if payload_size ≥ 0xFFFF or data_count ≥ "
            "0xFFFF."
        ),
        4: "Encoding an extended message for a peer below 4.9 is refused.",
        5: (
            "Any split of a byte stream into pieces, down to single bytes, gives the same "
            "messages."
        ),
        6: "Every encoded payload is a multiple of 8 and padded with zeros.",
        7: (
            "A received TCP payload size that is not a multiple of 8 is reported as a protocol "
            "error."
        ),
        8: (
            "A payload above a configurable limit is skipped without buffering it, and the "
            "stream continues."
        ),
        9: (
            "All 39 DBR codes decode and encode with the recorded offsets of their layouts "
            "(all vectors pass)."
        ),
        10: (
            "Decoding ignores gap bytes and bytes after string terminators; encoding writes "
            "zeros there."
        ),
        11: "Zero-element payloads of every family decode to metadata and an empty array.",
        12: (
            "A DBR_STRING payload of 8, 16, 24, 32, 40 bytes with count 1 decodes to the text."
        ),
        13: "A 40 byte string without terminator decodes without error.",
        14: (
            "Payloads shorter than type and count demand raise a clean error (no crash, no "
            "over-read)."
        ),
        15: (
            "Status codes 0…60 convert between name, number, severity and code; unknown codes "
            "survive a round trip."
        ),
        16: "Time stamps convert with the offset 631152000 without loss of nanoseconds.",
        17: (
            "Garbage input (random bytes) never raises anything but the codec's own error "
            "class and never consumes unbounded memory."
        ),
    },
    "Client: search": {
        18: (
            "A search datagram starts with VERSION (data_type bit 0 set, increasing sequence "
            "number) and is at most 1024 bytes."
        ),
        19: (
            "SEARCH has data_type 5, data_count 13, p1 = p2 = cid, padded zero-terminated "
            "name."
        ),
        20: "Names created within one burst share datagrams.",
        21: (
            "The interval between searches of an unanswered name doubles from about 30 ms and "
            "saturates between 200 s and the configured maximum; it never stops."
        ),
        22: "EPICS_CA_MAX_SEARCH_PERIOD below 60 is raised to 60.",
        23: "n unanswered names never cause more than the configured datagram rate.",
        24: (
            "Address choice for reply versions 0, 4, 5, 7, 8, 13, with p1 = 0xFFFFFFFF "
            "and with an address."
        ),
        25: (
            "Replies for unknown cids, duplicates of the same server and malformed datagrams "
            "are ignored; processing continues with the next datagram."
        ),
        26: "A reply from a second server produces one warning and no reconnect.",
        27: (
            "A reply from another source address than the destination of the search is "
            "accepted."
        ),
        28: (
            "TCP search works against a server ≥ 4.12, is not attempted below; port 0 with "
            "0xFFFFFFFF uses the circuit's address."
        ),
        29: (
            "A beacon anomaly brings back names that wait long to an interval of at most about "
            "10 s."
        ),
        30: "UDP receive errors (connection refused, reset) do not stop the client.",
    },
    "Client: circuit": {
        31: (
            "First bytes on a circuit: VERSION (priority, 13), CLIENT_NAME, HOST_NAME, then "
            "CREATE_CHAN with cid and version 13 in p2."
        ),
        32: "It works whether the server's VERSION comes first, late or never.",
        33: (
            "Channels of one server and priority share one circuit; different priorities do "
            "not."
        ),
        34: (
            "ACCESS_RIGHTS before or after the CREATE_CHAN reply are both handled; rights "
            "changes are reported."
        ),
        35: (
            "CREATE_CH_FAIL and SERVER_DISCONN put only that channel back to searching (with "
            "delay)."
        ),
        36: "A CREATE_CHAN reply for an unknown cid is answered with CLEAR_CHANNEL.",
        37: (
            "Idle circuit: ECHO after T seconds, T from EPICS_CA_CONN_TMO; traffic or a good "
            "beacon postpones it."
        ),
        38: (
            "No echo reply within 5 s: channels reported disconnected, operations fail, "
            "circuit stays open, no search."
        ),
        39: (
            "Recovery: after an in-time echo reply channels are connected again and every "
            "subscription is refreshed by READ_NOTIFY with its subid."
        ),
        40: (
            "Loss of the circuit: all operations fail once (a blocking read is sent again), "
            "subscriptions are restored after reconnect; search resumes at once, or after at most "
            "10 s if circuits to that server do not last, and then at least once a second for half "
            "a minute. (The C library waits for a timer that runs every 10 s.)"
        ),
        41: "Refused and hanging connects end in a retry with delay; no busy loop.",
        42: (
            "The circuit is closed when its last channel is cleared (except name server "
            "circuits)."
        ),
        43: "Closing sends queued CLEAR_CHANNEL/EVENT_CANCEL and half-closes before closing.",
        44: "Unknown commands from the server close the circuit with a diagnostic.",
    },
    "Client: operations": {
        45: "READ_NOTIFY with count 0 only to servers ≥ 4.13, otherwise the announced count.",
        46: "Reads with status ≠ 1 fail with that status; the payload is ignored.",
        47: "WRITE carries sid and cid; WRITE_NOTIFY sid and ioid.",
        48: (
            "A single string is sent with minimal padded length; 40 characters or more are "
            "refused locally."
        ),
        49: (
            "Local refusal without traffic: no permission, disconnected, type not 0…6/35/36, "
            "count above maximum."
        ),
        50: (
            "ERROR for READ_NOTIFY, WRITE_NOTIFY finishes that operation; for EVENT_ADD "
            "reports to the subscription; for WRITE to the channel; else to the general "
            "handler. Embedded extended headers are understood."
        ),
        51: "ioids and subids never collide; replies are routed through both.",
        52: (
            "EVENT_CANCEL is sent exactly once per live subscription; never after "
            "CLEAR_CHANNEL; late updates and the confirmation are ignored."
        ),
        53: "A subid is not reused before its confirmation.",
        54: "An empty array update of a TIME type reaches the user as an empty array.",
        55: (
            "EVENTS_OFF when the updates that wait for callbacks occupy too much memory, or are "
            "many and late; EVENTS_ON when nearly all have been delivered; strictly alternating; "
            "the last value arrives. (The C library, whose callbacks run in the receiving thread, "
            "counts blocks received in a row instead.)"
        ),
        56: (
            'A subscription with status 368 reports "no access" and resumes by itself when '
            "updates come again."
        ),
        57: (
            "Works against captured streams of a real rsrv (all files in `tests/vectors/streams`) "
            "without a protocol error."
        ),
    },
    "Server": {
        58: "VERSION is sent at accept without waiting.",
        59: (
            "ACCESS_RIGHTS precedes CREATE_CHAN's reply; extended header if the count demands "
            "it and the client allows it; count capped at 65534 below 4.9."
        ),
        60: "Unknown name: CREATE_CH_FAIL with the cid; the circuit goes on.",
        61: (
            "Search over UDP: silent for unknown names, also with DO_REPLY; over TCP NOT_FOUND "
            "with DO_REPLY."
        ),
        62: (
            "UDP replies: VERSION with the request's sequence number if the client is ≥ 4.11, "
            "payload 8 with version 13, p1 0xFFFFFFFF, p2 echoed, port in data_type; datagrams "
            "≤ 1024 bytes."
        ),
        63: "A datagram whose first message is not a VERSION ≥ 4 is ignored (option: accept).",
        64: (
            "READ_NOTIFY: count 0 gives the current length, n gives n; p1 status, p2 ioid; no "
            "access gives 368 with zero payload."
        ),
        65: (
            "READ replies with the cid, READ_SYNC and ECHO (with payload) are returned as they "
            "came."
        ),
        66: (
            "WRITE without permission or failing: ERROR with the embedded request header; "
            "success is silent."
        ),
        67: (
            "WRITE_NOTIFY is answered exactly once, after completion, also on failure; other "
            "channels and ECHO are served meanwhile."
        ),
        68: (
            "CLEAR_CHANNEL cancels pending notifications of the channel and is echoed; "
            "afterwards its sid is dead."
        ),
        69: (
            "EVENT_ADD sends one first update whatever the mask; later updates only for mask "
            "bits that apply."
        ),
        70: (
            "EVENT_CANCEL is confirmed with command 1, no payload, original type and count, p1 "
            "sid; nothing for that subid follows."
        ),
        71: (
            "EVENTS_OFF holds updates, keeps the newest of each subscription, EVENTS_ON "
            "delivers them; replies are not held."
        ),
        72: (
            "Slow reader: memory bounded, newest value of each subscription finally delivered, "
            "order per subscription kept."
        ),
        73: "Rights change: ACCESS_RIGHTS, then one update (or status 368).",
        74: "sids of other circuits are rejected.",
        75: (
            "Payload shorter than type × count is rejected; too large messages are skipped "
            "with ERROR/TOLARGE."
        ),
        76: "Misaligned payloads and unknown commands: ERROR/INTERNAL, then close.",
        77: (
            "Version < 4 or priority > 99: close. Before VERSION: ERROR/DEFUNCT, circuit open."
        ),
        78: (
            "Type conversion table between all native types, including enum text and number "
            "text."
        ),
        79: (
            "`.VAL`, trailing dot, `$`, ranges and the supported filters parse as in an IOC; "
            "the rest fails at CREATE_CHAN."
        ),
        80: (
            "Beacons: intervals 0.02 s doubling to the period, number increasing, port and "
            "version right, address 0."
        ),
        81: "TCP port taken: another port is used and announced in replies and beacons.",
        82: "Names, `EPICS_CAS_*` variables and lists parse by the rules of EPICS base.",
        83: (
            "Passes with a real libca: connect, all reads, writes, monitors, cancel, "
            "reconnect, echo."
        ),
        84: "Random bytes on TCP and UDP neither crash it nor disturb other circuits.",
    },
    "Repeater": {
        85: (
            "Registration with an empty datagram and with command 24; confirmation with the "
            "client's address."
        ),
        86: (
            "Beacons with address 0 get the sender's address, others are unchanged; everything "
            "else is copied verbatim."
        ),
        87: "Not reflected to the sender. New registration sends the no-op to the others.",
        88: "Vanished clients are removed (send error, bind test).",
        89: "Non-local senders cannot register.",
        90: "Second instance exits quietly.",
    },
}

#: Number -> statement.
STATEMENTS: dict[int, str] = {
    number: statement for part in PARTS.values() for number, statement in part.items()
}


def item(*numbers: int) -> pytest.MarkDecorator:
    """Mark a test, or a class of tests, as being about these statements."""
    unknown = set(numbers) - set(STATEMENTS)
    assert numbers and not unknown, f"no such statement: {unknown}"
    return pytest.mark.item(*numbers)
