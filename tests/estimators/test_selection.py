"""``select``: what it finds, and what it says about it."""

from __future__ import annotations

import itertools
import math
import warnings
from xml.etree import ElementTree as ET

import joblib
import numpy as np
import pytest
from scipy.special import xlogy
from sklearn.datasets import load_digits
from sklearn.mixture import GaussianMixture as ScikitLearnMixture

import vbfast
from vbfast.estimators import BayesianGaussianMixture, GaussianMixture, select


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(0)
    centres = np.array([[0.0, 0.0], [9.0, 0.0], [0.0, 9.0]])
    return rng.normal(size=(240, 2)) + np.repeat(centres, 80, axis=0)


@pytest.fixture(scope="module")
def selection(rows):
    return select(
        rows,
        [2, 1, 4, 3],
        covariance_type=["full", "spherical"],
        weight_concentration_prior_type=["dirichlet_distribution", "dirichlet_process"],
        random_state=0,
        max_iter=500,
    )


def test_the_table_has_a_row_for_every_fit(selection):
    assert len(selection.table) == len(selection.mixtures) == 4 * 2 * 2
    assert [row["n_components"] for row in selection.table[:4]] == [1, 2, 3, 4]
    for row, mixture in zip(selection.table, selection.mixtures, strict=True):
        assert row["elbo"] == mixture.elbo_
        assert row["n_active"] == mixture.n_active_components_ <= row["n_components"]
        assert row["covariance_type"] == mixture.covariance_type
        assert row["n_iter"] == mixture.n_iter_
        assert row["converged"]
        assert not mixture.warm_start
        symmetric = row["weight_concentration_prior_type"] == "dirichlet_distribution"
        expected = math.lgamma(row["n_components"] + 1) if symmetric else 0.0
        assert row["log_symmetry"] == pytest.approx(expected)
        assert row["elbo_with_symmetry"] == row["elbo"] + row["log_symmetry"]


def test_the_highest_bound_is_the_truth(selection):
    best = selection.best_
    assert best.elbo_ == max(row["elbo"] for row in selection.table)
    assert best.n_active_components_ == 3
    assert best.weight_concentration_prior_type == "dirichlet_distribution"


def test_a_split_start_never_makes_a_fit_worse(rows, selection):
    for row, mixture in zip(selection.table, selection.mixtures, strict=True):
        fresh = BayesianGaussianMixture(
            row["n_components"],
            covariance_type=row["covariance_type"],
            weight_concentration_prior_type=row["weight_concentration_prior_type"],
            random_state=0,
            max_iter=500,
        ).fit(rows)
        assert mixture.elbo_ >= fresh.elbo_
        if row["start"] == "fresh":
            assert mixture.elbo_ == fresh.elbo_
        assert mixture.weight_concentration_prior_ == fresh.weight_concentration_prior_


def test_a_split_start_finds_what_a_bad_one_does_not(rows):
    def all_but_one(X, n_components, random_state):
        """Everything in the first component."""
        return np.zeros(len(X), dtype=np.int64)

    selection = select(rows, [1, 2, 3], init_params=all_but_one, max_iter=500)
    assert [row["start"] for row in selection.table] == ["fresh", "split", "split"]
    assert selection.best_.n_active_components_ == 3


def test_priors_are_varied_and_parameters_passed_on(rows):
    selection = vbfast.select(
        rows[:, :1],
        2,
        weight_concentration_prior=[0.1, 10.0],
        mean_precision_prior=[0.5],
        degrees_of_freedom_prior=(3.0, None),
        sample_weight=np.full(len(rows), 2.0),
        reg_covar=0.0,
        max_iter=300,
        random_state=3,
    )
    assert [row["weight_concentration_prior"] for row in selection.table] == [0.1, 0.1, 10.0, 10.0]
    assert [row["degrees_of_freedom_prior"] for row in selection.table] == [3.0, None, 3.0, None]
    assert all(mixture.reg_covar == 0.0 for mixture in selection.mixtures)
    counts = selection.mixtures[0].mean_precision_ - 0.5
    assert counts.sum() == pytest.approx(2.0 * len(rows))


def test_fits_that_do_not_converge_are_in_the_table(rows):
    assert not select(rows, 3, max_iter=1).table[0]["converged"]


