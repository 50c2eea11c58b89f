"""Truncated passes over chunks: what each sums and teaches is merged, and what it keeps stays."""

from __future__ import annotations

import numpy as np
import pytest

import vbfast
from vbfast.backends import get_backend
from vbfast.config.settings import config_context
from vbfast.contract import LogJoint, NearnessSums, NonFiniteRowError, Request, Search, merge
from vbfast.inference.runner import searches
from vbfast.passes import groups, truncated_runner
from vbfast.passes.rows import as_row_source
from vbfast.passes.runner import runner_over
from vbfast.passes.truncated_chunks import TruncatedChunkRunner
from vbfast.passes.truncated_runner import TruncatedRunner
from vbfast.passes.truncation import Truncation

SPLIT = [17, 450, 900, 1650]
TYPES = ["full", "tied", "diag", "spherical"]
MOMENTS = {"full": "full", "tied": "pooled", "diag": "diag", "spherical": "spherical"}


@pytest.fixture(autouse=True)
def small_groups(monkeypatch):
    """2,000 rows are four groups."""
    monkeypatch.setattr(groups, "GROUP_ROWS", 400)


@pytest.fixture
def log_joint(rng):
    """Components with diagonal covariances, in a plane and a bit out of it."""
    return made(rng, "diag")


def made(rng, covariance_type, n_components=90, n_features=3):
    K, D = n_components, n_features
    factors = {
        "full": lambda: np.array([np.triu(rng.uniform(0.1, 1.0, (D, D))) for _ in range(K)]),
        "tied": lambda: np.triu(rng.uniform(0.1, 1.0, (D, D))),
        "diag": lambda: rng.uniform(0.6, 1.5, (K, D)),
        "spherical": lambda: rng.uniform(0.6, 1.5, K),
    }[covariance_type]()
    offset = np.log(rng.dirichlet(np.ones(K)))
    return LogJoint.quadratic(covariance_type, offset, 4.0 * rng.normal(size=(K, D)), factors)


@pytest.fixture
def X(rng, log_joint):  # noqa: N802
    return 4.0 * rng.normal(size=(2000, 3))


def chunks(X, split=SPLIT):
    """A function whose iterators yield chunks of rows."""
    return lambda: iter(np.split(X, split))


def searching(X, sample_weight=None, split=SPLIT, **rules):
    runner = runner_over(as_row_source(chunks(X, split)), sample_weight)
    return TruncatedChunkRunner(runner, Truncation(**rules))


def on_array(X, sample_weight=None, **rules):
    return TruncatedRunner(as_row_source(X), sample_weight, truncation=Truncation(**rules))


def assert_close(result, other):
    assert result.log_evidence == pytest.approx(other.log_evidence, rel=1e-12)
    for name in ("weight", "first", "second"):
        one, two = getattr(result.statistics, name), getattr(other.statistics, name)
        assert np.abs(one - two).max() <= 1e-11 * np.abs(two).max()


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("covariance_type", TYPES)
def test_one_group_has_the_bits_of_an_array(rng, X, dtype, covariance_type, weighted):
    log_joint, X = made(rng, covariance_type), X.astype(dtype)
    weights = rng.uniform(0.0, 2.0**-50, size=len(X)) if weighted else None
    request = Request(moments=MOMENTS[covariance_type])
    one, other = searching(X, weights, split=[], seed=4), on_array(X, weights, seed=4)
    assert searches(one)
    for _ in range(3):
        assert one.iterate(log_joint, request) == other.iterate(log_joint, request)
        np.testing.assert_array_equal(one.neighbors, other.neighbors)
    np.testing.assert_array_equal(one.memory()["kept"], other.kept)
    hosts = np.unique(other.kept[:, 0])[[3, 5, 3]]
    rows = [
        runner.reseed(np.array([8, 9, 10]), hosts, np.random.RandomState(1))
        for runner in (one, other)
    ]
    np.testing.assert_array_equal(*rows)
    np.testing.assert_array_equal(one.neighbors, other.neighbors)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("covariance_type", TYPES)
def test_several_groups_find_what_an_array_does(rng, X, covariance_type, weighted):
    """A row's search knows nothing of its group, but for what groups have taught together."""
    log_joint = made(rng, covariance_type)
    weights = rng.integers(0, 3, size=len(X)).astype(float) if weighted else None
    request = Request(moments=MOMENTS[covariance_type])
    rules = {"n_neighbors": 90, "n_kept": 4}
    several, whole = searching(X, weights, **rules), on_array(X, weights, **rules)
    for _ in range(3):
        assert_close(several.search(log_joint, request), whole.search(log_joint, request))
    np.testing.assert_array_equal(several.memory()["kept"], whole.kept)
    hosts = np.unique(whole.kept[:, 0] if weights is None else whole.kept[weights > 0, 0])[:4]
    rows = [
        runner.reseed(np.arange(80, 84), hosts, np.random.RandomState(1))
        for runner in (several, whole)
    ]
    np.testing.assert_array_equal(*rows)


