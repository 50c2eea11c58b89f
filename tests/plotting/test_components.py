from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import multivariate_normal

import vbfast
from vbfast.passes.rows import ArrayRows
from vbfast.plotting import ComponentsDisplay

pytest.importorskip("matplotlib")
from matplotlib.colors import to_rgba

TYPES = ["full", "tied", "diag", "spherical"]


def covariance_of(mixture, k):
    """The covariance of a component, of the type's definition."""
    held, n_features = mixture.covariances_, mixture.means_.shape[1]
    return {
        "full": lambda: held[k],
        "tied": lambda: held,
        "diag": lambda: np.diag(held[k]),
        "spherical": lambda: held[k] * np.eye(n_features),
    }[mixture.covariance_type]()


def check_ellipse(ellipse, mean, covariance, radius):
    """Points on the ellipse's circumference are all at the distance in standard deviations."""
    np.testing.assert_allclose(ellipse.center, mean, rtol=1e-10, atol=1e-10)
    values = np.linalg.eigvalsh(covariance)
    np.testing.assert_allclose(
        np.sort([ellipse.width, ellipse.height]), 2 * radius * np.sqrt(values), rtol=1e-6
    )
    angle = np.radians(ellipse.angle)
    axis = 0.5 * ellipse.width * np.array([np.cos(angle), np.sin(angle)])
    other = 0.5 * ellipse.height * np.array([-np.sin(angle), np.cos(angle)])
    turns = np.linspace(0, 2 * np.pi, 7)[:, np.newaxis]
    points = np.cos(turns) * axis + np.sin(turns) * other
    distances = np.einsum("ni,ni->n", points, np.linalg.solve(covariance, points.T).T)
    np.testing.assert_allclose(distances, radius**2, rtol=1e-6)


@pytest.mark.parametrize("covariance_type", TYPES)
def test_ellipses_are_those_of_the_covariances(covariance_type, rows, ax):
    mixture = vbfast.GaussianMixture(3, covariance_type=covariance_type, random_state=0).fit(rows)
    display = ComponentsDisplay.from_estimator(mixture, features=[2, 0], ax=ax)
    assert [len(ellipses) for ellipses in display.ellipses_] == [2, 2, 2]
    assert len(ax.patches) == 6
    for k, ellipses in enumerate(display.ellipses_):
        covariance = covariance_of(mixture, k)[np.ix_([2, 0], [2, 0])]
        for ellipse, radius in zip(ellipses, (1.0, 2.0), strict=True):
            check_ellipse(ellipse, mixture.means_[k, [2, 0]], covariance, radius)
            assert ellipse.get_edgecolor() == to_rgba(f"C{k}")
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("feature 2", "feature 0")


@pytest.mark.parametrize("covariance_type", TYPES)
def test_ellipses_of_a_projection(covariance_type, rows, ax):
    mixture = vbfast.GaussianMixture(3, covariance_type=covariance_type, random_state=0).fit(rows)
    matrix = np.array([[1.0, 2.0, 0.5], [0.0, -1.0, 3.0]])
    display = ComponentsDisplay.from_estimator(mixture, rows, projection=matrix, ax=ax, n_std=1.5)
    for k, (ellipse,) in enumerate(display.ellipses_):
        covariance = matrix @ covariance_of(mixture, k) @ matrix.T
        check_ellipse(ellipse, matrix @ mixture.means_[k], covariance, 1.5)
    np.testing.assert_allclose(display.points_.get_offsets(), rows @ matrix.T)
    np.testing.assert_allclose(display.mixture.weights_, mixture.weights_)


