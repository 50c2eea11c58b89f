r"""Evidence and lower bound as differentiable JAX functions.

Needs the extra ``vbfast[jax]``. Each function calls vbfast's kernels on the host
(:func:`jax.pure_callback`), has derivatives of its own, and may be used under :func:`jax.jit`,
:func:`jax.grad`, :func:`jax.vmap`, :func:`jax.jacrev` and :func:`jax.hessian`, however they are
composed:

- :func:`logsumexp`, the evidence of a log-joint,
- :func:`elbo`, the lower bound of a distribution over its components,
- :func:`mixture_log_evidence`, the density of a Gaussian mixture, for instance the prior of a
  variational autoencoder, trained with it.

First derivatives of a mixture are passes over its rows, in reverse mode (asking for forward mode
of the density itself raises); second ones take memory for rows times components times features.
Arrays are float32 unless JAX is told otherwise (``jax.config.update("jax_enable_x64", True)``).

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

import operator
from collections.abc import Sequence
from typing import Any

from vbfast.optional import needed

with needed("jax", by="vbfast.jax"):
    import jax.numpy as jnp

from vbfast.arrays.arguments import check_shape_of_log_joint
from vbfast.jax.array_functions import bound, evidence
from vbfast.jax.host import real
from vbfast.jax.mixture import log_density
from vbfast.mixtures.arguments import mixture_arguments

__all__ = ["elbo", "logsumexp", "mixture_log_evidence"]


def logsumexp(log_joint: Any, axis: int | Sequence[int] | None = -1, keepdims: bool = False) -> Any:
    r"""Log evidence :math:`\log \sum_k \exp(\ell_k)` of a log-joint, in nats.

    Parameters
    ----------
    log_joint : array_like, real
        float32 and float64 are computed in themselves, float16 and bfloat16 in float32.
    axis : int, sequence of int or None, default=-1
        The axes of the components; None is all.
    keepdims : bool, default=False

    Returns
    -------
    jax.Array
        Of the dtype of :func:`jax.nn.logsumexp`: that of the log-joint, for integers float32
        or float64. Its gradient is the posterior, :math:`\mathrm{softmax}(\ell)`, and
        zero for nothing but -inf.

    Raises
    ------
    TypeError
        If the log-joint is not real, or an axis no integer.
    ValueError
        If an axis is out of range or named twice.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> import vbfast.jax
    >>> vbfast.jax.logsumexp(jnp.zeros((2, 3, 5)), axis=(0, 2)).round(4).tolist()
    [2.3025999069213867, 2.3025999069213867, 2.3025999069213867]
    """
    dtype, (joint,) = real(integers=True, log_joint=log_joint)
    if axis is None:
        axes = list(range(joint.ndim))
    else:
        given = axis if isinstance(axis, Sequence) else (axis,)
        try:
            axes = [operator.index(number) for number in given]
        except TypeError as error:
            raise TypeError(f"axis must be an integer, several or None; got {axis!r}") from error
    if not axes:
        return joint.astype(dtype)
    last = list(range(-len(axes), 0))
    result = evidence(len(axes), jnp.moveaxis(joint, axes, last)).astype(dtype)
    if keepdims:
        return jnp.moveaxis(result, last, axes)
    return result.reshape(result.shape[: -len(axes)])


def elbo(log_joint: Any, q_logits: Any) -> Any:
    r"""Lower bound :math:`\sum_k q_k (\ell_k - \log q_k)` with :math:`q = \mathrm{softmax}(\eta)`.

    Parameters
    ----------
    log_joint : array_like of shape (..., n_components), of a floating-point type
        :math:`\ell`.
    q_logits : array_like of the same shape
        :math:`\eta`, unnormalised logarithms of q.

    Returns
    -------
    jax.Array of shape (...)
        In nats, of the dtype of the arguments.

    Raises
    ------
    TypeError
        If an argument is not of a floating-point type.
    ValueError
        If the shapes differ; when it is computed, if the logits are no distribution.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> import vbfast.jax
    >>> vbfast.jax.elbo(jnp.zeros((2, 4)), jnp.zeros((2, 4))).round(3).tolist()
    [1.3860000371932983, 1.3860000371932983]
    """
    dtype, (joint, logits) = real(log_joint=log_joint, q_logits=q_logits)
    check_shape_of_log_joint("q_logits", logits.shape, joint.shape)
    return bound(joint, logits).astype(dtype)


def mixture_log_evidence(
    x: Any,
    weights_logits: Any,
    means: Any,
    precisions_cholesky: Any,
    covariance_type: str = "full",
) -> Any:
    r"""Log density of a Gaussian mixture, or of each of a batch of mixtures, in nats.

    :math:`\log \sum_k \pi_k \mathcal N(x \mid \mu_k, (P_k P_k^\top)^{-1})` with
    :math:`\pi = \mathrm{softmax}(\eta)`.

    Parameters
    ----------
    x : array_like of shape (..., n_features), of a floating-point type
        For a batch of mixtures of shape (\*batch, ..., n_features): (batch, D) or (batch, n, D).
    weights_logits : array_like of shape (n_components,) or (\*batch, n_components)
        :math:`\eta`; -inf takes a component out, and its gradients are zero.
    means : array_like of shape (n_components, n_features) or (\*batch, ...)
    precisions_cholesky : array_like
        :math:`P`, shaped as the ``precisions_cholesky_`` of :class:`vbfast.GaussianMixture`:
        (K, D, D) for 'full', (D, D) for 'tied', (K, D) for 'diag', (K,) for 'spherical', with
        the axes of a batch before them. Of matrices only the upper triangle is read.
    covariance_type : {'full', 'tied', 'diag', 'spherical'}, default='full'

    Returns
    -------
    jax.Array of shape (...)
        Differentiable in x and in all parameters. The gradient in x is made with the value, where
        it is asked for; the parameters' takes a second pass over the rows (a third one, where
        gradients that flow back to the rows differ in sign). :func:`jax.vmap` over x alone is still
        one pass. Few rows for each of a batch, or of parameters that ``vmap`` maps over, are
        evaluated together, many by passes of each mixture.

    Raises
    ------
    TypeError
        If an argument is not of a floating-point type.
    ValueError
        If shapes do not fit; when it is computed, if x or a mean is not finite, all logits of a
        mixture are -inf or one is +inf or NaN, or the diagonal of P is not positive.

    Notes
    -----
    The axes of a batch of parameters broadcast against each other, so that some may be shared.

    Examples
    --------
    A mixture density network (Bishop 1994) has a mixture for each row of its targets:

    >>> import jax
    >>> import jax.numpy as jnp
    >>> import vbfast.jax
    >>> inputs = jnp.linspace(-1, 1, 200)[:, None]
    >>> targets = jnp.where(jnp.arange(200)[:, None] % 2 == 0, 1.0, -1.0) * inputs  # two branches
    >>> def loss(parameters):
    ...     hidden = jnp.tanh(inputs @ parameters[0] + parameters[1])
    ...     logits, means, log_scales = jnp.split(hidden @ parameters[2], 3, axis=1)
    ...     return -vbfast.jax.mixture_log_evidence(
    ...         targets, logits, means[..., None], jnp.exp(-log_scales), "spherical"
    ...     ).mean()
    >>> keys = jax.random.split(jax.random.key(0), 3)
    >>> shapes = ((1, 32), (32,), (32, 9))
    >>> parameters = [jax.random.normal(k, s) / 3 for k, s in zip(keys, shapes)]
    >>> gradient = jax.jit(jax.grad(loss))
    >>> before = loss(parameters)
    >>> for _ in range(150):
    ...     parameters = [p - 0.05 * g for p, g in zip(parameters, gradient(parameters))]
    >>> bool(loss(parameters) < before - 0.5)
    True
    """
    dtype, arrays = real(
        x=x, weights_logits=weights_logits, means=means, precisions_cholesky=precisions_cholesky
    )
    kind, arguments = mixture_arguments(covariance_type, arrays, jnp.broadcast_to)
    return log_density(kind, *arguments).astype(dtype)
