"""How evenly threads share a pass, from its blocking alone: nothing is timed.

Threads take partitions in their order, each the next one as it ends the last, as
csrc/runtime/threads.h hands out tasks. The time of a partition is taken as its number of rows.
"""

from __future__ import annotations

import heapq

import numpy as np
import pytest

from vbfast.backends import get_backend

# csrc/estep/estep.cpp: how many tasks each thread has at least, where neighbours go together.
TASKS_A_THREAD = 8
THREADS = (*range(1, 49), 64, 96, 128)
# Of 1,024 rows a thread and more: whole groups of rows, and some beyond them.
BEYOND = (0, 1, 33, 500, 1023, 3333)
TIMES = (1.3, 1.7, 3.1, 10.3, 40.7)


class Tree:
    """How many partial statistics are alive, as csrc/estep/partition_sums.h merges them."""

    def __init__(self, n_partitions):
        self.widths = [n_partitions]
        while self.widths[-1] > 1:
            self.widths.append((self.widths[-1] + 1) // 2)
        self.ended = set()
        self.alive = 0

    def end(self, index):
        for level, width in enumerate(self.widths):
            if width == 1 or ((index ^ 1) < width and (level, index ^ 1) not in self.ended):
                self.ended.add((level, index))
                return
            self.alive -= (index ^ 1) < width
            index //= 2


def busy(blocking, n_threads):
    """Return the part of the time that threads work."""
    lengths = np.diff(blocking.bounds).tolist()
    n, together = len(lengths), 1
    while 2 * together * TASKS_A_THREAD * n_threads <= n:
        together *= 2
    tasks = [list(range(first, min(first + together, n))) for first in range(0, n, together)][::-1]
    tree, now, running, idle = Tree(n), 0, [], [[] for _ in range(n_threads)]
    while tasks or running or any(idle):
        while (
            idle and (idle[-1] or tasks) and (tree.alive < blocking.open_partitions or not running)
        ):
            task = idle.pop() or tasks.pop()
            partition = task.pop(0)
            heapq.heappush(running, (now + lengths[partition], partition, task))
            tree.alive += 1
        now, partition, task = heapq.heappop(running)
        tree.end(partition)
        idle.append(task)
        idle.sort(key=bool)  # who has begun a task goes on first
    assert tree.alive == 1
    return sum(lengths) / n_threads / now


def sizes(n_threads):
    return [1024 * n_threads + rows for rows in BEYOND] + [
        int(1024 * n_threads * times) for times in TIMES
    ]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("n_features", "n_components", "moments"),
    [
        (2, 3, "full"),
        (16, 16, "full"),
        (39, 64, "diag"),
        (20, 100, "pooled"),
        (3, 8, None),
        (16, 100, "first"),
    ],
)
def test_threads_are_busy(n_features, n_components, moments, dtype):
    blocking = get_backend("native").blocking
    for n_threads in THREADS:
        for n_samples in sizes(n_threads):
            planned = blocking(n_samples, n_features, n_components, np.dtype(dtype), moments)
            assert planned.open_partitions == planned.n_partitions, "all statistics fit in memory"
            part = busy(planned, n_threads)
            assert part >= 0.85, (n_threads, n_samples, part)


@pytest.mark.parametrize("moments", ["full", "pooled"])
@pytest.mark.parametrize("open_partitions", [16, 17, 24, 40, 64, 100, 200])
def test_threads_are_busy_where_few_partial_statistics_fit(open_partitions, moments):
    """A sixth as many threads as statistics."""
    n_features = 64
    one = get_backend("native").blocking(10**6, n_features, 1, np.dtype(float), moments)
    assert one.open_partitions == one.n_partitions
    bytes_each = (64 << 20) // open_partitions
    triangle = 8 * 8 * (n_features // 8) * (n_features // 8 + 1) // 2
    each = 8 * (1 + n_features + (triangle if moments == "full" else 0))
    n_components = (bytes_each - (8 * triangle if moments == "pooled" else 0)) // each
    n_threads = max(1, open_partitions // 6)
    for n_samples in sizes(n_threads):
        planned = get_backend("native").blocking(
            n_samples, n_features, n_components, np.dtype(float), moments
        )
        assert not planned.split_components
        assert planned.open_partitions <= 1.05 * open_partitions
        assert busy(planned, n_threads) >= 0.85, n_samples


def test_every_thread_of_many_gets_work():
    """Partitions of rows that are few for each thread."""
    for n_threads in (24, 64):
        for n_samples in (512 * n_threads, 100 * n_threads + 50_000):
            planned = get_backend("native").blocking(n_samples, 8, 8, np.dtype(float), "full")
            assert planned.n_partitions >= n_threads
