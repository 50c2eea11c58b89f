from __future__ import annotations

import contextlib

import numpy as np
import pytest


@pytest.fixture(scope="session")
def clustered():
    """2,000 rows of three features around three centres."""
    rng = np.random.default_rng(5)
    rows = rng.normal(size=(2000, 3)) + 3.0 * rng.integers(3, size=(2000, 1))
    rows.setflags(write=False)
    return rows


@contextlib.contextmanager
def _connected(n_workers, threads, processes):
    distributed, dask = pytest.importorskip("distributed"), pytest.importorskip("dask")
    address = "127.0.0.1:0"
    with (
        # Half a minute is what a worker would go on asking one that is gone.
        dask.config.set({"distributed.comm.timeouts.connect": "2s"}),
        distributed.LocalCluster(
            n_workers=n_workers,
            threads_per_worker=threads,
            processes=processes,
            host="127.0.0.1" if processes else None,
            dashboard_address=address,
            worker_dashboard_address=address,
        ) as cluster,
        distributed.Client(cluster, set_as_default=False) as client,
    ):
        yield client


@pytest.fixture(scope="session")
def connected():
    """A context manager that starts and stops a cluster on the loopback address."""
    return _connected


@pytest.fixture(scope="session")
def client():
    """Two workers of one thread in this process."""
    with _connected(2, 1, False) as client:
        yield client


@pytest.fixture
def small_groups(monkeypatch):
    """Few rows are several groups."""
    groups = pytest.importorskip("vbfast.passes.groups")
    monkeypatch.setattr(groups, "GROUP_ROWS", 300)
