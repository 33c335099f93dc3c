"""Settings: what a command line asks for; the defaults are those of the EPICS tools."""
from __future__ import annotations

import os

from .._protocol.dbr import SubscriptionType
from .._typing import TYPE_CHECKING
from .messages import say
from .statuses import FAILED, TIMED_OUT

if TYPE_CHECKING:  # most command lines ask for nothing of it
    from .extras import Extras

__all__ = ["Complaint", "Failed", "Settings", "TimeUp", "parse_seconds"]

#: Seconds to wait if neither option nor environment says otherwise, and the variable for it.
_TIMEOUT, _TIMEOUT_VARIABLE = 1.0, "EPICS_CLI_TIMEOUT"


class Complaint(Exception):
    """A wrong value of an option: it is printed, the option ignored, the work done.

    Parameters
    ----------
    problem : str
        What is wrong.
    ending : str
        How the message ends where the option is ignored, which it says.
    """

    def __init__(self, problem: str, ending: str) -> None:
        super().__init__(problem + ending)
        self.problem = problem


class Failed(Exception):
    """The work is over, with this message; an empty one if all has been reported."""

    #: The exit status where it must be exact; else it is 1.
    status = FAILED


class TimeUp(Failed):
    """The work is over, because something did not happen in time."""

    status = TIMED_OUT


class Settings:
    """What a command line asks for.

    Attributes
    ----------
    tool : str
        The name of the tool in its messages.
    form : str
        How a value is printed: 'plain', 'terse', 'wide' or 'typed'.
    data_type : int or None
        The type to read for the form 'typed'.
    count : int
        The number of elements to read; 0 for all.
    asynchronous : bool
        Whether caget asks only for the elements that are filled.
    completion : bool
        Whether caput waits until the server has finished.
    timestamps : str
        Letters of the time stamps that a monitor prints: s (server), c (client), and r, i or I for
        differences.
    watch : bool
        Whether a monitor shows a table instead of lines.
    enum_input : str
        How caput reads states: 'any', 'number' or 'name'.
    exact : bool
        Whether the exit status tells exactly what became of the work (`statuses`).
    colour : bool
        Whether values in alarm are printed in colour.
    utf8 : bool
        Whether texts are printed as they are, where the EPICS tools print escape sequences.
    verbosity : int
        0 to 3: how much of what the client does is logged.
    chosen : list of str
        The words of those options so far that exclude others.
    extras : Extras or None
        What the EPICS tools do not have; None if none of it was asked for.
    """

    def __init__(self, tool: str) -> None:
        self.tool = tool
        self.exact = False
        self.colour = False
        self.utf8 = False
        self.verbosity = 0
        self.chosen: list[str] = []
        self.extras: Extras | None = None
        self.timeout = _TIMEOUT
        self.priority = 0
        self.form = "plain"
        self.data_type: int | None = None
        self.count = 0
        self.separator = " "
        self.enum_as_number = False
        self.char_as_text = False
        self.float_as_string = False
        self.float_format = "%g"
        self.float_base = ""
        self.integer_base = ""
        self.asynchronous = False
        self.completion = False
        self.mask = SubscriptionType.DBE_VALUE | SubscriptionType.DBE_ALARM
        self.timestamps = "s"
        self.enum_input = "any"
        self.array_input = False
        self.interest = 0
        self.watch = False

    def read_environment(self) -> None:
        """Take the timeout from the environment, if it is there.

        Raises
        ------
        Failed
            It is not a number of seconds, and the exit status is to tell so.
        """
        text = os.environ.get(_TIMEOUT_VARIABLE)
        if text is None:
            return
        seconds = parse_seconds(text)
        if seconds is not None:
            self.timeout = seconds
            return
        problem = (
            f"'{text}' is not a valid timeout value (from '{_TIMEOUT_VARIABLE}' in the environment)"
        )
        if self.exact:
            raise Failed(problem)
        say(f"{problem} - ignored. (use '-h' for help.)")

    @property
    def patience(self) -> float | None:
        """The timeout as our client takes it: 0 means to wait without end."""
        return self.timeout or None

    @property
    def hint(self) -> str:
        """The end of many messages."""
        return f"('{self.tool} -h' for help.)"


def parse_seconds(text: str) -> float | None:
    """Return the number in *text*; None if it is not a time to wait."""
    try:
        seconds = float(text)
    except ValueError:
        return None
    is_plain = text.isascii() and "_" not in text
    return seconds if 0 <= seconds < float("inf") and is_plain else None
