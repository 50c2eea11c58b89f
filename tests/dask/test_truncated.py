"""Truncated fits of rows on a cluster: what rows keep stays where they are, with the same bits."""

from __future__ import annotations

import gc
import os
import signal
import warnings

import numpy as np
import pytest

import vbfast

pytest.importorskip("distributed")

import dask.array as da

import dask
import vbfast.dask
from vbfast.dask import runner
from vbfast.dask.rows import ClusterRows
from vbfast.dask.tasks import NonFinite, add, kept_of
from vbfast.passes.row_search import Renewed, Searched
from vbfast.passes.truncated_chunks import TruncatedChunkRunner
from vbfast.passes.truncation import Truncation

SIZES = (400, 90, 260, 600, 50, 50, 550)
MIXTURES = ["GaussianMixture", "BayesianGaussianMixture"]

pytestmark = [
    pytest.mark.usefixtures("small_groups"),
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
]


@pytest.fixture(scope="module")
def many():
    """2,000 rows about forty centres."""
    rng = np.random.default_rng(3)
    rows = (6.0 * rng.normal(size=(40, 3)))[rng.integers(40, size=2000)]
    return rows + rng.normal(size=rows.shape)


def split(rows):
    return np.split(rows, np.cumsum(SIZES)[:-1])


def on_cluster(rows):
    return da.from_array(rows, chunks=(SIZES, 3))


