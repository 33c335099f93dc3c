"""Extras: what a command line asks for that the EPICS tools do not have."""
from __future__ import annotations

__all__ = ["Extras"]


class Extras:
    """What a command line asks for beyond the EPICS tools; the defaults change nothing.

    Attributes
    ----------
    output : str
        'lines', 'json', 'csv' or 'template'.
    output_option : str
        The option that has chosen it; empty for lines.
    template : str
        For the output 'template'.
    partial : bool or None
        Whether PVs that are connected are used although others are not. None: as is usual for the
        output.
    sources : list of str
        Files with names; '-' is standard input.
    given : dict of str to str
        Options that only one command of caproto-snapshot has, and their arguments.
    number_form : str
        'plain', 'human' or 'precise'.
    updates : int
        How many updates a monitor prints before it ends; 0: it goes on.
    duration : float or None
        Seconds after which a monitor or the wait for a condition ends.
    condition : str
        The expression to wait for; empty if there is none.
    quiet : bool
        Whether values are not printed.
    metadata : bool
        Whether a monitor prints changes of units, limits and states.
    statistics : bool
        Whether a monitor prints rates and gaps at its end.
    zone : str
        Time zone of time stamps: 'local', 'UTC' or a name as 'Europe/Berlin'.
    time_format : str
        Of time stamps, for `strftime`; empty for that of the EPICS tools.
    age : bool
        Whether time stamps are printed as the time that has passed since.
    """

    def __init__(self) -> None:
        self.output = "lines"
        self.output_option = ""
        self.template = ""
        self.partial: bool | None = None
        self.sources: list[str] = []
        self.given: dict[str, str] = {}
        self.number_form = "plain"
        self.updates = 0
        self.duration: float | None = None
        self.condition = ""
        self.quiet = False
        self.metadata = False
        self.statistics = False
        self.zone = "local"
        self.time_format = ""
        self.age = False

    @property
    def may_be_partial(self) -> bool:
        """Whether PVs that are not connected do not keep the others from being used."""
        return self.output in ("json", "csv") if self.partial is None else self.partial
