"""The options of the tools: one table entry each, and the reading of a command line by a table."""
from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence

from .._protocol.dbr import SubscriptionType
from .._typing import NamedTuple
from .messages import say
from .settings import Complaint, Settings, parse_seconds
from .statuses import FAILED
from .typenames import TYPE_NUMBERS

__all__ = [
    "CONNECTION", "COUNT", "ENUM", "GET_FORMS", "HELP", "INTEREST", "MONITORING", "NUMBERS",
    "PUT_FORMS", "SEPARATOR", "TEXT",
    "Inquiry", "Option", "Options", "UsageError", "parse", "refusing", "spellings",
]

_HIGHEST_PRIORITY, _HIGHEST_PRECISION = 99, 18
#: A number with more digits is beyond every limit anyway, and Python refuses to read thousands.
_MOST_DIGITS = 20
_MASKS = {
    "v": SubscriptionType.DBE_VALUE,
    "a": SubscriptionType.DBE_ALARM,
    "l": SubscriptionType.DBE_LOG,
    "p": SubscriptionType.DBE_PROPERTY,
}


class UsageError(Exception):
    """The command line cannot be read."""

    #: The exit status where it must be exact; else it is 1.
    status = FAILED


class Inquiry(Exception):
    """The user wants a text ('help' or 'version') instead of the work."""


class Option(NamedTuple):
    """An option of a tool."""

    #: What the help calls its argument; empty if it has none.
    argument: str
    meaning: str
    #: Called with the settings and the argument. Raises `Complaint` for an invalid one.
    apply: Callable[[Settings, str], None]
    #: Its long name, without the dashes, if the table has it by its letter.
    word: str = ""


Options = Mapping[str, Option]


def spellings(name: str, option: Option) -> list[str]:
    """Return how an option of a table is typed: ``-w`` and ``--timeout``."""
    if len(name) > 1:
        return [f"--{name}"]
    return [f"-{name}", *([f"--{option.word}"] if option.word else [])]


# ---- reading a command line


def parse(
    settings: Settings,
    options: Options,
    arguments: Sequence[str],
    *,
    anywhere: bool,
    more: Callable[[], Options] = dict,
) -> list[str]:
    """Apply the options in *arguments*; return the other words.

    Parameters
    ----------
    settings : Settings
    options : mapping of str to Option
        By letter, or by word for those that begin with ``--``.
    arguments : sequence of str
    anywhere : bool
        Whether options are also accepted after other words.
    more : callable, optional
        Returns further options; called when an option is not among the first ones.

    Raises
    ------
    UsageError
        An option is unknown, or lacks its argument.
    """
    words: list[str] = []
    left = iter(arguments)
    for word in left:
        if word == "--":
            break
        if len(word) < 2 or not word.startswith("-"):
            words.append(word)
            if not anywhere:
                words += left
                _check_no_option(settings, options, more, words)
                break
            continue
        if word.startswith("--"):
            _apply_long(settings, options, more, word, left)
        else:
            _apply_letters(settings, options, more, word[1:], left)
    return words + list(left)


def _apply_letters(
    settings: Settings,
    options: Options,
    more: Callable[[], Options],
    letters: str,
    left: Iterator[str],
) -> None:
    """Apply options in one word; the last of them may have its argument there, or in the next."""
    while letters:
        letter, letters = letters[0], letters[1:]
        option = options.get(letter) or more().get(letter)
        if option is None:
            raise UsageError(f"Unrecognized option: '-{letter}'. {settings.hint}")
        argument = ""
        if option.argument:
            argument, letters = letters or _next(f"-{letter}", left, settings), ""
        _apply(settings, option, argument)


def _apply_long(
    settings: Settings,
    options: Options,
    more: Callable[[], Options],
    word: str,
    left: Iterator[str],
) -> None:
    name, equals, argument = word[2:].partition("=")
    option = _by_word(options, name) or _by_word(more(), name)
    if option is None or (equals and not option.argument):
        raise UsageError(f"Unrecognized option: '{word}'. {settings.hint}")
    if option.argument and not equals:
        argument = _next(f"--{name}", left, settings)
    _apply(settings, option, argument)


def _check_no_option(
    settings: Settings, options: Options, more: Callable[[], Options], words: Sequence[str]
) -> None:
    """Warn of long options among the words that stand for a value; exactly, refuse them."""
    for word in words:
        name = word[2:].partition("=")[0] if word.startswith("--") else ""
        if name and (_by_word(options, name) or _by_word(more(), name)):
            problem = f"'{word}' is part of the value: options must stand before the PV"
            if settings.exact:
                raise UsageError(f"{problem} (or -- before it, to write this). {settings.hint}")
            say(f"Warning: {problem}.")


