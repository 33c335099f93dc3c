"""The command line of an IOC."""
from __future__ import annotations

import pytest

from caproto.server import PVGroup, ioc_arg_parser, pvproperty


class WithMacros(PVGroup):
    """What is made of the options."""

    x = pvproperty(value=1.0, name="{axis}:x")


def parse(*argv, **options):
    return ioc_arg_parser(desc="test", default_prefix="p:", argv=argv, **options)


def test_without_arguments():
    ioc_options, run_options = parse()
    assert ioc_options == {"prefix": "p:"}
    assert run_options == {
        "interfaces": None, "port": None, "print_ports": False, "print_names": True,
        "log_level": "WARNING",
    }


def test_all_arguments():
    ioc_options, run_options = parse(
        "--prefix", "q:", "--interfaces", "127.0.0.1", "10.0.0.1", "--port", "0", "--print-ports",
        "--quiet", "--log", "DEBUG", "--axis", "theta",
        macros={"axis": "x", "beamline": "BL1"},
    )
    assert ioc_options == {"prefix": "q:", "macros": {"axis": "theta", "beamline": "BL1"}}
    assert run_options == {
        "interfaces": ["127.0.0.1", "10.0.0.1"], "port": 0, "print_ports": True,
        "print_names": False, "log_level": "DEBUG",
    }
    assert list(WithMacros(**ioc_options).pvdb) == ["q:theta:x"]


def test_names_are_printed_unless_told_otherwise():
    assert parse("--list-pvs")[1] == parse()[1]
    with pytest.raises(SystemExit):
        parse("--list-pvs", "--quiet")


def test_the_name_of_a_macro_may_have_a_dash():
    assert parse("--my-axis", "y", macros={"my-axis": "x"})[0]["macros"] == {"my-axis": "y"}


def test_the_command_line_of_the_process_is_the_default(monkeypatch):
    monkeypatch.setattr("sys.argv", ["ioc", "--prefix", "r:"])
    assert ioc_arg_parser(desc="test", default_prefix="p:")[0] == {"prefix": "r:"}


def test_help_and_mistakes(capsys):
    with pytest.raises(SystemExit) as caught:
        parse("--help", macros={"axis": "x"})
    assert caught.value.code == 0
    text = capsys.readouterr().out
    assert "test" in text and "--axis" in text and "p:" in text
    with pytest.raises(SystemExit) as caught:
        parse("--port", "many")
    assert caught.value.code == 2 and "--port" in capsys.readouterr().err
