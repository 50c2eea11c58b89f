"""What only the backend 'cuda' has: a choice of units, and rows that stay on the device."""

from __future__ import annotations

import numpy as np
import pytest

from vbfast.backends import get_backend
from vbfast.backends.cuda import passes
from vbfast.backends.cuda.extension import load_extension
from vbfast.backends.cuda.rows import HostArray
from vbfast.backends.native.passes import FORMS
from vbfast.contract import Request
from vbfast.passes.rows import as_row_source
from vbfast.passes.runner import LocalRunner


@pytest.fixture(autouse=True)
def cuda(require_backend):
    require_backend("cuda")


@pytest.fixture
def run_with(random_params, rng, sample):
    """A function that runs a pass on the device, with tensor cores or without."""

    def make(covariance_type, n_features, dtype, moments):
        params = random_params(rng, covariance_type, 3, n_features)
        X = sample(rng, params, 700, dtype)
        form, coefficients = FORMS[type(params.form)](params.form)
        blocking = get_backend("cuda").blocking(*X.shape, 3, X.dtype, moments)

        def run(tensor_cores):
            log_joint = np.empty((len(X), 3), dtype)
            estep = load_extension().EStep(
                form,
                params.offset,
                params.form.centres,
                coefficients,
                "posterior",
                moments,
                False,
                dtype == np.float32,
                blocking.bounds,
                (None,) * 6 + (log_joint,),
                load_extension().Workspace(),
                tensor_cores=tensor_cores,
            )
            estep.run([(0, X, None, None)])
            return log_joint, estep.statistics()

        return run

    return make


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n_features", [3, 16, 33, 70])
@pytest.mark.parametrize(("covariance_type", "moments"), [("full", "full"), ("tied", "pooled")])
def test_cuda_tensor_cores_make_no_difference(
    run_with, covariance_type, moments, n_features, dtype
):
    run = run_with(covariance_type, n_features, dtype, moments)
    (with_them, sums), (without, other_sums), (chosen, _) = map(run, (True, False, None))
    close = 1e-4 if dtype == np.float32 else 1e-12
    np.testing.assert_allclose(with_them, without, rtol=close, atol=10 * close)
    for these, those in zip(sums, other_sums, strict=True):
        np.testing.assert_allclose(these, those, rtol=0, atol=close * np.abs(those).max())
    # One of the two, to the bit.
    assert np.array_equal(chosen, with_them) or np.array_equal(chosen, without)


def test_cuda_passes_over_all_rows_read_the_copy(monkeypatch, rng, random_params, sample):
    params = random_params(rng, "diag", 3, 2)
    runner = LocalRunner(as_row_source(sample(rng, params, 500)), backend="cuda")
    seen = []
    original = passes.CudaPass.run

    def run(self, blocks, num_threads):
        seen.extend(block.rows.on_device for block in blocks)
        original(self, blocks, num_threads)

    monkeypatch.setattr(passes.CudaPass, "run", run)
    runner.run(params, Request())
    assert [type(rows).__name__ for rows in seen] == ["DeviceRows"]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_cuda_passes_over_borrowed_rows_with_gaps(rng, random_params, sample, dtype):
    extension = load_extension()
    if "emulated" not in extension.device_info()["name"]:
        pytest.skip("the device's memory is its own")
    params = random_params(rng, "full", 3, 5)
    X = sample(rng, params, 700, dtype)
    wide = np.full((700, 9), np.nan, dtype)
    wide[:, 2:7] = X
    rows = wide[:, 2:7]
    there = extension.DeviceArray.borrow(
        rows.ctypes.data, rows.shape, rows.strides, dtype == np.float64, 0, wide
    )
    known = X.view(HostArray)
    known.on_device = extension.DeviceRows.borrow(there, extension.Stream(0))
    form, coefficients = FORMS[type(params.form)](params.form)
    found = []
    for given in (X, known):
        estep = extension.EStep(
            form,
            params.offset,
            params.form.centres,
            coefficients,
            "posterior",
            "full",
            False,
            dtype == np.float32,
            get_backend("cuda").blocking(*X.shape, 3, X.dtype, "full").bounds,
            (None,) * 7,
            extension.Workspace(),
        )
        estep.run([(0, given, None, None)])
        found.append((*estep.statistics(), estep.sums()))
    for these, those in zip(*found, strict=True):
        np.testing.assert_array_equal(these, those)