def _by_word(options: Options, name: str) -> Option | None:
    """Find an option by its long name."""
    if len(name) > 1 and name in options:
        return options[name]
    return next((one for one in options.values() if one.word and one.word == name), None)


def _next(option: str, left: Iterator[str], settings: Settings) -> str:
    argument = next(left, None)
    if argument is None:
        raise UsageError(f"Option '{option}' requires an argument. {settings.hint}")
    return argument


def _apply(settings: Settings, option: Option, argument: str) -> None:
    try:
        option.apply(settings, argument)
    except Complaint as complaint:
        if settings.exact:  # the status will say whether all was done as it was asked for
            raise UsageError(f"{complaint.problem}. {settings.hint}") from None
        say(complaint)


def refusing(options: Options) -> Options:
    """Make options refuse wrong values, for a tool that is not modelled on one of EPICS."""
    return {
        name: option._replace(apply=_apply_exactly(option)) for name, option in options.items()
    }


def _apply_exactly(option: Option) -> Callable[[Settings, str], None]:
    def apply(settings: Settings, argument: str) -> None:
        exact, settings.exact = settings.exact, True
        try:
            _apply(settings, option, argument)
        finally:
            settings.exact = exact

    return apply


# ---- what options do


def _leading_number(text: str, settings: Settings) -> int | None:
    """Return the number that *text* begins with, as C does; all of it if it must be exact."""
    find = re.fullmatch if settings.exact else re.match
    found = find(r"\s*([+-]?[0-9]+)", text)
    return int(found[1][:_MOST_DIGITS]) if found else None


def _set_wait(settings: Settings, argument: str) -> None:
    seconds = parse_seconds(argument)
    if seconds is None:
        raise Complaint(
            f"'{argument}' is not a valid timeout value",
            f" - ignored, using '{settings.timeout:.1f}'. {settings.hint}",
        )
    settings.timeout = seconds


def _set_priority(settings: Settings, argument: str) -> None:
    number = _leading_number(argument, settings)
    if number is None:
        raise Complaint(
            f"'{argument}' is not a valid CA priority", f" - ignored. {settings.hint}"
        )
    if not 0 <= number <= _HIGHEST_PRIORITY:
        if settings.exact:
            raise UsageError(
                f"A CA priority is 0 to {_HIGHEST_PRIORITY}, not {argument}. {settings.hint}"
            )
        number = _HIGHEST_PRIORITY
    settings.priority = number


def _set_count(settings: Settings, argument: str) -> None:
    """Set the number of elements to read."""
    number = _leading_number(argument, settings)
    if number is None or number < 0:
        raise Complaint(
            f"'{argument}' is not a valid array element count", f" - ignored. {settings.hint}"
        )
    settings.count = number


def _set_interest(settings: Settings, argument: str) -> None:
    number = _leading_number(argument, settings)
    if number is None:
        raise Complaint(
            f"'{argument}' is not a valid interest level", f" - ignored. {settings.hint}"
        )
    settings.interest = number


def _set_enum_input(kind: str) -> Callable[[Settings, str], None]:
    def apply(settings: Settings, argument: str) -> None:
        settings.enum_input = kind
        settings.enum_as_number = kind == "number"

    return apply


def set_form(form: str) -> Callable[[Settings, str], None]:
    """Make the action of an option for one of caget's forms, which exclude each other."""

    def apply(settings: Settings, argument: str) -> None:
        other = settings.form != "plain"
        settings.form = form
        if other:
            raise Complaint("Options t,d,a are mutually exclusive", f". {settings.hint}")

    return apply


def _set_type(settings: Settings, argument: str) -> None:
    """Set the type to read, by name or number, and the form that shows everything of it."""
    number = TYPE_NUMBERS.get(argument.removeprefix("DBR_"))
    if number is None:
        number = _leading_number(argument, settings)
    if number not in TYPE_NUMBERS.values():
        raise Complaint(
            "Requested dbr type out of range or invalid", f" - ignored. {settings.hint}"
        )
    settings.data_type = number
    set_form("typed")(settings, argument)


def _set_precision(letter: str) -> Callable[[Settings, str], None]:
    def apply(settings: Settings, argument: str) -> None:
        number = _leading_number(argument, settings)
        if number is None:
            raise Complaint(
                f"Invalid precision argument '{argument}' for option '-{letter}'", " - ignored."
            )
        if not 0 <= number <= _HIGHEST_PRECISION:
            raise Complaint(
                f"Precision {number} for option '-{letter}' out of range", " - ignored."
            )
        settings.float_format = f"%.{number}{letter}"

    return apply


def _set_float_base(settings: Settings, argument: str) -> None:
    settings.float_base = _base("l", argument)


def _set_integer_base(settings: Settings, argument: str) -> None:
    settings.integer_base = _base("0", argument)
    settings.data_type = TYPE_NUMBERS["LONG"]  # of the form 'typed', until a later option


