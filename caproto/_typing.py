"""What a short command needs of `typing`, the import of which takes a tenth of its time.

Names that stand in annotations alone are imported where ``TYPE_CHECKING`` is true.
"""
from __future__ import annotations

TYPE_CHECKING = False  # as for type checkers that of typing is, which know it by its name
if TYPE_CHECKING:
    from typing import NamedTuple
else:

    class _Maker(type):
        """Makes a class of named tuples from the annotations of a class."""

        def __new__(meta, name, bases, namespace):
            """Return the class; what typing checks here, and takes long for, type checkers do."""
            from collections import namedtuple  # here, so that a tool is soon deaf to Ctrl-C

            fields = namespace["__annotations__"]
            defaults = [namespace.pop(field) for field in fields if field in namespace]
            made = namedtuple(name, fields, defaults=defaults, module=namespace["__module__"])
            for attribute, value in namespace.items():
                setattr(made, attribute, value)
            return made

    NamedTuple = type.__new__(_Maker, "NamedTuple", (), {})


__all__ = ["TYPE_CHECKING", "NamedTuple"]
