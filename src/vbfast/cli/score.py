"""``vbfast score``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from vbfast.cli.data import check_writable, load_rows


def add_parser(subparsers: Any) -> None:
    """Declare the subcommand."""
    parser = subparsers.add_parser("score", help="log-density of rows under a fitted mixture")
    parser.add_argument("model", type=Path, metavar="MODEL.npz", help="from vbfast fit -o")
    parser.add_argument("data", type=Path, metavar="DATA", help=".npy, .npz, .csv or .parquet")
    parser.add_argument("--key", help="array of an .npz file")
    parser.add_argument("-o", "--output", type=Path, metavar="FILE.npy", help="evidence by row")
    parser.add_argument("--labels", type=Path, metavar="FILE.npy", help="component by row")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Print the mean evidence and write what was asked for."""
    from vbfast.cli.model_file import load_model
    from vbfast.estimators import BayesianGaussianMixture

    check_writable(options.output)
    check_writable(options.labels)
    model = load_model(options.model)
    rows = load_rows(options.data, options.key)
    if isinstance(model, BayesianGaussianMixture):
        name, evidence = "predictive density", model.log_predictive_density(rows)
    else:
        name, evidence = "evidence", model.score_samples(rows)
    print(f"{name} {evidence.mean():.6f} nats a row, {len(evidence)} rows")
    if options.output is not None:
        np.save(options.output, evidence)
    if options.labels is not None:
        np.save(options.labels, model.predict(rows))
