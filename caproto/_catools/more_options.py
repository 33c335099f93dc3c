"""The options that the EPICS tools do not have: all are words, but for ``-v``.

Their values must be right: unlike the EPICS tools with theirs, the tools refuse the command line
otherwise.
"""
from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from .extras import Extras
from .options import Inquiry, Option, UsageError, flag
from .settings import Settings, parse_seconds

__all__ = [
    "EXPLAIN", "GET", "INFO", "MONITOR", "PUT", "REPEATER", "SHARK", "SNAPSHOT", "extras_of",
]

_SHELLS = ("bash", "zsh", "fish")
#: None: as it is on this terminal.
_COLOURS: Mapping[str, bool | None] = {"auto": None, "always": True, "never": False}
#: What is printed instead of lines, by the option for it.
_OUTPUTS: Mapping[str, str] = {"--json": "json", "--csv": "csv", "--format": "template"}
#: Options of which each excludes those of its line.
_EXCLUSIVE: Mapping[str, Sequence[str]] = {
    "json": ("csv", "format"),
    "csv": ("format",),
    "human": ("precise",),
    "utf8": ("ascii",),
    "partial": ("all-or-nothing",),
    "utc": ("time-zone",),
    "ago": ("utc", "time-zone", "time-format"),
}
_HIGHEST_VERBOSITY = 3
_MOST_DIGITS = 18


def extras_of(settings: Settings) -> Extras:
    """Return the extras of the settings, which have them from now on."""
    if settings.extras is None:
        settings.extras = Extras()
    return settings.extras


def _extra(attribute: str, value: object) -> Callable[[Settings, str], None]:
    """Make an action that sets an attribute of the extras."""
    return lambda settings, argument: setattr(extras_of(settings), attribute, value)


def _set_condition(settings: Settings, argument: str) -> None:
    if not argument:  # a variable of a script that is not set, perhaps: it must not go on at once
        raise UsageError(f"The condition is empty. {settings.hint}")
    extras_of(settings).condition = argument


def _set_output(option: str) -> Callable[[Settings, str], None]:
    """Make the action of an option that chooses what is printed instead of lines."""

    def apply(settings: Settings, argument: str) -> None:
        extras = extras_of(settings)
        extras.output, extras.output_option = _OUTPUTS[option], option
        extras.template = argument

    return apply


def _add_source(settings: Settings, argument: str) -> None:
    extras_of(settings).sources.append(argument)


def _give(name: str) -> Callable[[Settings, str], None]:
    """Make the action of an option that only one command has."""

    def apply(settings: Settings, argument: str) -> None:
        extras_of(settings).given[name] = argument

    return apply


def _is_whole(argument: str) -> bool:
    """Tell whether this is written in the digits 0 to 9."""
    return argument.isdecimal() and argument.isascii()


def _give_number(name: str) -> Callable[[Settings, str], None]:
    """Make the same of an option with a number of 0 or more."""

    def apply(settings: Settings, argument: str) -> None:
        try:
            number = float(argument)
        except ValueError:
            number = -1.0
        if not (number >= 0 and argument.isascii()):
            raise UsageError(f"--{name} must be a number of 0 or more, not {argument!r}.")
        extras_of(settings).given[name] = argument

    return apply


def _give_port(name: str) -> Callable[[Settings, str], None]:
    """Make the same of an option with the number of a port; several are put together."""

    def apply(settings: Settings, argument: str) -> None:
        if not (_is_whole(argument) and len(argument) <= 5 and 0 < int(argument) < 65536):
            raise UsageError(f"--{name} must be a number from 1 to 65535, not {argument!r}.")
        given = extras_of(settings).given
        given[name] = f"{given.get(name, '')} {argument}"

    return apply


def _check_word(option: str, argument: str, words: Sequence[str], settings: Settings) -> None:
    """Refuse an argument that is none of some words."""
    if argument not in words:
        choice = f"{', '.join(words[:-1])} or {words[-1]}"
        raise UsageError(f"--{option} must be {choice}, not {argument!r}. {settings.hint}")


