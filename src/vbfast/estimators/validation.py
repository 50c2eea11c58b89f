"""What estimators are given: rows, and errors in scikit-learn's words."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from numbers import Integral, Real
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt
from numpy.random.bit_generator import ISeedSequence
from scipy.sparse import issparse
from sklearn.base import BaseEstimator
from sklearn.utils import assert_all_finite, check_random_state
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import validate_data

from vbfast.backends import backend_names
from vbfast.contract import (
    Float64Array,
    FloatArray,
    NonFiniteRowError,
    NotPositiveDefiniteError,
    RowSource,
)
from vbfast.inputs.numbers import as_array, as_numbers
from vbfast.inputs.plain import check_plain
from vbfast.inputs.weights import n_weighted_rows
from vbfast.passes.array_rows import COMPUTED_IN, ArrayRows
from vbfast.passes.rows import as_row_source, is_on_device, is_read

__all__ = [
    "KnownBackend",
    "RealInterval",
    "TranslatedErrors",
    "as_random_state",
    "callers_level",
    "check_enough_rows",
    "keep_partial",
    "unchanged_on_failure",
    "validate_rows",
]


class KnownBackend(StrOptions):  # type: ignore[misc]
    """A parameter's constraint: the name of a backend, of one that was registered later too."""

    def __init__(self) -> None:
        super().__init__(set(backend_names()))

    def is_satisfied_by(self, val: Any) -> bool:
        """Whether it is the name of a backend now."""
        return isinstance(val, str) and val in backend_names()

    def __str__(self) -> str:
        return str(StrOptions(set(backend_names())))


class RealInterval(Interval):  # type: ignore[misc]
    """A parameter's constraint: a number of Python's or NumPy's in an interval.

    scikit-learn's own fails without the parameter's name for other real numbers, as fractions.
    """

    def __init__(self, left: float, right: float | None, *, closed: str) -> None:
        super().__init__(Real, left, right, closed=closed)

    def is_satisfied_by(self, val: Any) -> bool:
        """Whether it is such a number."""
        numbers = (int, float, np.integer, np.floating)
        return isinstance(val, numbers) and bool(super().is_satisfied_by(val))


def validate_rows(
    estimator: BaseEstimator, X: Any, *, reset: bool, min_samples: int = 1
) -> RowSource:
    """Make ``X`` readable by passes, with scikit-learn's checks and without its copies.

    Arrays of float32 or float64 in memory stay where they are; arrays that live elsewhere (HDF5,
    Zarr, memory maps of other dtypes) are read slice by slice, and row sources are asked for
    blocks; what is on a CUDA device stays there; the rest (lists, data frames, integers) becomes an
    array as in scikit-learn. Whether
    values are finite is seen by the passes.

    Parameters
    ----------
    estimator : estimator whose ``n_features_in_`` and ``feature_names_in_`` are set or compared
    X : array-like of shape (n_samples, n_features), or RowSource
    reset : bool
        True in ``fit``.
    min_samples : int

    Returns
    -------
    RowSource

    Raises
    ------
    ValueError, TypeError
        As :func:`sklearn.utils.validation.validate_data`; for a masked array, whose mask would be
        lost, and for records and dates.
    """
    ordinary = type(X) is np.ndarray and X.dtype in COMPUTED_IN
    if ordinary and not reset and _are_like_the_fits(estimator, X, min_samples):
        return ArrayRows(X) if X.flags.aligned else as_row_source(X)
    if not ordinary:
        check_plain(X, "X")
    if ordinary or not _is_read_in_slices(X):
        X = validate_data(
            estimator,
            X if ordinary else _in_numpy_words(X),
            reset=reset,
            dtype=[np.float64, np.float32],
            ensure_all_finite=False,
            ensure_min_samples=min_samples,
        )
        return ArrayRows(X) if ordinary and X.flags.aligned else as_row_source(X)
    source = as_row_source(X)
    shape = (source.n_samples, source.n_features)
    if source.n_samples < min_samples:
        raise ValueError(
            f"Found array with {source.n_samples} sample(s) (shape={shape}) while a "
            f"minimum of {min_samples} is required by {type(estimator).__name__}."
        )
    wanted, own = getattr(estimator, "backend", None), getattr(source, "backend", None)
    if wanted is not None and own is not None and wanted != own:
        raise ValueError(f"X is where the backend {own!r} alone reads it; got backend={wanted!r}")
    # An array of one number stands for the rows, of which scikit-learn asks the shape and names.
    shaped = np.broadcast_to(np.float64(0.0), shape)
    validate_data(estimator, shaped, reset=reset, skip_check_array=True)
    return source


def _are_like_the_fits(estimator: BaseEstimator, X: FloatArray, min_samples: int) -> bool:
    """Whether scikit-learn's checks, which take as long as a pass of some rows, find nothing."""
    held = vars(estimator)
    return (
        X.ndim == 2
        and len(X) >= max(min_samples, 1)
        and X.shape[1] == held.get("n_features_in_", 0) > 0
        and "feature_names_in_" not in held
    )


# What data frames and arrays of other libraries have one of.
_ARRAYS = ("__array__", "__array_interface__", "__dlpack__")


