"""The estimators of vbfast.dask: LightGBM's conventions, lazy results, what they refuse."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

import vbfast

pytest.importorskip("distributed")

import dask.array as da
from dask.delayed import Delayed

import dask
import vbfast.dask

CLASSES = ("GaussianMixture", "BayesianGaussianMixture", "Mixture")
ROWWISE = ("predict", "predict_proba", "predict_log_proba", "score_samples", "log_joint")

pytestmark = [
    pytest.mark.usefixtures("small_groups"),
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
]


@pytest.fixture
def X(clustered):  # noqa: N802
    return da.from_array(clustered, chunks=(500, 3))


def make(name, client, **arguments):
    family = (vbfast.families.Gaussian("full"),) if name == "Mixture" else ()
    return getattr(vbfast.dask, name)(
        *family, 3, client=client, random_state=0, max_iter=3, **arguments
    )


@pytest.fixture
def fitted(client, X):
    return make("GaussianMixture", client).fit(X)


class TestConventions:
    @pytest.mark.parametrize("name", CLASSES)
    def test_the_plain_estimator(self, client, X, name):
        mixture = make(name, client, reg_covar=1e-5) if name != "Mixture" else make(name, client)
        local = mixture.fit(X).to_local()
        assert type(local) is getattr(vbfast, name)
        parameters = mixture.get_params(deep=False)
        assert parameters.pop("client") is client
        assert local.get_params(deep=False) == parameters
        attributes = {key for key in vars(local) if key.endswith("_")}
        assert attributes == {key for key in vars(mixture) if key.endswith("_")}
        np.testing.assert_array_equal(local.weights_, mixture.weights_)

    def test_parameters(self, client):
        mixture = vbfast.dask.GaussianMixture(2, client=client, tol=0.5)
        assert set(mixture.get_params()) == {*vbfast.GaussianMixture().get_params(), "client"}
        mixture.set_params(tol=0.25, client=None)
        assert (mixture.tol, mixture.client, mixture.n_components) == (0.25, None, 2)
        assert repr(mixture) == "GaussianMixture(n_components=2, tol=0.25)"
        with pytest.raises(TypeError, match="unexpected"):
            vbfast.dask.GaussianMixture(2, tolerance=0.5)

    @pytest.mark.parametrize("name", CLASSES)
    def test_clones_have_the_client(self, client, X, name):
        mixture = make(name, client).fit(X)
        cloned = clone(mixture)
        assert cloned.client is client
        assert not hasattr(cloned, "weights_")
        assert cloned.max_iter == 3

    def test_pickles_have_no_client(self, fitted, client, clustered):
        assert fitted.client is client
        again = pickle.loads(pickle.dumps(fitted))
        assert again.client is None
        np.testing.assert_array_equal(again.predict(clustered), fitted.predict(clustered))

    def test_the_client_in_use(self, client, connected, X):
        mixture = make("GaussianMixture", None)
        with pytest.raises(NotFittedError):
            _ = mixture.client_
        with client.as_current():
            assert mixture.fit(X).client_ is client
        with pytest.raises(ValueError, match="client is None, and there is no current client"):
            _ = mixture.client_
        assert mixture.set_params(client=client).client_ is client

    def test_without_a_client(self, X):
        with pytest.raises(ValueError, match=r"make a distributed\.Client, or give"):
            make("GaussianMixture", None).fit(X)

    def test_a_client_that_is_closed(self, connected, X):
        with connected(1, 1, processes=False) as client:
            pass
        with pytest.raises(ValueError, match="client is closed: give the constructor one"):
            make("GaussianMixture", client).fit(X)

    def test_a_callback(self, client, X, clustered):
        scores = []

        def watch(iteration):
            scores.append(iteration.fitted_estimator().score(clustered))
            return len(scores) == 2

        mixture = make("GaussianMixture", client, tol=0.0).fit(X, callback=watch)
        assert mixture.n_iter_ == 2
        assert scores[1] == mixture.score(clustered)

    def test_a_file(self, fitted, clustered, tmp_path):
        fitted.save(tmp_path / "model.npz")
        loaded = vbfast.load(tmp_path / "model.npz")
        assert type(loaded) is vbfast.GaussianMixture
        assert loaded.score(clustered) == fitted.score(clustered)

    def test_a_failed_fit_leaves_the_estimator_as_it_was(self, fitted, clustered):
        before = dict(vars(fitted))
        bad = clustered.copy()
        bad[5, 0] = np.inf
        with pytest.raises(ValueError, match="infinity"):
            fitted.fit(da.from_array(bad, chunks=(500, 3)))
        assert vars(fitted) == before


class TestLazyResults:
    @pytest.mark.parametrize("method", ROWWISE)
    def test_arrays(self, fitted, X, clustered, method):
        lazy = getattr(fitted, method)(X.rechunk((500, (2, 1))))
        assert isinstance(lazy, da.Array)
        expected = getattr(fitted.to_local(), method)(clustered)
        assert (lazy.shape, lazy.dtype) == (expected.shape, expected.dtype)
        assert lazy.chunks[0] == X.chunks[0]
        np.testing.assert_array_equal(lazy.compute(), expected)

    @pytest.mark.parametrize("method", ROWWISE)
    def test_arrays_of_float32(self, client, X, method):
        single = X.astype(np.float32)
        mixture = make("BayesianGaussianMixture", client).fit(single)
        lazy = getattr(mixture, method)(single)
        computed = lazy.compute()
        assert lazy.dtype == computed.dtype == (np.int64 if method == "predict" else np.float32)

    @pytest.mark.parametrize("method", ROWWISE)
    @pytest.mark.parametrize("named", [False, True])
    def test_data_frames(self, client, clustered, method, named):
        frames, pandas = pytest.importorskip("dask.dataframe"), pytest.importorskip("pandas")
        names = ["a", "b", "c"] if named else None
        frame = pandas.DataFrame(clustered, columns=names, index=np.arange(2000) + 7)
        X = frames.from_pandas(frame, npartitions=3)
        mixture = make("GaussianMixture", client).fit(X)
        lazy = getattr(mixture, method)(X)
        assert isinstance(lazy, frames.DataFrame | frames.Series)
        computed = lazy.compute()
        expected = getattr(mixture.to_local(), method)(frame if named else clustered)
        np.testing.assert_array_equal(computed.to_numpy(), expected)
        np.testing.assert_array_equal(computed.index, frame.index)

    @pytest.mark.parametrize("method", ROWWISE)
    def test_lists(self, fitted, clustered, method):
        X = [dask.delayed(part) for part in np.split(clustered, 4)]
        lazy = getattr(fitted, method)(X)
        assert all(isinstance(chunk, Delayed) for chunk in lazy)
        expected = getattr(fitted.to_local(), method)(clustered)
        np.testing.assert_array_equal(np.concatenate(dask.compute(*lazy)), expected)

    @pytest.mark.parametrize("weighted", [False, True])
    @pytest.mark.parametrize("kind", ["array", "frame", "list"])
    def test_scores(self, fitted, X, clustered, weighted, kind):
        weight = np.where(np.arange(2000) < 500, 0.0, 1.0 + np.arange(2000) % 3)
        given = None
        rows = X
        if weighted:
            given = da.from_array(weight, chunks=500)
        if kind == "list":
            rows = [dask.delayed(part) for part in np.split(clustered, 4)]
            given = [dask.delayed(part) for part in np.split(weight, 4)] if weighted else None
        elif kind == "frame":
            frames = pytest.importorskip("dask.dataframe")
            rows = frames.from_dask_array(X)
        score = fitted.score(rows, sample_weight=given)
        assert dask.is_dask_collection(score)
        computed = score.compute() if kind == "list" else float(score)
        expected = fitted.to_local().score(clustered, sample_weight=weight if weighted else None)
        np.testing.assert_allclose(computed, expected, rtol=1e-13)

    def test_fit_predict(self, client, X, clustered):
        mixture = make("GaussianMixture", client)
        labels = mixture.fit_predict(X)
        np.testing.assert_array_equal(labels.compute(), mixture.predict(clustered))

    def test_nothing_is_computed_meanwhile(self, fitted):
        def fail():
            raise RuntimeError("computed")

        X = da.from_delayed(dask.delayed(fail)(), (10, 3), np.float64)
        lazy = [getattr(fitted, method)(X) for method in (*ROWWISE, "score")]
        with pytest.raises(RuntimeError, match="computed"):
            lazy[0].compute(scheduler="synchronous")

    def test_rows_in_memory_have_results_at_once(self, fitted, clustered):
        out = np.empty(2000, np.int64)
        assert fitted.predict(clustered, out=out) is out
        assert isinstance(fitted.score(clustered), float)
        assert fitted.elbo(clustered).elbo == fitted.to_local().elbo(clustered).elbo

    def test_out_does_not_go_with_a_collection(self, fitted, X):
        with pytest.raises(ValueError, match="out does not go with a collection"):
            fitted.predict(X, out=np.empty(2000, np.int64))

    @pytest.mark.parametrize("method", [*ROWWISE, "score"])
    def test_unfitted(self, client, X, method):
        with pytest.raises(NotFittedError):
            getattr(make("GaussianMixture", client), method)(X)


class TestWhatIsRefused:
    @pytest.mark.parametrize(
        ("X", "found"),
        [
            (np.ones((5, 2)), "ndarray"),
            ([np.ones((5, 2))], "list"),
            ([], "list"),
            (None, "NoneType"),
        ],
    )
    def test_other_rows(self, client, X, found):
        with pytest.raises(TypeError, match=f"list of delayed chunks; got {found}"):
            make("GaussianMixture", client).fit(X)

    @pytest.mark.parametrize(
        ("chunks", "error", "message"),
        [
            ([np.ones((9, 2)), np.ones((9, 3))], ValueError, "chunk 1 of X has 3 features, but ch"),
            ([np.ones((9, 2)), np.ones((9, 2), "f4")], ValueError, "chunk 1 of X .* in float32"),
            ([np.ones((9, 2)), np.ones((0, 2))], ValueError, "chunk 1 of X has no rows: leave it"),
            ([np.ones((9, 2)), np.ones(9)], ValueError, "chunk 1 of X must have two dimensions"),
            ([np.ones((9, 2)), np.ones((9, 2), "c16")], TypeError, "chunk 1 of X must be real"),
        ],
    )
    def test_chunks_that_do_not_go_together(self, client, chunks, error, message):
        X = [dask.delayed(chunk) for chunk in chunks]
        with pytest.raises(error, match=message):
            make("GaussianMixture", client).fit(X)

    def test_weights_of_a_score_are_chunked_too(self, fitted, X):
        with pytest.raises(TypeError, match="as X is; got ndarray"):
            fitted.score(X, sample_weight=np.ones(2000))

    def test_an_array_of_other_dimensions(self, client):
        with pytest.raises(ValueError, match=r"X must have shape .* got shape \(5,\)"):
            make("GaussianMixture", client).fit(da.ones(5))

    @pytest.mark.parametrize("name", CLASSES)
    def test_a_row_that_is_not_finite_is_named(self, client, clustered, name):
        bad = clustered.copy()
        bad[1703] = bad[1900] = np.nan
        X = da.from_array(bad, chunks=(100, 3))
        with pytest.raises(ValueError, match=r"X contains NaN[\s\S]*chunk 17 row 3\.$"):
            make(name, client).fit(X)

    @pytest.mark.parametrize(
        ("weight", "message"),
        [
            (da.ones(2000, chunks=250), None),
            (da.ones(1999, chunks=500), "chunk 3 of sample_weight has shape .499,., but that of X"),
            (da.ones(1000, chunks=500), "as many chunks as X, 4; it has 2"),
            (da.ones((2000, 1), chunks=500), r"must have shape .n_samples,.; got shape .2000, 1."),
            (da.ones(2000, chunks=500) - 2.0, "Negative values .* row 0 has -1.0"),
            (da.zeros(2000, chunks=500), "must have a positive entry"),
            (np.ones(3), r"expected \(2000,\)"),
        ],
    )
    def test_weights(self, client, X, weight, message):
        mixture = make("GaussianMixture", client)
        if message is None:  # they are cut up as X is
            assert mixture.fit(X, sample_weight=weight).n_iter_ > 0
            return
        with pytest.raises(ValueError, match=message):
            mixture.fit(X, sample_weight=weight)
