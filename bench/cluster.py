"""A Dask cluster on this machine: what a pass costs there, and its speed beside one process.

Two workers of one thread each, on the loopback address, and the scheduler in the process that fits.
The first table is of 2,000,000 rows x 32 float64 in 40 chunks, 64 diagonal components: fits on the
cluster and in one process with two threads take turns, and medians are shown. A share is a part of
the time that two workers have in an iteration: in tasks, or idle or with messages. The processor
time is that of the fitting process, with the scheduler in it.

The second table is of passes over chunks of 50 rows, each a group of its own, where next to all
time is the scheduler's. The third has the bytes of what a pass sends and receives: to a worker the
parameters, from a group its sums. Workers sent each other and the fitting process the bytes of the
last column.
"""

from __future__ import annotations

import pickle
import time
import warnings
from contextlib import contextmanager
from dataclasses import replace

import measure

if __name__ == "__main__":
    measure.restart_without()

import numpy as np
from distributed import Client, LocalCluster, get_task_stream
from sklearn.exceptions import ConvergenceWarning

import dask
import vbfast
import vbfast.dask
from vbfast.benchmark.cases import Case
from vbfast.benchmark.iterations import iteration_seconds
from vbfast.contract import Request
from vbfast.dask.rows import ClusterRows
from vbfast.dask.tasks import Asked, Carried
from vbfast.families.covariances import MOMENTS_OF
from vbfast.passes import groups
from vbfast.passes.tasks import Sums

CASE = Case("cluster", 2_000_000, 32, 64, "diag")
# Components and features of the models whose bytes are shown.
MODELS = {
    "64 x 32 diag": replace(CASE, n_samples=4000),
    "1000 x 64 diag": Case("diag", 4000, 64, 1000, "diag"),
    "1000 x 64 full": Case("full", 4000, 64, 1000, "full"),
}
ADDRESS = "127.0.0.1:0"


@contextmanager
def cluster(processes=True):
    """Two workers of one thread, and a client."""
    with (
        LocalCluster(
            n_workers=2,
            threads_per_worker=1,
            processes=processes,
            host="127.0.0.1" if processes else None,
            dashboard_address=ADDRESS,
            worker_dashboard_address=ADDRESS,
        ) as started,
        Client(started) as client,
    ):
        yield client


@contextmanager
def groups_of_one_chunk():
    """Let every chunk be a group of its own, however few rows it has."""
    rows, groups.GROUP_ROWS = groups.GROUP_ROWS, 1
    try:
        yield
    finally:
        groups.GROUP_ROWS = rows


def bytes_sent(client):
    """Return how many bytes the workers have sent."""
    sent = client.run(lambda dask_worker: dask_worker.transfer_outgoing_bytes_total)
    return sum(sent.values())


def started_log_joint(case, rows):
    """Return the log-joint of the case's start."""
    mixture = vbfast.GaussianMixture(**case.start(), max_iter=0).fit(rows[: 2 * case.n_components])
    return mixture._fitted_log_joint()


def pass_seconds(client, chunks, log_joint, request, passes):
    """Return the seconds of a pass, of its tasks, of this process's processor, and the tasks."""
    runner = ClusterRows(client, chunks).runner(None)
    runner.run(log_joint, request)
    with get_task_stream(client) as stream:
        begun, processor = time.perf_counter(), time.process_time()
        for _ in range(passes):
            runner.run(log_joint, request)
        seconds = (time.perf_counter() - begun) / passes
        processor = (time.process_time() - processor) / passes
    in_tasks = sum(
        step["stop"] - step["start"]
        for task in stream.data
        for step in task["startstops"]
        if step["action"] == "compute"
    )
    return seconds, in_tasks / passes, processor, len(stream.data) / passes


