from __future__ import annotations

import numpy as np
import pytest

import vbfast
from vbfast.plotting import ResponsibilitiesDisplay


def test_rows_are_sorted_by_label_and_the_surest_come_first(rows, ax):
    mixture = vbfast.GaussianMixture(4, max_iter=3, tol=0, random_state=0)
    with pytest.warns(UserWarning, match="converge"):
        mixture.fit(rows)
    display = ResponsibilitiesDisplay.from_estimator(mixture, rows, ax=ax)
    resp, labels = mixture.predict_proba(rows), mixture.predict(rows)
    shown = display.image_.get_array()
    np.testing.assert_array_equal(display.labels, labels)
    np.testing.assert_array_equal(shown, resp[display.order])
    sorted_labels = labels[display.order]
    assert (np.diff(sorted_labels) >= 0).all()
    sure = shown.max(axis=1)
    assert (np.diff(sure)[np.diff(sorted_labels) == 0] <= 0).all()


def test_there_is_a_border_between_labels(ax):
    # Nobody has label 1.
    q = [[0.9, 0.1, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0], [0.1, 0.2, 0.7, 0.0], [0.6, 0.3, 0.1, 0.0]]
    display = ResponsibilitiesDisplay(q).plot(ax)
    np.testing.assert_array_equal(display.order, [0, 3, 2, 1])
    heights = [segment[0, 1] for segment in display.borders_.get_segments()]
    assert heights == [1.5, 2.5]
    assert display.image_.get_clim() == (0.0, 1.0)


def test_the_colour_bar_may_be_left_out(ax, mixture, rows):
    display = ResponsibilitiesDisplay.from_estimator(mixture, rows, ax=ax, cmap="Blues")
    assert display.colorbar_.ax.get_ylabel() == "responsibility"
    assert display.image_.get_cmap().name == "Blues"
    n_axes = len(ax.figure.axes)
    assert display.plot(ax, colorbar=False).colorbar_ is None
    assert len(ax.figure.axes) == n_axes


def test_float32(ax, mixture, rows):
    display = ResponsibilitiesDisplay.from_estimator(mixture, rows.astype(np.float32), ax=ax)
    assert display.responsibilities.dtype == np.float32


@pytest.mark.parametrize(
    ("wrong", "error", "words"),
    [
        ([0.5, 0.5], ValueError, r"must have shape \(n_samples, n_components\)"),
        (np.empty((0, 2)), ValueError, r"must have shape .* got \(0, 2\)"),
        ([[0.5, 0.5], [0.5, 0.6]], ValueError, "must be distributions, .* row 1 is not"),
        ([[1.5, -0.5]], ValueError, "must be distributions, .* row 0 is not"),
        ([[np.nan, 1.0]], ValueError, "must be distributions, .* row 0 is not"),
        ([["a", "b"]], TypeError, "must be numeric"),
    ],
)
def test_wrong_responsibilities(wrong, error, words):
    with pytest.raises(error, match=f"^responsibilities {words}"):
        ResponsibilitiesDisplay(wrong)
