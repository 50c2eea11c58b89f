"""Fits whose rows keep a few components each: their bounds, and what they go together with."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
import sklearn.mixture
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone

import vbfast
from vbfast import BayesianGaussianMixture, GaussianMixture, Mixture, config_context
from vbfast.benchmark.datasets import DATASETS
from vbfast.benchmark.patches import noisy_patches
from vbfast.estimators import truncation as estimators_truncation
from vbfast.families import Gaussian
from vbfast.inference import truncated_start
from vbfast.inference.monitor import SILENT
from vbfast.passes import truncated_runner

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

TYPES = ["full", "tied", "diag", "spherical"]
all_types = pytest.mark.parametrize("covariance_type", TYPES)
both_mixtures = pytest.mark.parametrize("make", [GaussianMixture, BayesianGaussianMixture])


def gaussian_family(n_components, **arguments):
    return Mixture(Gaussian(), n_components, **arguments)


every_mixture = pytest.mark.parametrize(
    "make", [GaussianMixture, BayesianGaussianMixture, gaussian_family]
)


def groups(rng, n_rows=900, n_features=3, n_groups=12, dtype=np.float64):
    """Rows of groups that overlap here and there."""
    centres = 4.0 * rng.normal(size=(n_groups, n_features))
    turns = rng.normal(size=(n_groups, n_features, n_features)) / np.sqrt(n_features)
    group = rng.integers(n_groups, size=n_rows)
    noise = rng.normal(size=(n_rows, n_features))
    rows = centres[group] + np.einsum("nd,nde->ne", noise, turns[group]) + 0.3 * noise
    return rows.astype(dtype)


@pytest.fixture(name="X")
def rows(rng):
    return groups(rng)


@pytest.fixture
def search_from_the_start(monkeypatch):
    """Starts search though there are few components."""
    monkeypatch.setattr(truncated_start, "FEW_COMPONENTS", 0)


def given_start(X, covariance_type, n_components, rng):
    """A whole start: its components at rows, with the rows' own covariance."""
    D = X.shape[1]
    variance = X.var(axis=0)
    shape = {
        "full": np.tile(np.diag(4.0 / variance), (n_components, 1, 1)),
        "tied": np.diag(4.0 / variance),
        "diag": np.tile(4.0 / variance, (n_components, 1)),
        "spherical": np.full(n_components, 4.0 / variance.mean()),
    }[covariance_type]
    assert shape.shape[-1] in (D, n_components)
    weights = rng.uniform(0.5, 1.5, size=n_components)
    return {
        "n_components": n_components,
        "covariance_type": covariance_type,
        "weights_init": weights / weights.sum(),
        "means_init": X[rng.permutation(len(X))[:n_components]].astype(np.float64),
        "precisions_init": shape,
    }


def terms_of(mixture, X, sample_weight=None):
    """The sum of the magnitudes of the bound's terms, which its rounding is measured by."""
    terms = mixture.elbo(X, sample_weight=sample_weight)
    size = abs(terms.expected_log_joint) + abs(terms.entropy)
    if isinstance(mixture, BayesianGaussianMixture):
        size += abs(terms.kl_weights) + np.abs(terms.kl_components).sum()
    return max(1.0, size)


def exact_bound(mixture, X, sample_weight=None):
    """The bound of whole posteriors of a fitted mixture, nats."""
    terms = mixture.elbo(X, sample_weight=sample_weight)
    return terms.total if isinstance(mixture, BayesianGaussianMixture) else terms.log_evidence


def assert_bounds_are_right(make, X, sample_weight=None, **arguments):
    """Bounds rise, and none is above that of whole posteriors and the same parameters."""
    total = len(X) if sample_weight is None else sample_weight.sum()
    before = [make(**(arguments | {"max_iter": 0})).fit(X, sample_weight=sample_weight)]
    mixture = make(**arguments)
    mixture.fit(
        X, sample_weight=sample_weight, callback=lambda now: before.append(now.fitted_estimator())
    )
    variational = make is BayesianGaussianMixture
    unit = 1.0 if variational else total
    bounds = unit * np.asarray(mixture.lower_bounds_)
    tolerance = 1e-12 * max(terms_of(fitted, X, sample_weight) for fitted in before)
    assert len(before) == len(bounds) + 1
    assert (np.diff(bounds) >= -tolerance).all()
    # An evidence is of what the iteration begins with; a bound of q is of what it ends with.
    of = before[1:] if variational else before[:-1]
    exact = np.array([exact_bound(fitted, X, sample_weight) for fitted in of])
    assert (bounds <= exact + tolerance).all()
    return mixture, bounds, exact


@all_types
@both_mixtures
@pytest.mark.parametrize("n_components", [4, 90])
def test_the_bound_rises_and_stays_below_the_exact_one(X, make, covariance_type, n_components):
    arguments = {"reg_covar": 0.0, "tol": 0.0, "max_iter": 12, "random_state": 0}
    if n_components == 90:  # of ten rows each
        X = np.concatenate([X[:, :2] + shift for shift in np.linspace(0.0, 90.0, 5)[:, np.newaxis]])
    mixture, bounds, exact = assert_bounds_are_right(
        make, X, n_components=n_components, covariance_type=covariance_type, truncation=3,
        n_neighbors=6, **arguments
    )  # fmt: skip
    assert np.isfinite(mixture.means_).all()
    assert bounds[-1] > bounds[0]
    assert (exact - bounds)[-1] < 0.3 * len(X)


