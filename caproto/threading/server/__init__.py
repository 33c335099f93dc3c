"""The threaded server: serve PVs inside a program that does other things as well.

::

    from caproto.server import ChannelDouble
    from caproto.threading.server import Server
    with Server({'x': ChannelDouble(value=1.5)}):
        ...

`caproto.server` has what is needed to declare PVs, and `run` for programs that only serve.
"""
from __future__ import annotations

from ._server import Server, run

__all__ = ["Server", "run"]

for _name in __all__:
    globals()[_name].__module__ = __name__
del _name
