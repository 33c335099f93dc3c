"""Loggers: one tree of names, and the context of the object that logs on every record.

::

    caproto
     ├─ caproto.ch       one channel (PV): connection, values, access rights
     ├─ caproto.circ     one circuit: every command sent and received
     ├─ caproto.bcast    searches, replies and beacons
     └─ caproto.ctx      a Context: how many names are being searched, what is connected

Each PV, circuit, broadcaster and Context has a logger of its own below one of these, made by
`adapter` at its first use. Its level is its own: ``pv.log.setLevel('DEBUG')`` applies to
one PV and no other. It is deliberately not registered by name, so it goes with its object, and the
dots and braces of PV names mean nothing. A handler or filter that raises is reported on stderr and
disturbs nothing else, so everything here logs through such a logger.

The records carry, where known, the attributes ``pv`` (a name), ``our_address`` and
``their_address`` ((host, port)), ``direction`` (``'--->>>'`` what we send, ``'<<<---'`` what we
receive) and ``role`` (``'CLIENT'`` or ``'SERVER'``); the filters here select by them.

If the program configures no logging at all, what passes the levels is printed on stderr. As soon as
any other handler is in place, here or at the root, this module prints nothing.

Hot code asks `isEnabledFor` and `turned_up` once per chunk of data, never once per message.
"""
from __future__ import annotations

import contextlib
import fnmatch
import logging
import sys
import threading
import weakref
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final, Literal, NoReturn, TextIO

from ._errors import CaprotoTypeError, CaprotoValueError
from ._numbers import whole

__all__ = [
    "AddressFilter",
    "LogAllowance",
    "LogFormatter",
    "ObjectLogger",
    "PVFilter",
    "RoleFilter",
    "adapter",
    "color_logs",
    "config_caproto_logging",
    "get_handler",
    "set_handler",
]

ROOT_LOGGER: Final = "caproto"
CHANNEL_LOGGER: Final = "caproto.ch"
CIRCUIT_LOGGER: Final = "caproto.circ"
SEARCH_LOGGER: Final = "caproto.bcast"
CONTEXT_LOGGER: Final = "caproto.ctx"

#: How `direction` is shown for what we send and for what we receive.
SENT: Final = "--->>>"
RECEIVED: Final = "<<<---"


class ObjectLogger(logging.Logger):
    """The logger of one object; made by `adapter`.

    Its records carry the context that it was made with, overridden by the ``extra`` of the single
    call. Its level, handlers and filters are its own; records go on to the parent's handlers.
    """

    def __init__(self, parent: logging.Logger, context: Mapping[str, object]) -> None:
        super().__init__(parent.name)
        self.parent: logging.Logger = parent
        #: The context of all records; may be extended.
        self.context = dict(context)

    def setLevel(self, level: int | str) -> None:
        super().setLevel(level)
        reference = weakref.ref(self, turned_up.discard)
        if 0 < self.level <= logging.DEBUG:
            turned_up.add(reference)
        else:
            turned_up.discard(reference)

    def isEnabledFor(self, level: int) -> bool:
        # Loggers keep a cache of answers that is cleared through the list of registered loggers,
        # where we are not. The parent's answer is cached and kept right, so we ask it.
        if self.disabled:
            return False
        if not self.level:
            return self.parent.isEnabledFor(level)
        return level >= self.level and level > self.manager.disable

    def makeRecord(
        self,
        name: str,
        level: int,
        fn: str,
        lno: int,
        msg: object,
        args: Any,
        exc_info: Any,
        func: str | None = None,
        extra: Mapping[str, object] | None = None,
        sinfo: str | None = None,
    ) -> logging.LogRecord:
        context = {**self.context, **extra} if extra else self.context
        return super().makeRecord(
            name, level, fn, lno, msg, args, exc_info, func, context, sinfo
        )

    def handle(self, record: logging.LogRecord) -> None:
        # Handlers and filters are the user's. One that fails must not end what was being reported,
        # nor the thread that did it; `logging` reports it on stderr, as usual.
        try:
            super().handle(record)
        except BaseException as error:
            if _stops_the_program(error):
                raise
            with contextlib.suppress(Exception):  # stderr may be closed
                _last_resort.handleError(record)

    def __repr__(self) -> str:
        context = " ".join(f"{key}={_shown(value)}" for key, value in self.context.items())
        level = logging.getLevelName(self.getEffectiveLevel())
        return f"<{type(self).__name__} {self.name} {context} ({level})>"

    def __reduce__(self) -> NoReturn:
        raise CaprotoTypeError("the logger of a single object cannot be pickled")


