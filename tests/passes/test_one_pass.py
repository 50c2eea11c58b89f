"""Passes as they are driven: rounds, what they read, and which row an error names."""

from __future__ import annotations

import numpy as np
import pytest

from elsewhere import Elsewhere
from vbfast.backends import get_backend
from vbfast.backends.native.blocking import blocking as native_blocking
from vbfast.config.settings import config_context, current_backend
from vbfast.contract import LogJoint, NonFiniteRowError, Request, RowOutputs
from vbfast.passes import one_pass
from vbfast.passes.one_pass import run_pass, run_seeding
from vbfast.passes.responsibilities import RespSource, as_resp_source
from vbfast.passes.rows import as_row_source

N, D, K = 40_000, 3, 4
# Bytes of a round, of at least a tile of some partitions; the longest partition has 22 KB.
TILES, PARTITIONS = 40_000, 400_000


@pytest.fixture
def small_rounds(monkeypatch):
    monkeypatch.setattr(one_pass, "ROUND_BYTES", TILES)


@pytest.fixture
def params(rng):
    return LogJoint.quadratic(
        "diag", rng.normal(size=K), rng.normal(size=(K, D)), rng.uniform(0.5, 2, size=(K, D))
    )


@pytest.fixture(name="X")
def rows(rng):
    return rng.normal(size=(N, D))


@pytest.fixture(params=["native", "reference"])
def backend(request):
    with config_context(backend=request.param):
        yield


def blocking_of(X, moments="diag"):
    return native_blocking(len(X), D, K, X.dtype, moments)


EVERYTHING = Request(moments="diag", entropy=True)


def all_of(source, params, request=EVERYTHING, **arguments):
    """Every number that a pass gives, in one array."""
    outputs = RowOutputs(
        log_evidence=np.full(N, np.nan, source.dtype), labels=np.full(N, -7, np.int64)
    )
    result = run_pass(source, params, request, outputs=outputs, **arguments)
    statistics = result.statistics
    return np.concatenate(
        [
            [result.total_weight, result.log_evidence, result.expected_log_joint],
            [result.entropy, result.kl],
            statistics.weight,
            statistics.first.ravel(),
            statistics.second.ravel(),
            outputs.log_evidence,
            outputs.labels,
        ]
    )


@pytest.mark.kernels
@pytest.mark.usefixtures("small_rounds", "backend")
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("round_bytes", [TILES, PARTITIONS])
def test_rounds_give_the_bits_of_one(rng, X, params, dtype, weighted, round_bytes, monkeypatch):
    X = X.astype(dtype)
    weights = rng.uniform(size=N) if weighted else None
    expected = all_of(as_row_source(X), params, sample_weight=weights)
    stored = Elsewhere(X)
    monkeypatch.setattr(one_pass, "ROUND_BYTES", round_bytes)
    actual = all_of(as_row_source(stored), params, sample_weight=weights)
    bounds = get_backend(current_backend()).blocking(N, D, K, X.dtype, "diag").bounds
    within = sum(start not in bounds for start, _ in stored.slices)
    across = sum(sum(start < b < stop for b in bounds) for start, stop in stored.slices)
    if round_bytes == TILES:
        assert within > 5
        assert len(stored.slices) > len(bounds) - 1
    elif current_backend() == "native":
        assert within == 0
        assert across > len(bounds) // 2
    np.testing.assert_array_equal(actual, expected)


@pytest.mark.kernels
@pytest.mark.usefixtures("small_rounds", "backend")
@pytest.mark.parametrize("kind", ["matrix", "labels"])
def test_given_responsibilities_in_rounds_give_the_bits_of_one(rng, X, params, kind, monkeypatch):
    resp = rng.dirichlet(np.ones(K), N) if kind == "matrix" else rng.integers(-1, K, N)
    request = Request("given", "diag", entropy=True)
    actual = all_of(as_row_source(Elsewhere(X)), params, request, resp=resp)
    in_memory = all_of(as_row_source(X), params, request, resp=resp)
    monkeypatch.setattr(one_pass, "ROUND_BYTES", 1 << 30)
    expected = all_of(as_row_source(X), params, request, resp=resp)
    np.testing.assert_array_equal(actual, expected)
    np.testing.assert_array_equal(in_memory, expected)


