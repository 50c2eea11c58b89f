"""``vbfast score``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from vbfast.atomic_file import written_whole
from vbfast.cli.arguments import check_outputs
from vbfast.cli.data import add_data_arguments, load_tables, load_weights, text_format
from vbfast.contract import Float64Array, FloatArray
from vbfast.inputs.weights import as_sample_weight

if TYPE_CHECKING:
    from vbfast.estimators import BayesianGaussianMixture, GaussianMixture

SUFFIXES = (".npy", ".csv")


def add_parser(subparsers: Any) -> None:
    """Declare the subcommand."""
    parser = subparsers.add_parser("score", help="log-density of rows under a fitted mixture")
    parser.add_argument("model", type=Path, metavar="MODEL.npz", help="from vbfast fit -o")
    add_data_arguments(parser, dtype="the model's")
    for name, what in (("-o", "evidence"), ("--labels", "component")):
        flags = (name, "--output") if name == "-o" else (name,)
        parser.add_argument(
            *flags, type=Path, metavar="FILE", help=f"{what} by row, {' or '.join(SUFFIXES)}"
        )
    parser.add_argument(
        "--exact",
        action="store_true",
        help="evaluate all components, also of a mixture that was fitted with --truncation",
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Print the mean evidence and write what was asked for."""
    from vbfast.estimators import load

    check_outputs(
        [("-o", options.output, SUFFIXES), ("--labels", options.labels, SUFFIXES)],
        options.model,
        *options.data,
        options.weights,
    )
    model = load(options.model)
    names = getattr(model, "feature_names_in_", None)
    wanted = None if names is None else tuple(names)
    tables = load_tables(options.data, options.key, text_format(options), wanted)
    if names is not None:
        del model.feature_names_in_  # matched now; the rows are an array, and have none
    # By default in the dtype of the fit, so that the same rows have the same evidence.
    tables = tables.of_dtype(options.dtype or model.means_.dtype)
    rows = tables.rows
    weights = None
    if options.weights is not None:
        weights = as_sample_weight(load_weights(options.weights), rows.n_samples)
    with tables.located_errors():
        evidence = row_evidence(model, rows, exact=options.exact)
        print(evidence_line(model, rows, weights, evidence, exact=options.exact))
        if options.output is not None:
            save_array(options.output, evidence, "evidence")
        if options.labels is not None:
            save_array(options.labels, model.predict(rows, exact=options.exact), "component")


def row_evidence(
    model: GaussianMixture | BayesianGaussianMixture, rows: Any, *, exact: bool = False
) -> FloatArray:
    """Return the log-density of each row: for a posterior the predictive one.

    Of a truncated mixture it is the bound over what the row finds, unless it has to be exact.
    """
    from vbfast.estimators import BayesianGaussianMixture

    if isinstance(model, BayesianGaussianMixture):
        return model.log_predictive_density(rows)
    return model.score_samples(rows, exact=exact)


def evidence_line(
    model: GaussianMixture | BayesianGaussianMixture,
    rows: Any,
    weights: Float64Array | None,
    evidence: FloatArray | None = None,
    *,
    exact: bool = False,
) -> str:
    """Say what the average log-density of the rows under the fitted parameters is."""
    from vbfast.estimators import BayesianGaussianMixture

    if evidence is None:
        evidence = row_evidence(model, rows, exact=exact)
    if isinstance(model, BayesianGaussianMixture):
        name = "predictive density"
    elif exact or getattr(model, "truncation_", None) is None:
        name = "evidence"
    else:
        name = f"evidence over {model.truncation_} components a row, a lower bound,"
    counted = f"{len(evidence)} rows"
    if weights is not None:
        counted += f" of weight {weights.sum():.6g}"
    return f"{name} {mean_evidence(evidence, weights):.6f} nats a row, {counted}"


def save_array(path: Path, array: npt.NDArray[Any], name: str) -> None:
    """Write an array as the ending of ``path`` says, and say so."""
    # By its name alone NumPy would write another file than the one asked for, ending in .npy.
    with written_whole(path) as file:
        if path.suffix.lower() == ".csv":
            digits = "%d" if array.dtype.kind == "i" else "%.17g"
            np.savetxt(file, array, fmt=digits, header=name, comments="")
        else:
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