def _stops_the_program(error: BaseException) -> bool:
    """Tell whether *error* is Ctrl-C or an exit in the main thread, which we do not hold up."""
    in_main_thread = threading.current_thread() is threading.main_thread()
    return in_main_thread and not isinstance(error, Exception)


#: Weak references to the loggers of single objects that have DEBUG as their own level. Mostly there
#: are none, and then nothing needs to be looked for.
turned_up: Final[set[weakref.ref[ObjectLogger]]] = set()


def adapter(name: str, **extra: object) -> ObjectLogger:
    """Make a logger for one object, under the logger *name*; its records carry *extra*.

    Parameters
    ----------
    name : str
        One of the five names of the tree, for example ``'caproto.ch'``.
    **extra
        The context of the records: ``pv``, ``our_address``, ``their_address``, ``direction``,
        ``role``.

    Returns
    -------
    ObjectLogger
        A `logging.Logger` with a level of its own. Asking it whether a level is enabled costs about
        what it costs any logger; it is not registered, so it is collected with its owner.
    """
    return ObjectLogger(logging.getLogger(name), extra)


class LogAllowance:
    """Limits the lines that are logged about one kind of event, and counts the others.

    Parameters
    ----------
    lines : int
        How many in a period.
    period : float
        Its length in seconds.
    """

    __slots__ = ("_left", "_lines", "_period", "_until", "_withheld")

    def __init__(self, lines: int, period: float = 60.0) -> None:
        self._lines = self._left = lines
        self._period = period
        self._until = 0.0
        self._withheld = 0

    def take(self, now: float) -> int | None:
        """Take one line.

        Returns
        -------
        int or None
            How many events were not logged since the last line; None if this one is not to be
            logged either.
        """
        if now >= self._until:
            self._left, self._until = self._lines, now + self._period
        if not self._left:
            self._withheld += 1
            return None
        self._left -= 1
        withheld, self._withheld = self._withheld, 0
        return withheld


def _shown(value: object) -> str:
    """Write a fact for people: addresses as host:port."""
    if isinstance(value, tuple) and len(value) == 2:
        return f"{value[0]}:{value[1]}"
    return str(getattr(value, "name", value))


def _is_in(message: str, value: object) -> bool:
    """Tell whether a message has this fact already; a name must be in quotes there."""
    return (repr(value) if isinstance(value, str) else _shown(value)) in message


class LogFormatter(logging.Formatter):
    """One line per record, the context before the message.

    ``[D 20:01:02.123 ch] x 10.0.0.3:5064 --->>> ReadNotifyRequest(…)``

    What the message has already is not repeated: the name of a PV in quotes, an address.

    Parameters
    ----------
    fmt : str, optional
        Another form of the line, as for `logging.Formatter`. ``color`` and ``end_color`` are
        attributes of the record, for the part that is to be coloured.
    datefmt : str
        As for `time.strftime`; milliseconds are added to the line shown above.
    style : str
        Of *fmt*: ``'%'``, ``'{'`` or ``'$'``.
    color : bool
        Colour the part in brackets by level, with the escape sequences of terminals.
    colors : mapping of int to int, optional
        Number of the colour of each level: 1 red, 2 green, 3 yellow, 4 blue, 5 magenta, 6 cyan.
    """

    FACTS: tuple[str, ...] = ("pv", "our_address", "direction", "their_address", "role")
    COLORS: Mapping[int, int] = {
        logging.DEBUG: 4,
        logging.INFO: 2,
        logging.WARNING: 3,
        logging.ERROR: 1,
        logging.CRITICAL: 5,
    }
    RESET = "\x1b[0m"

    def __init__(
        self,
        fmt: str | None = None,
        datefmt: str = "%H:%M:%S",
        style: Literal["%", "{", "$"] = "%",
        color: bool = False,
        colors: Mapping[int, int] | None = None,
    ) -> None:
        own = fmt is None
        super().__init__("%(message)s" if own else fmt, datefmt, "%" if own else style)
        self.own = own
        self.color = color
        self.colors = self.COLORS if colors is None else dict(colors)

    def format(self, record: logging.LogRecord) -> str:
        number = self.colors.get(record.levelno) if self.color else None
        start, end = ("", "") if number is None else (f"\x1b[3{number}m", self.RESET)
        if self.own:
            return self._own_line(record, start, end)
        vars(record).update(color=start, end_color=end)
        return super().format(record)

    def _own_line(self, record: logging.LogRecord, start: str, end: str) -> str:
        message = super().format(record)
        values = [getattr(record, fact, None) for fact in self.FACTS]
        # Messages have names and addresses, too, for handlers of other kinds.
        facts = [_shown(value) for value in values if value and not _is_in(message, value)]
        return self._joined(self._label(record, start, end), facts, message)

    def _joined(self, label: str, facts: list[str], message: str) -> str:
        return " ".join([label, *facts, message])

    def _label(self, record: logging.LogRecord, start: str, end: str) -> str:
        return (
            f"{start}[{record.levelname[:1]} {self.formatTime(record, self.datefmt)}."
            f"{int(record.msecs):03d} {record.name.removeprefix('caproto.')}]{end}"
        )


