"""Workers that die, and chunks that cannot be computed."""

from __future__ import annotations

import os
import signal

import numpy as np
import pytest

import vbfast

pytest.importorskip("distributed")

import dask.array as da

import dask
import vbfast.dask

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def chunk_maker():
    """Return a function that is sent by value: other processes cannot import this module."""

    def make(number):
        rng = np.random.default_rng(number)
        return rng.normal(size=(40_000, 4)) + 3.0 * rng.integers(3, size=(40_000, 1))

    return make


make_chunk = chunk_maker()  # 40,000 rows are a group of their own


def delayed_chunks(n_chunks=6):
    chunk = dask.delayed(make_chunk)
    return [chunk(number) for number in range(n_chunks)]


def kill_a_worker(client):
    """Kill the worker that holds most, and return its address."""
    held = client.has_what()
    address = max(held, key=lambda worker: len(held[worker]))
    os.kill(client.run(os.getpid, workers=[address])[address], signal.SIGKILL)
    return address


@pytest.fixture(scope="module")
def two_processes(connected):
    with connected(2, 1, processes=True) as client:
        yield client


@pytest.fixture
def processes(two_processes):
    """A client of two workers, of which a nanny starts another where one dies."""
    two_processes.wait_for_workers(2, timeout=60)
    return two_processes


def test_a_killed_worker_costs_no_bits(processes):
    killed = []

    def kill(iteration):
        # Nobody knows before the next pass has been handed out.
        if iteration.iteration == 2:
            killed.append(kill_a_worker(processes))

    arguments = {"random_state": 0, "tol": 0.0, "max_iter": 4}
    mixture = vbfast.dask.GaussianMixture(3, client=processes, **arguments)
    mixture.fit(delayed_chunks(), callback=kill)
    assert len(killed) == 1
    assert killed[0] not in processes.scheduler_info()["workers"]
    whole = vbfast.GaussianMixture(3, **arguments).fit(
        lambda: (make_chunk(number) for number in range(6))
    )
    assert mixture.lower_bounds_ == whole.lower_bounds_
    np.testing.assert_array_equal(mixture.covariances_, whole.covariances_)


def test_scattered_rows_that_are_gone_are_named(processes):
    workers = list(processes.scheduler_info()["workers"])
    here = processes.scatter([make_chunk(0)], workers=workers[:1], hash=False)
    there = processes.scatter([make_chunk(1)], workers=workers[1:], hash=False)

    def kill(iteration):
        pid = processes.run(os.getpid, workers=workers[1:])[workers[1]]
        os.kill(pid, signal.SIGKILL)

    mixture = vbfast.dask.GaussianMixture(3, client=processes, random_state=0, tol=0.0)
    with pytest.raises(RuntimeError, match=r"chunk 1 of X is lost .* it was scattered: give delay"):
        mixture.fit([*here, *there], callback=kill)


def test_rows_that_were_gone_before(client):
    future = client.scatter([make_chunk(0)], hash=False)
    client.cancel(future)
    with pytest.raises(RuntimeError, match="chunk 0 of X is lost"):
        vbfast.dask.GaussianMixture(3, client=client).fit(future)


@pytest.mark.parametrize("kind", ["delayed", "array"])
def test_a_chunk_that_raises_is_named(client, kind):
    def fail():
        raise KeyError("the disk is gone")

    X = delayed_chunks(3)
    X[2] = dask.delayed(fail)()
    if kind == "array":
        X = da.concatenate([da.from_delayed(chunk, (40_000, 4), np.float64) for chunk in X])
    with pytest.raises(KeyError, match="the disk is gone") as caught:
        vbfast.dask.GaussianMixture(3, client=client).fit(X)
    assert "Raised by chunk 2 of X." in caught.value.__notes__


def test_a_chunk_that_raises_when_it_is_computed_again_is_named(processes, tmp_path):
    gone = tmp_path / "gone"

    def make(number):
        if gone.exists():
            raise KeyError("the disk is gone")
        return make_chunk(number)

    def kill(iteration):
        gone.touch()
        kill_a_worker(processes)

    X = [dask.delayed(make)(number) for number in range(2)]
    mixture = vbfast.dask.GaussianMixture(3, client=processes, random_state=0, tol=0.0)
    with pytest.raises(KeyError, match="the disk is gone") as caught:
        mixture.fit(X, callback=kill)
    assert caught.value.__notes__[-1] in ("Raised by chunk 0 of X.", "Raised by chunk 1 of X.")


def test_a_client_that_is_closed_meanwhile(connected):
    with connected(1, 1, processes=False) as client:

        def close(iteration):
            client.close()

        mixture = vbfast.dask.GaussianMixture(3, client=client, random_state=0, tol=0.0)
        with pytest.raises(ValueError, match="client is closed"):
            mixture.fit(delayed_chunks(2), callback=close)
