"""Fit a mixture to rows that are in blocks of a Ray dataset.

Each task sums up one block on one native thread, under the parameters that Ray sends to every node
once an iteration. A summary has the size of the parameters. All come here and are added in the
order of the chunks, so that the bits are those of any other way of summing up the same chunks.

Needs ray[data]. This one is a cluster of its own, which nothing outside this machine can reach.
"""

from __future__ import annotations

import copy
import logging
import os
import pickle

# Read when ray is imported.
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
# So Ray is on macOS and Windows: on the loopback address. On Linux it would take the machine's own
# address, even in the place of a 127.0.0.1 that it is given.
os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"

import numpy as np
import pyarrow as pa
import ray
import ray.data

import vbfast

N_CHUNKS = 4


def rows(chunk):
    """Return a chunk of the rows: in earnest, read from where they are."""
    rng = np.random.default_rng(chunk)
    return rng.normal(size=(2500, 4)) + 3.0 * rng.integers(3, size=(2500, 1))


def connect():
    """Start Ray on this machine."""
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="WARNING")
    logging.getLogger("ray.data").setLevel("ERROR")  # which tells of every pass
    ray.data.DataContext.get_current().enable_progress_bars = False


def disconnect():
    """Stop Ray."""
    ray.shutdown()


def chunked(rows, n_chunks):
    """Return a dataset in which a block is a chunk, which nodes have read and keep.

    A column is a feature, but for the first one, the number of the chunk. Ray cuts up blocks of
    more than 128 MiB: let chunks be smaller, or raise its `target_max_block_size`.
    """

    def read(block):
        [chunk] = block["id"].to_pylist()
        columns = {f"x{d}": column for d, column in enumerate(rows(chunk).T)}
        return pa.table({"chunk": np.full(len(columns["x0"]), chunk), **columns})

    numbers = ray.data.range(n_chunks, override_num_blocks=n_chunks)
    return numbers.map_batches(read, batch_size=None, batch_format="pyarrow").materialize()


def summary_of(block, mixture):
    """Sum up a block under a mixture's parameters."""
    [chunk] = block["chunk"].unique().to_pylist()
    X = np.column_stack([column.to_numpy() for column in block.drop_columns("chunk").columns])
    with vbfast.config_context(num_threads=1):  # Ray starts a task for each core
        summary = ray.get(mixture).summarize(X)
    return pa.table({"chunk": [chunk], "summary": [pickle.dumps(summary)]})


def fit(mixture, blocks):
    """Iterate from the mixture's parameters on until the bound a row has settled."""
    while not mixture.converged_ and mixture.n_iter_ < mixture.max_iter:
        found = blocks.map_batches(
            summary_of,
            batch_size=None,  # a batch is a block
            batch_format="pyarrow",
            fn_kwargs={"mixture": ray.put(mixture)},
        ).take_all()
        in_order = sorted(found, key=lambda row: row["chunk"])
        mixture.maximize(vbfast.merge(pickle.loads(row["summary"]) for row in in_order))
    return mixture


def main():
    """Return the mixture fitted with Ray, and in this process."""
    start = vbfast.GaussianMixture(3, random_state=0).initialize(rows(0))
    in_one = copy.deepcopy(start)
    with_ray = fit(start, chunked(rows, N_CHUNKS))
    while not in_one.converged_:
        in_one.maximize(vbfast.merge(in_one.summarize(rows(chunk)) for chunk in range(N_CHUNKS)))
    return with_ray, in_one


if __name__ == "__main__":
    connect()
    with_ray, in_one = main()
    disconnect()
    print("means\n", with_ray.means_.round(2))
    print("the same bits in one process:", np.array_equal(with_ray.means_, in_one.means_))
