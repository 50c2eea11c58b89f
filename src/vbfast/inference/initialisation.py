"""Sufficient statistics that a fit starts from.

A start is a set of responsibilities; what the global step needs of them are the statistics, so an
array of shape (n_samples, n_components) is never made.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.utils import check_random_state

from vbfast.engine.contract import (
    CovarianceType,
    Float64Array,
    FloatArray,
    PassResult,
    Request,
    RowOutputs,
    Statistics,
)
from vbfast.engine.engine import run_pass
from vbfast.engine.responsibilities import RespSource, as_resp_source
from vbfast.engine.rows import RowSource
from vbfast.engine.weights import n_weighted_rows
from vbfast.families.covariances import squares
from vbfast.inference.column_moments import column_moments, moments_about
from vbfast.inference.far_rows import overflowing_row
from vbfast.inference.kmeans import distance_params, kmeans, seed_rows
from vbfast.inference.monitor import SILENT, Monitor

__all__ = [
    "INIT_PARAMS",
    "RandomResponsibilities",
    "initial_responsibilities",
    "initial_statistics",
]

INIT_PARAMS = ("kmeans", "k-means++", "random", "random_from_data")

# Uniform variates thrown away at a time where the random stream is skipped.
SKIP_CHUNK = 1 << 16


def initial_statistics(
    source: RowSource,
    *,
    n_components: int,
    covariance_type: CovarianceType,
    init_params: str | npt.ArrayLike | Callable[[Any, int, np.random.RandomState], Any],
    random_state: int | np.random.RandomState | None = None,
    sample_weight: Float64Array | None = None,
    monitor: Monitor = SILENT,
    workspace: Any = None,
) -> Statistics:
    """Return the statistics of a fit's first responsibilities.

    Parameters
    ----------
    source : RowSource
    n_components : int
    covariance_type : {'full', 'tied', 'diag', 'spherical'}
        The kind of the statistics.
    init_params : str, array-like or callable
        - 'kmeans': each row in the cluster that k-means finds for it;
        - 'k-means++': one row a component, spread by :func:`vbfast.inference.kmeans.seed_rows`;
        - 'random_from_data': one row a component, drawn with equal probability;
        - 'random': uniform variates, normalised;
        - an array-like of shape (n_samples, n_components): the responsibilities; or of integers of
          shape (n_samples,): the component of each row, -1 for none;
        - a callable ``(X, n_components, random_state) -> responsibilities``, given what the rows
          are read from.
    random_state : int, RandomState instance or None
        'random' and 'random_from_data' take from it what scikit-learn takes.
    sample_weight : ndarray of shape (n_samples,), float64, optional
        Rows of zero weight are never drawn.
    monitor : Monitor, optional
        Told of the centres and iterations of k-means.
    workspace : object, optional
        From :func:`vbfast.engine.engine.new_workspace`.

    Returns
    -------
    Statistics

    Raises
    ------
    NonFiniteRowError
        If a row is not finite; the first such row.
    ValueError
        If ``init_params`` is unknown, responsibilities are not distributions, fewer than
        ``n_components`` rows have positive weight, or squared distances overflow; the message
        names the row that is farthest out.

    Notes
    -----
    Where one row a component is responsible, the other rows count nowhere, with scikit-learn's
    exception: its tied covariance comes from the products x x^T of *all* rows, minus those of the
    drawn ones, divided by the drawn rows' weight. The products here are about the mean of all rows,
    not about the origin, so that the start does not depend on where that is.

    Examples
    --------
    >>> import numpy as np
    >>> from vbfast.engine.rows import as_row_source
    >>> from vbfast.inference.initialisation import initial_statistics
    >>> start = initial_statistics(
    ...     as_row_source(np.array([[0.0], [1.0], [10.0]])),
    ...     n_components=2,
    ...     covariance_type="diag",
    ...     init_params=[0, 0, 1],
    ... )
    >>> start.weight, start.centres + start.first / start.weight[:, np.newaxis]
    (array([2., 1.]), array([[ 0.5],
           [10. ]]))
    """
    statistics = _statistics_of_start(
        source,
        n_components,
        covariance_type,
        init_params,
        check_random_state(random_state),
        sample_weight,
        monitor,
        workspace,
    )
    if _overflows(statistics, source.dtype):
        raise overflowing_row(source, sample_weight)
    return statistics


def _statistics_of_start(
    source: RowSource,
    n_components: int,
    covariance_type: CovarianceType,
    init_params: str | npt.ArrayLike | Callable[[Any, int, np.random.RandomState], Any],
    generator: np.random.RandomState,
    sample_weight: Float64Array | None,
    monitor: Monitor,
    workspace: Any,
) -> Statistics:
    weighting = {"sample_weight": sample_weight, "workspace": workspace}
    if callable(init_params):
        resp = _called(init_params, source, n_components, generator, sample_weight)
        return _given_statistics(source, resp, n_components, covariance_type, **weighting)
    if not isinstance(init_params, str):
        resp = _given(init_params, source, n_components, sample_weight)
        return _given_statistics(source, resp, n_components, covariance_type, **weighting)
    if init_params == "kmeans":
        centres = kmeans(source, n_components, generator, monitor=monitor, **weighting)
        result = run_pass(
            source, distance_params(centres), Request("hard", covariance_type), **weighting
        )
        return _statistics_of(result)
    if init_params == "random":
        mean, _ = column_moments(source, **weighting)
        random = RandomResponsibilities(generator, n_components, source.dtype)
        result = run_pass(
            source,
            distance_params(np.tile(mean, (n_components, 1))),
            Request("given", covariance_type),
            resp=random,
            **weighting,
        )
        random.leave_behind(generator, source.n_samples)
        return _statistics_of(result)
    if init_params == "k-means++":
        rows = seed_rows(
            source, n_components, generator, sample_weight=sample_weight, monitor=monitor
        )
        return _one_row_statistics(source, rows, covariance_type, **weighting)
    if init_params == "random_from_data":
        rows = _random_rows(source.n_samples, n_components, generator, sample_weight)
        return _one_row_statistics(source, rows, covariance_type, **weighting)
    raise ValueError(
        f"init_params must be one of {', '.join(map(repr, INIT_PARAMS))}, an array of "
        f"responsibilities or a callable; got {init_params!r}"
    )


def initial_responsibilities(
    source: RowSource,
    *,
    n_components: int,
    init_params: str | npt.ArrayLike | Callable[[Any, int, np.random.RandomState], Any],
    random_state: np.random.RandomState,
    sample_weight: Float64Array | None = None,
    monitor: Monitor = SILENT,
    workspace: Any = None,
) -> Any:
    """Return the responsibilities that a fit of components without means starts from.

    Parameters
    ----------
    source, n_components, random_state, sample_weight, monitor, workspace
        As in :func:`initial_statistics`.
    init_params : {'kmeans', 'random'}, array-like or callable
        As in :func:`initial_statistics`.

    Returns
    -------
    ndarray or RespSource
        What :func:`vbfast.engine.engine.run_pass` takes as ``resp``: labels for 'kmeans', a
        :class:`RandomResponsibilities` for 'random'.

    Raises
    ------
    NonFiniteRowError
        If a row is not finite; the first such row.
    ValueError
        If ``init_params`` is another string.
    """
    if callable(init_params):
        return _called(init_params, source, n_components, random_state, sample_weight)
    if not isinstance(init_params, str):
        return _given(init_params, source, n_components, sample_weight)
    if init_params == "kmeans":
        weighting = {"sample_weight": sample_weight, "workspace": workspace}
        centres = kmeans(source, n_components, random_state, monitor=monitor, **weighting)
        labels = np.empty(source.n_samples, dtype=np.int64)
        run_pass(
            source,
            distance_params(centres),
            Request("hard"),
            outputs=RowOutputs(labels=labels),
            workspace=workspace,
        )
        return labels
    if init_params == "random":
        return RandomResponsibilities(random_state, n_components, source.dtype)
    raise ValueError(
        "init_params must be 'kmeans', 'random', an array of responsibilities or a callable; "
        f"got {init_params!r}"
    )


class RandomResponsibilities(RespSource):
    """scikit-learn's random start, ``uniform(size=(n_samples, n_components))`` normalised by rows.

    Made block by block: a copy of the generator stands at the end of every block made so far, and a
    block that starts elsewhere gets the next copy before it, moved on.
    """

    def __init__(
        self, random_state: np.random.RandomState, n_components: int, dtype: np.dtype[Any]
    ) -> None:
        self._origin = copy.deepcopy(random_state)
        self._at_row: dict[int, np.random.RandomState] = {}
        self._n_components = n_components
        self._dtype = dtype

    def block(self, start: int, stop: int) -> FloatArray:
        """Return the responsibilities of the rows ``start`` to ``stop``, C order."""
        generator = self._generator_at(start)
        resp = generator.uniform(size=(stop - start, self._n_components)).astype(
            self._dtype, copy=False
        )
        resp /= resp.sum(axis=1)[:, np.newaxis]
        self._at_row[stop] = generator
        return resp

    def leave_behind(self, random_state: np.random.RandomState, row: int) -> None:
        """Set ``random_state`` to where the stream is after the rows before ``row``."""
        random_state.set_state(self._generator_at(row).get_state(legacy=False))

    def _generator_at(self, row: int) -> np.random.RandomState:
        if row in self._at_row:
            return self._at_row.pop(row)
        nearest = max((made for made in self._at_row if made < row), default=0)
        generator = copy.deepcopy(self._at_row.get(nearest, self._origin))
        remaining = (row - nearest) * self._n_components
        for skipped in range(0, remaining, SKIP_CHUNK):
            generator.random_sample(min(SKIP_CHUNK, remaining - skipped))
        return generator


def _statistics_of(result: PassResult) -> Statistics:
    assert result.statistics is not None
    return result.statistics


@np.errstate(over="ignore", invalid="ignore")
def _overflows(statistics: Statistics, dtype: np.dtype[Any]) -> bool:
    """Whether squared distances, of rows or of components from each other, overflow."""
    assert statistics.second is not None
    extent = float(np.ptp(statistics.centres, axis=0).max())
    finite = extent**2 < float(np.finfo(dtype).max) if extent < 1e154 else False
    return not (finite and bool(np.isfinite(statistics.second).all()))


def _called(
    init_params: Callable[[Any, int, np.random.RandomState], Any],
    source: RowSource,
    n_components: int,
    random_state: np.random.RandomState,
    sample_weight: Float64Array | None,
) -> RespSource:
    resp = init_params(source.data, n_components, random_state)
    if resp is None:
        raise ValueError("init_params must return responsibilities; the function returned None")
    return _given(resp, source, n_components, sample_weight)


def _given(
    resp: Any, source: RowSource, n_components: int, sample_weight: Float64Array | None
) -> RespSource:
    """Return a user's responsibilities, checked."""
    return as_resp_source(
        resp,
        source.n_samples,
        n_components,
        source.dtype,
        sample_weight=sample_weight,
        name="init_params",
    )


