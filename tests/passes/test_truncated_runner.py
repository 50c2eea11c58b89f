"""The runner of truncated passes: what rows keep from pass to pass, wherever the rows are."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import logsumexp

from vbfast.config.settings import config_context
from vbfast.contract import (
    Linear,
    LogJoint,
    NonFiniteRowError,
    Request,
    StudentT,
    UserFunction,
)
from vbfast.inference.runner import searches
from vbfast.passes import first_neighbors, row_search
from vbfast.passes.first_neighbors import some_components
from vbfast.passes.hosts import rows_of_hosts
from vbfast.passes.recentring import way_to_the_means
from vbfast.passes.row_search import chunks_of
from vbfast.passes.rows import as_row_source
from vbfast.passes.runner import LocalRunner
from vbfast.passes.searching import WARM_GAIN, WARM_UP
from vbfast.passes.truncated_runner import TruncatedRunner
from vbfast.passes.truncation import Truncation, components_worth_keeping, saves_time

TYPES = ["full", "tied", "diag", "spherical"]
MOMENTS = {"full": "full", "tied": "pooled", "diag": "diag", "spherical": "spherical"}


def mixture(rng, covariance_type, n_components, n_features, *, spread=4.0):
    """A log-joint of components that overlap here and there."""
    K, D = n_components, n_features

    def factor():
        return np.triu(rng.normal(size=(D, D)), 1) / np.sqrt(D) + np.diag(rng.uniform(0.6, 1.5, D))

    precision_cholesky = {
        "full": lambda: np.array([factor() for _ in range(K)]),
        "tied": factor,
        "diag": lambda: rng.uniform(0.6, 1.5, (K, D)),
        "spherical": lambda: rng.uniform(0.6, 1.5, K),
    }[covariance_type]()
    centres = spread * rng.normal(size=(K, D))
    offset = np.log(rng.dirichlet(np.ones(K))) + rng.normal(size=K)
    return LogJoint.quadratic(covariance_type, offset, centres, precision_cholesky)


def rows_near(rng, log_joint, n_rows, dtype=np.float64):
    """Rows about the centres."""
    centres = log_joint.form.centres
    component = rng.integers(len(centres), size=n_rows)
    return (centres[component] + rng.normal(size=(n_rows, centres.shape[1]))).astype(dtype)


def searching(X, sample_weight=None, **rules):
    """A runner over rows, which keep three components if nothing is said."""
    return TruncatedRunner(as_row_source(X), sample_weight, truncation=Truncation(**rules))


def log_joints(X, log_joint):
    """The log-joint of every row and component, and of each row the log-sum-exp."""
    runner = LocalRunner(as_row_source(X))
    ((_, joint),) = runner.log_joint_blocks(log_joint, len(X))
    return joint, logsumexp(joint, axis=1)


def assert_same_bits(result, other):
    """Sums and statistics are equal to the bit."""
    assert result == other


def assert_close_sums(result, other, tolerance, factor=1.0):
    """Sums and statistics agree, where the other's weights are a part of these."""
    names = ("weight", "first", "second")
    pairs = [
        (getattr(result, name), getattr(other, name)) for name in ("total_weight", "log_evidence")
    ]
    pairs += [(getattr(result.statistics, name), getattr(other.statistics, name)) for name in names]
    for one, two in pairs:
        scale = max(np.abs(two).max(), np.finfo(float).tiny)
        assert np.abs(one / factor - two).max() <= tolerance * scale