def assert_equal_to_the_bit(one, other):
    assert one.lower_bounds_ == other.lower_bounds_
    assert one.n_passes_ == other.n_passes_
    for name in ("weights_", "means_", "covariances_", "neighbors_"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


@pytest.mark.parametrize("name", MIXTURES)
@pytest.mark.parametrize(
    ("covariance_type", "dtype", "weighted"),
    [
        ("full", np.float64, False),
        ("full", np.float32, True),
        ("diag", np.float64, True),
        ("diag", np.float32, False),
    ],
)
def test_the_bits_of_an_iterator(many, client, name, covariance_type, dtype, weighted):
    rows = many.astype(dtype)
    weight = np.arange(2000) % 3 if weighted else None
    given = {
        "covariance_type": covariance_type,
        "truncation": 2,
        "random_state": 1,
        "max_iter": 4,
        "tol": 0.0,
    }
    fitted = getattr(vbfast.dask, name)(70, client=client, **given).fit(
        on_cluster(rows), sample_weight=weight
    )
    iterated = getattr(vbfast, name)(70, **given).fit(
        lambda: iter(split(rows)), sample_weight=weight
    )
    assert_equal_to_the_bit(fitted, iterated)
    assert fitted.truncation_ == iterated.truncation_ == 2


@pytest.mark.parametrize(
    ("covariance_type", "scale"), [("tied", 1.0), ("spherical", 3.0), ("diag", 2.0**-40)]
)
def test_scales_of_weights(many, client, covariance_type, scale):
    weight, given = scale * (np.arange(2000) % 3), {"truncation": 2, "random_state": 1}
    given |= {"covariance_type": covariance_type, "max_iter": 3}
    fitted = vbfast.dask.GaussianMixture(70, client=client, **given)
    fitted.fit(on_cluster(many), sample_weight=weight)
    iterated = vbfast.GaussianMixture(70, **given)
    iterated.fit(lambda: iter(split(many)), sample_weight=weight)
    assert_equal_to_the_bit(fitted, iterated)


@pytest.mark.parametrize("init_params", ["kmeans", "k-means++", "random", "random_from_data"])
def test_starts(many, client, init_params):
    given = {"truncation": 2, "random_state": 1, "max_iter": 3, "init_params": init_params}
    fitted = vbfast.dask.GaussianMixture(300, client=client, **given).fit(on_cluster(many))
    iterated = vbfast.GaussianMixture(300, **given).fit(lambda: iter(split(many)))
    assert_equal_to_the_bit(fitted, iterated)


def test_many_components_of_whole_posteriors_start_by_a_search(many, client):
    given = {"covariance_type": "diag", "max_iter": 1, "random_state": 0}
    fitted = vbfast.dask.GaussianMixture(1030, client=client, **given).fit(on_cluster(many))
    iterated = vbfast.GaussianMixture(1030, **given).fit(lambda: iter(split(many)))
    assert fitted.lower_bounds_ == iterated.lower_bounds_
    np.testing.assert_array_equal(fitted.means_, iterated.means_)


def test_weights_on_the_cluster_several_starts_and_going_on(many, client):
    weight = 1.0 + np.arange(2000) % 4
    given = {"truncation": 2, "random_state": 1, "max_iter": 3, "n_init": 2, "warm_start": True}
    fitted = vbfast.dask.GaussianMixture(300, client=client, **given)
    iterated = vbfast.GaussianMixture(300, **given)
    for _ in range(2):
        fitted.fit(on_cluster(many), sample_weight=da.from_array(weight, chunks=(SIZES,)))
        iterated.fit(lambda: iter(split(many)), sample_weight=weight)
        assert_equal_to_the_bit(fitted, iterated)


@pytest.mark.parametrize(("workers", "threads"), [(1, 1), (3, 2)])
def test_any_number_of_workers(many, client, connected, workers, threads):
    given = {"truncation": 2, "random_state": 0, "max_iter": 5, "tol": 0.0}
    expected = vbfast.dask.GaussianMixture(70, client=client, **given).fit(on_cluster(many))
    with connected(workers, threads, processes=False) as other:
        found = vbfast.dask.GaussianMixture(70, client=other, **given).fit(on_cluster(many))
    assert_equal_to_the_bit(found, expected)


def test_one_group(many, client):
    given = {"truncation": 2, "random_state": 0, "max_iter": 10, "tol": 0.0}
    whole = vbfast.GaussianMixture(70, **given).fit(many)
    rows = da.from_array(many, chunks=(2000, 3))
    fitted = vbfast.dask.GaussianMixture(70, client=client, **given).fit(rows)
    assert_equal_to_the_bit(fitted, whole)


@pytest.mark.parametrize("truncation", [None, 2])
def test_other_components(many, client, truncation):
    family, given = vbfast.families.Gaussian("diag"), {"truncation": truncation, "random_state": 0}
    fitted = vbfast.dask.Mixture(family, 70, client=client, max_iter=3, **given)
    fitted.fit(on_cluster(many))
    iterated = vbfast.Mixture(family, 70, max_iter=3, **given).fit(lambda: iter(split(many)))
    np.testing.assert_array_equal(fitted.means_, iterated.means_)


def test_auto(many, client):
    given = {"truncation": "auto", "random_state": 0, "max_iter": 3}
    for n_components in (5, 200):
        fitted = vbfast.dask.GaussianMixture(n_components, client=client, **given)
        fitted.fit(on_cluster(many))
        iterated = vbfast.GaussianMixture(n_components, **given).fit(lambda: iter(split(many)))
        assert fitted.truncation_ == iterated.truncation_
        np.testing.assert_array_equal(fitted.means_, iterated.means_)
    assert fitted.truncation_ >= 3


def test_batches(many, client):
    given = {"truncation": 2, "random_state": 0}
    fitted = vbfast.dask.GaussianMixture(70, client=client, **given)
    iterated = vbfast.GaussianMixture(70, **given)
    for _ in range(3):
        fitted.partial_fit(on_cluster(many)).partial_fit(many[:200])
        iterated.partial_fit(lambda: iter(split(many))).partial_fit(many[:200])
    np.testing.assert_array_equal(fitted.means_, iterated.means_)
    np.testing.assert_array_equal(fitted.neighbors_, iterated.neighbors_)


class TestWhatRowsKeep:
    """It is on the workers, and comes here now and then."""

    @staticmethod
    def searching(client, many):
        rows = ClusterRows(client, on_cluster(many))
        return TruncatedChunkRunner(rows.runner(None), Truncation(2))

    @staticmethod
    def log_joint(many):
        start = vbfast.GaussianMixture(70, max_iter=0, random_state=0, covariance_type="diag")
        return start.initialize(many)._fitted_log_joint()

    def test_it_stays(self, client, many, monkeypatch):
        monkeypatch.setattr(runner, "RECALLED", 4)
        searching, log_joint = self.searching(client, many), self.log_joint(many)
        request = vbfast.contract.Request()
        kinds = []
        for _ in range(6):
            searching.search(log_joint, request)
            kinds.append({type(kept) for kept in searching._kept})
        future, array = {runner.Future}, {np.ndarray}
        # The first search is two passes.
        assert kinds == [future, future, array, future, future, future]
        assert searching.memory()["kept"].shape == (2000, 2)

    def test_the_scheduler_forgets_passes(self, client, many, monkeypatch):
        monkeypatch.setattr(runner, "RECALLED", 2)
        searching, log_joint = self.searching(client, many), self.log_joint(many)
        scheduler, tasks = client.cluster.scheduler, []
        for _ in range(8):
            searching.search(log_joint, vbfast.contract.Request())
            tasks.append(len(scheduler.tasks))
        assert max(tasks[4:]) <= max(tasks[:4])

    def test_it_goes_on_from_what_it_remembers(self, client, many):
        log_joint, request = self.log_joint(many), vbfast.contract.Request(moments="diag")
        searching = self.searching(client, many)
        searching.search(log_joint, request)
        remembered = searching.memory()
        expected = searching.search(log_joint, request)
        again = self.searching(client, many)
        again.remember(remembered)
        assert again.search(log_joint, request) == expected

    def test_it_is_let_go_of_after_the_fit(self, client, many):
        before = set(client.futures)
        given = {"truncation": 2, "random_state": 0, "max_iter": 3}
        vbfast.dask.GaussianMixture(70, client=client, **given).fit(on_cluster(many))
        gc.collect()
        assert set(client.futures) <= before

    def test_it_is_in_no_file(self, client, many, tmp_path):
        given = {"truncation": 2, "truncation_state": tmp_path / "kept.npy"}
        message = "truncation_state='.*kept.npy' does not go with rows on a cluster, whose workers"
        with pytest.raises(ValueError, match=message):
            vbfast.dask.GaussianMixture(70, client=client, **given).fit(on_cluster(many))
        assert not list(tmp_path.iterdir())

    def test_sums_of_rows_that_are_not_finite(self):
        renewed = Renewed(Searched(1.0, None), np.zeros((1, 1), np.int32))
        assert add(renewed, NonFinite(3)) == kept_of(NonFinite(3)) == NonFinite(3)
        assert add(renewed, Searched(2.0, None)).sums == 3.0
        assert kept_of(renewed) is renewed.kept


def test_a_row_that_is_not_finite_is_named(many, client):
    rows = many.copy()
    rows[760, 1] = np.nan
    with pytest.raises(ValueError, match="chunk 3 row 10"):
        vbfast.dask.GaussianMixture(70, client=client, truncation=2).fit(on_cluster(rows))


def test_what_follows_a_fit(many, client):
    """Lazily what the mixture of this machine says, sparse responsibilities included."""
    X, given = on_cluster(many), {"truncation": 2, "random_state": 0, "max_iter": 3}
    mixture = vbfast.dask.GaussianMixture(70, client=client, **given).fit(X)
    local, delayed = mixture.to_local(), [dask.delayed(part) for part in split(many)]
    weight = np.arange(2000.0)
    with dask.config.set(scheduler="synchronous"):
        for exact in (False, True):
            for method in ("predict", "score_samples"):
                expected = getattr(local, method)(many, exact=exact)
                np.testing.assert_array_equal(
                    getattr(mixture, method)(X, exact=exact).compute(), expected
                )
                np.testing.assert_array_equal(getattr(mixture, method)(many, exact=exact), expected)
            score = local.score(many, sample_weight=weight, exact=exact)
            lazy = mixture.score(
                X, sample_weight=da.from_array(weight, chunks=(SIZES,)), exact=exact
            )
            assert float(lazy) == pytest.approx(score, rel=1e-12)
            assert mixture.score(many, sample_weight=weight, exact=exact) == score
        resp = mixture.predict_proba(X)
        assert resp.shape == (2000, 70)
        assert abs(resp.compute() - local.predict_proba(many)).max() == 0.0
        parts = dask.compute(*mixture.predict_proba(delayed))
        assert [part.shape for part in parts] == [(size, 70) for size in SIZES]
        whole = mixture.predict_proba(X, exact=True).compute()
        np.testing.assert_array_equal(whole, local.predict_proba(many, exact=True))
    gap = mixture.bound_gap(X)
    assert gap.mean == pytest.approx(local.bound_gap(many).mean, rel=1e-9)
    assert mixture.bound_gap(X, n_samples=90) == local.bound_gap(many, n_samples=90)


def test_a_data_frame(many, client):
    frames, pandas = pytest.importorskip("dask.dataframe"), pytest.importorskip("pandas")
    whole = pandas.DataFrame(many, columns=["a", "b", "c"])
    frame = frames.from_pandas(whole, npartitions=4)
    given = {"truncation": 2, "random_state": 0, "max_iter": 3}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        mixture = vbfast.dask.GaussianMixture(70, client=client, tol=1.0, **given).fit(frame)
        local = mixture.to_local()
        with dask.config.set(scheduler="synchronous"):
            resp = mixture.predict_proba(frame)
            dtypes = resp.dtypes
            found = resp.compute()
            assert (found.dtypes == dtypes).all()
            expected = local.predict_proba(whole)
            np.testing.assert_array_equal(found.sparse.to_coo().toarray(), expected.toarray())
            assert float(mixture.score(frame)) == pytest.approx(local.score(whole), rel=1e-12)
            np.testing.assert_array_equal(mixture.predict(frame).compute(), local.predict(whole))


def test_a_killed_worker_costs_no_bits(connected, monkeypatch):
    monkeypatch.setattr(runner, "RECALLED", 3)

    def chunk_maker():
        """Return a function that is sent by value: other processes cannot import this module."""

        def make(number):
            rng = np.random.default_rng(number)
            rows = 6.0 * np.random.default_rng(9).normal(size=(40, 3))
            return rows[rng.integers(40, size=5000)] + rng.normal(size=(5000, 3))

        return make

    make = chunk_maker()
    killed = []
    given = {"truncation": 2, "random_state": 0, "max_iter": 6, "tol": 0.0}
    with connected(2, 1, processes=True) as client:

        def kill(iteration):
            if iteration.iteration in (2, 3):
                client.wait_for_workers(2, timeout=60)
                held = client.has_what()
                address = max(held, key=lambda worker: len(held[worker]))
                killed.append(client.run(os.getpid, workers=[address])[address])
                os.kill(killed[-1], signal.SIGKILL)

        X = [dask.delayed(make)(number) for number in range(6)]
        mixture = vbfast.dask.GaussianMixture(300, client=client, **given).fit(X, callback=kill)
    assert len(killed) == 2
    whole = vbfast.GaussianMixture(300, **given).fit(lambda: (make(number) for number in range(6)))
    assert_equal_to_the_bit(mixture, whole)
