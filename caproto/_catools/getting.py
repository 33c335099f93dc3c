"""Reading PVs once, with what the EPICS tools do not have."""
from __future__ import annotations

from collections.abc import Mapping, Sequence

from .._client.metadata import Metadata, metadata_from
from .._errors import CaprotoError
from .._protocol.dbr import LAYOUTS
from .._protocol.message import DataMessage
from ..threading._waiting import Deadline
from ..threading.client import PV, Context
from ..threading.client._gathering import Form as ReadForm
from ..threading.client._gathering import Outcome, read_each
from .access import facts_of, not_found, start
from .extras import Extras
from .forms import Form, form_of
from .messages import say
from .monitoring import wait_for
from .options import UsageError
from .reasons import connect_some
from .reports import last_word, report, usable_names
from .samples import Sample, host_of, sampled_type
from .settings import Settings
from .sources import names_from
from .statuses import status_of
from .template import refuse_fields_of_updates
from .values import Reading

__all__ = ["get", "read_samples", "report_missing", "usable_pvs"]


def get(settings: Settings, extras: Extras, names: list[str]) -> int:
    """Read PVs and print them.

    Returns
    -------
    int
        The exit status.

    Raises
    ------
    UsageError
        A duration is given, but no condition; or values without names, but in another form.
    """
    if extras.duration is not None and not extras.condition:
        raise UsageError(
            f"--duration limits --wait-for, which is missing; -w limits the rest. {settings.hint}"
        )
    if settings.form == "terse" and extras.output_option:
        raise UsageError(f"-t and {extras.output_option} exclude each other. {settings.hint}")
    form = form_of(settings, extras)
    refuse_fields_of_updates(extras.template)
    places: dict[str, str] = {}
    names = names + names_from(extras.sources, places)
    may_be_partial = extras.may_be_partial and not extras.condition
    names, wrong = usable_names(names, places, form, may_be_partial)
    with start(settings, names) as context:
        if extras.condition:
            return wait_for(context, names, settings, extras, form)
        pvs, missing = usable_pvs(context, names, settings, extras, form)
        connected = [pv for pv in pvs if pv not in missing]
        shown = settings.exact and extras.output != "lines"
        samples, errors = read_samples(connected, settings, with_metadata=shown)
        found = iter(samples)
        for place, pv in enumerate(pvs):
            if pv in missing:
                report(Sample(pv.name, "not connected", text=str(missing[pv])), form)
            else:
                report(next(found)._replace(place=place), form)
        return status_of([*wrong, *missing.values(), *errors], settings.exact)


def usable_pvs(
    context: Context, names: Sequence[str], settings: Settings, extras: Extras, form: Form
) -> tuple[list[PV], dict[PV, CaprotoError]]:
    """Connect to PVs, as many as must be.

    Returns
    -------
    pvs : list of PV
    missing : dict of PV to CaprotoError
        Those that are not connected.

    Raises
    ------
    TimeUp
        All must be connected, and at least one is not; each of these has been named.
    """
    pvs, missing = connect_some(context, names, settings)
    if missing and not extras.may_be_partial:
        report_missing(missing, form)
        raise last_word(not_found(names), form)
    return pvs, missing


def report_missing(missing: Mapping[PV, CaprotoError], form: Form) -> None:
    """Name PVs that are not connected."""
    for pv, error in missing.items():
        report(Sample(pv.name, "not connected", text=str(error)), form)


def read_samples(
    pvs: Sequence[PV], settings: Settings, event: str = "value", with_metadata: bool = False
) -> tuple[list[Sample], list[CaprotoError]]:
    """Read PVs and their metadata, all at once.

    If metadata cannot be read, only that is missing; *with_metadata* it is an error, too.

    Returns
    -------
    samples : list of Sample
        Where there is no value, the event is 'error'.
    errors : list of CaprotoError
    """
    deadline = Deadline(settings.patience)
    # The EPICS tools print as many elements as an array can have, and so do lines.
    in_lines = settings.extras is None or settings.extras.output == "lines"
    padded = in_lines and not settings.asynchronous
    wanted: list[tuple[PV, ReadForm]] = []
    for pv in pvs:
        native, room = facts_of(pv)
        count = min(settings.count or room, room) if padded or settings.count else None
        wanted += [(pv, ("control", 1)), (pv, (sampled_type(native, settings), count))]
    outcomes = read_each(wanted, deadline)
    controls, values = outcomes[::2], outcomes[1::2]
    samples = [
        _sample(pv, control, outcome, event)
        for pv, control, outcome in zip(pvs, controls, values)
    ]
    errors = [outcome for outcome in values if isinstance(outcome, CaprotoError)]
    if with_metadata:
        for pv, control, outcome in zip(pvs, controls, values):
            if isinstance(control, CaprotoError) and isinstance(outcome, DataMessage):
                say(f"{pv.name}: its metadata: {_text(pv, control)}")
                errors.append(control)
    return samples, errors


def _sample(pv: PV, control: Outcome, outcome: Outcome, event: str) -> Sample:
    native, room = facts_of(pv)
    host = host_of(pv)
    if not isinstance(outcome, DataMessage):
        return Sample(pv.name, "error", None, native, room, host=host, text=_text(pv, outcome))
    about = Metadata()
    if isinstance(control, DataMessage) and LAYOUTS[control.data_type].family == "control":
        about = metadata_from(control.metadata)
    return Sample(pv.name, event, Reading.from_response(outcome), native, room, about, host)


def _text(pv: PV, outcome: Outcome) -> str:
    """Return what an error says, without the name, which stands before it."""
    return str(outcome).removeprefix(f"{pv.name!r}: ")
