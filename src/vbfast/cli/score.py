"""``vbfast score``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from vbfast.cli.data import check_writable, load_rows, load_weights
from vbfast.engine.contract import Float64Array, FloatArray
from vbfast.engine.weights import as_sample_weight


def add_parser(subparsers: Any) -> None:
    """Declare the subcommand."""
    parser = subparsers.add_parser("score", help="log-density of rows under a fitted mixture")
    parser.add_argument("model", type=Path, metavar="MODEL.npz", help="from vbfast fit -o")
    parser.add_argument("data", type=Path, metavar="DATA", help=".npy, .npz, .csv or .parquet")
    parser.add_argument("--weights", type=Path, metavar="FILE", help="one weight a row")
    parser.add_argument("--key", help="array of an .npz file")
    parser.add_argument("-o", "--output", type=Path, metavar="FILE.npy", help="evidence by row")
    parser.add_argument("--labels", type=Path, metavar="FILE.npy", help="component by row")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Print the mean evidence and write what was asked for."""
    from vbfast.cli.model_file import load_model
    from vbfast.estimators import BayesianGaussianMixture

    for output in (options.output, options.labels):
        check_writable(output, options.model, options.data, options.weights)
    model = load_model(options.model)
    rows = load_rows(options.data, options.key)
    weights = None
    if options.weights is not None:
        weights = as_sample_weight(load_weights(options.weights), len(rows))
    if isinstance(model, BayesianGaussianMixture):
        name, evidence = "predictive density", model.log_predictive_density(rows)
    else:
        name, evidence = "evidence", model.score_samples(rows)
    counted = f"{len(evidence)} rows"
    if weights is not None:
        counted += f" of weight {weights.sum():.6g}"
    print(f"{name} {mean_evidence(evidence, weights):.6f} nats a row, {counted}")
    if options.output is not None:
        save_array(options.output, evidence)
    if options.labels is not None:
        save_array(options.labels, model.predict(rows))


def save_array(path: Path, array: npt.NDArray[Any]) -> None:
    """Write an array, and say so."""
    # By its name alone NumPy would write another file than the one asked for, ending in .npy.
    with path.open("wb") as file:
        np.save(file, array)
    print(f"wrote {path}")


def mean_evidence(evidence: FloatArray, weights: Float64Array | None) -> float:
    """Return the average over the rows, ``sum(w * evidence) / sum(w)`` where they have weights.

    A row of zero weight is left out, whatever its evidence.
    """
    if weights is None:
        return float(evidence.mean(dtype=np.float64))
    share = weights / weights.sum()
    counting = share > 0.0
    return float(share[counting] @ evidence[counting])
