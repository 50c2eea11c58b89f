"""Sufficient statistics that a fit starts from.

A start is a set of responsibilities; what the global step needs of them are the statistics, so an
array of shape (n_samples, n_components) is never made.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.utils import check_random_state

from vbfast.contract import (
    Float64Array,
    Form,
    LogJoint,
    Moments,
    PassResult,
    Request,
    RowOutputs,
    Statistics,
    second_shape,
)
from vbfast.inference.errors import DistantRowError
from vbfast.inference.kmeans import kmeans, seed_rows
from vbfast.inference.monitor import SILENT, Monitor
from vbfast.inference.runner import RowRunner
from vbfast.inference.subsample import InitSize, check_enough_rows
from vbfast.inference.truncated_start import (
    begins_by_search,
    cluster_by_search,
    spread_or_drawn_rows,
)
from vbfast.inputs.weights import n_weighted_rows
from vbfast.passes.distances import squared_distances
from vbfast.passes.random_responsibilities import RandomResponsibilities
from vbfast.passes.recentring import way_to_the_means
from vbfast.passes.responsibilities import RespSource, as_resp_source

__all__ = ["INIT_PARAMS", "RESPONSIBILITIES", "initial_statistics"]

InitParams = str | npt.ArrayLike | Callable[[Any, int, np.random.RandomState], Any]
Judge = Callable[[Statistics], float]
_Named = Callable[
    [RowRunner, int, Moments, np.random.RandomState, InitSize, Judge | None, Monitor], Statistics
]

# Starts that say for every row which components it belongs to.
RESPONSIBILITIES = ("kmeans", "random")


def initial_statistics(
    runner: RowRunner,
    *,
    n_components: int,
    moments: Moments,
    init_params: InitParams,
    random_state: int | np.random.RandomState | None = None,
    form: Form | None = None,
    init_size: InitSize = None,
    judge: Judge | None = None,
    monitor: Monitor = SILENT,
) -> Statistics:
    """Return the statistics of a fit's first responsibilities.

    Parameters
    ----------
    runner : RowRunner
        Rows of zero weight are never drawn.
    n_components : int
    moments : {'first', 'diag', 'spherical', 'pooled', 'full'}
        What the global step needs.
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
    form : Form, optional
        Whose statistics they are, where these are not moments of the rows about the components'
        means. One row says little of such components: only starts of :data:`RESPONSIBILITIES` are
        theirs.
    init_size : int, 'all' or None, optional
        How many rows 'kmeans' and 'k-means++' look for centres in, see
        :func:`vbfast.inference.subsample.subsample`.
    judge : callable, optional
        Returns how good a start of given statistics is, see
        :func:`vbfast.inference.truncated_start.cluster_by_search`.
    monitor : Monitor, optional
        Told of the centres and iterations of k-means.

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
    >>> from vbfast.inference.initialisation import initial_statistics
    >>> from vbfast.passes.rows import as_row_source
    >>> from vbfast.passes.runner import LocalRunner
    >>> start = initial_statistics(
    ...     LocalRunner(as_row_source([[0.0], [1.0], [10.0]])),
    ...     n_components=2,
    ...     moments="diag",
    ...     init_params=[0, 0, 1],
    ... )
    >>> start.weight, start.centres + start.first / start.weight[:, np.newaxis]
    (array([2., 1.]), array([[ 0.5],
           [10. ]]))
    """
    generator = check_random_state(random_state)
    if form is not None:
        resp = _responsibilities(runner, n_components, init_params, generator, init_size, monitor)
        return _of_form(runner, form, moments, resp, generator)
    if isinstance(init_params, str):
        _check_name(init_params, INIT_PARAMS)
        start = _NAMED[init_params]
        statistics = start(runner, n_components, moments, generator, init_size, judge, monitor)
    else:
        resp = _given(init_params, runner, n_components, generator)
        statistics = _given_statistics(runner, resp, n_components, moments)
    if _overflows(statistics, runner.dtype):
        raise DistantRowError.of_start(runner.largest_row(), runner.dtype)
    return statistics


def _of_form(
    runner: RowRunner,
    form: Form,
    moments: Moments,
    resp: Any,
    generator: np.random.RandomState,
) -> Statistics:
    """Return the statistics of a form without parameters, for given responsibilities."""
    log_joint = LogJoint(np.zeros(form.n_components), form)
    result = runner.run(log_joint, Request("given", moments), resp=resp)
    if isinstance(resp, RandomResponsibilities):
        resp.leave_behind(generator, runner.n_samples)
    return _statistics_of(result)


def _clustered(
    runner: RowRunner,
    n_components: int,
    moments: Moments,
    generator: np.random.RandomState,
    init_size: InitSize,
    judge: Judge | None,
    monitor: Monitor,
) -> Statistics:
    """Each row in the cluster that k-means finds for it."""
    if begins_by_search(runner, n_components):
        return cluster_by_search(
            runner, n_components, moments, generator, init_size, monitor, judge
        )
    bounds = runner.nearest_bounds()
    centres = kmeans(
        runner, n_components, generator, init_size=init_size, bounds=bounds, monitor=monitor
    )
    request = Request("hard", moments)
    return _statistics_of(runner.run(squared_distances(centres), request, bounds=bounds))


def _random(
    runner: RowRunner,
    n_components: int,
    moments: Moments,
    generator: np.random.RandomState,
    init_size: InitSize,  # noqa: ARG001
    judge: Judge | None,  # noqa: ARG001
    monitor: Monitor,  # noqa: ARG001
) -> Statistics:
    """Responsibilities that are uniform variates, normalised."""
    mean, _ = runner.column_moments()
    resp = RandomResponsibilities(generator, n_components, runner.dtype)
    result = runner.run(
        squared_distances(np.tile(mean, (n_components, 1))),
        Request("given", moments),
        resp=resp,
    )
    resp.leave_behind(generator, runner.n_samples)
    return _statistics_of(result)


def _spread_rows(
    runner: RowRunner,
    n_components: int,
    moments: Moments,
    generator: np.random.RandomState,
    init_size: InitSize,
    judge: Judge | None,  # noqa: ARG001
    monitor: Monitor,
) -> Statistics:
    """One row a component, far from each other."""
    if begins_by_search(runner, n_components):
        rows = spread_or_drawn_rows(runner, n_components, generator, init_size, monitor)
    else:
        rows = seed_rows(runner, n_components, generator, init_size=init_size, monitor=monitor)
    return _one_row_statistics(runner, rows, moments)


def _drawn_rows(
    runner: RowRunner,
    n_components: int,
    moments: Moments,
    generator: np.random.RandomState,
    init_size: InitSize,  # noqa: ARG001
    judge: Judge | None,  # noqa: ARG001
    monitor: Monitor,  # noqa: ARG001
) -> Statistics:
    """One row a component, drawn with equal probability."""
    rows = _random_rows(runner, n_components, generator)
    return _one_row_statistics(runner, rows, moments)


_NAMED: dict[str, _Named] = {
    "kmeans": _clustered,
    "k-means++": _spread_rows,
    "random": _random,
    "random_from_data": _drawn_rows,
}
INIT_PARAMS = tuple(_NAMED)


def _responsibilities(
    runner: RowRunner,
    n_components: int,
    init_params: InitParams,
    generator: np.random.RandomState,
    init_size: InitSize,
    monitor: Monitor,
) -> Any:
    """Return the responsibilities that a fit of components without means starts from.

    Labels for 'kmeans', a :class:`RandomResponsibilities` for 'random'.
    """
    if not isinstance(init_params, str):
        return _given(init_params, runner, n_components, generator)
    _check_name(init_params, RESPONSIBILITIES)
    if init_params == "random":
        return RandomResponsibilities(generator, n_components, runner.dtype)
    bounds = runner.nearest_bounds()
    centres = kmeans(
        runner, n_components, generator, init_size=init_size, bounds=bounds, monitor=monitor
    )
    labels, request = np.empty(runner.n_samples, dtype=np.int64), Request("hard")
    unweighted = runner.weighted(None)
    outputs = RowOutputs(labels=labels)
    unweighted.run(squared_distances(centres), request, outputs=outputs, bounds=bounds)
    return labels


def _check_name(name: str, known: tuple[str, ...]) -> None:
    if name not in known:
        raise ValueError(
            f"init_params must be one of {', '.join(map(repr, known))}, an array of "
            f"responsibilities or a callable; got {name!r}"
        )


def _statistics_of(result: PassResult) -> Statistics:
    assert result.statistics is not None
    return result.statistics


@np.errstate(over="ignore", invalid="ignore")
def _overflows(statistics: Statistics, dtype: np.dtype[Any]) -> bool:
    """Whether squared distances, of rows or of components from each other, overflow."""
    extent = float(np.ptp(statistics.centres, axis=0).max())
    finite = extent**2 < float(np.finfo(dtype).max) if extent < 1e154 else False
    second = statistics.second
    return not (finite and (second is None or bool(np.isfinite(second).all())))


def _given(
    init_params: Any,
    runner: RowRunner,
    n_components: int,
    random_state: np.random.RandomState,
) -> RespSource:
    """Return a user's responsibilities, or those that a user's function makes, checked."""
    resp = init_params
    if callable(init_params):
        try:
            resp = init_params(runner.source.data, n_components, random_state)
        except Exception as error:
            error.add_note("Raised by the function given as init_params.")
            raise
        if resp is None:
            raise ValueError("init_params must return responsibilities; the function returned None")
    return as_resp_source(
        resp,
        runner.n_samples,
        n_components,
        runner.dtype,
        sample_weight=runner.sample_weight,
        name="init_params",
    )


def _given_statistics(
    runner: RowRunner, resp: RespSource, n_components: int, moments: Moments
) -> Statistics:
    """Return the statistics about the components' own means, which one pass finds first."""
    mean, _ = runner.column_moments()
    overall = squared_distances(np.tile(mean, (n_components, 1)))
    about_mean = _statistics_of(runner.run(overall, Request("given", "first"), resp=resp))
    centred = squared_distances(about_mean.centres + way_to_the_means(about_mean))
    request = Request("given", moments)
    return _statistics_of(runner.run(centred, request, resp=resp))


