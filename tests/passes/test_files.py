"""Rows of files by their path, and of several arrays one after another."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

import vbfast
from vbfast.contract import LogJoint, NonFiniteRowError, Request
from vbfast.passes import files, one_pass
from vbfast.passes.chunks import ChunkRows
from vbfast.passes.reading_ahead import read_ahead
from vbfast.passes.rows import as_row_source, is_chunks
from vbfast.passes.runner import LocalRunner

DTYPES = [np.float32, np.float64]


@pytest.fixture(name="X", params=DTYPES)
def rows(request):
    rng = np.random.default_rng(0)
    means = 5.0 * rng.normal(size=(3, 4))
    return (means[rng.integers(3, size=5000)] + rng.normal(size=(5000, 4))).astype(request.param)


@pytest.fixture(autouse=True)
def short_rounds(monkeypatch):
    """Of about a thousand rows, so that files are read in several."""
    monkeypatch.setattr(one_pass, "ROUND_BYTES", 1 << 14)


def fit(X, **arguments):
    return vbfast.GaussianMixture(3, random_state=0, **arguments).fit(X)


def assert_same_fit(one, other):
    np.testing.assert_array_equal(one.means_, other.means_)
    np.testing.assert_array_equal(one.covariances_, other.covariances_)
    assert one.lower_bounds_ == other.lower_bounds_


def write_parquet(path, X, **options):
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    columns = {f"c{column}": X[:, column] for column in range(X.shape[1])}
    parquet.write_table(pa.table(columns), path, **options)


def kinds(X, tmp_path):
    """Return the same rows in all kinds of places."""
    np.save(tmp_path / "rows.npy", X)
    np.save(tmp_path / "columns.npy", np.asfortranarray(X))
    np.save(tmp_path / "first.npy", X[:700])
    (tmp_path / "folder").mkdir()
    write_parquet(tmp_path / "rows.parquet", X, row_group_size=1111)
    write_parquet(tmp_path / "folder" / "a.parquet", X[:2000], row_group_size=300)
    write_parquet(tmp_path / "folder" / "b.parquet", X[2000:])
    return {
        "path": tmp_path / "rows.npy",
        "text": str(tmp_path / "rows.npy"),
        "list": np.array_split(X, 7),
        "tuple": (X[:1], X[1:4999], X[4999:]),
        "maps": np.array_split(np.load(tmp_path / "rows.npy", mmap_mode="r"), 4),
        "mixed": [tmp_path / "first.npy", X[700:3000], np.asfortranarray(X[3000:])],
        "one": [X],
        "parquet": tmp_path / "rows.parquet",
        "folder": tmp_path / "folder",
        "columns": tmp_path / "columns.npy",
        "nested": as_row_source([as_row_source([X[:10], X[10:20]]), X[20:]]),
    }  # fmt: skip


@pytest.mark.kernels
def test_bits_are_those_of_one_array(X, tmp_path):
    whole = fit(X)
    for kind, source in kinds(X, tmp_path).items():
        again = fit(source)
        assert_same_fit(again, whole)
        assert again.means_.dtype == X.dtype, kind
        assert again.score(source) == whole.score(X)
        np.testing.assert_array_equal(again.predict(source), whole.predict(X))
        np.testing.assert_array_equal(again.score_samples(source), whole.score_samples(X))


def test_weights_and_other_methods(X, tmp_path):
    np.save(tmp_path / "rows.npy", X)
    weights = np.random.default_rng(1).integers(0, 3, size=len(X))
    whole, again = (
        vbfast.BayesianGaussianMixture(3, random_state=0, tol=1.0).fit(
            source, sample_weight=weights
        )
        for source in (X, np.array_split(X, 3))
    )
    assert_same_fit(again, whole)
    assert again.elbo(tmp_path / "rows.npy").total == whole.elbo(X).total
    learned = vbfast.GaussianMixture(3, random_state=0).partial_fit(tmp_path / "rows.npy")
    np.testing.assert_array_equal(
        learned.means_, vbfast.GaussianMixture(3, random_state=0).partial_fit(X).means_
    )


def test_columns_are_chosen(X, tmp_path):
    write_parquet(tmp_path / "rows.parquet", X)
    chosen = vbfast.open_rows(tmp_path / "rows.parquet", columns=["c3", "c0"])
    assert chosen.n_features == 2
    assert_same_fit(fit(chosen), fit(X[:, [3, 0]]))
    for wrong, message in (
        (["c7"], r"no column named 'c7'; it has c0, c1, c2, c3"),
        ([], "has no columns"),
    ):
        with pytest.raises(ValueError, match=message):
            vbfast.open_rows(tmp_path / "rows.parquet", columns=wrong)
    np.save(tmp_path / "rows.npy", X)
    with pytest.raises(ValueError, match=r"columns of a \.npy file have no names"):
        vbfast.open_rows(tmp_path / "rows.npy", columns=["c0"])
    with pytest.raises(ValueError, match=r"key 'a' is of an array in an HDF5 file"):
        vbfast.open_rows(tmp_path / "rows.parquet", key="a")


def test_the_index_of_a_data_frame_is_left_out(tmp_path):
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    frame = pandas.DataFrame({"a": [1.0, 2.0], "b": [3, 4]}, index=pandas.Index([7, 9], name="i"))
    frame.to_parquet(tmp_path / "frame.parquet")
    source = vbfast.open_rows(tmp_path / "frame.parquet")
    np.testing.assert_array_equal(source.block(0, 2), [[1.0, 3.0], [2.0, 4.0]])


@pytest.mark.parametrize("dtype", [np.int16, np.float16, ">f4", ">f8", bool])
def test_other_dtypes(tmp_path, dtype):
    X = np.random.default_rng(0).integers(0, 2, size=(100, 2)).astype(dtype)
    np.save(tmp_path / "rows.npy", X)
    source = as_row_source(tmp_path / "rows.npy")
    expected = as_row_source(X)
    assert source.dtype == expected.dtype
    np.testing.assert_array_equal(source.block(3, 50), expected.block(3, 50))


def test_a_row_that_is_not_finite_is_named(X, tmp_path):
    broken = X.copy()
    broken[3021, 2] = np.nan
    np.save(tmp_path / "rows.npy", broken)
    write_parquet(tmp_path / "rows.parquet", broken, row_group_size=1000)
    places = {
        "row 21 of X[3]": [broken[start : start + 1000] for start in range(0, 5000, 1000)],
        f"row 3021 of {tmp_path}/rows.npy": tmp_path / "rows.npy",
        f"row 21 of row group 3 of {tmp_path}/rows.parquet": tmp_path / "rows.parquet",
    }
    fitted = fit(X)
    for place, source in places.items():
        for method in (fit, fitted.predict, fitted.score):
            with pytest.raises(ValueError, match="Input X contains NaN") as caught:
                method(source)
            assert str(caught.value).endswith(f"\nThe first such row is {place}.")


@pytest.mark.parametrize(
    ("chunks", "message"),
    [
        ([np.ones((5, 2)), np.ones((5, 3))], r"X\[1\] has 3 features, but X\[0\] has 2"),
        ([np.ones((5, 2)), np.ones((5, 2), "f4")], r"X\[1\] is computed in float32, but X\[0\] in"),
        ([np.ones((5, 2)), np.ones((0, 2))], r"X\[1\]: Found array with 0 sample"),
        ([np.ones((5, 2)), np.full((5, 2), "a")], r"X\[1\]: X must be numeric"),
    ],
)  # fmt: skip
def test_chunks_that_do_not_go_together(chunks, message):
    with pytest.raises((ValueError, TypeError), match=message):
        fit(chunks)


@pytest.mark.parametrize(
    ("second", "message"),
    [
        (lambda X: X[:, :3], r"b\.parquet has 3 features, but .*a\.parquet has 4"),
        (
            lambda X: X.astype("f4" if X.dtype == "f8" else "f8"),
            r"b\.parquet is computed in float\d\d, but .*a\.parquet in float\d\d: convert one",
        ),
        (lambda X: X[:0], r"b\.parquet has no rows"),
    ],
)
def test_files_of_a_folder_that_do_not_go_together(X, tmp_path, second, message):
    write_parquet(tmp_path / "a.parquet", X)
    write_parquet(tmp_path / "b.parquet", second(X))
    with pytest.raises(ValueError, match=message):
        fit(tmp_path)


@pytest.mark.parametrize("method", ["fit", "partial_fit", "predict", "score"])
def test_a_bad_row_of_a_list_is_named_by_its_chunk(X, method):
    chunks = np.array_split(X.copy(), 20)
    chunks[17][3, 1] = np.nan
    mixture = fit(X)
    with pytest.raises(ValueError, match="Input X contains NaN") as caught:
        getattr(mixture, method)(chunks)
    assert str(caught.value).endswith(r"The first such row is row 3 of X[17].")


def test_what_is_a_list_of_chunks():
    X = np.ones((4, 2))
    assert is_chunks([X, X])
    assert not is_chunks([])
    assert not is_chunks([[1.0, 2.0], [3.0, 4.0]])
    assert not is_chunks([X, [1.0, 2.0]])
    assert not is_chunks([X[0], X[1]])
    assert not is_chunks(X)


def test_taking_rows_of_chunks():
    X = np.arange(40.0).reshape(20, 2)
    source = ChunkRows([as_row_source(X[:7]), as_row_source(X[7:8]), as_row_source(X[8:])], "abc")
    indices = np.array([19, 7, 0, 7, 8, 6])
    np.testing.assert_array_equal(source.take(indices), X[indices])
    np.testing.assert_array_equal(source.block(5, 12), X[5:12])
    assert np.shares_memory(source.block(8, 20), X)
    assert [source.place_of(row) for row in (6, 7, 19)] == [
        "row 6 of a", "row 0 of b", "row 11 of c"
    ]  # fmt: skip


class TestFiles:
    @pytest.mark.parametrize("order", ["C", "F"])
    def test_a_file_that_shrinks_before_it_is_read(self, X, tmp_path, order):
        path = tmp_path / "rows.npy"
        np.save(path, np.asarray(X, order=order))
        source = vbfast.open_rows(path)
        with path.open("r+b") as file:
            file.truncate(128 + 100 * X.itemsize * 4)
        for shrunk in (source, path):
            with pytest.raises(ValueError, match="has 100 rows; its header says 5000"):
                fit(shrunk)

    @pytest.mark.parametrize("kind", ["path", "list"])
    def test_a_file_that_shrinks_while_it_is_read(self, X, tmp_path, kind, monkeypatch):
        """In the second iteration, in the thread that reads ahead."""
        path = tmp_path / "rows.npy"
        np.save(path, X)
        reads, readinto = [], files._NumpyArray._read

        def read(self, first, values):
            reads.append(first)
            if reads.count(0) == 2 and first > 0:
                with path.open("r+b") as file:
                    file.truncate(128 + 40 * X.itemsize * 4)
            readinto(self, first, values)

        monkeypatch.setattr(files._NumpyArray, "_read", read)
        mixture = vbfast.GaussianMixture(3, init_params="random_from_data", random_state=0)
        before = threading.active_count()
        with pytest.raises(ValueError, match=r"rows\.npy has 40 rows; its header says 5000"):
            mixture.fit(path if kind == "path" else [path, X[:10]])
        assert threading.active_count() == before
        assert not hasattr(mixture, "means_")

    def test_a_parquet_file_that_shrinks_while_it_is_read(self, X, tmp_path):
        path = tmp_path / "rows.parquet"
        write_parquet(path, X, row_group_size=500)
        source = vbfast.open_rows(path)
        source.block(0, 10)
        with path.open("r+b") as file:
            file.truncate(path.stat().st_size // 3)
        with pytest.raises((ValueError, OSError), match=r"rows\.parquet"):
            fit(source)

    def test_what_is_no_table(self, tmp_path):
        cases = {
            "vector": (np.ones(3), r"shape \(3,\); expected two dimensions"),
            "objects": (np.array([[1, None]], dtype=object), "Python objects"),
            "complex": (np.ones((3, 2), complex), "dtype complex128; expected real numbers"),
        }
        for name, (array, message) in cases.items():
            np.save(tmp_path / f"{name}.npy", array)
            with pytest.raises((ValueError, TypeError), match=message):
                fit(tmp_path / f"{name}.npy")
        (tmp_path / "text.npy").write_text("1,2\n3,4\n")
        with pytest.raises(ValueError, match="is not what NumPy writes"):
            fit(tmp_path / "text.npy")
        with pytest.raises(FileNotFoundError):
            fit(tmp_path / "missing.npy")
        (tmp_path / "empty").mkdir()
        with pytest.raises(FileNotFoundError, match=r"no \.parquet files"):
            fit(tmp_path / "empty")
        with pytest.raises(ValueError, match=r"expected \.npy, \.parquet"):
            vbfast.open_rows(tmp_path / "rows.csv")

    def test_parquet_that_is_no_table_of_numbers(self, X, tmp_path):
        pa = pytest.importorskip("pyarrow")
        from pyarrow import parquet

        path = tmp_path / "rows.parquet"
        tables = {
            "column 'b' is of type string": {"a": [1.0], "b": ["x"]},
            "column 'b' is of type list": {"a": [1.0], "b": [[1.0]]},
            "has no rows": {"a": np.ones(0)},
        }
        for message, columns in tables.items():
            parquet.write_table(pa.table(columns), path)
            with pytest.raises(ValueError, match=message):
                fit(path)
        nulls = pa.table({"a": [1.0, 2.0, 3.0, None], "b": [1.0] * 4})
        parquet.write_table(nulls, path, row_group_size=2)
        with pytest.raises(ValueError, match="column 'a' is empty in row 1 of row group 1"):
            vbfast.GaussianMixture().fit(path)
        path.write_bytes(b"PAR1 nothing")
        with pytest.raises(ValueError, match=r"rows\.parquet"):
            fit(path)
        with pytest.raises(FileNotFoundError):
            fit(tmp_path / "missing.parquet")


class TestReadingAhead:
    def test_the_next_one_is_made_meanwhile(self):
        made, main = [], threading.get_ident()
        reached = threading.Event()

        def items():
            for number in range(4):
                made.append((number, threading.get_ident() != main))
                if number == 2:
                    reached.set()
                yield number

        seen = []
        for item in read_ahead(items()):
            if item == 1:
                assert reached.wait(10)  # the next one is made while this one is in use
            assert len(made) <= item + 3  # and one more
            seen.append(item)
        assert seen == [0, 1, 2, 3]
        assert all(elsewhere for _, elsewhere in made)

    def test_errors_come_in_their_turn(self):
        def items():
            yield 1
            yield 2
            raise LookupError("3")

        coming = read_ahead(items())
        assert [next(coming), next(coming)] == [1, 2]
        with pytest.raises(LookupError, match="3"):
            next(coming)

    def test_the_thread_ends_with_the_iteration(self):
        before = threading.active_count()
        for item in read_ahead(iter(range(100))):
            if item == 3:
                break
        del item
        iterator = read_ahead(iter(range(5)))
        next(iterator)
        iterator.close()
        assert threading.active_count() == before

    def test_a_users_source_is_read_by_the_callers_thread(self, X):
        class Own:
            n_samples, n_features = X.shape
            dtype, in_memory, data = X.dtype, None, X

            def __init__(self):
                self.threads = set()

            def block(self, start, stop):
                self.threads.add(threading.get_ident())
                return X[start:stop]

            def take(self, indices):
                return X[indices]

        source = Own()
        fit(source)
        assert source.threads == {threading.get_ident()}
        seen = set()

        class Watched(ChunkRows):
            def block(self, start, stop):
                seen.add(threading.get_ident())
                return super().block(start, stop)

        log_joint = LogJoint.quadratic("spherical", np.zeros(1), np.zeros((1, 4)), np.ones(1))
        runner = LocalRunner(Watched([as_row_source(X[:99]), as_row_source(X[99:])], "ab"))
        runner.run(log_joint, Request(moments="diag"))
        assert len(seen) == 1
        assert threading.get_ident() not in seen

    @pytest.mark.parametrize("bad_row", [0, 1500, 4999])
    def test_nobody_else_reads_while_a_bad_row_is_looked_for(self, X, bad_row):
        broken = X.copy()
        broken[bad_row, 0] = np.nan
        reading, together = threading.Lock(), []

        class Slow(ChunkRows):
            def block(self, start, stop):
                together.append(not reading.acquire(blocking=False))
                try:
                    time.sleep(0.002)
                    return super().block(start, stop)
                finally:
                    reading.release()

        runner = LocalRunner(Slow([as_row_source(broken[:99]), as_row_source(broken[99:])], "ab"))
        log_joint = LogJoint.quadratic("spherical", np.zeros(1), np.zeros((1, 4)), np.ones(1))
        before = threading.active_count()
        with pytest.raises(NonFiniteRowError) as caught:
            runner.run(log_joint, Request(moments="diag"))
        assert caught.value.row == bad_row
        with pytest.raises(NonFiniteRowError):
            runner.seed(X[:1].astype(float), np.full(5000, np.inf, X.dtype))
        assert not any(together)
        assert threading.active_count() == before
