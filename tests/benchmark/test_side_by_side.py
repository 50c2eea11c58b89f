"""How libraries are compared: with entrants whose times and parameters are known."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from vbfast.benchmark.cases import Case
from vbfast.benchmark.figure import draw_comparisons, fingerprint
from vbfast.benchmark.peers.entrants import Task
from vbfast.benchmark.peers.process import PeerError
from vbfast.benchmark.side_by_side import Result, bound_of, compare, record_of

CASE = Case("toy", 40, 2, 2, "diag")


@pytest.fixture
def task(tmp_path):
    return Task.write(CASE, "float64", tmp_path)


class Fake:
    """One that takes given times, and comes to means that are given."""

    def __init__(self, name, times, *, mean=0.0, log=None, fails=(), lack=None, covariances=None):
        self.name, self._times, self._mean = name, iter(times), mean
        self._log = [] if log is None else log
        self._fails, self._lack, self._covariances = fails, lack, covariances

    def _note(self, what):
        self._log.append((self.name, what))
        if what in self._fails:
            raise PeerError(f"{what} fails")

    def version(self):
        return "1.0"

    def lacks(self, task):
        return self._lack

    def warm_up(self, task):
        self._note("warm up")
        return 2

    def turn(self):
        self._note("turn")
        return next(self._times)

    def parameters(self):
        self._note("parameters")
        covariances = np.ones((2, 2)) if self._covariances is None else self._covariances
        return np.array([0.5, 0.5]), np.full((2, 2), self._mean), covariances


class Product:
    """Products of which each is half as fast as the one before."""

    def __init__(self, log=None):
        self._log, self._peak = [] if log is None else log, 2e9

    def warm_up(self, task):
        self._log.append(("product", "warm up"))
        return 2

    def peak(self):
        self._log.append(("product", "turn"))
        self._peak /= 2
        return self._peak


def results_of(task, *entrants, repeats=3):
    return compare(task, entrants, Product(), repeats=repeats).results


def test_all_take_turns(task):
    log = []
    entrants = [Fake(name, [1, 2], log=log) for name in ("ours", "a", "b")]
    compare(task, entrants, Product(log), repeats=2)
    turns = [name for name, what in log if what == "turn"]
    assert turns == ["ours", "product", "a", "b"] * 2
    # Nobody is timed before everybody is warm.
    first = log.index(("ours", "turn"))
    assert {name for name, what in log[:first] if what == "warm up"} == {
        "product",
        "ours",
        "a",
        "b",
    }
    assert all(what != "warm up" for _, what in log[first:])


def test_a_slow_library_has_fewer_turns(task):
    entrants = [Fake("ours", [50] * 3), Fake("slow", [50, 70]), Fake("quick", [1] * 3)]
    ours, slow, quick = compare(task, entrants, Product(), repeats=3, patience=400.0).results
    # Of 50 seconds an iteration, a turn takes 350.
    assert [len(each.seconds) for each in (ours, slow, quick)] == [3, 2, 3]
    assert slow.record(ours)["turns"] == 2


def test_medians_and_their_ratio(task):
    ours, peer = results_of(task, Fake("ours", [1, 9, 2]), Fake("peer", [8, 6, 70]))
    assert (ours.median, peer.median) == (2, 8)
    assert peer.ratio(ours) == 4
    record = peer.record(ours)
    assert (record["least_seconds"], record["seconds"], record["most_seconds"]) == (6, 8, 70)


@pytest.mark.parametrize(("mean", "agrees"), [(0.0005, True), (0.5, False), (math.nan, False)])
def test_a_ratio_needs_equal_bounds(task, mean, agrees):
    ours, peer = results_of(task, Fake("ours", [1] * 3), Fake("peer", [2] * 3, mean=mean))
    assert (peer.ratio(ours) is not None) == agrees
    record = peer.record(ours)
    if math.isnan(mean):
        assert "no mixture" in peer.remark
        assert record["bound"] is record["bound_difference"] is record["seconds"] is None
    else:
        assert record["ratio"] == (2.0 if agrees else None)
        assert record["bound_difference"] == pytest.approx(peer.bound - ours.bound)
        assert (abs(record["bound_difference"]) <= 1e-3) == agrees


def test_the_bound_is_the_mean_log_evidence(task):
    squares = (task.rows**2).sum(axis=1)
    expected = np.mean(-0.5 * squares - np.log(2 * np.pi))
    [ours] = results_of(task, Fake("ours", [1] * 3))
    assert ours.bound == pytest.approx(expected)
    parameters = (np.ones(1), np.zeros((1, 2)), np.full((1, 2), -1.0))
    with pytest.raises(PeerError, match="no mixture"):
        bound_of(task.rows, parameters, "diag")


@pytest.mark.parametrize("what", ["warm up", "parameters", "turn"])
def test_one_that_fails_is_left_out_and_says_why(task, what):
    log = []
    bad = Fake("bad", [1] * 3, fails=(what,), log=log)
    ours, failed, other = results_of(task, Fake("ours", [1] * 3), bad, Fake("other", [3] * 3))
    assert failed.remark == f"{what} fails"
    assert failed.record(ours)["seconds"] is failed.record(ours)["ratio"] is None
    assert log.count(("bad", what)) == 1
    assert other.ratio(ours) == 3


def test_one_that_lacks_the_case_is_not_asked(task):
    log = []
    peer = Fake("peer", [], lack="has no diag covariances", log=log)
    _, result = results_of(task, Fake("ours", [1] * 3), peer)
    assert result.remark == "has no diag covariances"
    assert log == []


def test_ours_may_not_fail(task):
    with pytest.raises(PeerError, match="warm up fails"):
        results_of(task, Fake("ours", [], fails=("warm up",)))


def test_differences_that_are_noise_give_no_ratio():
    ours = Result("ours", seconds=[1.0], bound=0.0)
    assert Result("peer", seconds=[-1e-6], bound=0.0).ratio(ours) is None
    assert Result("peer", seconds=[1.0], bound=0.0).ratio(ours) == 1.0


def test_the_floor_is_that_of_the_case(task):
    comparison = compare(task, [Fake("ours", [1] * 3)], Product(), repeats=3)
    assert comparison.peak == 0.5e9
    assert comparison.floor == CASE.floor(0.5e9, "float64", 2)


# Every key of the JSON, with the types that its values have.
TEXT, NUMBER, MAYBE = str, (int, float), (int, float, type(None))
SCHEMA = {
    "machine": TEXT,
    "date": TEXT,
    "iterations": NUMBER,
    "agreement": NUMBER,
    "comparisons": list,
    "absent": dict,
}
COMPARISON = {
    "case": TEXT,
    "dtype": TEXT,
    "covariance_type": TEXT,
    "n_samples": NUMBER,
    "n_features": NUMBER,
    "n_components": NUMBER,
    "matrix_product_flops": NUMBER,
    "floor_seconds": NUMBER,
    "results": list,
}
RESULT = {
    "library": TEXT,
    "version": TEXT,
    "processors": NUMBER,
    "turns": NUMBER,
    "seconds": MAYBE,
    "least_seconds": MAYBE,
    "most_seconds": MAYBE,
    "bound": MAYBE,
    "bound_difference": MAYBE,
    "ratio": MAYBE,
    "remark": TEXT,
}


def check(record, schema):
    assert list(record) == list(schema)
    for key, types in schema.items():
        assert isinstance(record[key], types), key


@pytest.fixture
def record(task):
    peers = [Fake("peer", [2.0] * 2), Fake("other", [3.0] * 2, mean=1.0), Fake("no", [], lack="no")]
    comparison = compare(task, [Fake("ours", [1.0] * 2), *peers], Product(), repeats=2)
    return record_of([comparison] * 3, {"gone": "not installed"})


def test_the_record_is_json_of_one_schema(record):
    record = json.loads(json.dumps(record, allow_nan=False))
    check(record, SCHEMA)
    for comparison in record["comparisons"]:
        check(comparison, COMPARISON)
        for result in comparison["results"]:
            check(result, RESULT)
    assert record["absent"] == {"gone": "not installed"}


def test_the_figure_has_a_panel_for_each_case(record, tmp_path, monkeypatch):
    figures = pytest.importorskip("matplotlib.figure")
    drawn = []
    save = figures.Figure.savefig
    monkeypatch.setattr(
        figures.Figure, "savefig", lambda self, *a, **k: (drawn.append(self), save(self, *a, **k))
    )
    draw_comparisons(record, tmp_path / "bench.png")
    assert (tmp_path / "bench.png").read_bytes().startswith(b"\x89PNG")
    image = pytest.importorskip("PIL.Image")
    with image.open(tmp_path / "bench.png") as figure:
        assert figure.text["Description"] == fingerprint(record)
    panels = [axes for axes in drawn[0].axes if axes.get_visible()]
    assert len(panels) == 3
    for axes in panels:
        names = [label.get_text() for label in axes.get_yticklabels()]
        assert names == ["ours", "peer", "other"]
        points = [line for line in axes.lines if line.get_marker() == "o"]
        assert [float(line.get_xdata()[0]) for line in points] == [1.0, 2.0, 3.0]
        # Open is the one whose bound is another.
        assert [line.get_markerfacecolor() == "none" for line in points] == [False, False, True]
        [floor] = [line for line in axes.lines if line.get_linestyle() == "--"]
        assert set(floor.get_xdata()) == {record["comparisons"][0]["floor_seconds"]}
