"""What cainfo prints."""
from __future__ import annotations

from caproto._catools.blocks import host_name, info_block
from caproto.threading.client import Context


def test_a_block(ioc):
    with Context(configuration=ioc.configuration) as context:
        pv = context.get_pv(ioc.pv("readonly"))
        pv.wait_for_connection(timeout=10)
        lines = info_block(pv).splitlines()
        assert lines[0] == ioc.pv("readonly")
        assert "    Access:           read, no write" in lines
        assert host_name(pv).endswith(f":{ioc.port}")