def test_bits_depend_on_no_threads(log_joint, X):
    found = []
    for threads in (1, 2):
        with config_context(num_threads=threads):
            runner = searching(X, n_kept=2)
            results = [runner.iterate(log_joint, Request(moments="diag")) for _ in range(3)]
        found.append((results, runner.neighbors, runner.memory()["kept"]))
    assert found[0][0] == found[1][0]
    np.testing.assert_array_equal(found[0][1], found[1][1])
    np.testing.assert_array_equal(found[0][2], found[1][2])


def test_the_bound_never_falls(rng, X):
    log_joint = made(rng, "full")
    runner, exact = searching(X), runner_over(as_row_source(X)).run(log_joint, Request())
    last = -np.inf
    for _ in range(6):
        bound = runner.search(log_joint, Request()).log_evidence
        assert last - 1e-9 <= bound <= exact.log_evidence + 1e-9
        last = bound


def test_it_goes_on_from_what_it_remembers(log_joint, X):
    runner, request = searching(X, seed=2), Request(moments="diag")
    runner.iterate(log_joint, request)
    remembered = runner.memory()
    expected = [runner.iterate(log_joint, request) for _ in range(2)]
    again = searching(X, seed=2)
    again.remember(remembered)
    assert [again.iterate(log_joint, request) for _ in range(2)] == expected
    np.testing.assert_array_equal(again.memory()["kept"], runner.memory()["kept"])
    runner.begin_anew()
    assert runner.memory()["kept"] is None
    new = searching(X, seed=2)
    assert runner.iterate(log_joint, request) == new.iterate(log_joint, request)


def test_what_rows_keep_lies_in_a_file(log_joint, X, tmp_path):
    path = tmp_path / "kept.npy"
    runner = searching(X, n_kept=2, state=path)
    runner.iterate(log_joint, Request(moments="diag"))
    np.testing.assert_array_equal(np.load(path), runner.memory()["kept"])
    assert np.load(path).shape == (2000, 2)


def test_it_decides_for_whole_posteriors(rng, X):
    log_joint = made(rng, "diag", 12)
    runner, request = searching(X, n_kept=None), Request(moments="diag")
    result = runner.iterate(log_joint, request)
    assert runner.whole
    assert runner.neighbors is None
    assert result == runner_over(as_row_source(chunks(X))).iterate(log_joint, request)


def test_the_first_row_that_is_not_finite(log_joint, X):
    X[1999, 0], X[1200, 1] = np.nan, np.inf
    with pytest.raises(NonFiniteRowError, match="row 1200"):
        searching(X).iterate(log_joint, Request(moments="diag"))


def test_other_chunks_in_a_later_pass(log_joint, X):
    laps = []

    def other():
        laps.append(len(laps))
        return iter(np.split(X, SPLIT if len(laps) < 4 else SPLIT[:-1]))

    searched = TruncatedChunkRunner(runner_over(as_row_source(other)), Truncation())
    searched.search(log_joint, Request())  # the second and the third lap
    with pytest.raises(ValueError, match=r"chunk 3 of X\(\) has 1100 rows; before it had 750"):
        searched.search(log_joint, Request())


def test_second_moments_that_cancel_are_taken_again(rng):
    far = 1e8 + rng.normal(size=(2000, 2))
    log_joint = LogJoint.quadratic("diag", np.zeros(70), np.zeros((70, 2)), np.full((70, 2), 1e-8))
    request = Request(moments="diag")
    results = [
        make(far, n_kept=1).iterate(
            log_joint, request, scatter_floor=lambda weight: np.zeros((1, 1))
        )
        for make in (searching, on_array)
    ]
    for statistics in (result.statistics for result in results):
        way = statistics.first[0] / 2000.0
        mean = (far - 1e8).mean(axis=0)
        np.testing.assert_allclose(statistics.centres[0] - 1e8 + way, mean, atol=1e-6)
        variance = statistics.second[0] / 2000.0 - way**2
        np.testing.assert_allclose(variance, far.var(axis=0), rtol=1e-6)


