"""E-steps and fits of tiny data against plain_mixtures.py, and invariances of fits.

Cases draw covariance type, dtype, backend, weights (zero, integer, of any scale), rows that repeat,
lie on a line or share a value, components that are far apart, single rows, and both estimators::

    python tests/fuzz/fuzz_mixtures.py --seconds 60
"""

from __future__ import annotations

import importlib.util
import os
import tempfile
import warnings

import numpy as np
import plain_mixtures as plain

import vbfast
from fuzzing import main
from vbfast.contract import COVARIANCE_TYPES, LogJoint, Request, RowOutputs
from vbfast.families.covariances import MOMENTS_OF
from vbfast.passes.one_pass import run_pass
from vbfast.passes.rows import as_row_source

BACKENDS = tuple(
    name
    for name in os.environ.get("VBFAST_FUZZ_BACKENDS", "native,numba,reference").split(",")
    if name != "numba" or importlib.util.find_spec("numba")
)
ILL_DEFINED = "ill-defined empirical covariance"
# Standard deviations from the other components up to which moments and log-joints may lose as many
# units in the last place.
NEAR = {np.dtype(np.float32): 32.0, np.dtype(np.float64): 1000.0}
# The part of a covariance that the moments of one iteration may lose.
LOSS = {np.dtype(np.float32): 1e-3, np.dtype(np.float64): 1e-9}


