"""Fixtures for all tests. What they are made of lives in tests/harness."""
from __future__ import annotations

import gc
import logging
import signal
from collections.abc import Callable, Iterator

import pytest
from hypothesis import settings

from tests.harness.ioc_process import DemoIOC, SoftIOC
from tests.harness.leaks import no_leaks
from tests.harness.libca import run_libca
from tests.harness.namespaces import obstacle
from tests.harness.waiting import wait_for as _wait_for

# Directories whose tests start threads and sockets of ours.
_THREADED = (
    "tests/threading/", "tests/server/test_ioc_examples", "tests/commandline/", "tests/sync/",
    "tests/conformance/", "tests/benchmarks/", "tests/integration/", "tests/examples/",
)
# ... but for these many tests without any.
_CALM = (
    "tests/conformance/test_codec.py", "tests/conformance/test_server_session.py",
    "tests/conformance/test_streams.py", "tests/threading/test_operations.py",
    "tests/threading/test_routing.py",
    # Its programs end with it; the libraries of Jupyter keep an event loop in this process.
    "tests/examples/test_gui.py",
)
# Files that take long come first, so that at the end no worker is left alone with one.
_LONG = (*_THREADED, "tests/simulation/", "tests/catools/", "tests/test_examples.py")
_NO_NETWORKS = "bad networks are not tested"


# How long an example takes depends on what else the machine does.
settings.register_profile("any machine", deadline=None)
settings.load_profile("any machine")


def pytest_configure() -> None:
    """Run in the background of a shell script we are born deaf to Ctrl-C, and our children are."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Order the files for several workers."""
    items.sort(key=lambda item: not item.nodeid.startswith(_LONG))


def pytest_collection_finish() -> None:
    """Ten thousand tests stay in memory; the garbage collections below need not look at them."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="module", autouse=True)
def _small_heap() -> None:
    """Keep what earlier files left in caches out of the collections, which are frequent."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _leaks(request: pytest.FixtureRequest) -> Iterator[None]:
    """After each test with threads: no thread of ours alive, no socket open."""
    name = request.node.nodeid
    if name.startswith(_THREADED) and not name.startswith(_CALM):
        with no_leaks():
            yield
    else:
        yield


@pytest.fixture
def networks() -> None:
    """For tests that make networks (tests/harness/namespaces.py); skips them where it cannot."""
    if obstacle():
        pytest.skip(f"{_NO_NETWORKS}; to test them, {obstacle()}")


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Give all tests of bad networks one place if they are skipped: one line then reports them."""
    if report.skipped and isinstance(report.longrepr, tuple) and _NO_NETWORKS in report.longrepr[2]:
        report.longrepr = ("tests/harness/namespaces.py", 1, report.longrepr[2])


@pytest.fixture
def loggers_as_before() -> Iterator[None]:
    """For tests that configure logging: levels and handlers of our loggers are put back."""
    names = ("caproto", *(n for n in logging.root.manager.loggerDict if n.startswith("caproto.")))
    loggers = [logging.getLogger(name) for name in names]
    before = [(logger, logger.level, list(logger.handlers)) for logger in loggers]
    formatters = [(one, one.formatter) for _, _, handlers in before for one in handlers]
    yield
    for logger, level, handlers in before:
        logger.setLevel(level)
        logger.handlers[:] = handlers
    for handler, formatter in formatters:
        handler.setFormatter(formatter)


@pytest.fixture
def wait_for() -> Callable:
    """``wait_for(condition, timeout=10, message="")``: poll until true, or fail."""
    return _wait_for


@pytest.fixture(scope="session")
def ioc() -> Iterator[SoftIOC]:
    """A real IOC with the records of records.db, shared by all tests: leave it as you found it."""
    with SoftIOC() as process:
        yield process


@pytest.fixture
def own_ioc() -> Iterator[SoftIOC]:
    """A real IOC of the test's own, to be killed, frozen and restarted."""
    with SoftIOC() as process:
        yield process


@pytest.fixture
def demo_ioc() -> Iterator[DemoIOC]:
    """Our random_walk demo in a process of its own."""
    with DemoIOC("random_walk") as process:
        yield process


@pytest.fixture
def start_ioc() -> Iterator[Callable[..., SoftIOC]]:
    """``start_ioc(databases, prefix=…)``: as many real IOCs as the test wants, ended after it."""
    started: list[SoftIOC] = []

    def start(*args, **options) -> SoftIOC:
        process = SoftIOC(*args, **options)
        started.append(process)
        return process.start()

    yield start
    for process in started:
        process.kill()


@pytest.fixture
def start_demo() -> Iterator[Callable[..., DemoIOC]]:
    """``start_demo("random_walk", "--argument", …)``: our demo IOCs, ended after the test."""
    started: list[DemoIOC] = []

    def start(*args, **options) -> DemoIOC:
        process = DemoIOC(*args, **options)
        started.append(process)
        return process.start()

    yield start
    for process in started:
        process.kill()


@pytest.fixture
def libca() -> Callable:
    """``libca(script, ioc.environ)``: run a script with the real C client, see harness/libca.py."""
    return run_libca
