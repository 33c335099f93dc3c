"""One channel of one client: what it is told when the rights of its PV change."""
from __future__ import annotations

import pytest

from caproto import AccessRights, AccessRightsResponse
from caproto._server.directory import Directory
from caproto._server.open_channel import OpenChannel
from caproto._server.updates import Monitor, UpdateQueue
from caproto.server import ChannelDouble

READ, WRITE = AccessRights.READ, AccessRights.WRITE
EVERYTHING = 1 << 40


class Guarded(ChannelDouble):
    """Only alice on the console may write."""

    def check_access(self, host_name: str, client_name: str) -> AccessRights:
        allowed = (host_name, client_name) == ("console", "alice")
        return super().check_access(host_name, client_name) if allowed else READ


@pytest.fixture
def queue() -> UpdateQueue:
    return UpdateQueue(lambda: None)


def opened(queue: UpdateQueue, data: ChannelDouble, *client: str) -> OpenChannel:
    channel = OpenChannel(queue, Directory({"x": data}).open("x.VAL"), 7, 9, *client)
    data.listen(channel)
    return channel


def test_it_begins_with_the_rights_of_its_client(queue):
    data = Guarded(value=1.0)
    assert opened(queue, data, "console", "alice").rights == READ | WRITE
    assert opened(queue, data, "elsewhere", "alice").rights == READ
    assert opened(queue, data, "console", "bob").rights == READ


def test_it_has_the_name_and_the_number_of_the_client(queue):
    channel = opened(queue, ChannelDouble(value=1.0), "console", "alice")
    assert (channel.name, channel.cid, channel.sid) == ("x.VAL", 7, 9)


def test_other_rights_are_told_with_the_value_for_each_monitor(queue):
    data = ChannelDouble(value=1.5)
    channel = opened(queue, data, "console", "alice")
    monitor = Monitor(queue, channel, (1, 16, 6, 1, 0, 5), 1)
    channel.monitors = {5: monitor}
    data.access_rights = WRITE
    replies, updates = queue.take(EVERYTHING)
    assert replies == [AccessRightsResponse(7, WRITE)]
    assert [(m, readable) for m, _, readable in updates] == [(monitor, False)]
    data.access_rights = READ
    replies, updates = queue.take(EVERYTHING)
    assert replies == [AccessRightsResponse(7, READ)]
    assert [(snap.elements, readable) for _, snap, readable in updates] == [((1.5,), True)]


def test_rights_that_are_the_same_for_this_client_are_not_told(queue):
    data = Guarded(value=1.0, access_rights=READ)
    channel = opened(queue, data, "elsewhere", "bob")
    data.access_rights = READ | WRITE  # for others
    assert queue.take(EVERYTHING) == ([], [])
    assert channel.rights == READ


def test_rights_that_change_while_they_are_told_are_told_again(queue):
    data = ChannelDouble(value=1.0)
    channel = opened(queue, data, "console", "alice")
    changes = [READ | WRITE, WRITE]

    def meanwhile() -> None:
        if changes:
            data._access_rights = changes.pop()  # by a thread that was faster than its listeners

    queue._wake = meanwhile
    assert queue.sleep()
    data.access_rights = READ
    assert channel.rights == data.access_rights
    replies, _ = queue.take(EVERYTHING)
    assert [reply.access_rights for reply in replies] == [READ, WRITE, READ | WRITE]
