"""Running the tools in this process."""
from __future__ import annotations

import importlib
import io
import json
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest


class Done(NamedTuple):
    """What a command line has done."""

    status: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()

    @property
    def objects(self) -> list[dict[str, Any]]:
        """The lines, which must be JSON as the standard has it."""

        def refuse(word: str) -> None:
            raise ValueError(f"{word} is not JSON")

        return [json.loads(line, parse_constant=refuse) for line in self.lines]


@pytest.fixture
def call(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], loggers_as_before: None
) -> Callable[..., Done]:
    """``call("get", "--json", name, ioc=ioc, stdin=...)``: run a tool; what it has done."""

    def run(tool: str, *arguments: str, ioc: Any = None, stdin: str | None = None) -> Done:
        for name, text in (ioc.environ if ioc is not None else {}).items():
            monkeypatch.setenv(name, text)
        file = None
        if stdin is not None:  # with an encoding that must not matter
            file = io.TextIOWrapper(io.BytesIO(stdin.encode()), encoding="latin-1")
        monkeypatch.setattr(sys, "stdin", file)
        capsys.readouterr()
        status = importlib.import_module(f"caproto.commandline.{tool}").main(arguments)
        return Done(status, *capsys.readouterr())

    return run
