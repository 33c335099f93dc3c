"""A motor record's fields, served by the portable server of EPICS (C++, through pcaspy).

A database has no names with a dot, and the motor record is in no package; so a program
``motor_server.py PREFIX`` serves them as PVs and moves, as the record does: DMOV is 0 meanwhile.
"""
from __future__ import annotations

import sys
import threading
import time

from pcaspy import Driver, SimpleServer

#: Seconds between two positions, and how far apart these are.
TICK, STEP = 0.02, 0.5
DOUBLE = {"type": "float", "prec": 3, "unit": "mm", "lolim": -50, "hilim": 50}
FLAG = {"type": "enum", "enums": ["No", "Yes"]}
FIELDS = {
    ".VAL": DOUBLE, ".RBV": DOUBLE, ".OFF": DOUBLE, ".VELO": {**DOUBLE, "value": 25.0},
    ".ACCL": {**DOUBLE, "value": 0.1}, ".HLM": {**DOUBLE, "value": 50.0},
    ".LLM": {**DOUBLE, "value": -50.0}, ".DIR": {"type": "enum", "enums": ["Pos", "Neg"]},
    ".FOFF": {"type": "enum", "enums": ["Variable", "Frozen"]},
    ".SET": {"type": "enum", "enums": ["Use", "Set"]}, ".EGU": {"type": "string", "value": "mm"},
    ".DMOV": {"type": "int", "value": 1}, ".MOVN": {"type": "int"}, ".TDIR": {"type": "int"},
    ".HLS": {"type": "int"}, ".LLS": {"type": "int"}, ".STOP": FLAG, ".HOMF": FLAG, ".HOMR": FLAG,
}  # fmt: skip


class Motor(Driver):
    """Moves to what is written to VAL until it is there or stopped."""

    def __init__(self) -> None:
        super().__init__()
        self._changed = threading.Event()
        self._stop = False
        threading.Thread(target=self._run, daemon=True).start()

    def write(self, reason: str, value: object) -> bool:
        """Take what a client puts."""
        self.setParam(reason, value)
        if reason == ".VAL":
            self._stop = False
            self._moving(True)
            self._changed.set()
        elif reason == ".STOP":
            self._stop = True
            self.setParam(".STOP", 0)
        self.updatePVs()
        return True

    def _moving(self, moving: bool) -> None:
        self.setParam(".DMOV", int(not moving))
        self.setParam(".MOVN", int(moving))

    def _run(self) -> None:
        while True:
            self._changed.wait()
            self._changed.clear()
            position = self.getParam(".RBV")
            while not self._stop and position != (goal := self.getParam(".VAL")):
                time.sleep(TICK)
                way = goal - position
                position = goal if abs(way) <= STEP else position + (STEP if way > 0 else -STEP)
                self.setParam(".TDIR", int(way > 0))
                self.setParam(".RBV", position)
                self.updatePVs()
            self.setParam(".VAL", position)
            self._moving(False)
            self.updatePVs()


server = SimpleServer()
server.createPV(sys.argv[1], FIELDS)
motor = Motor()
print("READY", flush=True)
while True:
    server.process(0.05)