@pytest.mark.parametrize("covariance_type", TYPES)
@pytest.mark.parametrize("n_components", [1, 2, 65, 1100])
def test_a_search_never_lowers_the_bound(rng, covariance_type, n_components):
    log_joint = mixture(rng, covariance_type, n_components, 3)
    X = rows_near(rng, log_joint, 1500)
    joint, evidence = log_joints(X, log_joint)
    runner = searching(X, n_neighbors=6)
    assert searches(runner)
    tolerance = 1e-12 * max(1.0, np.abs(evidence).sum())
    best = logsumexp(np.sort(joint, axis=1)[:, -3:], axis=1).sum()  # of three components a row
    last = -np.inf
    for _ in range(5):
        bound = runner.search(log_joint, Request()).log_evidence
        assert bound >= last - tolerance
        assert bound <= best + tolerance <= evidence.sum() + 2.0 * tolerance
        kept = runner.kept
        assert kept.shape == (len(X), min(3, n_components))
        sorted_kept = np.sort(kept, axis=1)
        assert (np.diff(sorted_kept, axis=1) > 0).all()  # none twice, nor missing
        assert sorted_kept[:, 0].min() >= 0
        values = np.take_along_axis(joint, kept.astype(np.intp), 1)
        assert abs(logsumexp(values, axis=1).sum() - bound) <= tolerance
        assert (np.diff(values, axis=1) <= 1e-12 * np.abs(values[:, 1:])).all()
        last = bound
    assert best - last < 0.02 * len(X)
    own = np.arange(n_components)[:, np.newaxis]
    assert (runner.neighbors == own).any(axis=1).all()


@pytest.mark.parametrize("covariance_type", TYPES)
@pytest.mark.parametrize("n_components", [1, 2, 65])
def test_keeping_all_is_exact(rng, covariance_type, n_components):
    log_joint = mixture(rng, covariance_type, n_components, 4, spread=1.0)
    X = rows_near(rng, log_joint, 700)
    weights = rng.integers(0, 3, size=len(X)).astype(float)
    request = Request(moments=MOMENTS[covariance_type])
    runner = searching(X, weights, n_kept=n_components, n_neighbors=n_components)
    exact = LocalRunner(as_row_source(X), weights).run(log_joint, request)
    for n_kept in (n_components, n_components + 7):  # more than there are
        runner = searching(X, weights, n_kept=n_kept, n_neighbors=n_components)
        result = runner.iterate(log_joint, request)
        assert runner.kept.shape == (len(X), n_components)
        terms = max(1.0, np.abs(weights * log_joints(X, log_joint)[1]).sum())
        assert abs(result.log_evidence - exact.log_evidence) <= 1e-12 * terms
        assert_close_sums(result, exact, 1e-11)


@pytest.mark.kernels
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_bits_depend_neither_on_threads_nor_on_storage(rng, monkeypatch, tmp_path, dtype):
    monkeypatch.setattr(row_search, "CHUNK_BYTES", 4096)  # of as few rows as may be
    log_joint = mixture(rng, "full", 100, 5)
    X = rows_near(rng, log_joint, 10_000, dtype)
    weights = rng.uniform(0.5, 2.0, size=len(X))
    np.save(tmp_path / "rows.npy", X)
    wide = np.zeros((len(X), 11), dtype)
    wide[:, 1::2] = X
    stored = [
        (X, 1),
        (X, 2),
        (np.load(tmp_path / "rows.npy", mmap_mode="r"), 2),
        (tmp_path / "rows.npy", 2),
        (np.split(X, [17, 4097, 8000]), 2),
        (wide[:, 1::2], 1),
        (np.asfortranarray(X), 2),
    ]
    found = []
    for rows, threads in stored:
        with config_context(num_threads=threads):
            runner = searching(rows, weights, seed=3)
            results = [runner.iterate(log_joint, Request(moments="full")) for _ in range(2)]
        found.append((results, runner.neighbors, runner.kept))
    assert len(list(chunks_of(runner, 3))) == 3
    for results, neighbors, kept in found[1:]:
        for result, first in zip(results, found[0][0], strict=True):
            assert_same_bits(result, first)
        np.testing.assert_array_equal(neighbors, found[0][1])
        np.testing.assert_array_equal(kept, found[0][2])


def test_rows_that_keep_many_components_are_searched_in_smaller_chunks():
    runner = LocalRunner(as_row_source(np.zeros((300_000, 1))))
    lengths = [next(chunks_of(runner, n_kept)).stop for n_kept in (2, 400)]
    assert lengths[0] == 300_000
    assert lengths[1] * 400 * 24 < row_search.CHUNK_BYTES


