"""`partial_fit` on 10,000 batches of 1,000 rows: D = 32, K = 64, full, float64.

Rows are of 64 overlapping components, whose means a mixture is given at the start. There are 200
batches, which come again and again. A full pass is one over the rows of all of them, in memory:
what an iteration of a fit takes but for its global step. Batches and passes take turns. Memory is
what is resident after a tenth of the batches, and after the last.
"""

from __future__ import annotations

import time
import warnings
from pathlib import Path

import measure

if __name__ == "__main__":
    measure.restart_without()

import numpy as np
from sklearn.exceptions import ConvergenceWarning

import vbfast
from vbfast.benchmark.timing import seconds

D, K, ROWS = 32, 64, 1000
DISTINCT = 200
BAR = 0.7


def resident_bytes():
    """Return how much memory of this process is resident."""
    [line] = [
        line for line in Path("/proc/self/status").read_text().splitlines() if "VmRSS:" in line
    ]
    return 1024 * int(line.split()[1])


def learning(n_batches, distinct):
    """Return rows a second of batches and of a full pass, and memory at the start and the end."""
    warnings.simplefilter("ignore", ConvergenceWarning)
    rng = np.random.default_rng(0)
    means = 0.5 * rng.normal(size=(K, D))
    rows = means[rng.integers(K, size=distinct * ROWS)] + rng.normal(size=(distinct * ROWS, D))
    given = {
        "weights_init": np.full(K, 1 / K),
        "means_init": means,
        "precisions_init": np.tile(np.eye(D), (K, 1, 1)),
    }
    learner = vbfast.GaussianMixture(K, **given)
    fitted = vbfast.GaussianMixture(K, **given, max_iter=0).fit(rows)
    batches = np.split(rows, distinct)
    fitted.summarize(rows)
    taken, full, start = 0.0, [], None
    for count in range(n_batches):
        began = time.perf_counter()
        learner.partial_fit(batches[count % distinct])
        taken += time.perf_counter() - began
        if count + 1 == n_batches // 10:
            start = resident_bytes()
        if (count + 1) % max(1, n_batches // 20) == 0:
            full.append(seconds(lambda: fitted.summarize(rows)))
    end = resident_bytes()
    return n_batches * ROWS / taken, len(rows) / float(np.median(full)), start, end


def tables(*, batches=10_000, quick=False):
    n_batches, distinct = (40, 10) if quick else (batches, DISTINCT)
    rate, full, start, end = measure.fresh(learning, n_batches, distinct)
    header = [
        "batches",
        "rows a second",
        "of a full pass",
        f"part of it (at least {BAR:.0%})",
        "resident at the start, MB",
        "at the end, MB",
    ]
    line = [
        f"{n_batches:,}",
        f"{rate:,.0f}",
        f"{full:,.0f}",
        f"{rate / full:.0%}",
        f"{start / 1e6:.1f}",
        f"{end / 1e6:.1f}",
    ]
    return [measure.Table(header, [line])]


if __name__ == "__main__":
    measure.run_script(tables)
