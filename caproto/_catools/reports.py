"""Reports: what happened, in the form of the output or on standard error."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from reprlib import repr as short_repr

from .._errors import CaprotoError, CaprotoValueError
from .access import name_problem
from .forms import Form
from .messages import say
from .samples import Sample
from .settings import Failed

__all__ = ["last_word", "report", "usable_names"]


def report(sample: Sample, form: Form) -> None:
    """Print a sample; on standard error if the form has no place for it."""
    text = form.write(sample)
    if text is not None:
        print(text, flush=True)
    else:
        say(f"{_shown_name(sample.name)}: {sample.text}")


def usable_names(
    names: Sequence[str], places: Mapping[str, str], form: Form, may_be_partial: bool
) -> tuple[list[str], list[CaprotoError]]:
    """Report names that no PV can have.

    Parameters
    ----------
    names : sequence of str
    places : mapping of str to str
        Where names from files are.
    form : Form
    may_be_partial : bool
        Whether the others are used nevertheless.

    Returns
    -------
    names : list of str
        The others.
    errors : list of CaprotoError
        One for each name that was reported.

    Raises
    ------
    Failed
        There are no others, or they are not used.
    """
    good: list[str] = []
    errors: list[CaprotoError] = []
    for name in names:
        problem = name_problem(name)
        if not problem:
            good.append(name)
            continue
        place = f"{places[name]}: " if name in places else ""
        error = CaprotoValueError(f"{place}{problem}")
        errors.append(error)
        report(Sample(name, "error", text=str(error)), form)
    if errors and not (good and may_be_partial):
        text = f"{len(errors)} of {len(names)} names cannot be those of PVs."
        raise last_word(Failed(text), form)
    return good, errors


def last_word(failure: Failed, form: Form) -> Failed:
    """Return what ends the work: without its message in a form that has had all as events."""
    return type(failure)("") if form.has_all else failure


def _shown_name(name: str) -> str:
    """Write a name for a message, also one that is too long or has control characters."""
    return short_repr(name) if name_problem(name) else name