def test_chunks_change_nothing_but_rounding(rng, monkeypatch):
    log_joint = mixture(rng, "diag", 80, 4)
    X = rows_near(rng, log_joint, 9000)
    whole = searching(X)
    one = whole.search(log_joint, Request(moments="diag"))
    monkeypatch.setattr(row_search, "CHUNK_BYTES", 4096)
    parts = searching(X)
    several = parts.search(log_joint, Request(moments="diag"))
    np.testing.assert_array_equal(parts.kept, whole.kept)
    assert_close_sums(several, one, 1e-12)


@pytest.mark.parametrize("seed", [0, 2**31 - 1])
def test_another_seed_tries_others(rng, seed, monkeypatch):
    monkeypatch.setattr(first_neighbors, "MOST_OF_CELL", 4)
    log_joint = mixture(rng, "spherical", 1100, 5, spread=0.5)
    X = rows_near(rng, log_joint, 400)
    found = []
    for rules in ({"seed": seed}, {"seed": seed}, {"seed": seed + 1}):
        runner = searching(X, n_neighbors=1, n_random=3, **rules)
        for _ in range(3):
            runner.search(log_joint, Request())
        found.append(runner.kept)
    np.testing.assert_array_equal(found[0], found[1])
    assert (found[0] != found[2]).any()


@pytest.mark.parametrize("scale", [1.0, 1e-290, 1e290, 2.0**-30])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_the_scale_of_weights(rng, scale, dtype):
    """Sums are the scale times those of ordinary weights."""
    log_joint = mixture(rng, "diag", 70, 3)
    X = rows_near(rng, log_joint, 800, dtype)
    weights = rng.integers(0, 4, size=len(X)).astype(float)
    request = Request(moments="diag")
    plain = searching(X, weights).search(log_joint, request)
    scaled = searching(X, weights * scale).search(log_joint, request)
    assert np.isfinite(scaled.statistics.second).all()
    assert_close_sums(scaled, plain, 1e-6 if dtype == np.float32 else 1e-12, factor=scale)


@pytest.mark.parametrize("covariance_type", TYPES)
def test_integer_weights_are_repeated_rows(rng, covariance_type):
    """Where all components are neighbours the search does not depend on the rows' numbers."""
    log_joint = mixture(rng, covariance_type, 12, 3)
    X = rows_near(rng, log_joint, 500)
    weights = rng.integers(0, 4, size=len(X))
    request = Request(moments=MOMENTS[covariance_type])
    weighted = searching(X, weights.astype(float)).search(log_joint, request)
    repeated = searching(np.repeat(X, weights, axis=0)).search(log_joint, request)
    assert_close_sums(weighted, repeated, 1e-12)
    assert weighted.total_weight == weights.sum()


def test_rows_of_zero_weight_count_for_nothing(rng):
    log_joint = mixture(rng, "full", 70, 3)
    X = rows_near(rng, log_joint, 600)
    weights = np.ones(len(X))
    weights[300:] = 0.0
    request = Request(moments="full")
    plain = searching(X[:300], n_random=0, n_neighbors=70).search(log_joint, request)
    X[300:] = 1e150  # of which nothing is seen, nor of the overflow of their squares
    runner = searching(X, weights, n_random=0, n_neighbors=70)
    assert_close_sums(runner.search(log_joint, request), plain, 1e-12)
    X[450] = np.nan
    with pytest.raises(NonFiniteRowError) as raised:
        runner.search(log_joint, request)
    assert raised.value.row == 450


@pytest.mark.parametrize("n_components", [5, 100])
def test_the_first_row_that_is_not_finite(rng, monkeypatch, n_components):
    monkeypatch.setattr(row_search, "CHUNK_BYTES", 4096)
    log_joint = mixture(rng, "diag", n_components, 2)
    X = rows_near(rng, log_joint, 9000)
    X[8999, 0], X[6001, 1] = np.nan, -np.inf
    with pytest.raises(NonFiniteRowError, match="row 6001 has a value that is NaN or infinite"):
        searching(X).iterate(log_joint, Request(moments="diag"))


