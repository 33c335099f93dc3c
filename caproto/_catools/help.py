"""The help of each tool: what it does, its options, and examples."""
from __future__ import annotations

import textwrap
from collections.abc import Mapping

from .options import Option, Options, spellings

__all__ = ["EXAMPLES", "help_text"]

_COLUMN, _WIDTH = 28, 100

#: Of each tool: command lines, and what they do.
EXAMPLES: Mapping[str, tuple[tuple[str, str], ...]] = {
    "caproto-get": (
        ("caproto-get -a PV1 PV2", "values with time stamps and alarms"),
        ("caproto-get --json PV | jq .value", "for programs"),
        ("caproto-get --partial --from names.txt", "all that are connected; the others are named"),
        ("caproto-get --wait-for '> 3' --duration 60 PV", "wait for a value, at most a minute"),
    ),
    "caproto-put": (
        ("caproto-put -c -w 60 PV 5", "wait until the server has finished"),
        ("caproto-put -a PV 3 1 2 3", "an array"),
        ("caproto-put --strict PV 5 || echo refused", "a status that can be relied on"),
        ("caproto-put --from saved.jsonl", "restore what 'caproto-get --json' has saved"),
    ),
    "caproto-monitor": (
        ("caproto-monitor PV1 PV2", "until Ctrl-C"),
        ("caproto-monitor --csv --duration 60 PV > log.csv", "a minute, into a table"),
        ("caproto-monitor --until 'severity >= MAJOR' PV", "end at the first major alarm"),
        ("caproto-monitor --quiet --stats --duration 10 PV", "how often it changes"),
    ),
    "caproto-info": (
        ("caproto-info PV", "type, server, access"),
        ("caproto-info --json PV", "units, limits and states, too"),
        ("caproto-info -s 1 PV", "the state of the client"),
    ),
    "caproto-snapshot": (
        ("caproto-snapshot save before.npz -f names.txt", "the values of all PVs in names.txt"),
        ("caproto-snapshot diff before.npz --rtol 0.01", "what has changed by more than 1 %"),
        ("caproto-snapshot restore before.npz --dry-run", "what would be written"),
        ("caproto-snapshot restore before.npz", "write what has changed"),
    ),
    "caproto-explain": (
        ("caproto-explain PV", "what was searched where, what answered, what to check"),
        ("caproto-explain -w 10 PV", "search for ten seconds first"),
    ),
}


def help_text(
    tool: str, name: str, usage: str, about: str, options: Options, more: Options
) -> str:
    """Write the help.

    Parameters
    ----------
    tool : str
        The tool.
    name : str
        What it is called, perhaps by a link.
    usage : str
        What follows the name; ``{tool}`` in it is replaced by the name.
    about : str
        What the tool does.
    options, more : mapping of str to Option
        Those of the EPICS tool, and the others.
    """
    lines = [f"Usage: {name} {usage.replace('{tool}', name)}", "", about]
    lines += ["", "Options:", *_rows(options)]
    if more:
        lines += ["", "Options that the EPICS tools do not have:", *_rows(more)]
    if tool in EXAMPLES:
        lines += ["", "Examples:"]
        for command, does in EXAMPLES[tool]:
            lines.append(f"  {command.replace(tool, name):<54} {does}")
    return "\n".join(lines)


def _rows(options: Options) -> list[str]:
    """Write a line for each option, or more if its meaning is long."""
    return [line for name, option in options.items() for line in _row(name, option)]


def _row(name: str, option: Option) -> list[str]:
    margin = "  " if len(name) == 1 else "      "
    left = f"{margin}{', '.join(spellings(name, option))} {option.argument}".rstrip()
    lines = textwrap.wrap(option.meaning, _WIDTH - _COLUMN - 1)
    if len(left) < _COLUMN:
        lines[0] = f"{left:<{_COLUMN}} {lines[0]}"
        return [lines[0], *(" " * (_COLUMN + 1) + line for line in lines[1:])]
    return [left, *(" " * (_COLUMN + 1) + line for line in lines)]
