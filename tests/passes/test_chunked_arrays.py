"""Arrays that are stored in chunks: each is read once a pass, whatever blocks a pass asks for."""

from __future__ import annotations

import threading
import weakref

import numpy as np
import pytest

import vbfast
from elsewhere import Elsewhere
from vbfast.contract import LogJoint, Request
from vbfast.passes import array_rows, kept_chunks, one_pass
from vbfast.passes.kept_chunks import KeptChunks
from vbfast.passes.one_pass import run_pass
from vbfast.passes.parquet_rows import ParquetRows
from vbfast.passes.rows import as_row_source

N, D = 6000, 4


class Chunked(Elsewhere):
    """Counts how often each of its chunks is decompressed, and how many slices are in use."""

    def __init__(self, array, chunk_rows):
        super().__init__(array)
        self.chunks = (chunk_rows, 2)
        self.decompressed = np.zeros(-(-len(array) // chunk_rows), dtype=int)
        self.in_use = self.most_in_use = 0
        self.threads = set()

    def __getitem__(self, rows):
        self.threads.add(threading.get_ident())
        first, last = rows.start // self.chunks[0], -(-rows.stop // self.chunks[0])
        self.decompressed[first:last] += 1
        read = super().__getitem__(rows)
        self.in_use += 1
        self.most_in_use = max(self.in_use, self.most_in_use)
        weakref.finalize(read, self._let_go)
        return read

    def _let_go(self):
        self.in_use -= 1


@pytest.fixture(name="X")
def rows():
    rng = np.random.default_rng(0)
    means = 5.0 * rng.normal(size=(3, D))
    return means[rng.integers(3, size=N)] + rng.normal(size=(N, D))


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Rounds of few rows, in several partitions at a time; chunks that are read one by one."""
    monkeypatch.setattr(one_pass, "ROUND_BYTES", 1 << 12)
    monkeypatch.setattr(array_rows, "SLICE_BYTES", 64)


@pytest.fixture(name="log_joint")
def some_log_joint(X):
    return LogJoint.quadratic("spherical", np.zeros(3), X[:3], np.ones(3))


each_chunk_length = pytest.mark.parametrize("chunk_rows", [7, 100, 333, 1700, N, 2 * N])
each_number_of_threads = pytest.mark.parametrize("threads", [1, 2, 5])


@each_chunk_length
@each_number_of_threads
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int16])
def test_a_pass_reads_each_chunk_once(X, log_joint, chunk_rows, threads, dtype):
    stored = Chunked(X.astype(dtype), chunk_rows)
    source = as_row_source(stored)
    request = Request(moments="full", entropy=True)
    with vbfast.config_context(num_threads=threads):
        for count in (1, 2):
            result = run_pass(source, log_joint, request)
            np.testing.assert_array_equal(stored.decompressed, count)
        expected = run_pass(as_row_source(X.astype(dtype)), log_joint, request)
    assert result == expected
    assert stored.in_use == 0  # nothing is kept from one pass to the next
    if dtype != np.int16 and chunk_rows >= 100:  # for others are converted, or copied
        # Those of the partitions that go side by side, and of the rounds that are in use.
        assert stored.most_in_use <= 4 * threads + 3 * max(threads, 2) + 1


def test_small_chunks_are_read_together(X, log_joint, monkeypatch):
    monkeypatch.setattr(array_rows, "SLICE_BYTES", 100 * D * 8)
    stored = Chunked(X, 7)
    run_pass(as_row_source(stored), log_joint, Request(moments="diag"))
    np.testing.assert_array_equal(stored.decompressed, 1)
    assert {stop - start for start, stop in stored.slices} == {98, N % 98}


def test_chunks_are_read_ahead(X, log_joint):
    stored = Chunked(X, 500)
    run_pass(as_row_source(stored), log_joint, Request(moments="diag"))
    assert len(stored.threads) == 1
    assert threading.get_ident() not in stored.threads


@each_chunk_length
def test_taking_rows_reads_each_chunk_once(X, chunk_rows):
    stored = Chunked(X, chunk_rows)
    source = as_row_source(stored)
    indices = np.random.default_rng(1).integers(N, size=40)
    np.testing.assert_array_equal(source.take(indices), X[indices])
    touched = np.zeros(len(stored.decompressed), dtype=int)
    touched[np.unique(indices // chunk_rows)] = 1
    np.testing.assert_array_equal(stored.decompressed, touched)


def test_chunks_that_no_memory_may_hold_are_read_as_asked(X, monkeypatch):
    monkeypatch.setattr(array_rows, "CHUNK_BYTES", 999 * D * 8)
    stored = Chunked(X, 1000)
    source = as_row_source(stored)
    assert not source.in_chunks
    source.block(10, 20)
    assert stored.slices == [(10, 20)]


class NoRegularGrid(Elsewhere):
    @property
    def chunks(self):
        raise NotImplementedError


@pytest.mark.parametrize("chunks", [None, ((5, 5), (4,)), (), (None, None), 5, "auto"])
def test_chunks_that_say_nothing_of_rows(X, chunks):
    stored = Elsewhere(X)
    stored.chunks = chunks
    for array in (stored, NoRegularGrid(X)):
        source = as_row_source(array)
        assert not source.in_chunks
        np.testing.assert_array_equal(source.block(3, 9), X[3:9])
        assert array.slices == [(3, 9)]


@pytest.mark.parametrize("seed", range(5))
def test_blocks_in_any_order(X, seed):
    rng = np.random.default_rng(seed)
    bounds = [0, *np.sort(rng.choice(np.arange(1, N), 17, replace=False)).tolist(), N]
    read = []

    def chunk(number):
        read.append(number)
        return X[bounds[number] : bounds[number + 1]].copy()

    kept = KeptChunks(bounds, chunk, D, X.dtype)
    for _ in range(100):
        start, stop = np.sort(rng.choice(N + 1, 2, replace=False))
        np.testing.assert_array_equal(kept.block(start, stop), X[start:stop])
        indices = rng.integers(N, size=5)
        np.testing.assert_array_equal(kept.take(indices), X[indices])
    with vbfast.config_context(num_threads=2):
        for start in range(0, N, 300):
            kept.block(start, start + 1)
            assert len(kept._kept) <= 8
    assert set(read) == set(range(18))


def test_several_threads_may_ask(X):
    stored = Chunked(X, 700)
    source = as_row_source(stored)
    wrong = []

    def ask(seed):
        rng = np.random.default_rng(seed)
        for _ in range(200):
            start = int(rng.integers(N - 50))
            if not np.array_equal(source.block(start, start + 50), X[start : start + 50]):
                wrong.append(start)

    threads = [threading.Thread(target=ask, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


@pytest.mark.kernels
@pytest.mark.parametrize("make", [vbfast.GaussianMixture, vbfast.BayesianGaussianMixture])
def test_a_fit_has_the_bits_of_one_array(X, make):
    whole = make(3, random_state=0).fit(X)
    stored = Chunked(X, 450)
    again = make(3, random_state=0).fit(stored)
    np.testing.assert_array_equal(again.means_, whole.means_)
    assert again.lower_bounds_ == whole.lower_bounds_
    np.testing.assert_array_equal(again.predict(stored), whole.predict(X))


def test_a_row_that_is_not_finite_is_looked_for_chunk_by_chunk(X):
    X[4321, 1] = np.nan
    stored = Chunked(X, 450)
    with pytest.raises(ValueError, match="Input X contains NaN"):
        vbfast.GaussianMixture(3, random_state=0, init_params="random_from_data").fit(stored)
    assert stored.decompressed.max() <= 4  # the start, the pass, the search, and the row itself


class TestParquet:
    @pytest.fixture(name="folder")
    def some_folder(self, X, tmp_path):
        pa = pytest.importorskip("pyarrow")
        from pyarrow import parquet

        for name, rows in (("a", X[:2500]), ("b", X[2500:])):
            table = pa.table({f"c{column}": rows[:, column] for column in range(D)})
            parquet.write_table(table, tmp_path / f"{name}.parquet", row_group_size=700)
        return tmp_path

    @pytest.mark.parametrize("batch_rows", [1 << 13, 64])
    @each_number_of_threads
    def test_a_pass_decodes_each_row_group_once(
        self, X, log_joint, folder, threads, batch_rows, monkeypatch
    ):
        decoded, original = [], ParquetRows._decoded

        def counted(self, chunk):
            decoded.append((self.data.name, chunk))
            return original(self, chunk)

        monkeypatch.setattr(ParquetRows, "_decoded", counted)
        monkeypatch.setattr("vbfast.passes.parquet_rows.BATCH_ROWS", batch_rows)
        source = vbfast.open_rows(folder)
        with vbfast.config_context(num_threads=threads):
            result = run_pass(source, log_joint, Request(moments="full", entropy=True))
        groups = [("a.parquet", 4), ("b.parquet", 5)]
        assert sorted(decoded) == [
            (name, group) for name, count in groups for group in range(count)
        ]
        assert result == run_pass(
            as_row_source(X), log_joint, Request(moments="full", entropy=True)
        )
        assert not any(file._kept._kept for file in source._chunks)  # nothing stays

    def test_taking_rows_decodes_each_row_group_once(self, X, folder, monkeypatch):
        decoded, original = [], ParquetRows._decoded

        def counted(self, chunk):
            decoded.append(chunk)
            return original(self, chunk)

        monkeypatch.setattr(ParquetRows, "_decoded", counted)
        source = vbfast.open_rows(folder / "a.parquet")
        indices = np.array([2400, 3, 1500, 3, 1401, 699])
        np.testing.assert_array_equal(source.take(indices), X[indices])
        assert decoded == [0, 2, 3]


def test_memory_is_stated_for_one_thread_too(X):
    """Four chunks at most, of which a pass of one thread has one or two in use."""
    stored = Chunked(X, 500)
    source = as_row_source(stored)
    with vbfast.config_context(num_threads=1):
        for start in range(0, N, 500):
            source.block(start, start + 10)
    assert stored.in_use == 4
    assert isinstance(source._kept, kept_chunks.KeptChunks)