def _set_updates(settings: Settings, argument: str) -> None:
    updates = int(argument) if _is_whole(argument) and len(argument) <= _MOST_DIGITS else 0
    if not updates:
        raise UsageError(
            f"--count must be a whole number from 1 on, of at most {_MOST_DIGITS} digits, "
            f"not {argument!r}. {settings.hint}"
        )
    extras_of(settings).updates = updates


def _set_duration(settings: Settings, argument: str) -> None:
    seconds = parse_seconds(argument)
    if not seconds:
        raise UsageError(
            f"--duration must be a number of seconds above 0, not {argument!r}. {settings.hint}"
        )
    extras_of(settings).duration = seconds


def _set_zone(settings: Settings, argument: str) -> None:
    from .moments import check_zone

    check_zone(argument)
    extras_of(settings).zone = argument


def _set_time_format(settings: Settings, argument: str) -> None:
    from .moments import check_time_format

    check_time_format(argument)
    extras_of(settings).time_format = argument


def _set_colour(settings: Settings, argument: str) -> None:
    _check_word("color", argument, tuple(_COLOURS), settings)
    colour = _COLOURS[argument]
    settings.colour = settings.colour if colour is None else colour


def _set_strict(settings: Settings, argument: str) -> None:
    extras_of(settings)
    settings.exact = settings.completion = True


def _increase_verbosity(settings: Settings, argument: str) -> None:
    settings.verbosity = min(settings.verbosity + 1, _HIGHEST_VERBOSITY)


def _ask_completion(settings: Settings, argument: str) -> None:
    _check_word("completion", argument, _SHELLS, settings)
    raise Inquiry(f"completion {argument}")


def _with_exclusions(options: Mapping[str, Option]) -> Mapping[str, Option]:
    """Make options refuse those that exclude them."""
    exclusive = {*_EXCLUSIVE, *(word for line in _EXCLUSIVE.values() for word in line)}
    return {
        word: option._replace(apply=_refuse(word, option.apply)) if word in exclusive else option
        for word, option in options.items()
    }


def _refuse(
    word: str, apply: Callable[[Settings, str], None]
) -> Callable[[Settings, str], None]:
    """Make the action of an option that first refuses what does not go together with it."""

    def check_and_apply(settings: Settings, argument: str) -> None:
        for other in settings.chosen:
            if word in _EXCLUSIVE.get(other, ()) or other in _EXCLUSIVE.get(word, ()):
                raise UsageError(f"--{other} and --{word} exclude each other. {settings.hint}")
        settings.chosen.append(word)
        apply(settings, argument)

    return check_and_apply


# ---- the tables: what several tools have

_COMMON = {
    "from": Option("FILE", "Take names from a file, too; - is standard input", _add_source),
    "strict": Option("", "Exit status 0: all done, 1: time was up, 2: failed", _set_strict),
    "v": Option(
        "", "Log to standard error: PVs and searches; -vv: circuits, too; -vvv: every command",
        _increase_verbosity, "verbose",
    ),
    "completion": Option(
        "SHELL", "Print what completes these options in bash, zsh or fish", _ask_completion
    ),
}
_PARTIAL = {
    "partial": Option("", "Go on with the PVs that are connected", _extra("partial", True)),
    "all-or-nothing": Option(
        "", "Do nothing unless all PVs are connected (default, but for --json and --csv)",
        _extra("partial", False),
    ),
}
_JSON = {"json": Option("", "Print one JSON object a line", _set_output("--json"))}
_OUTPUT = {
    **_JSON,
    "csv": Option("", "Print CSV with a line of titles", _set_output("--csv")),
    "format": Option(
        "TEMPLATE", "Print by a template, '{name} {value:.3f}'", _set_output("--format")
    ),
}
_VALUES = {
    "human": Option("", "Numbers with units, 1.67 GHz or 12,345", _extra("number_form", "human")),
    "precise": Option("", "Floating point without loss", _extra("number_form", "precise")),
    "utf8": Option("", "Print texts as they are (default on terminals)", flag("utf8", True)),
    "ascii": Option("", "Print escape sequences in texts, as in pipes", flag("utf8", False)),
    "color": Option("WHEN", "Alarms in colour: auto (on terminals), always, never", _set_colour),
}
_TIMES = {
    "utc": Option("", "Time stamps in UTC", _extra("zone", "UTC")),
    "time-zone": Option("ZONE", "Time stamps of a zone, Europe/Berlin", _set_zone),
    "time-format": Option("FORMAT", "Time stamps by strftime, '%H:%M:%S.%f'", _set_time_format),
    "ago": Option("", "Time stamps as what has passed since", _extra("age", True)),
}

