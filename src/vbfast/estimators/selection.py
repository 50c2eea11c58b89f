"""Which mixture? Fits over numbers of components, covariance types and priors, and what decides."""

from __future__ import annotations

import itertools
import re
import warnings
from collections.abc import Iterable, Sequence
from numbers import Integral
from typing import Any

import numpy as np
from joblib import effective_n_jobs
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_scalar
from sklearn.utils.parallel import Parallel, delayed

from vbfast.config.settings import config_context, current_backend, current_num_threads
from vbfast.contract import COVARIANCE_TYPES
from vbfast.estimators.bayesian import BayesianGaussianMixture
from vbfast.estimators.gaussian import GaussianMixture
from vbfast.estimators.priors import SINGULAR_PRIOR
from vbfast.estimators.selection_result import CRITERIA, Selection
from vbfast.estimators.validation import as_random_state, validate_rows
from vbfast.inference.empirical_prior import comparable_covariance_prior
from vbfast.inputs.weights import as_sample_weight
from vbfast.passes.runner import runner_over

__all__ = ["select"]

AnyGaussianMixture = BayesianGaussianMixture | GaussianMixture


def select(
    X: Any,
    n_components: int | Iterable[int] = range(1, 11),
    *,
    covariance_type: str | Sequence[str] = "full",
    criterion: str = "elbo",
    weight_concentration_prior_type: str | Sequence[str] | None = None,
    weight_concentration_prior: float | Sequence[float | None] | None = None,
    mean_precision_prior: float | Sequence[float | None] | None = None,
    degrees_of_freedom_prior: float | Sequence[float | None] | None = None,
    sample_weight: Any = None,
    n_jobs: int | None = None,
    random_state: Any = None,
    verbose: int = 0,
    **parameters: Any,
) -> Selection:
    """Fit mixtures over a grid and compare their bounds, or information criteria.

    By ``criterion='elbo'`` the mixtures are variational ones. The bounds have all their constants,
    so that they are comparable across the grid: each is a lower bound on the log marginal
    likelihood of X under its model. By the others they are maximum-likelihood ones
    (:class:`~vbfast.GaussianMixture`).

    **Some priors differ from the defaults of** :class:`~vbfast.BayesianGaussianMixture`, which are
    scikit-learn's and under which bounds do not compare. The weights' prior is
    ``'dirichlet_distribution'`` where the estimator's default is ``'dirichlet_process'``: truncated
    sticks leave some of the weight to no component, more so the fewer components there are. Where X
    has next to no variance in a direction (a constant or redundant feature) the prior covariance is
    that of X plus ``reg_covar``, the same for every number of components, and a warning says so;
    ``reg_covar=0`` leaves no prior then, and is an error.

    From the second number of components on there is one more start than ``n_init``: the last
    number's mixture with its widest components cut in two. The start that ends with the highest
    bound is kept.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)
    n_components : int or iterable of int, default=range(1, 11)
    covariance_type : {'full', 'tied', 'diag', 'spherical'} or a sequence of them, default='full'
    criterion : {'elbo', 'bic', 'aic', 'icl'}, default='elbo'
        What decides: the highest bound, or the lowest Bayesian or Akaike information criterion or
        integrated completed likelihood, see :meth:`~vbfast.GaussianMixture.icl`.
    weight_concentration_prior_type : {'dirichlet_distribution', 'dirichlet_process'} or a \
sequence of them, default=None
        ``None`` stands for 'dirichlet_distribution'.
    weight_concentration_prior, mean_precision_prior, degrees_of_freedom_prior : float, None or a \
sequence of them, default=None
        As for :class:`~vbfast.BayesianGaussianMixture`, where ``None`` stands for a default. Priors
        go with ``criterion='elbo'`` only.
    sample_weight : array-like of shape (n_samples,), optional
    n_jobs : int, default=None
        How many processes fit, each other covariance types and priors (the numbers of components
        follow on each other); -1 for all processors. ``None`` is 1 unless in a
        :func:`joblib.parallel_config` context. The result is the same to the bit. One job uses all
        threads, and is hardly ever slower; see the notes.
    random_state : int, RandomState instance or None, default=None
        An integer seeds every fit. Of the others an integer is drawn for each, in the order of the
        table.
    verbose : int, default=0
        As for :class:`~vbfast.BayesianGaussianMixture`; joblib's, about fits that are done, with
        more than one job.
    **parameters
        Further parameters of the estimator, for every fit: ``n_init``, ``tol``, ``max_iter``,
        ``accelerate``, ...

    Returns
    -------
    Selection
        The table, the mixtures, the best of them and a plot.

    Raises
    ------
    ValueError
        If a grid is empty, the criterion is unknown or a prior comes with an information criterion;
        if ``reg_covar`` is zero and X has constant or redundant features, or no more rows than
        features, without a ``covariance_prior``; or as :meth:`BayesianGaussianMixture.fit`.
    TypeError
        If a parameter is unknown.

    Warns
    -----
    UserWarning
        Once, if X has constant or redundant features, or no more rows than features, see above; or
        if a ``covariance_prior`` that is given is singular.

    Notes
    -----
    One job shares its passes among all threads, unless they are too short for it (fewer than about
    65,000 operations); several jobs divide the threads. On a machine of two cores that were busy
    with other work too, jobs have not been seen to pay: two processes that were running already
    took as long as one job for 40,000 rows of 8 features, and 1.2 times as long for 300 of 4
    ('full' and 'diag', up to 12 components, also with four priors each); starting them takes
    seconds more. Jobs that are threads (``joblib.parallel_config("threading")``) took as long as
    one job. So more than one job is for more cores than the threads of one can use. X and the
    parameters then have to be such that they can be pickled.

    A covariance type restricts the posterior and, through its default, the covariance prior; the
    model's precisions are full matrices. So with the same prior 'full' has the highest bound, and
    what another type's lacks is the price of its cheaper posterior.

    Where there are fewer than three rows or so for each feature, 'full' favours many components
    that are smaller than the clusters, as its default prior expects of ``n_features`` features
    covariances of an ``n_features``-th of that of X: of 32 rows of one cluster with 16 features
    four components have the highest bound, of 64 rows one; 'diag' finds one.

    Under a Dirichlet prior the components can be exchanged, and the posterior has K! modes that
    differ by nothing else, of which the bound covers one. ``log_symmetry`` = ln K! is what covering
    all would add where they do not overlap, so it means something only for well separated
    components that all hold rows; where components overlap or are empty, modes coincide, and the
    sum is no bound (Bishop 2006, section 10.2.4). ``best_`` goes by the bound without it. Sticks
    have an order, and nothing is added.

    Examples
    --------
    >>> import numpy as np
    >>> import vbfast
    >>> rng = np.random.default_rng(0)
    >>> X = np.concatenate([rng.normal(size=(100, 2)), rng.normal(size=(100, 2)) + 8.0])
    >>> selection = vbfast.select(X, [1, 2, 3], covariance_type=["full", "diag"], random_state=0)
    >>> selection.best_.n_components, selection.best_.covariance_type
    (2, 'full')
    """
    if criterion not in CRITERIA:
        raise ValueError(f"criterion must be one of {', '.join(CRITERIA)}; got {criterion!r}")
    priors = {
        "weight_concentration_prior_type": weight_concentration_prior_type,
        "weight_concentration_prior": weight_concentration_prior,
        "mean_precision_prior": mean_precision_prior,
        "degrees_of_freedom_prior": degrees_of_freedom_prior,
    }
    estimator: type[AnyGaussianMixture] = GaussianMixture
    if criterion == "elbo":
        estimator = BayesianGaussianMixture
        if weight_concentration_prior_type is None:
            priors["weight_concentration_prior_type"] = "dirichlet_distribution"
    else:
        for name, value in priors.items():
            if value is not None:
                raise ValueError(
                    f"{name} is of a prior, which criterion={criterion!r} knows nothing of: leave "
                    "it out, or use criterion='elbo'"
                )
        priors = {}
    numbers = _numbers(n_components)
    grid = {
        name: _grid(name, values)
        for name, values in {"covariance_type": covariance_type, **priors}.items()
    }
    combinations = [
        dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())
    ]
    if n_jobs is not None:
        check_scalar(n_jobs, "n_jobs", Integral)  # joblib takes anything but 0 from here on
    n_jobs = min(effective_n_jobs(n_jobs), len(combinations))
    seeds = iter(_seeds(random_state, len(combinations) * len(numbers)))
    shown = verbose if n_jobs == 1 else 0  # lines of several fits would mix
    chains = [
        [
            estimator(number, **chosen, **parameters, random_state=next(seeds), verbose=shown)
            for number in numbers
        ]
        for chosen in combinations
    ]
    if criterion == "elbo" and parameters.get("covariance_prior") is None:
        _make_comparable(chains, X, sample_weight)
    settings = {
        "num_threads": max(1, current_num_threads() // n_jobs),
        "backend": current_backend(),
    }
    with warnings.catch_warnings():
        # The table says which fits did not converge, and a prior is singular for all of them.
        warnings.simplefilter("ignore", ConvergenceWarning)
        warnings.filterwarnings("ignore", re.escape(SINGULAR_PRIOR))
        fits = Parallel(n_jobs=n_jobs, verbose=verbose - shown)(
            delayed(_fit_chain)(chain, X, sample_weight, settings) for chain in chains
        )
    table, mixtures = [], []
    for chosen, chain in zip(combinations, fits, strict=True):
        for mixture, start in chain:
            mixture.set_params(random_state=random_state, verbose=verbose)
            table.append(_row(mixture, chosen, start, X, sample_weight))
            mixtures.append(mixture)
    if criterion == "elbo" and not all(
        mixture._fitted_parameters().prior.components.proper for mixture in mixtures
    ):
        warnings.warn(SINGULAR_PRIOR, stacklevel=2)
    return Selection(table, mixtures, criterion)


def _make_comparable(chains: list[list[AnyGaussianMixture]], X: Any, sample_weight: Any) -> None:
    """Give the mixtures a covariance prior where that of X is singular, and warn once."""
    raised: dict[str, Any] = {}
    for chain in chains:
        first = chain[0]
        kind = first.covariance_type
        if kind not in COVARIANCE_TYPES:
            continue  # the fit says what is wrong
        if kind not in raised:
            rows = validate_rows(first, X, reset=True, min_samples=2)
            with first._passes_over(rows):
                raised[kind] = comparable_covariance_prior(
                    runner_over(rows, as_sample_weight(sample_weight, rows.n_samples)),
                    covariance_type=kind,
                    reg_covar=float(first.reg_covar),
                )
        if raised[kind] is not None:
            for mixture in chain:
                mixture.set_params(covariance_prior=raised[kind])
    if any(prior is not None for prior in raised.values()):
        warnings.warn(
            "covariance_prior is singular, or next to it, where X has constant or redundant "
            "features or no more rows than features: every fit has the covariance of X plus "
            "reg_covar instead, with which bounds are comparable. Give covariance_prior, or remove "
            "such features, for another one.",
            stacklevel=3,
        )


def _fit_chain(
    mixtures: list[AnyGaussianMixture], X: Any, sample_weight: Any, settings: dict[str, Any]
) -> list[tuple[AnyGaussianMixture, str]]:
    """Fit mixtures of more and more components; return each with the start it came from.

    ``settings`` are those of :func:`~vbfast.config_context`, which another process lacks.
    """
    fits: list[tuple[AnyGaussianMixture, str]] = []
    with config_context(**settings):
        for mixture in mixtures:
            smaller = fits[-1][0] if fits else None
            fits.append(_better_start(mixture, smaller, X, sample_weight))
    return fits


def _seeds(random_state: Any, n_fits: int) -> list[Any]:
    """Return a seed for each fit, so that no start depends on when its fit has its turn."""
    if isinstance(random_state, Integral):
        return [random_state] * n_fits
    generator = as_random_state(random_state)
    return [int(seed) for seed in generator.randint(np.iinfo(np.int32).max, size=n_fits)]


def _better_start(
    mixture: AnyGaussianMixture, smaller: Any, X: Any, sample_weight: Any
) -> tuple[AnyGaussianMixture, str]:
    """Fit from fresh starts and from a smaller mixture; return the better one, and which it is."""
    mixture.fit(X, sample_weight=sample_weight)
    if smaller is None:
        return mixture, "fresh"
    grown = smaller._grown(mixture.n_components).fit(X, sample_weight=sample_weight)
    grown.set_params(warm_start=mixture.warm_start)
    return (grown, "split") if grown.lower_bound_ > mixture.lower_bound_ else (mixture, "fresh")


def _row(
    mixture: Any, chosen: dict[str, Any], start: str, X: Any, sample_weight: Any
) -> dict[str, Any]:
    compared: dict[str, Any]
    if isinstance(mixture, BayesianGaussianMixture):
        log_symmetry = mixture._fitted_parameters().weights.log_symmetry
        compared = {
            "elbo": mixture.elbo_,
            "log_symmetry": log_symmetry,
            "elbo_with_symmetry": mixture.elbo_ + log_symmetry,
            "n_active": mixture.n_active_components_,
        }
    else:
        n_parameters = mixture._n_parameters()
        aic = mixture.aic(X, sample_weight)
        compared = {
            "log_likelihood": n_parameters - 0.5 * aic,
            "n_parameters": n_parameters,
            "aic": aic,
            "bic": mixture.bic(X, sample_weight),
            "icl": mixture.icl(X, sample_weight),
        }
    return {
        "n_components": mixture.n_components,
        **chosen,
        **compared,
        "n_iter": mixture.n_iter_,
        "converged": mixture.converged_,
        "start": start,
    }


def _numbers(n_components: Any) -> list[int]:
    """Return the numbers of components to try, in increasing order."""
    numbers = _grid("n_components", n_components)
    for number in numbers:
        check_scalar(number, "n_components", Integral, min_val=1)
    return sorted(set(numbers))


def _grid(name: str, values: Any) -> list[Any]:
    """Return the values to try of a parameter that is one value or several."""
    several = isinstance(values, Iterable) and not isinstance(values, str | bytes)
    try:
        result = list(values) if several else [values]
    except TypeError:  # an array of no dimensions
        result = [values]
    if not result:
        raise ValueError(f"{name} must have at least one value; got none")
    return result
