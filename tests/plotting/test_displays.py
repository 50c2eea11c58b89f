"""What all displays have in common."""

from __future__ import annotations

import re
import subprocess
import sys

import numpy as np
import pytest
from sklearn.exceptions import NotFittedError

import vbfast
from vbfast import plotting

pytest.importorskip("matplotlib")
import matplotlib as mpl
from matplotlib import pyplot as plt
from matplotlib.figure import Figure


def draw(name, mixture, bayesian, selection, rows, **options):
    """Draw a display of each kind."""
    return {
        "BoundDisplay": lambda: plotting.BoundDisplay.from_estimator(mixture, **options),
        "ComponentsDisplay": lambda: plotting.ComponentsDisplay.from_estimator(
            mixture, rows, **options
        ),
        "ResponsibilitiesDisplay": lambda: plotting.ResponsibilitiesDisplay.from_estimator(
            mixture, rows, **options
        ),
        "SelectionDisplay": lambda: plotting.SelectionDisplay.from_selection(selection, **options),
        "WeightsDisplay": lambda: plotting.WeightsDisplay.from_estimator(bayesian, **options),
    }[name]()


@pytest.fixture(params=plotting.__all__)
def display(request, mixture, bayesian, selection, rows):
    """A function that draws a display of each kind."""
    return lambda **options: draw(request.param, mixture, bayesian, selection, rows, **options)


def test_the_module_is_an_attribute_of_the_package():
    assert vbfast.plotting is plotting


def test_given_axes_are_drawn_on_and_nothing_global_changes(display, ax):
    settings, backend, open_ = dict(mpl.rcParams), mpl.get_backend(), plt.get_fignums()
    drawn = display(ax=ax)
    assert drawn.ax_ is ax
    assert drawn.figure_ is ax.figure
    assert ax.has_data()
    assert dict(mpl.rcParams) == settings
    assert mpl.get_backend() == backend
    assert plt.get_fignums() == open_


def test_without_axes_there_is_a_new_figure(display, monkeypatch):
    mpl.use("Agg")
    before = plt.get_fignums()
    drawn = display()
    [number] = set(plt.get_fignums()) - set(before)
    assert drawn.figure_ is plt.figure(number)
    plt.close(number)


def test_it_is_drawn_again_elsewhere(display, ax):
    drawn = display(ax=ax)
    other = Figure().subplots()
    assert drawn.plot(other) is drawn
    assert drawn.ax_ is other
    assert len(other.get_children()) == len(ax.get_children())


def test_a_picture_is_made(display, ax, tmp_path):
    display(ax=ax).figure_.savefig(tmp_path / "picture.png")
    display(ax=Figure().subplots()).figure_.savefig(tmp_path / "picture.svg")


def test_a_logarithmic_axis_stays(mixture, selection, ax):
    ax.set_xscale("log")
    locator = ax.xaxis.get_major_locator()
    plotting.BoundDisplay.from_estimator(mixture, ax=ax)
    plotting.SelectionDisplay.from_selection(selection, ax=ax)
    assert ax.xaxis.get_major_locator() is locator


@pytest.mark.parametrize("wrong", ["left", 3, Figure(), Figure().subplots(1, 2)])
def test_other_axes(display, wrong):
    with pytest.raises(TypeError, match=r"^ax must be one matplotlib Axes, or None.*; got \w+$"):
        display(ax=wrong)


def test_matplotlib_is_missing(display, ax, monkeypatch):
    drawn = display(ax=ax)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    words = rf"^{type(drawn).__name__}.plot needs matplotlib: pip install 'vbfast\[plot\]'$"
    with pytest.raises(ImportError, match=words):
        drawn.plot(ax)
    with pytest.raises(ImportError, match=words):
        display()


def test_the_module_is_imported_without_matplotlib():
    code = "import sys; sys.modules['matplotlib'] = None; from vbfast.plotting import BoundDisplay"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


@pytest.mark.parametrize(
    "draw_it",
    [
        plotting.BoundDisplay.from_estimator,
        plotting.ComponentsDisplay.from_estimator,
        plotting.WeightsDisplay.from_estimator,
        lambda estimator, **options: plotting.ResponsibilitiesDisplay.from_estimator(
            estimator, np.zeros((3, 2)), **options
        ),
    ],
)
def test_an_estimator_that_is_not_fitted(draw_it, ax):
    with pytest.raises(NotFittedError):
        draw_it(vbfast.BayesianGaussianMixture(2), ax=ax)
    assert not ax.has_data()


@pytest.mark.parametrize(
    ("draw_it", "words"),
    [
        (plotting.BoundDisplay.from_estimator, "estimator must be a GaussianMixture, Bayes"),
        (plotting.ComponentsDisplay.from_estimator, "estimator must be a GaussianMixture or Bay"),
        (plotting.WeightsDisplay.from_estimator, "estimator must be a BayesianGaussianMixture"),
        (
            lambda estimator, **options: plotting.ResponsibilitiesDisplay.from_estimator(
                estimator, np.zeros((3, 2)), **options
            ),
            "estimator must have predict_proba",
        ),
        (plotting.SelectionDisplay.from_selection, "selection must be a Selection"),
    ],
)
def test_something_else_than_an_estimator(draw_it, words, ax):
    with pytest.raises(TypeError, match=rf"^{re.escape(words)}.*; got dict$"):
        draw_it({}, ax=ax)