def test_the_table_as_a_data_frame_and_as_text(selection):
    pandas = pytest.importorskip("pandas")
    frame = selection.to_dataframe()
    assert isinstance(frame, pandas.DataFrame)
    assert len(frame) == len(selection.table)
    lines = str(selection).splitlines()
    assert len(lines) == 1 + len(selection.table)
    assert len({len(line) for line in lines}) == 1
    assert f"{selection.table[0]['elbo']:.3f}" in lines[1]


def test_the_plot_shows_the_bound_with_and_without_symmetry(selection):
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    ax = selection.plot()
    lines = {line.get_label(): line for line in ax.get_lines()}
    assert len(lines) == 4 + 2  # the Dirichlet's curves have a dashed one each
    solid = lines["full, dirichlet_distribution"]
    dashed = lines["full, dirichlet_distribution, plus ln K!"]
    added = dashed.get_ydata() - solid.get_ydata()
    np.testing.assert_allclose(added, np.log([1, 2, 6, 24]), atol=1e-9)
    assert selection.plot(ax) is ax
    plt.close(ax.figure)


@pytest.mark.parametrize("value", [np.ma.masked, np.array(1.5), np.array("a")], ids=str)
@pytest.mark.parametrize("name", ["n_components", "weight_concentration_prior_type"])
def test_an_array_of_no_dimensions_is_one_value(rows, name, value):
    with pytest.raises((TypeError, ValueError), match=name):
        select(rows, **{**GRID, name: value})


def test_an_empty_grid(rows):
    with pytest.raises(ValueError, match="covariance_type"):
        select(rows, [1], covariance_type=[])
    with pytest.raises(ValueError, match="n_components"):
        select(rows, [])


def test_an_unknown_parameter(rows):
    with pytest.raises(TypeError, match="n_clusters"):
        select(rows, [1], n_clusters=2)


def assert_same_fits(ours, theirs):
    assert ours.table == theirs.table
    for mine, expected in zip(ours.mixtures, theirs.mixtures, strict=True):
        assert mine.lower_bounds_ == expected.lower_bounds_
        np.testing.assert_array_equal(mine.covariances_, expected.covariances_)
        np.testing.assert_array_equal(mine.weight_concentration_, expected.weight_concentration_)
        assert mine.get_params() == expected.get_params()


GRID = {
    "n_components": [2, 3],
    "covariance_type": ["full", "diag", "tied"],
    "weight_concentration_prior_type": ["dirichlet_distribution", "dirichlet_process"],
    "init_params": "random",
    "max_iter": 20,
}


@pytest.mark.parametrize("backend", ["multiprocessing", "threading"])
def test_jobs_change_nothing(rows, backend):
    """Not even where random numbers come from one generator; loky, the default, starts slowly."""
    expected = select(rows, **GRID, random_state=np.random.RandomState(5), verbose=0)
    generator = np.random.RandomState(5)
    with joblib.parallel_config(backend), vbfast.config_context(num_threads=2):
        found = select(rows, **GRID, random_state=generator, n_jobs=3)
    assert all(mixture.random_state is generator for mixture in found.mixtures)
    for mixture in found.mixtures + expected.mixtures:
        mixture.random_state = None
    assert_same_fits(found, expected)
    assert np.random.RandomState(5).rand() != generator.rand()


def test_jobs_of_a_surrounding_configuration(rows):
    arguments = {**GRID, "n_components": 2, "random_state": 0}
    with joblib.parallel_config("threading", n_jobs=2):
        found = select(rows, **arguments)
    assert_same_fits(found, select(rows, **arguments))


def test_jobs_use_the_backend_of_the_caller(rows):
    arguments = {**GRID, "n_components": 2, "random_state": 0, "max_iter": 3}
    with vbfast.config_context(backend="reference"):
        expected = select(rows, **arguments)
        with joblib.parallel_config("multiprocessing"):
            found = select(rows, **arguments, n_jobs=2)
    assert_same_fits(found, expected)
    native = select(rows, **arguments)
    assert any(
        mine.lower_bounds_ != other.lower_bounds_
        for mine, other in zip(native.mixtures, found.mixtures, strict=True)
    )


def test_the_error_of_a_job_is_the_error(rows):
    broken = rows.copy()
    broken[7, 1] = np.nan
    arguments = {**GRID, "n_components": 2, "n_jobs": 2}
    with joblib.parallel_config("threading"):
        with pytest.raises(ValueError, match="contains NaN"):
            select(broken, **arguments)
        with pytest.raises(ValueError, match="cannot be used to seed"):
            select(rows, **arguments, random_state="seed")
        with pytest.raises(TypeError, match="n_clusters"):
            select(rows, **arguments, n_clusters=2)
    with pytest.raises(ValueError, match="n_jobs == 0"):
        select(rows, [1], n_jobs=0)


