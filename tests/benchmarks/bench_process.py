"""Whole processes: what a script pays before it does anything."""
from __future__ import annotations

import statistics

from tests.benchmarks.libraries import Library, time_of_script
from tests.benchmarks.rig import Rig, row


@row("import caproto.threading.client, numpy imported before", "ms", at_most=60)
def import_time(rig: Rig, library: Library) -> float:
    code = """
        import numpy, time
        start = time.perf_counter()
        import caproto.threading.client
        print((time.perf_counter() - start) * 1e3)
        """
    return statistics.median(
        float(time_of_script(library, code, {})[1]) for _ in range(rig.size(9, 1))
    )


@row(
    "import, read one scalar, exit: the whole process", "ms", at_most=120, peers=True, limit=True
)
def whole_script(rig: Rig, library: Library) -> float:
    return _time_to_value(rig, library, library.one_read)


@row("the same by caproto.sync.client: the whole process", "ms", at_most=70, peers=True, limit=True)
def whole_sync_script(rig: Rig, library: Library) -> float:
    return _time_to_value(rig, library, library.short_read)


@row("caproto-get of one scalar: the whole process", "ms", at_most=70)
def whole_tool(rig: Rig, library: Library) -> float:
    program = """
        from caproto.commandline.get import main
        main(["-t", "{name}"])
        """
    return _time_to_value(rig, library, program)


def _time_to_value(rig: Rig, library: Library, program: str) -> float:
    """Milliseconds that a process takes to print the value of a PV, and end."""
    ioc = rig.quiet_ioc()
    code = program.format(name=ioc.pv("double"))
    times = []
    for _ in range(rig.size(9, 1)):
        elapsed, printed = time_of_script(library, code, ioc.environ)
        times.append(elapsed)
        assert float(printed) == 3.5
    return statistics.median(times) * 1e3
