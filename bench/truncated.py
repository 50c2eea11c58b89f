"""Fits whose rows keep a few components each, beside exact ones: time, evidence and memory.

Rows are patches of photographs with noise, 64 features, float32, unless a section says otherwise.
``reg_covar`` is 1 there, a sixth of the noise's variance, so that components of a few rows gain
nothing by being narrow. Truncation is 3, with 15 neighbours and one component at random. The time
of an iteration is the median from one callback to the next, within fits that take turns; the first
iteration of a fit is left out, since it has the start and the warm-up. After every fit products of
float32 matrices are timed; between iterations the threads of BLAS, which wait for more, would be in
the way. What was published is of Salwig et al. (2025, arXiv 2501.12299). That, and what is aimed
at, are of a machine with 210 GFLOP/s, and are scaled by the rate of the products.

``--sections`` chooses what is measured:

- ``diag``: 200,000 rows, K = 1,000. Aimed at are an eighth of an exact iteration, and 60 ms. Then
  the time of a fit, its start included, until its bound is 0.3 nats a row below what the exact fit
  comes to in 30 iterations. A quarter of that fit's time is aimed at.
- ``full``: the same rows, full covariances, K = 200. Aimed at are 0.4 s.
- ``components``: all 531,720 patches, diagonal, K from 1,000 to 100,000. Aimed at is a slope below
  0.3 on logarithmic axes.
- ``held_out``: nine tenths of all patches; at K = 5,000 the evidence of the other tenth is to be
  0.1 nats a row better than that of the exact fit at K = 1,000.
- ``memory``: the peak above all patches at K = 20,000, in a process of its own, measured as in
  memory.py. Aimed at are at most 300 MB.
- ``rows``: 1e5 to 1e7 rows drawn from a mixture that was fitted to eight principal components of
  the patches, K = 1,000, diagonal, from that mixture's parameters. Aimed at is a slope of 1.00,
  give or take 0.05.
- ``curved``: 50,000 rows of 15 features, float64, of 300 groups that are bent, overlap and have
  heavy tails; full covariances, K = 120; ``--seeds`` splits and starts. Aimed at are held-out
  evidence at most 0.05 nats below the exact fit's, and a third of its time of an iteration.

    python bench/truncated.py
    python bench/truncated.py --sections components --components 1000 10000
"""

from __future__ import annotations

import time
import warnings
from functools import lru_cache

import measure

if __name__ == "__main__":
    measure.restart_without()

import numpy as np
from sklearn.exceptions import ConvergenceWarning

import vbfast
from memory import growth_in_fresh_processes
from scaling import slope
from vbfast.benchmark.datasets import DATASETS
from vbfast.benchmark.machine import machine
from vbfast.benchmark.patches import noisy_patches
from vbfast.benchmark.timing import PRODUCT_SIZE, MatrixProduct

SECTIONS = ("diag", "full", "components", "held_out", "memory", "rows", "curved")
REG_COVAR = 1.0
KEPT = 3
# Of the machine that times were published of and are aimed at for, floating-point operations a
# second.
RATE = 210e9
# Iterations of an exact fit whose evidence is to be reached, and by how many nats a row less.
EXACT_ITERATIONS, LESS = 30, 0.3
TRUNCATED_ITERATIONS = 60
PRODUCTS = 5


@lru_cache
def patches(n_rows):
    """Return so many patches, or all for None."""
    return noisy_patches(n_rows, 0)


class Watch:
    """A callback that times iterations.

    Attributes
    ----------
    bounds : list of float
        Nats a row.
    seconds : list of float
        Of iterations; the first has the start as well.
    rate : float
        Floating-point operations a second of the products after the fit.
    """

    def __init__(self):
        self.bounds, self.seconds, self.rate = [], [], float("nan")
        self._last = time.perf_counter()

    def __call__(self, iteration):
        now = time.perf_counter()
        self.seconds.append(now - self._last)
        self.bounds.append(iteration.lower_bound)
        self._last = now

    def seconds_until(self, bound):
        """Return the seconds until a bound was reached; NaN where it was not."""
        reached = np.asarray(self.bounds) >= bound
        return float(np.cumsum(self.seconds)[reached.argmax()]) if reached.any() else float("nan")


def watched(mixture, rows, product):
    """Fit, and return what was seen of it."""
    watch = Watch()
    mixture.fit(rows, callback=watch)
    watch.rate = product.operations / np.median([product.seconds() for _ in range(PRODUCTS)])
    return watch


def patches_mixture(components, covariance_type, max_iter, truncation=KEPT, **parameters):
    """Return a mixture for the patches, or for what was made from them."""
    return vbfast.GaussianMixture(
        components,
        covariance_type=covariance_type,
        truncation=truncation,
        max_iter=max_iter,
        reg_covar=REG_COVAR,
        random_state=0,
        **{"tol": 0.0, **parameters},
    )


def median_iteration(watches):
    """Return the median seconds of the iterations after each fit's first."""
    return float(np.median([each for watch in watches for each in watch.seconds[1:]]))


