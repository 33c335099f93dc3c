"""Faces: public modules that import a name at its first use, so that a script starts sooner."""
from __future__ import annotations

import sys

from . import _imports

TYPE_CHECKING = False  # as that of typing, which takes longer to import than all the rest here
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from types import ModuleType


def take(face: str, module: ModuleType, names: Collection[str]) -> None:
    """Make *names* of *module* names of *face*, and let them say so.

    Parameters
    ----------
    face : str
        Full name of a package.
    module : module
    names : collection of str
    """
    into = vars(sys.modules[face])
    for name in names:
        thing = into[name] = getattr(module, name)
        origin = getattr(thing, "__module__", "")
        if origin.startswith("caproto.") and "._" in origin:
            thing.__module__ = face


def _import(home: str, face: str) -> ModuleType:
    """Import a module by its name relative to *face*.

    `importlib` would do it, but takes as long to import as a module of ours.
    """
    name = home.lstrip(".")
    package = face.rsplit(".", len(home) - len(name) - 1)[0]
    full_name = f"{package}.{name}"
    __import__(full_name)
    return sys.modules[full_name]


def importer(
    face: str, homes: Mapping[str, str], submodules: Collection[str] = ()
) -> Callable[[str], object]:
    """Make the ``__getattr__`` of a face.

    Parameters
    ----------
    face : str
        Full name of the package.
    homes : mapping
        Module, relative to the package with a dot for each level -> its names, with blanks between
        them.
    submodules : collection of str
        Modules of the package that programs reach as attributes, without an import of their own.
    """

    def find(name: str) -> object:
        # Python asks for modules, too, before it imports them: "from . import _locks".
        if name.startswith("_"):
            raise AttributeError(f"module {face!r} has no attribute {name!r}")
        _imports.check_reentry(f"The first use of {face}.{name}")
        if name in submodules:
            return _import(f".{name}", face)
        for home, text in homes.items():
            names = text.split()
            if name in names:
                take(face, _import(home, face), names)
                return vars(sys.modules[face])[name]
        raise AttributeError(f"module {face!r} has no attribute {name!r}")

    return find
