"""The entry of the tools: Ctrl-C is silent from here on, before anything else is imported."""
from __future__ import annotations

from .._typing import TYPE_CHECKING

if TYPE_CHECKING:
    import signal
    from collections.abc import Callable, Sequence
    from typing import Protocol

    from .program import Tool

    class Main(Protocol):
        """The ``main`` of a tool."""

        def __call__(self, argv: Sequence[str] | None = None) -> int: ...

else:
    import _signal as signal  # what it has beyond the functions takes a while, too

__all__ = ["entry"]


def entry(make_tool: Callable[[], Tool]) -> Main:
    """Make the ``main`` of a tool.

    Parameters
    ----------
    make_tool : callable
        Imports what the tool needs, and returns it.
    """

    def main(argv: Sequence[str] | None = None) -> int:
        """Run the tool.

        Parameters
        ----------
        argv : sequence of str, optional
            The arguments. Default: those of the process. It is then the tool's: from now on Ctrl-C
            ends it at once, as it ends the EPICS tools.

        Returns
        -------
        int
            The exit status, which the manual lists (:doc:`/command-line`).
        """
        # A shell that starts a program in the background may have made it deaf to Ctrl-C.
        if argv is None and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, signal.SIG_DFL)
        from .program import run

        return run(make_tool(), argv)

    return main
