"""Each benchmark once, small: it must do what it claims to measure. No time is judged."""
from __future__ import annotations

import pytest

from tests.benchmarks.bench_updates import highest
from tests.benchmarks.libraries import IN_C, LIMIT, OURS, Library, in_c
from tests.benchmarks.rig import ROWS, Rig
from tests.benchmarks.table import Result, as_json, as_rst, run, text_table, written

PEER = Library(
    "peer 1.0", "with_caproto.py", OURS.python, OURS.one_read, OURS.short_read, is_peer=True
)


@pytest.fixture(scope="module")
def rig():
    rig = Rig(small=True)
    yield rig
    rig.close()


def measured(library: Library):
    return [row for row in ROWS if row.measures(library)]


@pytest.mark.ioc
@pytest.mark.parametrize("row", measured(OURS), ids=lambda row: row.name)
def test_row(row, rig):
    assert row.measure(rig, OURS) >= 0


@pytest.mark.ioc
@pytest.mark.parametrize("row", measured(LIMIT), ids=lambda row: row.name)
def test_limit_of_row(row, rig):
    assert row.measure(rig, LIMIT) >= 0


@pytest.mark.ioc
@pytest.mark.parametrize("row", [row for row in ROWS if row.in_c], ids=lambda row: row.name)
def test_row_in_c(row, rig):
    library = in_c()
    if library is None:
        pytest.skip("there is no C compiler")
    assert row.measures(library) and row.measure(rig, library) >= 0


def rows():
    """One row of each kind: more is better, less is better."""
    return [
        next(row for row in ROWS if row.less_is_better is wanted and row.peers)
        for wanted in (False, True)
    ]


def results(ours: float, peer: float) -> list[Result]:
    """The same figures for two rows, in their goals."""
    return [
        Result(row, {OURS.name: [row.goal * ours] * 3, PEER.name: [row.goal * peer]})
        for row in rows()
    ]


def test_what_falls_short_is_said():
    good = text_table(results(1.0, 1.0))
    assert "falls short" not in good
    more, less = text_table(results(2.0, 1.0)).splitlines()[1:3]
    assert "falls short" not in more and less.endswith("falls short")


def test_the_ratio_tells_how_many_times_better_we_are():
    more, less = results(2.0, 1.0)
    assert (more.ratio, less.ratio) == (2.0, 0.5)


def test_the_best_peer_is_named():
    for result in results(1.0, 1.0):
        result.figures["worse 0.1"] = [
            result.row.goal * (2 if result.row.less_is_better else 0.5)
        ]
        assert result.best_peer == (PEER.name, result.row.goal)
        assert PEER.name in text_table([result])


def test_the_c_library_has_a_column_and_is_no_peer():
    for result in results(1.0, 1.0):
        result.figures[IN_C] = [4.0 * result.row.goal]
        assert result.best_peer == (PEER.name, result.row.goal)
        assert written(4.0 * result.row.goal) in text_table([result])
        assert written(4.0 * result.row.goal) in as_rst([result], [PEER], 3)


def test_who_fails_is_named_and_the_others_go_on():
    class Broken:
        name, unit, goal, less_is_better = "row", "s", 1.0, True

        def measures(self, library):
            return True

        def measure(self, rig, library):
            if library is LIMIT:
                raise AssertionError("the last value is wrong")
            return 0.5

        def reached(self, figure):
            return True

        def best(self, figures):
            return min(figures)

        worst = best

    class NoRig:
        notes: list[str] = []

        def end_row(self):
            pass

    (result,) = run([Broken()], [PEER], 2, NoRig(), say=lambda text: None)
    assert result.figures == {OURS.name: [0.5, 0.5], PEER.name: [0.5, 0.5]}
    assert "the last value is wrong" in text_table([result])


def test_all_outputs_have_all_rows():
    found = results(1.0, 2.0)
    page = as_rst(found, [PEER], 3)
    data = as_json(found, [PEER])
    for result in found:
        assert result.row.name in page
    assert [row["name"] for row in data["rows"]] == [result.row.name for result in found]
    assert data["rows"][0]["figures"][OURS.name] == [found[0].row.goal] * 3


@pytest.mark.parametrize("limit", [10, 37, 400, 401, 1234, 4999, 5000])
def test_the_search_for_the_highest_rate_comes_close(limit):
    tried = []

    def passes(count: int) -> float:
        tried.append(count)
        return float(count) if count <= limit else 0.0

    best = highest(passes, start=400, least=10, most=5000)
    assert limit / 1.1 - 1 <= best <= limit
    assert len(tried) < 20


def test_the_search_ends_if_nothing_passes():
    assert highest(lambda count: 0.0, start=400, least=10, most=5000) == 0
