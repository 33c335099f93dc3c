"""Fuzzing: any bytes give commands or RemoteProtocolError, however they are cut.

Each module of `TARGETS` has a function ``fuzz_target(data: bytes)`` that raises when an invariant
is broken, and a function ``seeds()`` that gives inputs to begin with, made of recorded traffic.
`engine` mutates the seeds, always the same way for the same number, and needs nothing but Python;
with `atheris`_ installed, coverage can lead the way instead::

    python -m fuzz                        # every target, 10 seconds each
    python -m fuzz framing --seconds 600
    python -m fuzz session --replay 0001  # one input, in hex, as a failure prints it
    python -m fuzz circuit --atheris      # until interrupted

.. _atheris: https://github.com/google/atheris
"""
from __future__ import annotations

TARGETS = ("framing", "circuit", "client", "search", "session")
