"""Fits by Ray and Spark, as their examples make them, have the bits of fits on a Dask cluster."""

from __future__ import annotations

import contextlib
import importlib.util
import ipaddress
import runpy
import secrets
import tempfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import vbfast

pytest.importorskip("distributed")

import distributed
import psutil

import dask
import vbfast.dask

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
ATTRIBUTES = ("weights_", "means_", "covariances_", "precisions_cholesky_")
# But for the last one, chunks of fewer than 32,768 rows would be taken together by vbfast.dask.
SIZES = (40_000, 33_000, 50_000, 36_000, 500)

pytestmark = [
    pytest.mark.skipif(
        not EXAMPLES.is_dir(), reason="the examples are not part of this distribution"
    ),
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    # What takes no data frames of pandas does not depend on it.
    pytest.mark.filterwarnings("ignore::DeprecationWarning:ray"),  # of its own settings
    pytest.mark.filterwarnings("ignore:PySpark does not yet fully support pandas"),
]


def listening():
    """Return the addresses at which this process and those that it started listen, with ports."""
    here = psutil.Process()
    found = set()
    for process in (here, *here.children(recursive=True)):
        with contextlib.suppress(psutil.NoSuchProcess):  # which has just ended
            found |= {
                connection.laddr
                for connection in process.net_connections(kind="inet")
                if connection.status == psutil.CONN_LISTEN
            }
    return found


@pytest.fixture(scope="module", params=["ray", "pyspark"])
def engine(request):
    """An example, connected to its engine, and the addresses that were listened at before."""
    # Only looked for: what the example sets in the environment is read when Ray is imported.
    if importlib.util.find_spec(request.param) is None:
        pytest.skip(f"{request.param} is not installed")
    name = request.param.removeprefix("py")
    at_first = listening()
    with (
        tempfile.TemporaryDirectory(prefix="ray") as folder,
        pytest.MonkeyPatch.context() as patch,
    ):
        # Ray writes to /tmp and to the home folder otherwise. Its sockets need a short path.
        patch.setenv("RAY_TMPDIR", folder)
        patch.setenv("RAY_AUTH_TOKEN", secrets.token_hex(32))
        # Not being a module, it has no functions that other processes would have to import.
        example = SimpleNamespace(**runpy.run_path(str(EXAMPLES / f"fit_with_{name}.py")))
        example.at_first = at_first
        example.connect()
        try:
            yield example
        finally:
            example.disconnect()


@pytest.fixture(scope="module")
def client():
    here = {"dashboard_address": "127.0.0.1:0", "worker_dashboard_address": "127.0.0.1:0"}
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=False, **here
        ) as cluster,
        distributed.Client(cluster, set_as_default=False) as client,
    ):
        yield client


@pytest.fixture(scope="module")
def chunk():
    """A function of a chunk's number that returns its rows, near enough to be shared."""

    def rows(number):
        rng = np.random.default_rng(number)
        centres = 2.5 * np.random.default_rng(99).normal(size=(3, 4))
        return centres[rng.integers(3, size=sizes[number])] + rng.normal(size=(sizes[number], 4))

    sizes = SIZES  # other processes have no module of these tests
    return rows


@pytest.fixture(scope="module")
def chunks(chunk):
    return [chunk(number) for number in range(len(SIZES))]


@pytest.fixture(scope="module")
def held(engine, chunk):
    """The chunks, where the engine has them."""
    return engine.chunked(chunk, len(SIZES))


def test_the_example_has_the_bits_of_one_process(engine):
    in_engine, in_one = engine.main()
    assert in_engine.converged_
    for name in (*ATTRIBUTES, "lower_bounds_"):
        np.testing.assert_array_equal(getattr(in_engine, name), getattr(in_one, name))


def test_nobody_listens_to_other_machines(engine):
    addresses = [ipaddress.ip_address(address.ip) for address in listening() - engine.at_first]
    assert addresses
    for address in addresses:
        assert (getattr(address, "ipv4_mapped", None) or address).is_loopback


@pytest.mark.parametrize("estimator", ["GaussianMixture", "BayesianGaussianMixture"])
def test_the_bits_of_a_fit_on_a_dask_cluster(engine, held, client, chunks, estimator):
    arguments = {"random_state": 0, "max_iter": 4, "tol": 0.0}
    on_cluster = getattr(vbfast.dask, estimator)(3, client=client, **arguments)
    delayed = [dask.delayed(rows) for rows in chunks]
    in_engine = engine.fit(on_cluster.initialize(delayed).to_local(), held)
    on_cluster.fit(delayed)
    assert in_engine.n_iter_ == on_cluster.n_iter_ == 4
    for name in (*ATTRIBUTES, "lower_bounds_", "n_passes_"):
        np.testing.assert_array_equal(getattr(in_engine, name), getattr(on_cluster, name))


def test_a_fit_of_all_rows_is_near(engine, held, chunks):
    X = np.concatenate(chunks)
    mixture = vbfast.GaussianMixture(3, random_state=0, tol=0.0).initialize(X)
    for n_iter, tolerance in ((1, 1e-12), (20, 1e-10)):
        engine.fit(mixture.set_params(max_iter=n_iter), held)
        whole = vbfast.GaussianMixture(3, random_state=0, tol=0.0, max_iter=n_iter).fit(X)
        assert mixture.n_iter_ == whole.n_iter_ == n_iter
        for name in ATTRIBUTES:
            value, wanted = getattr(mixture, name), getattr(whole, name)
            np.testing.assert_allclose(value, wanted, rtol=0, atol=tolerance * np.abs(wanted).max())
        np.testing.assert_allclose(mixture.lower_bounds_, whole.lower_bounds_, rtol=tolerance)
