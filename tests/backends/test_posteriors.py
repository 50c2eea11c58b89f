"""Posteriors, moments and terms of the bound of every backend, beside the reference's."""

from __future__ import annotations

import numpy as np
import pytest

from vbfast import _vbfast
from vbfast.backends import get_backend
from vbfast.config.settings import current_linalg
from vbfast.contract import (
    COVARIANCE_TYPES,
    NormalWishartArrays,
    NotPositiveDefiniteError,
    Statistics,
    covariance_shape,
)
from vbfast.families.covariances import MOMENTS_OF

K, D = 5, 3
all_types = pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
sizes = pytest.mark.parametrize(("n_components", "n_features"), [(1, 1), (5, 3), (4, 17)])


@pytest.fixture
def linalg(backend):
    """The linear algebra of each backend."""
    del backend
    return current_linalg()


def reference():
    return get_backend("reference").linalg(1)


def native(num_threads):
    return get_backend("native").linalg(num_threads)


def kept(covariance_type, matrices):
    """What a covariance type keeps of full matrices, exactly symmetric."""
    if covariance_type == "full":
        return matrices.copy()
    if covariance_type == "tied":
        return matrices.sum(axis=0)
    diagonal = np.diagonal(matrices, axis1=1, axis2=2).copy()
    return diagonal if covariance_type == "diag" else diagonal.mean(axis=1)


def random_statistics(covariance_type, n_components=K, n_features=D, seed=0):
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(n_components, 40, n_features)) + rng.normal(size=n_features)
    resp = rng.uniform(size=(n_components, 40))
    second = np.einsum("kn,kni,knj->kij", resp, rows, rows)
    return Statistics(
        MOMENTS_OF[covariance_type],
        rng.normal(size=(n_components, n_features)),
        resp.sum(axis=1),
        np.einsum("kn,kni->ki", resp, rows),
        kept(covariance_type, 0.5 * (second + second.swapaxes(1, 2))),
    )


def one_matrix(covariance_type, n_features=D):
    matrix = np.eye(n_features) + 0.25
    return kept(covariance_type, matrix[np.newaxis])[() if covariance_type == "tied" else 0]


def posterior_of(linalg, covariance_type, n_components=K, n_features=D, seed=0, degrees=None):
    return linalg.normal_wishart_posterior(
        covariance_type,
        0.7,
        np.linspace(-1.0, 1.0, n_features),
        n_features + 0.5 if degrees is None else degrees,
        np.asarray(one_matrix(covariance_type, n_features)),
        random_statistics(covariance_type, n_components, n_features, seed),
        variance=0.01,
        least_count=1e-3,
    )


def arrays_of(posterior):
    arrays, covariances = posterior
    return [*vars(arrays).values(), covariances]


@pytest.mark.kernels
@all_types
@sizes
def test_normal_wishart_posteriors(linalg, covariance_type, n_components, n_features):
    given = (covariance_type, n_components, n_features)
    for ours, expected in zip(
        arrays_of(posterior_of(linalg, *given)),
        arrays_of(posterior_of(reference(), *given)),
        strict=True,
    ):
        assert ours.shape == expected.shape
        np.testing.assert_allclose(ours, expected, rtol=1e-11, atol=1e-13)


@pytest.mark.kernels
@all_types
@sizes
@pytest.mark.parametrize("degrees", [None, 1e15])
def test_divergences_of_normal_wisharts(linalg, covariance_type, n_components, n_features, degrees):
    given = (covariance_type, n_components, n_features)
    q, _ = posterior_of(reference(), *given, seed=1, degrees=degrees)
    r, _ = posterior_of(reference(), *given, seed=2, degrees=degrees)
    first = () if covariance_type == "tied" else 0
    one = NormalWishartArrays(
        np.asarray(r.mean_precision[0]),
        r.means[0],
        np.asarray(r.degrees_of_freedom[first]),
        np.asarray(r.factor[first]),
    )
    for other in (r, one):
        divergence = linalg.normal_wishart_divergence(covariance_type, q, other)
        expected = reference().normal_wishart_divergence(covariance_type, q, other)
        np.testing.assert_allclose(divergence, expected, rtol=1e-10)
        assert (divergence >= 0.0).all()
    np.testing.assert_allclose(
        linalg.expected_log_density(covariance_type, q),
        reference().expected_log_density(covariance_type, q),
        rtol=1e-13,
        atol=1e-13,
    )
    nothing = linalg.normal_wishart_divergence(covariance_type, q, q)
    np.testing.assert_array_equal(nothing, np.zeros(n_components))
    np.testing.assert_allclose(
        linalg.expected_log_det(covariance_type, n_features, q.degrees_of_freedom, q.factor),
        reference().expected_log_det(covariance_type, n_features, q.degrees_of_freedom, q.factor),
        rtol=1e-13,
        atol=1e-13,
    )


