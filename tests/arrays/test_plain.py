"""Array functions refuse masks, sparse matrices and records, which NumPy would drop in silence."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

import vbfast

MASKED = np.ma.array([[0.25, 0.75], [0.5, 0.5]], mask=[[True, False], [False, False]])
SPARSE = sparse.csr_array(MASKED.data)
RECORD = np.zeros((2, 2), [("a", "f8")])
PLAIN = MASKED.data

CALLS = {
    "a": [vbfast.logsumexp, vbfast.softmax, vbfast.log_softmax],
    "b": [lambda x: vbfast.logsumexp(PLAIN, b=x)],
    "probs": [vbfast.entropy],
    "logits": [lambda x: vbfast.entropy(logits=x)],
    "q_probs": [lambda x: vbfast.kl_divergence(x, PLAIN)],
    "p_probs": [lambda x: vbfast.kl_divergence(PLAIN, x)],
    "q_logits": [
        lambda x: vbfast.kl_divergence(q_logits=x, p_logits=PLAIN),
        lambda x: vbfast.elbo(PLAIN, q_logits=x),
        lambda x: vbfast.elbo_and_grad(PLAIN, q_logits=x),
    ],
    "p_logits": [lambda x: vbfast.kl_divergence(q_logits=PLAIN, p_logits=x)],
    "log_joint": [vbfast.elbo, vbfast.elbo_and_grad],
    "q": [lambda x: vbfast.elbo(PLAIN, q=x), lambda x: vbfast.elbo_and_grad(PLAIN, q=x)],
    "sample_weight": [
        lambda x: vbfast.elbo(np.zeros((2, 2, 1)), sample_weight=x),
        lambda x: vbfast.elbo_and_grad(np.zeros((2, 2, 1)), sample_weight=x),
    ],
}


@pytest.mark.parametrize("name", CALLS)
def test_every_argument_of_every_function(name):
    for call in CALLS[name]:
        for lossy, message in (
            (MASKED, f"{name} is a masked array with 1 masked entry"),
            (list(MASKED), f"{name} is a masked array"),
            (SPARSE, f"Sparse data was passed for {name}"),
            (RECORD, f"{name} must be numeric; got the structured"),
        ):
            with pytest.raises(TypeError, match=message):
                call(lossy)
        call(PLAIN)
        call(np.ma.array(PLAIN))  # nothing is masked


def test_the_mask_of_single_precision():
    with pytest.raises(TypeError, match="masked array"):
        vbfast.logsumexp(np.ma.array([0.0, 1.0, 2.0], "f4", mask=[1, 0, 0]))


def test_the_functions_for_jax():
    pytest.importorskip("jax")
    bridge = pytest.importorskip("vbfast.jax")
    x = MASKED.astype(np.float32)
    for call in (bridge.logsumexp, lambda a: bridge.elbo(a, PLAIN.astype("f4"))):
        with pytest.raises(TypeError, match="log_joint is a masked array"):
            call(x)
