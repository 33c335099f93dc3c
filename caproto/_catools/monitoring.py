"""Watching PVs with what camonitor does not have: ends, conditions, other forms, statistics."""
from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from reprlib import repr as short_repr

from .._client.metadata import Metadata
from .._errors import CaprotoError, CaprotoValueError, DisconnectedError, ReadError
from .._numbers import counted
from .._protocol.timestamp import TimeStamp
from ..threading._waiting import Deadline
from ..threading.client import Context
from .access import name_problem, start
from .events import Event, Events
from .expressions import Condition
from .extras import Extras
from .forms import Form, form_of, json_line
from .interrupts import CleanUp
from .reasons import reasons_of
from .samples import Sample, host_of, sampled_type
from .settings import Failed, Settings, TimeUp
from .sources import names_from
from .statistics import Statistics, statistics_table
from .statuses import DONE, TIMED_OUT, status_of

__all__ = ["monitor", "report", "usable_names", "wait_for"]


def monitor(settings: Settings, extras: Extras, names: list[str]) -> int:
    """Print what happens to PVs until an end is reached, or Ctrl-C.

    Returns
    -------
    int
        The exit status.

    Raises
    ------
    TimeUp
        The condition was not true in time.
    """
    form = form_of(settings, extras)
    condition = Condition(extras.condition) if extras.condition else None
    places: dict[str, str] = {}
    names = names + names_from(extras.sources, places)
    names, errors = usable_names(names, places, form, may_be_partial=not extras.condition)
    statistics = [Statistics(name) for name in names]
    with CleanUp(), start(settings, names) as context:  # the statistics are still printed
        watch = _Watch(context, names, settings, extras, condition)
        try:
            heading = form.heading()
            if heading is not None:
                print(heading, flush=True)
            for sample in watch.samples():
                _count(sample, statistics[sample.place])
                if not (extras.quiet and sample.event in ("value", "disconnected")):
                    report(sample, form)
        finally:
            watch.end()
            if extras.statistics:
                _print_statistics(statistics, extras)
    if settings.exact:
        errors += watch.lost()
    errors += [
        ReadError(f"{name}: {why}") for name, why in watch.without_value.items()
        if why and name not in watch.missing
    ]
    return max(TIMED_OUT if watch.missing else DONE, status_of(errors, settings.exact))


def wait_for(
    context: Context, names: Sequence[str], settings: Settings, extras: Extras
) -> list[Sample]:
    """Wait until the condition of the extras is true for all PVs; return their values.

    Raises
    ------
    TimeUp
        It was not true in time.
    Failed
        A PV was not found, or the condition does not go together with a value.
    """
    watch = _Watch(context, names, settings, extras, Condition(extras.condition))
    try:
        for _ in watch.samples():
            pass
    finally:
        watch.end()
    return [watch.newest[place] for place in range(len(names))]


def report(sample: Sample, form: Form) -> None:
    """Print a sample; on standard error if the form has no place for it."""
    text = form.write(sample)
    if text is not None:
        print(text, flush=True)
    else:
        print(f"{_shown_name(sample.name)}: {sample.text}", file=sys.stderr)


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
        raise Failed(f"{len(errors)} of {len(names)} names cannot be those of PVs.")
    return good, errors


def _shown_name(name: str) -> str:
    """Write a name for a message, also one that is too long or has control characters."""
    return short_repr(name) if name_problem(name) else name