def test_lines_of_one_fit_at_a_time(rows, capfd):
    arguments = {**GRID, "n_components": 2, "random_state": 0, "verbose": 1, "verbose_interval": 1}
    alone = select(rows, **arguments)
    assert capfd.readouterr().out.count("Initialization 0") == len(alone.table)
    with joblib.parallel_config("threading"):
        together = select(rows, **arguments, n_jobs=2)
    shown = capfd.readouterr()
    assert "Initialization" not in shown.out
    assert "[Parallel(n_jobs=2)]" in shown.out + shown.err
    assert_same_fits(together, alone)


def test_a_generator_is_drawn_from_and_an_integer_is_not(rows):
    def starts(random_state):
        grid = {"covariance_type": ["diag", "diag"], "init_params": "random", "max_iter": 1}
        found = select(rows, 3, **grid, random_state=random_state)
        return [mixture.lower_bounds_[0] for mixture in found.mixtures]

    first, second = starts(0)
    assert first == second
    first, second = starts(np.random.RandomState(0))
    assert first != second
    np.random.seed(3)  # noqa: NPY002
    before = starts(None)
    np.random.seed(3)  # noqa: NPY002
    assert starts(None) == before


def bounds(selection):
    return np.array([row["elbo"] for row in selection.table])


# What is added to two columns of one cluster: each leaves a direction without variance, or next to.
ADDED = {
    "constant": lambda rows, _: np.full(len(rows), 3.0),
    "redundant": lambda rows, _: rows[:, 0],
    "next to redundant": lambda rows, rng: rows[:, 0] + 1e-8 * rng.normal(size=len(rows)),
    "next to constant": lambda rows, rng: 3.0 + 1e-9 * rng.normal(size=len(rows)),
}


@pytest.mark.parametrize(
    ("added", "covariance_type"),
    [
        *itertools.product(ADDED, ["full"]),
        # Diagonal components of features that go together are worth their number.
        *itertools.product(["constant", "next to constant"], ["diag"]),
    ],
)
@pytest.mark.parametrize("weights", ["dirichlet_distribution", "dirichlet_process"])
def test_a_feature_that_says_nothing_changes_no_comparison(added, covariance_type, weights):
    """Beside it the numbers of components differ by what they differ by without it."""
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(200, 2))
    more = np.column_stack([rows, ADDED[added](rows, rng)])
    arguments = {
        "n_components": [1, 2, 4],
        "covariance_type": covariance_type,
        "weight_concentration_prior_type": weights,
        "degrees_of_freedom_prior": 3.0,
        "random_state": 0,
        "max_iter": 300,
        "accelerate": "squarem",
    }
    plain = select(rows, **arguments)
    with pytest.warns(UserWarning, match="covariance_prior is singular") as caught:
        found = select(more, **arguments)
    assert len(caught) == 1
    assert found.best_.n_components == plain.best_.n_components
    if weights == "dirichlet_distribution":
        assert found.best_.n_components == 1
    np.testing.assert_allclose(np.diff(bounds(found)), np.diff(bounds(plain)), atol=0.5)
    np.testing.assert_array_equal(
        found.mixtures[0].covariance_prior_, found.mixtures[-1].covariance_prior_
    )


@pytest.mark.parametrize("added", ADDED)
def test_components_that_share_a_covariance_do_not_gain_by_their_number(added):
    """Each has its prior of that covariance, and pays for it in every direction."""
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(200, 2))
    more = np.column_stack([rows, ADDED[added](rows, rng)])
    with pytest.warns(UserWarning, match="covariance_prior is singular"):
        found = select(more, [1, 2, 4], covariance_type="tied", random_state=0, max_iter=300)
    assert np.diff(bounds(found)).max() < 0.0


def test_clusters_are_found_beside_a_constant_feature(rows):
    more = np.column_stack([rows, np.full(len(rows), -7.0)])
    with pytest.warns(UserWarning, match="constant or redundant"):
        found = select(more, [1, 2, 3, 4, 6], random_state=0, max_iter=500)
    assert found.best_.n_active_components_ == 3
    assert found.best_.n_components == 3