@pytest.mark.parametrize("covariance_type", ["full", "spherical"])
def test_bounds_of_very_many_components(rng, covariance_type):
    """Their neighbours are not found among all of them, and many of them lose their rows."""
    X = groups(rng, 4000, 2, 400)
    mixture, bounds, exact = assert_bounds_are_right(
        BayesianGaussianMixture,
        X,
        n_components=1100,
        covariance_type=covariance_type,
        truncation=3,
        reg_covar=0.0,
        tol=0.0,
        max_iter=5,
        random_state=0,
    )
    assert bounds[-1] > bounds[0]
    assert (mixture.weights_ < 1e-5).any()
    assert (exact - bounds)[-1] < 0.5 * len(X)


@all_types
def test_a_start_far_from_the_rows(X, rng, covariance_type):
    """Components come from far: their second moments are taken again about the new means."""
    start = given_start(X, covariance_type, 5, rng)
    start["means_init"] = X[:5] + 1e7
    mixture, _, _ = assert_bounds_are_right(
        GaussianMixture, X, **start, truncation=2, reg_covar=0.0, tol=0.0, max_iter=5
    )
    assert mixture.n_passes_ > mixture.n_iter_
    near = np.average(X, axis=0)
    total = mixture.weights_ @ mixture.means_
    np.testing.assert_allclose(total, near, atol=1e-8)


@all_types
def test_keeping_all_is_the_exact_fit(X, rng, covariance_type):
    start = given_start(X, covariance_type, 8, rng)
    arguments = start | {"tol": 0.0, "max_iter": 15}
    exact = GaussianMixture(**arguments).fit(X)
    for truncation in (8, 20):
        kept = GaussianMixture(**arguments, truncation=truncation, n_neighbors=3).fit(X)
        np.testing.assert_allclose(kept.lower_bounds_, exact.lower_bounds_, rtol=0.0, atol=1e-9)
        for name in ("weights_", "means_", "covariances_"):
            one, other = getattr(kept, name), getattr(exact, name)
            assert np.abs(one - other).max() <= 1e-9 * np.abs(other).max()


@every_mixture
@pytest.mark.parametrize("init_params", ["random", "random_from_data", "array", "callable"])
def test_starts_are_those_of_whole_posteriors(X, rng, make, init_params):
    resp = rng.dirichlet(np.full(5, 0.1), size=len(X))
    made = {"array": resp, "callable": lambda X, n_components, random_state: resp}
    arguments = {
        "init_params": made.get(init_params, init_params),
        "random_state": 7,
        "max_iter": 6,
        "tol": 0.0,
    }
    exact = make(5, **arguments).fit(X)
    kept = make(5, **arguments, truncation=5).fit(X)
    np.testing.assert_allclose(kept.lower_bounds_, exact.lower_bounds_, rtol=1e-9)
    np.testing.assert_allclose(kept.means_, exact.means_, rtol=1e-6, atol=1e-8)


@pytest.mark.usefixtures("search_from_the_start")
@all_types
@pytest.mark.parametrize("init_params", ["kmeans", "k-means++", "random_from_data", "random"])
@pytest.mark.parametrize("n_components", [5, 70])
def test_starts_lead_somewhere(X, covariance_type, init_params, n_components):
    mixture = GaussianMixture(
        n_components,
        covariance_type=covariance_type,
        init_params=init_params,
        truncation=3,
        random_state=0,
        max_iter=30,
    ).fit(X)
    assert np.isfinite(mixture.means_).all()
    assert mixture.weights_.sum() == pytest.approx(1.0, rel=1e-12)
    assert mixture.score(X) > mixture.lower_bounds_[0]
    one = GaussianMixture(1, covariance_type=covariance_type).fit(X)
    assert mixture.score(X) > one.score(X)


