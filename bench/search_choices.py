"""Why searches are as they are: the order of their work, and how they begin.

``orders``: what a search costs, by the pairs of a row and a component that it evaluates, diagonal,
float32. Ours takes rows with the same best component together and evaluates a component for a list
of rows, with rows in lanes. The other order takes a row by itself, with features in lanes, as the
published code does (Salwig et al. 2025): here as loops that numba compiles, on the same threads.
Both find the pairs, evaluate them and keep the best; ours teaches neighbours, too.

``seeding``: first centres of K = 1,000 in 200,000 noisy patches by k-means++ on samples, by AFK-MC²
(Bachem, Lucic, Hassani and Krause 2016) with chains of several lengths, and at random. A chain of
length m costs m K² / 2 distances, and k-means++ on n rows n K of them, times the candidates of a
centre. The judge is scikit-learn's k-means: the sum of squares a row of the seeds, and after twenty
iterations.

``starts``: what these seeds lead to in fits, which go on from them by k-means that searches and
lets small clusters begin elsewhere, and by ten iterations of truncated EM: the held-out evidence,
diagonal, of 1,000 and of 5,000 components for the patches, and of 500 for as many clusters of 16
features, five deviations apart. "chosen" is what fits do, which begin with k-means++ or chains and
at random, and go on from the better one.

    python bench/search_choices.py
    python bench/search_choices.py --sections seeding
"""

from __future__ import annotations

import contextlib
import timeit
import warnings
from unittest.mock import patch

import measure

if __name__ == "__main__":
    measure.restart_without()

import numba
import numpy as np
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning

import vbfast
from truncated import patches
from vbfast.benchmark.machine import machine
from vbfast.contract import Request
from vbfast.inference.chains import chain_rows
from vbfast.inference.kmeans import seed_rows
from vbfast.inference.monitor import SILENT
from vbfast.passes.array_rows import ArrayRows
from vbfast.passes.runner import LocalRunner
from vbfast.passes.truncated_runner import TruncatedRunner
from vbfast.passes.truncation import Truncation

SECTIONS = ("orders", "seeding", "starts")
N_NEIGHBORS, KEPT = 15, 3


@numba.njit(parallel=True, fastmath=True)
def search_by_rows(
    X, means, precisions, offset, neighbors, kept, met, values, held_before, evidence
):
    """Search once, a row at a time: renew what rows keep, and write the evidence of that.

    ``met`` has a number for each thread and component, -1 in the beginning; ``values`` and
    ``held_before`` have room for what a row keeps. Returns how many pairs were evaluated.
    """
    n_pairs = 0
    for n in numba.prange(len(X)):
        thread = numba.get_thread_id()
        best, components = values[thread], held_before[thread]
        for place in range(len(best)):
            best[place], components[place] = -np.inf, kept[n, place]
        for held in components:
            for g in range(-1, neighbors.shape[1]):
                k = held if g < 0 else neighbors[held, g]
                if met[thread, k] == n:
                    continue
                met[thread, k] = n
                n_pairs += 1
                total = np.float32(0.0)
                for d in range(X.shape[1]):
                    away = X[n, d] - means[k, d]
                    total += away * away * precisions[k, d]
                value = offset[k] - np.float32(0.5) * total
                place = len(best)
                while place > 0 and best[place - 1] < value:
                    if place < len(best):
                        best[place], kept[n, place] = best[place - 1], kept[n, place - 1]
                    place -= 1
                if place < len(best):
                    best[place], kept[n, place] = value, k
        total = np.float32(0.0)
        for value in best:
            total += np.exp(value - best[0])
        evidence[n] = best[0] + np.log(total)
    return n_pairs


