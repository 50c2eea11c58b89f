"""A backend of somebody else's: one file that stands on the contract, and touches nothing else.

Every pass is a few sums over indices (einsum) on all rows of a block at once.
"""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import entr, logsumexp, rel_entr
from sklearn.base import clone

from vbfast import BayesianGaussianMixture, GaussianMixture, Mixture, backends, config_context
from vbfast.backends.reference.linalg import ReferenceLinearAlgebra
from vbfast.contract import (
    COVARIANCE_TYPES,
    Blocking,
    Identity,
    NonFiniteRowError,
    NotPositiveDefiniteError,
    PassResult,
    Quadratic,
    Statistics,
    subtract_symmetric,
)
from vbfast.families import ComponentFamily, Gaussian, Linear, LogJoint
from vbfast.passes.rows import as_row_source

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


class ToyBackend:
    """Quadratic forms without a link, as sums over indices: rows n, components k, features i, j."""

    name = "toy"

    def evaluates(self, log_joint):
        return isinstance(log_joint.form, Quadratic) and isinstance(log_joint.link, Identity)

    def adopt(self, source):
        return source

    def blocking(self, n_samples, row_length, n_components, dtype, moments):
        return Blocking(n_samples, dtype, (0, n_samples), n_samples, split_components=False)

    def begin(self, log_joint, request, blocking, *, outputs, workspace, num_threads):
        if outputs.gradient is not None:
            raise NotImplementedError("the toy backend has no gradient in the rows")
        return ToyPass(log_joint, request, blocking, outputs)

    def begin_seeding(self, candidates, blocking):
        return ToySeeding(candidates)

    def workspace(self):
        return None

    def linalg(self, num_threads):
        return ToyLinearAlgebra()


class ToyPass:
    def __init__(self, log_joint, request, blocking, outputs):
        self.log_joint, self.request, self.outputs = log_joint, request, outputs
        self.dtype = blocking.dtype
        self.results = []

    def run(self, blocks, num_threads):
        self.results += [self._sums(block) for block in blocks]

    def finish(self):
        total = self.results[0]
        for result in self.results[1:]:
            total = total + result
        return total.answering(self.request)

    def _sums(self, block):
        x, w = checked(block)
        form, offset = self.log_joint.form, self.log_joint.offset
        d = x[:, np.newaxis] - form.centres
        whitening = {
            "full": "nki,kij->nkj",
            "tied": "nki,ij->nkj",
            "diag": "nki,ki->nki",
            "spherical": "nki,k->nki",
        }[form.factor_type]
        joint = offset - 0.5 * np.square(np.einsum(whitening, d, form.precision_cholesky)).sum(-1)
        evidence = logsumexp(joint, axis=1)
        posterior = np.exp(joint - evidence[:, np.newaxis])
        labels = joint.argmax(axis=1)
        q = posterior
        if self.request.assignment != "posterior":
            given = labels if self.request.assignment == "hard" else block.resp
            q = np.eye(len(offset) + 1)[given][:, :-1] if given.ndim == 1 else given.astype(float)
        expected = np.where(q > 0.0, q * joint, 0.0).sum(axis=1)
        entropy, kl = entr(q).sum(axis=1), rel_entr(q, posterior).sum(axis=1)
        for name, values in {
            "log_evidence": evidence,
            "labels": labels,
            "resp": q,
            "entropy": entropy,
            "expected_log_joint": expected,
            "log_joint": joint,
        }.items():
            if getattr(self.outputs, name) is not None:
                getattr(self.outputs, name)[block.start : block.start + len(x)] = values
        return PassResult(
            w.sum(),
            w @ evidence,
            w @ expected,
            w @ entropy,
            w @ kl,
            self._statistics(w[:, np.newaxis] * q, d),
            evidence[w > 0.0].min(initial=np.inf),
            self.dtype,
        )

    def _statistics(self, r, d):
        moments = self.request.moments
        if moments is None:
            return None
        second = {
            "first": lambda: None,
            "full": lambda: np.einsum("nk,nki,nkj->kij", r, d, d),
            "pooled": lambda: np.einsum("nk,nki,nkj->ij", r, d, d),
            "diag": lambda: np.einsum("nk,nki,nki->ki", r, d, d),
            "spherical": lambda: np.einsum("nk,nki,nki->k", r, d, d) / d.shape[2],
        }[moments]()
        if moments in ("full", "pooled"):
            second = 0.5 * (second + second.swapaxes(-1, -2))
        first = np.einsum("nk,nki->ki", r, d)
        return Statistics(moments, self.log_joint.form.centres, r.sum(axis=0), first, second)


