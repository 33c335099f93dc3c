"""caproto-shark: print the Channel Access commands in a capture of network traffic."""
from __future__ import annotations

import sys

from .._catools.entry import entry
from .._typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import IO

    from .._catools.program import Tool
    from .._catools.settings import Settings
    from ..sync.shark import Seen

__all__ = ["main"]

_FORMAT = "{timestamp:.6f} {src}:{transport.sport}->{dst}:{transport.dport} {command!r}"


def _work(settings: Settings, words: list[str]) -> int:
    from contextlib import ExitStack

    from .._catools.messages import say
    from .._catools.more_options import extras_of
    from .._catools.options import UsageError
    from .._errors import CaprotoError
    from .._protocol.text import encode_text
    from ..sync.shark import shark

    if words[1:]:
        raise UsageError(f"Only one capture can be read, not '{words[1]}', too. {settings.hint}")
    given = extras_of(settings).given
    form = _checked(given.get("format", _FORMAT))
    ports = [int(port) for port in given.get("server-port", "").split()]
    with ExitStack() as stack:
        try:
            name = words[0] if words else "-"
            if name != "-":
                file: IO[bytes] = stack.enter_context(open(encode_text(name), "rb"))
            elif sys.stdin is None:
                raise OSError("standard input is closed")
            else:
                file = sys.stdin.buffer
            for seen in shark(file, server_ports=ports):
                print(_line(form, seen), flush=True)
        except BrokenPipeError:  # whoever reads this has seen enough
            raise
        except (CaprotoError, OSError) as error:
            say(f"{settings.tool}: {error}")
            return 1
    return 0


def _checked(template: str) -> str:
    """Return the template that the text of an option stands for."""
    from .._catools.options import UsageError
    from .._catools.template_text import read_template
    from ..sync.shark import Seen

    text, found = read_template(template)
    for braces in found:
        if braces.field.replace("[", ".").partition(".")[0] not in Seen._fields:
            raise UsageError(
                f"--format: {{{braces.field}}} is not a field; there are {', '.join(Seen._fields)}"
            )
        braces.check_widths()
    return text


def _line(template: str, seen: Seen) -> str:
    from .._catools.options import UsageError

    try:
        line = template.format(**seen._asdict())
    except (LookupError, AttributeError, TypeError, ValueError) as error:  # of this one only, maybe
        raise UsageError(f"--format: {seen.command!r}: {error}") from None
    if "\n" not in template:  # long commands are written on several lines
        line = " ".join(map(str.strip, line.splitlines()))
    return line


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
