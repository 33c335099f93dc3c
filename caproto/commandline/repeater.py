"""caproto-repeater: pass the beacons of servers on to all Channel Access clients of this host.

One repeater per host is enough; a second one sees that, and ends at once without complaint.
Clients, those of the EPICS C library included, find it at the port EPICS_CA_REPEATER_PORT (5065).
"""
from __future__ import annotations

import argparse
import errno
import logging
import sys
from collections.abc import Sequence

from .._errors import CaprotoNetworkError
from .._log import config_caproto_logging
from ..sync.repeater import run

__all__ = ["main"]


def _parser() -> argparse.ArgumentParser:
    summary, details = (__doc__ or "").split("\n\n", 1)
    parser = argparse.ArgumentParser(
        prog="caproto-repeater", description=summary.partition(": ")[2], epilog=details
    )
    parser.add_argument(
        "--port", type=_port, help="UDP port to listen on (default: EPICS_CA_REPEATER_PORT or 5065)"
    )
    parser.add_argument(
        "-v", "--verbose", action="store_true",
        help="print which clients register and which are forgotten",
    )
    return parser


def _port(text: str) -> int:
    port = int(text)
    if not 0 < port < 65536:
        raise argparse.ArgumentTypeError(f"{text} is not between 1 and 65535")
    return port


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the tool.

    Parameters
    ----------
    arguments : sequence of str, optional
        Default: those of the process.

    Returns
    -------
    int
        Exit code; 0 also if a repeater runs already.
    """
    options = _parser().parse_args(arguments)
    level = logging.INFO if options.verbose else logging.WARNING
    config_caproto_logging(file=sys.stderr, level=level)
    try:
        run(port=options.port)
    except CaprotoNetworkError as exc:
        if exc.errno == errno.EADDRINUSE:
            if options.verbose:
                print(f"caproto-repeater: {exc.strerror}; a repeater runs already",
                      file=sys.stderr)
            return 0
        print(f"caproto-repeater: {exc.strerror}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
