"""``vbfast fit``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from vbfast.cli.data import load_rows, load_weights
from vbfast.engine.config import config_context
from vbfast.engine.contract import COVARIANCE_TYPES


def add_parser(subparsers: Any) -> None:
    """Declare the subcommand."""
    parser = subparsers.add_parser("fit", help="fit a Gaussian mixture to a file of rows")
    parser.add_argument("data", type=Path, metavar="DATA", help=".npy, .npz, .csv or .parquet")
    parser.add_argument("-k", "--components", type=int, required=True)
    parser.add_argument("--covariance", choices=COVARIANCE_TYPES, default="full")
    parser.add_argument("-o", "--output", type=Path, metavar="MODEL.npz")
    parser.add_argument("--weights", type=Path, metavar="FILE", help="one weight a row")
    parser.add_argument("--key", help="array of an .npz file")
    parser.add_argument("--dtype", choices=("float32", "float64"), help="of the computation")
    parser.add_argument(
        "--init",
        choices=("kmeans", "k-means++", "random", "random_from_data"),
        default="kmeans",
    )
    parser.add_argument("--max-iter", type=int, default=100)
    parser.add_argument("--tol", type=float, default=1e-3)
    parser.add_argument("--reg-covar", type=float, default=1e-6)
    parser.add_argument("--n-init", type=int, default=1)
    parser.add_argument("--seed", type=int)
    parser.add_argument("--threads", type=int)
    parser.add_argument("-q", "--quiet", action="store_true", help="no progress")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Fit, print the bound, and write the model."""
    from vbfast.cli.model_file import save_model
    from vbfast.estimators import GaussianMixture

    rows = load_rows(options.data, options.key)
    if options.dtype is not None and rows.dtype != options.dtype:
        rows = rows.astype(options.dtype)
    weights = None if options.weights is None else load_weights(options.weights)
    model = GaussianMixture(
        options.components,
        covariance_type=options.covariance,
        tol=options.tol,
        reg_covar=options.reg_covar,
        max_iter=options.max_iter,
        n_init=options.n_init,
        init_params=options.init,
        random_state=options.seed,
        verbose=0 if options.quiet else 2,
        verbose_interval=1,
    )
    with config_context(num_threads=options.threads):
        model.fit(rows, sample_weight=weights)
    state = "converged" if model.converged_ else "not converged"
    print(f"rows {rows.shape[0]}, features {rows.shape[1]}, dtype {np.dtype(rows.dtype)}")
    print(f"evidence {model.lower_bound_:.6f} nats a row, {model.n_iter_} iterations, {state}")
    if options.output is not None:
        save_model(options.output, model)
        print(f"wrote {options.output}")