@pytest.mark.parametrize("options", [{"features": [1, 2]}, {"projection": "pca"}])
def test_the_picture_below_is_the_log_density(mixture, options, ax):
    display = ComponentsDisplay.from_estimator(mixture, ax=ax, n_grid=30, **options)
    points = display.density_.get_coordinates()  # the corners of cells around the points
    centres = 0.25 * (points[:-1, :-1] + points[1:, :-1] + points[:-1, 1:] + points[1:, 1:])
    shown = display.density_.get_array().reshape(30, 30)
    view = display.mixture
    expected = sum(
        weight * multivariate_normal(mean, covariance).pdf(centres)
        for weight, mean, covariance in zip(
            view.weights_, view.means_, view.covariances_, strict=True
        )
    )
    np.testing.assert_allclose(shown, np.log(expected), rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(
        shown.ravel(), view.score_samples(centres.reshape(-1, 2)), rtol=1e-6, atol=1e-6
    )
    assert display.density_.get_clim() == pytest.approx((shown.max() - 10, shown.max()))


def test_features_are_those_of_the_marginal(mixture, ax):
    display = ComponentsDisplay.from_estimator(mixture, features=[1, 2], ax=ax)
    marginal = mixture.marginal([1, 2])
    np.testing.assert_array_equal(display.mixture.means_, marginal.means_)
    np.testing.assert_array_equal(display.mixture.covariances_, marginal.covariances_)


def test_principal_axes_are_those_of_the_rows(rows, ax):
    # After EM without reg_covar the mixture's covariance is that of the rows.
    mixture = vbfast.GaussianMixture(2, reg_covar=0.0, random_state=0).fit(rows)
    display = ComponentsDisplay.from_estimator(mixture, rows, projection="pca", ax=ax)
    values, vectors = np.linalg.eigh(np.cov(rows.T, bias=True))
    axes = vectors[:, ::-1][:, :2].T
    signs = np.sign(axes[[0, 1], np.abs(axes).argmax(axis=1)])
    np.testing.assert_allclose(
        display.points_.get_offsets(), rows @ (signs[:, np.newaxis] * axes).T, rtol=1e-6, atol=1e-6
    )
    share = 100 * values[-1] / values.sum()
    assert ax.get_xlabel() == f"principal axis 1 ({share:.0f} % of the variance)"


def test_one_feature_is_a_density_and_its_components(mixture, rows, ax):
    display = ComponentsDisplay.from_estimator(mixture, rows, features=1, ax=ax)
    x, density = display.density_.get_data()
    marginal = mixture.marginal(1)
    np.testing.assert_allclose(density, np.exp(marginal.score_samples(x[:, np.newaxis])))
    assert np.trapezoid(density, x) == pytest.approx(1.0, abs=0.01)
    assert len(display.curves_) == 3
    curves = [curve.get_ydata() for curve in display.curves_]
    np.testing.assert_allclose(np.sum(curves, axis=0), density, rtol=1e-10)
    weighted = marginal.weights_[1] * multivariate_normal(
        marginal.means_[1], marginal.covariances_[1]
    ).pdf(x)
    np.testing.assert_allclose(curves[1], weighted, rtol=1e-8, atol=1e-300)
    np.testing.assert_array_equal(display.points_.get_offsets()[:, 0], rows[:, 1])
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("feature 1", "density")
    assert display.ellipses_ == []


@pytest.mark.parametrize("covariance_type", TYPES)
def test_a_mixture_of_one_feature(covariance_type, rows, ax):
    mixture = vbfast.GaussianMixture(2, covariance_type=covariance_type, random_state=0)
    display = ComponentsDisplay.from_estimator(mixture.fit(rows[:, :1]), rows[:, :1], ax=ax)
    x, density = display.density_.get_data()
    np.testing.assert_allclose(density, np.exp(mixture.score_samples(x[:, np.newaxis])))
    with pytest.raises(ValueError, match=r"^projection='pca' needs two features"):
        ComponentsDisplay.from_estimator(mixture, projection="pca", ax=ax)


def test_rows_have_the_colours_of_their_components(mixture, rows, ax):
    display = ComponentsDisplay.from_estimator(mixture, rows, ax=ax)
    labels = mixture.predict(rows)
    np.testing.assert_array_equal(display.points_.get_offsets(), rows[:, :2])
    colours = display.points_.get_facecolors()
    np.testing.assert_allclose(colours[:, :3], [to_rgba(f"C{label}")[:3] for label in labels])


def test_of_many_rows_some_are_drawn(mixture, rows, ax):
    display = ComponentsDisplay.from_estimator(mixture, rows, max_rows=120, ax=ax)
    np.testing.assert_array_equal(display.rows, rows[::3, :2])
    np.testing.assert_array_equal(display.row_labels, mixture.predict(rows)[::3])


def test_all_rows_and_ellipses_are_seen(mixture, rows, ax):
    far = np.vstack([rows, [[40.0, -30.0, 0.0]]])
    ComponentsDisplay.from_estimator(mixture, far, ax=ax, density=False)
    for limits, column in ((ax.get_xlim(), far[:, 0]), (ax.get_ylim(), far[:, 1])):
        assert limits[0] < column.min() < column.max() < limits[1]


def test_of_a_bayesian_mixture_the_active_components_are_drawn(bayesian, ax):
    display = ComponentsDisplay.from_estimator(bayesian, ax=ax)
    heaviest = np.sort(np.argsort(-bayesian.weights_)[:3])
    np.testing.assert_array_equal(display.components, heaviest)
    for k, ellipses in zip(heaviest, display.ellipses_, strict=True):
        check_ellipse(ellipses[0], bayesian.means_[k, :2], bayesian.covariances_[k, :2, :2], 1.0)
    assert {text.get_text() for text in ax.texts} == {str(k) for k in heaviest}
    everything = ComponentsDisplay.from_estimator(bayesian, components=range(6), ax=ax)
    assert len(everything.ellipses_) == 6


def test_names_of_features(rows, ax):
    frame = pytest.importorskip("pandas").DataFrame(rows, columns=["height", "width", "depth"])
    mixture = vbfast.GaussianMixture(2, random_state=0).fit(frame)
    display = ComponentsDisplay.from_estimator(mixture, frame, features=["depth", "height"], ax=ax)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("depth", "height")
    np.testing.assert_array_equal(display.rows, rows[:, [2, 0]])
    ComponentsDisplay.from_estimator(mixture, features="width", ax=ax)
    assert ax.get_xlabel() == "width"
    ComponentsDisplay.from_estimator(mixture, frame, projection="pca", ax=ax)
    ComponentsDisplay(mixture.marginal(["width", "depth"])).plot(ax)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("width", "depth")


def test_float32(rows, ax):
    mixture = vbfast.GaussianMixture(3, random_state=0).fit(rows.astype(np.float32))
    for options in ({}, {"features": 0}, {"projection": "pca"}):
        display = ComponentsDisplay.from_estimator(mixture, rows, ax=ax, **options)
        assert display.mixture.means_.dtype == np.float32


def test_parts_may_be_left_out(mixture, ax):
    display = ComponentsDisplay.from_estimator(
        mixture, components=[2, 0], density=False, n_std=[1, 2, 3], ax=ax
    )
    assert display.density_ is display.points_ is display.colorbar_ is None
    assert [len(ellipses) for ellipses in display.ellipses_] == [3, 3]
    shown = display.plot(ax, colorbar=True)
    assert shown.colorbar_.ax.get_ylabel() == "log-density, nats"


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"features": [0, 1], "projection": "pca"}, ValueError, "features and projection were gi"),
        (
            {"features": [0, 1, 2]},
            ValueError,
            "features must be one or two; got 3. projection='pca",
        ),
        ({"features": [0, 3]}, ValueError, r"features must be in -3\.\.2; got 3"),
        ({"features": [1, 1]}, ValueError, "features must be distinct"),
        ({"features": 0.5}, TypeError, "features must be columns or their names"),
        ({"projection": "umap"}, ValueError, r"projection must be 'pca' or a matrix .* got 'umap'"),
        ({"projection": np.eye(3)}, ValueError, r"projection must have shape \(2, 3\), or be 'pca"),
        ({"projection": [[1, 2, np.nan], [0, 1, 0]]}, ValueError, "projection must be finite"),
        ({"projection": [[1, 2, 3], [2, 4, 6]]}, ValueError, "projection must have two rows that"),
        ({"projection": [["a"] * 3] * 2}, TypeError, "projection must be numeric"),
        ({"components": [3]}, ValueError, r"components must be in 0\.\.2; got 3"),
        ({"components": []}, ValueError, "components must be integers, at least one"),
        ({"components": [0.5]}, ValueError, "components must be integers, at least one"),
        ({"max_rows": 0}, ValueError, "max_rows == 0, must be >= 1"),
        ({"max_rows": 2.5}, TypeError, "max_rows must be an instance of int"),
        ({"n_std": []}, ValueError, "n_std must be a positive number, or several"),
        ({"n_std": [1, -1]}, ValueError, "n_std must be a positive number, or several"),
        ({"n_std": "two"}, TypeError, "n_std must be numeric"),
        ({"n_grid": 1}, ValueError, "n_grid == 1, must be >= 2"),
        ({"n_grid": "fine"}, TypeError, "n_grid must be an instance of int"),
    ],
)
def test_wrong_arguments(mixture, rows, options, error, words, ax):
    with pytest.raises(error, match=f"^{words}"):
        ComponentsDisplay.from_estimator(mixture, rows, ax=ax, **options)
    assert not ax.has_data()


