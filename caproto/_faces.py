"""Faces: public modules that import a name at its first use, so that a script starts sooner."""
from __future__ import annotations

import sys

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
        from importlib import import_module  # here, because it takes as long as a module of ours

        if name in submodules:
            return import_module(f".{name}", face)
        for home, text in homes.items():
            names = text.split()
            if name in names:
                take(face, import_module(home, face), names)
                return vars(sys.modules[face])[name]
        raise AttributeError(f"module {face!r} has no attribute {name!r}")

    return find