@pytest.mark.kernels
@pytest.mark.usefixtures("small_rounds", "backend")
def test_seeding_in_rounds_gives_the_bits_of_one(rng, X):
    candidates, weights = rng.normal(size=(K, D)), rng.uniform(size=N)
    closest = rng.uniform(0, 4, size=N)
    results = []
    for source in (as_row_source(X), as_row_source(Elsewhere(X))):
        lowered = np.full((K, N), np.nan)
        potentials = run_seeding(
            source, candidates, closest, sample_weight=weights, lowered=lowered
        )
        results.append(np.concatenate([potentials, lowered.ravel()]))
    np.testing.assert_array_equal(*results)


@pytest.mark.usefixtures("small_rounds")
def test_every_row_is_read_once_and_few_at_a_time(X, params):
    stored = Elsewhere(X)
    run_pass(as_row_source(stored), params, Request(moments="diag"))
    seen = np.zeros(N, dtype=int)
    for start, stop in stored.slices:
        seen[start:stop] += 1
    np.testing.assert_array_equal(seen, 1)
    assert max(stop - start for start, stop in stored.slices) * D * X.itemsize <= TILES


@pytest.mark.usefixtures("small_rounds")
def test_responsibilities_count_towards_a_round(rng, params):
    X = rng.normal(size=(2_000_000, D))
    blocking = native_blocking(len(X), D, K, X.dtype, "diag")
    lengths = []
    for given in (False, True):
        stored = Elsewhere(X)
        resp = {"resp": np.full((len(X), K), 1 / K)} if given else {}
        one_pass.ROUND_BYTES = 4 * 8 * blocking.tile_rows * D * X.itemsize  # of 8 partitions
        request = Request("given" if given else "posterior", moments="diag")
        run_pass(as_row_source(stored), params, request, **resp)
        start, stop = stored.slices[0]
        lengths.append(stop - start)
    assert lengths == [4 * blocking.tile_rows, blocking.tile_rows]


@pytest.mark.kernels
@pytest.mark.usefixtures("small_rounds", "backend")
@pytest.mark.parametrize("wrap", [lambda X: X, Elsewhere], ids=["in memory", "elsewhere"])
@pytest.mark.parametrize("pass_", ["E-step", "seeding"])
def test_the_first_row_that_is_not_finite_is_named(X, params, wrap, pass_):
    bounds = blocking_of(X, None if pass_ == "seeding" else "diag").bounds
    assert len(bounds) > 3
    # Late in the first partition, which a later round holds, and early in the others.
    rows = [bounds[1] - 1, bounds[1], bounds[2] + 5]
    X[rows[0], 1], X[rows[1], 0], X[rows[2]] = np.nan, np.inf, -np.inf
    source = as_row_source(wrap(X))
    run = {
        "E-step": lambda: run_pass(source, params, Request(moments="diag")),
        "seeding": lambda: run_seeding(source, params.form.centres, np.full(N, np.inf)),
    }[pass_]
    with pytest.raises(NonFiniteRowError, match=f"row {rows[0]} has") as caught:
        run()
    assert caught.value.row == rows[0]
    assert isinstance(caught.value, ValueError)


@pytest.mark.usefixtures("small_rounds")
def test_a_bad_distribution_is_named_by_its_row_in_the_whole(rng, X, params):
    resp = rng.dirichlet(np.ones(K), N)
    resp[N - 3, 1] = np.nan
    with pytest.raises(ValueError, match=f"row {N - 3} has least entry nan"):
        run_pass(as_row_source(X), params, Request("given"), resp=resp)


def test_a_source_of_responsibilities_is_asked_for_the_blocks_of_the_rows(rng, X, params):
    resp = rng.dirichlet(np.ones(K), N)

    class Source(RespSource):
        in_memory = True

        def __init__(self):
            self.asked = []
            self.of = as_resp_source(resp, N, K, np.float64)

        def block(self, start, stop):
            self.asked.append((start, stop))
            return self.of.block(start, stop)

    source = Source()
    request = Request("given", "diag", entropy=True)
    actual = all_of(as_row_source(X), params, request, resp=source)
    np.testing.assert_array_equal(actual, all_of(as_row_source(X), params, request, resp=resp))
    assert source.asked == [(0, N)]