@st.composite
def problems(draw):
    """Rows with weights, and a mixture to start from that covers them."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    K = draw(st.integers(1, 9))
    n_features = draw(st.integers(1, 6))
    n_rows = draw(st.integers(40, 60)) * K
    X = groups(rng, n_rows, n_features, draw(st.integers(1, 2 * K)))
    kind = draw(st.sampled_from(["none", "integers", "uniform", "huge", "tiny"]))
    weights = {
        "none": None,
        "integers": rng.integers(0, 3, size=n_rows).astype(float),
        "uniform": rng.uniform(0.5, 2.0, size=n_rows),
        "huge": 1e290 * rng.uniform(0.5, 2.0, size=n_rows) / n_rows,
        "tiny": 1e-290 * rng.uniform(0.5, 2.0, size=n_rows),
    }[kind]
    arguments = given_start(X, draw(st.sampled_from(TYPES)), K, rng) | {
        "truncation": draw(st.integers(1, K + 1)),
        "n_neighbors": draw(st.integers(1, K + 1)),
        "n_random": draw(st.integers(0, 2)),
        "random_state": 0,
        "reg_covar": 0.0,
        "tol": 0.0,
        "max_iter": 4,
    }
    return X, weights, arguments


@pytest.mark.kernels
@settings(max_examples=40, deadline=None, derandomize=True)
@given(problems())
def test_any_bound_of_maximum_likelihood(problem):
    X, weights, arguments = problem
    try:
        GaussianMixture(**arguments).fit(X, sample_weight=weights)
    except ValueError:  # few rows were left to a component
        with pytest.raises(ValueError, match="ill-defined empirical covariance"):
            GaussianMixture(**arguments).fit(X, sample_weight=weights)
        return
    mixture, bounds, exact = assert_bounds_are_right(GaussianMixture, X, weights, **arguments)
    if arguments["truncation"] >= arguments["n_components"]:
        tolerance = 1e-12 * terms_of(mixture, X, weights)
        np.testing.assert_allclose(bounds, exact, rtol=0.0, atol=2.0 * tolerance)


@pytest.mark.kernels
@settings(max_examples=30, deadline=None, derandomize=True)
@given(problems())
def test_any_bound_of_variational_bayes(problem):
    X, weights, arguments = problem
    if weights is not None and not 1e-3 < weights.mean() < 1e3:
        weights = weights / weights.mean()
    start = {name: arguments.pop(name) for name in list(arguments) if name.endswith("_init")}
    distances = ((X[:, np.newaxis] - start["means_init"]) ** 2).sum(axis=2)
    arguments["init_params"] = np.argmin(distances, axis=1)
    _, bounds, _ = assert_bounds_are_right(BayesianGaussianMixture, X, weights, **arguments)
    if arguments["truncation"] >= arguments["n_components"]:
        whole = BayesianGaussianMixture(**(arguments | {"truncation": None}))
        whole.fit(X, sample_weight=weights)
        np.testing.assert_allclose(bounds, whole.lower_bounds_, rtol=1e-9)


@pytest.mark.kernels
@all_types
@pytest.mark.parametrize("far", [0.0, 1e4])
def test_float32_fits_are_those_of_float64(rng, covariance_type, far):
    X = (groups(rng, 3000) + far).astype(np.float32)
    arguments = given_start(X.astype(np.float64), covariance_type, 10, rng) | {
        "tol": 0.0,
        "max_iter": 15,
        "truncation": 3,
        "random_state": 0,
    }
    single = GaussianMixture(**arguments).fit(X)
    double = GaussianMixture(**arguments).fit(X.astype(np.float64))
    assert single.means_.dtype == np.float32
    assert np.abs(np.subtract(single.lower_bounds_, double.lower_bounds_)).max() < 1e-3


def assert_same_fit(one, other):
    for name in (*one._stored.attributes, "lower_bounds_", "n_iter_", "converged_"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)


@both_mixtures
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_bits_do_not_depend_on_threads_or_storage(X, tmp_path, make, dtype):
    X = X.astype(dtype)
    np.save(tmp_path / "rows.npy", X)
    np.save(tmp_path / "swapped.npy", X.astype(X.dtype.newbyteorder()))
    swapped = np.load(tmp_path / "swapped.npy", mmap_mode="r")
    stored = [
        (X, 1),
        (X, 2),
        (tmp_path / "rows.npy", 2),
        (vbfast.open_rows(tmp_path / "rows.npy"), 1),
        (np.load(tmp_path / "rows.npy", mmap_mode="r"), 2),
        ([X[:100], X[100:]], 2),
        (swapped, 2),
    ]
    mixtures = []
    for rows, num_threads in stored:
        with config_context(num_threads=num_threads):
            mixture = make(70, truncation=3, random_state=3, max_iter=5, covariance_type="diag")
            mixtures.append(mixture.fit(rows))
    for mixture in mixtures[1:]:
        assert_same_fit(mixture, mixtures[0])
    other = make(70, truncation=3, random_state=4, max_iter=5, covariance_type="diag").fit(X)
    assert (other.means_ != mixtures[0].means_).any()


def test_integer_weights_are_repeated_rows(X, rng):
    weights = rng.integers(0, 4, size=len(X))
    arguments = given_start(X, "full", 10, rng) | {"tol": 0.0, "max_iter": 8, "truncation": 3}
    weighted = GaussianMixture(**arguments).fit(X, sample_weight=weights)
    repeated = GaussianMixture(**arguments).fit(np.repeat(X, weights, axis=0))
    np.testing.assert_allclose(weighted.lower_bounds_, repeated.lower_bounds_, rtol=1e-10)
    np.testing.assert_allclose(weighted.means_, repeated.means_, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("scale", [1e-290, 1e285])
@pytest.mark.parametrize("n_components", [6, 70])
def test_the_scale_of_weights_does_not_matter(X, rng, scale, n_components):
    weights = rng.uniform(0.5, 2.0, size=len(X))
    arguments = {"truncation": 3, "random_state": 0, "max_iter": 6, "tol": 0.0}
    mixture = GaussianMixture(n_components, covariance_type="diag", **arguments)
    plain = clone(mixture).fit(X, sample_weight=weights)
    scaled = mixture.fit(X, sample_weight=scale * weights)
    np.testing.assert_allclose(scaled.lower_bounds_, plain.lower_bounds_, rtol=1e-6)


@pytest.mark.usefixtures("search_from_the_start")
@pytest.mark.parametrize("init_params", ["kmeans", "k-means++", "random_from_data"])
def test_rows_of_zero_weight_are_no_centres(X, init_params):
    weights = np.zeros(len(X))
    weights[::4] = 1.0
    X[weights == 0.0] += 1e6
    mixture = GaussianMixture(
        70, covariance_type="spherical", truncation=3, init_params=init_params, random_state=0
    ).fit(X, sample_weight=weights)
    assert np.abs(mixture.means_).max() < 1e3


@both_mixtures
def test_several_starts(X, make):
    bounds = []
    arguments = {"truncation": 3, "max_iter": 5, "tol": 0.0, "init_params": "random_from_data"}
    mixture = make(9, n_init=3, random_state=1, **arguments)
    mixture.fit(X, callback=lambda now: bounds.append((now.initialization, now.lower_bound)))
    ends = [[bound for start, bound in bounds if start == index][-1] for index in range(3)]
    assert mixture.lower_bound_ == max(ends)
    assert len(set(ends)) == 3
    one = make(9, random_state=1, **arguments).fit(X)
    assert one.lower_bound_ == ends[0]


@both_mixtures
def test_warm_starts_go_on(X, make):
    mixture = make(12, truncation=3, random_state=0, max_iter=4, tol=0.0, reg_covar=0.0)
    mixture.set_params(warm_start=True).fit(X)
    first, terms = list(mixture.lower_bounds_), terms_of(mixture, X)
    unit = 1.0 if make is BayesianGaussianMixture else len(X)
    mixture.fit(X)
    # Rows look for their components anew: among twelve they find the same.
    assert unit * (mixture.lower_bounds_[0] - first[-1]) >= -1e-9 * terms
    mixture.set_params(truncation=None).fit(X)
    assert mixture.lower_bounds_[0] >= first[-1]
    mixture.set_params(truncation=2).fit(X)
    assert mixture.n_iter_ == 4


@both_mixtures
def test_no_iteration(X, make):
    mixture = make(5, truncation=3, max_iter=0, random_state=0).fit(X)
    assert mixture.n_iter_ == 0
    assert mixture.lower_bounds_ == []
    assert np.isfinite(mixture.score(X))
    X[17, 1] = np.nan
    with pytest.raises(ValueError, match="Input X contains NaN"):
        make(5, truncation=3, max_iter=0, random_state=0).fit(X)


@both_mixtures
def test_a_callback_stops(X, make):
    heard = []

    def callback(now):
        heard.append(now.fitted_estimator())
        return now.iteration == 3

    mixture = make(9, truncation=2, random_state=0, tol=0.0, n_init=2).fit(X, callback=callback)
    assert mixture.n_iter_ == 3
    assert len(heard) == 3
    assert_same_fit(heard[-1], mixture)
    assert heard[0].truncation == 2


@both_mixtures
def test_an_interrupted_fit_keeps_what_it_has(X, make):
    def callback(now):
        if now.iteration == 2:
            raise KeyboardInterrupt

    mixture = make(70, truncation=2, random_state=0, tol=0.0)
    with pytest.raises(KeyboardInterrupt) as raised:
        mixture.fit(X, callback=callback)
    partial = raised.value.partial
    assert partial.n_iter_ == 2
    assert partial.truncation == 2
    assert not hasattr(mixture, "means_")
    two = make(70, truncation=2, random_state=0, tol=0.0, max_iter=2).fit(X)
    assert_same_fit(partial, two)


@pytest.mark.parametrize(
    "rules", [{"n_neighbors": 1, "n_random": 0}, {"n_neighbors": 500}, {"n_random": 10**9}]
)
def test_few_and_many_neighbors(X, rules):
    mixture = GaussianMixture(
        70, covariance_type="diag", truncation=3, random_state=0, max_iter=5, **rules
    ).fit(X)
    assert mixture.score(X) >= mixture.lower_bounds_[-1] - 1e-9


@all_types
def test_nearly_as_many_components_as_rows(rng, covariance_type):
    X = groups(rng, 90)
    mixture = GaussianMixture(
        89, covariance_type=covariance_type, truncation=3, random_state=0, reg_covar=1e-3
    ).fit(X)
    assert np.isfinite(mixture.covariances_).all()
    assert mixture.score(X) > GaussianMixture(1, covariance_type=covariance_type).fit(X).score(X)
    with pytest.raises(ValueError, match="n_components"):
        GaussianMixture(91, truncation=3).fit(X)


@all_types
@both_mixtures
def test_more_components_than_groups(rng, make, covariance_type):
    """Of equal rows: most components have nothing to do."""
    X = np.repeat(groups(rng, 6), 50, axis=0)
    mixture = make(70, covariance_type=covariance_type, truncation=3, random_state=0, max_iter=5)
    mixture.fit(X)
    assert np.isfinite(mixture.score(X))
    assert np.isfinite(mixture.means_).all()


@all_types
@pytest.mark.parametrize("n_components", [5, 70])
def test_a_constant_feature(X, covariance_type, n_components):
    X[:, 1] = 3.0
    mixture = GaussianMixture(
        n_components, covariance_type=covariance_type, truncation=3, random_state=0, max_iter=8
    ).fit(X)
    np.testing.assert_allclose(mixture.means_[:, 1], 3.0, rtol=1e-9)
    assert np.isfinite(mixture.score(X))


@all_types
def test_a_component_that_loses_its_rows(X, rng, covariance_type):
    start = given_start(X, covariance_type, 6, rng)
    start["means_init"][2] = 1e5
    mixture = GaussianMixture(**start, truncation=2, max_iter=4, tol=0.0).fit(X)
    assert mixture.weights_[2] == 0.0
    np.testing.assert_array_equal(mixture.means_[2], start["means_init"][2])
    assert np.isfinite(mixture.score(X))
    again = mixture.set_params(warm_start=True).fit(X)
    assert again.weights_[2] == 0.0


@pytest.mark.usefixtures("search_from_the_start")
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("init_params", ["kmeans", "k-means++", "random_from_data", "random"])
@pytest.mark.parametrize(("value", "said"), [(np.nan, "NaN"), (np.inf, "infinity")])
def test_rows_that_are_not_finite_are_named(X, tmp_path, dtype, init_params, value, said):
    X[700, 1], X[800, 0] = value, np.nan
    X = X.astype(dtype)
    np.save(tmp_path / "rows.npy", X)
    mixture = GaussianMixture(70, truncation=3, init_params=init_params, random_state=0)
    before = copy.deepcopy(vars(mixture))
    with pytest.raises(ValueError, match=f"Input X contains {said}"):
        mixture.fit(X)
    with pytest.raises(ValueError, match="row 700"):
        mixture.fit(tmp_path / "rows.npy")
    with pytest.raises(ValueError, match=r"row 100 of X\[1\]"):
        mixture.fit([X[:600], X[600:]])
    assert vars(mixture) == before


@pytest.mark.parametrize(
    ("conflict", "message"),
    [
        (
            {"batch_size": 100},
            "truncation=3 and batch_size=100 do not go together: batches would have to remember "
            "what their rows keep. Leave one of them None",
        ),
        (
            {"accelerate": "squarem"},
            "truncation=3 and accelerate='squarem' do not go together: an extrapolated step is "
            "judged by the bound, which a search changes as well. Leave one of them None",
        ),
    ],
)
@every_mixture
def test_what_does_not_go_together(X, make, conflict, message):
    with pytest.raises(ValueError, match="do not go together") as raised:
        make(3, truncation=3, **conflict).fit(X)
    assert str(raised.value) == message


@both_mixtures
@pytest.mark.parametrize("at", [(0, 3), (1, 2)])
def test_it_goes_on_from_a_checkpoint(X, make, at, tmp_path):
    """With the bits of a fit that was not ended, and its neighbours."""
    path = tmp_path / "checkpoint.npz"
    parameters = {"truncation": 2, "random_state": 0, "n_init": 2, "max_iter": 5, "tol": 0.0}
    whole = make(30, **parameters).fit(X)

    def end(iteration):
        if (iteration.initialization, iteration.iteration) == at:
            raise RuntimeError("ended")

    kept = {"checkpoint": path, "checkpoint_interval": 0.0}
    with pytest.raises(RuntimeError, match="ended"):
        make(30, **parameters, **kept).fit(X, callback=end)
    gone_on = make(30, **parameters, **kept).fit(X)
    assert_same_fit(gone_on, whole)
    np.testing.assert_array_equal(gone_on.neighbors_, whole.neighbors_)
    with pytest.raises(ValueError, match="cannot be gone on from"):
        make(30, **{**parameters, "truncation": 3}, **kept).fit(X)


@every_mixture
@pytest.mark.parametrize(
    "wrong",
    [
        {"truncation": 0},
        {"truncation": 1.5},
        {"truncation": "all"},
        {"n_neighbors": 0},
        {"n_neighbors": None},
        {"n_random": -1},
        {"n_random": 0.5},
    ],
)
def test_wrong_parameters(X, make, wrong):
    (name,) = wrong
    with pytest.raises(ValueError, match=f"The '{name}' parameter of .* must be"):
        make(3, **({"truncation": 3} | wrong)).fit(X)


def test_backends(X):
    """The reference agrees with the native one; numba's has no truncated passes."""
    arguments = {"truncation": 2, "random_state": 0, "max_iter": 4, "init_params": "random"}
    native = GaussianMixture(5, **arguments).fit(X)
    reference = GaussianMixture(5, backend="reference", **arguments).fit(X)
    np.testing.assert_allclose(native.lower_bounds_, reference.lower_bounds_, rtol=1e-9)
    pytest.importorskip("numba")
    with pytest.raises(NotImplementedError, match="'numba' does not: use backend='native'"):
        GaussianMixture(5, backend="numba", **arguments).fit(X)
    with config_context(backend="numba"):
        labels, gap = native.predict(X), native.bound_gap(X).mean
    np.testing.assert_array_equal(labels, native.predict(X))
    assert gap == pytest.approx(native.bound_gap(X).mean)


