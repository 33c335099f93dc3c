"""The process behind `namespaces.RemotePython`; started by it, not imported.

Every line on standard input is a JSON pair, what to do and the code; each is answered by a line
``ANSWER [good, value]``. It ends with its standard input, so it cannot outlive whoever started it.
"""
from __future__ import annotations

import json
import logging
import os
import sys
import threading
import traceback
from typing import Any

from tests.harness.waiting import wait_for

log: list[tuple[str, str]] = []


class _Keeper(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        log.append((record.levelname, record.getMessage()))


def _answer(kind: str, code: str, names: dict[str, Any]) -> tuple[bool, Any]:
    try:
        if kind == "exec":
            exec(code, names)
            return True, None
        value = eval(code, names)
    except Exception as error:
        if kind == "error":
            return True, f"{type(error).__name__}: {error}"
        return False, traceback.format_exc()
    if kind == "error":
        return False, f"nothing was raised; the value is {value!r}"
    return True, value


def main() -> None:
    logging.getLogger("caproto").addHandler(_Keeper())
    names = {"log": log, "wait_for": wait_for}
    for line in sys.stdin:
        answer = _answer(*json.loads(line), names)
        print("ANSWER " + json.dumps(answer), flush=True)
    # A test that failed may leave a thread in the middle of a long wait.
    deadline = threading.Timer(5, os._exit, (1,))
    deadline.daemon = True
    deadline.start()


if __name__ == "__main__":
    main()