def _base(letter: str, argument: str) -> str:
    if argument not in ("x", "o", "b"):
        raise Complaint(f"Invalid argument '{argument}' for option '-{letter}'", " - ignored.")
    return argument


def _set_separator(settings: Settings, argument: str) -> None:
    if settings.exact and len(argument) > 1:
        raise UsageError(f"The separator is one character, not {argument!r}. {settings.hint}")
    settings.separator = argument[:1] or "\0"


def _set_mask(settings: Settings, argument: str) -> None:
    mask = SubscriptionType(0)
    for letter in argument:
        if letter not in _MASKS:
            raise Complaint(f"Invalid argument '{argument}' for option '-m'", " - ignored.")
        mask |= _MASKS[letter]
    settings.mask = mask or settings.mask


def _set_timestamps(settings: Settings, argument: str) -> None:
    settings.timestamps = "".join(letter for letter in argument if letter in "scriI")
    if set(argument) - set("scnriI"):
        raise Complaint(f"Invalid argument '{argument}' for option '-t'", " - ignored.")


def flag(attribute: str, value: object) -> Callable[[Settings, str], None]:
    """Make an action that sets an attribute."""
    return lambda settings, argument: setattr(settings, attribute, value)


def _ask(for_what: str) -> Callable[[Settings, str], None]:
    """Make the action of an option that asks for a text instead of the work."""

    def apply(settings: Settings, argument: str) -> None:
        raise Inquiry(for_what)

    return apply


# ---- the tables: what several tools have

HELP = {
    "h": Option("", "Print this help", _ask("help"), "help"),
    "V": Option("", "Print the version", _ask("version"), "version"),
}
CONNECTION = {
    "w": Option("SECONDS", "Time to wait, 0: without end (default: 1)", _set_wait, "timeout"),
    "p": Option("PRIORITY", "Of the connection, 0 to 99 (default: 0)", _set_priority, "priority"),
}
COUNT = {
    "#": Option("COUNT", "Read this many elements, print their number", _set_count, "elements"),
}
ENUM = {
    "n": Option("", "Print the number of a state", flag("enum_as_number", True), "state-number"),
}
TEXT = {"S": Option("", "Print an array of CHAR as text", flag("char_as_text", True), "text")}
NUMBERS = {
    "e": Option("DIGITS", "Floating point as %e, this precision", _set_precision("e"), "exponent"),
    "f": Option("DIGITS", "Floating point as %f, this precision", _set_precision("f"), "fixed"),
    "g": Option("DIGITS", "Floating point as %g, this precision", _set_precision("g"), "general"),
    "s": Option(
        "", "Floating point as the server writes it", flag("float_as_string", True), "server-text"
    ),
    "l": Option(
        "BASE", "Floating point rounded: x (hex), o (octal), b (binary)", _set_float_base, "rounded"
    ),
    "0": Option("BASE", "Integers: x (hex), o (octal), b (binary)", _set_integer_base, "integers"),
}
SEPARATOR = {
    "F": Option("CHARACTER", "Separate fields by it (default: blank)", _set_separator, "separator"),
}

# ---- what only one tool has

GET_FORMS = {
    "t": Option("", "Print the value without the name", set_form("terse"), "terse"),
    "a": Option("", "Print time stamp and alarm, too", set_form("wide"), "wide"),
    "d": Option("TYPE", "Read this type (a name or number), print all of it", _set_type, "type"),
    "c": Option("", "Ask for the elements that are filled", flag("asynchronous", True), "filled"),
}
MONITORING = {
    "m": Option(
        "MASK", "Which changes: v (value), a (alarm), l (log), p (property)", _set_mask, "mask"
    ),
    "t": Option(
        "STAMPS",
        "Time stamps: s (server), c (client), n (none); with s or c also r: since the first, "
        "i: since the previous, I: since that of the same PV",
        _set_timestamps,
        "stamps",
    ),
}
PUT_FORMS = {
    "c": Option("", "Wait until the server has finished", flag("completion", True), "wait"),
    "t": Option("", "Print only the new value", flag("form", "terse"), "terse"),
    "l": Option("", "Print time stamp and alarm, too", flag("form", "wide"), "wide"),
    "n": Option(
        "", "A state is given by its number, and printed so", _set_enum_input("number"),
        "state-number",
    ),
    "s": Option("", "A state is given by its name", _set_enum_input("name"), "state-name"),
    "S": Option("", "Write text to an array of CHAR", flag("char_as_text", True), "text"),
    "a": Option("", "Write an array: size (ignored), elements", flag("array_input", True), "array"),
}
INTEREST = {
    "s": Option("LEVEL", "Print internals, the more the higher", _set_interest, "internals"),
}
