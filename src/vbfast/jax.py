r"""Evidence and lower bound as differentiable JAX functions.

Needs the extra ``vbfast[jax]``. Each function calls vbfast's kernels on the host
(:func:`jax.pure_callback`), has their gradients as its reverse-mode rule, and may be used under
:func:`jax.jit`, :func:`jax.grad` and :func:`jax.vmap`:

- :func:`logsumexp`, the evidence of a log-joint,
- :func:`elbo`, the lower bound of a distribution over its components,
- :func:`mixture_log_evidence`, the density of a Gaussian mixture, for instance the prior of a
  variational autoencoder, trained with it.

First derivatives in reverse mode only: asking for others raises. Arrays are float32 unless JAX is
told otherwise (``jax.config.update("jax_enable_x64", True)``).

Examples
--------
>>> import jax
>>> import vbfast.jax
>>> prior = (jax.numpy.zeros(3), jax.numpy.eye(3, 2), jax.numpy.ones((3, 2)))
>>> log_density = lambda z: vbfast.jax.mixture_log_evidence(z, *prior, "diag")
>>> gradient = jax.jit(jax.grad(log_density))(jax.numpy.zeros(2))
>>> [round(float(partial), 3) for partial in gradient]
[0.274, 0.274]
"""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Callable
from typing import Any

import numpy as np

try:
    import jax
    import jax.numpy as jnp
except ImportError as error:
    raise ImportError("vbfast.jax needs JAX: pip install 'vbfast[jax]'") from error

from vbfast import ops
from vbfast.engine.contract import CovarianceType
from vbfast.engine.plain import check_plain
from vbfast.families.mixture_function import (
    MixtureFunction,
    check_covariance_type,
    check_shapes,
)

__all__ = ["elbo", "logsumexp", "mixture_log_evidence"]


def _real(**arrays: Any) -> list[Any]:
    """Return arrays of one real type.

    Raises
    ------
    TypeError
        If one is not float32 or float64, or is masked or sparse.
    """
    for name, array in arrays.items():
        check_plain(array, name)
    values = {name: jnp.asarray(array) for name, array in arrays.items()}
    for name, value in values.items():
        if value.dtype not in (jnp.float32, jnp.float64):
            raise TypeError(f"{name} must be float32 or float64; got {value.dtype}")
    dtype = jnp.result_type(*values.values())
    return [value.astype(dtype) for value in values.values()]


def _on_host(
    function: Callable[..., Any],
    results: tuple[tuple[int, ...], ...],
    *arguments: Any,
    vmap_method: str = "broadcast_all",
) -> Any:
    """Call a function of NumPy arrays outside the compiled code.

    ``results`` are the shapes of the arrays that it returns, all of the type of the arguments.
    """
    dtype = arguments[0].dtype

    def call(*values: Any) -> Any:
        returned = function(*map(np.asarray, values))
        return tuple(np.asarray(array, dtype=dtype) for array in returned)

    wanted = tuple(jax.ShapeDtypeStruct(shape, dtype) for shape in results)
    return jax.pure_callback(call, wanted, *arguments, vmap_method=vmap_method)


# ------------------------------------------------------------------------------------- logsumexp


@jax.custom_vjp  # type: ignore[untyped-decorator]
def _logsumexp(log_joint: Any) -> Any:
    def evidence(joint: Any) -> Any:
        return (ops.logsumexp(joint, axis=-1),)

    return _on_host(evidence, (log_joint.shape[:-1],), log_joint)[0]


def _logsumexp_forward(log_joint: Any) -> Any:
    return _logsumexp(log_joint), log_joint


def _logsumexp_backward(log_joint: Any, cotangent: Any) -> Any:
    def posterior(joint: Any) -> Any:
        resp = ops.softmax(joint, axis=-1)
        # A row of nothing but -inf has no posterior: its gradient is zero.
        resp[np.all(joint == -np.inf, axis=-1)] = 0.0
        return (resp,)

    (resp,) = _on_host(posterior, (log_joint.shape,), log_joint)
    return (cotangent[..., jnp.newaxis] * resp,)


_logsumexp.defvjp(_logsumexp_forward, _logsumexp_backward)


