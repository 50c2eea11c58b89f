"""``vbfast fit``."""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vbfast.cli.data import check_writable, load_rows, load_weights
from vbfast.engine.config import config_context
from vbfast.engine.contract import COVARIANCE_TYPES

if TYPE_CHECKING:
    from vbfast.estimators import BayesianGaussianMixture, GaussianMixture
    from vbfast.results import VariationalElboTerms

DRAWS = 100
# As log_marginal_likelihood has it.
FEWEST_DRAWS = 25


def add_parser(subparsers: Any) -> None:
    """Declare the subcommand."""
    parser = subparsers.add_parser("fit", help="fit a Gaussian mixture to a file of rows")
    parser.add_argument("data", type=Path, metavar="DATA", help=".npy, .npz, .csv or .parquet")
    parser.add_argument("-k", "--components", type=int, required=True, help="how many")
    parser.add_argument(
        "--covariance", choices=COVARIANCE_TYPES, default="full", help="default full"
    )
    parser.add_argument(
        "--bayesian",
        action="store_true",
        help="by variational Bayes; --components is then the most that there may be",
    )
    parser.add_argument(
        "--weight-prior",
        choices=("dirichlet_process", "dirichlet_distribution"),
        help="with --bayesian; default dirichlet_process",
    )
    parser.add_argument(
        "--concentration",
        type=float,
        metavar="NUMBER",
        help="of the weights' prior, with --bayesian; default 1 / components",
    )
    parser.add_argument(
        "--draws",
        type=int,
        metavar="NUMBER",
        help="with --bayesian: from the posterior, for the log marginal likelihood and its k-hat; "
        f"each takes a pass; at least {FEWEST_DRAWS}, or 0 for none; default {DRAWS}",
    )
    parser.add_argument(
        "-o", "--output", type=Path, metavar="MODEL.npz", help="write the fitted mixture"
    )
    parser.add_argument("--weights", type=Path, metavar="FILE", help="one weight a row")
    parser.add_argument("--key", help="array of an .npz file")
    parser.add_argument("--dtype", choices=("float32", "float64"), help="of the computation")
    parser.add_argument(
        "--init",
        choices=("kmeans", "k-means++", "random", "random_from_data"),
        default="kmeans",
        help="how the first responsibilities are made; default kmeans",
    )
    parser.add_argument("--max-iter", type=int, default=100, help="iterations; default 100")
    parser.add_argument(
        "--tol",
        type=float,
        default=1e-3,
        help="change of the bound per row below which the fit has converged; default 1e-3",
    )
    parser.add_argument(
        "--reg-covar",
        type=float,
        default=1e-6,
        help="added to the diagonal of every covariance; default 1e-6",
    )
    parser.add_argument(
        "--n-init", type=int, default=1, help="starts, of which the best is kept; default 1"
    )
    parser.add_argument(
        "--accelerate", choices=("squarem",), help="go beyond what iterations lead to"
    )
    parser.add_argument("--seed", type=int, help="of the starts")
    parser.add_argument("--threads", type=int, help="default: as vbfast info says")
    parser.add_argument("-q", "--quiet", action="store_true", help="no progress")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Fit, print the bound, and write the model."""
    from sklearn.exceptions import ConvergenceWarning

    from vbfast.cli.model_file import save_model
    from vbfast.estimators import BayesianGaussianMixture

    check_writable(options.output, options.data, options.weights)
    rows = load_rows(options.data, options.key)
    if options.dtype is not None and rows.dtype != options.dtype:
        with np.errstate(over="ignore"):  # the fit says what is infinite
            rows = rows.astype(options.dtype)
    weights = None if options.weights is None else load_weights(options.weights)
    model = make_model(options)
    with config_context(num_threads=options.threads):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # said in words below
            model.fit(rows, sample_weight=weights)
        # The dtype of the computation, which that of the file need not be.
        print(f"rows {rows.shape[0]}, features {rows.shape[1]}, dtype {model.means_.dtype}")
        state = "converged" if model.converged_ else "not converged"
        ended = f"{model.n_iter_} iterations, {model.n_passes_} passes, {state}"
        if isinstance(model, BayesianGaussianMixture):
            print(f"bound {model.elbo_:.6f} nats, {ended}")
            report_terms(model.elbo(rows, sample_weight=weights))
            print(f"active components {model.n_active_components_} of {options.components}")
        else:
            print(f"evidence {model.lower_bound_:.6f} nats a row, {ended}")
        # Before the draws, which may take longer than the fit and be interrupted.
        if options.output is not None:
            save_model(options.output, model)
            print(f"wrote {options.output}")
        draws = DRAWS if options.draws is None else options.draws
        if isinstance(model, BayesianGaussianMixture) and draws:
            estimate = model.log_marginal_likelihood(rows, draws, sample_weight=weights)
            print(f"log marginal likelihood {estimate.value:.6f} nats by importance sampling,")
            print(f"  standard error {estimate.standard_error:.3g}. {estimate.advice}")


def make_model(options: argparse.Namespace) -> GaussianMixture | BayesianGaussianMixture:
    """Return the estimator that the options describe.

    Raises
    ------
    ValueError
        If an option of the prior or posterior comes without ``--bayesian``, or the draws are too
        few.
    """
    from vbfast.estimators import BayesianGaussianMixture, GaussianMixture

    common: dict[str, Any] = {
        "n_components": options.components,
        "covariance_type": options.covariance,
        "tol": options.tol,
        "reg_covar": options.reg_covar,
        "max_iter": options.max_iter,
        "n_init": options.n_init,
        "init_params": options.init,
        "random_state": options.seed,
        "accelerate": options.accelerate,
        "verbose": 0 if options.quiet else 2,
        "verbose_interval": 1,
    }
    if options.bayesian:
        if options.draws not in (None, 0) and options.draws < FEWEST_DRAWS:
            raise ValueError(f"--draws must be 0 or at least {FEWEST_DRAWS}; got {options.draws}")
        return BayesianGaussianMixture(
            weight_concentration_prior_type=options.weight_prior or "dirichlet_process",
            weight_concentration_prior=options.concentration,
            **common,
        )
    for name, owner in (
        ("weight_prior", "prior"),
        ("concentration", "prior"),
        ("draws", "posterior"),
    ):
        if getattr(options, name) is not None:
            raise ValueError(f"--{name.replace('_', '-')} is of a {owner}: add --bayesian")
    return GaussianMixture(**common)


def report_terms(terms: VariationalElboTerms) -> None:
    """Print what the bound of the fitted posterior consists of, in nats."""
    for name, value in (
        ("expected log-joint", terms.expected_log_joint),
        ("entropy", terms.entropy),
        ("KL of the weights", -terms.kl_weights),
        ("KL of the components", -terms.kl_components.sum()),
        ("total", terms.total),
    ):
        print(f"  {name:<21}{value:+18.6f}")
