"""What mixtures of Gaussians share, however they are fitted."""

from __future__ import annotations

import copy
from abc import abstractmethod
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.validation import check_is_fitted

from vbfast.config.settings import config_context, current_backend
from vbfast.contract import COVARIANCE_TYPES, CovarianceType, FloatArray, LogJoint
from vbfast.estimators.base import BaseMixture
from vbfast.estimators.features import feature_indices
from vbfast.estimators.ready import ready_log_joint
from vbfast.estimators.scikit_learn import from_scikit_learn, to_scikit_learn
from vbfast.estimators.validation import RealInterval
from vbfast.families.gaussian import Gaussian
from vbfast.families.gaussian_parameters import GaussianParameters
from vbfast.families.marginals import conditional, marginal
from vbfast.families.variational import VariationalGaussian
from vbfast.inputs.numbers import as_numbers

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
        attributes = [getattr(self, name, None) for name in self._stored.attributes]
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
        other._hold(self._fitted_family(), parameters, self.means_.dtype)
        other._forget_stream()  # it has led elsewhere
        return other

    @abstractmethod
    def _gaussian_parameters(self) -> GaussianParameters:
        """Return weights, means and covariances that the fitted attributes hold."""

    @abstractmethod
    def _gaussian_mixture(
        self, parameters: GaussianParameters, features: npt.NDArray[np.intp]
    ) -> BaseGaussianMixture:
        """Return a mixture of some of the features."""

    def marginal(self, features: Any) -> BaseGaussianMixture:
        """Return the mixture of some features: the others are integrated out.

        Parameters
        ----------
        features : int, str, or array-like of shape (n_kept,)
            Columns, or their names if the mixture was fitted to a data frame, in the order that
            they have in the result; or a truth value for each feature.

        Returns
        -------
        mixture : GaussianMixture
            Of the same covariance type, weights, means and covariances (those of a Bayesian mixture
            are its fitted attributes), as after a fit with ``max_iter=0``.

        Raises
        ------
        TypeError
            If a feature is neither a column nor a name.
        ValueError
            If there are none, one is unknown, or one stands there twice.

        Notes
        -----
        Bishop (2006), equation 2.98.

        Examples
        --------
        >>> import numpy as np
        >>> import vbfast
        >>> X = np.random.default_rng(0).normal(size=(100, 3)) * [1.0, 2.0, 3.0]
        >>> mixture = vbfast.GaussianMixture(2, random_state=0).fit(X)
        >>> mixture.marginal([2, 0]).means_.shape
        (2, 2)
        """
        check_is_fitted(self)
        chosen = self._features(features)
        return self._gaussian_mixture(marginal(self._gaussian_parameters(), chosen), chosen)

    def condition(self, features: Any, values: Any) -> BaseGaussianMixture:
        """Return the mixture of the other features, given the values of some.

        Parameters
        ----------
        features : int, str, or array-like of shape (n_given,)
            As for :meth:`marginal`; some have to be left.
        values : float or array-like of shape (n_given,)
            Theirs, in that order.

        Returns
        -------
        mixture : GaussianMixture
            Of the features that are left, in their order, and of the same covariance type, as after
            a fit with ``max_iter=0``. Its weights are the components' responsibilities for the
            values, so that its density is ``p(others | values)``.

        Raises
        ------
        TypeError
            If a feature is neither a column nor a name, or values are no numbers.
        ValueError
            If there are none, one is unknown or stands there twice, or none is left; if values have
            another shape or are not finite.

        Notes
        -----
        Bishop (2006), equations 2.81 and 2.82.

        Examples
        --------
        The regression function of the last feature on the others is a mean of conditional means:

        >>> import numpy as np
        >>> import vbfast
        >>> rng = np.random.default_rng(0)
        >>> x = rng.uniform(-3.0, 3.0, size=5000)
        >>> X = np.column_stack([x, np.sin(x) + 0.1 * rng.normal(size=5000)])
        >>> mixture = vbfast.GaussianMixture(8, random_state=0).fit(X)
        >>> given = mixture.condition(0, 1.5)
        >>> bool(abs(given.weights_ @ given.means_[:, 0] - np.sin(1.5)) < 0.05)
        True
        """
        check_is_fitted(self)
        chosen = self._features(features)
        others = np.setdiff1d(np.arange(self.means_.shape[1]), chosen)
        if len(others) == 0:
            raise ValueError("features must leave at least one; got all of them")
        point = np.atleast_1d(as_numbers(values, "values")).astype(np.float64)
        if point.shape != chosen.shape:
            raise ValueError(f"values must have shape {chosen.shape}; got {point.shape}")
        if not np.isfinite(point).all():
            raise ValueError("values must be finite")
        parameters = self._gaussian_parameters()
        given = self._gaussian_mixture(marginal(parameters, chosen), chosen)
        if hasattr(given, "feature_names_in_"):
            del given.feature_names_in_  # the values have none
        weights = given.predict_proba(point[np.newaxis])[0]
        return self._gaussian_mixture(conditional(parameters, chosen, point, weights), others)

    def _features(self, features: Any) -> npt.NDArray[np.intp]:
        names = getattr(self, "feature_names_in_", None)
        return feature_indices(features, self.means_.shape[1], names)

    def to_sklearn(self) -> Any:
        """Return scikit-learn's estimator with this mixture's parameters.

        For what takes scikit-learn's own classes: exports, or an environment without this package.
        A copy: it shares no arrays.

        Returns
        -------
        mixture : sklearn.mixture.GaussianMixture or sklearn.mixture.BayesianGaussianMixture
            Fitted. The constructor's parameters are those that scikit-learn knows; an
            ``init_params`` that is no name becomes its default. The bounds of a Bayesian mixture
            stay away, as scikit-learn's lack constants: ``lower_bound_`` is ``-inf``.

        Examples
        --------
        >>> import numpy as np
        >>> import vbfast
        >>> X = np.random.default_rng(0).normal(size=(100, 2))
        >>> mixture = vbfast.GaussianMixture(2, random_state=0).fit(X)
        >>> bool(np.isclose(mixture.to_sklearn().score(X), mixture.score(X)))
        True
        """
        check_is_fitted(self)
        return to_scikit_learn(self)

    @classmethod
    def from_sklearn(cls, mixture: Any) -> Self:
        """Return this package's estimator with the parameters of scikit-learn's.

        Parameters
        ----------
        mixture : sklearn.mixture.GaussianMixture or sklearn.mixture.BayesianGaussianMixture
            Fitted, and of the class that this one stands for. A copy is made of its arrays, which
            are checked as those of a model file.

        Returns
        -------
        mixture : object
            Fitted. The bounds of a Bayesian mixture are left out, as scikit-learn's lack constants:
            ``lower_bound_`` is ``-inf``.

        Raises
        ------
        TypeError
            If it is of another class.
        ValueError
            If an attribute is missing, has another shape than the class makes, or impossible
            numbers.
        sklearn.exceptions.NotFittedError
            If it is not fitted.

        Examples
        --------
        >>> import numpy as np
        >>> import sklearn.mixture
        >>> import vbfast
        >>> X = np.random.default_rng(0).normal(size=(100, 2))
        >>> theirs = sklearn.mixture.GaussianMixture(2, random_state=0).fit(X)
        >>> mixture = vbfast.GaussianMixture.from_sklearn(theirs)
        >>> bool(np.isclose(mixture.score(X), theirs.score(X)))
        True
        """
        made: Self = from_scikit_learn(mixture, cls)
        return made