def logsumexp(log_joint: Any, axis: int = -1, keepdims: bool = False) -> Any:
    r"""Log evidence :math:`\log \sum_k \exp(\ell_k)` of a log-joint, in nats.

    Parameters
    ----------
    log_joint : array_like, float32 or float64
    axis : int, default=-1
        The axis of the components.
    keepdims : bool, default=False

    Returns
    -------
    jax.Array
        Its gradient is the posterior, :math:`\mathrm{softmax}(\ell)`, and zero for nothing but
        -inf.

    Raises
    ------
    TypeError
        If the log-joint is not float32 or float64, or `axis` no integer.
    """
    (joint,) = _real(log_joint=log_joint)
    axis = operator.index(axis)
    result = _logsumexp(jnp.moveaxis(joint, axis, -1))
    return jnp.expand_dims(result, axis) if keepdims else result


# ------------------------------------------------------------------------------------------ elbo


@jax.custom_vjp  # type: ignore[untyped-decorator]
def _elbo(log_joint: Any, q_logits: Any) -> Any:
    def bound(joint: Any, logits: Any) -> Any:
        return (ops.elbo(joint, q_logits=logits, per_sample=True).elbo,)

    return _on_host(bound, (log_joint.shape[:-1],), log_joint, q_logits)[0]


def _elbo_forward(log_joint: Any, q_logits: Any) -> Any:
    def bound_and_gradients(joint: Any, logits: Any) -> Any:
        terms = ops.elbo(joint, q_logits=logits, per_sample=True)
        _, gradient = ops.elbo_and_grad(joint, q_logits=logits)
        return terms.elbo, gradient.log_joint, gradient.q_logits

    shapes = (log_joint.shape[:-1], log_joint.shape, log_joint.shape)
    value, *gradients = _on_host(bound_and_gradients, shapes, log_joint, q_logits)
    return value, gradients


def _elbo_backward(gradients: Any, cotangent: Any) -> Any:
    return tuple(cotangent[..., jnp.newaxis] * gradient for gradient in gradients)


_elbo.defvjp(_elbo_forward, _elbo_backward)


def elbo(log_joint: Any, q_logits: Any) -> Any:
    r"""Lower bound :math:`\sum_k q_k (\ell_k - \log q_k)` with :math:`q = \mathrm{softmax}(\eta)`.

    Parameters
    ----------
    log_joint : array_like of shape (..., n_components), float32 or float64
        :math:`\ell`.
    q_logits : array_like of the same shape
        :math:`\eta`, unnormalised logarithms of q.

    Returns
    -------
    jax.Array of shape (...)
        In nats; differentiable in both arguments.

    Raises
    ------
    TypeError
        If an argument is not float32 or float64.
    ValueError
        If the shapes differ; when it is computed, if the logits are no distribution.
    """
    joint, logits = _real(log_joint=log_joint, q_logits=q_logits)
    if joint.shape != logits.shape:
        raise ValueError(
            f"q_logits must have the shape of log_joint, {joint.shape}; got {logits.shape}"
        )
    return _elbo(joint, logits)


# ---------------------------------------------------------------------------------- the mixture


def _evaluate(kind: CovarianceType, wrt_x: bool, x: Any, *parameters: Any) -> Any:
    """Return the log evidence and, on request, its gradient in x."""
    log_evidence, gradient = MixtureFunction.of(kind, *parameters).value(x, wrt_x=wrt_x)
    return (log_evidence,) if gradient is None else (log_evidence, gradient)


def _pull_back(kind: CovarianceType, x: Any, cotangent: Any, *parameters: Any) -> Any:
    """Return the gradients in the parameters."""
    return MixtureFunction.of(kind, *parameters).pull_back(x, cotangent)


def _evaluate_batch(kind: CovarianceType, wrt_x: bool, x: Any, *parameters: Any) -> Any:
    """:func:`_evaluate` under ``vmap``: one pass over all rows where the parameters are shared."""
    leading = parameters[0].ndim - 1
    if any(math.prod(array.shape[:leading]) > 1 for array in parameters):
        return _each(functools.partial(_evaluate, kind, wrt_x), leading, x, *parameters)
    shared = (array.reshape(array.shape[leading:]) for array in parameters)
    return _evaluate(kind, wrt_x, x, *shared)


