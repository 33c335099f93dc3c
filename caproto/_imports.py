"""Imports at the first use of something, and the calls that interrupt them.

A signal handler or finalizer may call us in the middle of such an import, in the same thread. What
it needs is then imported in part only, and to ask for it fails in ways that name other causes;
until Python 3.11 it may also break the interrupted import, or never end. So a function that
imports something asks here first.
"""
from __future__ import annotations

import os
import sys

from ._errors import ReentrantCallError

TYPE_CHECKING = False  # as that of typing, which takes longer to import than all the rest here
if TYPE_CHECKING:
    from types import FrameType

_PACKAGE = os.path.dirname(__file__) + os.sep
#: The beginning of the file names of the import system.
_IMPORTLIB = "<frozen importlib."


def check_reentry(call: str) -> None:
    """Raise ReentrantCallError if this thread has interrupted an import of ours for *call*.

    Such an import is a frame of ours that called the import system, below a frame of other code:
    the handler, or a module that is imported. The stack itself tells, so nothing must be noted
    before an import and taken back after it, which an interrupt could prevent.
    """
    frame: FrameType | None = sys._getframe(1)
    outside = imported = False
    while frame is not None:
        filename = frame.f_code.co_filename
        if filename.startswith(_IMPORTLIB):
            imported = True
        elif not filename.startswith(_PACKAGE):
            outside, imported = True, False
        elif outside and imported:
            raise ReentrantCallError(
                f"{call} was called by a finalizer, signal handler or log handler while this "
                "thread was importing a part of caproto that it may need; let another thread do it"
            )
        else:
            imported = False
        frame = frame.f_back
