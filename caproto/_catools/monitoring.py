"""Watching PVs with what camonitor does not have: ends, conditions, other forms, statistics."""
from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from .._client.metadata import Metadata
from .._errors import (
    CaprotoError,
    CaprotoTimeoutError,
    CaprotoValueError,
    DisconnectedError,
    ReadError,
)
from .._numbers import counted
from .._protocol.timestamp import TimeStamp
from ..threading._waiting import Deadline
from ..threading.client import Context
from .access import start
from .events import Event, Events
from .expressions import Condition
from .extras import Extras
from .forms import Form, form_of, json_line
from .interrupts import CleanUp
from .messages import say
from .reasons import reasons_of
from .reports import report, usable_names
from .samples import Sample, host_of, sampled_type
from .settings import Failed, Settings
from .sources import names_from
from .statistics import Statistics, statistics_table
from .statuses import status_of

__all__ = ["monitor", "wait_for"]

#: Events that keep the values from being printed for which `wait_for` waits.
_PROBLEMS = ("error", "not connected")


def monitor(settings: Settings, extras: Extras, names: list[str]) -> int:
    """Print what happens to PVs until an end is reached, or Ctrl-C.

    Returns
    -------
    int
        The exit status.
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
            for sample in watch.samples():
                _count(sample, statistics[sample.place])
                if not (extras.quiet and sample.event in ("value", "disconnected")):
                    report(sample, form)
        finally:
            watch.end()
            if extras.statistics:
                _print_statistics(statistics, extras)
    return status_of([*errors, *watch.errors], settings.exact)


def wait_for(
    context: Context, names: Sequence[str], settings: Settings, extras: Extras, form: Form
) -> int:
    """Wait until the condition of the extras is true for all PVs, and print their values.

    Returns
    -------
    int
        The exit status.
    """
    watch = _Watch(context, names, settings, extras, Condition(extras.condition))
    try:
        for sample in watch.samples():
            if sample.event in _PROBLEMS:
                report(sample, form)
    finally:
        watch.end()
    if not watch.errors:
        for place in range(len(names)):
            report(watch.newest[place], form)
    return status_of(watch.errors, settings.exact)


class _Watch:
    """The samples of PVs until an end.

    Attributes
    ----------
    newest : dict of int to Sample
        By the place of the name; without those that are disconnected.
    errors : list of CaprotoError
        What keeps the exit status from being 0, at the end; samples have said it.
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
        self.errors: list[CaprotoError] = []
        self._context, self._names = context, names
        self._settings, self._extras = settings, extras
        self._condition = condition
        self._is_over = False
        self._updates = 0
        self._without_value = set(names)
        self._missing: set[str] = set()
        self._problems: dict[str, str] = {}
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

    def samples(self) -> Iterator[Sample]:
        """Yield samples until an end is reached, and then what is wrong."""
        is_exact = self._settings.exact and self._condition is None
        waiting = True
        while not (self._is_over or self._end.expired):
            ends = (self._end.remaining(), self._patience.remaining() if waiting else None)
            event = self._events.next(min((end for end in ends if end is not None), default=None))
            if event is not None:
                yield from self._samples_of(event)
            if waiting and not self._is_over and self._patience.expired:
                waiting = False
                yield from self._not_found()
            if is_exact and self._extras.updates and self._none_can_come():
                self._note_problems()
                return
        has_all_updates = self._is_over
        if has_all_updates and is_exact:
            yield from self._others()
        if waiting and (is_exact or not self._is_over):
            yield from self._not_found()
        if has_all_updates and is_exact:
            yield from self._without_any_value()
        elif not self._is_over:
            yield from self._too_late()
        if is_exact:
            yield from self._disconnected()
        self._note_problems()

    def _note_problems(self) -> None:
        self.errors += [
            ReadError(f"{name}: {self._problems[name]}")
            for name in self._problems if name in self._without_value
        ]

    def _others(self) -> Iterator[Sample]:
        """After the last update, wait for the other PVs to be heard of; yield what is wrong."""
        while self._silent() and not (self._end.expired or self._patience.expired):
            ends = [self._end.remaining(), self._patience.remaining()]
            event = self._events.next(min((end for end in ends if end is not None), default=None))
            if event is not None:
                yield from (one for one in self._samples_of(event) if one.event != "value")

    def _samples_of(self, event: Event) -> Iterator[Sample]:
        """Make a sample for each place of the PV on the command line, and look for an end."""
        places = self._places[event.pv.name]
        try:
            sample = self._sample(event)
        except CaprotoError as error:  # what the server sent makes no sense
            yield Sample(event.pv.name, "error", text=str(error), place=places[0])
            return
        for place in places if sample is not None else ():
            assert sample is not None
            yield sample._replace(place=place)
            self._updates += sample.event == "value"
            if self._updates == self._extras.updates > 0:
                yield from self._check()
                if not self._is_over and self._condition is not None:
                    yield from self._unmet(counted(self._updates, "update"))
                self._is_over = True
                return
        yield from self._check()

    def _sample(self, event: Event) -> Sample | None:
        """Make a sample of an event; None if nothing is printed of it."""
        name, host = event.pv.name, host_of(event.pv)
        if event.problem:
            self._problems[name] = event.problem
            self._is_over = self._condition is not None
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
        self._without_value.discard(name)
        self.newest.update(dict.fromkeys(self._places[name], sample))
        return sample

    def _check(self) -> Iterator[Sample]:
        """End if the condition is true of all PVs, or has no meaning for one of them."""
        if self._condition is None or len(self.newest) < len(self._names):
            return
        for sample in self.newest.values():
            try:
                if not self._condition.holds(sample, self._settings):
                    return
            except Failed as failure:
                yield from self._fail({sample.name: str(failure)}, CaprotoValueError)
                break
        self._is_over = True

    def _fail(
        self, reasons: Mapping[str, str], kind: type[CaprotoError], event: str = "error"
    ) -> Iterator[Sample]:
        """Note an error for each of these names, and yield a sample of it for each place."""
        self.errors += [kind(f"{name}: {reason}") for name, reason in reasons.items()]
        for place, name in enumerate(self._names):
            if name in reasons:
                yield Sample(name, event, text=reasons[name], place=place)

    # ---- what is wrong

    def _not_found(self) -> Iterator[Sample]:
        """Report the PVs that were not connected in time; with a condition this is the end."""
        missing = [name for name in self._places if not self._events.begun(name)]
        pvs = self._context.get_pvs(*missing, priority=self._settings.priority)
        reasons = dict(zip(missing, reasons_of(self._context, pvs)))
        self._missing |= reasons.keys()
        self._is_over = bool(reasons) and self._condition is not None
        kind = CaprotoTimeoutError if self._condition is None else DisconnectedError
        return self._fail(reasons, kind, "not connected")

    def _too_late(self) -> Iterator[Sample]:
        """Report what did not come within the duration."""
        limit = f"{self._extras.duration:g} s"
        if self._condition is not None:
            yield from self._unmet(limit)
            return
        yield from self._without_any_value()
        if self._extras.updates and self._settings.exact:
            text = f"{self._updates} of {self._extras.updates} updates came within {limit}"
            if len(self._names) > 1:
                text += " from all PVs"
            yield from self._fail(dict.fromkeys(self._places, text), CaprotoTimeoutError)

    def _silent(self) -> list[str]:
        """Name the PVs of which neither a value nor a problem is known."""
        known = self._missing | self._problems.keys()
        return [name for name in self._places if name in self._without_value - known]

    def _none_can_come(self) -> bool:
        """Whether each PV is missing, or sends no updates."""
        return self._without_value == self._places.keys() and not self._silent()

    def _without_any_value(self) -> Iterator[Sample]:
        return self._fail(dict.fromkeys(self._silent(), "no value has come"), ReadError)

    def _unmet(self, limit: str) -> Iterator[Sample]:
        """Report of which PVs the condition was not true within a limit."""
        condition, reasons, lost = self._condition, {}, {}
        assert condition is not None
        for place, name in enumerate(self._names):
            sample, text = self.newest.get(place), f"{condition.text!r} was not true within {limit}"
            try:
                if sample is None and name not in self._without_value:
                    lost[name] = f"{text}, and it is disconnected"
                elif sample is None or not condition.holds(sample, self._settings):
                    reasons[name] = text
            except Failed as failure:
                reasons[name] = str(failure)
        yield from self._fail(reasons, CaprotoTimeoutError)
        yield from self._fail(lost, DisconnectedError)

    def _disconnected(self) -> Iterator[Sample]:
        """Report the PVs that were connected, and are not at the end."""
        lost = [
            name for place, name in enumerate(self._names)
            if place not in self.newest and name not in self._without_value
        ]
        return self._fail(dict.fromkeys(lost, "disconnected at the end"), DisconnectedError)


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
        table = statistics_table(statistics)
        if extras.output == "lines":
            print(table, flush=True)
        else:
            say(table)
