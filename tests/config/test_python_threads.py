"""Several Python threads at once get what one gets, from one pool."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import vbfast

pytestmark = [
    pytest.mark.kernels,
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
]


def results(backend, num_threads, X, log_joint, q_logits):
    """Array functions, a fit and a gradient; the error of a call in between is its own."""
    with vbfast.config_context(backend=backend, num_threads=num_threads):
        mixture = vbfast.GaussianMixture(3, max_iter=3, tol=0, random_state=0).fit(X)
        with pytest.raises(ValueError, match="probs at row 7 sums to"):
            vbfast.entropy(np.where(np.arange(3000)[:, np.newaxis] < 7, 0.25, 0.5) * np.ones(4))
        evidence, gradient = mixture.log_evidence_and_grad(X, wrt_x=True)
        terms, in_q = vbfast.elbo_and_grad(log_joint, q_logits=q_logits)
        return [
            vbfast.logsumexp(log_joint, axis=0),
            vbfast.softmax(log_joint, axis=1),
            np.array([evidence, terms.elbo, terms.kl]),
            mixture.covariances_,
            gradient.X,
            in_q.q_logits,
        ]


@pytest.mark.parametrize("backend", ["native", "numba"])
def test_concurrent_callers(backend, rng):
    if backend == "numba":
        pytest.importorskip("numba")
    X = rng.normal(size=(4000, 3))
    log_joint, q_logits = rng.normal(size=(2, 3000, 20))
    expected = results(backend, 1, X, log_joint, q_logits)
    with ThreadPoolExecutor(6) as executor:
        futures = [
            executor.submit(results, backend, 1 + i % 3, X, log_joint, q_logits) for i in range(18)
        ]
        for future in futures:
            for ours, reference in zip(future.result(), expected, strict=True):
                np.testing.assert_array_equal(ours, reference)
