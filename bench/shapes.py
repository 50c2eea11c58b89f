"""The floor as a fraction of an EM iteration, over a grid of features and components.

Components overlap, so that posteriors are dense and nothing can be left early. Rows are as many as
an iteration takes 0.1 s for, at least 4,000 and 20 a component; shapes that take more than 2 s or
4 GB then are left out. The floor (``vbfast/benchmark/cases.py``) is of a matrix product and of
reading that are timed beside each iteration. A line has the fractions of one number of components,
a column those of one number of features; "mean" is geometric. ``--figure`` draws a map for each
covariance type and dtype, and ``--json-file`` keeps all numbers. ``--outputs`` adds what other
passes take: nanoseconds a row of ``score_samples``, ``predict`` and ``predict_proba``, for up to 20
components.

    python bench/shapes.py --types full --dtypes float64
    VBFAST_SIMD=avx2 python bench/shapes.py --figure shapes.png
"""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import measure

if __name__ == "__main__":
    measure.restart_without()

import numpy as np
from sklearn.exceptions import ConvergenceWarning

import vbfast
from vbfast.benchmark.cases import Case
from vbfast.benchmark.iterations import iteration_seconds
from vbfast.benchmark.machine import machine
from vbfast.benchmark.timing import MatrixProduct, Reading, seconds

TYPES = ("full", "diag", "tied", "spherical")
FEATURES = ("1", "2", "3", "5", "8", "11", "16", "17", "23", "31", "32", "33", "48", "64", "65",
            "97", "128", "130", "200")  # fmt: skip
COMPONENTS = ("2", "3", "5", "6", "10", "17", "20", "37", "64", "101", "300", "1000", "3000")
OUTPUTS = ("score_samples", "predict", "predict_proba")
LASTING, LONGEST, MOST_BYTES = 0.1, 2.0, 4 << 30
# Of the product, whose time is that of an iteration, about.
PRODUCT_SIZE = 1000


def enough_rows(case, dtype):
    """Return the case with as many rows as an iteration lasts for; None where it is too large."""
    size = case.n_features * np.dtype(dtype).itemsize
    least = max(4000, 20 * case.n_components)
    while True:
        sized = Case("", least, case.n_features, case.n_components, case.covariance_type)
        if least * size > MOST_BYTES:
            return None
        rows, start = sized.rows(dtype), sized.start()
        taken = min(iteration_seconds(vbfast.GaussianMixture(**start), rows, 1) for _ in range(2))
        if taken > LONGEST:
            return None
        if taken > 0.7 * LASTING:
            return sized
        least = int(least * min(8.0, max(1.5, LASTING / max(taken, 1e-4))))
        if least * size > MOST_BYTES:
            return sized


def fraction(case, dtype, product, reading, repeats):
    """Return the floor as a fraction of an iteration's time, the median over repeats."""
    rows, start = case.rows(dtype), case.start()
    mixture, fractions, threads = vbfast.GaussianMixture(**start), [], vbfast.get_num_threads()
    for _ in range(repeats):
        ours = iteration_seconds(mixture, rows, 2)
        peak = product.operations / product.seconds()
        rate = reading.bytes / reading.seconds()
        fractions.append(case.floor(peak, dtype, threads, rate) / max(ours, 1e-9))
    return float(np.median(fractions))


def other_passes(case, dtype, repeats):
    """Return nanoseconds a row of what is computed for each row."""
    rows, start = case.rows(dtype), case.start()
    mixture = vbfast.GaussianMixture(**start, max_iter=1).fit(rows)
    times = []
    for name in OUTPUTS:
        call = getattr(mixture, name)
        call(rows)
        times.append(np.median([seconds(lambda: call(rows)) for _ in range(repeats)]))  # noqa: B023
    return [1e9 * time / case.n_samples for time in times]


def geometric_mean(values):
    """Return it; NaN for none."""
    values = np.asarray([value for value in values if np.isfinite(value)])
    return float(np.exp(np.log(values).mean())) if len(values) else float("nan")


def draw(grids, path):
    """Draw a map for each covariance type and dtype."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.5 * min(2, len(grids)), 3.2 * -(-len(grids) // 2)),
                    layout="constrained")  # fmt: skip
    panels = figure.subplots(-(-len(grids) // 2), min(2, len(grids)), squeeze=False).flat
    for grid, axes in zip(grids, panels, strict=False):
        drawn = axes.imshow(grid["fractions"], vmin=0.0, vmax=1.0, cmap="viridis", aspect="auto")
        axes.set_title(f"{grid['covariance_type']}, {grid['dtype']}", fontsize="medium")
        axes.set_xticks(range(len(grid["features"])), grid["features"], fontsize="x-small")
        axes.set_yticks(range(len(grid["components"])), grid["components"], fontsize="x-small")
        axes.set_xlabel("features")
        axes.set_ylabel("components")
    figure.colorbar(drawn, ax=figure.axes, label="floor / time")
    figure.savefig(path, dpi=120)


def tables(types=TYPES, dtypes=("float64", "float32"), features=FEATURES, components=COMPONENTS,
           *, repeats=3, json_file="", figure="", outputs=False, quick=False):  # fmt: skip
    """Return a table for each covariance type and dtype, and one of geometric means."""
    warnings.simplefilter("ignore", ConvergenceWarning)
    if quick:
        types, dtypes, features, components = types[:1], dtypes[:1], ("2", "5"), ("2", "3")
    features, components = [int(D) for D in features], [int(K) for K in components]
    reading, grids, blocks, means, others = Reading(vbfast.get_num_threads()), [], [], [], []
    for dtype in dtypes:
        product = MatrixProduct(dtype, PRODUCT_SIZE)
        for kind in types:
            found = np.full((len(components), len(features)), np.nan)
            for line, K in enumerate(components):
                for column, D in enumerate(features):
                    case = Case("", 4000, D, K, kind)
                    case = case if quick else enough_rows(case, dtype)
                    if case is None:
                        continue
                    found[line, column] = fraction(case, dtype, product, reading, repeats)
                    if outputs and K <= 20:
                        passes = other_passes(case, dtype, repeats)
                        others.append([kind, dtype, f"{D}", f"{K}", f"{case.n_samples:,}",
                                       *(f"{each:.1f}" for each in passes)])  # fmt: skip
            grids.append({"covariance_type": kind, "dtype": dtype, "features": features,
                          "components": components, "fractions": found.tolist()})  # fmt: skip
            lines = [
                [f"{K:,}", *(measure.cell(each, 2) for each in row), f"{geometric_mean(row):.2f}"]
                for K, row in zip(components, found, strict=True)
            ]
            lines.append(["mean", *(f"{geometric_mean(each):.2f}" for each in found.T),
                          f"{geometric_mean(found.ravel()):.2f}"])  # fmt: skip
            blocks.append(f"{kind}, {dtype}:")
            blocks.append(measure.Table(["K", *(f"D={D}" for D in features), "mean"], lines))
            means.append([kind, dtype, f"{geometric_mean(found.ravel()):.2f}",
                          measure.cell(float(np.nanmin(found)), 2)])  # fmt: skip
    record = {"machine": machine(), "grids": grids}
    if json_file:
        Path(json_file).write_text(json.dumps(record, indent=1) + "\n")
    if figure:
        draw(grids, figure)
    blocks.append(measure.Table(["covariances", "dtype", "geometric mean", "lowest"], means))
    if others:
        header = ["covariances", "dtype", "D", "K", "rows", *(f"{name}, ns" for name in OUTPUTS)]
        blocks.append(measure.Table(header, others))
    return blocks


if __name__ == "__main__":
    measure.run_script(tables)
