"""``vbfast fit``."""

from __future__ import annotations

import argparse
import contextlib
import copy
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vbfast.cli.arguments import (
    SEEDS,
    UsageError,
    check_outputs,
    count,
    count_or,
    positive,
    real,
)
from vbfast.cli.data import add_data_arguments, load_tables, load_weights, text_format
from vbfast.cli.score import evidence_line
from vbfast.config.settings import config_context
from vbfast.contract import COVARIANCE_TYPES

if TYPE_CHECKING:
    from vbfast.estimators import BayesianGaussianMixture, GaussianMixture
    from vbfast.results import VariationalElboTerms

# As log_marginal_likelihood has it.
FEWEST_DRAWS = 25


def add_parser(subparsers: Any) -> None:
    """Declare the subcommand."""
    parser = subparsers.add_parser("fit", help="fit a Gaussian mixture to files of rows")
    add_data_arguments(parser, dtype="the data's")
    parser.add_argument("-k", "--components", type=count(1), required=True, help="how many")
    parser.add_argument(
        "--covariance", choices=COVARIANCE_TYPES, default="full", help="default full"
    )
    parser.add_argument(
        "--bayesian",
        action="store_true",
        help="by variational Bayes; --components is then an upper limit",
    )
    parser.add_argument(
        "--weight-prior",
        choices=("dirichlet_process", "dirichlet_distribution"),
        help="with --bayesian; default dirichlet_process",
    )
    parser.add_argument(
        "--concentration",
        type=positive,
        metavar="NUMBER",
        help="of the weights' prior, with --bayesian; default 1 / components",
    )
    parser.add_argument(
        "--draws",
        type=count(0),
        metavar="NUMBER",
        help="with --bayesian: from the posterior, for the log marginal likelihood and its k-hat; "
        f"each takes a pass; at least {FEWEST_DRAWS}; none by default",
    )
    parser.add_argument(
        "-o", "--output", type=Path, metavar="MODEL.npz", help="write the fitted mixture"
    )
    parser.add_argument(
        "--init",
        choices=("kmeans", "k-means++", "random", "random_from_data"),
        default="kmeans",
        help="how the first responsibilities are made; default kmeans",
    )
    parser.add_argument("--max-iter", type=count(0), default=100, help="iterations; default 100")
    parser.add_argument(
        "--tol",
        type=real,
        default=1e-3,
        help="change of the bound per row below which the fit has converged; default 1e-3",
    )
    parser.add_argument(
        "--reg-covar",
        type=real,
        default=1e-6,
        help="added to the diagonal of every covariance; default 1e-6",
    )
    parser.add_argument(
        "--n-init", type=count(1), default=1, help="starts, of which the best is kept; default 1"
    )
    parser.add_argument(
        "--init-size",
        type=count_or("all"),
        help="rows that k-means looks for centres in, or all; by default some hundred a component",
    )
    parser.add_argument("--accelerate", choices=("squarem",), help="extrapolate the iterations")
    parser.add_argument(
        "--batch-size",
        type=count(1),
        help="move the parameters after so many rows, and not after passes over all",
    )
    parser.add_argument(
        "--truncation",
        type=count_or("auto"),
        metavar="NUMBER",
        help="components that a row keeps, found by a search, or auto; for thousands of components",
    )
    parser.add_argument(
        "--checkpoint",
        type=Path,
        help=".npz file that the same command goes on from after it was ended in whatever way",
    )
    parser.add_argument("--seed", type=count(0, SEEDS), default=0, help="of the starts; default 0")
    parser.add_argument("--threads", type=count(1), help="default: as vbfast info says")
    parser.add_argument("-q", "--quiet", action="store_true", help="no progress")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Fit, write the model, and print the bound."""
    from sklearn.exceptions import ConvergenceWarning

    from vbfast.estimators import BayesianGaussianMixture
    from vbfast.estimators.model_file import SUFFIX

    outputs = [("-o", options.output, (SUFFIX,)), ("--checkpoint", options.checkpoint, (SUFFIX,))]
    check_outputs(outputs, *options.data, options.weights)
    model = make_model(options)
    tables = load_tables(options.data, options.key, text_format(options))
    if options.dtype is not None:
        tables = tables.of_dtype(options.dtype)
    rows = tables.rows
    weights = None if options.weights is None else load_weights(options.weights)
    with config_context(num_threads=options.threads):
        # Results alone go to standard output.
        with (
            warnings.catch_warnings(),
            contextlib.redirect_stdout(sys.stderr),
            tables.located_errors(),
        ):
            warnings.simplefilter("ignore", ConvergenceWarning)  # said in words below
            model.fit(rows, sample_weight=weights)
        # Before the draws, which take many passes and may be interrupted.
        if options.output is not None:
            save_named(options.output, model, tables.names)
        # The dtype of the computation, which that of the file need not be.
        print(
            f"rows {rows.n_samples}, features {rows.n_features}, dtype {model.means_.dtype}, "
            f"seed {options.seed}"
        )
        state = "converged" if model.converged_ else "not converged"
        print(f"{model.n_iter_} iterations, {model.n_passes_} passes, {state}")
        print(evidence_line(model, rows, weights))
        if isinstance(model, BayesianGaussianMixture):
            report_terms(model.elbo(rows, sample_weight=weights))
            print(f"active components {model.n_active_components_} of {options.components}")
        if options.output is not None:
            print(f"wrote {options.output}")
        if isinstance(model, BayesianGaussianMixture) and options.draws:
            estimate = model.log_marginal_likelihood(rows, options.draws, sample_weight=weights)
            print(f"log marginal likelihood {estimate.value:.6f} nats by importance sampling,")
            print(f"  standard error {estimate.standard_error:.3g}. {estimate.advice}")


def make_model(options: argparse.Namespace) -> GaussianMixture | BayesianGaussianMixture:
    """Return the estimator that the options describe.

    Raises
    ------
    UsageError
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
        "init_size": options.init_size,
        "random_state": options.seed,
        "accelerate": options.accelerate,
        "batch_size": options.batch_size,
        "checkpoint": options.checkpoint,
        "truncation": options.truncation,
        "verbose": 0 if options.quiet else 2,
        "verbose_interval": 1,
    }
    if options.bayesian:
        if options.draws not in (None, 0) and options.draws < FEWEST_DRAWS:
            raise UsageError(f"--draws must be 0 or at least {FEWEST_DRAWS}; got {options.draws}")
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
            raise UsageError(f"--{name.replace('_', '-')} needs a {owner}: add --bayesian")
    return GaussianMixture(**common)


def save_named(
    path: Path,
    model: GaussianMixture | BayesianGaussianMixture,
    names: tuple[str, ...] | None,
) -> None:
    """Write the model with the names of its features, which the rows of its fit do not carry."""
    named = copy.copy(model)
    if names is not None:
        named.feature_names_in_ = np.array(names, dtype=object)
    named.save(path)


def report_terms(terms: VariationalElboTerms) -> None:
    """Print the bound of the fitted posterior on the rows, and its terms, in nats."""
    print(f"bound {terms.total:.6f} nats of the fitted posterior, which is the sum of")
    for name, value in (
        ("expected log-joint", terms.expected_log_joint),
        ("entropy", terms.entropy),
        ("KL of the weights", -terms.kl_weights),
        ("KL of the components", -terms.kl_components.sum()),
    ):
        print(f"  {name:<21}{value:+18.6f}")