def _in_numpy_words(X: Any) -> Any:
    """Return numbers in native byte order, before scikit-learn's checks look at them.

    They would widen float32 of the other byte order, which is computed in float32 where it is read
    from a file, make numbers of dates and of text, and name no argument where they cannot. What
    they have words for, as complex numbers and data frames, is left to them.
    """
    if not isinstance(X, np.ndarray):
        if issparse(X) or any(hasattr(X, name) for name in _ARRAYS):
            return X
        X = as_array(X, "X")
    if X.dtype.kind == "c":
        return X
    numbers = as_numbers(X, "X")
    return numbers if numbers.dtype.isnative else numbers.astype(numbers.dtype.newbyteorder("="))


def _is_read_in_slices(X: Any) -> bool:
    """Whether X is a row source, or an array that scikit-learn's checks would load as a whole."""
    if isinstance(X, np.memmap):
        return X.dtype.kind in "biuf"
    if isinstance(X, np.ndarray):
        return False
    if is_read(X) or is_on_device(X):
        return True
    if not isinstance(getattr(X, "dtype", None), np.dtype):
        return False
    in_memory = ("__array_interface__", "__dlpack__", "iloc", "columns", "tocsr")
    return (
        hasattr(X, "shape")
        and hasattr(X, "__getitem__")
        and not any(hasattr(X, name) for name in in_memory)
    )


class _NoEntropy(ISeedSequence):
    """The seed of a generator that is going to have another."""

    def generate_state(self, n_words: int, dtype: Any = np.uint32) -> npt.NDArray[Any]:
        return np.zeros(n_words, dtype)


_NO_ENTROPY = _NoEntropy()


def as_random_state(random_state: Any) -> np.random.RandomState:
    """Return the generator that a seed makes, or the one that is given.

    Raises
    ------
    ValueError
        If it is neither.
    """
    try:
        if isinstance(random_state, Integral):
            # RandomState(seed) draws from the system first, which takes longer than an iteration.
            generator = np.random.RandomState(np.random.MT19937(_NO_ENTROPY))  # type: ignore[arg-type]
            generator.seed(random_state)  # type: ignore[arg-type]
            return generator
        return check_random_state(random_state)  # type: ignore[no-any-return]
    except (TypeError, ValueError) as error:
        raise ValueError(
            "random_state must be an integer in [0, 2**32), a RandomState or None: "
            f"{error}; got {random_state!r}"
        ) from error


def callers_level() -> int:
    """Return the ``stacklevel`` of a warning that whoever calls this gives: vbfast's caller's."""
    level, frame = 1, sys._getframe(1)
    between = ("vbfast.", "sklearn.base")  # the latter checks parameters on the way
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith(between):
        level, frame = level + 1, frame.f_back
    return level


def check_enough_rows(
    n_components: int, n_samples: int, sample_weight: Float64Array | None
) -> None:
    """Check that there is a row of positive weight for every component.

    Raises
    ------
    ValueError
        If there is not.
    """
    if n_samples < n_components:
        raise ValueError(
            "Expected n_samples >= n_components "
            f"but got n_components = {n_components}, n_samples = {n_samples}"
        )
    n_weighted = n_weighted_rows(sample_weight, n_samples)
    if n_weighted < n_components:
        raise ValueError(
            f"Expected at least n_components = {n_components} rows of positive sample_weight "
            f"but got {n_weighted}"
        )


class TranslatedErrors(contextlib.AbstractContextManager[None]):
    """Raises what passes over rows, and global steps, raise in scikit-learn's words.

    A class, as a generator would take as long as a pass over a row.
    """

    def __init__(
        self, estimator: BaseEstimator, dtype: np.dtype[Any], source: RowSource | None = None
    ) -> None:
        self._estimator = estimator
        self._dtype = dtype
        self._source = source

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Raise the translated error."""
        if isinstance(error, NonFiniteRowError):
            assert self._source is not None
            try:
                with np.errstate(invalid="ignore"):  # it adds infinities of both signs
                    assert_all_finite(
                        self._source.block(error.row, error.row + 1),
                        estimator_name=type(self._estimator).__name__,
                        input_name="X",
                    )
            except ValueError as said:
                place_of = getattr(self._source, "place_of", None)
                if place_of is None:
                    raise
                raise ValueError(f"{said}\nThe first such row is {place_of(error.row)}.") from None
            # scikit-learn checks nothing while its option assume_finite is set.
        elif isinstance(error, NotPositiveDefiniteError):
            raise ValueError(_ill_defined(self._dtype)) from error


def _ill_defined(dtype: npt.DTypeLike) -> str:
    message = (
        "Fitting the mixture model failed because some components have "
        "ill-defined empirical covariance (for instance caused by singleton "
        "or collapsed samples). Try to decrease the number of components, "
        "increase reg_covar, or scale the input data."
    )
    if np.dtype(dtype) == np.float32:
        message += (
            " The numerical accuracy can also be improved by passing float64"
            " data instead of float32."
        )
    return message


@contextlib.contextmanager
def unchanged_on_failure(estimator: BaseEstimator) -> Iterator[None]:
    """Give an estimator back every attribute it had if the block fails or is interrupted.

    Every ``KeyboardInterrupt`` leaves with an attribute ``partial``, see :func:`keep_partial`.
    """
    before = dict(vars(estimator))
    try:
        yield
    except BaseException as error:
        estimator.__dict__ = before  # at once, so that a second interruption finds either
        if isinstance(error, KeyboardInterrupt) and not hasattr(error, "partial"):
            keep_partial(error, None)
        raise


def keep_partial(interrupt: KeyboardInterrupt, fitted: BaseEstimator | None) -> None:
    """Hand an interrupted fit's result to whom catches the interruption, as ``partial``."""
    interrupt.partial = fitted  # type: ignore[attr-defined]