@pytest.mark.parametrize("X", [3.0, np.float64(3.0), ArrayRows(np.empty((0, 3)))])
def test_no_rows(mixture, X, ax):
    with pytest.raises(ValueError, match=r"Expected 2D array|0 sample\(s\)"):
        ComponentsDisplay.from_estimator(mixture, X, ax=ax)


def test_wrong_arguments_of_the_constructor(mixture, bayesian):
    flat = mixture.marginal([0, 1])
    with pytest.raises(TypeError, match=r"^mixture must be a GaussianM.*; got Bayesian"):
        ComponentsDisplay(bayesian)
    with pytest.raises(ValueError, match=r"^mixture must have one or two features, .* got 3"):
        ComponentsDisplay(mixture)
    with pytest.raises(ValueError, match=r"^labels must be 2; got 1"):
        ComponentsDisplay(flat, labels=["x"])
    with pytest.raises(ValueError, match=r"^rows must have shape \(n_rows, 2\); got \(4, 3\)"):
        ComponentsDisplay(flat, rows=np.zeros((4, 3)))
    with pytest.raises(ValueError, match=r"^row_labels need rows"):
        ComponentsDisplay(flat, row_labels=[0])
    rows = np.zeros((4, 2))
    for labels in ([0], [[0, 1, 2, 0]], [0.0, 0.0, 1.0, 1.0]):
        with pytest.raises(ValueError, match=r"^row_labels must be 4 integers, one for each"):
            ComponentsDisplay(flat, rows=rows, row_labels=labels)
    for unknown in (-1, 3):
        with pytest.raises(ValueError, match=rf"^row_labels must be in 0\.\.2; got {unknown}"):
            ComponentsDisplay(flat, rows=rows, row_labels=[0, 0, 0, unknown])
    ComponentsDisplay(flat, rows=rows)