class _Watch:
    """The samples of PVs until an end.

    Attributes
    ----------
    newest : dict of int to Sample
        By the place of the name; without those that are disconnected.
    missing : list of str
        The names that were not found in time.
    without_value : dict of str to str
        The names that have had no value yet, and why, if that is known.
    """

    def __init__(
        self,
        context: Context,
        names: Sequence[str],
        settings: Settings,
        extras: Extras,
        condition: Condition | None,
    ) -> None:
        self.newest: dict[int, Sample] = {}
        self.missing: list[str] = []
        self.without_value = dict.fromkeys(names, "")
        self._context, self._names = context, names
        self._settings, self._extras = settings, extras
        self._condition = condition
        self._updates = 0
        self._about: dict[str, Metadata] = {}
        self._places: dict[str, list[int]] = {}
        for place, name in enumerate(names):
            self._places.setdefault(name, []).append(place)
        self._end = Deadline(extras.duration)
        self._events = Events(context, names, settings, sampled_type, with_metadata=True)
        self._patience = Deadline(settings.patience)

    def end(self) -> None:
        """End the stream of events."""
        self._events.end()

    def lost(self) -> list[CaprotoError]:
        """Name the PVs that were connected, and are not at the end; return an error for each."""
        lost = [
            name for place, name in enumerate(self._names)
            if place not in self.newest and name not in self.without_value
        ]
        for name in lost:
            print(f"{name}: disconnected at the end", file=sys.stderr)
        return [DisconnectedError(f"{name!r} is disconnected") for name in lost]

    def samples(self) -> Iterator[Sample]:
        """Yield samples until an end is reached.

        Raises
        ------
        TimeUp
            The time is up, and the condition was not true.
        Failed
            With a condition: a PV was not found.
        """
        waiting = True
        while not self._end.expired:
            ends = (self._end.remaining(), self._patience.remaining() if waiting else None)
            event = self._events.next(min((end for end in ends if end is not None), default=None))
            if event is not None:
                for sample in self._samples_of(event):
                    yield sample
                    self._updates += sample.event == "value"
                    if self._updates == self._extras.updates > 0:
                        if self._condition is not None and not self._is_met():
                            raise TimeUp(self._unmet(counted(self._updates, "update")))
                        return
                if self._is_met():
                    return
            if waiting and self._patience.expired:
                waiting = False
                yield from self._not_found()
        if waiting:
            yield from self._not_found()
        if self._condition is not None:
            raise TimeUp(self._unmet(f"{self._extras.duration:g} s"))
        for name, why in self.without_value.items():
            if not why and name not in self.missing:
                self.without_value[name] = "no value has come"
                yield from (
                    Sample(name, "error", text="no value has come", place=place)
                    for place in self._places[name]
                )
        wanted = self._extras.updates
        if wanted and self._settings.exact:
            raise TimeUp(
                f"{self._updates} of {wanted} updates came within {self._extras.duration:g} s"
            )

    def _samples_of(self, event: Event) -> Iterator[Sample]:
        """Make a sample for each place of the PV on the command line."""
        name = event.pv.name
        try:
            sample = self._sample(event)
        except CaprotoError as error:  # what the server sent makes no sense
            print(f"{name}: {error}", file=sys.stderr)
            return
        if sample is not None:
            for place in self._places[name]:
                yield sample._replace(place=place)

    def _sample(self, event: Event) -> Sample | None:
        """Make a sample of an event; None if nothing is printed of it."""
        name, host = event.pv.name, host_of(event.pv)
        if event.problem:
            self.without_value[name] = event.problem
            if self._condition is not None:
                raise Failed(f"{name}: {event.problem}")
            return Sample(name, "error", None, host=host, arrival=event.arrival, text=event.problem)
        if event.metadata is not None:
            before, self._about[name] = self._about.get(name), event.metadata
            for place in self._places[name]:
                if place in self.newest:
                    self.newest[place] = self.newest[place]._replace(about=event.metadata)
            changes = _changes(before, event.metadata)
            if not (changes and self._extras.metadata):
                return None
            return Sample(name, "metadata", None, event.native, event.room, event.metadata, host,
                          event.arrival, changes)
        about = self._about.get(name, Metadata())
        if event.reading is None:
            for place in self._places[name]:
                self.newest.pop(place, None)
            return Sample(name, "disconnected", None, about=about, host=host,
                          arrival=event.arrival, text="disconnected")
        sample = Sample(name, "value", event.reading, event.native, event.room, about, host,
                        event.arrival)
        self.without_value.pop(name, None)
        self.newest.update(dict.fromkeys(self._places[name], sample))
        return sample

    def _is_met(self) -> bool:
        """Tell whether there is a condition, and it is true of all PVs."""
        condition, settings = self._condition, self._settings
        if condition is None or len(self.newest) < len(self._names):
            return False
        return all(condition.holds(one, settings) for one in self.newest.values())

    def _not_found(self) -> Iterator[Sample]:
        """Report the PVs that were not connected in time."""
        missing = [name for name in self._places if not self._events.begun(name)]
        pvs = self._context.get_pvs(*missing, priority=self._settings.priority)
        reasons = dict(zip(missing, reasons_of(self._context, pvs)))
        if reasons and self._condition is not None:
            raise Failed("\n".join(f"{name}: {why}" for name, why in reasons.items()))
        for place, name in enumerate(self._names):
            if name in reasons:
                self.missing.append(name)
                yield Sample(name, "not connected", text=reasons[name], place=place)

    def _unmet(self, limit: str) -> str:
        """Say of which PVs the condition was not true within a limit."""
        condition = self._condition
        unmet = [
            name for place, name in enumerate(self._names)
            if place not in self.newest
            or condition and not condition.holds(self.newest[place], self._settings)
        ]
        text = condition.text if condition else ""
        return f"{text!r} was not true within {limit}: {', '.join(dict.fromkeys(unmet))}"


def _changes(before: Metadata | None, now: Metadata) -> str:
    """Say what has changed; nothing for the first metadata of a PV."""
    if before is None:
        return ""
    return ", ".join(
        f"{name}: {_shown(old)} -> {_shown(new)}"
        for name, old, new in zip(Metadata._fields, before, now)
        if old != new and not (old != old and new != new)  # both are NaN
    )


def _shown(thing: object) -> str:
    return ", ".join(thing) if isinstance(thing, tuple) else str(thing) or "(none)"


def _count(sample: Sample, statistics: Statistics) -> None:
    if sample.event == "value":
        statistics.update(sample.stamp, sample.arrival or TimeStamp.now())
    elif sample.event == "disconnected":
        statistics.disconnections += 1


def _print_statistics(statistics: Sequence[Statistics], extras: Extras) -> None:
    if extras.output == "json":
        for one in statistics:
            print(json_line(one.to_dict()), flush=True)
    else:
        file = sys.stdout if extras.output == "lines" else sys.stderr
        print(statistics_table(statistics), file=file, flush=True)
