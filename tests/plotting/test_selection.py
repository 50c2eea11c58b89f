from __future__ import annotations

import numpy as np
import pytest

import vbfast
from vbfast.plotting import SelectionDisplay


def texts(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def test_a_covariance_type_is_a_curve(selection, ax):
    display = SelectionDisplay.from_selection(selection, ax=ax)
    assert list(display.lines_) == ["full", "diag"]
    for kind, line in display.lines_.items():
        rows = [row for row in selection.table if row["covariance_type"] == kind]
        np.testing.assert_array_equal(line.get_xdata(), [row["n_components"] for row in rows])
        np.testing.assert_array_equal(line.get_ydata(), [row["elbo"] for row in rows])
    assert len({line.get_color() for line in display.lines_.values()}) == 2
    assert {line.get_linestyle() for line in display.lines_.values()} == {"-"}
    assert ax.get_ylabel() == "bound on the log marginal likelihood, nats"


def test_the_best_has_a_star(selection, ax):
    display = SelectionDisplay.from_selection(selection, ax=ax)
    best = selection.best_
    assert display.best_.get_xdata() == [best.n_components]
    assert display.best_.get_ydata() == [best.elbo_]
    assert texts(ax)[-1] == "best"


@pytest.mark.parametrize("criterion", ["aic", "icl", None])
def test_the_lowest_criterion_is_best(rows, criterion, ax):
    found = vbfast.select(
        rows, [1, 2, 3], covariance_type=["tied", "diag"], criterion="bic", random_state=0
    )
    display = SelectionDisplay.from_selection(found, criterion=criterion, ax=ax)
    values = [row[criterion or "bic"] for row in found.table]
    assert display.best_.get_ydata() == [min(values)]
    assert ax.get_ylabel() == (criterion or "bic").upper()
    with pytest.raises(ValueError, match=r"^criterion='elbo' is no column .* bic, aic, icl$"):
        SelectionDisplay.from_selection(found, criterion="elbo", ax=ax)


def test_the_bound_with_the_orders_of_components(selection, ax):
    display = SelectionDisplay.from_selection(selection, criterion="elbo_with_symmetry", ax=ax)
    values = [row["elbo_with_symmetry"] for row in selection.table]
    np.testing.assert_array_equal(
        np.concatenate([curve[:, 1] for curve in display.curves.values()]), values
    )
    assert "ln K!" in ax.get_ylabel()


def test_priors_have_line_styles(rows, ax):
    found = vbfast.select(
        rows,
        [1, 2],
        covariance_type=["full", "diag"],
        mean_precision_prior=[0.1, 1.0],
        random_state=0,
    )
    lines = SelectionDisplay.from_selection(found, ax=ax).lines_
    assert list(lines) == [
        f"{kind}, mean_precision_prior={prior}" for kind in ("full", "diag") for prior in (0.1, 1.0)
    ]
    looks = [(line.get_color(), line.get_linestyle()) for line in lines.values()]
    assert looks == [("C0", "-"), ("C0", "--"), ("C1", "-"), ("C1", "--")]


def test_fits_that_did_not_converge_have_hollow_markers(rows, ax):
    found = vbfast.select(rows, [1, 2, 3], max_iter=2, tol=1e-9, random_state=0)
    display = SelectionDisplay.from_selection(found, ax=ax)
    unconverged = [row["n_components"] for row in found.table if not row["converged"]]
    assert unconverged
    np.testing.assert_array_equal(display.unconverged_.get_xdata(), unconverged)
    assert display.unconverged_.get_markerfacecolor() == "white"
    assert "not converged" in texts(ax)


def test_all_fits_converged(selection, ax):
    assert all(row["converged"] for row in selection.table)
    assert SelectionDisplay.from_selection(selection, ax=ax).unconverged_ is None


@pytest.mark.parametrize(
    ("table", "criterion", "error", "words"),
    [
        ([], "elbo", ValueError, "table must have at least one row"),
        ([3], "elbo", TypeError, "table must be a sequence of dictionaries"),
        ({"bic": 3}, "bic", TypeError, "table must be a sequence of dictionaries"),
        ([{"bic": 3}], "bic", ValueError, "table must have n_components in every row"),
        ([{"bic": 3}], "evidence", ValueError, "criterion must be one of elbo, .*; got 'evidence'"),
    ],
)
def test_wrong_tables(table, criterion, error, words):
    with pytest.raises(error, match=f"^{words}"):
        SelectionDisplay(table, criterion=criterion)


def test_a_fit_without_a_value_is_not_the_best(ax):
    table = [
        {"n_components": K, "covariance_type": "full", "bic": value}
        for K, value in ((1, 3.0), (2, float("nan")), (3, 2.0))
    ]
    assert SelectionDisplay(table, criterion="bic").plot(ax=ax).best["n_components"] == 3
    with pytest.raises(ValueError, match="bic is NaN in every row"):
        SelectionDisplay([{**row, "bic": np.nan} for row in table], criterion="bic")


def test_rows_may_lack_what_others_have(ax):
    table = [
        {"n_components": 1, "covariance_type": "full", "bic": 3.0, "mean_precision_prior": 1.0},
        {"n_components": 2, "covariance_type": "full", "bic": 2.0},
    ]
    display = SelectionDisplay(table, criterion="bic").plot(ax=ax)
    assert list(display.curves) == [
        "full, mean_precision_prior=1.0",
        "full, mean_precision_prior=None",
    ]


def test_short_names_of_line_properties(ax):
    table = [{"n_components": K, "bic": 1.0 * K} for K in (1, 2)]
    display = SelectionDisplay(table, criterion="bic").plot(ax=ax, ls=":", c="red", lw=3)
    (line,) = display.lines_.values()
    assert (line.get_linestyle(), line.get_color(), line.get_linewidth()) == (":", "red", 3)