@pytest.mark.parametrize("backend", ["native", "reference"])
def test_custom_families(X, diagonal_gaussian, backend):
    message = r"truncation=2 needs Gaussian components, or .*; got Custom\(.*: use truncation=None"
    with pytest.raises(NotImplementedError, match=message):
        Mixture(diagonal_gaussian, 3, truncation=2, backend=backend).fit(X)


@every_mixture
def test_it_is_cloned_and_pickled(X, make):
    arguments = {"truncation": 2, "n_neighbors": 4, "n_random": 3}
    mixture = make(6, random_state=0, max_iter=5, **arguments)
    assert arguments.items() <= mixture.get_params().items()
    mixture = clone(mixture).fit(X)
    assert arguments.items() <= mixture.get_params().items()
    loaded = pickle.loads(pickle.dumps(mixture))
    assert arguments.items() <= loaded.get_params().items()
    np.testing.assert_array_equal(loaded.means_, mixture.means_)
    np.testing.assert_array_equal(loaded.predict(X), mixture.predict(X))
    again = loaded.fit(X)
    np.testing.assert_array_equal(again.means_, mixture.means_)
    assert clone(mixture).set_params(truncation=None).fit(X).score(X) > mixture.lower_bounds_[0]


@both_mixtures
def test_it_is_saved_and_loaded(X, make, tmp_path):
    mixture = make(6, truncation=2, n_neighbors=4, n_random=3, random_state=0, max_iter=5).fit(X)
    mixture.save(tmp_path / "model.npz")
    loaded = vbfast.load(tmp_path / "model.npz")
    assert (loaded.truncation, loaded.n_neighbors, loaded.n_random) == (2, 4, 3)
    np.testing.assert_array_equal(loaded.neighbors_, mixture.neighbors_)
    difference = loaded.predict_proba(X) - mixture.predict_proba(X)
    assert abs(difference).max() == 0.0
    assert_same_fit(loaded.fit(X), mixture)


