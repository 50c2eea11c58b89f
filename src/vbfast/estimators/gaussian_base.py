"""What mixtures of Gaussians share, however they are fitted."""

from __future__ import annotations

import copy
from abc import abstractmethod
from numbers import Real
from typing import Any, ClassVar, Self

import numpy as np
from sklearn.utils._param_validation import Interval, StrOptions

from vbfast.backends import backend_names
from vbfast.config.settings import config_context
from vbfast.contract import (
    COVARIANCE_TYPES,
    CovarianceType,
    Float64Array,
    FloatArray,
    Statistics,
)
from vbfast.estimators.base import BaseMixture
from vbfast.estimators.starts import check_resumed_shapes
from vbfast.inference.acceleration import Acceleration
from vbfast.inference.initialisation import INIT_PARAMS, initial_statistics
from vbfast.inference.monitor import Monitor
from vbfast.passes.runner import LocalRunner

__all__ = ["BaseGaussianMixture", "rounded_attributes"]

# Attributes from which nothing is computed.
_SHOWN = frozenset({"precisions_"})


class BaseGaussianMixture(BaseMixture):
    """Base class of mixtures whose components have a mean and a covariance."""

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **BaseMixture._parameter_constraints,
        "covariance_type": [StrOptions(set(COVARIANCE_TYPES))],
        "reg_covar": [Interval(Real, 0.0, None, closed="left")],
        "init_params": [StrOptions(set(INIT_PARAMS)), "array-like", callable],
        "accelerate": [StrOptions({"squarem"}), None],
        "backend": [StrOptions(set(backend_names())), None],
    }

    covariance_type: CovarianceType
    reg_covar: float
    accelerate: Acceleration | None

    means_: FloatArray
    covariances_: FloatArray
    precisions_: FloatArray
    precisions_cholesky_: FloatArray

    def _initial_statistics(
        self,
        runner: LocalRunner,
        random_state: np.random.RandomState,
        monitor: Monitor,
    ) -> Statistics:
        """Return the statistics of the first responsibilities, as ``init_params`` says."""
        return initial_statistics(
            runner,
            n_components=self.n_components,
            covariance_type=self.covariance_type,
            init_params=self.init_params,
            random_state=random_state,
            monitor=monitor,
        )

    @abstractmethod
    def _split(self, n_components: int) -> Any:
        """Return the fitted parameters with the widest components cut until there are enough."""

    def _grown(self, n_components: int) -> Self:
        """Return a copy whose next fit starts with the widest components cut in two."""
        with config_context(backend=self.backend):
            start = self._split(n_components)
        grown = self._holding(start)
        grown.set_params(n_components=n_components, warm_start=True)
        grown.lower_bound_ = -np.inf
        return grown

    def _holding(self, parameters: Any) -> Self:
        """Return a copy that holds other parameters."""
        # Not a deep copy: `init_params` may be an array with a number for every row.
        other = copy.copy(self)
        for name, value in self._fitted_attributes(parameters, self.means_.dtype).items():
            setattr(other, name, value)
        return other

    def _check_resumable(self, n_features: int) -> None:
        check_resumed_shapes(
            self.means_, self.covariances_, self.covariance_type, self.n_components, n_features
        )

    def _draw(self, k: int, n_samples: int, random_state: np.random.RandomState) -> Float64Array:
        mean = np.asarray(self.means_[k], dtype=np.float64)
        tied = self.covariance_type == "tied"
        covariance = np.asarray(
            self.covariances_ if tied else self.covariances_[k], dtype=np.float64
        )
        if covariance.ndim == 2:
            return random_state.multivariate_normal(mean, covariance, n_samples)
        noise = random_state.standard_normal(size=(n_samples, len(mean)))
        return mean + noise * np.sqrt(covariance)


def rounded_attributes(attributes: dict[str, Float64Array], dtype: np.dtype[Any]) -> dict[str, Any]:
    """Round fitted attributes to the dtype of the rows.

    Precisions, from which nothing is computed, may become infinite.

    Parameters
    ----------
    attributes : dict of str to ndarray
    dtype : dtype

    Returns
    -------
    dict
        Of arrays; an array without dimensions becomes a number.

    Raises
    ------
    ValueError
        If a number overflows.
    """
    with np.errstate(over="ignore"):
        rounded = {name: values.astype(dtype)[()] for name, values in attributes.items()}
    for name, values in rounded.items():
        if name not in _SHOWN and not np.isfinite(values).all():
            raise ValueError(
                f"{name} overflows {dtype}, the dtype of X: pass float64 data, or scale X and the "
                "priors"
            )
    return rounded
