"""Loggers of single objects, what their records carry, and who prints them."""
from __future__ import annotations

import gc
import io
import logging
import pickle
import subprocess
import sys
import threading
import weakref
from collections.abc import Iterator
from pathlib import Path

import pytest

from caproto._errors import CaprotoError, CaprotoValueError
from caproto._log import (
    CHANNEL_LOGGER,
    CIRCUIT_LOGGER,
    AddressFilter,
    CaprotoTypeError,
    LogAllowance,
    LogFormatter,
    PVFilter,
    RoleFilter,
    _MessageFormatter,
    adapter,
    color_logs,
    config_caproto_logging,
    get_handler,
    set_handler,
    turned_up,
)
from caproto._protocol.roles import CLIENT, SERVER


class Kept(logging.Handler):
    """Keeps the records."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)

    @property
    def messages(self) -> list[str]:
        return [record.getMessage() for record in self.records]


pytestmark = pytest.mark.usefixtures("loggers_as_before")


@pytest.fixture
def kept() -> Iterator[Kept]:
    """A handler at the top of the tree."""
    handler = Kept()
    logging.getLogger("caproto").addHandler(handler)
    yield handler
    logging.getLogger("caproto").removeHandler(handler)


def test_records_carry_the_facts_of_the_object_and_of_the_call(kept: Kept) -> None:
    address = ("10.0.0.3", 5064)
    log = adapter(CHANNEL_LOGGER, pv="x", role="CLIENT")
    log.error("%d things", 3, extra={"their_address": address, "direction": "<<<---"})
    [record] = kept.records
    assert record.getMessage() == "3 things"
    assert record.name == "caproto.ch"
    assert (record.pv, record.role, record.their_address) == ("x", "CLIENT", address)
    assert record.direction == "<<<---"
    assert record.filename == "test_log.py"


def test_the_call_overrides_the_object(kept: Kept) -> None:
    log = adapter(CIRCUIT_LOGGER, pv="x")
    log.error("one", extra={"pv": "y"})
    log.error("two")
    assert [record.pv for record in kept.records] == ["y", "x"]


def test_turning_up_one_pv_affects_no_other(kept: Kept) -> None:
    """As in the tutorial: x.log.setLevel('DEBUG')."""
    x, dotted, other = (adapter(CHANNEL_LOGGER, pv=pv) for pv in ("x", "x.EGU", "y"))
    x.setLevel("DEBUG")
    for log in (x, dotted, other):
        log.debug("hello")
    assert [record.pv for record in kept.records] == ["x"]
    assert x.isEnabledFor(logging.DEBUG)
    assert not dotted.isEnabledFor(logging.DEBUG)


@pytest.mark.parametrize("name", ["caproto", "caproto.ch"])
def test_turning_up_the_tree_turns_up_its_objects(name: str, kept: Kept) -> None:
    log = adapter(CHANNEL_LOGGER, pv="x")
    log.debug("too early")  # the answer must not be remembered
    logging.getLogger(name).setLevel("DEBUG")
    log.debug("now")
    logging.getLogger(name).setLevel("WARNING")
    log.debug("too late")
    assert kept.messages == ["now"]


def test_turning_one_object_down(kept: Kept) -> None:
    log = adapter(CHANNEL_LOGGER, pv="noisy")
    log.setLevel("CRITICAL")
    log.error("hidden")
    log.setLevel("NOTSET")
    log.error("shown")
    assert kept.messages == ["shown"]


def test_logging_disable_holds_for_objects(kept: Kept) -> None:
    log = adapter(CHANNEL_LOGGER, pv="x")
    log.setLevel("DEBUG")
    logging.disable(logging.ERROR)
    try:
        log.error("hidden")
    finally:
        logging.disable(logging.NOTSET)
    log.error("shown")
    assert kept.messages == ["shown"]


def test_loggers_of_objects_are_collected() -> None:
    """They are not kept by name, unlike those of logging.getLogger."""
    registered = set(logging.Logger.manager.loggerDict)
    log = adapter(CHANNEL_LOGGER, pv="some:pv")
    log.debug("x")
    gone = weakref.ref(log)
    del log
    gc.collect()
    assert gone() is None
    assert set(logging.Logger.manager.loggerDict) == registered


def test_the_logger_of_an_object_is_not_pickled_by_accident() -> None:
    with pytest.raises(CaprotoError, match="pickle"):
        pickle.dumps(adapter(CHANNEL_LOGGER, pv="x"))


def test_repr_says_what_it_is_about() -> None:
    shown = repr(adapter(CIRCUIT_LOGGER, their_address=("10.0.0.3", 5064), role=CLIENT))
    assert "caproto.circ" in shown
    assert "their_address=10.0.0.3:5064" in shown
    assert "role=CLIENT" in shown


def test_lines_show_the_facts() -> None:
    stream = io.StringIO()
    config_caproto_logging(file=stream, level="DEBUG")
    log = adapter(CHANNEL_LOGGER, pv="x", their_address=("10.0.0.3", 5064))
    log.info("hello", extra={"direction": "--->>>"})
    line = stream.getvalue()
    assert line.startswith("[I ")
    assert line.endswith(" ch] x --->>> 10.0.0.3:5064 hello\n")


def test_colour_is_for_terminals() -> None:
    record = logging.LogRecord("caproto.ch", logging.ERROR, "f", 1, "text", (), None)
    assert "\x1b[31m" in LogFormatter(color=True).format(record)
    assert "\x1b" not in LogFormatter(color=False).format(record)
    stream = io.StringIO()  # no terminal, so no colour though asked for
    config_caproto_logging(file=stream, color=True)
    adapter(CHANNEL_LOGGER).error("x")
    assert "\x1b" not in stream.getvalue()


def test_configuring_again_replaces_what_was_set_up_before(tmp_path: Path) -> None:
    first, second = io.StringIO(), tmp_path / "log.txt"
    config_caproto_logging(file=first)
    handler = set_handler(file=str(second), level="INFO")
    log = adapter(CHANNEL_LOGGER, pv="x")
    log.info("hello")
    config_caproto_logging(file=io.StringIO())  # closes the file
    assert first.getvalue() == ""
    assert second.read_text().endswith("x hello\n")
    assert handler not in logging.getLogger("caproto").handlers


def test_a_configured_handler_lets_single_objects_through() -> None:
    stream = io.StringIO()
    config_caproto_logging(file=stream, level="WARNING")
    log = adapter(CHANNEL_LOGGER, pv="x")
    log.setLevel("DEBUG")
    log.debug("hello")
    assert "hello" in stream.getvalue()


@pytest.mark.parametrize("level", ["LOUD", True, 1.5])
def test_levels_that_are_none(level: object) -> None:
    with pytest.raises(CaprotoValueError, match="not a logging level"):
        config_caproto_logging(file=io.StringIO(), level=level)


def record(level: int = logging.DEBUG, **facts: object) -> logging.LogRecord:
    made = logging.LogRecord("caproto.ch", level, "f", 1, "text", (), None)
    made.__dict__.update(facts)
    return made


def test_filter_by_pv_name() -> None:
    wanted = PVFilter("sr:*", "x")
    assert wanted.filter(record(pv="sr:current"))
    assert wanted.filter(record(pv="x"))
    assert not wanted.filter(record(pv="y"))
    assert not wanted.filter(record(pv="SR:current"))
    assert wanted.filter(record(pv="y", level=logging.WARNING))
    assert wanted.filter(record())  # about no PV
    assert not PVFilter("x", exclusive=True).filter(record())
    assert not PVFilter("x", level="ERROR").filter(record(pv="y", level=logging.WARNING))


def test_filter_by_address() -> None:
    here, there = ("10.0.0.7", 40000), ("10.0.0.3", 5064)
    facts = {"our_address": here, "their_address": there}
    assert AddressFilter("10.0.0.3").filter(record(**facts))
    assert AddressFilter("10.0.0.3:5064").filter(record(**facts))
    assert AddressFilter(there).filter(record(**facts))
    assert AddressFilter(here).filter(record(**facts))
    assert AddressFilter("10.0.0.*").filter(record(**facts))
    assert not AddressFilter("10.0.0.3:5065").filter(record(**facts))
    assert not AddressFilter("10.0.0.30").filter(record(**facts))
    assert AddressFilter("10.0.0.30").filter(record())
    assert not AddressFilter("10.0.0.30", exclusive=True).filter(record())


def test_filter_by_role() -> None:
    for role in (CLIENT, "CLIENT", "client"):
        assert RoleFilter(role).filter(record(role="CLIENT"))
        assert RoleFilter(role).filter(record(role=CLIENT))
        assert not RoleFilter(role).filter(record(role=SERVER))


def printed(script: str) -> tuple[str, str]:
    """What a fresh interpreter prints."""
    head = "import logging\nfrom caproto._log import *\nlog = adapter('caproto.ch', pv='x')\n"
    done = subprocess.run(
        [sys.executable, "-c", head + script], capture_output=True, text=True, check=True
    )
    return done.stdout, done.stderr


def test_an_unconfigured_program_sees_warnings_and_what_it_turned_up() -> None:
    out, err = printed("log.info('a'); log.warning('b'); log.setLevel('DEBUG'); log.debug('c')")
    assert out == ""
    assert [line[-3:] for line in err.splitlines()] == ["x b", "x c"]


@pytest.mark.parametrize(
    "configuration",
    [
        "logging.basicConfig(format='%(message)s')",
        "logging.getLogger('caproto').addHandler(logging.StreamHandler())",
        "logging.getLogger('caproto.ch').addHandler(logging.StreamHandler())",
    ],
)
def test_a_program_that_configures_logging_sees_each_record_once(configuration: str) -> None:
    _, err = printed(f"{configuration}\nlog.warning('hello')")
    assert err == "hello\n"


def test_a_program_can_silence_us() -> None:
    silence = "logging.getLogger('caproto').addHandler(logging.NullHandler())\nlog.error('x')"
    assert printed(silence) == ("", "")


def test_default_output_of_the_configured_log_is_stdout() -> None:
    out, err = printed("config_caproto_logging()\nlog.warning('hello')")
    assert out.endswith("x hello\n")
    assert err == ""


class TestAllowance:
    def test_so_many_lines_in_a_period_and_the_others_counted(self):
        allowance = LogAllowance(2, period=60)
        assert [allowance.take(now) for now in (5, 6, 7, 64.9)] == [0, 0, None, None]
        assert [allowance.take(now) for now in (65, 66, 67)] == [2, 0, None]

    def test_a_pause_longer_than_the_period_begins_a_new_one(self):
        allowance = LogAllowance(1)
        assert [allowance.take(now) for now in (5, 1000, 1059, 1060)] == [0, 0, None, 1]


def test_the_loggers_at_debug_are_known_while_they_live() -> None:
    log = adapter(CHANNEL_LOGGER, pv="x")
    before = len(turned_up)
    for level, number in (("DEBUG", 1), (5, 1), ("INFO", 0), ("NOTSET", 0), (logging.DEBUG, 1)):
        log.setLevel(level)
        assert len(turned_up) == before + number
    del log
    gc.collect()
    assert len(turned_up) == before


@pytest.mark.parametrize(("message", "line"), [
    ("'x:y' was lost", "'x:y' was lost"), ("lost", "x:y lost"), ("x:yz", "x:y x:yz"),
])
def test_a_line_names_the_pv_once(message: str, line: str) -> None:
    text = LogFormatter().format(record(msg=message, pv="x:y"))
    assert text.partition("] ")[2] == line


@pytest.mark.parametrize(("message", "line"), [
    ("Lost connection to 10.0.0.1:5064", "Lost connection to 10.0.0.1:5064"),
    ("The server responds again", "10.0.0.1:5064{colon} The server responds again"),
    ("'x' failed", "10.0.0.1:5064{colon} 'x' failed"),
    ("Not sent", "x 10.0.0.1:5064{colon} Not sent"),
])
def test_a_line_names_the_server_once(message: str, line: str) -> None:
    pv = "x" if "x" in line else None
    facts = record(msg=message, their_address=("10.0.0.1", 5064), pv=pv)
    assert LogFormatter().format(facts).partition("] ")[2] == line.format(colon="")
    assert _MessageFormatter("get").format(facts) == "get: " + line.format(colon=":")


class Failing(logging.Handler):
    """Raises what it is given, as a handler that uses the client where it must not does."""

    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self.error = error

    def emit(self, record: logging.LogRecord) -> None:
        raise self.error


def test_a_handler_that_fails_is_reported_and_disturbs_nothing_else(capsys) -> None:
    log = adapter(CIRCUIT_LOGGER)
    log.addHandler(Failing(RuntimeError("the disk is full")))
    log.error("what happened")
    printed = capsys.readouterr().err
    assert "the disk is full" in printed
    assert "what happened" in printed


def test_a_filter_that_fails_is_reported_and_disturbs_nothing_else(capsys) -> None:
    log = adapter(CIRCUIT_LOGGER)
    log.addFilter(lambda record: record.no_such_attribute)
    log.error("what happened")
    assert "no_such_attribute" in capsys.readouterr().err


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_ctrl_c_and_an_exit_in_the_main_thread_pass(error: type[BaseException]) -> None:
    log = adapter(CIRCUIT_LOGGER)
    log.addHandler(Failing(error()))
    with pytest.raises(error):
        log.error("what happened")


def test_a_handler_that_exits_ends_no_other_thread(capsys) -> None:
    log = adapter(CIRCUIT_LOGGER)
    log.addHandler(Failing(SystemExit()))
    went_on = []

    def work() -> None:
        log.error("what happened")
        went_on.append(True)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert went_on
    assert "SystemExit" in capsys.readouterr().err


def test_a_form_of_the_line_that_the_user_chose() -> None:
    record = logging.LogRecord("caproto.ch", logging.ERROR, "f", 1, "text", (), None)
    form = "{color}[{asctime}]{end_color} {message}"
    plain = LogFormatter(fmt=form, datefmt="day", style="{")
    assert plain.format(record) == "[day] text"
    assert LogFormatter(form, "day", "{", True).format(record) == "\x1b[31m[day]\x1b[0m text"
    blue = LogFormatter("%(color)s%(message)s", color=True, colors={logging.ERROR: 4})
    assert blue.format(record) == "\x1b[34mtext"
    assert LogFormatter(color=True, colors={}).format(record) == LogFormatter().format(record)


def test_the_handler_in_use_and_its_colours() -> None:
    handler = config_caproto_logging(file=io.StringIO())
    assert get_handler() is handler
    color_logs(True)
    record = logging.LogRecord("caproto.ch", logging.ERROR, "f", 1, "text", (), None)
    assert "\x1b[31m" in handler.format(record)
    color_logs(False)
    assert "\x1b" not in handler.format(record)


@pytest.mark.parametrize("wrong", [None, 5, (), ("10.0.0.3",), (b"10.0.0.3", 5064)])
def test_what_is_no_address_for_a_filter(wrong):
    with pytest.raises(CaprotoTypeError, match="addresses must be"):
        AddressFilter("10.0.0.4", wrong)
