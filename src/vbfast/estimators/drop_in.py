"""What stands in scikit-learn's place while it is patched: see :mod:`vbfast.patch`.

Each class is derived from ours and, behind it, from scikit-learn's. So an object is an instance of
the class that other modules may have imported before, and scikit-learn's methods are at hand where
ours do not do what they would.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import logging
from abc import ABCMeta
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any, ClassVar

import numpy as np
import sklearn
from sklearn.utils._array_api import _is_numpy_namespace, get_namespace

from vbfast.estimators import bayesian, gaussian
from vbfast.estimators.scikit_learn import SCIKIT_LEARN, add_ours

__all__ = ["BayesianGaussianMixture", "GaussianMixture", "original", "reduced"]

_logger = logging.getLogger("vbfast")

# Methods that both libraries have.
_METHODS = (
    "fit",
    "fit_predict",
    "predict",
    "predict_proba",
    "score",
    "score_samples",
    "sample",
    "aic",
    "bic",
)
# Of those, what scikit-learn's other methods call.
_CALLED = {"fit_predict", "score", "score_samples"}
# Ours counts parameters by the same name, and asks a derived class too.
_NOT_A_STEP = "_n_parameters"

# The object that runs scikit-learn's code in this context: what that calls is scikit-learn's too.
_falls_back: ContextVar[Any] = ContextVar("vbfast_falls_back", default=None)


class _Replacing(ABCMeta):
    """The class of a class that takes the objects of another, made before or loaded, for its own.

    Not a hook for subclasses: our own class would ask its derived class, and take them too.
    """

    _drop_in: Any
    _scikit_learn: Any

    def __instancecheck__(cls, instance: Any) -> bool:
        replaces = cls is getattr(cls, "_drop_in", None)
        return super().__instancecheck__(instance) or (
            replaces and isinstance(instance, cls._scikit_learn)
        )


class DropIn(metaclass=_Replacing):
    """Base class of the drop-in classes: when a call is scikit-learn's, and why."""

    # A pipeline that hands weights on to other steps does not do so to scikit-learn's mixtures.
    __metadata_request__fit: ClassVar[dict[str, Any]] = {"sample_weight": False}
    __metadata_request__score: ClassVar[dict[str, Any]] = {"sample_weight": False}

    # scikit-learn's pickles lack what its constructor does not have.
    init_size: Any = None
    accelerate: Any = None
    learning_decay: Any = 0.7
    learning_offset: Any = 10.0
    step_size: Any = None
    total_samples: Any = None
    batch_size: Any = None
    batch_method: Any = "stochastic"
    final_pass: Any = True
    checkpoint: Any = None
    checkpoint_interval: Any = 60.0
    truncation: Any = None
    n_neighbors: Any = 15
    n_random: Any = 1
    truncation_state: Any = None
    annealing: Any = None
    compute_bound_gap: Any = False
    reseeding: Any = None

    _drop_in: ClassVar[Any]
    _scikit_learn: ClassVar[Any]
    _overridden: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls, scikit_learn: Any = None, **options: Any) -> None:
        super().__init_subclass__(**options)
        if scikit_learn is None:
            # What ours would never call.
            steps = _steps(cls._scikit_learn)
            cls._overridden = tuple(
                name for name in steps if getattr(cls, name) is not getattr(cls._drop_in, name)
            )
            return
        cls._drop_in, cls._scikit_learn = cls, scikit_learn
        for name in _METHODS:
            if hasattr(scikit_learn, name):
                method = _with_fallback(getattr(cls, name), getattr(scikit_learn, name))
                setattr(cls, name, method)
        for name in _steps(scikit_learn):
            if name not in _METHODS:
                setattr(cls, name, getattr(scikit_learn, name))


def _steps(scikit_learn: Any) -> list[str]:
    """Return the names of the methods that scikit-learn's fit and others consist of."""
    names: set[str] = set()
    for base in scikit_learn.__mro__:
        if base.__module__.startswith("sklearn.mixture."):
            names |= {name for name, value in vars(base).items() if inspect.isfunction(value)}
    return sorted(
        name
        for name in names - {_NOT_A_STEP}
        if name in _CALLED or (name.startswith("_") and not name.startswith("__"))
    )


