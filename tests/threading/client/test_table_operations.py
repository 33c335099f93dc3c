"""The requests of one read or write of a table, by columns."""
from __future__ import annotations

import caproto as ca
from caproto.threading.client import Context
from tests.harness.fake_server import ignore


def test_a_server_has_at_most_so_many_writes_under_way(start_server, monkeypatch):
    """An IOC forgets completions if there are more than it can queue."""
    monkeypatch.setattr("caproto.threading.client._table_writes.MOST_WRITES", 10)
    monkeypatch.setattr("caproto.threading.client._table_operations.PART", 5)
    names = [f"pv{number}" for number in range(30)]
    server = start_server(dict.fromkeys(names, 1.0))
    with Context(configuration=server.configuration, timeout=5) as ctx:
        table = ctx.table(names)
        table.wait_for_connection()
        waiting: list[ca.WriteNotifyRequest] = []
        most = [0]

        def answer_late(connection, command):
            waiting.append(command)
            most[0] = max(most[0], len(waiting))
            if len(waiting) == 5:
                for one in waiting:
                    connection.server.usual(connection, one)
                waiting.clear()

        server.on[ca.WriteNotifyRequest] = answer_late
        assert table.write(range(30)).ok.all() and most[0] == 5
        assert table.read().values.tolist() == list(range(30))
        server.on[ca.WriteNotifyRequest] = ignore
        errors = table.write(7.0, timeout=0.3).errors
        assert len(errors) == 30
        unsent = [one for one in errors.values() if "was not sent within 0.3 s" in str(one)]
        assert len(unsent) == 20 and "'pv29': " in str(unsent[-1])


# ---- calls inside a call
