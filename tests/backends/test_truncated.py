"""Truncated passes: native ones beside the reference, and both beside whole passes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import vbfast
from vbfast.backends import get_backend
from vbfast.backends.reference.truncated import drawn_components
from vbfast.config.settings import config_context
from vbfast.contract import (
    Cells,
    Linear,
    LogJoint,
    NonFiniteRowError,
    Request,
    RowOutputs,
    Search,
    offers_truncation,
)
from vbfast.passes.one_pass import run_pass
from vbfast.passes.rows import as_row_source

TYPES = ["full", "tied", "diag", "spherical"]
MOMENTS = {"full": "full", "tied": "pooled", "diag": "diag", "spherical": "spherical"}
TOLERANCE = {np.dtype(np.float64): 1e-12, np.dtype(np.float32): 3e-5}


@pytest.fixture(params=["native", pytest.param("reference", marks=pytest.mark.one_level)])
def truncating(request):
    """Each backend that has truncated passes."""
    return get_backend(request.param)


def run_truncated(backend, X, log_joint, request, search, kept, *, weights=None, about=None):
    """Return what a pass sums, learns, and writes for the rows; `kept` is renewed."""
    running = backend.begin_truncated(
        log_joint,
        request,
        search,
        dtype=X.dtype,
        workspace=backend.workspace(),
        num_threads=2,
        about=about,
    )
    log_evidence, resp = np.empty(len(X), X.dtype), np.empty(kept.shape, X.dtype)
    running.run(0, X, weights, kept, log_evidence=log_evidence, resp=resp)
    near = running.learned().neighbors(search.neighbors)
    return running.finish(), near, log_evidence, resp


def everything(n_rows, log_joint):
    """Return the search that keeps every component, and what rows keep before it."""
    K = log_joint.n_components
    return Search(K, candidates=np.arange(K, dtype=np.int32)), np.full((n_rows, K), -1, np.int32)


def spread(resp, kept, n_components):
    """Return responsibilities of kept components as those of all."""
    whole = np.zeros((len(kept), n_components), resp.dtype)
    np.put_along_axis(whole, kept.astype(np.int64), resp, 1)
    return whole


def close(a, b, tolerance):
    """Whether arrays agree, relative to the largest magnitude."""
    return np.allclose(a, b, rtol=0.0, atol=tolerance * max(1e-300, np.abs(b).max(initial=0.0)))


def assert_same_sums(result, other, tolerance):
    """Sums and statistics agree."""
    assert result.total_weight == pytest.approx(other.total_weight, rel=1e-12)
    scale = max(1.0, abs(other.log_evidence))
    assert abs(result.log_evidence - other.log_evidence) <= tolerance * scale
    low = abs(result.lowest_log_evidence - other.lowest_log_evidence)
    assert low <= tolerance * max(1.0, abs(other.lowest_log_evidence))
    for name in ("weight", "first", "second"):
        one, two = getattr(result.statistics, name), getattr(other.statistics, name)
        assert (one is None) == (two is None)
        if one is not None:
            assert close(one, two, 10 * tolerance)


@pytest.mark.kernels
@pytest.mark.parametrize("covariance_type", TYPES)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("n_features", [1, 2, 5, 16, 17, 33, 50, 65])
@pytest.mark.parametrize("n_components", [1, 7, 40])
def test_keeping_all_is_a_whole_pass(
    truncating, rng, random_params, sample, covariance_type, dtype, n_features, n_components
):
    log_joint = random_params(rng, covariance_type, n_components, n_features)
    X = sample(rng, log_joint, 203, dtype)
    weights = rng.integers(0, 3, size=len(X)).astype(float)
    request = Request(moments=MOMENTS[covariance_type])
    search, kept = everything(len(X), log_joint)
    result, _, log_evidence, resp = run_truncated(
        truncating, X, log_joint, request, search, kept, weights=weights
    )
    outputs = RowOutputs(
        log_evidence=np.empty(len(X), dtype), resp=np.empty((len(X), n_components), dtype)
    )
    with config_context(backend="reference"):
        exact = run_pass(
            as_row_source(X), log_joint, request, sample_weight=weights, outputs=outputs
        )
    tolerance = TOLERANCE[X.dtype]
    assert_same_sums(result, exact, tolerance)
    assert close(log_evidence, outputs.log_evidence, tolerance)
    assert close(spread(resp, kept, n_components), outputs.resp, 20 * tolerance)


@pytest.mark.kernels
@pytest.mark.parametrize("covariance_type", TYPES)
@pytest.mark.parametrize("moments", [None, "first", "diag", "spherical", "pooled", "full"])
@pytest.mark.parametrize("assignment", ["posterior", "hard"])
def test_searches_as_the_reference(
    rng, random_params, sample, covariance_type, moments, assignment
):
    K, n_kept, n_neighbors = 60, 3, 5
    log_joint = random_params(rng, covariance_type, K, 6, spread=3.0)
    X = sample(rng, log_joint, 900)
    weights = rng.uniform(0.5, 2.0, size=len(X))
    weights[::50] = 0.0
    neighbors = rng.integers(-1, K, size=(K, n_neighbors)).astype(np.int32)
    before = np.array([rng.permutation(K)[:n_kept] for _ in X], np.int32)
    before[::7, 2] = before[::31, 1] = -1
    search = Search(n_kept, n_neighbors, 2, 2**63 + 11, neighbors, learn=True)
    found = []
    for name in ("native", "reference"):
        kept = before.copy()
        found.append(
            (
                *run_truncated(
                    get_backend(name),
                    X,
                    log_joint,
                    Request(assignment, moments),
                    search,
                    kept,
                    weights=weights,
                ),
                kept,
            )
        )
    (one, near, evidence, resp, kept), (two, its_near, its_evidence, its_resp, its_kept) = found
    np.testing.assert_array_equal(kept, its_kept)
    np.testing.assert_array_equal(near, its_near)
    assert close(evidence, its_evidence, 1e-13)
    assert close(resp, its_resp, 1e-11)
    for name in ("total_weight", "log_evidence", "expected_log_joint", "lowest_log_evidence"):
        np.testing.assert_allclose(getattr(one, name), getattr(two, name), rtol=1e-12)
    assert (one.statistics is None) == (moments is None)
    if moments is not None:
        assert one.statistics.moments == moments
        for name in ("weight", "first", "second"):
            if getattr(two.statistics, name) is not None:
                assert close(getattr(one.statistics, name), getattr(two.statistics, name), 1e-11)


@pytest.mark.kernels
@pytest.mark.parametrize("covariance_type", TYPES)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("n_features", [1, 3, 8, 15, 16, 17, 47, 64, 100])
def test_a_row_has_the_same_bits_whoever_comes_with_it(
    rng, random_params, sample, covariance_type, dtype, n_features
):
    """Rows that have a component in common are evaluated together: their sums are their own."""
    native = get_backend("native")
    log_joint = random_params(rng, covariance_type, 9, n_features, spread=2.0)
    X = sample(rng, log_joint, 64 + 23).astype(dtype)
    search, kept = everything(len(X), log_joint)
    _, _, together, resp = run_truncated(native, X, log_joint, Request(), search, kept)
    for n in [*range(5), 62, 63, 64, 86]:
        own = np.full((1, 9), -1, np.int32)
        _, _, alone, own_resp = run_truncated(
            native, X[n : n + 1], log_joint, Request(), search, own
        )
        assert alone[0] == together[n]
        np.testing.assert_array_equal(own_resp[0], resp[n])
        np.testing.assert_array_equal(own[0], kept[n])


@pytest.mark.kernels
def test_components_of_zero_weight_are_nobodys_neighbours(truncating, rng, random_params, sample):
    K, n_neighbors = 12, 4
    log_joint = random_params(rng, "diag", K, 3, spread=2.0)
    X = sample(rng, log_joint, 500)
    log_joint.offset[[2, 7]] = -np.inf
    search = Search(2, n_neighbors, candidates=np.arange(K, dtype=np.int32))
    kept = np.full((len(X), 2), -1, np.int32)
    run_truncated(truncating, X, log_joint, Request(), search, kept)
    search = replace(search, learn=True)
    _, near, _, _ = run_truncated(truncating, X, log_joint, Request(), search, kept)
    for k in set(range(K)) - {2, 7}:
        assert near[k, 0] == k
        assert not {2, 7} & set(near[k])


@pytest.mark.kernels
def test_rows_of_zero_weight_teach_nothing(truncating, rng, random_params, sample):
    K, n_kept, n_neighbors = 40, 2, 5
    log_joint = random_params(rng, "diag", K, 3, spread=3.0)
    X = sample(rng, log_joint, 700)
    weights = rng.integers(0, 2, size=len(X)).astype(float)
    X[weights == 0.0] = rng.normal(scale=9.0, size=(int((weights == 0.0).sum()), 3))
    neighbors = rng.integers(K, size=(K, n_neighbors)).astype(np.int32)
    kept = np.array([rng.permutation(K)[:n_kept] for _ in X], np.int32)
    search = Search(n_kept, n_neighbors, 0, 1, neighbors, learn=True)
    some = weights > 0.0
    _, expected, _, _ = run_truncated(
        truncating, X[some], log_joint, Request(), search, kept[some].copy()
    )
    _, near, _, _ = run_truncated(
        truncating, X, log_joint, Request(), search, kept, weights=weights
    )
    np.testing.assert_array_equal(near, expected)


@pytest.mark.kernels
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_linear_form(truncating, rng, dtype):
    X = rng.poisson(2.0, size=(301, 11)).astype(dtype)
    log_joint = LogJoint(rng.normal(size=30), Linear(rng.normal(size=(30, 11)) / 4))
    search, kept = everything(len(X), log_joint)
    request = Request(moments="first")
    result, _, log_evidence, _ = run_truncated(truncating, X, log_joint, request, search, kept)
    outputs = RowOutputs(log_evidence=np.empty(len(X), dtype))
    exact = run_pass(as_row_source(X), log_joint, request, outputs=outputs)
    assert_same_sums(result, exact, TOLERANCE[X.dtype])
    assert close(log_evidence, outputs.log_evidence, TOLERANCE[X.dtype])


@pytest.mark.kernels
@pytest.mark.parametrize("covariance_type", TYPES)
@pytest.mark.parametrize("far", [1e3, 1e6])
def test_float32_far_from_the_origin(rng, random_params, sample, covariance_type, far):
    """Rows keep the digits that they came with, and every component those of its own distance."""
    log_joint = random_params(rng, covariance_type, 12, 9, spread=2.0)
    centres = log_joint.form.centres + far
    centres[5] += 3e5  # one stray component
    moved = LogJoint.quadratic(
        covariance_type, log_joint.offset, centres, log_joint.form.precision_cholesky
    )
    X = (sample(rng, log_joint, 400) + far).astype(np.float32)
    request = Request(moments=MOMENTS[covariance_type])
    found = []
    for rows in (X, X.astype(np.float64)):
        search, kept = everything(len(X), moved)
        found.append(run_truncated(get_backend("native"), rows, moved, request, search, kept))
    (single, _, evidence, _), (double, _, exact, _) = found
    assert np.abs(evidence - exact).max() < 1e-3
    assert_same_sums(single, double, 3e-5)


@pytest.mark.kernels
@pytest.mark.parametrize("covariance_type", TYPES)
def test_moments_about_other_points(truncating, rng, random_params, sample, covariance_type):
    log_joint = random_params(rng, covariance_type, 9, 5)
    X = sample(rng, log_joint, 250)
    about = log_joint.form.centres + rng.normal(size=(9, 5))
    request = Request(moments=MOMENTS[covariance_type])
    search, kept = everything(len(X), log_joint)
    plain, *_ = run_truncated(truncating, X, log_joint, request, search, kept.copy())
    moved, *_ = run_truncated(truncating, X, log_joint, request, search, kept, about=about)
    expected = plain.statistics.about(about)
    for name in ("centres", "weight", "first", "second"):
        assert close(getattr(moved.statistics, name), getattr(expected, name), 1e-10)


@pytest.mark.kernels
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_bits_do_not_depend_on_threads_strides_or_calls(rng, random_params, sample, dtype):
    backend = get_backend("native")
    log_joint = random_params(rng, "full", 200, 10, spread=3.0)
    X = sample(rng, log_joint, 6000, dtype)
    wide = np.zeros((len(X), 23), dtype)
    wide[:, ::2][:, :10] = X
    neighbors = rng.integers(0, 200, size=(200, 15)).astype(np.int32)
    search = Search(3, 15, 1, 5, neighbors, learn=True)
    before = rng.integers(0, 200, size=(len(X), 3)).astype(np.int32)
    found = []
    for rows, threads in ((X, 1), (X, 2), (wide[:, ::2][:, :10], 2), (np.asfortranarray(X), 1)):
        kept = before.copy()
        running = backend.begin_truncated(
            log_joint,
            Request(moments="full"),
            search,
            dtype=X.dtype,
            workspace=backend.workspace(),
            num_threads=threads,
        )
        for start in (0, 2500):
            part = slice(start, 2500 if start == 0 else None)
            running.run(start, rows[part], None, kept[part])
        found.append((running.finish(), running.learned().neighbors(neighbors), kept))
    for result, near, kept in found[1:]:
        assert result == found[0][0]
        np.testing.assert_array_equal(near, found[0][1])
        np.testing.assert_array_equal(kept, found[0][2])


def test_evidence_never_falls(truncating, rng, random_params, sample):
    log_joint = random_params(rng, "diag", 50, 4, spread=4.0)
    X = sample(rng, log_joint, 500)
    exact = np.empty(len(X))
    run_pass(as_row_source(X), log_joint, Request(), outputs=RowOutputs(log_evidence=exact))
    kept = np.full((len(X), 4), -1, np.int32)
    kept[:, 0] = 7
    neighbors = rng.integers(0, 50, size=(50, 6)).astype(np.int32)
    last, gaps = np.full(len(X), -np.inf), []
    for key in range(12):
        search = Search(4, 6, 1, key, neighbors, learn=True)
        _, neighbors, log_evidence, _ = run_truncated(
            truncating, X, log_joint, Request(), search, kept
        )
        assert (log_evidence >= last - 1e-12 * np.abs(last)).all()
        assert (log_evidence <= exact + 1e-12 * np.abs(exact)).all()
        last = log_evidence
        gaps.append((exact - last).mean())
    assert gaps[-1] < 0.2 * gaps[0]


def test_draws_are_uniform_and_depend_on_key_and_row():
    rows = np.arange(60_000)
    drawn = drawn_components(Search(1, n_random=2, key=3), rows, 7)
    assert drawn.shape == (len(rows), 2)
    count = np.bincount(drawn.ravel(), minlength=7)
    assert np.abs(count / drawn.size * 7 - 1).max() < 0.03
    assert (drawn != drawn_components(Search(1, n_random=2, key=4), rows, 7)).mean() > 0.8
    np.testing.assert_array_equal(
        drawn[1000:], drawn_components(Search(1, n_random=2, key=3), rows[1000:], 7)
    )


@pytest.mark.kernels
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_impossible_rows_keep_what_they_had(truncating, rng, random_params, sample, dtype):
    log_joint = random_params(rng, "diag", 6, 3)
    log_joint.offset[[1, 4]] = -np.inf
    X = sample(rng, log_joint, 70, dtype)
    kept = np.full((len(X), 2), -1, np.int32)
    kept[:] = 1, 4
    result, _, log_evidence, resp = run_truncated(
        truncating, X, log_joint, Request(moments="diag"), Search(2), kept
    )
    assert (log_evidence == -np.inf).all()
    assert result.log_evidence == -np.inf
    assert (resp == 0).all()
    np.testing.assert_array_equal(np.sort(kept), np.tile([1, 4], (len(X), 1)))
    assert not result.statistics.weight.any()
    assert not result.statistics.first.any()


def test_first_row_that_is_not_finite(truncating, rng, random_params, sample):
    log_joint = random_params(rng, "diag", 6, 3)
    X = sample(rng, log_joint, 3000)
    X[2111, 1] = np.nan
    X[900, 2] = np.inf
    search, kept = everything(len(X), log_joint)
    with pytest.raises(NonFiniteRowError) as raised:
        run_truncated(truncating, X, log_joint, Request(), search, kept)
    assert raised.value.row == 900


def test_no_rows(truncating, random_params, rng):
    log_joint = random_params(rng, "full", 4, 3)
    search, kept = everything(0, log_joint)
    X = np.empty((0, 3))
    result, *_ = run_truncated(truncating, X, log_joint, Request(moments="full"), search, kept)
    assert result.total_weight == result.log_evidence == 0.0
    assert not result.statistics.weight.any()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kept": np.full((5, 2), 9, np.int32)}, "kept must be in -1..5"),
        ({"kept": np.full((5, 3), 0, np.int32)}, "kept"),
        ({"kept": np.full((5, 2), 0, np.int64)}, "kept"),
        ({"neighbors": np.full((6, 4), 6, np.int32)}, "neighbors must be in -1..5"),
        ({"neighbors": np.full((5, 4), 0, np.int32)}, "neighbors"),
        ({"candidates": np.array([-1], np.int32)}, "candidates must be in 0..5"),
        ({"X": np.zeros((5, 4))}, "rows"),
        ({"X": np.zeros((5, 3), np.float32)}, "rows"),
        ({"weights": np.ones(4)}, "weights"),
        ({"about": np.zeros((6, 4))}, "about"),
    ],
)
def test_wrong_arrays(rng, random_params, change, message):
    """What does not fit is refused before anything is written."""
    log_joint = random_params(rng, "diag", 6, 3)
    arrays = {"X": np.zeros((5, 3)), "kept": np.zeros((5, 2), np.int32), **change}
    search = Search(
        2, 4, neighbors=arrays.get("neighbors"), candidates=arrays.get("candidates"), n_random=1
    )
    backend = get_backend("native")
    with pytest.raises(ValueError, match=message):
        backend.begin_truncated(
            log_joint,
            Request(),
            search,
            dtype=np.dtype(np.float64),
            workspace=backend.workspace(),
            num_threads=1,
            about=arrays.get("about"),
        ).run(0, arrays["X"], arrays.get("weights"), arrays["kept"])


def test_who_offers_it():
    assert offers_truncation(get_backend("native"))
    assert offers_truncation(get_backend("reference"))


@pytest.mark.parametrize(
    ("begin", "members", "message"),
    [
        ([0, 1, 1, 1, 1, 1, 2], [0, 6], "cells.members must be in 0..5"),
        ([0, 1, 0, 1, 1, 1, 2], [0, 1], "cells.begin must ascend from 0"),
        ([0, 1, 2], [0, 1], "cells.begin"),
        ([0, 1, 1, 1, 1, 1, 9], [0, 1], "cells.members"),
    ],
)
def test_wrong_cells(rng, random_params, begin, members, message):
    cells = Cells(np.array(begin, np.int64), np.array(members, np.int32))
    with pytest.raises(ValueError, match=message):
        run_truncated(
            get_backend("native"),
            np.zeros((5, 3)),
            random_params(rng, "diag", 6, 3),
            Request(),
            Search(2, cells=cells),
            np.zeros((5, 2), np.int32),
        )


@pytest.mark.kernels
def test_cells_are_searched(rng, random_params, sample):
    K = 30
    log_joint = random_params(rng, "diag", K, 4, spread=3.0)
    X = sample(rng, log_joint, 400)
    sizes = rng.integers(0, 9, size=K)
    begin = np.concatenate([[0], np.cumsum(sizes)])
    cells = Cells(begin, rng.integers(0, K, size=begin[-1]).astype(np.int32))
    before = rng.integers(-1, K, size=(len(X), 3)).astype(np.int32)
    found = []
    for name in ("native", "reference"):
        kept = before.copy()
        run_truncated(get_backend(name), X, log_joint, Request(), Search(3, cells=cells), kept)
        found.append(kept)
    np.testing.assert_array_equal(*found)
    assert (found[0] != before).any()


@pytest.mark.kernels
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("covariance_type", TYPES)
def test_entropy_and_expected_log_joint_of_what_is_kept(
    truncating, rng, random_params, sample, covariance_type, dtype
):
    """They add up to the evidence, and are those of a whole pass where all is kept."""
    log_joint = random_params(rng, covariance_type, 12, 3)
    X = sample(rng, log_joint, 300, dtype)
    weights = rng.integers(0, 3, size=len(X)).astype(float)
    request, tolerance = Request(moments="first", entropy=True), TOLERANCE[X.dtype]
    search, kept = everything(len(X), log_joint)
    sums, *_ = run_truncated(truncating, X, log_joint, request, search, kept, weights=weights)
    with config_context(backend="reference"):
        whole = run_pass(as_row_source(X), log_joint, request, sample_weight=weights)
    for name in ("expected_log_joint", "entropy"):
        size = abs(whole.expected_log_joint)
        assert abs(getattr(sums, name) - getattr(whole, name)) <= tolerance * size, name
    few = kept[:, :3].copy()
    sums, _, _, resp = run_truncated(
        truncating, X, log_joint, request, Search(3), few, weights=weights
    )
    added = sums.expected_log_joint + sums.entropy
    assert added == pytest.approx(sums.log_evidence, rel=1e-13)
    by_definition = vbfast.entropy(resp.astype(np.float64), axis=1)
    assert sums.entropy == pytest.approx(weights @ by_definition, rel=100 * tolerance)
    nothing = LogJoint(np.full(12, -np.inf), log_joint.form)
    sums, *_ = run_truncated(truncating, X, nothing, request, Search(3), few, weights=weights)
    assert (sums.expected_log_joint, sums.entropy) == (-np.inf, 0.0)