# ---- the tools

GET = _with_exclusions({
    **_OUTPUT, **_PARTIAL,
    "wait-for": Option(
        "EXPRESSION", "Wait until it is true for all PVs: '> 3', 'state == \"Done\"'",
        _set_condition,
    ),
    "duration": Option("SECONDS", "Give up waiting for it after this time", _set_duration),
    **_VALUES, **_TIMES, **_COMMON,
})
MONITOR = _with_exclusions({
    "watch": Option(
        "", "Show a table on the whole screen; ? there lists its keys", flag("watch", True)
    ),
    **_OUTPUT,
    "count": Option("COUNT", "End after this number of updates", _set_updates),
    "duration": Option("SECONDS", "End after this time", _set_duration),
    "until": Option("EXPRESSION", "End when it is true for all PVs: '> 3'", _set_condition),
    "metadata": Option(
        "", "Print what changes of units, precision, limits, states", _extra("metadata", True)
    ),
    "stats": Option("", "Print rates and gaps at the end", _extra("statistics", True)),
    "quiet": Option("", "Print no values", _extra("quiet", True)),
    **_VALUES, **_TIMES, **_COMMON,
})
PUT = _with_exclusions({
    **_JSON,
    "partial": Option(
        "", "Write to those PVs that are connected and may be written", _extra("partial", True)
    ),
    "all-or-nothing": Option(
        "", "Write nothing unless all can be written (default)", _extra("partial", False)
    ),
    "quiet": Option("", "Print no values", _extra("quiet", True)),
    **_VALUES, **_TIMES, **_COMMON,
    "strict": Option(
        "", "Exit status 0: all done, 1: time was up, 2: failed; wait as with -c", _set_strict
    ),
    "from": Option("FILE", "Take lines 'NAME VALUE' or JSON from a file; - is stdin", _add_source),
})
INFO = _with_exclusions({
    **_JSON, **_PARTIAL,
    "all-or-nothing": _PARTIAL["all-or-nothing"]._replace(
        meaning="Do nothing unless all PVs are connected (default, but for --json)"
    ),
    **_COMMON,
})
EXPLAIN: Mapping[str, Option] = {**_JSON, **_COMMON}
REPEATER: Mapping[str, Option] = {
    "port": Option(
        "PORT", "UDP port (default: EPICS_CA_REPEATER_PORT or 5065)", _give_port("port")
    ),
    "v": Option(
        "", "Print which clients register and which are forgotten", _give("verbose"), "verbose"
    ),
}
SHARK: Mapping[str, Option] = {
    "format": Option(
        "FORMAT",
        "Python format string with {timestamp}, {ethernet}, {ip}, {transport}, {src}, {dst} and "
        "{command}",
        _give("format"),
    ),
    "server-port": Option(
        "PORT", "Of a server, besides 5064 and EPICS_CA_SERVER_PORT; may be repeated",
        _give_port("server-port"),
    ),
}
SNAPSHOT: Mapping[str, Option] = {
    "f": _COMMON["from"]._replace(word="from"),
    "atol": Option("NUMBER", "Smaller differences do not count", _give_number("atol")),
    "rtol": Option("NUMBER", "The same, relative to the value", _give_number("rtol")),
    "with": Option("FILE", "Compare with another file, not the present values", _give("with")),
    "all": Option("", "Also write what has its value already", _give("all")),
    "dry-run": Option("", "Print what would be written; write nothing", _give("dry-run")),
    "v": _COMMON["v"],
    "completion": _COMMON["completion"],
}
