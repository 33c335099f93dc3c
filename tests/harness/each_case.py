"""Many small cases in one test: for pytest one more test is more work than most of them are."""
from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import pytest


def each_case(
    argument: str, cases: Iterable[Any], ids: Callable[[Any], object] = repr
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Call a test with each case, all within one test, whichever of them fail.

    Like ``pytest.mark.parametrize``, but for cases by the hundred that take microseconds. The
    failure names all cases that failed, and shows the first.

    Parameters
    ----------
    argument : str
        The argument of the test that is the case.
    cases : iterable or mapping
        A mapping is from what a case is called to the case.
    ids : callable, optional
        What a case is called where `cases` is no mapping.
    """
    if isinstance(cases, Mapping):
        named = [(str(name), case) for name, case in cases.items()]
    else:
        named = [(str(ids(case)), case) for case in cases]
    assert named, "a test without cases tests nothing"

    def decorate(test: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(test)
        def run(*args: Any, **fixtures: Any) -> None:
            failed: list[tuple[str, BaseException]] = []
            for name, case in named:
                try:
                    test(*args, **fixtures, **{argument: case})
                except (Exception, pytest.fail.Exception) as error:
                    failed.append((name, error))
            if failed:
                names = "; ".join(name for name, _ in failed)
                count = f"{len(failed)} of {len(named)}"
                raise AssertionError(f"{argument}, {count}: {names}") from failed[0][1]

        signature = inspect.signature(test)
        others = [p for name, p in signature.parameters.items() if name != argument]
        assert len(others) == len(signature.parameters) - 1, f"no argument {argument!r}"
        run.__signature__ = signature.replace(parameters=others)  # type: ignore[attr-defined]
        return run

    return decorate
