"""``select``: what it finds, and what it says about it."""

from __future__ import annotations

import math

import numpy as np
import pytest

import vbfast
from vbfast.estimators import BayesianGaussianMixture, select


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


def test_an_empty_grid(rows):
    with pytest.raises(ValueError, match="covariance_type"):
        select(rows, [1], covariance_type=[])
    with pytest.raises(ValueError, match="n_components"):
        select(rows, [])


def test_an_unknown_parameter(rows):
    with pytest.raises(TypeError, match="n_clusters"):
        select(rows, [1], n_clusters=2)
