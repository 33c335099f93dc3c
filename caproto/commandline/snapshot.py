"""caproto-snapshot: save the values of many PVs in a file, compare with it, and restore them.

::

    caproto-snapshot save before.npz -f names.txt
    caproto-snapshot diff before.npz
    caproto-snapshot restore before.npz --dry-run

The exit status is 0 if all was done and, for ``diff``, nothing differs; 1 if PVs were missing,
could not be written, or differ; 2 if nothing was done, because the command line or the file is
wrong, or no PV at all could be read. It is also 2 if the output cannot be written, on a full disk
for example, although the values are saved or restored. After Ctrl-C it is 130, and 141 if the
reader of a pipe has gone, both without a message.
"""
from __future__ import annotations

import sys

from .._catools.entry import entry
from .._typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .._catools.program import Tool

__all__ = ["main"]


def _tool() -> Tool:
    from .._catools.more_options import SNAPSHOT
    from .._catools.options import CONNECTION, HELP, refusing
    from .._catools.program import Tool
    from .._catools.snapshotting import COMMANDS, snapshot

    return Tool(
        name="caproto-snapshot",
        usage="save FILE PV ... | --from NAMES\n"
        "       {tool} diff FILE [PV ... | --from NAMES] [--with FILE]\n"
        "       {tool} restore FILE [PV ... | --from NAMES] [--dry-run]",
        about="Saves the values of PVs in a file, compares with it, and restores them.\n"
        "FILE ends in .npz or .parquet. Without a PV, all PVs of the file are meant.",
        options={
            **HELP,
            "w": refusing(CONNECTION)["w"]._replace(
                meaning="Time to wait for the next PV or reply, 0: without end (default: 1)"
            ),
            **SNAPSHOT,
        },
        work=snapshot,
        commands=tuple(COMMANDS),
        failed=2,
    )


main = entry(_tool)


if __name__ == "__main__":
    sys.exit(main())