@pytest.mark.parametrize(
    "block",
    [
        np.full((1, K), 1 / K),
        np.full(N, 1 / K),
        np.full((N, K - 1), 1 / (K - 1)),
        np.full((N, K), 1 / K, np.float32),
        np.zeros(N, np.int32),
        np.zeros(3, np.int64),
    ],
)
def test_what_a_source_of_responsibilities_returns_is_checked(X, params, block):
    class Source(RespSource):
        def block(self, start, stop):
            return block[start:stop]

    with pytest.raises(ValueError, match=r"resp\[0:\d+\] should have shape .* and dtype float64"):
        run_pass(as_row_source(X), params, Request("given", "diag"), resp=Source())


def test_an_attribute_makes_no_source_of_responsibilities(X, params):
    class Other:
        in_memory = False

        def block(self, start, stop):
            return np.full((1, K), 1 / K)

    with pytest.raises(TypeError, match=r"resp must be numeric: .* not 'Other'"):
        run_pass(as_row_source(X), params, Request("given", "diag"), resp=Other())


@pytest.mark.parametrize("assignment", ["posterior", "hard"])
def test_superfluous_responsibilities(X, params, assignment):
    with pytest.raises(ValueError, match=f"resp does not go with assignment '{assignment}'"):
        run_pass(as_row_source(X), params, Request(assignment), resp=np.full((N, K), 1 / K))


@pytest.mark.parametrize(
    ("resp", "error", "message"),
    [
        (None, ValueError, "resp does not go with assignment 'given'"),
        (np.full((N - 1, K), 1 / K), ValueError, r"\(40000, 4\); got \(39999, 4\)"),
        (np.full((N, K + 1), 1 / K), ValueError, r"\(40000, 4\); got \(40000, 5\)"),
        (np.full(N, K), ValueError, r"lie in -1\.\.3; row 0 has 4"),
        (np.zeros(N - 1, int), ValueError, r"shape \(40000,\); got \(39999,\)"),
        (np.full((N, K), 0.25j), TypeError, "resp must be real"),
    ],
)
def test_responsibilities_that_do_not_fit(X, params, resp, error, message):
    with pytest.raises(error, match=message):
        run_pass(as_row_source(X), params, Request("given"), resp=resp)


def test_features_that_do_not_fit(X, params):
    with pytest.raises(ValueError, match="X has 2 features, but the model has 3"):
        run_pass(as_row_source(X[:, :2]), params, Request())


@pytest.mark.usefixtures("backend")
def test_a_workspace_serves_many_passes(X, params):
    workspace = get_backend(current_backend()).workspace()
    expected = all_of(as_row_source(X), params)
    for _ in range(2):
        actual = all_of(as_row_source(X), params, workspace=workspace)
        np.testing.assert_array_equal(actual, expected)
        run_pass(as_row_source(X[:100]), params, Request(), workspace=workspace)


def test_terms_that_were_not_asked_for_are_nan(X, params):
    result = run_pass(as_row_source(X), params, Request())
    assert np.isfinite(result.log_evidence)
    assert np.isnan([result.entropy, result.expected_log_joint, result.kl]).all()
    assert result.statistics is None
    assert result.total_weight == N


@pytest.mark.parametrize(
    ("covariance_type", "offset", "factors", "message"),
    [
        ("full", 2, (3, 3), r"precision_cholesky must have shape \(2, 3, 3\)"),
        ("tied", 2, (2, 3, 3), r"precision_cholesky must have shape \(3, 3\)"),
        ("diag", 3, (2, 3), r"offset must have shape \(n_components,\) = \(2,\)"),
        ("spherical", 2, (2, 1), r"precision_cholesky must have shape \(2,\)"),
    ],
)
def test_parameters_whose_shapes_do_not_fit(covariance_type, offset, factors, message):
    with pytest.raises(ValueError, match=message):
        LogJoint.quadratic(covariance_type, np.zeros(offset), np.zeros((2, 3)), np.ones(factors))