def _pull_back_batch(kind: CovarianceType, x: Any, cotangent: Any, *parameters: Any) -> Any:
    """:func:`_pull_back` under ``vmap``: gradients of each of the batch."""
    leading = parameters[0].ndim - 1
    return _each(functools.partial(_pull_back, kind), leading, x, cotangent, *parameters)


def _each(function: Callable[..., Any], leading: int, *arrays: Any) -> Any:
    """Map over so many leading axes, which are of length one where an array has none."""
    batch = np.broadcast_shapes(*(array.shape[:leading] for array in arrays))
    whole = [np.broadcast_to(array, batch + array.shape[leading:]) for array in arrays]
    results = [function(*(array[index] for array in whole)) for index in np.ndindex(batch)]
    return tuple(
        np.reshape(of_all, batch + np.shape(of_all[0])) for of_all in zip(*results, strict=True)
    )


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _mixture(kind: CovarianceType, x: Any, *parameters: Any) -> Any:
    evaluate = functools.partial(_evaluate_batch, kind, False)
    shapes = (x.shape[:-1],)
    return _on_host(evaluate, shapes, x, *parameters, vmap_method="expand_dims")[0]


def _mixture_forward(kind: CovarianceType, x: Any, *parameters: Any) -> Any:
    wrt_x, values = x.perturbed, tuple(parameter.value for parameter in parameters)
    shapes = (x.value.shape[:-1], x.value.shape) if wrt_x else (x.value.shape[:-1],)
    evaluate = functools.partial(_evaluate_batch, kind, wrt_x)
    log_evidence, *in_x = _on_host(evaluate, shapes, x.value, *values, vmap_method="expand_dims")
    wrt_parameters = any(parameter.perturbed for parameter in parameters)
    return log_evidence, (in_x, (x.value, values) if wrt_parameters else None)


def _mixture_backward(kind: CovarianceType, residuals: Any, cotangent: Any) -> Any:
    in_x, arguments = residuals
    x_gradient = cotangent[..., jnp.newaxis] * in_x[0] if in_x else None
    if arguments is None:
        return x_gradient, None, None, None
    x, values = arguments
    gradients = _on_host(
        functools.partial(_pull_back_batch, kind),
        tuple(value.shape for value in values),
        x,
        cotangent,
        *values,
        vmap_method="expand_dims",
    )
    return x_gradient, *gradients


_mixture.defvjp(_mixture_forward, _mixture_backward, symbolic_zeros=True)


def mixture_log_evidence(
    x: Any,
    weights_logits: Any,
    means: Any,
    precisions_cholesky: Any,
    covariance_type: str = "full",
) -> Any:
    r"""Log density of a Gaussian mixture, in nats.

    :math:`\log \sum_k \pi_k \mathcal N(x \mid \mu_k, (P_k P_k^\top)^{-1})` with
    :math:`\pi = \mathrm{softmax}(\eta)`.

    Parameters
    ----------
    x : array_like of shape (..., n_features), float32 or float64
    weights_logits : array_like of shape (n_components,)
        :math:`\eta`.
    means : array_like of shape (n_components, n_features)
    precisions_cholesky : array_like
        :math:`P`, shaped as the ``precisions_cholesky_`` of :class:`vbfast.GaussianMixture`:
        (K, D, D) for 'full', (D, D) for 'tied', (K, D) for 'diag', (K,) for 'spherical'. Of
        matrices only the upper triangle is read.
    covariance_type : {'full', 'tied', 'diag', 'spherical'}, default='full'

    Returns
    -------
    jax.Array of shape (...)
        Differentiable in x and in all parameters. The gradient in x is made with the value, where
        it is asked for; the parameters' takes a second pass over the rows (a third one, where
        gradients that flow back to the rows differ in sign). :func:`jax.vmap` over x alone is still
        one pass; over parameters it is one for each of them.

    Raises
    ------
    TypeError
        If an argument is not float32 or float64.
    ValueError
        If shapes do not fit; when it is computed, if a number is not finite or the diagonal of P
        not positive.
    """
    kind = check_covariance_type(covariance_type)
    arrays = _real(
        x=x, weights_logits=weights_logits, means=means, precisions_cholesky=precisions_cholesky
    )
    check_shapes(kind, *(array.shape for array in arrays))
    return _mixture(kind, *arrays)
