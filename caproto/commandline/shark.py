"""caproto-shark: print the Channel Access commands in a capture of network traffic.

The capture (pcap or pcapng) comes from a file or from standard input:
sudo tcpdump -i any -w - | caproto-shark
"""
from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from contextlib import ExitStack

from .._errors import CaprotoError
from ..sync.shark import shark

__all__ = ["main"]

_FORMAT = "{timestamp:.6f} {src}:{transport.sport}->{dst}:{transport.dport} {command!r}"


def _parser() -> argparse.ArgumentParser:
    summary, details = (__doc__ or "").split("\n\n", 1)
    parser = argparse.ArgumentParser(
        prog="caproto-shark", description=summary.partition(": ")[2], epilog=details
    )
    parser.add_argument("file", nargs="?", default="-", help="the capture; - (default) for stdin")
    parser.add_argument(
        "--format", default=_FORMAT,
        help="Python format string with {timestamp}, {ethernet}, {ip}, {transport}, {src}, {dst} "
        f"and {{command}} (default: {_FORMAT})",
    )
    parser.add_argument(
        "--server-port", type=int, action="append", default=[], metavar="PORT",
        help="port of a server, besides 5064 and EPICS_CA_SERVER_PORT; may be repeated",
    )
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the tool.

    Parameters
    ----------
    arguments : sequence of str, optional
        Default: those of the process.

    Returns
    -------
    int
        Exit code.
    """
    options = _parser().parse_args(arguments)
    if sys.stdout is None:
        print("caproto-shark: standard output is closed", file=sys.stderr)
        return 1
    with ExitStack() as stack:
        try:
            file = (
                sys.stdin.buffer if options.file == "-"
                else stack.enter_context(open(options.file, "rb"))
            )
            for seen in shark(file, server_ports=options.server_port):
                line = options.format.format(**seen._asdict())
                if "\n" not in options.format:  # long commands are written on several lines
                    line = " ".join(map(str.strip, line.splitlines()))
                print(line, flush=True)
        except BrokenPipeError:  # whoever reads this has seen enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        except KeyboardInterrupt:
            pass
        except (CaprotoError, OSError) as error:
            print(f"caproto-shark: {error}", file=sys.stderr)
            return 1
        except (LookupError, AttributeError, ValueError) as error:
            print(f"caproto-shark: --format: {error!r}", file=sys.stderr)
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
