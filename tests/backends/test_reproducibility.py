"""The same bits for any number of threads, any storage, and from run to run."""

from __future__ import annotations

import numpy as np
import pytest

from vbfast.backends import backend_names, get_backend
from vbfast.backends.native.blocking import blocking as native_blocking
from vbfast.config.settings import config_context, current_backend
from vbfast.contract import COVARIANCE_TYPES, Request
from vbfast.families.covariances import MOMENTS_OF
from vbfast.passes import one_pass
from vbfast.passes.one_pass import run_pass
from vbfast.passes.rows import as_row_source

pytestmark = [pytest.mark.kernels, pytest.mark.usefixtures("backend")]

# The reference has no threads.
with_threads = pytest.mark.parametrize(
    "backend", [name for name in backend_names() if name != "reference"], indirect=True
)

DTYPES = (np.float64, np.float32)


class Sliced:
    """Rows that can only be had by slices, as from a file."""

    def __init__(self, array):
        self._array = array
        self.shape, self.dtype = array.shape, array.dtype

    def __getitem__(self, rows):
        assert isinstance(rows, slice)
        return self._array[rows].copy()


def every_other(X, tmp_path):
    return np.repeat(np.repeat(X, 2, axis=0), 3, axis=1)[::2, ::3]


def backwards(X, tmp_path):
    return X[::-1, ::-1].copy()[::-1, ::-1]


def read_only(X, tmp_path):
    X = X.copy()
    X.setflags(write=False)
    return X


def uneven_row_stride(X, tmp_path):
    """Rows that start at any multiple of the item size, none of them aligned to a vector."""
    wide = np.zeros((len(X), X.shape[1] + 3), dtype=X.dtype)
    wide[:, 1:-2] = X
    return wide[:, 1:-2]


def unaligned(X, tmp_path):
    """Numbers at odd addresses, as a field of packed records has them."""
    records = np.zeros(len(X), dtype=[("flag", "u1"), ("x", X.dtype, X.shape[1])])
    records["x"] = X
    assert not records["x"].flags.aligned
    return records["x"]


def memory_map(X, tmp_path):
    path = tmp_path / "rows.npy"
    np.save(path, X)
    return np.load(path, mmap_mode="r")


def hdf5(X, tmp_path):
    h5py = pytest.importorskip("h5py")
    return h5py.File(tmp_path / "rows.h5", "w").create_dataset("x", data=X, chunks=(100, 2))


def zarr_array(X, tmp_path):
    zarr = pytest.importorskip("zarr")
    array = zarr.create_array(
        store=str(tmp_path / "rows.zarr"), shape=X.shape, dtype=X.dtype, chunks=(128, X.shape[1])
    )
    array[:] = X
    return array


STORAGES = {
    "fortran": lambda X, tmp_path: np.asfortranarray(X),
    "every other": every_other,
    "backwards": backwards,
    "read only": read_only,
    "uneven row stride": uneven_row_stride,
    "unaligned": unaligned,
    "memory map": memory_map,
    "sliced": lambda X, tmp_path: Sliced(X),
    "big endian": lambda X, tmp_path: X.astype(X.dtype.newbyteorder(">")),
    "hdf5": hdf5,
    "zarr": zarr_array,
}


@pytest.fixture
def problem(rng, random_params, sample):
    """A function to rows, parameters and weights that fill several partitions."""

    def make(dtype, covariance_type, n_samples=3001, n_components=7, n_features=5):
        params = random_params(rng, covariance_type, n_components, n_features)
        return sample(rng, params, n_samples, dtype), params, rng.uniform(0, 2, n_samples)

    return make


@with_threads
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
@pytest.mark.parametrize("assignment", ["posterior", "hard"])
@pytest.mark.parametrize(
    ("n_samples", "threads"),
    [
        (3001, (1, 2, 3, 5)),
        (120_000, (2, 7, 24, 64)),  # rows enough that all are woken: 2^19 operations each
    ],
)
def test_threads(
    run, problem, assert_same_bits, dtype, covariance_type, assignment, n_samples, threads
):
    X, params, weights = problem(dtype, covariance_type, n_samples)
    request = Request(assignment, MOMENTS_OF[covariance_type], entropy=True)
    with config_context(num_threads=1):
        expected = run(X, params, request, sample_weight=weights)
    for num_threads in threads:
        with config_context(num_threads=num_threads):
            assert_same_bits(run(X, params, request, sample_weight=weights), expected)


@with_threads
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("covariance_type", "n_components", "n_features", "assignment"),
    [
        ("full", 600, 40, "posterior"),
        ("tied", 5, 1040, "posterior"),  # a scatter of all rows, and what each component has
        ("tied", 5, 1040, "hard"),  # components that gather their rows
    ],
)
def test_threads_that_share_components(
    run, problem, assert_same_bits, dtype, covariance_type, n_components, n_features, assignment
):
    X, params, weights = problem(dtype, covariance_type, 600, n_components, n_features)
    moments = MOMENTS_OF[covariance_type]
    blocking = native_blocking(600, n_features, n_components, np.dtype(dtype), moments)
    assert blocking.split_components
    request = Request(assignment, moments)
    with config_context(num_threads=1):
        expected = run(X, params, request, sample_weight=weights)
    for num_threads in (2, 3, 24):
        with config_context(num_threads=num_threads):
            assert_same_bits(run(X, params, request, sample_weight=weights), expected)


