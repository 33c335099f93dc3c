"""`ioc_arg_parser`: the command line of an IOC."""
from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import TypedDict

__all__ = ["ioc_arg_parser"]


class _Prefixed(TypedDict):
    prefix: str


class IocOptions(_Prefixed, total=False):
    """Arguments of a `PVGroup`; the macros only if there are any."""

    macros: dict[str, str]


class RunOptions(TypedDict):
    """Arguments of `run`."""

    interfaces: list[str] | None
    port: int | None
    print_ports: bool
    print_names: bool
    log_level: str


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port number, 0 to 65535")
    return int(text)


def ioc_arg_parser(
    *,
    desc: str,
    default_prefix: str,
    argv: Sequence[str] | None = None,
    macros: Mapping[str, str] | None = None,
) -> tuple[IocOptions, RunOptions]:
    """Read the command line of an IOC.

    ``--prefix TEXT``, ``--interfaces ADDRESS …``, ``--port N`` (0: any free one),
    ``--print-ports``, ``--list-pvs``, ``--quiet``, ``--log LEVEL``, and one option for each macro.

    Parameters
    ----------
    desc : str
        What the IOC does, for ``--help``.
    default_prefix : str
        Prefix of the PVs if the user gives none.
    argv : sequence of str, optional
        Default: the command line.
    macros : dict of str to str, optional
        Macros and their defaults.

    Returns
    -------
    ioc_options : dict
        For the constructor of a `PVGroup`.
    run_options : dict
        For `run`.
    """
    parser = argparse.ArgumentParser(
        description=desc, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--prefix", default=default_prefix, help="prefix of all PV names")
    parser.add_argument(
        "--interfaces", nargs="+", metavar="ADDRESS", help="listen on these addresses only"
    )
    parser.add_argument(
        "--port", type=_port, metavar="N",
        help="port for searches and preferred port for clients, 0 for any free one; default: from "
        "the environment",
    )
    parser.add_argument(
        "--print-ports", action="store_true", help="print the ports that are in use"
    )
    names = parser.add_mutually_exclusive_group()
    names.add_argument(
        "--list-pvs", action="store_true", help="print the names of the PVs: this is the default"
    )
    names.add_argument("--quiet", action="store_true", help="do not print the names of the PVs")
    parser.add_argument(
        "--log", type=str.upper, default="WARNING", metavar="LEVEL", help="DEBUG, INFO, WARNING...",
        choices=["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"],
    )
    for macro, default in (macros or {}).items():
        parser.add_argument(f"--{macro}", dest=macro, default=default, help="macro in PV names")
    options = parser.parse_args(argv)
    ioc_options: IocOptions = {"prefix": options.prefix}
    if macros:
        ioc_options["macros"] = {macro: getattr(options, macro) for macro in macros}
    return ioc_options, {
        "interfaces": options.interfaces,
        "port": options.port,
        "print_ports": options.print_ports,
        "print_names": not options.quiet,
        "log_level": options.log,
    }
