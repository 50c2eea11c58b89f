"""The functions for JAX: values, gradients, transformations, and what they refuse."""

from __future__ import annotations

import numpy as np
import pytest

from vbfast.contract import COVARIANCE_TYPES

jax = pytest.importorskip("jax", reason="JAX is not installed: pip install vbfast[jax]")
bridge = pytest.importorskip("vbfast.jax")
check_grads = pytest.importorskip("jax.test_util").check_grads
jnp = jax.numpy


def textbook(x, logits, means, P):
    """The mixture with a factor for each component, in JAX."""
    y = jnp.einsum("...kd,kde->...ke", x[..., None, :] - means, jnp.triu(P))
    log_det = jnp.log(jnp.diagonal(P, axis1=1, axis2=2)).sum(axis=1)
    constant = -0.5 * means.shape[1] * jnp.log(2 * jnp.pi)
    log_joint = jax.nn.log_softmax(logits) + log_det + constant - 0.5 * (y**2).sum(axis=-1)
    return jax.nn.logsumexp(log_joint, axis=-1)


@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("keepdims", [False, True])
def test_logsumexp(jax_float64, rng, axis, keepdims):
    values = rng.normal(size=(4, 5, 3))
    np.testing.assert_allclose(
        bridge.logsumexp(values, axis, keepdims),
        jax.nn.logsumexp(values, axis=axis, keepdims=keepdims),
        rtol=1e-14,
    )
    check_grads(lambda a: bridge.logsumexp(a, axis, keepdims), (values,), 1, modes=["rev"])


@pytest.mark.parametrize("axis", [None, (0, 2), [1, -1], (2, 0, 1)])
@pytest.mark.parametrize("keepdims", [False, True])
def test_logsumexp_over_several_axes(jax_float64, rng, axis, keepdims):
    values = rng.normal(size=(4, 5, 3))
    axes = tuple(axis) if axis else axis
    expected = jax.nn.logsumexp(values, axis=axes, keepdims=keepdims)
    result = bridge.logsumexp(values, axis, keepdims)
    assert result.shape == expected.shape
    np.testing.assert_allclose(result, expected, rtol=1e-14)
    check_grads(lambda a: bridge.logsumexp(a, axis, keepdims), (values,), 2)


WITHOUT_64_BITS = ["float16", "bfloat16", "float32", "int8", "int32", "uint8", "bool"]


@pytest.mark.parametrize(
    ("dtype", "x64"),
    [(dtype, False) for dtype in WITHOUT_64_BITS]
    + [(dtype, True) for dtype in [*WITHOUT_64_BITS, "float64", "int64"]],
)
def test_types_are_jaxs(request, rng, dtype, x64):
    if x64:
        request.getfixturevalue("jax_float64")
    values = jnp.asarray(rng.integers(0, 2, size=(6, 5)) * 3).astype(dtype)
    result = bridge.logsumexp(values)
    assert result.dtype == jax.nn.logsumexp(values, axis=-1).dtype
    assert bridge.logsumexp(values[0, 0], None).dtype == result.dtype
    exact = np.log(np.exp(np.asarray(values, np.float64)).sum(axis=-1))
    tolerance = 4 * float(jnp.finfo(result.dtype).eps)
    np.testing.assert_allclose(np.asarray(result, np.float64), exact, rtol=tolerance)
    if jnp.issubdtype(values.dtype, jnp.floating):
        gradient = jax.jit(jax.grad(lambda a: bridge.logsumexp(a).sum()))(values)
        assert gradient.dtype == values.dtype


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
@pytest.mark.parametrize("n_mixtures", [None, 3])
def test_components_far_from_each_other_in_float32(far_components, covariance_type, n_mixtures):
    arrays, evidence, expected = far_components(covariance_type)
    if n_mixtures is not None:
        arrays = [np.tile(a, (n_mixtures, *(1,) * a.ndim)) for a in arrays]

    def evidence_of(*arguments):
        value = bridge.mixture_log_evidence(*arguments, covariance_type)
        return value.sum(), value

    (_, value), gradients = jax.value_and_grad(evidence_of, (0, 1, 2, 3), has_aux=True)(*arrays)
    assert value.dtype == np.float32
    np.testing.assert_allclose(value, np.broadcast_to(evidence, value.shape), rtol=1e-6)
    for actual, wanted in zip(gradients, expected, strict=True):
        wanted = np.broadcast_to(wanted, actual.shape)
        np.testing.assert_allclose(actual, wanted, rtol=1e-5, atol=1e-5)


