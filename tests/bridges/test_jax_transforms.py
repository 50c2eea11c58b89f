"""The functions for JAX inside composed transforms, against JAX's own functions."""

from __future__ import annotations

import functools

import numpy as np
import pytest

jax = pytest.importorskip("jax", reason="JAX is not installed: pip install vbfast[jax]")
bridge = pytest.importorskip("vbfast.jax")
jnp = jax.numpy

pytestmark = pytest.mark.usefixtures("jax_float64")


def number(function):
    """A number from a function's results, not linear in them."""
    return lambda *arguments: jnp.sin(function(*arguments)).sum()


def everything(function, argnums):
    return {
        "value": function,
        "grad": jax.grad(number(function), argnums),
        "jacrev": jax.jacrev(function, argnums),
        "hessian": jax.hessian(number(function), argnums),
        "reverse twice": jax.jacrev(jax.jacrev(number(function), argnums), argnums),
    }


DERIVATIVES = list(everything(len, 0))


def same(ours, theirs, arguments):
    ours, theirs = (jax.tree.leaves(jax.jit(f)(*arguments)) for f in (ours, theirs))
    for actual, expected in zip(ours, theirs, strict=True):
        assert actual.dtype == expected.dtype
        np.testing.assert_allclose(actual, expected, rtol=1e-9, atol=1e-10)


def textbook_elbo(log_joint, q_logits):
    log_q = jax.nn.log_softmax(q_logits)
    return (jnp.exp(log_q) * (log_joint - log_q)).sum(axis=-1)


def textbook_mixture(covariance_type, x, logits, means, P):
    """One mixture, in JAX."""
    d = x[..., jnp.newaxis, :] - means
    if covariance_type in ("full", "tied"):
        subscripts = "...kd,de->...ke" if covariance_type == "tied" else "...kd,kde->...ke"
        y = jnp.einsum(subscripts, d, jnp.triu(P))
        log_det = jnp.log(jnp.diagonal(P, axis1=-2, axis2=-1)).sum(axis=-1)
    else:
        scale = P if covariance_type == "diag" else jnp.broadcast_to(P[:, None], means.shape)
        y, log_det = d * scale, jnp.log(scale).sum(axis=-1)
    constant = -0.5 * means.shape[1] * jnp.log(2 * jnp.pi)
    log_joint = jax.nn.log_softmax(logits) + log_det + constant - 0.5 * (y**2).sum(axis=-1)
    return jax.nn.logsumexp(log_joint, axis=-1)


@pytest.mark.parametrize("derivative", [*DERIVATIVES, "jacfwd", "forward twice"])
def test_logsumexp_and_elbo(rng, derivative):
    def of(function, argnums=0):
        if derivative == "jacfwd":
            return jax.jacfwd(function, argnums)
        if derivative == "forward twice":
            return jax.jacfwd(jax.jacfwd(number(function), argnums), argnums)
        return everything(function, argnums)[derivative]

    values = rng.normal(size=(4, 2, 3))
    ours, theirs = (functools.partial(f, axis=(0, 2)) for f in (bridge.logsumexp, jax.nn.logsumexp))
    same(of(ours), of(theirs), (values,))
    ours, theirs = (functools.partial(f, axis=-1) for f in (bridge.logsumexp, jax.nn.logsumexp))
    same(jax.vmap(of(ours), 2, -1), jax.vmap(of(theirs), 2, -1), (values,))
    log_joint, q_logits = rng.normal(size=(2, 3, 4))
    ours, theirs = of(bridge.elbo, (0, 1)), of(textbook_elbo, (0, 1))
    same(ours, theirs, (log_joint, q_logits))
    same(jax.vmap(ours, (0, None)), jax.vmap(theirs, (0, None)), (log_joint, q_logits[0]))
    same(jax.vmap(ours, (None, 0)), jax.vmap(theirs, (None, 0)), (log_joint[0], q_logits))