class ToySeeding:
    def __init__(self, candidates):
        self.candidates = candidates
        self.potentials = np.zeros(len(candidates))

    def run(self, blocks, closest, lowered, num_threads):
        for block, before, after in zip(blocks, closest, lowered, strict=True):
            x, w = checked(block)
            distances = np.square(x - self.candidates[:, np.newaxis]).sum(axis=2)
            smaller = np.minimum(before, distances)
            self.potentials += smaller @ w
            if after is not None:
                after[...] = smaller

    def finish(self):
        return self.potentials


class ToyLinearAlgebra(ReferenceLinearAlgebra):
    def precision_cholesky(self, covariances):
        lower = np.empty_like(covariances)
        for k, covariance in enumerate(covariances):
            try:
                lower[k] = np.linalg.cholesky(covariance)
            except np.linalg.LinAlgError as error:
                raise NotPositiveDefiniteError(k) from error
        return np.triu(np.linalg.inv(lower).swapaxes(1, 2))

    def subtract_symmetric(self, matrices, a, b):
        return subtract_symmetric(matrices, a, b)

    def average_moved(self, matrices, a, b, kept, others, taken):
        return kept * subtract_symmetric(matrices, a, b) + taken * others

    def precisions(self, factors):
        return np.einsum("kij,klj->kil", factors, factors)

    def draw_rows(self, normals, counts, factors, means):
        component = np.repeat(np.arange(len(counts)), counts)
        inverses = np.linalg.inv(factors)[component % len(factors)]
        return means[component] + np.einsum("ni,nij->nj", normals, inverses)

    def matrix_gradients(self, weight, first, second, factors):
        precisions = np.einsum("kij,klj->kil", factors, factors)
        whole = weight[:, np.newaxis, np.newaxis]
        inner = np.einsum("kab,kbc,kcd->kad", precisions, second, precisions)
        inverse = np.linalg.inv(factors).swapaxes(1, 2)
        return (
            np.einsum("kmi,kij->kmj", first, precisions),
            0.5 * (inner - whole * precisions),
            np.triu(whole * inverse - second @ factors),
        )


def checked(block):
    """Rows and weights in float64."""
    finite = np.isfinite(block.rows).all(axis=1)
    if not finite.all():
        raise NonFiniteRowError(block.start + int(np.argmin(finite)))
    w = np.ones(len(block.rows)) if block.weights is None else block.weights
    return np.asarray(block.rows, dtype=np.float64), w


@pytest.fixture(autouse=True)
def toy(monkeypatch):
    """Register the backend for the length of a test."""
    monkeypatch.setattr(backends, "_REGISTERED", {})
    backends.register_backend("toy", ToyBackend)


@pytest.fixture
def X(rng):  # noqa: N802 (named as in the literature)
    centres = 4.0 * rng.normal(size=(3, 4))
    return centres[rng.integers(3, size=600)] + rng.normal(size=(600, 4)) + 10.0


ATTRIBUTES = ("weights_", "means_", "covariances_", "precisions_cholesky_", "lower_bounds_")


def assert_near(actual, expected):
    for name in ATTRIBUTES:
        value, wanted = getattr(actual, name), np.asarray(getattr(expected, name))
        np.testing.assert_allclose(value, wanted, rtol=0, atol=1e-10 * np.abs(wanted).max())


