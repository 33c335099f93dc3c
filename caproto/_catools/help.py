"""The help of each tool: what it does, its options, and examples."""
from __future__ import annotations

import textwrap
from collections.abc import Mapping

from .options import Option, Options, spellings

__all__ = ["EXAMPLES", "help_text"]

_COLUMN, _WIDTH = 28, 79  # the last column of a terminal stays free

#: Of each tool: command lines, and what they print. Three dots stand for any text.
EXAMPLES: Mapping[str, str] = {
    "caproto-get": r"""
$ caproto-get alarms:pressure alarms:door
alarms:pressure                1
alarms:door                    Closed
$ caproto-get -t --human alarms:pressure
1 bar
$ caproto-get --format '{name}: {value:.2f} {units}' alarms:pressure
alarms:pressure: 1.00 bar
$ caproto-get --csv alarms:pressure alarms:door | cut -d , -f 2-5
name,value,units,severity
alarms:pressure,1.0,bar,NO_ALARM
alarms:door,Closed,,NO_ALARM
$ caproto-get --partial -w 1 alarms:door alarms:dor; echo "status $?"
alarms:door                    Closed
alarms:dor: not connected: searching for ... s at ...
status 1
$ caproto-get --wait-for 'state == "Closed"' --duration 60 alarms:door
alarms:door                    Closed
""",
    "caproto-put": r"""
$ caproto-put alarms:pressure 2.5
Old : alarms:pressure                1
New : alarms:pressure                2.5
$ caproto-put -c -w 60 -t alarms:door Open       # wait for the server
Open
$ caproto-put --quiet --strict alarms:temperature 5; echo "status $?"
alarms:temperature: no write access at ... (ECA_NOWTACCESS)
status 2
$ printf 'alarms:door Closed\nalarms:pressure 1\n' > values.txt
$ caproto-put --quiet --from values.txt
""",
    "caproto-monitor": r"""
$ caproto-monitor --count 1 alarms:pressure
alarms:pressure                20... 1...
$ caproto-monitor --count 1 --format '{name} {value} {units}' alarms:pressure
alarms:pressure 1 bar
$ caproto-monitor --quiet --until 'severity < MAJOR' alarms:door; echo $?
0
$ caproto-monitor --csv --count 1 alarms:temperature > log.csv
$ head -1 log.csv
time,name,value,units,severity,status,event,text
""",
    "caproto-info": r"""
$ caproto-info alarms:door
alarms:door
    State:            connected
    Host:             ...
    Access:           read, write
    Native data type: DBF_ENUM
    Request type:     DBR_ENUM
    Element count:    1
$ caproto-info --json alarms:door | grep -o '"enum_strings.*]'
"enum_strings": ["Closed", "Open"], ... ["read", "write"]
$ caproto-info --partial -w 0.5 alarms:dor; echo "status $?"
alarms:dor: not connected: searching for ... s at ...
status 1
""",
    "caproto-explain": r"""
$ caproto-explain alarms:door | head -1
'alarms:door': connected ...
$ caproto-explain -w 0.5 alarms:dor; echo "status $?"
'alarms:dor': searching for ... s
  search        searched ... times, ...
                by UDP to ...
  ...
  hints         ...
status 1
""",
    "caproto-snapshot": r"""
$ caproto-snapshot save before.npz alarms:pressure alarms:door
2 of 2 PVs saved in before.npz
$ caproto-put --quiet alarms:pressure 2.5
$ caproto-snapshot diff before.npz; echo "status $?"
1 of 2 PVs differ
name             before  after  difference
alarms:pressure  1.0     2.5    +1.5
status 1
$ caproto-snapshot restore before.npz --dry-run | tail -1
1 of 2 PVs would be written
$ caproto-snapshot restore before.npz | tail -1
1 of 1 PVs written from before.npz
""",
}
_AS_EPICS = """
Exit status: 0: done; 1: the command line is wrong, or a PV was not found; with
an option that the EPICS tools do not have, anything else that failed, too;
130: Ctrl-C."""
_OF_PUT = """
Exit status: 0: done; 1: the command line is wrong, or a PV was not found, the
write was denied, there is no such state, or the server refused (with -c); with
an option that the EPICS tools do not have, a late reply, too; 130: Ctrl-C."""
_STRICT = """
With --strict{more}: 0: all was done; 1: the time was up; 2: it failed."""
#: Of each tool: its exit statuses.
_STATUSES: Mapping[str, str] = {
    "caproto-get": _AS_EPICS + _STRICT.format(more=" or --wait-for"),
    "caproto-put": _OF_PUT + _STRICT.format(more="") + """
It then writes a value exactly as it is given, or nothing.""",
    "caproto-monitor": _AS_EPICS + _STRICT.format(more=" or --until"),
    "caproto-info": _AS_EPICS + _STRICT.format(more=""),
    "caproto-explain": """
Exit status: 0: all PVs are connected; 1: they are not, or the command line is
wrong (with --strict: 2); 130: Ctrl-C.""",
    "caproto-snapshot": """
Exit status: 0: all was done, nothing differs; 1: PVs are missing, could not
be written, or differ; 2: nothing was done; 130: Ctrl-C.""",
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
        lines.append(_STATUSES[tool])
        lines += ["", "Examples, with the IOC of 'python -m caproto.ioc_examples.alarms':"]
        lines.append(EXAMPLES[tool].replace(tool, name).rstrip())
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
