"""Fit a mixture to rows that are in several processes: ten lines, with any way of calling them.

Each process sums up its own rows under the parameters that it is sent, and sends back a summary of
the size of the parameters. Adding the summaries in a fixed order gives the same bits whoever made
them. In the place of `multiprocessing` may stand Ray, Spark, MPI or a queue.
"""

from __future__ import annotations

import multiprocessing

import numpy as np

import vbfast


def rows(chunk):
    """Return a chunk of the rows: in earnest, read from where they are."""
    rng = np.random.default_rng(chunk)
    return rng.normal(size=(2500, 4)) + 3.0 * rng.integers(3, size=(2500, 1))


def summary_of(task):
    """Sum up a chunk under a mixture's parameters."""
    mixture, chunk = task
    return mixture.summarize(rows(chunk))


def fit(mixture, n_chunks, map_):
    """Iterate until the bound has settled; `map_` calls a function on every item, in order."""
    mixture = mixture.initialize(rows(0))
    while not mixture.converged_ and mixture.n_iter_ < mixture.max_iter:
        summaries = map_(summary_of, [(mixture, chunk) for chunk in range(n_chunks)])
        mixture.maximize(vbfast.merge(summaries))
    return mixture


def main(n_chunks=4, n_processes=4):
    """Return the mixture fitted in several processes, and in this one."""
    mixture = vbfast.GaussianMixture(3, random_state=0)
    context = multiprocessing.get_context("spawn")
    with context.Pool(n_processes) as pool:
        in_processes = fit(vbfast.GaussianMixture(3, random_state=0), n_chunks, pool.map)
    return in_processes, fit(mixture, n_chunks, map)


if __name__ == "__main__":
    in_processes, in_one = main()
    print("means\n", in_processes.means_.round(2))
    print("the same bits in one process:", np.array_equal(in_processes.means_, in_one.means_))