@pytest.mark.parametrize("scale", [1e-4, 1.0, 1e4])
def test_data_that_are_all_one_row(scale):
    rows = np.full((30, 2), 1.5 * scale)
    with pytest.warns(UserWarning, match="constant or redundant"):
        found = select(rows, [1, 2, 3], random_state=0, init_params="random")
    assert found.best_.n_components == 1


def test_digits_have_constant_pixels():
    digits = load_digits().data
    assert (digits.std(axis=0) == 0.0).any()
    with pytest.warns(UserWarning, match="constant or redundant") as caught:
        found = select(
            digits, [1, 5, 60], covariance_type="diag", random_state=0, max_iter=20, tol=1.0
        )
    assert len(caught) == 1
    # Neither none of the structure nor far more components than the rows can pay for.
    assert found.best_.n_components == 5


@pytest.mark.parametrize("covariance_type", ["full", "tied", "diag"])
def test_without_reg_covar_a_constant_feature_has_no_prior(rows, covariance_type):
    more = np.column_stack([rows, np.full(len(rows), 2.0)])
    given = np.diag([80.0, 80.0, 1.0])
    arguments = {"covariance_type": covariance_type, "reg_covar": 0.0, "random_state": 0}
    with pytest.raises(ValueError, match=r"reg_covar=0 adds no variance there: .* reg_covar > 0"):
        select(more, [1, 2], **arguments)
    arguments["covariance_prior"] = given.diagonal() if covariance_type == "diag" else given
    assert np.isfinite(bounds(select(more, [1, 2], **arguments))).all()


def test_without_reg_covar_redundant_features_are_no_matter_to_variances(rows):
    more = np.column_stack([rows, rows[:, 0]])
    found = select(more, [1, 2], covariance_type="diag", reg_covar=0.0, random_state=0)
    assert np.isfinite(bounds(found)).all()


def test_regular_data_have_the_prior_of_the_estimator(rows):
    found = select(rows, [2], covariance_type=["full", "diag", "spherical"], random_state=0)
    for mixture in found.mixtures:
        assert mixture.covariance_prior is None
        same = BayesianGaussianMixture(**mixture.get_params()).fit(rows)
        assert same.elbo_ == mixture.elbo_


def test_the_prior_of_the_best_is_among_its_parameters(rows):
    more = np.column_stack([rows, np.zeros(len(rows))])
    with pytest.warns(UserWarning, match="covariance of X plus reg_covar"):
        found = select(more, [1, 2], covariance_type="diag", reg_covar=1e-3, random_state=0)
    expected = np.append(rows.var(axis=0, ddof=1), 0.0) + 1e-3
    np.testing.assert_allclose(found.best_.covariance_prior, expected, rtol=1e-9)


def test_the_default_prior_of_the_weights_is_named(rows):
    """It is another one than the estimator's, whose truncated sticks leave weight to nothing."""
    found = select(rows, [1, 2], random_state=0, max_iter=200)
    assert {row["weight_concentration_prior_type"] for row in found.table} == {
        "dirichlet_distribution"
    }
    assert "weight_concentration_prior_type='dirichlet_distribution'" in repr(found)
    assert "dirichlet_process" in select.__doc__.split("Parameters")[0]


@pytest.mark.parametrize("covariance_type", ["full", "tied", "diag", "spherical"])
def test_information_criteria_are_scikit_learns(rows, covariance_type):
    found = select(
        rows, [1, 2, 3], covariance_type=covariance_type, criterion="bic", random_state=0
    )
    for row, mixture in zip(found.table, found.mixtures, strict=True):
        assert isinstance(mixture, GaussianMixture)
        theirs = ScikitLearnMixture(row["n_components"], covariance_type=covariance_type)
        theirs.fit(rows)
        for name in ("weights_", "means_", "covariances_", "precisions_cholesky_"):
            setattr(theirs, name, getattr(mixture, name))
        np.testing.assert_allclose(row["bic"], theirs.bic(rows), rtol=1e-10)
        np.testing.assert_allclose(row["aic"], theirs.aic(rows), rtol=1e-10)
        np.testing.assert_allclose(row["log_likelihood"], theirs.score_samples(rows).sum())
        assert row["n_parameters"] == theirs._n_parameters()
        q = theirs.predict_proba(rows)
        np.testing.assert_allclose(row["icl"], row["bic"] - 2.0 * xlogy(q, q).sum(), rtol=1e-9)