def _with_fallback(ours: Callable[..., Any], theirs: Callable[..., Any]) -> Callable[..., Any]:
    """Return our method, which hands over to scikit-learn's where it has to."""
    name = ours.__name__
    fits = name in ("fit", "fit_predict")

    @functools.wraps(ours)
    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        if _falls_back.get() is self:
            return theirs(self, *args, **kwargs)
        reason = _reason(self, fits, args, kwargs)
        if reason is None:
            try:
                return ours(self, *args, **kwargs)
            except TypeError as error:
                # That is how rows and parameters are refused for what they are, before any work.
                # Values that scikit-learn's own checks refuse are both, a ValueError as well.
                known = isinstance(self.init_params, str) and _takes(theirs, self, args, kwargs)
                if isinstance(error, ValueError) or not known:
                    raise
                reason = str(error)
        _logger.info("%s.%s falls back to scikit-learn: %s", type(self).__name__, name, reason)
        with _falling_back(self):
            result = theirs(self, *args, **kwargs)
        if fits:
            self._forget_stream()
        if fits and not self._overridden and isinstance(self.means_, np.ndarray):
            add_ours(self)
        return result

    return method


@contextlib.contextmanager
def _falling_back(mixture: Any) -> Iterator[None]:
    token = _falls_back.set(mixture)
    try:
        yield
    finally:
        _falls_back.reset(token)


def _reason(mixture: Any, fits: bool, args: tuple[Any, ...], kwargs: dict[str, Any]) -> str | None:
    """Return why a call is scikit-learn's from the beginning, if it is."""
    if mixture._overridden:
        return f"{type(mixture).__name__} overrides {', '.join(mixture._overridden)}"
    if (not fits or mixture.warm_start) and not isinstance(
        getattr(mixture, "means_", None), np.ndarray | None
    ):
        return "the mixture was fitted to arrays that are not NumPy's"
    if sklearn.get_config()["array_api_dispatch"]:
        X = args[0] if args else kwargs.get("X")
        with contextlib.suppress(TypeError):  # of what is no array, as the number of draws
            namespace, is_array_api = get_namespace(X)
            if is_array_api and not _is_numpy_namespace(namespace):
                return f"array_api_dispatch is set and X is a {type(X).__module__} array"
    return None


def _takes(
    theirs: Callable[..., Any], mixture: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> bool:
    """Whether scikit-learn's method has these arguments; sample_weight it has not."""
    try:
        inspect.signature(theirs).bind(mixture, *args, **kwargs)
    except TypeError:
        return False
    return True


_Gaussian: Any = SCIKIT_LEARN["GaussianMixture"]
_Bayesian: Any = SCIKIT_LEARN["BayesianGaussianMixture"]


class GaussianMixture(  # noqa: D101
    DropIn,
    gaussian.GaussianMixture,
    _Gaussian,  # type: ignore[misc]
    scikit_learn=_Gaussian,
):
    __doc__ = gaussian.GaussianMixture.__doc__
    _stored = gaussian.GaussianMixture._stored  # it holds what its base does: a file can


class BayesianGaussianMixture(  # noqa: D101
    DropIn,
    bayesian.BayesianGaussianMixture,
    _Bayesian,  # type: ignore[misc]
    scikit_learn=_Bayesian,
):
    __doc__ = bayesian.BayesianGaussianMixture.__doc__
    _stored = bayesian.BayesianGaussianMixture._stored


def reduced(mixture: Any) -> tuple[Any, ...]:
    """Return how scikit-learn's own object is pickled while its name stands for another class."""
    return original, (type(mixture).__name__,), mixture.__getstate__()


def original(name: str) -> Any:
    """Return a new object of scikit-learn's own class, whose state is set afterwards."""
    return object.__new__(SCIKIT_LEARN[name])
