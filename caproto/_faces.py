"""Faces: public modules that import a name at its first use, so that a script starts sooner."""
from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Mapping


def load(face: str, home: str, names: Collection[str]) -> None:
    """Import the module *home*; make *names* of it names of *face*, and let them say so.

    Parameters
    ----------
    face : str
        Full name of a package.
    home : str
        Relative to the package, with a dot for each level.
    names : collection of str
    """
    import importlib  # here, because it takes as long as two modules of ours

    module = importlib.import_module(home, face)
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
        The names of each module, with blanks between them; as for `load`.
    submodules : collection of str
        Modules of the package that programs reach as attributes, without an import of their own.
    """

    def find(name: str) -> object:
        if name in submodules:
            load(face, f".{name}", ())
            return vars(sys.modules[face])[name]
        for home, text in homes.items():
            names = text.split()
            if name in names:
                load(face, home, names)
                return vars(sys.modules[face])[name]
        raise AttributeError(f"module {face!r} has no attribute {name!r}")

    return find