@pytest.mark.parametrize("n_components", [65, 100, 1100])
def test_components_without_weight_are_no_way_to_others(rng, n_components):
    """All that rows would begin with are impossible; half of the rest is."""
    log_joint = mixture(rng, "diag", n_components, 3)
    log_joint.offset[some_components(log_joint.offset)] = -np.inf
    X = rows_near(rng, log_joint, 900)
    joint, _ = log_joints(X, log_joint)
    best = logsumexp(np.sort(joint, axis=1)[:, -3:], axis=1).sum()
    runner = searching(X)
    for _ in range(4):
        bound = runner.search(log_joint, Request()).log_evidence
    assert best - 0.02 * len(X) < bound <= best + 1e-9
    assert np.isfinite(log_joint.offset[runner.kept]).all()


def test_no_component_has_weight(rng):
    log_joint = mixture(rng, "diag", 90, 2)
    X = rows_near(rng, log_joint, 100)
    impossible = LogJoint(np.full(90, -np.inf), log_joint.form)
    result = searching(X).iterate(impossible, Request(moments="diag"))
    assert result.log_evidence == -np.inf
    assert not result.statistics.weight.any()


@pytest.mark.parametrize(("dtype", "far"), [(np.float32, 1e20), (np.float64, 1e155)])
def test_rows_whose_distances_to_most_components_overflow(rng, dtype, far):
    """They find the one component that is near them."""
    log_joint = mixture(rng, "diag", 100, 3)
    X = rows_near(rng, log_joint, 400)
    alone = np.setdiff1d(np.arange(100), some_components(log_joint.offset))[0]
    log_joint.form.centres[alone] = far
    X[5:9] = far
    runner = searching(X.astype(dtype))
    result = runner.search(log_joint, Request())
    assert np.isfinite(result.log_evidence)
    np.testing.assert_array_equal(runner.kept[5:9, 0], alone)


def test_a_centre_that_overflows_float32(rng):
    """It is far from all rows, and no row that is not finite."""
    log_joint = mixture(rng, "diag", 4, 2)
    X = rows_near(rng, log_joint, 50, np.float32)
    log_joint.form.centres[2] = 1e39
    result = searching(X).search(log_joint, Request(moments="diag"))
    assert result.statistics.weight[2] == 0.0


def test_begin_anew(rng):
    """What a runner does after it is what a new one does."""
    log_joint, other = (mixture(rng, "diag", 90, 3) for _ in range(2))
    X = rows_near(rng, log_joint, 800)
    runner, request = searching(X, seed=5), Request(moments="diag")
    runner.search(other, request)
    runner.iterate(other, request)
    runner.begin_anew()
    assert runner.kept is None
    again = [runner.iterate(log_joint, request) for _ in range(2)]
    new = searching(X, seed=5)
    for result in again:
        assert_same_bits(result, new.iterate(log_joint, request))
    np.testing.assert_array_equal(runner.kept, new.kept)


def test_another_number_of_components_begins_anew(rng):
    many, few = mixture(rng, "diag", 40, 3), mixture(rng, "diag", 2, 3)
    X = rows_near(rng, many, 300)
    runner = searching(X)
    runner.search(many, Request())
    result = runner.search(few, Request())
    assert runner.kept.shape == (300, 2)
    assert result.log_evidence == pytest.approx(log_joints(X, few)[1].sum(), rel=1e-12)


def test_iterations_search_first_until_little_is_gained(rng, monkeypatch):
    log_joint = mixture(rng, "diag", 1100, 3, spread=8.0)
    X = rows_near(rng, log_joint, 2000)
    made = []
    original = TruncatedRunner.search

    def counted(self, *arguments):
        made.append(original(self, *arguments).log_evidence / len(X))
        return original(self, *arguments)

    monkeypatch.setattr(TruncatedRunner, "search", counted)
    runner = searching(X)
    runner.iterate(log_joint, Request(moments="diag"))
    warm = made[:-1]
    assert 2 <= len(warm) <= WARM_UP
    assert (np.diff(warm[:-1]) > WARM_GAIN).all()
    runner.iterate(log_joint, Request(moments="diag"))
    assert len(made) == len(warm) + 2
    assert runner.n_passes == 2


