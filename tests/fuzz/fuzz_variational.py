"""Variational fits of tiny data under priors of any size: bounds that rise, terms that add up."""

from __future__ import annotations

import warnings

import numpy as np

import vbfast
from fuzzing import main
from vbfast.contract import COVARIANCE_TYPES


def rows_of(rng: np.random.Generator) -> np.ndarray:
    """A few rows: clusters, duplicates, constant and redundant features."""
    n, D = int(rng.integers(2, 40)), int(rng.integers(1, 5))
    rows = rng.normal(size=(n, D)) + 6.0 * rng.integers(3, size=(n, 1))
    kind = rng.integers(6)
    if kind == 0:
        rows = rows[rng.integers(max(1, n // 4), size=n)]
    elif kind == 1:
        rows[:, rng.integers(D)] = 2.5
    elif kind == 2:
        rows = np.column_stack([rows, rows[:, 0]])
    return rows * 10.0 ** rng.integers(-2, 3)


def prior_of(rng: np.random.Generator, rows: np.ndarray, kind: str) -> dict[str, object]:
    """Concentrations from nothing to next to infinite, and covariances to go with them."""
    D = rows.shape[1]
    prior: dict[str, object] = {
        "weight_concentration_prior_type": str(
            rng.choice(["dirichlet_process", "dirichlet_distribution"])
        )
    }
    if rng.random() < 0.7:
        prior["weight_concentration_prior"] = 10.0 ** rng.uniform(-3, 300 * rng.integers(2) + 3)
    if rng.random() < 0.5:
        prior["mean_precision_prior"] = 10.0 ** rng.uniform(-6, 20)
    if rng.random() < 0.6:
        degrees = D + 10.0 ** rng.uniform(-2, 250 * rng.integers(2) + 3)
        variance = degrees * 10.0 ** rng.uniform(-1, 1) * (rows.var() + 1e-3)
        shapes = {"full": np.eye(D), "tied": np.eye(D), "diag": np.ones(D), "spherical": 1.0}
        prior["degrees_of_freedom_prior"] = degrees
        prior["covariance_prior"] = variance * shapes[kind]
    return prior


def case(rng: np.random.Generator) -> str | None:
    """Fit, and look at the bounds and at what is said of the fit."""
    rows = rows_of(rng)
    kind = str(rng.choice(COVARIANCE_TYPES))
    arguments = {
        "n_components": int(rng.integers(1, min(6, len(rows)) + 1)),
        "covariance_type": kind,
        "init_params": "random_from_data",
        "random_state": int(rng.integers(1000)),
        "reg_covar": float(rng.choice([0.0, 1e-6])),
        "max_iter": 60,
        "tol": 1e-9,
        **prior_of(rng, rows, kind),
    }
    weight = rng.integers(1, 4, size=len(rows)) if rng.random() < 0.3 else None
    # Of a singular prior rounding leaves an arbitrary one.
    centred = rows - rows.mean(axis=0)
    regular = "covariance_prior" in arguments or (
        np.linalg.matrix_rank(centred, tol=1e-7 * np.abs(rows).max()) == rows.shape[1]
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            mixture = vbfast.BayesianGaussianMixture(**arguments).fit(rows, sample_weight=weight)
        except ValueError as error:
            # Where the rows' covariance is no prior, components without rows may have no scale.
            if "ill-defined" in str(error) and not regular:
                return None
            raise
    terms = mixture.elbo(rows, sample_weight=weight)
    scale = (
        1.0 + abs(terms.expected_log_joint) + terms.kl_weights + np.abs(terms.kl_components).sum()
    )
    if not np.isfinite([*mixture.lower_bounds_, terms.total]).all():
        return f"{arguments}: bounds {mixture.lower_bounds_[-3:]}, total {terms.total}"
    fall = -min(np.diff(mixture.lower_bounds_), default=0.0)
    if regular and arguments["reg_covar"] == 0.0 and fall > 1e-11 * scale:
        return f"{arguments}: the bound falls by {fall} of {scale}"
    if regular and arguments["reg_covar"] == 0.0 and terms.total < mixture.elbo_ - 1e-10 * scale:
        return f"{arguments}: total {terms.total} below elbo_ {mixture.elbo_}"
    if terms.loss != -terms.total or terms.kl_weights < 0.0:
        return f"{arguments}: {terms}"
    estimate = mixture.log_marginal_likelihood(rows, 25, 0, weight)
    if not np.isfinite(estimate.value) or ("value exact" in estimate.advice) > (
        arguments["n_components"] == 1
    ):
        return f"{arguments}: {estimate}"
    return None


if __name__ == "__main__":
    main(case)