@with_threads
@pytest.mark.parametrize("dtype", DTYPES)
def test_threads_that_share_components_with_few_rows_each(
    run, random_params, sample, assert_same_bits, rng, dtype
):
    params = random_params(rng, "full", 1400, 24, spread=8.0)
    X = sample(rng, params, 600, dtype)
    assert native_blocking(600, 24, 1400, np.dtype(dtype), "full").split_components
    request = Request(moments="full")
    with config_context(num_threads=1):
        expected = run(X, params, request)
    for num_threads in (2, 3, 24):
        with config_context(num_threads=num_threads):
            assert_same_bits(run(X, params, request), expected)
    with config_context(backend="reference"):
        reference, _ = run(X, params, request)
    tolerance = 1e-10 if dtype == np.float64 else 1e-3
    for name in ("weight", "first", "second"):
        actual, value = (getattr(r.statistics, name) for r in (expected[0], reference))
        scale = np.abs(value).max()
        np.testing.assert_allclose(actual, value, rtol=0, atol=tolerance * scale, err_msg=name)


@pytest.mark.parametrize("round_bytes", [one_pass.ROUND_BYTES, 1 << 16], ids=["whole", "rounds"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("storage", list(STORAGES))
def test_storage(
    run, problem, assert_same_bits, monkeypatch, tmp_path, dtype, storage, round_bytes
):
    monkeypatch.setattr(one_pass, "ROUND_BYTES", round_bytes)
    X, params, weights = problem(dtype, "full")
    stored = STORAGES[storage](X, tmp_path)
    request = Request(moments="full", entropy=True)
    expected = run(X, params, request, sample_weight=weights)
    assert_same_bits(run(stored, params, request, sample_weight=weights), expected)


@with_threads
@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
def test_sliced_rows_with_shared_components(
    run, problem, assert_same_bits, monkeypatch, covariance_type
):
    monkeypatch.setattr(one_pass, "ROUND_BYTES", 1 << 16)
    X, params, _ = problem(np.float64, covariance_type, 600, 600, 40)
    request = Request(moments="full")
    assert_same_bits(run(Sliced(X), params, request), run(X, params, request))


@pytest.mark.parametrize("stored", [np.asarray, Sliced, np.asfortranarray])
def test_given_responsibilities_in_rounds(run, problem, assert_same_bits, monkeypatch, rng, stored):
    X, params, _ = problem(np.float64, "diag")
    resp = rng.dirichlet(np.ones(params.n_components), len(X))
    request = Request("given", "diag", entropy=True)
    expected = run(X, params, request, resp=resp)
    monkeypatch.setattr(one_pass, "ROUND_BYTES", 1 << 15)
    assert_same_bits(run(X, params, request, resp=stored(resp)), expected)


def test_labels_are_one_hot_responsibilities(run, problem, rng):
    X, params, _ = problem(np.float64, "full")
    labels = rng.integers(params.n_components, size=len(X))
    request = Request("given", "full", entropy=True)
    by_label, _ = run(X, params, request, resp=labels)
    one_hot, _ = run(X, params, request, resp=np.eye(params.n_components)[labels])
    assert by_label.expected_log_joint == pytest.approx(one_hot.expected_log_joint, rel=1e-13)
    scale = np.abs(one_hot.statistics.second).max()
    np.testing.assert_allclose(
        by_label.statistics.second, one_hot.statistics.second, rtol=0, atol=1e-13 * scale
    )


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_workspace_that_served_other_models(run, problem, assert_same_bits, dtype):
    memory = get_backend(current_backend()).workspace()
    X, params, weights = problem(dtype, "full")
    request = Request(moments="full", entropy=True)
    expected = run(X, params, request, sample_weight=weights)
    for covariance_type, shape in (("diag", (500, 31, 17)), ("tied", (70, 2, 1))):
        other, other_params, _ = problem(dtype, covariance_type, *shape)
        run_pass(as_row_source(other), other_params, Request(), workspace=memory)
        again = run(X, params, request, sample_weight=weights, workspace=memory)
        assert_same_bits(again, expected)


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
def test_a_pass_without_other_outputs_has_the_same_evidence(run, problem, covariance_type):
    X, params, weights = problem(np.float64, covariance_type)
    request = Request(moments=MOMENTS_OF[covariance_type])
    alone = run_pass(as_row_source(X), params, request, sample_weight=weights)
    with_outputs, _ = run(X, params, request, sample_weight=weights)
    assert alone.log_evidence == pytest.approx(with_outputs.log_evidence, rel=1e-13)
    scale = np.abs(with_outputs.statistics.second).max()
    np.testing.assert_allclose(
        alone.statistics.second, with_outputs.statistics.second, rtol=0, atol=1e-13 * scale
    )
