from __future__ import annotations

import copy

import numpy as np
import pytest

import vbfast
from vbfast.plotting import BoundDisplay


def texts(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def test_the_line_has_the_bounds_of_the_fit(mixture, ax):
    display = BoundDisplay.from_estimator(mixture, ax=ax, color="red")
    assert ax.get_lines() == [display.line_]
    np.testing.assert_array_equal(display.line_.get_ydata(), mixture.lower_bounds_)
    np.testing.assert_array_equal(display.line_.get_xdata(), 1 + np.arange(mixture.n_iter_))
    assert display.line_.get_color() == "red"
    assert display.terms == display.term_lines_ == {}
    assert ax.get_ylabel() == "bound, nats a row"
    assert texts(ax) == ["bound"]


def test_the_legend_has_the_terms_at_the_end(bayesian, rows, ax):
    display = BoundDisplay.from_estimator(bayesian, rows, ax=ax)
    terms = bayesian.elbo(rows)
    assert sum(display.terms.values()) == pytest.approx(terms.total, rel=1e-12)
    assert display.terms["entropy"] == terms.entropy
    assert display.terms["-KL of the weights"] == -terms.kl_weights
    assert ax.get_ylabel() == "bound, nats"
    assert f"expected log-joint: {terms.expected_log_joint:.6g}" in texts(ax)
    # The terms do not squeeze the trace.
    low, high = ax.get_ylim()
    assert high - low < 1.2 * np.ptp(bayesian.lower_bounds_)


@pytest.mark.parametrize("sample_weight", [None, np.tile([2.0, 0.5, 1.0], 100)])
def test_terms_are_of_a_row_where_bounds_are(rows, sample_weight, ax):
    mixture = vbfast.GaussianMixture(2, tol=1e-9, max_iter=500, reg_covar=0.0, random_state=0)
    mixture.fit(rows, sample_weight=sample_weight)
    display = BoundDisplay.from_estimator(mixture, rows, sample_weight=sample_weight, ax=ax)
    assert sum(display.terms.values()) == pytest.approx(mixture.lower_bound_, abs=1e-8)


def test_other_families(rows, ax):
    mixture = vbfast.Mixture(vbfast.families.Gaussian("diag"), 2, random_state=0).fit(rows)
    display = BoundDisplay.from_estimator(mixture, rows, ax=ax)
    assert sum(display.terms.values()) == pytest.approx(mixture.score(rows))


@pytest.mark.parametrize("kind", [vbfast.GaussianMixture, vbfast.BayesianGaussianMixture])
def test_terms_of_every_step(kind, rows, ax):
    mixture = kind(3, init_params="random", random_state=0).initialize(rows)
    terms = []
    for _ in range(6):
        terms.append(mixture.elbo(rows))
        mixture = mixture.maximize(mixture.summarize(rows))
    display = BoundDisplay.from_terms(terms, ax=ax)
    bounds = [getattr(of_one, "total", of_one.elbo) for of_one in terms]
    np.testing.assert_array_equal(display.line_.get_ydata(), bounds)
    lines = [line.get_ydata() for line in display.term_lines_.values()]
    assert len(lines) == (4 if kind is vbfast.BayesianGaussianMixture else 2)
    np.testing.assert_allclose(np.sum(lines, axis=0), bounds, rtol=1e-12)
    assert texts(ax) == ["bound", *display.terms]
    assert ax.get_ylabel() == "bound, nats"


def test_terms_from_their_first_values_add_up_as_well(rows, ax):
    mixture = vbfast.GaussianMixture(2, init_params="random", random_state=0).initialize(rows)
    terms = []
    for _ in range(4):
        terms.append(mixture.elbo(rows))
        mixture = mixture.maximize(mixture.summarize(rows))
    display = BoundDisplay.from_terms(terms, total_weight=len(rows), ax=ax, relative=True)
    raised = display.line_.get_ydata()
    np.testing.assert_allclose(
        raised, [(of_one.elbo - terms[0].elbo) / len(rows) for of_one in terms], atol=1e-12
    )
    lines = [line.get_ydata() for line in display.term_lines_.values()]
    np.testing.assert_allclose(np.sum(lines, axis=0), raised, atol=1e-12)
    assert ax.get_ylabel() == "bound, nats a row above the first"


def test_one_iteration_is_a_point(ax):
    display = BoundDisplay([-3.0], terms={"entropy": [0.5]}).plot(ax)
    assert display.line_.get_marker() == display.term_lines_["entropy"].get_marker() == "o"


def test_a_fit_without_iterations(rows, mixture, ax):
    unmoved = vbfast.GaussianMixture(2, max_iter=0, random_state=0).fit(rows)
    loaded = copy.copy(mixture)
    del loaded.lower_bounds_
    for estimator in (unmoved, loaded):
        with pytest.raises(ValueError, match=r"^estimator has no iterations .* from_terms"):
            BoundDisplay.from_estimator(estimator, ax=ax)


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        (([],), ValueError, "lower_bounds must have at least one"),
        (([[1.0]],), ValueError, r"lower_bounds must have one dimension; got shape \(1, 1\)"),
        ((["a"],), TypeError, "lower_bounds must be numeric"),
        (([1.0], [2.0]), TypeError, "terms must be a dictionary of arrays; from_terms takes"),
        (([1.0], {"kl": [1, 2]}), ValueError, r"terms\['kl'\] must be a number or have shape"),
    ],
)
def test_wrong_arguments(arguments, error, words):
    bounds, *terms = arguments
    with pytest.raises(error, match=f"^{words}"):
        BoundDisplay(bounds, **dict(zip(["terms"], terms, strict=False)))


def test_wrong_terms(mixture, bayesian, rows, ax):
    terms = mixture.elbo(rows)
    with pytest.raises(ValueError, match=r"^terms must have at least one"):
        BoundDisplay.from_terms([], ax=ax)
    with pytest.raises(TypeError, match=r"^terms must be ElboTerms.*; got float$"):
        BoundDisplay.from_terms([1.0], ax=ax)
    with pytest.raises(TypeError, match=r"; got ElboTerms, VariationalElboTerms$"):
        BoundDisplay.from_terms([terms, bayesian.elbo(rows)], ax=ax)
    with pytest.raises(ValueError, match=r"^total_weight must be positive; got 0"):
        BoundDisplay.from_terms([terms], total_weight=0, ax=ax)
    of_rows = vbfast.elbo(mixture.log_joint(rows), per_sample=True)
    with pytest.raises(ValueError, match=r"^terms must be sums over rows"):
        BoundDisplay.from_terms([of_rows], ax=ax)