def _given_statistics(
    source: RowSource,
    resp: RespSource,
    n_components: int,
    covariance_type: CovarianceType,
    *,
    sample_weight: Float64Array | None,
    workspace: Any,
) -> Statistics:
    """Return the statistics about the components' own means, which one pass finds first."""
    weighting = {"sample_weight": sample_weight, "workspace": workspace}
    mean, _ = column_moments(source, **weighting)
    overall = distance_params(np.tile(mean, (n_components, 1)))
    about_mean = _statistics_of(
        run_pass(source, overall, Request("given", "means"), resp=resp, **weighting)
    )
    weight = about_mean.weight[:, np.newaxis]
    step = np.divide(about_mean.first, weight, out=np.zeros_like(overall.means), where=weight > 0)
    centred = distance_params(overall.means + step)
    return _statistics_of(
        run_pass(source, centred, Request("given", covariance_type), resp=resp, **weighting)
    )


def _random_rows(
    n_samples: int,
    n_components: int,
    random_state: np.random.RandomState,
    sample_weight: Float64Array | None,
) -> npt.NDArray[np.intp]:
    n_candidates = n_weighted_rows(sample_weight, n_samples)
    if n_candidates < n_components:
        raise ValueError(
            f"{n_components} components need as many rows of positive weight; got {n_candidates}"
        )
    drawn = random_state.choice(n_candidates, size=n_components, replace=False)
    if sample_weight is None or n_candidates == n_samples:
        return np.asarray(drawn, dtype=np.intp)
    return np.flatnonzero(sample_weight)[drawn]


@np.errstate(over="ignore", invalid="ignore")
def _one_row_statistics(
    source: RowSource,
    rows: npt.NDArray[np.intp],
    covariance_type: CovarianceType,
    *,
    sample_weight: Float64Array | None,
    workspace: Any,
) -> Statistics:
    """Return the statistics where component ``k`` holds row ``rows[k]`` and nothing else."""
    centres = source.take(rows).astype(np.float64)
    if not np.isfinite(centres).all():
        column_moments(source, workspace=workspace)  # raises for the first row that is not finite
    K, D = centres.shape
    # One copy of the row, whatever its weight: a weight acts as so many copies, and one is drawn.
    weight = np.ones(K)
    if covariance_type == "tied":
        mean, _ = column_moments(source, sample_weight=sample_weight, workspace=workspace)
        about_mean = moments_about(
            source, mean, "full", sample_weight=sample_weight, workspace=workspace
        ).second
        assert about_mean is not None
        second = about_mean[0] - squares("tied", centres - mean)
    else:
        second = np.zeros({"full": (K, D, D), "diag": (K, D), "spherical": (K,)}[covariance_type])
    return Statistics(covariance_type, centres, weight, np.zeros((K, D)), second)