def _random_rows(
    runner: RowRunner, n_components: int, random_state: np.random.RandomState
) -> npt.NDArray[np.intp]:
    check_enough_rows(runner, n_components)
    n_candidates = n_weighted_rows(runner.sample_weight, runner.n_samples)
    drawn = random_state.choice(n_candidates, size=n_components, replace=False)
    if runner.sample_weight is None or n_candidates == runner.n_samples:
        return np.asarray(drawn, dtype=np.intp)
    return np.flatnonzero(runner.sample_weight)[drawn]


@np.errstate(over="ignore", invalid="ignore")
def _one_row_statistics(
    runner: RowRunner, rows: npt.NDArray[np.intp], moments: Moments
) -> Statistics:
    """Return the statistics where component ``k`` holds row ``rows[k]`` and nothing else."""
    centres = runner.gather(rows)
    if not np.isfinite(centres).all():
        runner.column_moments()  # raises for the first row that is not finite
    K, D = centres.shape
    # One copy of the row, whatever its weight, which acts as a number of copies: one is drawn.
    weight = np.ones(K)
    if moments == "pooled":
        mean, _ = runner.column_moments()
        about_mean = runner.moments_about(mean, "full").second
        assert about_mean is not None
        drawn = np.einsum("ki,kj->ij", centres - mean, centres - mean)
        second: Float64Array | None = about_mean[0] - drawn
    else:
        shape = second_shape(moments, K, D)
        second = None if shape is None else np.zeros(shape)
    return Statistics(moments, centres, weight, np.zeros((K, D)), second)