@pytest.mark.parametrize(
    ("covariance_type", "derivative"),
    [("full", derivative) for derivative in DERIVATIVES]
    + [(other, name) for other in ("tied", "diag", "spherical") for name in ("grad", "hessian")],
)
def test_mixture_log_evidence(mixture_arrays, covariance_type, derivative):
    arguments = mixture_arrays(covariance_type, n_rows=3)

    def mixture(*arrays):
        return bridge.mixture_log_evidence(*arrays, covariance_type)

    textbook = functools.partial(textbook_mixture, covariance_type)
    ours, theirs = (everything(f, (0, 1, 2, 3))[derivative] for f in (mixture, textbook))
    same(ours, theirs, arguments)
    if derivative != "grad":
        return
    over_rows = (0, None, None, None)
    same(jax.vmap(ours, over_rows), jax.vmap(theirs, over_rows), arguments)
    for which in range(4):
        axes = tuple(-1 if i == which else None for i in range(4))
        several = [np.stack([a, 1.1 * a], -1) if i == which else a for i, a in enumerate(arguments)]
        same(jax.vmap(ours, axes), jax.vmap(theirs, axes), several)


@pytest.mark.parametrize(
    ("covariance_type", "derivative"),
    [("full", "value"), ("full", "hessian")]
    + [(name, "grad") for name in ("full", "tied", "diag", "spherical")],
)
def test_a_batch_is_a_map_over_mixtures(mixture_batch, covariance_type, derivative):
    arguments = mixture_batch(covariance_type, n_mixtures=3, n_rows=2)

    def mixture(*arrays):
        return bridge.mixture_log_evidence(*arrays, covariance_type)

    textbook = jax.vmap(functools.partial(textbook_mixture, covariance_type))
    expected = everything(textbook, (0, 1, 2, 3))[derivative]
    same(everything(mixture, (0, 1, 2, 3))[derivative], expected, arguments)
    if derivative == "hessian" or covariance_type in ("diag", "spherical"):
        return
    same(everything(jax.vmap(mixture), (0, 1, 2, 3))[derivative], expected, arguments)
    several = [np.stack([a, 1.1 * a]) for a in arguments]  # a batch of batches
    inner = [everything(f, (0, 1, 2, 3))[derivative] for f in (mixture, textbook)]
    same(*(jax.vmap(f) for f in inner), several)
    rows = (1, None, None, None)  # along an axis of x behind the batch's
    one_row = [arguments[0][:, :, np.newaxis], *arguments[1:]]
    same(*(jax.vmap(f, rows) for f in inner), one_row)


def test_a_batch_with_one_row_each_and_shared_parameters(mixture_batch):
    x, logits, means, P = mixture_batch("full", n_mixtures=4, n_rows=1)
    ours = bridge.mixture_log_evidence(x[:, 0], logits, means[0], P[:1])
    theirs = jax.vmap(functools.partial(textbook_mixture, "full"), (0, 0, None, None))(
        x[:, 0], logits, means[0], P[0]
    )
    np.testing.assert_allclose(ours, theirs, rtol=1e-12)
    empty = bridge.mixture_log_evidence(x[:0], logits[:0], means[:0], P[:0])
    assert empty.shape == (0, 1)


def test_components_of_weight_zero(mixture_batch):
    """The value of the others, a gradient of zero, and finite second derivatives."""
    arguments = mixture_batch("full", n_mixtures=2, n_rows=3)
    arguments[1][:, 1] = -np.inf
    value = bridge.mixture_log_evidence(*arguments)
    others = [arguments[0], *(array[:, [0, 2]] for array in arguments[1:])]
    np.testing.assert_allclose(value, bridge.mixture_log_evidence(*others), rtol=1e-13)
    gradients = everything(bridge.mixture_log_evidence, (0, 1, 2, 3))
    for gradient in jax.jit(gradients["grad"])(*arguments)[1:]:
        assert jnp.isfinite(gradient).all()
        assert not gradient[:, 1].any()
    for block in jax.tree.leaves(jax.jit(gradients["hessian"])(*arguments)):
        assert jnp.isfinite(block).all()
    nothing = jnp.array([[0.0, -jnp.inf], [-jnp.inf, -jnp.inf]])
    assert not jax.hessian(lambda a: bridge.logsumexp(a).sum())(nothing).any()


def test_forward_mode_of_a_density_is_refused(mixture_arrays):
    x, *parameters = mixture_arrays("diag")
    with pytest.raises(TypeError, match="forward-mode"):
        jax.jvp(lambda x: bridge.mixture_log_evidence(x, *parameters, "diag"), (x,), (x,))