def test_half_precision_is_computed_in_single(mixture_arrays):
    arguments = [jnp.asarray(array, jnp.bfloat16) for array in mixture_arrays("full")]
    single = [array.astype(jnp.float32) for array in arguments]

    def total(*arrays):
        return bridge.mixture_log_evidence(*arrays).sum()

    value = bridge.mixture_log_evidence(*arguments)
    assert value.dtype == jnp.bfloat16
    assert (value == bridge.mixture_log_evidence(*single).astype(jnp.bfloat16)).all()
    ours, theirs = (jax.grad(total, argnums=(0, 1, 2, 3))(*a) for a in (arguments, single))
    for actual, expected in zip(ours, theirs, strict=True):
        assert (actual == expected.astype(jnp.bfloat16)).all()
    assert bridge.elbo(arguments[0], arguments[0]).dtype == jnp.bfloat16


def test_a_row_of_nothing_has_gradient_zero():
    values = jnp.array([[-jnp.inf, -jnp.inf], [0.0, -jnp.inf]])
    assert bridge.logsumexp(values).tolist() == [-np.inf, 0.0]
    gradient = jax.grad(lambda a: bridge.logsumexp(a).sum())(values)
    assert gradient.tolist() == [[0.0, 0.0], [1.0, 0.0]]


def test_elbo(jax_float64, rng):
    log_joint, q_logits = rng.normal(size=(2, 4, 5)), rng.normal(size=(2, 4, 5))
    log_q = jax.nn.log_softmax(q_logits)
    expected = (jnp.exp(log_q) * (log_joint - log_q)).sum(axis=-1)
    np.testing.assert_allclose(bridge.elbo(log_joint, q_logits), expected, rtol=1e-13)
    check_grads(bridge.elbo, (log_joint, q_logits), 1, modes=["rev"])
    np.testing.assert_allclose(jax.vmap(bridge.elbo)(log_joint, q_logits), expected, rtol=1e-13)


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
def test_mixture_log_evidence(jax_float64, mixture_arrays, covariance_type):
    arguments = mixture_arrays(covariance_type)
    x, logits, means, P = arguments
    K, D = means.shape
    if covariance_type in ("diag", "spherical"):
        whole = np.reshape(P, (K, 1, -1)) * np.eye(D)
    else:
        whole = np.broadcast_to(P, (K, D, D))

    def function(*inputs):
        return bridge.mixture_log_evidence(*inputs, covariance_type)

    np.testing.assert_allclose(function(*arguments), textbook(x, logits, means, whole), rtol=1e-12)
    check_grads(jax.jit(function), arguments, 1, modes=["rev"])


def test_gradients_are_jaxs_own(jax_float64, mixture_arrays, rng):
    arguments = mixture_arrays("full", n_rows=50)
    cotangent = rng.normal(size=50)  # of both signs
    ours, theirs = (
        jax.jit(jax.grad(lambda *a, f=function: cotangent @ f(*a), argnums=(0, 1, 2, 3)))(
            *arguments
        )
        for function in (bridge.mixture_log_evidence, textbook)
    )
    for actual, expected in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(actual, expected, rtol=1e-9, atol=1e-11)