@pytest.mark.parametrize("estimator", [GaussianMixture, BayesianGaussianMixture])
@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
@pytest.mark.parametrize("init_params", ["kmeans", "k-means++", "random", "random_from_data"])
def test_fits_are_the_reference_s(X, estimator, covariance_type, init_params):
    mixture = estimator(
        3,
        covariance_type=covariance_type,
        init_params=init_params,
        random_state=0,
        tol=0.0,
        max_iter=20,
    )
    with config_context(backend="toy"):
        fitted = clone(mixture).fit(X)
        labels, resp = fitted.predict(X), fitted.predict_proba(X)
        terms = fitted.elbo(X, resp=resp)
    with config_context(backend="reference"):
        expected = clone(mixture).fit(X)
        np.testing.assert_array_equal(labels, expected.predict(X))
        np.testing.assert_allclose(resp, expected.predict_proba(X), atol=1e-9)
        assert terms.elbo == pytest.approx(expected.elbo(X, resp=resp).elbo, rel=1e-10)
    assert_near(fitted, expected)


def test_it_is_an_estimator_s_backend_too(X, rng, monkeypatch):
    calls = []
    begin = ToyBackend.begin

    def counted(self, *arguments, **keywords):
        calls.append(arguments)
        return begin(self, *arguments, **keywords)

    monkeypatch.setattr(ToyBackend, "begin", counted)
    weight = rng.uniform(0.0, 2.0, size=len(X))
    arguments = {"random_state": 0, "tol": 0.0, "max_iter": 10}
    mixture = GaussianMixture(3, backend="toy", **arguments).fit(X, sample_weight=weight)
    assert len(calls) >= 10
    reference = Mixture(Gaussian(), 3, backend="reference", **arguments)
    assert_near(mixture, reference.fit(X, sample_weight=weight))
    value, gradient = mixture.log_evidence_and_grad(X)
    mixture.set_params(backend="reference")
    expected, expected_gradient = mixture.log_evidence_and_grad(X)
    assert value == pytest.approx(expected, rel=1e-12)
    for name in ("weights", "means", "covariances"):
        wanted = getattr(expected_gradient, name)
        scale = np.abs(wanted).max()
        np.testing.assert_allclose(getattr(gradient, name), wanted, rtol=0, atol=1e-9 * scale)


def test_passes_read_the_rows_that_it_adopted(X, monkeypatch):
    sources = []

    def adopt(self, source):
        if source in sources:
            return source
        sources.append(as_row_source(source.block(0, source.n_samples) + 1.0))
        return sources[-1]

    expected = GaussianMixture(3, backend="toy", random_state=0).fit(X + 1.0)
    monkeypatch.setattr(ToyBackend, "adopt", adopt)
    mixture = GaussianMixture(3, backend="toy", random_state=0).fit(X)
    assert sources
    np.testing.assert_array_equal(mixture.means_, expected.means_)


def test_what_it_does_not_evaluate_another_backend_does(X):
    class Exponential(ComponentFamily):
        def log_densities(self, theta, n_features):
            return LogJoint(np.log(theta).sum(axis=1), Linear(-theta))

        def maximize(self, statistics, weight):
            return weight[:, np.newaxis] / statistics

    rows, arguments = np.abs(X), {"random_state": 0, "max_iter": 5, "tol": 0.0}
    mixture = Mixture(Exponential(), 2, backend="toy", **arguments).fit(rows)
    expected = Mixture(Exponential(), 2, backend="reference", **arguments).fit(rows)
    np.testing.assert_allclose(mixture.parameters_, expected.parameters_, rtol=1e-10)


def test_rows_that_are_not_finite_are_named_by_it(X):
    X[417, 2] = np.nan
    with pytest.raises(ValueError, match="Input X contains NaN"):
        GaussianMixture(2, backend="toy", random_state=0).fit(X)