@both_mixtures
def test_what_follows_a_fit(X, make):
    """Rows have what they find, and with exact=True whole posteriors."""
    mixture = make(40, truncation=3, random_state=0, max_iter=10).fit(X)
    resp, exact = mixture.predict_proba(X), mixture.predict_proba(X, exact=True)
    assert resp.shape == exact.shape == (len(X), 40)
    assert resp.nnz <= 3 * len(X)
    np.testing.assert_allclose(resp.sum(axis=1), 1.0, rtol=1e-12)
    np.testing.assert_array_equal(mixture.predict(X), np.asarray(resp.argmax(axis=1)).ravel())
    assert (mixture.predict(X) == mixture.predict(X, exact=True)).mean() > 0.98
    found, whole = mixture.score_samples(X), mixture.score_samples(X, exact=True)
    assert (found <= whole + 1e-12 * np.maximum(1.0, np.abs(whole))).all()
    assert mixture.score(X) == pytest.approx(found.mean(), rel=1e-12)
    assert mixture.score(X, exact=True) == pytest.approx(whole.mean(), rel=1e-12)
    gap = mixture.bound_gap(X)
    assert gap.mean == pytest.approx((whole - found).mean(), rel=1e-6, abs=1e-12)
    assert (gap.standard_error, gap.n_samples) == (0.0, len(X))
    drawn = mixture.bound_gap(X, n_samples=len(X))
    assert drawn.mean == pytest.approx(gap.mean, rel=1e-9)
    error = (whole - found).std(ddof=1) / np.sqrt(len(X))
    assert drawn.standard_error == pytest.approx(error, rel=1e-6)
    assert mixture.bound_gap(X, n_samples=100) == mixture.bound_gap(X, n_samples=100)
    with pytest.raises(ValueError, match="n_samples"):
        mixture.bound_gap(X, n_samples=len(X) + 1)
    kl = mixture.elbo(X, resp=resp.toarray())
    if isinstance(mixture, vbfast.GaussianMixture):
        assert kl.kl / len(X) == pytest.approx(gap.mean, rel=1e-6, abs=1e-9)
    weights = np.arange(len(X), dtype=float)
    assert mixture.score(X, sample_weight=weights) == pytest.approx(
        np.average(found, weights=weights), rel=1e-12
    )