def test_vmap_over_rows_and_over_parameters(jax_float64, mixture_arrays):
    x, logits, means, P = mixture_arrays("full")
    several = means + np.arange(4.0)[:, None, None]
    over_rows, over_means = (0, None, None, None), (None, None, 0, None)

    def mapped(function):
        @jax.jit
        def evaluate(x, logits, several, P):
            slopes = jax.vmap(jax.grad(function, argnums=(0, 2)), over_rows)
            return (
                jax.vmap(function, over_rows)(x, logits, several[0], P),
                jax.vmap(function, over_means)(x, logits, several, P),
                slopes(x, logits, several[0], P),  # row by row, the parameters' too
                jax.vmap(slopes, over_means)(x, logits, several, P),
            )

        return jax.tree.leaves(evaluate(x, logits, several, P))

    ours, theirs = mapped(bridge.mixture_log_evidence), mapped(textbook)
    for actual, expected in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(actual, expected, rtol=1e-9, atol=1e-12)


def test_the_precision_of_the_arguments(mixture_arrays):
    arguments = [np.float32(array) for array in mixture_arrays("diag")]
    value = bridge.mixture_log_evidence(*arguments, "diag")
    assert value.dtype == jnp.float32
    gradients = jax.grad(
        lambda *a: bridge.mixture_log_evidence(*a, "diag").sum(), argnums=(0, 1, 2, 3)
    )(*arguments)
    assert {gradient.dtype for gradient in gradients} == {jnp.dtype(jnp.float32)}


def test_what_is_refused(mixture_arrays):
    x, logits, means, P = (np.float32(array) for array in mixture_arrays("diag"))
    function = bridge.mixture_log_evidence
    with pytest.raises(TypeError, match=r"x must be float32, .* or bfloat16; got int32"):
        function(np.zeros((3, 2), np.int32), logits, means, P, "diag")
    with pytest.raises(TypeError, match="q_logits must be an array of numbers that JAX has"):
        bridge.elbo(x, "abc")
    with pytest.raises(TypeError, match=r"axis must be an integer, several or None; got 0\.5"):
        bridge.logsumexp(x, 0.5)
    with pytest.raises(ValueError, match="q_logits must have the shape of log_joint"):
        bridge.elbo(x, x[:1])
    with pytest.raises(ValueError, match="covariance_type must be one of"):
        function(x, logits, means, P, "diagonal")
    with pytest.raises(ValueError, match=r"weights_logits must have shape \(3,\)"):
        function(x, logits[:2], means, P, "diag")


def test_an_encoder_with_a_mixture_prior_trains(mixture_arrays, rng):
    """Rows are encoded linearly; the mixture learns to be where they are, and the noise too."""
    X = np.float32(rng.normal(size=(200, 5)) @ rng.normal(size=(5, 5)))
    _, logits, means, P = (np.float32(array) for array in mixture_arrays("diag"))
    noise = np.float32(rng.normal(size=(200, 2)))

    def loss(parameters):
        encoder, log_scale, decoder, logits, means, log_P = parameters
        z = X @ encoder + jnp.exp(log_scale) * noise
        log_prior = bridge.mixture_log_evidence(z, logits, means, jnp.exp(log_P), "diag")
        log_likelihood = -0.5 * ((X - z @ decoder) ** 2).sum(axis=1)
        return -(log_likelihood + log_prior).mean() - log_scale.sum()

    parameters = (
        np.float32(0.1 * rng.normal(size=(5, 2))), np.zeros(2, np.float32),
        np.float32(0.1 * rng.normal(size=(2, 5))), logits, means, np.log(P),
    )  # fmt: skip
    step = jax.jit(jax.value_and_grad(loss))
    losses = []
    for _ in range(40):
        value, gradient = step(parameters)
        parameters = [p - 0.01 * g for p, g in zip(parameters, gradient, strict=True)]
        losses.append(float(value))
    assert losses[-1] < 0.8 * losses[0]