@pytest.mark.parametrize("criterion", ["bic", "aic", "icl"])
def test_the_lowest_criterion_is_the_best(rows, criterion):
    found = select(rows, [1, 2, 3, 4], criterion=criterion, random_state=0)
    assert (
        found.best_
        is min(zip(found.table, found.mixtures, strict=True), key=lambda fit: fit[0][criterion])[1]
    )
    if criterion != "aic":
        assert found.best_.n_components == 3
    assert all(row["start"] in ("fresh", "split") for row in found.table)
    fresh = GaussianMixture(4, random_state=0).fit(rows)
    assert found.mixtures[3].lower_bound_ >= fresh.lower_bound_


def test_icl_counts_clusters_and_bic_components(rng):
    """A heavy-tailed cluster takes two components, which share its rows."""
    rows = rng.standard_t(3, size=(600, 1))
    found = select(rows, [1, 2, 3], criterion="icl", random_state=0, max_iter=500)
    table = {row["n_components"]: row for row in found.table}
    assert min(table.values(), key=lambda row: row["bic"])["n_components"] > 1
    assert found.best_.n_components == 1


def test_weights_in_a_criterion_are_repeated_rows(rows):
    weights = np.arange(len(rows)) % 3
    arguments = {"n_components": [1], "criterion": "icl", "reg_covar": 0.0}
    weighted = select(rows, sample_weight=weights, **arguments).table[0]
    repeated = select(np.repeat(rows, weights, axis=0), **arguments).table[0]
    for name in ("log_likelihood", "aic", "bic", "icl"):
        np.testing.assert_allclose(weighted[name], repeated[name], rtol=1e-10)


def test_criteria_and_priors_do_not_mix(rows):
    with pytest.raises(ValueError, match="weight_concentration_prior is of a prior"):
        select(rows, [1], criterion="bic", weight_concentration_prior=1.0)
    with pytest.raises(ValueError, match=r"criterion must be one of elbo, bic.*got 'mdl'"):
        select(rows, [1], criterion="mdl")


def test_one_warning_for_all_fits_of_a_singular_prior(rows):
    more = np.column_stack([rows, np.full(len(rows), 2.0)])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        select(more, range(1, 8), covariance_type=["full", "diag"], random_state=0, max_iter=20)
    assert len(caught) == 1
    assert caught[0].filename == __file__


def test_one_warning_of_a_singular_prior_that_is_given(rows):
    given = np.array([[1.0, 1.0], [1.0, 1.0 + 1e-15]])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        select(rows, [1, 2, 3], covariance_prior=given, random_state=0, max_iter=20)
    assert [str(warning.message)[:28] for warning in caught] == ["covariance_prior is singular"]
    assert caught[0].filename == __file__


def test_the_notebook_shows_a_table(selection):
    html = selection._repr_html_()
    root = ET.fromstring(html)  # well-formed
    assert root.tag == "table"
    lines = root.findall("./tbody/tr")
    assert len(lines) == len(selection.table)
    names = [cell.text for cell in root.findall("./thead/tr/th")][1:]
    assert "n_components" in names
    assert "covariance_type" in names
    assert "mean_precision_prior" not in names  # the same for all: in the caption
    assert "mean_precision_prior=None" in root.find("caption").text
    best = [line for line in lines if line.find("td").text == "*"]
    assert len(best) == 1
    assert f"{selection.best_.elbo_:.3f}" in [cell.text for cell in best[0]]
    shown = repr(selection).splitlines()
    assert len(shown) == 2 + len(selection.table)
    assert [line.startswith("*") for line in shown[2:]].count(True) == 1
    assert f"{selection.best_.elbo_:.3f}" in next(line for line in shown[2:] if line[0] == "*")


def test_text_in_a_table_is_escaped():
    from vbfast.estimators.selection_table import html_table

    html = html_table([{"<a>": "<b> & c"}], 0, "d < e")
    assert "&lt;b&gt; &amp; c" in html
    assert ET.fromstring(html).find("caption").text == "d < e"


def test_the_plot_of_a_criterion(rows):
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    ax = select(rows, [1, 2], criterion="bic", random_state=0).plot()
    assert ax.get_ylabel() == "BIC"
    assert len(ax.get_lines()) == 1
    plt.close(ax.figure)
