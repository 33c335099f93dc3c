"""Write the tables of the API reference from the code, so that they cannot disagree with it.

``python docs/make_tables.py DIRECTORY`` writes one file for each table; the build of the manual
does it, too, and the pages include them. What is not a class or a function has no docstring: its
text is the comment ``#:`` above its definition.
"""
from __future__ import annotations

import enum
import inspect
import re
import sys
from pathlib import Path

import caproto
from caproto import server
from caproto._catools.watch.keys import KEYS

SOURCES = Path(caproto.__file__).parent


def comments():
    """For each name that is defined somewhere, the ``#:`` comment above it.

    First those at the left margin, then those in a block for the type checker.
    """
    found = {}
    sources = [*sorted(SOURCES.rglob("_*/*.py")), *sorted(SOURCES.glob("*.py"))]
    for margin in ("", "    "):
        pattern = rf"((?:^{margin}#: .*\n)+)^{margin}(\w+)(?:: [^=\n]+)? = "
        for path in sources:
            for block, name in re.findall(pattern, path.read_text(), re.MULTILINE):
                found.setdefault(name, " ".join(re.findall("#: (.*)", block)))
    return found


def table(header, rows):
    """A list-table."""
    lines = [".. list-table::", "    :header-rows: 1", ""]
    for row in (header, *rows):
        lines += [f"    {'* -' if not index else '  -'} {cell}" for index, cell in enumerate(row)]
    return "\n".join(lines) + "\n"


def public(condition):
    """Names and objects of ``caproto`` that fulfil a condition, in the order of their list."""
    pairs = ((name, getattr(caproto, name)) for name in caproto.__all__)
    return [(name, thing) for name, thing in pairs if condition(name, thing)]


def is_constant(name, thing):
    return not (
        inspect.isclass(thing) or inspect.isroutine(thing) or inspect.ismodule(thing)
        or isinstance(thing, enum.Enum)
    )


def constants():
    """Numbers and collections, each with its value if that is short."""
    texts = comments()
    entries = []
    for name, thing in public(is_constant):
        value = repr(thing)
        if name not in texts:
            raise LookupError(f"caproto.{name} needs a comment that begins with #: above it")
        entries.append(f".. py:data:: {name}")
        entries.append(f"    :value: {value}\n" if len(value) < 60 else "")
        entries.append(f"    {texts[name]}\n")
    return "\n".join(entries)


def members():
    """States, roles and directions, which are names of their own in ``caproto``."""
    entries = [
        f".. py:data:: {name}\n\n    {type(thing).__name__}: {thing.value}\n"
        for name, thing in public(lambda name, thing: isinstance(thing, enum.Enum))
    ]
    return "\n".join(entries)


def data_types():
    """The structure of each data type, with its number and fields."""
    structures = public(lambda name, thing: name.startswith("DBR_") and inspect.isclass(thing))
    entries = []
    for name, structure in sorted(structures, key=lambda pair: pair[1].DBR_ID):
        fields = [f"``{field}``" for field, *_ in structure._fields_ if not field.startswith("_")]
        entries.append(f".. py:class:: {name}\n")
        entries.append(f"    Type {structure.DBR_ID:d}. Fields: {', '.join(fields) or 'none'}.\n")
    return "\n".join(entries)


def statuses():
    rows = [
        (f"{status:d}", f"``{status.name}``", status.severity.name, status.description)
        for status in caproto.CAStatus
    ]
    return table(("Code", "Name", "Severity", "Meaning"), rows)


def enumeration(cls):
    """A function that makes the table of one enumeration."""
    return lambda: table(("Number", "Name"), [(f"{int(m):d}", f"``{m.name}``") for m in cls])


def exceptions(cls=caproto.CaprotoError, indent=""):
    """The tree of exceptions, as a list in lists."""
    builtins = [f"``{base.__name__}``" for base in cls.__bases__ if base.__module__ == "builtins"]
    also = f" ({', '.join(builtins)})" if cls is not caproto.CaprotoError and builtins else ""
    branches = [
        exceptions(child, indent + "  ")
        for child in cls.__subclasses__() if child.__name__ in caproto.__all__
    ]
    below = "\n" + "".join(branches) + "\n" if branches else ""
    return f"{indent}* :exc:`{cls.__name__}`{also}\n{below}"


def channel_properties():
    """The properties of the channel classes of the server, and which classes have them."""
    classes = [
        cls for name in server.__all__
        if inspect.isclass(cls := getattr(server, name)) and issubclass(cls, server.ChannelData)
    ]
    rows = {}
    for cls in classes:
        for name, member in vars(cls).items():
            if name in cls.properties():
                value = f"``{member.default!r}``"
                rows[name] = (f"``{name}``", f":class:`{cls.__name__}`", value, member.__doc__)
    return table(("Property", "Of", "Default", "Meaning"), rows.values())


def watch_keys():
    """The keys of the table of ``caproto-monitor --watch``."""
    rows = [(f"``{key.label}``", key.meaning.replace("*", r"\*") + ".") for key in KEYS]
    return table(("Key", "What it does"), rows)


TABLES = {
    "channel-properties": channel_properties,
    "constants": constants,
    "members": members,
    "data-types": data_types,
    "exceptions": exceptions,
    "CAStatus": statuses,
    "watch-keys": watch_keys,
    **{
        cls.__name__: enumeration(cls)
        for cls in (
            caproto.AccessRights, caproto.AlarmSeverity, caproto.AlarmStatus,
            caproto.ChannelType, caproto.SubscriptionType,
        )
    },
}


def write(directory):
    """Write all tables.

    Parameters
    ----------
    directory : path-like
        Is created if it does not exist.
    """
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    for name, make in TABLES.items():
        (directory / f"{name}.txt").write_text(make())


if __name__ == "__main__":
    write(sys.argv[1])