@pytest.mark.parametrize("covariance_type", TYPES)
def test_a_projection_of_collapsed_components(covariance_type, rows, ax):
    mixture = vbfast.GaussianMixture(3, covariance_type=covariance_type, random_state=0).fit(rows)
    kind = mixture.covariance_type
    mixture.covariances_ = mixture.covariances_ * 1e-18
    if kind in ("full", "tied"):  # as flat as a sheet besides
        flat = np.diag([1e-9, 1.0, 1e9])
        mixture.covariances_ = flat @ mixture.covariances_ @ flat
        mixture.precisions_cholesky_ = np.linalg.inv(flat) @ mixture.precisions_cholesky_ * 1e9
    else:
        mixture.precisions_cholesky_ = mixture.precisions_cholesky_ * 1e9
    matrix = np.array([[1.0, 2.0, 0.5], [0.0, -1.0, 3.0]])
    display = ComponentsDisplay.from_estimator(mixture, projection=matrix, ax=ax)
    for k in range(3):
        np.testing.assert_allclose(
            display.mixture.covariances_[k],
            matrix @ covariance_of(mixture, k) @ matrix.T,
            rtol=1e-7,
        )


def test_a_narrow_component_over_a_feature(ax):
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.normal(size=500), 300.0 + 1e-3 * rng.normal(size=500)])
    mixture = vbfast.GaussianMixture(2, random_state=0, reg_covar=0.0).fit(x[:, np.newaxis])
    display = ComponentsDisplay.from_estimator(mixture, ax=ax)
    for k, curve in zip(display.components, display.curves_, strict=True):
        peak = mixture.weights_[k] / np.sqrt(2 * np.pi * mixture.covariances_[k, 0, 0])
        assert curve.get_ydata().max() == pytest.approx(peak, rel=1e-6)
        area = np.trapezoid(curve.get_ydata(), curve.get_xdata())
        assert area == pytest.approx(mixture.weights_[k], rel=0.01)


def test_rows_of_a_source_are_read_as_far_as_they_are_drawn(ax, rows):
    class Source:
        n_samples, n_features = rows.shape
        dtype, in_memory, data = rows.dtype, None, rows
        taken = 0

        def block(self, start, stop):
            raise AssertionError("not all rows")

        def take(self, indices):
            self.taken += len(indices)
            return rows[indices]

    mixture = vbfast.GaussianMixture(3, random_state=0).fit(rows)
    source = Source()
    assert isinstance(source, vbfast.RowSource)
    display = ComponentsDisplay.from_estimator(mixture, source, max_rows=50, ax=ax)
    step = -(-len(rows) // 50)
    assert source.taken == len(display.rows) == len(rows[::step])
    np.testing.assert_array_equal(display.rows, rows[::step, :2])
    np.testing.assert_array_equal(display.row_labels, mixture.predict(rows[::step]))