@pytest.mark.parametrize("looked_at", [0, 1024])
@both_mixtures
def test_a_row_finds_the_same_whatever_comes_with_it(X, make, monkeypatch, looked_at):
    monkeypatch.setattr(truncated_runner, "LOOKED_AT", looked_at)
    mixture = make(90, truncation=2, random_state=0, max_iter=5).fit(X)
    together = mixture.score_samples(X)
    np.testing.assert_array_equal(mixture.score_samples(X[7:19]), together[7:19])
    np.testing.assert_array_equal(mixture.score_samples(X[::-1])[::-1], together)
    out = np.empty(len(X))
    assert mixture.score_samples(X, out=out) is out
    np.testing.assert_array_equal(out, together)
    labels = np.empty(len(X), np.int64)
    assert mixture.predict(X, out=labels) is labels
    np.testing.assert_array_equal(labels, mixture.predict(X))
    with pytest.raises(ValueError, match="out has to be None"):
        mixture.predict_proba(X, out=np.empty((len(X), 90)))


@both_mixtures
def test_neighbors_are_those_of_the_last_fit(X, make):
    mixture = make(12, truncation=2, n_neighbors=5, random_state=0, max_iter=3).fit(X)
    assert mixture.neighbors_.shape == (12, 5)
    assert (mixture.neighbors_ == np.arange(12)[:, np.newaxis]).any(axis=1).all()
    mixture.set_params(truncation=None)
    assert isinstance(mixture.predict_proba(X), np.ndarray)
    with pytest.raises(ValueError, match="fitted with truncation"):
        mixture.bound_gap(X)
    mixture.fit(X)
    assert not hasattr(mixture, "neighbors_")


