"""What mixtures of Gaussians share, however they are fitted."""

from __future__ import annotations

import copy
from typing import Any, ClassVar, Self

import numpy as np
from sklearn.utils._param_validation import StrOptions

from vbfast.config.settings import config_context, current_backend
from vbfast.contract import COVARIANCE_TYPES, CovarianceType, FloatArray, LogJoint
from vbfast.estimators.base import BaseMixture
from vbfast.estimators.ready import ready_log_joint
from vbfast.estimators.validation import RealInterval
from vbfast.families.gaussian import Gaussian
from vbfast.families.variational import VariationalGaussian

__all__ = ["BaseGaussianMixture"]


class BaseGaussianMixture(BaseMixture):
    """Base class of mixtures whose components have a mean and a covariance."""

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **BaseMixture._parameter_constraints,
        "covariance_type": [StrOptions(set(COVARIANCE_TYPES))],
        "reg_covar": [RealInterval(0.0, None, closed="left")],
    }

    covariance_type: CovarianceType
    reg_covar: float

    means_: FloatArray
    covariances_: FloatArray
    precisions_: FloatArray
    precisions_cholesky_: FloatArray

    def _fitted_log_joint(self) -> LogJoint:
        attributes = map(vars(self).get, self._stored.attributes)
        return ready_log_joint(
            self,
            (self.covariance_type, self.reg_covar, current_backend(), *attributes),
            super()._fitted_log_joint,
        )

    def _grown(self, n_components: int) -> Self:
        """Return a copy whose next fit starts with the widest components cut in two."""
        family = self._fitted_family()
        assert isinstance(family, Gaussian | VariationalGaussian)
        with config_context(backend=self.backend):
            start = family.split(self._fitted_parameters(), n_components, self.means_.dtype)
        grown = self._holding(start)
        grown.set_params(n_components=n_components, warm_start=True)
        grown.lower_bound_ = -np.inf
        return grown

    def _holding(self, parameters: Any) -> Self:
        """Return a copy that holds other parameters."""
        # Not a deep copy: `init_params` may be an array with a number for every row.
        other = copy.copy(self)
        attributes = self._fitted_family().attributes(parameters, self.means_.dtype)
        for name, value in attributes.items():
            setattr(other, name, value)
        return other
