"""What the functions of a mixture's arrays do with their arguments, in every framework."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, get_args

import numpy as np

from vbfast.contract import CovarianceType, covariance_shape

__all__ = ["check_shapes", "mixture_arguments"]

Shape = tuple[int, ...]


def mixture_arguments(
    covariance_type: str, arrays: Sequence[Any], broadcast_to: Callable[[Any, Shape], Any]
) -> tuple[CovarianceType, list[Any]]:
    """Check that arrays make a mixture and its rows, or a batch of them.

    Parameters
    ----------
    covariance_type : {'full', 'tied', 'diag', 'spherical'}
    arrays : sequence of four arrays, of any framework
        x, weights_logits, means and precisions_cholesky.
    broadcast_to : callable
        The framework's function of that name.

    Returns
    -------
    covariance_type : {'full', 'tied', 'diag', 'spherical'}
    arrays : list of the four
        The parameters with all axes of the batch in front, none for one mixture.

    Raises
    ------
    ValueError
        If the covariance type is unknown, or shapes do not fit; the message names the argument.
    """
    known = get_args(CovarianceType)
    if covariance_type not in known:
        raise ValueError(f"covariance_type must be one of {known}; got {covariance_type!r}")
    kind: CovarianceType = covariance_type  # type: ignore[assignment]
    x, *parameters = arrays
    shapes = check_shapes(kind, *(tuple(array.shape) for array in arrays))
    return kind, [x, *map(broadcast_to, parameters, shapes)]


def check_shapes(
    covariance_type: CovarianceType,
    x: Shape,
    weights_logits: Shape,
    means: Shape,
    precisions_cholesky: Shape,
) -> tuple[Shape, Shape, Shape]:
    """Check that shapes fit each other, and return what those of the parameters broadcast to.

    Parameters
    ----------
    covariance_type : {'full', 'tied', 'diag', 'spherical'}
    x, weights_logits, means, precisions_cholesky : tuple of int
        Shapes.

    Returns
    -------
    weights_logits, means, precisions_cholesky : tuple of int
        With the axes of the batch of mixtures in front, none for one mixture.

    Raises
    ------
    ValueError
        If they do not; the message names the argument.
    """
    if len(means) < 2 or 0 in means[-2:]:
        raise ValueError(
            "means must have shape (..., n_components, n_features), with at least one of each; "
            f"got {means}"
        )
    K, D = means[-2:]
    factors = covariance_shape(covariance_type, K, D)
    expected = {
        "weights_logits": (weights_logits, (K,)),
        "precisions_cholesky": (precisions_cholesky, factors),
    }
    batch = means[:-2]
    for name, (shape, wanted) in expected.items():
        leading = shape[: max(0, len(shape) - len(wanted))]
        if shape[len(leading) :] != wanted:
            raise ValueError(
                f"{name} must have shape {_described(wanted)} for means of shape {means} and "
                f"covariance_type {covariance_type!r}; got {shape}"
            )
        try:
            batch = np.broadcast_shapes(batch, leading)
        except ValueError:
            raise ValueError(
                f"{name} must have leading axes that broadcast against {batch}, those of the "
                f"means' batch of mixtures; got shape {shape}"
            ) from None
    if not x or x[-1] != D:
        raise ValueError(f"x must have shape (..., {D}) for means of shape {means}; got {x}")
    if x[: len(batch)] != batch or len(x) <= len(batch):
        raise ValueError(
            f"x must have shape ({', '.join(map(str, batch))}, ..., {D}) for a batch of mixtures "
            f"of shape {batch}; got {x}"
        )
    return (*batch, K), (*batch, K, D), (*batch, *factors)


def _described(trailing: Shape) -> str:
    return f"{trailing}, or a batch of them (..., {', '.join(map(str, trailing))}),"
