"""An extension of Sphinx: the manual has an entry for every public name, or its build warns.

Public are the modules below ``caproto`` without an underscore in their path, and the names in the
``__all__`` of each. A class or function that several modules offer has one entry.
"""
from __future__ import annotations

import importlib
import inspect
import pkgutil

import caproto


def modules():
    """The names of all public modules."""
    found = ["caproto"]
    for _, name, _ in pkgutil.walk_packages(caproto.__path__, "caproto."):
        if not any(part.startswith("_") for part in name.split(".")):
            found.append(name)
    return found


def missing(entries):
    """What is public and has no entry.

    Parameters
    ----------
    entries : set of str
        Full names, as in the inventory that the build writes (``objects.inv``).

    Returns
    -------
    list of str
    """
    places = {}  # of each thing (of a constant: each name): the full names under which it is public
    lost = []
    for module_name in modules():
        if module_name not in entries:
            lost.append(module_name)
        module = importlib.import_module(module_name)
        for name in getattr(module, "__all__", ()):
            thing, place = getattr(module, name), f"{module_name}.{name}"
            if inspect.ismodule(thing):
                continue
            shared = inspect.isclass(thing) or inspect.isroutine(thing)
            places.setdefault(thing if shared else place, []).append(place)
    return lost + [names[0] for names in places.values() if not entries & set(names)]


def _check(app, environment):
    from sphinx.util import logging

    logger = logging.getLogger(__name__)
    for name in missing(set(environment.get_domain("py").objects)):
        logger.warning("%s is public and has no entry in the manual (docs/api)", name)


def setup(app):
    app.connect("env-check-consistency", _check)
    return {"parallel_read_safe": True}