class _MessageFormatter(LogFormatter):
    """One line per record, as a message of a program: ``caproto-get: x: Not sent: …``."""

    FACTS = ("pv", "their_address")

    def __init__(self, program: str) -> None:
        super().__init__()
        self._program = program

    def _label(self, record: logging.LogRecord, start: str, end: str) -> str:
        return f"{self._program}:"

    def _joined(self, label: str, facts: list[str], message: str) -> str:
        return super()._joined(label, [f"{' '.join(facts)}:"] if facts else [], message)


if TYPE_CHECKING:
    _TextHandler = logging.StreamHandler[TextIO]
else:
    _TextHandler = logging.StreamHandler  # before Python 3.11 it takes no parameter


class _LastResort(_TextHandler):
    """Prints the records for which the program has configured no handler."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)  # StreamHandler's would fix the stream; ours is looked up

    @property
    def stream(self) -> TextIO:  # type: ignore[override]
        return sys.stderr

    def emit(self, record: logging.LogRecord) -> None:
        logger: logging.Logger | None = logging.getLogger(record.name)
        while logger is not None:
            if any(handler is not self for handler in logger.handlers):
                return
            logger = logger.parent if logger.propagate else None
        # Daemons have none; that of a test runner may be gone while a thread still logs.
        if sys.stderr is not None and not getattr(sys.stderr, "closed", False):
            super().emit(record)


_last_resort = _LastResort()
_last_resort.setFormatter(LogFormatter())
logging.getLogger(ROOT_LOGGER).addHandler(_last_resort)

_configured: list[logging.Handler] = []


def log_as_messages(program: str) -> None:
    """Have records for which no handler is configured printed as messages of a program."""
    _last_resort.setFormatter(_MessageFormatter(program))


def config_caproto_logging(
    file: TextIO | str | None = None,
    datefmt: str = "%H:%M:%S",
    color: bool = True,
    level: str | int = "WARNING",
) -> logging.Handler:
    """Print caproto's log; a second call replaces what the first one set up.

    Parameters
    ----------
    file : file-like or str, optional
        Where to: an open text stream, or the name of a file to append to. Default: stdout.
    datefmt : str
        As for `time.strftime`.
    color : bool
        Whether to use colours, if the stream is a terminal.
    level : str or int
        Level of the logger ``caproto``. The handler itself lets everything pass, so that single
        objects can be turned up: ``pv.log.setLevel('DEBUG')``.

    Returns
    -------
    logging.Handler
        Now a handler of the logger ``caproto``; filters like `PVFilter` may be added to it.

    Raises
    ------
    CaprotoValueError
        If *level* is not a level.
    """
    number = _level_number(level)
    handler: logging.Handler
    if isinstance(file, str):
        handler = logging.FileHandler(file)
        color = False
    else:
        stream = sys.stdout if file is None else file
        handler = logging.StreamHandler(stream)
        color = color and bool(getattr(stream, "isatty", bool)())
    handler.setFormatter(LogFormatter(datefmt=datefmt, color=color))
    logger = logging.getLogger(ROOT_LOGGER)
    while _configured:
        old = _configured.pop()
        logger.removeHandler(old)
        old.close()
    logger.addHandler(handler)
    logger.setLevel(number)
    _configured.append(handler)
    return handler


#: The older name of `config_caproto_logging`.
set_handler = config_caproto_logging


def get_handler() -> logging.Handler:
    """Return the handler of `config_caproto_logging`, or the one that prints until it is called."""
    return _configured[-1] if _configured else _last_resort


def color_logs(color: bool) -> None:
    """Turn the colours of `get_handler` on or off, whether it prints on a terminal or not."""
    formatter = get_handler().formatter
    if isinstance(formatter, LogFormatter):
        formatter.color = color


def _level_number(level: str | int) -> int:
    try:
        return whole(logging.getLevelName(level.upper()) if isinstance(level, str) else level)
    except TypeError:
        raise CaprotoValueError(
            f"{level!r} is not a logging level; use 'DEBUG', 'INFO', 'WARNING', 'ERROR', "
            "'CRITICAL' or a number"
        ) from None


class _FactFilter(logging.Filter):
    """Passes records about what is wanted, and all records at or above a level."""

    def __init__(self, level: str | int, exclusive: bool) -> None:
        super().__init__()
        self.levelno = _level_number(level)
        self.exclusive = exclusive

    def facts(self, record: logging.LogRecord) -> Iterable[object]:
        """Return what the record says about our subject; nothing if it is about something else."""
        raise NotImplementedError

    def wanted(self, fact: object) -> bool:
        """Tell whether this is one of those that the user asked for."""
        raise NotImplementedError

    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno >= self.levelno:
            return True
        facts = [fact for fact in self.facts(record) if fact is not None]
        return any(map(self.wanted, facts)) if facts else not self.exclusive


class PVFilter(_FactFilter):
    """Pass the records about some PVs.

    Parameters
    ----------
    *names : str
        PV names; ``*``, ``?`` and ``[…]`` match as in file names.
    level : str or int
        Records at or above this level pass always.
    exclusive : bool
        Whether records that are about no PV at all are suppressed. By default they pass.
    """

    def __init__(self, *names: str, level: str | int = "WARNING", exclusive: bool = False) -> None:
        super().__init__(level, exclusive)
        self.names = names

    def facts(self, record: logging.LogRecord) -> Iterable[object]:
        return (getattr(record, "pv", None),)

    def wanted(self, fact: object) -> bool:
        return any(fnmatch.fnmatchcase(str(fact), name) for name in self.names)


class AddressFilter(_FactFilter):
    """Pass the records about some addresses, ours or the peer's.

    Parameters
    ----------
    *addresses : str or (str, int)
        A host alone (``'10.0.0.3'``), or ``'10.0.0.3:5064'``, or ``('10.0.0.3', 5064)``; the
        wildcards of file names are understood in texts.
    level, exclusive
        As for `PVFilter`.
    """

    def __init__(
        self,
        *addresses: str | tuple[str, int],
        level: str | int = "WARNING",
        exclusive: bool = False,
    ) -> None:
        super().__init__(level, exclusive)
        self.patterns = tuple(map(_pattern, addresses))

    def facts(self, record: logging.LogRecord) -> Iterable[object]:
        return (getattr(record, "our_address", None), getattr(record, "their_address", None))

    def wanted(self, fact: object) -> bool:
        whole = _shown(fact)
        return any(
            fnmatch.fnmatchcase(whole if ":" in pattern else whole.partition(":")[0], pattern)
            for pattern in self.patterns
        )


def _pattern(address: object) -> str:
    match address:
        case str():
            return address
        case (str() as host, int() as port):
            return f"{host}:{port}"
    raise CaprotoTypeError(f"addresses must be 'host:port' or (host, port), not {address!r}")


class RoleFilter(_FactFilter):
    """Pass the records of one role.

    Parameters
    ----------
    role : Role or str
        ``CLIENT`` or ``SERVER``, or its name in any case.
    level, exclusive
        As for `PVFilter`.
    """

    def __init__(
        self, role: object, *, level: str | int = "WARNING", exclusive: bool = False
    ) -> None:
        super().__init__(level, exclusive)
        self.role = _shown(role).upper()

    def facts(self, record: logging.LogRecord) -> Iterable[object]:
        return (getattr(record, "role", None),)

    def wanted(self, fact: object) -> bool:
        return _shown(fact).upper() == self.role