def one_size(kind, aimed, published, aimed_seconds, product, repeats, quick):
    """Return blocks on iterations of one number of components, truncated and exact."""
    n_rows, components, iterations = (3000, 20, 3) if quick else (200_000, 1000, EXACT_ITERATIONS)
    if kind == "full":
        components = 5 if quick else 200
    truncated_iterations = 4 if quick else TRUNCATED_ITERATIONS
    rows = patches(n_rows)
    exact, truncated, parts = [], [], []
    for _ in range(repeats):
        whole = patches_mixture(components, kind, iterations, None)
        few = patches_mixture(components, kind, truncated_iterations)
        exact.append(watched(whole, rows, product))
        truncated.append(watched(few, rows, product))
        wanted = exact[-1].bounds[-1] - LESS
        parts.append(truncated[-1].seconds_until(wanted) / sum(exact[-1].seconds))
    ours, theirs = median_iteration(truncated), median_iteration(exact)
    rate = float(np.median([watch.rate for watch in exact + truncated]))
    scale = RATE / rate
    lines = [
        [
            kind,
            f"{components:,}",
            f"{theirs:.3f}",
            f"{ours:.4f}",
            f"{ours / theirs:.3f}",
            measure.cell(aimed, 3),
            f"{rate / 1e9:.0f}",
            f"{published * scale:.3f}",
            f"{aimed_seconds * scale:.3f}",
        ]
    ]
    header = [
        "covariances",
        "K",
        "exact s",
        "truncated s",
        "truncated / exact",
        "aimed at",
        "GFLOP/s",
        "published s, at that rate",
        "aimed at s, at that rate",
    ]
    firsts = [[watch.seconds[0] for watch in watches] for watches in (exact, truncated)]
    until = float(np.median(parts))
    reached = [
        [
            f"{np.median([sum(watch.seconds) for watch in exact]):.2f}",
            f"{np.median(firsts[0]):.2f}",
            f"{exact[-1].bounds[-1]:.3f}",
            f"{np.median(firsts[1]):.2f}",
            measure.cell(until, 3),
            "0.250" if kind == "diag" else measure.MISSING,
            f"{truncated[-1].bounds[-1]:.3f}",
            f"{few.score(rows):.3f}",
        ]
    ]
    reached_header = [
        f"exact fit of {iterations} iterations s",
        "its first s",
        "its evidence",
        "truncated: first iteration s",
        f"its evidence less {LESS}, in a part of its time",
        "aimed at",
        f"bound of {truncated_iterations} truncated iterations",
        "evidence then",
    ]
    return [measure.Table(header, lines), measure.Table(reached_header, reached)]


def growing_components(components, product, repeats, quick):
    """Return blocks on how the time of an iteration grows with the components."""
    rows = patches(3000 if quick else None)
    counts = [20, 50] if quick else [int(each) for each in components]
    times, lines = [], []
    for count in counts:
        watch = watched(patches_mixture(count, "diag", 2 + repeats), rows, product)
        times.append(median_iteration([watch]))
        line = [f"{count:,}", f"{times[-1]:.3f}", f"{watch.seconds[0]:.1f}"]
        lines.append([*line, f"{watch.rate / 1e9:.0f}", f"{watch.bounds[-1]:.2f}"])
    header = ["K", "truncated s", "start and first iteration s", "GFLOP/s", "bound"]
    text = f"{len(rows):,} rows: slope {measure.cell(slope(counts, times), 2)}, below 0.3 aimed at."
    return [measure.Table(header, lines), text]