@pytest.mark.parametrize("concentration", [1e-3, 1.0, 1e8, 1e20])
def test_terms_of_mixing_weights(linalg, concentration):
    rows = np.array([7.25, 0.0, 120.5, 3.0])
    later = np.array([123.5, 123.5, 3.0, 0.0])
    plain = reference()
    for name, arguments in (
        ("dirichlet_expected_log", (concentration + rows,)),
        ("dirichlet_log_evidence", (concentration, rows)),
        ("stick_expected_log", (1.0 + rows, concentration + later)),
        ("stick_log_evidence", (concentration, rows, later)),
    ):
        ours, expected = getattr(linalg, name)(*arguments), getattr(plain, name)(*arguments)
        np.testing.assert_allclose(ours, expected, rtol=1e-13, atol=1e-12)


@pytest.mark.kernels
@all_types
@sizes
@pytest.mark.parametrize("known", [True, False])
def test_moments_have_the_bits_of_the_reference(
    linalg, covariance_type, n_components, n_features, known
):
    statistics = random_statistics(covariance_type, n_components, n_features)
    statistics.weight[-1] = 1e-20  # lost
    shape = statistics.second.shape
    arguments = {
        "variance": 1e-6,
        "least_count": 2e-15,
        "empty": 2e-13,
        "previous_means": np.ones((n_components, n_features)) if known else None,
        "previous_covariances": np.full(shape, 2.0) if known else None,
    }
    if covariance_type == "tied" and n_features == 1:
        pytest.skip("NumPy sums products of one feature in lanes of its own")
    ours = linalg.gaussian_moments(covariance_type, statistics, **arguments)
    expected = reference().gaussian_moments(covariance_type, statistics, **arguments)
    for one, other in zip(ours, expected, strict=True):
        np.testing.assert_array_equal(one, other)


@all_types
@pytest.mark.parametrize("factor_type", COVARIANCE_TYPES)
def test_which_moments_cancel(linalg, covariance_type, factor_type):
    rng = np.random.default_rng(0)
    answers = []
    for exponent in range(12):
        statistics = random_statistics(covariance_type, seed=exponent)
        first = statistics.first * 10.0**exponent
        factors = rng.uniform(1.0, 2.0, covariance_shape(factor_type, K, D))
        if factor_type in ("full", "tied"):
            factors = np.triu(factors)
        offset = np.where(np.arange(K) == 1, -np.inf, 0.0)
        arguments = (
            factor_type,
            offset,
            statistics.centres * 10.0 ** (exponent // 3),
            factors,
            covariance_type,
            statistics.weight,
            first,
            statistics.second,
            np.full((1, 1), 1e-6),
        )
        limits = {"tolerated": 1e6, "reach": 4e6}
        answers.append(linalg.second_moments_cancel(*arguments, **limits))
        assert answers[-1] == reference().second_moments_cancel(*arguments, **limits)
    assert len(set(answers)) == 2


@pytest.mark.kernels
@all_types
def test_threads_do_not_change_the_bits(covariance_type):
    size = (covariance_type, 60, 40)
    one, two = (posterior_of(native(threads), *size) for threads in (1, 2))
    for left, right in zip(arrays_of(one), arrays_of(two), strict=True):
        np.testing.assert_array_equal(left, right)
    other, _ = posterior_of(native(1), *size, seed=3)
    np.testing.assert_array_equal(
        *(
            native(threads).normal_wishart_divergence(covariance_type, one[0], other)
            for threads in (1, 2)
        )
    )


@all_types
def test_a_covariance_that_is_not_positive_definite_is_named(linalg, covariance_type):
    statistics = random_statistics(covariance_type)
    statistics.second[() if covariance_type == "tied" else 2] *= -1e6
    with pytest.raises(NotPositiveDefiniteError) as caught:
        linalg.normal_wishart_posterior(
            covariance_type,
            1.0,
            np.zeros(D),
            float(D),
            np.asarray(one_matrix(covariance_type)),
            statistics,
            variance=0.0,
            least_count=0.0,
        )
    assert caught.value.component == (0 if covariance_type == "tied" else 2)


def test_wrong_shapes_are_errors():
    q, _ = posterior_of(native(1), "full")
    good = (q.mean_precision, q.means, q.degrees_of_freedom, q.factor)
    for place in range(4):
        wrong = [*good[:place], good[place][:-1], *good[place + 1 :]]
        with pytest.raises(ValueError, match="must have shape"):
            _vbfast.normal_wishart_divergence("full", tuple(good), tuple(wrong), 1)
    with pytest.raises(ValueError, match="covariance_type: round"):
        _vbfast.normal_wishart_divergence("round", good, good, 1)
    with pytest.raises(ValueError, match="sticks must have shape"):
        _vbfast.stick_expected_log(np.ones(3), np.ones(2))
    with pytest.raises(ValueError, match="factor must have shape"):
        _vbfast.expected_log_det("diag", D, np.ones(2), np.ones((3, D)), 1)
