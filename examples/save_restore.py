"""Save the values of some PVs in a file, and write them back.

Usage: python save_restore.py save FILE PV [PV ...]
       python save_restore.py restore FILE
Demo IOC: python -m caproto.ioc_examples.settings
"""
import json
import sys

from caproto.threading.client import Context


def save(path, names):
    """Write the values of *names* to a file: one line for each, the value as JSON."""
    with Context() as ctx:
        results = ctx.read(*names, data_type="control")  # so that enums come with their names
    report(results.errors)
    values = results.to_dict()
    with open(path, "w") as file:
        for name, value in values.items():
            print(name, json.dumps(storable(value)), file=file)
    print(f"{len(values)} saved in {path}")


def storable(value):
    """Return *value* as JSON can hold it: an enum by its name, an array as a list."""
    if getattr(value, "name", None) is not None:
        return value.name
    return value.tolist() if hasattr(value, "tolist") else value


def restore(path):
    """Write the values of a file to their PVs."""
    values = {}
    with open(path) as file:
        for line in file:
            name, value = line.split(maxsplit=1)
            values[name] = json.loads(value)
    with Context() as ctx:
        results = ctx.write(values)
    report(results.errors)
    print(f"{len(values) - len(results.errors)} of {len(values)} restored from {path}")


def report(errors):
    """Print what went wrong; each error names its PV."""
    for error in errors.values():
        print(error)


match sys.argv[1:]:
    case ["save", path, *names] if names:
        save(path, names)
    case ["restore", path]:
        restore(path)
    case _:
        sys.exit(__doc__)
