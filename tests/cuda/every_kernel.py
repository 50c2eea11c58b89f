"""Run every kernel of the CUDA backend at small sizes, beside the native backend.

    python tests/cuda/every_kernel.py

For compute-sanitizer, under which the test suite would take hours: see run_on_device.sh.
"""

from __future__ import annotations

import functools
import itertools
import sys

import numpy as np

import vbfast
from vbfast.backends import get_backend
from vbfast.backends.cuda.extension import load_extension
from vbfast.backends.native.passes import FORMS
from vbfast.contract import Linear, LogJoint, Request, RowOutputs
from vbfast.passes.one_pass import run_pass, run_seeding
from vbfast.passes.rows import as_row_source

N_ROWS, N_COMPONENTS = 300, 3
# Wide and narrow blocks of a factor, and rows that do not fit in shared memory as a whole.
FEATURES = {"full": (2, 4, 8, 16, 33, 70, 260), "tied": (5, 40), "diag": (5,), "spherical": (5,)}
MOMENTS = {"full": "full", "tied": "pooled", "diag": "diag", "spherical": "spherical"}


def model(rng, covariance_type, n_features, spread):
    """Return a log-joint of means that far apart, and rows near them."""
    K, D = N_COMPONENTS, n_features
    means = spread * rng.normal(size=(K, D))
    X = means[rng.integers(K, size=N_ROWS)] + rng.normal(size=(N_ROWS, D))
    offset = rng.normal(size=K)
    if covariance_type == "linear":
        return LogJoint(offset, Linear(means / D)), X
    factor = np.eye(D) + np.triu(rng.normal(size=(D, D)), 1) / (4 * D)
    P = {
        "full": np.array([factor] * K),
        "tied": factor,
        "diag": rng.uniform(0.5, 1.5, (K, D)),
        "spherical": rng.uniform(0.5, 1.5, K),
    }[covariance_type]
    return LogJoint.quadratic(covariance_type, offset, means, P), X


def outputs(X, *, more):
    N, K = len(X), N_COMPONENTS
    found = RowOutputs(
        log_evidence=np.empty(N, X.dtype),
        labels=np.empty(N, np.int64),
        resp=np.empty((N, K), X.dtype),
        entropy=np.empty(N, X.dtype),
        expected_log_joint=np.empty(N, X.dtype),
    )
    if more:
        found.gradient, found.log_joint = np.empty_like(X), np.empty((N, K), X.dtype)
    return found


def passes(rng, covariance_type, n_features, dtype, spread, scale=1.0):
    """Compare passes of all kinds with the native backend's."""
    log_joint, X = model(rng, covariance_type, n_features, spread)
    X = (scale * X).astype(dtype)
    moments = MOMENTS.get(covariance_type, "first")
    weights = rng.uniform(0.5, 2.0, N_ROWS)
    labels = rng.integers(N_COMPONENTS, size=N_ROWS)
    resp = rng.dirichlet(np.ones(N_COMPONENTS), N_ROWS).astype(dtype)
    calls = [
        (Request("posterior", moments, entropy=True), {}, False),
        (Request("posterior", moments), {}, True),
        (Request("hard", "first"), {}, False),
        (Request("given", moments), {"resp": labels}, False),
        (Request("given", moments), {"resp": resp}, False),
    ]
    close = 2e-3 if dtype == np.float32 else 1e-8
    for request, given, more in calls:
        found = {}
        for name in ("native", "cuda"):
            backend = get_backend(name)
            source = backend.adopt(as_row_source(X))
            written = outputs(X, more=more)
            arguments = {"sample_weight": weights, "outputs": written, "backend": backend, **given}
            found[name] = run_pass(source, log_joint, request, **arguments), written
        (expected, wanted), (result, written) = found["native"], found["cuda"]
        same(result.log_evidence, expected.log_evidence, close)
        for name in ("log_evidence", "gradient", "log_joint")[: 1 if scale != 1.0 else 3]:
            if getattr(wanted, name) is not None:
                same(getattr(written, name), getattr(wanted, name), close)
        if scale != 1.0:
            continue  # log-joints have no digits left that tell components apart
        for name in ("weight", "first", "second"):
            same(getattr(result.statistics, name), getattr(expected.statistics, name), close)