class TestNearness:
    """Sums that teach neighbours."""

    @staticmethod
    def random_sums(rng, width=4):
        components = np.array([rng.permutation(7)[:width] for _ in range(7)], np.int32)
        counts = rng.integers(1, 9, size=(7, width))
        sums = rng.integers(0, 50, size=(7, width)) / 4
        none = rng.uniform(size=(7, width)) < 0.2
        components[none], counts[none], sums[none] = -1, 0, 0.0
        return NearnessSums(components, counts, sums)

    @staticmethod
    def by_component(nearness, c):
        found = zip(nearness.components[c], nearness.counts[c], nearness.sums[c], strict=True)
        return {int(k): (int(count), float(total)) for k, count, total in found if k >= 0}

    def test_they_add_up(self, rng):
        for _ in range(20):
            one, other = self.random_sums(rng), self.random_sums(rng)
            total = one + other
            assert total.components.shape == (7, 4)
            for c in range(7):
                parts = self.by_component(one, c), self.by_component(other, c)
                met = {
                    k: tuple(sum(part.get(k, (0, 0.0))[i] for part in parts) for i in range(2))
                    for k in parts[0].keys() | parts[1].keys()
                }
                nearest = sorted(met, key=lambda k: (k != c, met[k][1] / met[k][0], k))[:4]
                assert [k for k in total.components[c] if k >= 0] == nearest
                assert self.by_component(total, c) == {k: met[k] for k in nearest}

    def test_what_is_impossible_is_last(self):
        ones = np.ones((1, 3), np.int64)
        for worst in (np.inf, np.nan):
            sums = NearnessSums(
                np.array([[0, 3, 5]], np.int32), ones, np.array([[0.0, worst, 900.0]])
            )
            np.testing.assert_array_equal(sums.nearest(3).components, [[0, 5, 3]])
            np.testing.assert_array_equal((sums + sums).components, [[0, 5, 3]])
            np.testing.assert_array_equal(sums.nearest(4).components, [[0, 5, 3, -1]])

    def test_without_lessons_neighbours_stay(self):
        none = NearnessSums(
            np.full((2, 1), -1, np.int32), np.zeros((2, 1), np.int64), np.zeros((2, 1))
        )
        before = np.array([[1], [0]], np.int32)
        np.testing.assert_array_equal((none + none).neighbors(before), before)
        np.testing.assert_array_equal(none.neighbors(None), -1)

    @pytest.mark.parametrize("backend", ["native", "reference"])
    def test_parts_teach_what_all_rows_do(self, rng, log_joint, X, backend):
        backend = get_backend(backend)
        neighbors = rng.integers(0, 90, size=(90, 8)).astype(np.int32)
        search = Search(2, 90, 0, 0, learn=True, candidates=np.arange(90, dtype=np.int32))

        def learned(rows):
            running = backend.begin_truncated(
                log_joint,
                Request(),
                search,
                dtype=X.dtype,
                workspace=backend.workspace(),
                num_threads=1,
            )
            running.run(0, X[rows], None, before[rows].copy())
            return running.learned()

        before = rng.integers(0, 90, size=(len(X), 2)).astype(np.int32)
        whole = learned(slice(None))
        parts = merge(
            learned(rows) for rows in (slice(0, 700), slice(700, 1100), slice(1100, None))
        )
        np.testing.assert_array_equal(parts.components, whole.components)
        np.testing.assert_array_equal(parts.counts, whole.counts)
        np.testing.assert_allclose(parts.sums, whole.sums, rtol=1e-12, atol=1e-9)
        assert whole.neighbors(None).shape != neighbors.shape


@pytest.mark.parametrize("looked_at", [0, 1024])
def test_new_rows_walk(rng, X, monkeypatch, looked_at):
    """What rows of a function find is what they find in an array."""
    monkeypatch.setattr(truncated_runner, "LOOKED_AT", looked_at)
    mixture = vbfast.GaussianMixture(70, truncation=2, random_state=0, max_iter=2, tol=1.0).fit(X)
    new = 4.0 * rng.normal(size=(2000, 3))
    np.testing.assert_array_equal(mixture.predict(chunks(new)), mixture.predict(new))
    np.testing.assert_array_equal(mixture.score_samples(chunks(new)), mixture.score_samples(new))
    assert abs(mixture.predict_proba(chunks(new)) - mixture.predict_proba(new)).max() == 0.0
    assert mixture.score(chunks(new)) == mixture.score(new)
    assert mixture.bound_gap(chunks(new)).mean == pytest.approx(mixture.bound_gap(new).mean)
    assert mixture.bound_gap(chunks(new), n_samples=50) == mixture.bound_gap(new, n_samples=50)
