"""What is known about PVs and their connection, with what cainfo does not have."""
from __future__ import annotations

from .._errors import CaprotoError
from .._protocol.dbr import AccessRights
from ..threading.client import PV
from .access import start
from .blocks import host_name, info_block
from .extras import Extras
from .forms import form_of, json_line, json_object
from .getting import read_samples, usable_pvs
from .options import UsageError
from .reports import report, usable_names
from .samples import Sample
from .settings import Settings
from .sources import names_from
from .statuses import status_of

__all__ = ["info"]


def info(settings: Settings, extras: Extras, names: list[str]) -> int:
    """Print what is known about PVs.

    Returns
    -------
    int
        The exit status.

    Raises
    ------
    UsageError
        Internals are wanted as JSON.
    """
    if settings.interest and extras.output == "json":
        raise UsageError(f"-s and --json exclude each other. {settings.hint}")
    form = form_of(settings, extras)
    places: dict[str, str] = {}
    names = names + names_from(extras.sources, places)
    names, wrong = usable_names(names, places, form, extras.may_be_partial)
    errors: list[CaprotoError] = []
    with start(settings, names) as context:
        pvs, missing = usable_pvs(context, names, settings, extras, form)
        for pv in pvs:
            if pv in missing:
                report(Sample(pv.name, "not connected", text=str(missing[pv])), form)
            elif extras.output == "json":
                (sample,), problems = read_samples([pv], settings)
                errors += problems
                facts = json_object(sample, settings, extras)
                rights = {"access": _access(pv), "host_name": host_name(pv)}
                print(json_line({**facts, "event": "info", **rights}), flush=True)
            elif settings.interest:
                print(context.explain(pv))
            else:
                print(info_block(pv))
        return status_of([*wrong, *missing.values(), *errors], settings.exact)


def _access(pv: PV) -> list[str]:
    rights = pv.access_rights or AccessRights.NO_ACCESS
    names = {AccessRights.READ: "read", AccessRights.WRITE: "write"}
    return [name for right, name in names.items() if right in rights]