@both_mixtures
def test_batches_are_searched(X, make):
    """A stream of batches goes where whole posteriors lead, and keeps its neighbours."""
    mixtures = [
        make(20, truncation=truncation, random_state=0, total_samples=len(X), tol=0.0)
        if make is vbfast.BayesianGaussianMixture
        else make(20, truncation=truncation, random_state=0)
        for truncation in (None, 3)
    ]
    for mixture in mixtures:
        for start in range(0, len(X), 300):
            mixture.partial_fit(X[start : start + 300])
    exact, truncated = mixtures
    assert truncated.neighbors_.shape == (20, 15)
    assert truncated.n_batch_iter_ == exact.n_batch_iter_
    assert abs(truncated.score(X, exact=True) - exact.score(X)) < 0.3
    again = vbfast.GaussianMixture(20, truncation=3, random_state=0, max_iter=3).fit(X)
    again.partial_fit(X[:300])
    assert again.neighbors_.shape == (20, 15)


@pytest.mark.parametrize("name", ["GaussianMixture", "BayesianGaussianMixture"])
def test_patched_classes(X, name):
    vbfast.patch_sklearn(verbose=False)
    try:
        mixture = getattr(sklearn.mixture, name)(6, random_state=0, max_iter=5)
        assert mixture.truncation is None
        mixture.truncation = 2
        mixture.fit(X)
    finally:
        vbfast.unpatch_sklearn()
    ours = getattr(vbfast, name)(6, random_state=0, max_iter=5, truncation=2).fit(X)
    np.testing.assert_array_equal(mixture.means_, ours.means_)
    assert mixture.lower_bounds_ == ours.lower_bounds_


def test_a_gaussian_family_is_the_mixture(X):
    arguments = {"truncation": 3, "random_state": 0, "max_iter": 5}
    ours = GaussianMixture(20, **arguments).fit(X)
    family = gaussian_family(20, **arguments).fit(X)
    np.testing.assert_array_equal(family.means_, ours.means_)


def test_curved_groups_are_fitted_as_well():
    """From the same start the held-out evidence is that of whole posteriors, nearly."""
    dataset = DATASETS["curved_120"]
    fitted, held_out = dataset.split(0, 6)
    arguments = dataset.arguments() | {"random_state": 0}
    start = GaussianMixture(**arguments, max_iter=0).fit(fitted)
    arguments |= {
        "weights_init": start.weights_,
        "means_init": start.means_,
        "precisions_init": start.precisions_,
        "max_iter": 20,
    }
    exact = GaussianMixture(**arguments).fit(fitted).score(held_out)
    assert GaussianMixture(**arguments, truncation=3).fit(fitted).score(held_out) > exact - 0.1


def test_few_components_start_as_whole_posteriors_do(X):
    starts = [
        GaussianMixture(70, max_iter=0, random_state=0, truncation=truncation).fit(X)
        for truncation in (None, 3)
    ]
    np.testing.assert_array_equal(starts[1].means_, starts[0].means_)


@pytest.mark.usefixtures("search_from_the_start")
@pytest.mark.parametrize("factor", [2, 6])
def test_kmeans_that_searches_is_as_good(factor):
    """The rows' squared distances from their centres are those of k-means, nearly."""
    dataset = DATASETS["curved_120"]
    fitted, _ = dataset.split(0, factor)
    squares = []
    for truncation in (None, 3):
        start = GaussianMixture(
            120, covariance_type="spherical", max_iter=0, random_state=0, truncation=truncation
        ).fit(fitted)
        squares.append(start.weights_ @ start.covariances_)
    assert squares[1] < 1.02 * squares[0]


@pytest.mark.usefixtures("search_from_the_start")
def test_whole_posteriors_of_many_components_start_by_a_search(X, monkeypatch):
    def starts(**arguments):
        mixture = GaussianMixture(70, max_iter=0, random_state=0, reg_covar=1e-3, **arguments)
        return mixture.fit(X).means_

    exact, searched = starts(), starts(truncation=3)
    assert not np.array_equal(exact, searched)
    monkeypatch.setattr(estimators_truncation, "MANY_COMPONENTS", 69)
    np.testing.assert_array_equal(starts(), searched)
    assert not np.array_equal(starts(init_size="all"), searched)
    pytest.importorskip("numba")
    with config_context(backend="numba"):
        assert not np.array_equal(starts(), searched)