def test_best_components(rng):
    """Of what rows keep, or of all before any search."""
    log_joint = mixture(rng, "diag", 30, 2)
    X = rows_near(rng, log_joint, 500)
    joint, evidence = log_joints(X, log_joint)
    runner = searching(X)
    best, log_evidence = runner.best_components(log_joint)
    np.testing.assert_array_equal(best, joint.argmax(axis=1))
    np.testing.assert_allclose(log_evidence, evidence, rtol=1e-12)
    runner.search(log_joint, Request())
    best, log_evidence = runner.best_components(log_joint)
    np.testing.assert_array_equal(best, runner.kept[:, 0])
    kept = np.take_along_axis(joint, runner.kept.astype(np.int64), 1)
    np.testing.assert_allclose(log_evidence, logsumexp(kept, axis=1), rtol=1e-12)
    assert runner.n_passes == 2


@pytest.mark.parametrize("weighted", [False, True])
def test_reseeding(rng, weighted):
    """Components begin at rows of their hosts, which then try them."""
    log_joint = mixture(rng, "spherical", 30, 2, spread=30.0)
    X = rows_near(rng, log_joint, 3000)
    weights = rng.integers(0, 2, size=len(X)).astype(float) if weighted else None
    runner = searching(X, weights, n_neighbors=4)
    runner.search(log_joint, Request("hard"))
    components, hosts = np.array([3, 8, 20, 21, 22, 23]), np.array([5, 6, 5, 5, 5, 5])
    best = runner.kept[:, 0].copy()
    drawn = rows_of_hosts(best, weights, hosts, np.random.RandomState(0))
    runner.begin_beside(components, hosts)
    rows = runner.gather(drawn)
    for row, host in zip(rows, hosts, strict=True):
        place = np.flatnonzero((row == X).all(axis=1))
        assert best[place] == host
        assert weights is None or weights[place] > 0
    assert len(np.unique(rows, axis=0)) == len(rows)
    np.testing.assert_array_equal(runner.neighbors[components, 0], components)
    np.testing.assert_array_equal(runner.neighbors[components, -1], hosts)
    assert runner.neighbors[5, 0] == 5
    assert set(runner.neighbors[5, 1:]) <= {3, 20, 21, 22, 23}
    centres = log_joint.form.centres.copy()
    centres[components] = rows
    moved = LogJoint.quadratic(
        "spherical", log_joint.offset, centres, log_joint.form.precision_cholesky
    )
    runner.search(moved, Request("hard", "spherical"))
    assert np.isin(runner.kept[np.isin(best, [5])][:, 0], [3, 20, 21, 22, 23]).any()


@pytest.mark.parametrize("covariance_type", TYPES)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_moments_are_taken_again_where_means_jump(rng, covariance_type, dtype):
    K, D, far = 3, 2, 1e4 if dtype == np.float32 else 1e9
    centres = np.array([[0.0, 0.0], [0.0, far], [far, 0.0]])
    X = np.concatenate([far / 4 + rng.normal(size=(200, D)) + centre for centre in centres])
    X = X.astype(dtype)
    scale = {
        "full": np.tile(np.eye(D), (K, 1, 1)),
        "tied": np.eye(D),
        "diag": np.ones((K, D)),
        "spherical": np.ones(K),
    }[covariance_type]
    log_joint = LogJoint.quadratic(covariance_type, np.zeros(K), centres, scale)
    runner = searching(X, n_kept=2)
    request = Request(moments=MOMENTS[covariance_type])
    floor = np.zeros((1, 1))
    result = runner.iterate(log_joint, request, scatter_floor=lambda weight: floor)
    assert runner.n_passes == 2
    statistics = result.statistics
    way = way_to_the_means(statistics)
    parts = X.astype(np.float64).reshape(K, 200, D)
    means = parts.mean(axis=1)
    np.testing.assert_allclose(statistics.weight, 200.0, rtol=1e-12)
    np.testing.assert_allclose(statistics.centres + way, means, rtol=1e-7 if far < 1e5 else 1e-15)
    outer = np.einsum("knd,kne->kde", parts - means[:, np.newaxis], parts - means[:, np.newaxis])
    about = np.einsum("k,kd,ke->kde", statistics.weight, way, way)
    expected = {
        "full": lambda a: a,
        "tied": lambda a: a.sum(axis=0),
        "diag": lambda a: a.diagonal(axis1=1, axis2=2),
        "spherical": lambda a: a.trace(axis1=1, axis2=2) / D,
    }[covariance_type]
    found = statistics.second - expected(about)
    np.testing.assert_allclose(found, expected(outer), rtol=1e-3, atol=0.3)
    assert result.log_evidence == runner.search(log_joint, request).log_evidence


