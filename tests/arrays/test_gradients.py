"""The bound's gradients against JAX's automatic differentiation."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

import vbfast

pytestmark = pytest.mark.kernels

INF = np.inf


@pytest.fixture(autouse=True)
def backend(array_backend):
    """Run the test with each backend that has array functions."""
    return array_backend


@pytest.fixture
def bound_and_gradients(jax_float64):
    """The definition in JAX, where 0 log 0 = 0 and q without mass does not see the log-joint."""
    jax, jnp = jax_float64, jax_float64.numpy

    def bound(log_joint, q_logits, weights):
        log_q = jax.nn.log_softmax(q_logits)
        q = jnp.exp(log_q)
        gap = jnp.where(q > 0, log_joint, 0.0) - jnp.where(q > 0, log_q, 0.0)
        return (weights * (q * gap).sum(axis=-1)).sum()

    return jax.value_and_grad(bound, argnums=(0, 1))


@pytest.mark.parametrize("shape", [(5, 1), (30, 3), (9, 40), (3, 3000), (2, 3, 7)], ids=str)
@pytest.mark.parametrize("weighted", [False, True])
def test_agree_with_jax(bound_and_gradients, rng, shape, weighted):
    log_joint, q_logits = rng.normal(scale=5, size=(2, *shape))
    weights = rng.integers(0, 3, shape[:-1]) * rng.uniform(size=shape[:-1]) if weighted else None
    terms, gradient = vbfast.elbo_and_grad(log_joint, q_logits=q_logits, sample_weight=weights)
    ones = np.ones(shape[:-1])
    bound, (in_log_joint, in_q_logits) = bound_and_gradients(
        log_joint, q_logits, ones if weights is None else weights
    )
    assert terms.elbo == pytest.approx(float(bound), rel=1e-12)
    for ours, theirs in ((gradient.log_joint, in_log_joint), (gradient.q_logits, in_q_logits)):
        assert_allclose(ours, theirs, rtol=1e-9, atol=1e-9 * max(1e-3, np.abs(theirs).max()))


def test_components_that_are_impossible_on_both_sides(bound_and_gradients):
    log_joint = np.array([[-INF, 1.0, 2.0], [0.0, -INF, 3.0]])
    q_logits = np.array([[-INF, 0.3, 0.1], [0.0, -INF, 1.0]])
    _, gradient = vbfast.elbo_and_grad(log_joint, q_logits=q_logits)
    _, (in_log_joint, in_q_logits) = bound_and_gradients(log_joint, q_logits, np.ones(2))
    assert_allclose(gradient.log_joint, in_log_joint, rtol=1e-12)
    assert_allclose(gradient.q_logits, in_q_logits, rtol=1e-12, atol=1e-15)


def test_at_the_posterior_the_gradient_in_q_is_zero_and_the_evidences_remains(
    bound_and_gradients, rng
):
    log_joint = rng.normal(scale=9, size=(20, 6))
    _, gradient = vbfast.elbo_and_grad(log_joint)
    assert not gradient.q_logits.any()
    _, (_, in_q_logits) = bound_and_gradients(log_joint, log_joint, np.ones(20))
    assert_allclose(in_q_logits, 0.0, atol=1e-13)
    assert_allclose(gradient.log_joint, vbfast.softmax(log_joint, axis=1), rtol=1e-13)
