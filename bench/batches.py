"""Fits whose parameters move after every batch, against whole passes, on the demo's patches.

Patches of photographs, 63 dimensions, float32, full covariance. All fits begin at one start, which
is not timed. "Improvement" is that of the mean log-density of a tenth of the rows, held out, as a
part of what whole passes at ``tol=1e-3`` end with (100 iterations at most); times are parts of
theirs. Fits by batches end after one or two laps, without the last pass. An iteration that is
measured beside each stands for those of whole passes.

    python bench/batches.py
    python bench/batches.py --rows 100000 --components 64 --laps 1 2 3 --decays 0.6 0.7 0.9
"""

from __future__ import annotations

import time
import warnings

import measure

if __name__ == "__main__":
    measure.restart_without()

import numpy as np
from sklearn.exceptions import ConvergenceWarning

import vbfast
from vbfast.benchmark.patches import photographs, training_rows


def fitted(start, rows, **parameters):
    """Return a fit from a start, and its seconds."""
    mixture = vbfast.GaussianMixture(
        len(start.weights_),
        weights_init=start.weights_,
        means_init=start.means_,
        precisions_init=start.precisions_,
        random_state=0,
        **parameters,
    )
    begun = time.perf_counter()
    mixture.fit(rows)
    return mixture, time.perf_counter() - begun


def tables(
    *,
    rows=0,
    components=200,
    batch_sizes=("1000", "4000", "16000"),
    laps=("1", "2"),
    decays=("0.7",),
    repeats=3,
    quick=False,
):
    """Return a table with a line for each way of fitting."""
    warnings.simplefilter("ignore", ConvergenceWarning)
    n_rows, components = (4000, 4) if quick else (rows or None, components)
    data = training_rows(photographs(), n_rows, "float32", 0)
    data = data[np.random.default_rng(0).permutation(len(data))]
    held_out, learned = np.split(data, [len(data) // 10])
    reg_covar = 0.1 if quick else 1e-6
    start = vbfast.GaussianMixture(components, random_state=0, reg_covar=reg_covar)
    start.initialize(learned)
    before = start.score(held_out)
    whole, _ = fitted(start, learned, reg_covar=reg_covar)
    gain = whole.score(held_out) - before
    seconds, lines = [], []
    ways = [("incremental", {})]
    ways += [("stochastic", {"learning_decay": float(decay)}) for decay in decays]
    for method, steps in ways:
        for batch_size in (500,) if quick else map(int, batch_sizes):
            for n_laps in (1,) if quick else map(int, laps):
                parts = []
                for _ in range(repeats):
                    base = fitted(start, learned, reg_covar=reg_covar, max_iter=2, tol=0.0)[1]
                    made = {"batch_size": batch_size, "batch_method": method, **steps}
                    mixture, spent = fitted(
                        start,
                        learned,
                        reg_covar=reg_covar,
                        max_iter=n_laps,
                        tol=0.0,
                        final_pass=False,
                        **made,
                    )
                    seconds.append(base / 2)
                    parts.append(spent / (base / 2))
                improvement = (mixture.score(held_out) - before) / gain
                lines.append(
                    [
                        method,
                        str(steps.get("learning_decay", "")),
                        f"{batch_size:,}",
                        str(n_laps),
                        f"{improvement:.1%}",
                        f"{np.median(parts):.2f}",
                        f"{np.median(parts) / whole.n_iter_:.1%}",
                    ]
                )
    header = [
        "method",
        "decay",
        "batch",
        "laps",
        "improvement",
        "iterations' time",
        "of whole passes' time",
    ]
    text = (
        f"{len(learned):,} rows, K = {components}: whole passes take {whole.n_iter_} iterations of "
        f"{np.median(seconds):.2f} s, {gain:.3f} nats a row better than the start."
    )
    return [text, measure.Table(header, lines)]


if __name__ == "__main__":
    measure.run_script(tables)
