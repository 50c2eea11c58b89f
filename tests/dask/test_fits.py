"""Fits of rows on a cluster have the bits of fits whose rows come in the same chunks."""

from __future__ import annotations

import gc
import pickle
import uuid
import warnings

import numpy as np
import pytest

import vbfast
from vbfast.config.settings import get_num_threads

pytest.importorskip("distributed")

import dask.array as da

import dask
import vbfast.dask
from vbfast.dask import runner
from vbfast.dask.rows import ClusterRows
from vbfast.dask.tasks import Asked, Carried, Group, NonFinite, add, of_group

SIZES = (400, 90, 260, 600, 50, 50, 550)

pytestmark = [
    pytest.mark.usefixtures("small_groups"),
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
]


@pytest.fixture
def X(clustered):  # noqa: N802
    return da.from_array(clustered, chunks=(SIZES, 3))


def split(rows):
    return np.split(rows, np.cumsum(SIZES)[:-1])


def assert_equal_to_the_bit(one, other):
    assert one.lower_bounds_ == other.lower_bounds_
    assert one.n_passes_ == other.n_passes_
    for name in ("weights_", "means_", "covariances_"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


@pytest.mark.parametrize("name", ["GaussianMixture", "BayesianGaussianMixture"])
@pytest.mark.parametrize(
    ("init_params", "init_size"),
    [
        ("kmeans", None),
        ("kmeans", "all"),
        ("kmeans", 500),
        ("k-means++", "all"),
        ("k-means++", 500),
        ("random", None),
        ("random_from_data", None),
    ],
)
def test_the_bits_of_an_iterator(clustered, client, X, name, init_params, init_size):
    arguments = {
        "init_params": init_params,
        "init_size": init_size,
        "random_state": 1,
        "max_iter": 5,
    }
    on_cluster = getattr(vbfast.dask, name)(3, client=client, **arguments).fit(X)
    iterated = getattr(vbfast, name)(3, **arguments).fit(lambda: iter(split(clustered)))
    assert_equal_to_the_bit(on_cluster, iterated)


@pytest.mark.parametrize("scale", [1.0, 2.0**-40, 3.0])
@pytest.mark.parametrize("kind", ["array", "delayed", "in memory", "series"])
def test_weights(clustered, client, X, scale, kind):
    weight = scale * (np.arange(2000) % 3)
    rows, given = X, weight
    if kind == "array":
        given = da.from_array(weight, chunks=(SIZES,))
    elif kind == "delayed":
        given = [dask.delayed(part) for part in split(weight)]
    elif kind == "series":
        frames, pandas = pytest.importorskip("dask.dataframe"), pytest.importorskip("pandas")
        rows = frames.from_pandas(pandas.DataFrame(clustered), npartitions=4)
        given = frames.from_pandas(pandas.Series(weight), npartitions=4)
    bounds = SIZES if kind != "series" else (500, 500, 500, 500)
    chunks = np.split(clustered, np.cumsum(bounds)[:-1])
    arguments = {"random_state": 1, "max_iter": 4}
    on_cluster = vbfast.dask.GaussianMixture(3, client=client, **arguments).fit(
        rows, sample_weight=given
    )
    iterated = vbfast.GaussianMixture(3, **arguments).fit(
        lambda: iter(chunks), sample_weight=weight
    )
    assert_equal_to_the_bit(on_cluster, iterated)


@pytest.mark.parametrize("kind", ["delayed", "futures", "columns", "unknown sizes", "float32"])
def test_kinds_of_collections(clustered, client, X, kind):
    rows = clustered.astype(np.float32) if kind == "float32" else clustered
    given = {
        "delayed": lambda: [dask.delayed(np.array)(part) for part in split(rows)],
        "futures": lambda: client.scatter(split(rows)),
        "columns": lambda: X.rechunk((SIZES, (1, 2))),
        "unknown sizes": lambda: X[da.from_array(np.ones(2000, bool), chunks=(SIZES,))],
        "float32": lambda: da.from_array(rows, chunks=(SIZES, 3)),
    }[kind]()
    arguments = {"random_state": 1, "max_iter": 4}
    on_cluster = vbfast.dask.BayesianGaussianMixture(3, client=client, **arguments).fit(given)
    iterated = vbfast.BayesianGaussianMixture(3, **arguments).fit(lambda: iter(split(rows)))
    assert_equal_to_the_bit(on_cluster, iterated)


def test_a_data_frame(clustered, client):
    frames, pandas = pytest.importorskip("dask.dataframe"), pytest.importorskip("pandas")
    frame = frames.from_pandas(pandas.DataFrame(clustered, columns=["a", "b", "c"]), npartitions=4)
    fitted = vbfast.dask.GaussianMixture(3, client=client, random_state=0).fit(frame)
    iterated = vbfast.GaussianMixture(3, random_state=0).fit(lambda: iter(np.split(clustered, 4)))
    assert_equal_to_the_bit(fitted, iterated)
    assert list(fitted.feature_names_in_) == ["a", "b", "c"]
    with pytest.raises(ValueError, match="feature names should match"):
        fitted.predict(frame.rename(columns={"a": "z"}))


def test_other_components(client, X, clustered):
    family = vbfast.families.Gaussian("diag")
    fitted = vbfast.dask.Mixture(family, 3, client=client, random_state=0).fit(X)
    iterated = vbfast.Mixture(family, 3, random_state=0).fit(lambda: iter(split(clustered)))
    assert_equal_to_the_bit(fitted, iterated)


def test_given_responsibilities(client, X, clustered):
    resp = np.random.default_rng(0).dirichlet(np.ones(3), size=2000)
    arguments = {"init_params": resp, "max_iter": 3}
    on_cluster = vbfast.dask.GaussianMixture(3, client=client, **arguments).fit(X)
    iterated = vbfast.GaussianMixture(3, **arguments).fit(lambda: iter(split(clustered)))
    assert_equal_to_the_bit(on_cluster, iterated)


def test_acceleration_several_starts_and_going_on(client, X, clustered):
    arguments = {
        "accelerate": "squarem",
        "n_init": 2,
        "warm_start": True,
        "random_state": 2,
        "max_iter": 6,
        "tol": 0.0,
    }
    on_cluster = vbfast.dask.GaussianMixture(4, client=client, **arguments)
    iterated = vbfast.GaussianMixture(4, **arguments)
    for _ in range(2):
        on_cluster.fit(X)
        iterated.fit(lambda: iter(split(clustered)))
        assert_equal_to_the_bit(on_cluster, iterated)


def test_temperatures_and_components_that_begin_anew(client, X, clustered):
    start = np.arange(2000) % 2
    start[-4:] = np.arange(2, 6)
    arguments = {"init_params": np.eye(6)[start], "annealing": [0.5, 0.8], "reseeding": 0.5}
    arguments |= {"covariance_type": "diag", "random_state": 0, "max_iter": 14, "tol": 0.0}
    on_cluster = vbfast.dask.GaussianMixture(6, client=client, **arguments).fit(X)
    iterated = vbfast.GaussianMixture(6, **arguments).fit(lambda: iter(split(clustered)))
    assert_equal_to_the_bit(on_cluster, iterated)
    assert on_cluster.n_passes_ > 14


def test_steps(client, X, clustered):
    on_cluster = vbfast.dask.GaussianMixture(3, client=client, random_state=0).initialize(X)
    iterated = vbfast.GaussianMixture(3, random_state=0).initialize(lambda: iter(split(clustered)))
    summaries = on_cluster.summarize(X), iterated.summarize(lambda: iter(split(clustered)))
    assert summaries[0] == summaries[1]
    assert_equal_to_the_bit(on_cluster.maximize(summaries[0]), iterated.maximize(summaries[1]))


def test_batches(client, X, clustered):
    on_cluster = vbfast.dask.GaussianMixture(3, client=client, random_state=0)
    iterated = vbfast.GaussianMixture(3, random_state=0)
    for _ in range(3):
        on_cluster.partial_fit(X).partial_fit(clustered[:100])
        iterated.partial_fit(lambda: iter(split(clustered))).partial_fit(clustered[:100])
    assert on_cluster.lower_bounds_ == iterated.lower_bounds_
    np.testing.assert_array_equal(on_cluster.means_, iterated.means_)


def test_what_is_said_of_all_rows(client, X, clustered):
    mixture = vbfast.dask.GaussianMixture(3, client=client, random_state=0).fit(X)
    weight = 1.0 + np.arange(2000) % 2
    local, function = mixture.to_local(), lambda: iter(split(clustered))
    assert mixture.elbo(X) == local.elbo(function)
    assert mixture.elbo(X, sample_weight=weight) == local.elbo(function, sample_weight=weight)
    assert mixture.bic(X) == local.bic(function)


class TestHowChunksAreComputed:
    """Each once, where they stay; one thread a task."""

    def test_chunks_are_computed_once(self, client, clustered, tmp_path):
        def chunk(number, rows):
            (tmp_path / f"{number} {uuid.uuid4()}").touch()
            return rows

        delayed = dask.delayed(chunk)
        X = [delayed(number, rows) for number, rows in enumerate(split(clustered))]
        vbfast.dask.GaussianMixture(3, client=client, random_state=0, max_iter=4).fit(X)
        made = sorted(path.name.split()[0] for path in tmp_path.iterdir())
        assert made == [str(number) for number in range(len(SIZES))]

    def test_they_are_let_go_of_after_the_fit(self, client, X):
        before = set(client.futures)
        vbfast.dask.GaussianMixture(3, client=client, random_state=0).fit(X)
        gc.collect()  # estimators of other tests, whose errors have references to them
        assert set(client.futures) <= before

    def test_a_task_has_one_thread(self, client, X):
        rows = ClusterRows(client, X)
        asked = Asked(lambda runner: get_num_threads(), "native", "none", 1.0, as_float64=False)
        futures = [client.submit(of_group, group, Carried(asked)) for group in rows.groups]
        found = client.gather(futures)
        assert found == [1] * 4

    def test_groups_are_those_of_sizes(self, client, X):
        rows = ClusterRows(client, X)
        assert rows.group_starts == [0, 400, 750, 1350, 2000]

    @pytest.mark.parametrize(("workers", "threads"), [(1, 1), (3, 2)])
    def test_any_number_of_workers(self, client, connected, X, workers, threads):
        expected = vbfast.dask.GaussianMixture(3, client=client, random_state=0).fit(X)
        with connected(workers, threads, processes=False) as other:
            found = vbfast.dask.GaussianMixture(3, client=other, random_state=0).fit(X)
        assert_equal_to_the_bit(found, expected)


def test_no_warnings(client, X):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        vbfast.dask.GaussianMixture(3, client=client, random_state=0).fit(X)


def test_sums_of_rows_that_are_not_finite_name_the_first():
    assert add(NonFinite(7), NonFinite(3)) == NonFinite(3)
    assert add(1.0, NonFinite(3)) == add(NonFinite(3), 1.0) == NonFinite(3)
    assert add(1.0, 2.0) == 3.0


class Written:
    """A sum as it is written, with its parentheses."""

    def __init__(self, text):
        self.text = text

    def __add__(self, other):
        return Written(f"({self.text} + {other.text})")


@pytest.mark.parametrize("arity", [2, 4, 8])
def test_sums_of_several_are_branches_of_the_tree(monkeypatch, arity):
    monkeypatch.setattr(runner, "ARITY", arity)
    for n_terms in (*range(1, 75), 511, 512, 519):
        terms = [Written(f"{term}") for term in range(n_terms)]
        tree = runner.in_a_tree(terms, lambda *branch: vbfast.merge(branch))
        assert tree.text == vbfast.merge(terms).text


def moved(value):
    """Return what arrives of a value whose arrays are sent apart, at odd addresses."""
    buffers = []
    pickled = pickle.dumps(value, protocol=5, buffer_callback=buffers.append)
    sent = []
    for buffer in buffers:
        memory = bytearray(len(buffer.raw()) + 1)
        memory[1:] = buffer.raw()
        sent.append(memoryview(memory)[1:])
    return pickle.loads(pickled, buffers=sent)


def test_arrays_may_arrive_anywhere():
    rows = np.arange(12.0).reshape(6, 2)
    assert not moved(rows).flags.aligned
    group = moved(Group(rows, np.ones(6), 3))
    assert group.rows.flags.aligned
    assert group.weights.flags.aligned
    assert (group.first_row, group.nbytes) == (3, 8 * 18)
    np.testing.assert_array_equal(group.rows, rows)
    carried = moved(Carried({"rows": rows})).value["rows"]
    assert carried.flags.aligned
    np.testing.assert_array_equal(carried, rows)

    def given(runner, closest):
        return closest.flags.aligned, runner.sample_weight.flags.aligned

    asked = Carried(Asked(given, "native", "given", 1.0, as_float64=False))
    assert of_group(group, asked, moved(np.ones(6)), moved(np.ones(6))) == (True, True)