def held_out_evidence(product, quick):
    """Return a table of the evidence of rows that were not fitted."""
    rows = patches(3000 if quick else None)
    held_out, learned = np.split(rows, [len(rows) // 10])
    max_iter, lines, scores = (3 if quick else 100), [], []
    for components, truncation in (
        ((20, None), (50, KEPT)) if quick else ((1000, None), (5000, KEPT))
    ):
        mixture = patches_mixture(components, "diag", max_iter, truncation, tol=1e-3)
        watch = watched(mixture, learned, product)
        scores.append(mixture.score(held_out))
        lines.append(
            [
                "exact" if truncation is None else f"truncated to {truncation}",
                f"{components:,}",
                f"{scores[-1]:.3f}",
                f"{scores[-1] - scores[0]:+.3f}",
                f"{mixture.n_iter_}",
                f"{sum(watch.seconds):.1f}",
            ]
        )
    lines[1][3] += " (+0.100 aimed at)"
    header = ["posteriors", "K", "held-out nats a row", "better by", "iterations", "seconds"]
    return [measure.Table(header, lines)]


def memory_above_rows(quick):
    """Return a table of the peak above the rows."""
    rows = patches(3000 if quick else None)
    components = 20 if quick else 20_000
    mixture = patches_mixture(components, "diag", 3)
    [taken] = growth_in_fresh_processes([mixture], rows)
    line = [f"{components:,}", f"{rows.nbytes / 1e6:.0f}", f"{taken / 1e6:.0f}", "300",
            f"{4e-6 * len(rows) * components:,.0f}"]  # fmt: skip
    header = ["K", "data MB", "peak above it, MB", "aimed at", "an N x K array, MB"]
    return [measure.Table(header, [line])]


def drawn_rows(mixture, n_rows):
    """Return float32 rows of a mixture in random order, a part of them at a time."""
    rows = np.empty((n_rows, mixture.n_features_in_), np.float32)
    rng = np.random.default_rng(0)
    for start in range(0, n_rows, 1_000_000):
        part = rows[start : start + 1_000_000]
        mixture.set_params(random_state=start)
        part[:] = mixture.sample(len(part))[0][rng.permutation(len(part))]
    return rows


def growing_rows(product, repeats, quick):
    """Return blocks on how the time of an iteration grows with the rows."""
    components = 20 if quick else 1000
    whole = patches(3000 if quick else 200_000)
    _, directions = np.linalg.eigh(np.cov(whole, rowvar=False))
    mixture = patches_mixture(components, "diag", 3 if quick else 30)
    mixture.fit((whole @ directions[:, :-9:-1]).astype(np.float32))
    counts, times, lines = ([2000, 4000] if quick else [10**5, 10**6, 10**7]), [], []
    rows = drawn_rows(mixture, counts[-1])
    given = {
        "weights_init": mixture.weights_,
        "means_init": mixture.means_,
        "precisions_init": mixture.precisions_,
    }
    for count in counts:
        fitted = patches_mixture(components, "diag", 2 + repeats, **given)
        watch = watched(fitted, rows[:count], product)
        times.append(median_iteration([watch]))
        nanoseconds = 1e9 * times[-1] / count
        line = [f"{count:,}", f"{times[-1]:.4f}", f"{nanoseconds:.0f}"]
        lines.append([*line, f"{watch.rate / 1e9:.0f}"])
    header = ["rows", "truncated s", "nanoseconds a row", "GFLOP/s"]
    text = (
        f"{rows.shape[1]} features, K = {components:,}: slope "
        f"{measure.cell(slope(counts, times), 3)}, 1.00 give or take 0.05 aimed at."
    )
    return [measure.Table(header, lines), text]


def curved(product, seeds, quick):
    """Return a table of fits of bent groups: of several starts, as each ends at another maximum."""
    dataset = DATASETS["curved_120"]
    kinds = {"exact": {}, f"truncated to {KEPT}": {"truncation": KEPT}}
    seen = {name: [] for name in kinds}
    scores = {name: [] for name in kinds}
    iterations = {name: [] for name in kinds}
    for seed in range(1 if quick else seeds):
        rows, held_out = dataset.split(seed, 50 if quick else 1)
        arguments = dataset.arguments() | {"max_iter": 3 if quick else 100, "random_state": seed}
        if quick:
            arguments |= {"n_components": 5, "reg_covar": 0.1}
        for name, parameters in kinds.items():
            mixture = vbfast.GaussianMixture(**arguments, **parameters)
            seen[name].append(watched(mixture, rows, product))
            scores[name].append(mixture.score(held_out, exact=True))
            iterations[name].append(mixture.n_iter_)
    times = {name: median_iteration(each) for name, each in seen.items()}
    lines = []
    for name, own in scores.items():
        better = np.subtract(own, scores["exact"])
        lines.append(
            [
                name,
                f"{np.mean(own):.3f}",
                f"{np.mean(better):+.3f}",
                f"{np.median(better):+.3f}",
                f"{1e3 * times[name]:.1f}",
                f"{times[name] / times['exact']:.3f}",
                f"{np.median(iterations[name]):.0f}",
            ]
        )
    lines[1][2] += " (-0.05 aimed at)"
    lines[1][5] += " (0.333 aimed at)"
    header = ["posteriors", "held-out nats a row, mean", "better by, mean", "median",
              "ms an iteration", "of the exact", "iterations"]  # fmt: skip
    return [f"{len(scores['exact'])} starts and splits.", measure.Table(header, lines)]


def tables(
    sections=SECTIONS,
    *,
    components=("1000", "5000", "20000", "100000"),
    repeats=3,
    seeds=8,
    quick=False,
):
    """Return the blocks of the sections."""
    warnings.simplefilter("ignore", ConvergenceWarning)
    product = MatrixProduct(np.float32, 100 if quick else PRODUCT_SIZE)
    makers = {
        "diag": lambda: one_size("diag", 1 / 8, 0.240, 0.060, product, repeats, quick),
        "full": lambda: one_size("full", None, 2.0, 0.4, product, repeats, quick),
        "components": lambda: growing_components(components, product, repeats, quick),
        "held_out": lambda: held_out_evidence(product, quick),
        "memory": lambda: memory_above_rows(quick),
        "rows": lambda: growing_rows(product, repeats, quick),
        "curved": lambda: curved(product, seeds, quick),
    }
    blocks = [f"On {machine()}."]
    for name in sections:
        blocks += [f"## {name}", *makers[name]()]
    return blocks


if __name__ == "__main__":
    measure.run_script(tables)
