r"""Evidence and lower bound as differentiable PyTorch functions of tensors on the CPU.

Needs the extra ``vbfast[torch]``. Each function runs vbfast's kernels on the tensors' memory,
without copies, and gives autograd their gradients:

- :func:`logsumexp`, the evidence of a log-joint,
- :func:`elbo`, the lower bound of a distribution over its components,
- :func:`mixture_log_evidence`, the density of a Gaussian mixture, for instance the prior of a
  variational autoencoder, trained with it.

All may be differentiated any number of times, in reverse and in forward mode, and used inside
:mod:`torch.func`. First derivatives of a mixture are passes over its rows; second ones take memory
for rows times components times features.

Compiled code (:func:`torch.compile`) calls them outside its graphs. A transform of
:mod:`torch.func` has to stay outside with them: ``torch.compiler.disable(torch.func.grad(f))``.

Examples
--------
>>> import torch
>>> import vbfast.torch
>>> z = torch.zeros(1, 2, requires_grad=True)
>>> prior = (torch.zeros(3), torch.eye(3, 2), torch.ones(3, 2))
>>> vbfast.torch.mixture_log_evidence(z, *prior, "diag").sum().backward()
>>> z.grad.numpy().round(3)
array([[0.274, 0.274]], dtype=float32)

A mixture density network (Bishop 1994) has a mixture for each row of its targets:

>>> _ = torch.manual_seed(0)
>>> inputs = torch.linspace(-1, 1, 200).unsqueeze(1)
>>> targets = torch.where(torch.rand(200, 1) < 0.5, 1.0, -1.0) * inputs  # two branches
>>> network = torch.nn.Sequential(
...     torch.nn.Linear(1, 32), torch.nn.Tanh(), torch.nn.Linear(32, 9)
... )
>>> optimiser = torch.optim.Adam(network.parameters(), lr=0.02)
>>> for _ in range(100):
...     logits, means, log_scales = network(inputs).chunk(3, dim=1)
...     loss = -vbfast.torch.mixture_log_evidence(
...         targets, logits, means.unsqueeze(-1), (-log_scales.clamp(-2)).exp(), "spherical"
...     ).mean()
...     optimiser.zero_grad()
...     loss.backward()
...     optimiser.step()
>>> loss.item() < 0.2  # a single Gaussian for each row reaches 0.87 at best
True
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from vbfast.optional import needed

with needed("torch", by="vbfast.torch"):
    import torch

from vbfast.arrays.arguments import check_shape_of_log_joint
from vbfast.mixtures.arguments import mixture_arguments
from vbfast.torch.array_functions import bound, evidence
from vbfast.torch.mixture import log_density
from vbfast.torch.tensors import COMPUTED_IN, check, dimensions, eager, of_one_type

__all__ = ["elbo", "logsumexp", "mixture_log_evidence"]


@eager
def logsumexp(log_joint: Any, dim: int | Sequence[int] | None = -1, keepdim: bool = False) -> Any:
    r"""Log evidence :math:`\log \sum_k \exp(\ell_k)` of a log-joint, in nats.

    Parameters
    ----------
    log_joint : torch.Tensor, real, on the CPU
        float32 and float64 are computed in themselves, float16 and bfloat16 in float32.
    dim : int, sequence of int or None, default=-1
        The dimensions of the components; None is all.
    keepdim : bool, default=False

    Returns
    -------
    torch.Tensor
        Of the dtype of the log-joint; torch's default dtype for integers, as of
        :func:`torch.logsumexp`. Its gradient is the posterior, :math:`\mathrm{softmax}(\ell)`, and
        zero for nothing but -inf.

    Raises
    ------
    TypeError
        If the log-joint is no dense real tensor.
    ValueError
        If it lies on another device, or a dimension is named twice.
    IndexError
        If a dimension is out of range.

    Examples
    --------
    >>> import torch
    >>> import vbfast.torch
    >>> vbfast.torch.logsumexp(torch.zeros(2, 3, 5), dim=(0, 2))
    tensor([2.3026, 2.3026, 2.3026])
    """
    check("log_joint", log_joint)
    dims = dimensions(dim, log_joint.dim())
    dtype = log_joint.dtype if log_joint.is_floating_point() else torch.get_default_dtype()
    if dtype not in COMPUTED_IN:
        raise TypeError(
            f"log_joint must be float32, float64, float16, bfloat16 or of integers; got {dtype}"
        )
    if not dims:
        return log_joint.to(dtype, copy=True)
    result = evidence(log_joint.to(COMPUTED_IN[dtype]), dims).to(dtype)
    if keepdim:
        return result
    return result.reshape([n for axis, n in enumerate(result.shape) if axis not in dims])


@eager
def elbo(log_joint: Any, q_logits: Any) -> Any:
    r"""Lower bound :math:`\sum_k q_k (\ell_k - \log q_k)` with :math:`q = \mathrm{softmax}(\eta)`.

    Parameters
    ----------
    log_joint : torch.Tensor of shape (..., n_components), of a floating-point type, on the CPU
        :math:`\ell`.
    q_logits : torch.Tensor of the same shape and dtype
        :math:`\eta`, unnormalised logarithms of q.

    Returns
    -------
    torch.Tensor of shape (...)
        In nats, of the dtype of the arguments.

    Raises
    ------
    TypeError, ValueError
        As :func:`logsumexp`; for integers; if the shapes differ, or the logits are no distribution.

    Examples
    --------
    >>> import torch
    >>> import vbfast.torch
    >>> vbfast.torch.elbo(torch.zeros(2, 4), torch.zeros(2, 4))
    tensor([1.3863, 1.3863])
    """
    dtype, (joint, logits) = of_one_type(log_joint=log_joint, q_logits=q_logits)
    check_shape_of_log_joint("q_logits", tuple(logits.shape), tuple(joint.shape))
    return bound(joint, logits).to(dtype)


@eager
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
    x : torch.Tensor of shape (..., n_features), of a floating-point type, on the CPU
        For a batch of mixtures of shape (\*batch, ..., n_features): (batch, D) or (batch, n, D).
    weights_logits : torch.Tensor of shape (n_components,) or (\*batch, n_components), dtype of x
        :math:`\eta`; -inf takes a component out, and its gradients are zero.
    means : torch.Tensor of shape (n_components, n_features) or (\*batch, ...), dtype of x
    precisions_cholesky : torch.Tensor, dtype of x
        :math:`P`, shaped as the ``precisions_cholesky_`` of :class:`vbfast.GaussianMixture`:
        (K, D, D) for 'full', (D, D) for 'tied', (K, D) for 'diag', (K,) for 'spherical', with
        the axes of a batch before them. Of matrices only the upper triangle is read.
    covariance_type : {'full', 'tied', 'diag', 'spherical'}, default='full'

    Returns
    -------
    torch.Tensor of shape (...), dtype of x
        Differentiable in x and in all parameters. The gradient in x is made in the forward
        pass, where x asks for one; the parameters' takes a second pass over the rows (a third one,
        where gradients that flow back to the rows differ in sign). Few rows for each of a batch are
        evaluated together, many by passes of each mixture.

    Raises
    ------
    TypeError, ValueError
        As :func:`logsumexp`; for integers; if shapes do not fit, x or a mean is not finite, all
        logits of a mixture are -inf or one is +inf or NaN, or the diagonal of P is not positive.

    Notes
    -----
    The axes of a batch of parameters broadcast against each other, so that some may be shared.

    Examples
    --------
    >>> import torch
    >>> import vbfast.torch
    >>> x, logits, means = torch.zeros(4, 2), torch.zeros(4, 3), torch.zeros(4, 3, 2)
    >>> vbfast.torch.mixture_log_evidence(x, logits, means, torch.ones(4, 3), "spherical")
    tensor([-1.8379, -1.8379, -1.8379, -1.8379])
    """
    dtype, arrays = of_one_type(
        x=x, weights_logits=weights_logits, means=means, precisions_cholesky=precisions_cholesky
    )
    kind, arguments = mixture_arguments(covariance_type, arrays, torch.broadcast_to)
    return log_density(kind, *arguments).to(dtype)
