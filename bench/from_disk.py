"""A pass over rows on disk, none of them cached: N = 50,000,000, D = 16, K = 16, diag, float32.

The script makes the rows, a million at a time, as a `.npy` file (3.2 GB) and as a Parquet file, in
row groups of 262,144 rows and without dictionaries; with `--folder` they are kept there, and found
again. A pass, from given parameters, reads a file whose pages were evicted (`posix_fadvise`). The
disk's own time is that of reading the evicted file in blocks of 4 MB and doing nothing, by turns
with passes. The kernel's own is that of a pass over rows in memory: of the first eight million,
times what that is a part of. The reader's processor time is that of the thread that reads ahead,
decoding included. The ratio is that of the pass to the larger of the disk's and the kernel's time
plus half of the reader's: on two processors it takes that much from the kernel. Memory is the most
anonymous resident memory (RssAnon) that a thread saw every ten milliseconds, that of Python and its
packages included. Times are medians.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
import threading
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

D, K = 16, 16
CHUNK = 1 << 20  # rows that are made at a time: whole row groups
GROUP = 1 << 18
BLOCK = 4 << 20  # bytes, what a pass reads at a place
IN_MEMORY = 8_000_000
BARS = {"ratio": 1.25, "memory": 400}


def centres():
    """Return the means that rows are drawn about; some overlap."""
    return 1.5 * np.random.default_rng(0).normal(size=(K, D))


def chunks(n_rows):
    """Yield rows, some at a time."""
    rng, means = np.random.default_rng(1), centres().astype(np.float32)
    for start in range(0, n_rows, CHUNK):
        n = min(CHUNK, n_rows - start)
        yield means[rng.integers(K, size=n)] + rng.standard_normal((n, D), dtype=np.float32)


def make_files(folder, n_rows):
    """Write the files that are not there yet, and return their paths."""
    from pyarrow import float32 as single
    from pyarrow import parquet, schema, table

    paths = [folder / f"rows-{n_rows}.npy", folder / f"rows-{n_rows}.parquet"]
    if all(path.exists() for path in paths):
        return paths
    names = [f"x{column}" for column in range(D)]
    part = [path.with_name(f"{path.name}.part") for path in paths]
    columns = schema([(name, single()) for name in names])
    # Hardly a number is there twice.
    table_writer = parquet.ParquetWriter(part[1], columns, use_dictionary=False)
    with part[0].open("wb") as array, table_writer as writer:
        header = {"descr": "<f4", "fortran_order": False, "shape": (n_rows, D)}
        np.lib.format.write_array_header_1_0(array, header)
        for rows in chunks(n_rows):
            array.write(rows.tobytes())
            writer.write_table(
                table(dict(zip(names, rows.T.copy(), strict=True))), row_group_size=GROUP
            )
    for made, path in zip(part, paths, strict=True):
        made.rename(path)
        with path.open("rb") as file:
            os.fsync(file.fileno())  # pages that are not written yet would stay
    return paths


def evict(path):
    """Ask for a file's pages to leave the memory."""
    with path.open("rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def read(path):
    """Read a file, and do nothing with it."""
    memory = memoryview(bytearray(BLOCK))
    with path.open("rb", buffering=0) as file:
        while file.readinto(memory):
            pass


def status(file, name):
    """Return a number that the system has of this process."""
    lines = Path("/proc/self", file).read_text().splitlines()
    [line] = [line for line in lines if line.startswith(name)]
    return int(line.split()[1])


def read_bytes():
    """Return how many bytes this process has had from a disk."""
    return status("io", "read_bytes:")


def anonymous_bytes():
    """Return how much memory of this process is resident, and no page of a file."""
    return 1024 * status("status", "RssAnon:")


class Watch:
    """Keeps the most anonymous memory, as a thread sees it."""

    def __init__(self):
        self.most, self._end = 0, threading.Event()

    @contextlib.contextmanager
    def watching(self):
        """Look while the block runs."""
        thread = threading.Thread(target=self._look)
        thread.start()
        try:
            yield
        finally:
            self._end.set()
            thread.join()

    def _look(self):
        ended = False
        while not ended:
            ended = self._end.wait(0.01)
            self.most = max(self.most, anonymous_bytes())


class Timed:
    """A source that adds up the processor time of its reading, whichever thread does that."""

    def __init__(self, source):
        self._source, self.processor_seconds = source, 0.0
        self.n_samples, self.n_features = source.n_samples, source.n_features
        self.dtype, self.data, self.in_memory = source.dtype, source.data, None
        self.reads_ahead, self.in_chunks = source.reads_ahead, source.in_chunks

    def block(self, start, stop):
        began = time.thread_time()
        rows = self._source.block(start, stop)
        self.processor_seconds += time.thread_time() - began
        return rows

    def take(self, indices):
        return self._source.take(indices)


def given_mixture():
    """Return a mixture with given parameters, near those that the rows were drawn with."""
    warnings.simplefilter("ignore", ConvergenceWarning)
    mixture = vbfast.GaussianMixture(
        K,
        covariance_type="diag",
        weights_init=np.full(K, 1 / K),
        means_init=centres() + 0.3,
        precisions_init=np.ones((K, D)),
        max_iter=0,
    )
    return mixture.fit(centres().astype(np.float32))


def on_disk(path, repeats):
    """Return medians of seconds: pass, disk, reader; the most memory, and what was read, bytes."""
    mixture, watch = given_mixture(), Watch()
    source = Timed(vbfast.open_rows(path))
    found = []
    for _ in range(repeats):
        evict(path)
        disk = seconds(lambda: read(path))
        evict(path)
        before, source.processor_seconds = read_bytes(), 0.0
        looking = Watch()
        with looking.watching():
            whole = seconds(lambda: mixture.summarize(source))
        watch.most = max(watch.most, looking.most)
        found.append((whole, disk, source.processor_seconds, read_bytes() - before))
    whole, disk, reader, from_disk = np.median(found, axis=0)
    return whole, disk, reader, watch.most, from_disk


def in_memory(path, n_rows, repeats):
    """Return the seconds of a pass over as many rows that lie in memory."""
    mixture = given_mixture()
    few = min(n_rows, IN_MEMORY)
    rows = np.array(np.load(path, mmap_mode="r")[:few])
    mixture.summarize(rows)
    times = [seconds(lambda: mixture.summarize(rows)) for _ in range(repeats)]
    return float(np.median(times)) * n_rows / few


def tables(*, rows=50_000_000, folder="", repeats=3, quick=False):
    n_rows = 50_000 if quick else rows
    lines = []
    with tempfile.TemporaryDirectory() as temporary:
        array, table = make_files(Path(folder or temporary), n_rows)
        kernel = measure.fresh(in_memory, array, n_rows, repeats)
        for path in (array, table):
            found = measure.fresh(on_disk, path, repeats)
            whole, disk, reader, memory, from_disk = found
            floor = max(disk, kernel) + reader / 2
            lines.append(
                [
                    path.suffix,
                    f"{whole:.4f}",
                    f"{disk:.4f}",
                    f"{kernel:.4f}",
                    f"{reader:.4f}",
                    f"{whole / floor:.2f}",
                    f"{memory / 1e6:.0f}",
                    f"{from_disk / path.stat().st_size:.0%}",
                ]
            )
    header = [
        "file",
        "s",
        "disk, s",
        "kernel, s",
        "reader's processor, s",
        f"ratio (at most {BARS['ratio']})",
        f"memory, MB (at most {BARS['memory']})",
        "read from the disk",
    ]
    return [measure.Table(header, lines)]


if __name__ == "__main__":
    measure.run_script(tables)