def units(rng, n_features, dtype):
    """Compare log-joints with tensor cores and without."""
    log_joint, X = model(rng, "full", n_features, 1.0)
    X = X.astype(dtype)
    form, coefficients = FORMS[type(log_joint.form)](log_joint.form)
    blocking = get_backend("cuda").blocking(N_ROWS, n_features, N_COMPONENTS, X.dtype, "full")
    found = []
    for tensor_cores in (True, False):
        written = np.empty((N_ROWS, N_COMPONENTS), dtype)
        estep = load_extension().EStep(
            form, log_joint.offset, log_joint.form.centres, np.ascontiguousarray(coefficients),
            "posterior", "full", False, dtype == np.float32, blocking.bounds,
            (None,) * 6 + (written,), load_extension().Workspace(), tensor_cores=tensor_cores,
        )  # fmt: skip
        estep.run([(0, X, None, None)])
        found.append((written, estep.statistics()[2]))
    for these, those in zip(*found, strict=True):
        same(these, those, 1e-4 if dtype == np.float32 else 1e-10)


def seeding(rng, dtype):
    """Compare a pass of k-means++."""
    X = rng.normal(size=(N_ROWS, 5)).astype(dtype)
    found = []
    for name in ("native", "cuda"):
        closest = np.full(N_ROWS, np.inf, dtype)
        lowered = np.empty((4, N_ROWS), dtype)
        backend = get_backend(name)
        source = backend.adopt(as_row_source(X))
        candidates = X[:4].astype(float)
        potentials = run_seeding(source, candidates, closest, lowered=lowered, backend=backend)
        found.append((potentials, lowered))
    for these, those in zip(*found, strict=True):
        same(these, those, 1e-5)


def arrays(rng, dtype):
    """Compare the array functions, of short rows and long ones, along both axes."""
    for shape in ((40, 5), (7, 3000)):
        a, b = rng.normal(size=(2, *shape)).astype(dtype)
        q, p = vbfast.softmax(a, axis=1), vbfast.softmax(b, axis=1)
        calls = [
            functools.partial(function, a, axis=axis)
            for function in (vbfast.logsumexp, vbfast.softmax, vbfast.log_softmax)
            for axis in (0, 1)
        ]
        calls += [
            functools.partial(vbfast.entropy, logits=a),
            functools.partial(vbfast.kl_divergence, q, p),
            functools.partial(gradient_of_elbo, a, q),
        ]
        for call in calls:
            expected = call()
            with vbfast.config_context(backend="cuda"):
                same(call(), expected, 1e-4 if dtype == np.float32 else 1e-10)


def gradient_of_elbo(log_joint, q):
    terms, gradient = vbfast.elbo_and_grad(log_joint, q=q)
    assert np.isfinite(terms.elbo)
    return gradient.log_joint


def same(actual, expected, close):
    """Compare finite arrays by their largest number, and what is not finite as it is."""
    if expected is None:
        assert actual is None
        return
    actual, expected = np.asarray(actual, float), np.asarray(expected, float)
    finite = np.isfinite(expected)
    largest = np.abs(expected[finite]).max(initial=0.0)
    np.testing.assert_allclose(actual, expected, rtol=close, atol=close * largest)


def main():
    rng = np.random.default_rng(0)
    for dtype in (np.float32, np.float64):
        for covariance_type, sizes in FEATURES.items():
            for n_features, spread in itertools.product(sizes, (1.0, 50.0)):
                passes(rng, covariance_type, n_features, dtype, spread)
            print(f"{np.dtype(dtype).name} {covariance_type}: as on the CPU", flush=True)
        passes(rng, "linear", 5, dtype, 1.0)
        # Whose squares leave the range of the dtype.
        for covariance_type, n_features in (("full", 3), ("full", 20), ("diag", 5)):
            scale = 1e10 if dtype == np.float32 else 1e80
            passes(rng, covariance_type, n_features, dtype, 1.0, scale)
        for n_features in (16, 70):
            units(rng, n_features, dtype)
        seeding(rng, dtype)
        arrays(rng, dtype)
        print(f"{np.dtype(dtype).name}: every kernel has run", flush=True)


if __name__ == "__main__":
    sys.exit(main())
