"""caproto-explain against a real IOC."""
from __future__ import annotations


def test_a_status_and_a_text(ioc, call):
    done = call("explain", ioc.pv("double"), ioc=ioc)
    assert done.status == 0 and f"connected to 127.0.0.1:{ioc.port}" in done.out
    done = call("explain", "-w", "0.2", "nonsense", ioc.pv("double"), ioc=ioc)
    assert done.status == 1 and done.err == ""
    assert done.out.startswith("'nonsense': searching for 0.")
    assert f"by UDP to 127.0.0.1:{ioc.port}" in done.out and "hints" in done.out


def test_for_programs(ioc, call):
    done = call(
        "explain", "-w", "0.2", "--json", "--from", "-", ioc=ioc,
        stdin=f"nonsense\n{ioc.pv('long')}",
    )
    missing, found = done.objects
    assert not missing["connected"] and missing["searches"] >= 1 and missing["circuit"] is None
    assert missing["destinations"] == [{"address": f"127.0.0.1:{ioc.port}", "error": None}]
    assert missing["hints"] and missing["reason"].startswith("not connected: searching")
    assert found["connected"] and found["circuit"]["access"] == "READ|WRITE"
    assert found["circuit"]["state"] == "connected"
    assert found["host"] == f"127.0.0.1:{ioc.port}" and found["reason"] is None


def test_no_name(call):
    assert call("explain") == (1, "", "No pv name specified. ('caproto-explain -h' for help.)\n")