def grouped_rows(n_rows, n_features, n_components):
    """Return rows around centres that are not far from each other, and the centres."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(n_components, n_features)) * 2.0
    rows = centres[rng.integers(n_components, size=n_rows)]
    rows += rng.normal(size=rows.shape)
    return rows.astype(np.float32), centres


def orders(repeats, quick):
    """Return a table of nanoseconds a pair in both orders."""
    n_rows, K = (2000, 30) if quick else (100_000, 1000)
    lines = []
    for D in (2, 8) if quick else (2, 4, 8, 16, 32, 64, 128, 256):
        rows, centres = grouped_rows(n_rows, D, K)
        mixture = vbfast.GaussianMixture(
            K,
            covariance_type="diag",
            truncation=KEPT,
            means_init=centres,
            reg_covar=0.1,
            max_iter=2,
            random_state=0,
        ).fit(rows)
        log_joint = mixture._fitted_log_joint()
        runner = TruncatedRunner(
            ArrayRows(rows), truncation=Truncation(KEPT, N_NEIGHBORS, n_random=0)
        )
        for _ in range(4):
            runner.search(log_joint, Request())
        means, precisions = (
            np.ascontiguousarray(each, np.float32) for each in (mixture.means_, mixture.precisions_)
        )
        offset = np.asarray(log_joint.offset, np.float32)
        met = np.full((numba.get_num_threads(), K), -1)
        values = np.empty((numba.get_num_threads(), KEPT), np.float32)
        held_before = np.empty(values.shape, np.int32)
        evidence = np.empty(n_rows, np.float32)
        kept, neighbors = runner.kept.copy(), runner.neighbors.copy()
        turns = {"ours": [], "rows": []}
        for _ in range(repeats):
            call = lambda runner=runner, model=log_joint: runner.search(model, Request())  # noqa: E731
            turns["ours"].append(measure.warm_seconds(call))

            arguments = (rows, means, precisions, offset, neighbors, kept)
            scratch = (met, values, held_before, evidence)

            def call(arguments=arguments, scratch=scratch):
                scratch[0][:] = -1
                return search_by_rows(*arguments, *scratch)

            turns["rows"].append(measure.warm_seconds(call))
            n_pairs = call()
        ours, theirs = (1e9 * np.median(each) / n_pairs for each in turns.values())
        line = [f"{D}", f"{n_pairs / n_rows:.1f}", f"{ours:.2f}", f"{theirs:.2f}"]
        lines.append([*line, measure.speed_up(theirs, ours)])
    header = [
        "features",
        "pairs a row",
        "ours: a search, ns a pair",
        "rows by themselves, ns a pair",
        "times as long",
    ]
    text = f"{n_rows:,} rows, {K:,} components."
    return [text, measure.Table(header, lines)]


def chains(rows, n_components, length, rng):
    """Return the rows that AFK-MC² chooses with chains of a length."""
    state = np.random.RandomState(rng.integers(1 << 31))
    return chain_rows(LocalRunner(ArrayRows(rows)), n_components, state, length=length)


def seeding(repeats, quick):
    """Return a table of the sums of squares that seeds lead to."""
    rows = patches(3000 if quick else 200_000)
    K = 20 if quick else 1000
    runner = LocalRunner(ArrayRows(rows))
    choices = {
        f"k-means++ on {size:,} rows": lambda rng, size=size: seed_rows(
            runner,
            K,
            np.random.RandomState(rng.integers(1 << 31)),
            init_size=min(size, len(rows)),
            monitor=SILENT,
        )
        for size in (8 * K, 64 * K)
    }
    for length in (16, 200):
        choices[f"AFK-MC², chains of {length}"] = lambda rng, length=length: chains(
            rows, K, length, rng
        )
    choices["at random"] = lambda rng: rng.choice(len(rows), K, replace=False)
    lines = []
    for name, choose in choices.items():
        seconds, first, last = [], [], []
        for seed in range(repeats):
            rng = np.random.default_rng(seed)
            start = timeit.default_timer()
            chosen = choose(rng)
            seconds.append(timeit.default_timer() - start)
            for sums, iterations in ((first, 1), (last, 2 if quick else 20)):
                judge = KMeans(K, init=rows[chosen], n_init=1, max_iter=iterations, tol=0.0)
                if iterations == 1:
                    sums.append(-judge.fit(rows[chosen]).score(rows) / len(rows))
                else:
                    sums.append(judge.fit(rows).inertia_ / len(rows))
        medians = (np.median(each) for each in (first, last))
        lines.append([name, f"{np.median(seconds):.2f}", *(f"{each:,.0f}" for each in medians)])
    header = ["seeds", "seconds", "sum of squares a row", "after 20 iterations of k-means"]
    text = f"{len(rows):,} patches, {K:,} centres, medians of {repeats} seeds."
    return [text, measure.Table(header, lines)]


def seeds_at_random(rows, n_components, rng):
    """Return rows that are drawn with equal probability."""
    return rng.choice(len(rows), n_components, replace=False)


def seeds_of_sample(rows, n_components, rng):
    """Return the rows that k-means++ chooses from a sample of eight rows a component."""
    runner = LocalRunner(ArrayRows(rows))
    state = np.random.RandomState(rng.integers(1 << 31))
    size = min(8 * n_components, len(rows))
    return seed_rows(runner, n_components, state, init_size=size, monitor=SILENT)


def seeds_of_chains(rows, n_components, rng):
    """Return the rows that AFK-MC² chooses with chains of sixteen."""
    return chains(rows, n_components, 16, rng)


def clusters(n_samples, n_clusters):
    """Return rows of clusters of 16 features, five deviations apart."""
    rng = np.random.default_rng(0)
    means = 5.0 * rng.normal(size=(n_clusters, 16))
    labels = rng.integers(n_clusters, size=n_samples)
    scale = rng.uniform(0.5, 1.5, size=(n_clusters, 1))
    rows = means[labels] + scale[labels] * rng.normal(size=(n_samples, 16))
    return rows.astype(np.float32)


def starts(repeats, quick):
    """Return a table of what fits come to from seeds."""
    noisy = patches(6600 if quick else 220_000)
    sets = [("patches", noisy, K) for K in ((300, 600) if quick else (1000, 5000))]
    K = 300 if quick else 500
    sets.append(("clusters", clusters(6600 if quick else 110_000, K), K))
    choices = {
        "k-means++ on a sample": seeds_of_sample,
        "AFK-MC², chains of 16": seeds_of_chains,
        "at random": seeds_at_random,
        "chosen": None,
    }
    lines = []
    for data, both, K in sets:
        held_out, rows = both[: len(both) // 11], both[len(both) // 11 :]
        for name, choose in choices.items():
            scores, seconds = [], []
            for seed in range(repeats):
                mixture = vbfast.GaussianMixture(
                    K,
                    covariance_type="diag",
                    truncation=3,
                    max_iter=2 if quick else 10,
                    tol=0.0,
                    random_state=seed,
                )
                begun = timeit.default_timer()
                with contextlib.ExitStack() as stack:
                    if choose is not None:
                        only_from(choose(rows, K, np.random.default_rng(seed)), stack)
                    mixture.fit(rows)
                seconds.append(timeit.default_timer() - begun)
                scores.append(mixture.score(held_out))
            spread = f"{np.min(scores):.3f} to {np.max(scores):.3f}"
            shown = [f"{np.median(seconds):.2f}", f"{np.median(scores):.3f}", spread]
            lines.append([data, f"{K:,}", name, *shown])
    header = [
        "rows",
        "components",
        "seeds",
        "seconds of the fit",
        "held-out evidence a row",
        "from",
    ]
    text = f"Ten parts of {len(noisy):,} patches, one held out; {repeats} seeds. Nats."
    return [text, measure.Table(header, lines)]


def only_from(chosen, stack):
    """Make fits within a stack of contexts begin with these rows alone."""
    home = "vbfast.inference.truncated_start"
    for name in ("spread_or_drawn_rows", "_drawn_rows"):
        stack.enter_context(patch(f"{home}.{name}", lambda *_: chosen))


def tables(sections=SECTIONS, *, repeats=3, quick=False):
    """Return the blocks of the sections."""
    warnings.simplefilter("ignore", ConvergenceWarning)
    makers = {"orders": orders, "seeding": seeding, "starts": starts}
    blocks = [f"On {machine()}."]
    for name in sections:
        blocks += [f"## {name}", *makers[name](repeats, quick)]
    return blocks


if __name__ == "__main__":
    measure.run_script(tables)