@pytest.mark.parametrize("looked_at", [0, 1024])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@all_types
def test_new_rows_find_their_components(rng, monkeypatch, covariance_type, dtype, looked_at):
    """By a walk nearly all find the best; where they look at all components, all of them do."""
    monkeypatch.setattr(truncated_runner, "LOOKED_AT", looked_at)
    X = groups(rng, 4000, 4, 60, dtype)
    mixture = GaussianMixture(
        80,
        covariance_type=covariance_type,
        truncation=3,
        reg_covar=0.01,
        max_iter=5,
        random_state=0,
    ).fit(X[:3000])
    new = X[3000:]
    best = mixture.predict(new, exact=True)
    found = mixture.predict(new)
    exact, evidence = mixture.score_samples(new, exact=True), mixture.score_samples(new)
    assert (evidence <= exact + 1e-4 * np.abs(exact)).all()
    if looked_at == 0:
        assert np.mean(found == best) > 0.97
        return
    joint = np.sort(mixture.log_joint(new).astype(np.float64), axis=1)
    np.testing.assert_allclose(
        joint[:, -1], mixture.log_joint(new)[np.arange(1000), found], rtol=1e-4
    )
    np.testing.assert_allclose(evidence, np.logaddexp.reduce(joint[:, -3:], axis=1), rtol=1e-4)
    assert mixture.predict_proba(new).nnz == 3 * len(new)


@both_mixtures
def test_auto_decides_and_says_so(X, make, tmp_path):
    few = make(5, truncation="auto", random_state=0, max_iter=3).fit(X)
    assert few.truncation_ is None
    assert_same_fit(few, make(5, random_state=0, max_iter=3).fit(X))
    assert isinstance(few.predict_proba(X), np.ndarray)
    many = make(200, truncation="auto", random_state=0, max_iter=3).fit(X)
    assert 3 <= many.truncation_ <= 8
    assert many.predict_proba(X).nnz <= many.truncation_ * len(X)
    many.save(tmp_path / "model.npz")
    loaded = vbfast.load(tmp_path / "model.npz")
    assert loaded.truncation_ == many.truncation_
    np.testing.assert_array_equal(loaded.score_samples(X), many.score_samples(X))
    many.partial_fit(X)
    assert 3 <= many.truncation_ <= 8
    assert not hasattr(make(5, random_state=0, max_iter=3).fit(X), "truncation_")


@both_mixtures
def test_what_rows_keep_may_lie_in_a_file(X, make, tmp_path):
    path = tmp_path / "kept.npy"
    parameters = {"truncation": 2, "random_state": 0, "max_iter": 4}
    mixture = make(20, truncation_state=path, **parameters).fit(X)
    assert_same_fit(mixture, make(20, **parameters).fit(X))
    kept = np.load(path)
    assert (kept.shape, kept.dtype) == ((len(X), 2), np.int32)
    assert (kept >= 0).all()
    mixture.fit(X)
    with pytest.raises(FileNotFoundError):
        make(20, truncation_state=tmp_path / "nowhere" / "kept.npy", **parameters).fit(X)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("covariance_type", ["diag", "spherical"])
@pytest.mark.parametrize("clustered", [False, True])
def test_a_fit_goes_on_from_the_better_of_two_beginnings(covariance_type, clustered, monkeypatch):
    """One is better where rows are in clusters, and the other for patches of photographs."""
    X = noisy_patches(6000, 0)
    rng = np.random.default_rng(0)
    if clustered:
        X = 30.0 * rng.normal(size=(270, 6))[rng.integers(270, size=6000)]
        X += rng.normal(size=X.shape)
    arguments = {"covariance_type": covariance_type, "truncation": 3, "reg_covar": 1e-3}

    def fitted():
        mixture = GaussianMixture(270, random_state=0, max_iter=3, tol=0.0, **arguments)
        return mixture.fit(X).lower_bound_

    chosen = fitted()
    home = truncated_start
    spread, drawn = home.spread_or_drawn_rows, home._drawn_rows
    with monkeypatch.context() as patch:
        patch.setattr(
            home, "spread_or_drawn_rows", lambda runner, K, state, *_: drawn(runner, K, state)
        )
        from_drawn = fitted()
    with monkeypatch.context() as patch:
        patch.setattr(
            home, "_drawn_rows", lambda runner, K, state: spread(runner, K, state, None, SILENT)
        )
        from_spread = fitted()
    better, worse = max(from_drawn, from_spread), min(from_drawn, from_spread)
    assert better - worse > 0.3
    assert chosen > better - 0.15 * (better - worse)
    assert (from_spread > from_drawn) == clustered


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_very_many_components_begin_with_chains(monkeypatch):
    home = truncated_start
    monkeypatch.setattr(home, "MOST_SPREAD", 256)
    calls = []
    chains = home.chain_rows
    monkeypatch.setattr(home, "chain_rows", lambda *a, **k: calls.append(1) or chains(*a, **k))
    X = np.random.default_rng(0).normal(size=(3000, 4))
    made = [
        GaussianMixture(300, truncation=3, covariance_type="diag", random_state=0, max_iter=2).fit(
            X
        )
        for _ in range(2)
    ]
    assert len(calls) == 2
    np.testing.assert_array_equal(made[0].means_, made[1].means_)
    # Where they would take longer than ten searches, rows are drawn at random.
    monkeypatch.setattr(home, "MOST_CHAINED", 1)
    GaussianMixture(300, truncation=3, covariance_type="diag", random_state=0, max_iter=2).fit(X)
    assert len(calls) == 2