def test_a_linear_form(rng):
    X = rng.poisson(3.0, size=(400, 6)).astype(float)
    log_joint = LogJoint(rng.normal(size=80), Linear(rng.normal(size=(80, 6)) / 3))
    runner = searching(X, n_kept=5)
    _, evidence = log_joints(X, log_joint)
    last = -np.inf
    for _ in range(5):
        result = runner.iterate(log_joint, Request(moments="first"))
        assert last - 1e-9 <= result.log_evidence <= evidence.sum() + 1e-9
        last = result.log_evidence
    assert evidence.sum() - last < 0.5 * len(X)
    assert result.statistics.weight.sum() == pytest.approx(len(X), rel=1e-12)


def test_other_passes_are_exact(rng):
    log_joint = mixture(rng, "diag", 20, 2)
    X = rows_near(rng, log_joint, 100)
    runner = searching(X, n_kept=1)
    exact = LocalRunner(as_row_source(X)).run(log_joint, Request(moments="diag"))
    assert_same_bits(runner.run(log_joint, Request(moments="diag")), exact)


def test_a_backend_without_truncated_passes():
    pytest.importorskip("numba")
    with pytest.raises(NotImplementedError, match="'numba' does not: use backend='native'"):
        TruncatedRunner(as_row_source(np.zeros((3, 2))), truncation=Truncation(), backend="numba")


@pytest.mark.parametrize("backend", ["native", "reference"])
def test_components_that_cannot_be_searched(rng, backend):
    log_joint = mixture(rng, "diag", 4, 2)
    X = rows_near(rng, log_joint, 30)
    source = as_row_source(X)
    runner = TruncatedRunner(source, truncation=Truncation(), backend=backend)
    under = LogJoint(log_joint.offset, log_joint.form, StudentT(np.full(4, 3.0)))
    with pytest.raises(NotImplementedError, match="Quadratic under StudentT: use truncation=None"):
        runner.search(under, Request())
    function = UserFunction(np.dot, np.dot, 4, 2, 1, np.zeros((4, 2)))
    of_users = LogJoint(log_joint.offset, function)
    with pytest.raises(NotImplementedError, match=r"Gaussian components, .*; got UserFunction"):
        runner.search(of_users, Request())


@pytest.mark.parametrize(("spread", "whole"), [(6.0, False), (0.0, True)])
def test_it_decides_by_the_entropy_of_some_rows(rng, spread, whole):
    """Components that lie on one another share rows: to keep so many would save nothing."""
    log_joint = mixture(rng, "diag", 150, 4, spread=spread)
    X = rows_near(rng, log_joint, 6000)
    runner = searching(X, n_kept=None)
    result = runner.iterate(log_joint, Request(moments="diag"))
    sums = LocalRunner(as_row_source(X)).run(log_joint, Request(entropy=True))
    assert runner.whole == whole
    if whole:
        assert runner.neighbors is None
        assert result.log_evidence == pytest.approx(sums.log_evidence, rel=1e-12)
    else:
        assert runner.n_kept == components_worth_keeping(sums.entropy / len(X))
        assert runner.kept.shape == (len(X), runner.n_kept)
        assert result.log_evidence <= sums.log_evidence


def test_what_is_worth_keeping():
    assert [components_worth_keeping(h) for h in (0.0, 0.5, 1.0, 1e9)] == [3, 4, 6, 8]
    assert not saves_time(64, 3, 15, 1)
    assert saves_time(1000, 8, 15, 1)
