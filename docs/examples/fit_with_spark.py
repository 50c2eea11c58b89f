"""Fit a mixture to rows that are in partitions of a Spark data frame.

Each task sums up one partition on one native thread, by `mapInArrow`, under the parameters that
Spark sends to every executor once an iteration. A summary has the size of the parameters. All come
here and are added in the order of the partitions, so that the bits are those of any other way of
summing up the same chunks.

Needs pyspark and a Java runtime. This one is local, and nothing outside this machine can reach it.
"""

from __future__ import annotations

import copy
import os
import pickle
import sys

import numpy as np
import pyarrow as pa
from pyspark import TaskContext
from pyspark.sql import SparkSession

import vbfast

N_CHUNKS, N_FEATURES = 4, 4


def rows(chunk):
    """Return a chunk of the rows: in earnest, read from where they are."""
    rng = np.random.default_rng(chunk)
    return rng.normal(size=(2500, N_FEATURES)) + 3.0 * rng.integers(3, size=(2500, 1))


def connect():
    """Start Spark on this machine, with two tasks at a time."""
    os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    builder = SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false")
    for name in ("host", "bindAddress"):
        builder = builder.config(f"spark.driver.{name}", "127.0.0.1")
    builder.getOrCreate()


def disconnect():
    """Stop Spark."""
    SparkSession.active().stop()


def chunked(rows, n_chunks):
    """Return a data frame in which a partition is a chunk, which executors keep once it is read."""
    schema = ", ".join(f"x{d} double" for d in range(N_FEATURES))

    def read(batches):
        for batch in batches:
            for chunk in batch["id"].to_pylist():
                columns = {f"x{d}": column for d, column in enumerate(rows(chunk).T)}
                yield pa.RecordBatch.from_pydict(columns)

    numbers = SparkSession.active().range(n_chunks, numPartitions=n_chunks)
    return numbers.mapInArrow(read, schema).cache()


def summing_up(mixture):
    """Return a function that sums up a partition under a mixture's parameters.

    Spark hands a partition over in batches of 10,000 rows. They are one array here, as a summary's
    bits go by which rows it is of.
    """

    def sum_up(batches):
        batches = list(batches)
        if not batches:  # of a partition without rows
            return
        columns = pa.Table.from_batches(batches).columns
        X = np.column_stack([column.to_numpy() for column in columns])
        with vbfast.config_context(num_threads=1):  # Spark starts a task for each core
            summary = mixture.value.summarize(X)
        chunk = TaskContext.get().partitionId()
        yield pa.RecordBatch.from_pydict({"chunk": [chunk], "summary": [pickle.dumps(summary)]})

    return sum_up


def fit(mixture, frame):
    """Iterate from the mixture's parameters on until the bound a row has settled."""
    while not mixture.converged_ and mixture.n_iter_ < mixture.max_iter:
        sent = frame.sparkSession.sparkContext.broadcast(mixture)
        found = frame.mapInArrow(summing_up(sent), "chunk long, summary binary").collect()
        sent.destroy()
        in_order = sorted(found, key=lambda row: row["chunk"])
        mixture.maximize(vbfast.merge(pickle.loads(row["summary"]) for row in in_order))
    return mixture


def main():
    """Return the mixture fitted with Spark, and in this process."""
    start = vbfast.GaussianMixture(3, random_state=0).initialize(rows(0))
    in_one = copy.deepcopy(start)
    with_spark = fit(start, chunked(rows, N_CHUNKS))
    while not in_one.converged_:
        in_one.maximize(vbfast.merge(in_one.summarize(rows(chunk)) for chunk in range(N_CHUNKS)))
    return with_spark, in_one


if __name__ == "__main__":
    connect()
    with_spark, in_one = main()
    disconnect()
    print("means\n", with_spark.means_.round(2))
    print("the same bits in one process:", np.array_equal(with_spark.means_, in_one.means_))
