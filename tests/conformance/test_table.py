"""Every statement has a test, and the page of the manual is about the tests that there are."""
from __future__ import annotations

import re

from tests.conformance.items import STATEMENTS
from tests.conformance.table import PAGE, Recorder, marked_tests, page


def test_every_statement_has_a_test():
    assert sorted(STATEMENTS) == sorted(marked_tests())


def test_the_page_is_up_to_date():
    """But for the results, which a run writes: python -m tests.conformance.table."""
    everything_passed = {name: "passed" for names in marked_tests().values() for name in names}
    assert PAGE.read_text() == page(everything_passed)


def test_a_result_that_is_not_passed_shows():
    tests = marked_tests()
    results = {name: "passed" for names in tests.values() for name in names}
    for number, outcome in ((1, "failed"), (58, "skipped")):
        results[tests[number][0]] = outcome
    text = page(results)
    assert re.search(r"\* - 1\n.*\n(?:      [- ] \| .*\n)+      - failed\n", text)
    assert re.search(r"\* - 58\n.*\n(?:      [- ] \| .*\n)+      - skipped\n", text)


class _Report:
    def __init__(self, nodeid: str, outcome: str, when: str = "call") -> None:
        self.nodeid, self.outcome, self.when = nodeid, outcome, when
        self.failed, self.skipped = outcome == "failed", outcome == "skipped"


def test_the_worst_of_all_parameters_counts():
    recorder = Recorder()
    for parameter, outcome in (("a", "passed"), ("b", "failed"), ("c", "passed"), ("d", "skipped")):
        recorder.pytest_runtest_logreport(_Report(f"tests/test_x.py::test_y[{parameter}]", outcome))
    assert recorder.results == {("test_x.py", "test_y"): "failed"}


def test_an_error_of_a_fixture_is_a_failure():
    recorder = Recorder()
    recorder.pytest_runtest_logreport(_Report("tests/test_x.py::C::test_y", "failed", "teardown"))
    assert recorder.results == {("test_x.py", "test_y"): "failed"}