def draw_rows(rng, n_rows, n_features, dtype):
    """Rows with the vices of real ones, and the number of clusters."""
    n_clusters = int(rng.integers(1, 4))
    labels = rng.integers(n_clusters, size=n_rows)
    centres = rng.normal(size=(n_clusters, n_features)) * rng.choice([0.0, 1.0, 5.0])
    if rng.random() < 0.3:
        centres[0] += 10.0 ** rng.integers(2, 9) * rng.choice([-1, 1])
    spreads = 10.0 ** rng.uniform(-1, 1, n_clusters) if rng.random() < 0.3 else np.ones(n_clusters)
    X = centres[labels] + spreads[labels, np.newaxis] * rng.normal(size=(n_rows, n_features))
    vice = rng.integers(8)
    if vice == 0:
        X = np.round(X)
    if vice == 1:
        X[rng.integers(n_rows, size=n_rows // 2)] = X[0]
    if vice == 2 and n_features > 1:
        X[:, 1] = 2 * X[:, 0]
    if vice == 3:
        X[:, 0] = rng.choice([0.0, 0.1, 7.0])
    if vice == 4:
        X += rng.choice([1e2, 1e4]) * rng.choice([-1, 1])
    if vice == 5:
        X *= 2.0 ** rng.integers(-30, 30)
    return np.ascontiguousarray(X.astype(dtype))


def draw_weights(rng, n_rows):
    kind = rng.integers(5)
    if kind == 0:
        weights = rng.integers(0, 3, n_rows).astype(float)
    elif kind == 1:
        weights = rng.uniform(0.1, 3.0, n_rows)
    elif kind == 2:
        weights = rng.uniform(0.5, 2.0, n_rows) * 10.0 ** rng.integers(-60, 60)
    else:
        return None
    weights[rng.integers(n_rows)] = max(1.0, weights.max())
    return weights


def draw_covariances(rng, kind, n_components, n_features, scale):
    matrices = np.zeros((n_components, n_features, n_features))
    for k in range(n_components):
        a = rng.normal(size=(n_features, n_features))
        matrices[k] = (a @ a.T + 0.3 * np.eye(n_features)) * 10.0 ** rng.uniform(-1, 1)
    matrices = plain.restrict(matrices, kind, lambda s: s.mean(axis=0))
    return np.asarray(matrices, float) * scale**2


def as_type(matrices, kind):
    return np.ascontiguousarray(plain.shaped(matrices, kind))


def disagreement(name, actual, expected, tolerance):
    """Say what is wrong with an array, NaN included, where it is worst; else an empty string."""
    actual, expected = np.asarray(actual), np.asarray(expected, np.longdouble)
    if actual.shape != expected.shape:
        return f"{name} has shape {actual.shape}, should be {expected.shape}\n"
    tolerance = np.broadcast_to(tolerance, actual.shape)
    with np.errstate(invalid="ignore", over="ignore"):
        error = np.abs(actual - expected)
        right = (error <= tolerance) | (actual == expected)
        excess = np.where(right, 0, np.where(np.isnan(error), np.inf, error - tolerance))
    if right.all():
        return ""
    at = np.unravel_index(np.argmax(excess), excess.shape)
    return (
        f"{name}{[int(i) for i in at]} is {actual[at]!r}, should be {expected[at]!r} within "
        f"{float(tolerance[at]):.3g}; {np.sum(~right)} of {right.size} are wrong\n"
    )


def estep_case(rng):
    """One pass with given parameters, every output."""
    kind, dtype = str(rng.choice(COVARIANCE_TYPES)), np.dtype(rng.choice(["f4", "f8"]))
    n_rows, n_features, K = (int(n) for n in (rng.integers(1, 40), *rng.integers(1, 5, 2)))
    X = draw_rows(rng, n_rows, n_features, dtype)
    weights = draw_weights(rng, n_rows)
    scale = float(np.abs(X).max()) or 1.0
    scale = min(scale, 1.0) if rng.random() < 0.8 else scale
    means = X[rng.integers(n_rows, size=K)].astype(float)
    means += scale * rng.normal(size=means.shape)
    covariances = draw_covariances(rng, kind, K, n_features, scale)
    lower = [plain.cholesky(np.asarray(c, np.longdouble)) for c in covariances]
    factors = np.array([plain.inverse_of_lower(factor).T for factor in lower]).astype(float)
    # What the pass is given is rounded: that is the model.
    lower = [plain.inverse_of_lower(P.T.astype(np.longdouble)) for P in factors]
    offset = rng.normal(size=K) * rng.choice([1.0, 30.0])
    if K > 1 and rng.random() < 0.2:
        offset[rng.integers(K)] = -np.inf
    P = as_type(factors, kind)
    params = LogJoint.quadratic(kind, offset, means, P)
    backend = str(rng.choice(BACKENDS))
    outputs = RowOutputs(
        log_evidence=np.empty(n_rows, dtype),
        labels=np.empty(n_rows, np.int64),
        resp=np.empty((n_rows, K), dtype),
        entropy=np.empty(n_rows, dtype),
        expected_log_joint=np.empty(n_rows, dtype),
        gradient=np.empty_like(X),
        log_joint=np.empty((n_rows, K), dtype),
    )
    with vbfast.config_context(backend=backend, num_threads=int(rng.integers(1, 4))):
        result = run_pass(
            as_row_source(X),
            params,
            Request(moments=MOMENTS_OF[kind], entropy=True),
            sample_weight=weights,
            outputs=outputs,
        )
    w = np.ones(n_rows) if weights is None else weights
    step = plain.visit(X, offset, means, np.array(lower))
    eps = 8 * n_features * float(np.finfo(dtype).eps)
    size = np.sqrt(step.uncertainty)
    # Beside the own rounding of log-joints: that of rows measured from a point near all components.
    tolerance = eps * (step.uncertainty + NEAR[dtype] * size)
    wrong = f"{backend} {kind} {dtype} N={n_rows} D={n_features} K={K}\n"
    start = len(wrong)
    wrong += disagreement("log_joint", outputs.log_joint, step.log_joint, tolerance)
    counts = step.log_joint >= step.log_joint.max(axis=1, keepdims=True) - 200
    row = np.max(np.where(counts, tolerance, 0), axis=1)
    wrong += disagreement("log_evidence", outputs.log_evidence, step.log_evidence, row)
    share = np.minimum(1.0, 4 * row)[:, np.newaxis] + 4 * eps
    wrong += disagreement("resp", outputs.resp, step.resp, share)
    if np.abs(outputs.resp.sum(axis=1, dtype=float) - 1).max() > 4 * eps:
        wrong += f"resp sums to {outputs.resp.sum(axis=1)}\n"
    loss = np.minimum(4 * row, 1) * (1 + 4 * np.log(1 + 1 / np.minimum(4 * row, 1))) + row
    wrong += disagreement("entropy", outputs.entropy, step.entropy, loss * K)
    chosen = step.log_joint[np.arange(n_rows), outputs.labels]
    if np.any(chosen < step.log_joint.max(axis=1) - 2 * row):
        wrong += f"labels {outputs.labels}\n"
    # Statistics, about the means: a moment loses what the rounding of rows and of q takes of it.
    difference = np.abs(X[:, np.newaxis].astype(np.longdouble) - means)
    narrowest = 1 / np.sqrt(np.square(factors).sum(axis=1).max(axis=1))
    blur = difference + NEAR[dtype] * narrowest[:, np.newaxis]
    doubt = w[:, np.newaxis] * np.minimum(share, 1)
    lost = w[:, np.newaxis, np.newaxis] * step.resp[..., np.newaxis] * eps
    N, _, scatter = plain.moments(X, w, step.resp, means)
    r = w[:, np.newaxis] * step.resp
    first = np.einsum("nk,nki->ki", r, X[:, np.newaxis].astype(np.longdouble) - means)
    statistics = result.statistics
    wrong += disagreement("weight", statistics.weight, N, doubt.sum(axis=0) + eps * w.sum())
    first_doubt = np.einsum("nk,nki->ki", doubt, difference) + np.sum(lost * blur, axis=0)
    wrong += disagreement("first", statistics.first, first, first_doubt)
    second_doubt = np.einsum("nk,nki,nkj->kij", doubt, difference, difference)
    second_doubt += np.einsum("nki,nki,nkj->kij", lost, blur, blur)
    if kind == "tied":
        second, second_doubt = scatter.sum(axis=0), second_doubt.sum(axis=0)
    else:
        second = plain.shaped(plain.restrict(scatter, kind, None), kind)
        second_doubt = plain.shaped(plain.restrict(second_doubt, kind, None), kind)
    wrong += disagreement("second", statistics.second, second, second_doubt)
    precision = np.array([P @ P.T for P in factors.astype(np.longdouble)])
    slopes = np.einsum("kij,nkj->nki", precision, means - X[:, np.newaxis].astype(np.longdouble))
    gradient = np.einsum("nk,nki->ni", step.resp, slopes)
    bound = np.einsum("kij,nkj->nki", np.abs(precision), blur)
    doubt = np.einsum("nk,nki->ni", np.minimum(share, 1), np.abs(slopes))
    doubt += eps * np.einsum("nk,nki->ni", step.resp, bound)
    wrong += disagreement("gradient", outputs.gradient, gradient, doubt)
    return wrong if len(wrong) > start else None


def fit(estimator, X, weights):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return estimator.fit(X, sample_weight=weights)


def draw_start(rng, n_rows, K):
    """Responsibilities of a start in which every component holds a row."""
    labels = np.concatenate([np.arange(K), rng.integers(K, size=n_rows - K)])
    labels = rng.permutation(labels)
    if rng.random() < 0.5:
        return labels
    return rng.dirichlet(np.ones(K), size=n_rows)


class FitCase:
    """An estimator, its rows, and what the plain algorithm makes of them."""

    def __init__(self, rng, dtype):
        self.kind = str(rng.choice(COVARIANCE_TYPES))
        self.backend = str(rng.choice(BACKENDS))
        self.dtype = np.dtype(dtype)
        n_features, self.K = (int(n) for n in rng.integers(1, 4, 2))
        n_rows = int(rng.integers(max(2, self.K), 14))
        self.X = draw_rows(rng, n_rows, n_features, self.dtype)
        self.weights = draw_weights(rng, n_rows)
        self.start = draw_start(rng, n_rows, self.K)
        if self.weights is not None and np.count_nonzero(self.weights) < self.K:
            self.weights[:] = self.weights.max()
        self.n_iter = int(rng.integers(1, 5))
        scale = float(np.ptp(self.X.astype(float), axis=0).max()) or 1.0
        self.reg_covar = float(rng.choice([0.0, 1e-6, 1e-2])) * scale**2
        self.bayesian = bool(rng.random() < 0.4)
        arguments = {
            "covariance_type": self.kind,
            "reg_covar": self.reg_covar,
            "init_params": self.start,
            "max_iter": self.n_iter,
            "tol": 0.0,
            "backend": self.backend,
        }
        self.process = bool(rng.random() < 0.5)
        if self.bayesian:
            names = ["dirichlet_distribution", "dirichlet_process"]
            arguments["weight_concentration_prior_type"] = names[self.process]
        self.arguments = arguments

    def estimator(self, **changes):
        cls = vbfast.BayesianGaussianMixture if self.bayesian else vbfast.GaussianMixture
        return cls(self.K, **(self.arguments | changes))

    @property
    def resp(self):
        if np.ndim(self.start) == 1:
            return np.eye(self.K)[self.start]
        return np.asarray(self.start).astype(self.dtype)

    def prior(self):
        X, w = self.X.astype(np.longdouble), self.ordinary_weights
        mean = X[0] + w @ (X - X[0]) / w.sum()
        deviation = X - mean
        covariance = np.einsum("n,ni,nj->ij", w, deviation, deviation) / (w.sum() - 1)
        matrix = plain.restrict(covariance[np.newaxis], self.kind, lambda s: s[0])[0]
        return plain.Prior(self.process, 1.0 / self.K, 1.0, mean, float(self.X.shape[1]), matrix)

    @property
    def ordinary_weights(self):
        w = np.ones(len(self.X)) if self.weights is None else self.weights
        return w.astype(np.longdouble)

    def plain(self, noise=None):
        w = self.ordinary_weights
        arguments = {
            "kind": self.kind,
            "reg_covar": np.longdouble(self.reg_covar),
            "n_iter": self.n_iter,
            "noise": noise,
        }
        if self.bayesian:
            prior = self.prior()
            if noise is not None:
                prior.covariance = noise.of_matrix(prior.covariance)
                wrong = 2 * plain.EPS * np.abs(prior.mean)
                prior.mean = prior.mean + noise.uniform(-1, 1, wrong.shape) * wrong
            return plain.variational(self.X, w, self.resp, prior, **arguments)
        if w.sum() < np.count_nonzero(w):  # at least one on average, by a power of two
            w = w * np.longdouble(2) ** np.ceil(np.log2(np.count_nonzero(w)) - np.log2(w.sum()))
        eps = float(np.finfo(self.dtype).eps)
        return plain.maximum_likelihood(self.X, w, self.resp, eps=eps, **arguments)

    def spread(self, rng, exact):
        """By how much each result moves if errors of rounding are put in, of a few sizes."""
        moved = [np.zeros_like(values) for values in exact]
        eps = float(np.finfo(self.dtype).eps) * NEAR[self.dtype] ** 0.5
        for factor in (1.0, 4.0, 16.0):
            other = self.plain(plain.Noise(rng, factor * eps, 0.1 * LOSS[self.dtype]))
            if other is None:
                return None
            for most, values, right in zip(moved, other, exact, strict=True):
                if values.shape == right.shape:
                    np.maximum(most, np.abs(values - right), out=most)
        return moved

    def __str__(self):
        cls = "BayesianGaussianMixture" if self.bayesian else "GaussianMixture"
        arguments = self.arguments | {"init_params": np.asarray(self.start).tolist()}
        weights = None if self.weights is None else self.weights.tolist()
        return (
            f"{cls}({self.K}, **{arguments})\n.fit(np.array({self.X.tolist()}, "
            f"{self.dtype.name!r}), sample_weight={weights})\n"
        )


def results(fitted, kind, weights_of=None):
    counts = fitted.weights_ if weights_of is None else weights_of(fitted)
    return np.array(fitted.lower_bounds_), counts, fitted.means_, fitted.covariances_


def fit_case(rng):
    """A few iterations against the plain algorithm."""
    case = FitCase(rng, rng.choice(["f4", "f8"]))
    total = case.ordinary_weights.sum()
    if case.bayesian and not 1.5 < total < 1e6:
        case.weights = None
    exact = case.plain()
    spread = None if exact is None else case.spread(rng, exact)
    eps = float(np.finfo(case.dtype).eps)
    try:
        fitted = fit(case.estimator(), case.X, case.weights)
    except ValueError as error:
        collapsed = spread is None or near_singular(case, exact)
        if collapsed and any(words in str(error) for words in (ILL_DEFINED, "log-density -inf")):
            return None
        return f"{case}{error}\n"
    if spread is None or near_singular(case, exact):
        return None  # what a variance of nothing but rounding is, nobody can say
    bounds, counts, means, covariances = exact
    covariances = plain.shaped(covariances, case.kind)
    moved = [*spread[:3], plain.shaped(spread[3], case.kind)]
    wrong = ""
    if len(bounds) == len(fitted.lower_bounds_):
        size = np.maximum(1.0, np.abs(bounds)) * eps * 100
        wrong += disagreement("lower_bounds_", fitted.lower_bounds_, bounds, 30 * moved[0] + size)
    elif not case.bayesian:
        wrong += f"{len(fitted.lower_bounds_)} bounds, not {len(bounds)}\n"
    deviation = np.sqrt(np.einsum("kii->ki", exact[3]))
    attribute = 2 * eps * np.abs(means)  # rounded to the dtype of X
    allowed = 30 * moved[2] + 1e3 * eps * deviation + attribute
    wrong += disagreement("means_", fitted.means_, means, allowed)
    if not case.bayesian:
        wrong += disagreement("weights_", fitted.weights_, counts, 30 * moved[1] + 100 * eps)
    axes = tuple(range(1, covariances.ndim)) if case.kind in ("full", "diag") else None
    size = np.abs(covariances)
    if axes:
        size = size.max(axis=axes, keepdims=True)
    elif case.kind == "tied":
        size = size.max()
    allowed = 30 * moved[3] + LOSS[case.dtype] * size
    wrong += disagreement("covariances_", fitted.covariances_, covariances, allowed)
    return f"{case}{wrong}" if wrong else None


def near_singular(case, exact):
    """Whether a covariance is not much more than rounding."""
    eps = float(np.finfo(case.dtype).eps)
    largest = float(np.abs(case.X).max())
    extent = float(np.ptp(case.X.astype(float), axis=0).max())
    rounding = max(1e4 * eps * extent**2, (100 * eps * largest) ** 2)
    if case.kind in ("diag", "spherical"):
        rounding = max(1e3 * eps**2 * extent**2, (100 * eps * largest) ** 2)
    covariances = [exact[3]]
    if case.bayesian:
        covariances.append(case.prior().covariance[np.newaxis])
    least = min(
        float(np.linalg.eigvalsh(np.asarray(c, float)).min()) for c in np.concatenate(covariances)
    )
    return not least > rounding


def invariance_case(rng):
    """Fits of rows that were moved, mirrored, scaled or permuted, from the same start."""
    dtype = str(rng.choice(["f4", "f8"]))
    case = FitCase(rng, dtype)
    X = case.X.astype(float)
    span = float(np.ptp(X, axis=0).max()) or 1.0
    # A grid on which a translation is exact: 2^-10 of the extent for float32, 2^-28 for float64.
    step = 2.0 ** np.round(np.log2(span)) * 2.0 ** (-9 if dtype == "f4" else -28)
    X = np.round((X - X.mean(axis=0)) / step) * step
    case.X = X.astype(dtype)
    total = case.ordinary_weights.sum()
    if case.bayesian and not 1.5 < total < 1e6:
        case.weights = None
    exact = case.plain()
    if exact is None or near_singular(case, exact):
        return None
    spread = case.spread(rng, exact)
    if spread is None or not np.all(np.isfinite(exact[0])):
        return None
    what = str(rng.choice(["move", "mirror", "scale", "permute", "threads", "storage"]))
    start, weights, changes = case.start, case.weights, {}
    shift, factor, order = np.zeros(X.shape[1]), np.ones(X.shape[1]), np.arange(len(X))
    exactly = False
    if what == "move":
        most = 2.0**12 if dtype == "f4" else 2.0**20
        shift = step * np.round(span * most / step) * rng.choice([-1, 1], X.shape[1])
        least = min(np.linalg.eigvalsh(np.asarray(c, float)).min() for c in exact[3])
        if np.abs(shift).max() > 2.0**20 * np.sqrt(least):
            return None  # farther than a component's deviation allows
    elif what == "mirror":
        factor = rng.choice([-1.0, 1.0], X.shape[1])
    elif what == "scale":
        power = int(rng.integers(-12, 13))
        factor = np.full(X.shape[1], 2.0**power)
        changes["reg_covar"] = case.reg_covar * 4.0**power
    elif what == "permute":
        order = rng.permutation(len(X))
        changes["init_params"] = np.asarray(start)[order]
        weights = None if weights is None else weights[order]
    moved = ((X * factor + shift)[order]).astype(dtype)
    if not np.array_equal(moved.astype(float), (X * factor + shift)[order]):
        return f"{case}not exact: {what}"
    base = fit(case.estimator(), case.X, case.weights)
    if what == "threads":
        with vbfast.config_context(num_threads=3):
            other = fit(case.estimator(), moved, weights)
        exactly = True
    elif what == "storage":
        with tempfile.NamedTemporaryFile(suffix=".npy") as file:
            np.save(file.name, np.asfortranarray(moved).astype(moved.dtype.newbyteorder(">")))
            other = fit(case.estimator(), np.load(file.name, mmap_mode="r"), weights)
        exactly = True
    else:
        try:
            other = fit(case.estimator(**changes), moved, weights)
        except ValueError as error:
            # Squares of the scaled rows that the dtype has no numbers for.
            square = X.shape[1] * np.square(span * factor[0])
            if "overflow" in str(error) and square > np.finfo(dtype).max:
                return None
            raise
    eps = float(np.finfo(case.dtype).eps)
    bounds = np.array(other.lower_bounds_)
    if len(bounds) != len(base.lower_bounds_):
        return None if case.bayesian else f"{case}{what}: numbers of iterations differ\n"
    if not case.bayesian:
        bounds = bounds + np.log(np.abs(factor)).sum()
    elif what == "scale":
        bounds = np.array(base.lower_bounds_)  # its prior is scaled, but not the bound by as much
    scale = np.abs(factor[0])
    covariances = np.asarray(other.covariances_, float) / scale**2
    if case.kind in ("full", "tied"):
        covariances = covariances * np.multiply.outer(np.sign(factor), np.sign(factor))
    means = (np.asarray(other.means_, float) - shift) / factor
    size = np.abs(np.asarray(base.covariances_, float)).max()
    wrong = ""
    if exactly:
        wrong += disagreement("lower_bounds_", bounds, base.lower_bounds_, 0.0)
        wrong += disagreement("covariances_", covariances, base.covariances_, 0.0)
        wrong += disagreement("means_", means, base.means_, 0.0)
    else:
        promised = 1e-8 * np.maximum(1.0, np.abs(bounds))
        if dtype == "f4":
            # The contract is 1e-3 nats a row, and evidences of rows are rounded to some eps of what
            # they are, or one, as their terms may cancel. A variational bound is of all rows.
            rows = float(total) if case.bayesian else 1.0
            promised = np.minimum(1e-3 * rows, 100 * eps * np.maximum(rows, np.abs(bounds)))
        allowed = 30 * spread[0] + promised
        if allowed.shape == bounds.shape:
            wrong += disagreement("lower_bounds_", bounds, base.lower_bounds_, allowed)
        promised = (1e-3 if dtype == "f4" else 1e-6) * size
        allowed = 30 * plain.shaped(spread[3], case.kind) + promised
        wrong += disagreement("covariances_", covariances, base.covariances_, allowed)
        away = 4 * eps * (np.abs(shift) + np.abs(X).max()) + 1e-6 * span
        wrong += disagreement("means_", means, base.means_, 30 * spread[2] + away)
    return f"{case}{what} factor={factor} shift={shift}\n{wrong}" if wrong else None


def case(rng):
    return (estep_case, fit_case, invariance_case)[int(rng.integers(3))](rng)


if __name__ == "__main__":
    main(case)
