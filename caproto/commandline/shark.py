"""caproto-shark: print the Channel Access commands in a capture of network traffic."""
from __future__ import annotations

import sys

from .._catools.entry import TYPE_CHECKING, entry

if TYPE_CHECKING:
    from .._catools.program import Tool
    from .._catools.settings import Settings

__all__ = ["main"]

_FORMAT = "{timestamp:.6f} {src}:{transport.sport}->{dst}:{transport.dport} {command!r}"


def _work(settings: Settings, words: list[str]) -> int:
    from contextlib import ExitStack

    from .._catools.more_options import extras_of
    from .._catools.options import UsageError
    from .._errors import CaprotoError
    from ..sync.shark import shark

    if words[1:]:
        raise UsageError(f"Only one capture can be read, not '{words[1]}', too. {settings.hint}")
    given = extras_of(settings).given
    form = given.get("format", _FORMAT)
    ports = [int(port) for port in given.get("server-port", "").split()]
    with ExitStack() as stack:
        try:
            name = words[0] if words else "-"
            file = sys.stdin.buffer if name == "-" else stack.enter_context(open(name, "rb"))
            for seen in shark(file, server_ports=ports):
                line = form.format(**seen._asdict())
                if "\n" not in form:  # long commands are written on several lines
                    line = " ".join(map(str.strip, line.splitlines()))
                print(line, flush=True)
        except BrokenPipeError:  # whoever reads this has seen enough
            raise
        except (CaprotoError, OSError) as error:
            print(f"{settings.tool}: {error}", file=sys.stderr)
            return 1
        except (LookupError, AttributeError, ValueError) as error:
            raise UsageError(f"--format: {error!r}. {settings.hint}") from None
    return 0


def _tool() -> Tool:
    from .._catools.more_options import SHARK
    from .._catools.options import HELP
    from .._catools.program import Tool

    return Tool(
        name="caproto-shark",
        usage="[options] [FILE]",
        about="Prints the Channel Access commands in a capture (pcap or pcapng) of network "
        "traffic.\n"
        "FILE is - (default) for standard input:  sudo tcpdump -i any -w - | caproto-shark\n"
        f"Each is printed by --format {_FORMAT!r}.",
        options={**HELP, **SHARK},
        work=_work,
        failed=2,
    )


main = entry(_tool)


if __name__ == "__main__":
    sys.exit(main())