def throughput(client, case, n_chunks, iterations, repeats):
    """Return the table of the cluster beside one process."""
    rows = case.rows("float64")
    parts = np.array_split(rows, n_chunks)
    futures = client.scatter(parts, hash=False)
    start = case.start()
    one, two = [], []
    vbfast.dask.GaussianMixture(client=client, max_iter=1, **start).fit(
        futures
    )  # the workers import
    for _ in range(repeats):
        with vbfast.config_context(num_threads=2):
            one.append(iteration_seconds(vbfast.GaussianMixture(**start), rows, iterations))
        mixture = vbfast.dask.GaussianMixture(client=client, **start)
        two.append(iteration_seconds(mixture, futures, iterations))
    request = Request(moments=MOMENTS_OF[case.covariance_type])
    log_joint = started_log_joint(case, rows)
    seconds, in_tasks, processor, tasks = pass_seconds(
        client, futures, log_joint, request, iterations
    )
    share = in_tasks / (2 * seconds)
    ratio = float(np.median(np.array(one) / two))
    header = [
        "one process s", "cluster s", "throughput of one", "tasks a pass", "share in tasks",
        "idle or messages", "processor time of the fitting process s",
    ]  # fmt: skip
    line = [
        f"{np.median(one):.3f}", f"{np.median(two):.3f}", f"{ratio:.2f}", f"{tasks:.0f}",
        f"{share:.2f}", f"{1 - share:.2f}", f"{processor:.3f}",
    ]  # fmt: skip
    return measure.Table(header, [line])


def scheduling(client, numbers, passes):
    """Return the table of passes over many small chunks."""
    case = Case("small", 50, 2, 2, "diag")
    lines = []
    with groups_of_one_chunk():
        for n_chunks in numbers:
            rows = replace(case, n_samples=50 * n_chunks).rows("float64")
            futures = client.scatter(np.array_split(rows, n_chunks), hash=False)
            request = Request(moments="diag")
            seconds, _, processor, tasks = pass_seconds(
                client, futures, started_log_joint(case, rows), request, passes
            )
            lines.append(
                [f"{n_chunks}", f"{tasks:.0f}", f"{seconds:.3f}", f"{1e3 * seconds / tasks:.2f}",
                 f"{1e3 * processor / tasks:.2f}"]
            )  # fmt: skip
    header = ["chunks", "tasks", "seconds a pass", "ms a task", "of which fitting process ms"]
    return measure.Table(header, lines)


def sizes(client, models):
    """Return the table of the bytes of a pass, over eight chunks."""
    lines = []
    with groups_of_one_chunk():
        for name, case in models.items():
            rows = case.rows("float64")
            parts = np.array_split(rows, 8)
            log_joint = started_log_joint(case, rows)
            request = Request(moments=MOMENTS_OF[case.covariance_type])
            asked = Asked(Sums(log_joint, request), "native", "none", 1.0, as_float64=False)
            runner = ClusterRows(client, [dask.delayed(part) for part in parts]).runner(None)
            sums = runner.run(log_joint, request)
            before = bytes_sent(client)
            runner.run(log_joint, request)
            sent = bytes_sent(client) - before
            lines.append(
                [name, f"{len(pickle.dumps(Carried(asked))) / 1e6:.2f}",
                 f"{len(pickle.dumps(sums)) / 1e6:.2f}", f"{sent / 1e6:.1f}"]
            )  # fmt: skip
    header = ["components x features", "parameters MB", "sums MB", "workers sent MB, eight chunks"]
    return measure.Table(header, lines)


def tables(*, iterations=10, repeats=5, quick=False):
    warnings.simplefilter("ignore", ConvergenceWarning)
    case, models = CASE, MODELS
    numbers, passes = (40, 400, 1000), 10
    if quick:
        case, iterations, numbers, passes = CASE.smaller(100), 2, (4, 8), 2
        models = {"64 x 32 diag": MODELS["64 x 32 diag"]}
    with cluster(processes=not quick) as client:
        return [
            throughput(client, case, 40, iterations, repeats),
            scheduling(client, numbers, passes),
            sizes(client, models),
        ]


if __name__ == "__main__":
    measure.run_script(tables)
