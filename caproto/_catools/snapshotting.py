"""The commands of caproto-snapshot: save, diff and restore."""
from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from reprlib import repr as short_repr
from typing import TYPE_CHECKING, TypeVar

from .._typing import NamedTuple
from .access import name_problem
from .interrupts import CleanUp
from .messages import say
from .more_options import extras_of
from .options import UsageError
from .reasons import in_shell_words
from .settings import Failed, Settings
from .sources import names_from

if TYPE_CHECKING:
    from .._errors import CaprotoError
    from ..threading.client import SnapshotDifference, TableSnapshot
    from .snapshots import SnapshotClient

__all__ = ["COMMANDS", "snapshot"]

T = TypeVar("T")


#: The options that each command has, beside those that all have.
COMMANDS = {
    "save": (),
    "diff": ("atol", "rtol", "with"),
    "restore": ("atol", "rtol", "all", "dry-run"),
}


class _Request(NamedTuple):
    """What a command line asks for."""

    command: str
    file: str
    names: list[str]
    #: The options that not every command has, and their arguments.
    given: Mapping[str, str]

    def tolerances(self) -> dict[str, float]:
        """Return the arguments of `TableSnapshot.diff`."""
        return {name: float(self.given.get(name, 0)) for name in ("atol", "rtol")}


# ---- the commands


def _save(client: SnapshotClient, request: _Request) -> int:
    if not request.names:
        raise Failed("Name the PVs to save.")
    names = [name for name in request.names if not name_problem(name)]
    for name in request.names:
        if name_problem(name):
            say(f"{short_repr(name)}: {name_problem(name)}")
    snap = client.read(names)
    _report(snap.errors)
    if not snap.ok.any():
        raise Failed(f"No PV could be read. {request.file} was not written.")
    _with_file(request.file, snap.save)
    print(f"{snap.ok.sum()} of {len(request.names)} PVs saved in {request.file}")
    return int(snap.ok.sum() < len(request.names))


def _diff(client: SnapshotClient, request: _Request) -> int:
    saved = _load(request.file, request.names)
    present = client.read(saved.names)
    _report(present.errors)
    return max(_compare(saved, present, request), int(bool(present.errors)))


def _diff_files(request: _Request) -> int:
    files = (request.file, request.given["with"])
    saved, present = (_load(path, request.names) for path in files)
    return _compare(saved, present, request)


def _compare(saved: TableSnapshot, present: TableSnapshot, request: _Request) -> int:
    found = saved.diff(present, **request.tolerances())
    print(_text(found))
    return int(bool(found))


def _restore(client: SnapshotClient, request: _Request) -> int:
    saved = _load(request.file, request.names)
    for name in _without_value(saved):
        say(f"{name!r}: {request.file} has no value of it")
    wanted = saved.select(_with_value(saved))
    if not wanted.names:
        raise Failed(f"{request.file} has no values. Nothing was written.")
    present = client.read(wanted.names)
    _report(present.errors)
    if not present.ok.any():
        raise Failed("No PV could be read. Nothing was written.")
    readable = _with_value(present)
    changes = present.select(readable).diff(saved.select(readable), **request.tolerances())
    names = readable if "all" in request.given else changes.names
    if "dry-run" in request.given:
        errors = client.refused({name: saved[name] for name in names})
        print(_text(changes))
        _report(errors)
        print(f"{len(names) - len(errors)} of {len(saved)} PVs would be written")
        return int(bool(errors) or len(readable) < len(saved))
    errors = client.write({name: saved[name] for name in names})
    print(_text(changes))  # after the write, which a reader that has gone does not prevent
    _report(errors)
    print(f"{len(names) - len(errors)} of {len(names)} PVs written from {request.file}")
    return int(bool(errors) or len(readable) < len(saved))


_WORK = {"save": _save, "diff": _diff, "restore": _restore}


def _with_value(snap: TableSnapshot) -> list[str]:
    return [name for name, ok in zip(snap, snap.ok, strict=True) if ok]


def _without_value(snap: TableSnapshot) -> list[str]:
    return [name for name, ok in zip(snap, snap.ok, strict=True) if not ok]


def _report(errors: Mapping[str, CaprotoError]) -> None:
    """Print what went wrong; each error names its PV."""
    for error in errors.values():
        say(in_shell_words(error))


def _text(found: SnapshotDifference) -> str:
    """Write differences: all of them, cut to the width of a terminal."""
    return found.to_text(os.get_terminal_size().columns if sys.stdout.isatty() else None)


def _load(path: str, names: Sequence[str]) -> TableSnapshot:
    """Read a file; only some of its PVs, if there are names."""
    from ..threading.client import TableSnapshot

    snap = _with_file(path, TableSnapshot.load)
    if not names:
        return snap
    unknown = [name for name in names if name not in snap]
    if unknown:
        files = [name for name in unknown if os.path.exists(name)]
        hint = f"; to compare two files, write --with {files[0]}" if files else ""
        raise Failed(f"{path} has no {', '.join(map(repr, unknown))}{hint}")
    return snap.select(names)


def _with_file(path: str, action: Callable[[str], T]) -> T:
    """Do something with a file; say so if the system does not let us."""
    try:
        return action(path)
    except OSError as error:
        raise Failed(f"{path}: {error.strerror or error}") from None


# ---- the command line


def snapshot(settings: Settings, words: list[str]) -> int:
    """Do what the command line says.

    Parameters
    ----------
    settings : Settings
    words : list of str
        A command, the file, and names of PVs.

    Returns
    -------
    int
        The exit status.
    """
    from .._client.snapshot_files import check_path

    request = _understood(settings, words)
    for path in filter(None, (request.file, request.given.get("with"))):
        check_path(path)
    if "with" in request.given:
        return _diff_files(request)
    from .._log import log_as_messages
    from ..threading.client import Context
    from .progress import Progress
    from .snapshots import SnapshotClient

    log_as_messages(settings.tool)
    with CleanUp(), Context() as context, Progress(sys.stderr) as progress:
        client = SnapshotClient(context, settings.patience, progress)
        return _WORK[request.command](client, request)


def _understood(settings: Settings, words: list[str]) -> _Request:
    """Find the command, the file and the names among the words."""
    extras = extras_of(settings)
    command, file = [*words, "", ""][:2]
    if command not in COMMANDS:
        raise UsageError(f"The first word must be save, diff or restore. {settings.hint}")
    if not file:
        raise UsageError(f"Name the file. {settings.hint}")
    for option in extras.given:
        if option not in COMMANDS[command]:
            raise UsageError(f"'{command}' has no option '--{option}'. {settings.hint}")
    names = dict.fromkeys([*words[2:], *names_from(extras.sources)])
    return _Request(command, file, list(names), extras.given)
