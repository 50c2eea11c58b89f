"""The linear algebra of every backend, against definitions in long double."""

from __future__ import annotations

import numpy as np
import pytest

from vbfast import _vbfast
from vbfast.backends import get_backend
from vbfast.config.settings import current_linalg
from vbfast.contract import NotPositiveDefiniteError
from vbfast.families.linalg import gram

# Around the widths of the lanes, of tiles and of blocks of columns, and several blocks.
SIZES = [1, 2, 3, 7, 8, 9, 13, 16, 17, 25, 64, 65, 256]


@pytest.fixture
def linalg(backend):
    """The linear algebra of each backend."""
    del backend
    return current_linalg()


def native(num_threads=2):
    return get_backend("native").linalg(num_threads)


def ratio_norms(factors, denominators, num_threads=2):
    """What divergences of normal-Wishart posteriors are computed with."""
    return _vbfast.ratio_norms(factors, denominators, num_threads)


def random_covariances(n_components, n_features, seed=0):
    rng = np.random.default_rng(seed)
    roots = rng.normal(size=(n_components, n_features, n_features + 3))
    return roots @ roots.swapaxes(1, 2) / n_features


def ill_conditioned(n_components, n_features, condition, seed=0):
    """Covariances with eigenvalues from one down to 1 / condition."""
    rng = np.random.default_rng(seed)
    axes = np.linalg.qr(rng.normal(size=(n_components, n_features, n_features)))[0]
    values = np.geomspace(1.0, 1.0 / condition, n_features)
    covariances = (axes * values) @ axes.swapaxes(1, 2)
    return 0.5 * (covariances + covariances.swapaxes(1, 2))


def exact_inverse_upper(upper):
    """Inverse by back substitution, in the precision of the argument."""
    inverse = np.zeros_like(upper)
    identity = np.eye(len(upper), dtype=upper.dtype)
    for i in reversed(range(len(upper))):
        row = identity[i] - upper[i, i + 1 :] @ inverse[i + 1 :]
        inverse[i] = row / upper[i, i]
    return inverse


def exact_precision_cholesky(covariance):
    """In long double: the inverse of the upper factor, which a loop over its rows makes."""
    left = covariance.astype(np.longdouble)
    upper = np.zeros_like(left)
    for i in range(len(left)):
        upper[i, i:] = left[i, i:] / np.sqrt(left[i, i])
        left[i:, i:] -= upper[i, i:, np.newaxis] * upper[i, i:]
    return exact_inverse_upper(upper)


# Where long double is no wider than double there is nothing to compare with.
needs_long_double = pytest.mark.skipif(
    np.finfo(np.longdouble).eps > 1e-18, reason="long double is double here"
)


@pytest.mark.kernels
@needs_long_double
@pytest.mark.parametrize(
    ("n_components", "n_features"), [(1, 17), (1, 256), *((3, D) for D in SIZES if D < 256)]
)
def test_accuracy_at_a_condition_number_of_1e8(linalg, n_components, n_features):
    condition, eps = 1e8, np.finfo(np.float64).eps
    covariances = ill_conditioned(n_components, n_features, condition)
    others = ill_conditioned(n_components, n_features, condition, seed=1)
    factors, denominators = (
        linalg.precision_cholesky(covariances),
        linalg.precision_cholesky(others),
    )
    norms = ratio_norms(factors, denominators)
    shared = ratio_norms(factors, denominators[:1])
    for k in range(n_components):
        # What rounding the covariance would do, and, of factors, the square root of it.
        exact = exact_precision_cholesky(covariances[k])
        error = np.abs(factors[k] - exact).max() / np.abs(exact).max()
        assert error <= 4 * condition * eps
        for norm, denominator in ((norms[k], denominators[k]), (shared[k], denominators[0])):
            inverse = exact_inverse_upper(denominator.astype(np.longdouble))
            expected = np.square(inverse @ factors[k].astype(np.longdouble)).sum()
            assert abs(norm / expected - 1) <= n_features * np.sqrt(condition) * eps


@pytest.mark.kernels
@pytest.mark.parametrize("n_features", SIZES)
def test_precision_cholesky_factors_the_inverse(linalg, n_features):
    covariances = random_covariances(3, n_features)
    factors = linalg.precision_cholesky(covariances)
    np.testing.assert_array_equal(factors, np.triu(factors))
    identity = np.broadcast_to(np.eye(n_features), covariances.shape)
    np.testing.assert_allclose(gram(factors) @ covariances, identity, atol=1e-8)


@pytest.mark.kernels
def test_backends_agree(linalg):
    covariances = random_covariances(5, 20)
    expected = get_backend("reference").linalg(1).precision_cholesky(covariances)
    np.testing.assert_allclose(
        linalg.precision_cholesky(covariances), expected, rtol=1e-9, atol=1e-12
    )


@pytest.mark.kernels
@pytest.mark.parametrize("bad", [-1.0, 0.0, np.nan])
def test_precision_cholesky_names_the_component_that_has_none(linalg, bad):
    covariances = random_covariances(4, 3)
    covariances[2] = np.diag([1.0, bad, 1.0])
    with pytest.raises(NotPositiveDefiniteError) as caught:
        linalg.precision_cholesky(covariances)
    assert caught.value.component == 2


@pytest.mark.kernels
@pytest.mark.parametrize("num_threads", [1, 3])
@pytest.mark.parametrize("n_features", SIZES)
@pytest.mark.parametrize("bad", [-1.0, 0.0, np.nan, np.inf])
def test_the_first_bad_component_is_named_wherever_its_pivot(bad, n_features, num_threads):
    for place in {0, n_features // 2, n_features - 1}:
        covariances = random_covariances(5, n_features)
        for k in (4, 1):
            covariances[k] = np.eye(n_features)
            covariances[k, place, place] = bad
        with pytest.raises(NotPositiveDefiniteError) as caught:
            native(num_threads).precision_cholesky(covariances)
        assert caught.value.component == 1


@pytest.mark.kernels
def test_precision_cholesky_reads_the_upper_triangle():
    covariances = random_covariances(2, 29)
    below = np.tril_indices(29, -1)
    changed = covariances.copy()
    changed[:, *below] = np.nan
    expected = native().precision_cholesky(covariances)
    np.testing.assert_array_equal(native().precision_cholesky(changed), expected)


@pytest.mark.kernels
@pytest.mark.parametrize("n_features", [1, 2, 3, 8, 31, 130])
def test_ratio_norms(n_features):
    factors = native().precision_cholesky(random_covariances(5, n_features))
    denominators = native().precision_cholesky(random_covariances(5, n_features, seed=1))
    ratios = [np.linalg.inv(B) @ A for A, B in zip(factors, denominators, strict=True)]
    expected = np.square(ratios).sum(axis=(1, 2))
    np.testing.assert_allclose(ratio_norms(factors, denominators), expected, rtol=1e-8)
    np.testing.assert_allclose(ratio_norms(factors, denominators[:1])[0], expected[0], rtol=1e-8)
    np.testing.assert_allclose(ratio_norms(factors, factors), n_features, rtol=1e-12)


@pytest.mark.kernels
@pytest.mark.parametrize(("n_components", "n_features"), [(1, 300), (2, 65), (7, 150)])
def test_nothing_depends_on_the_threads(n_components, n_features):
    covariances = random_covariances(n_components, n_features)
    others = native().precision_cholesky(random_covariances(n_components, n_features, seed=1))
    vectors = np.random.default_rng(2).normal(size=(2, n_components, n_features))

    def results(num_threads):
        linalg = native(num_threads)
        factors = linalg.precision_cholesky(covariances)
        moved = linalg.subtract_symmetric(covariances, *vectors)
        averaged = linalg.average_moved(covariances, *vectors, 0.9, others, 0.1)
        precisions = linalg.precisions(others)
        norms = [ratio_norms(factors, by, num_threads) for by in (others, others[:1])]
        first = vectors.swapaxes(0, 1)
        gradients = linalg.matrix_gradients(vectors[0, :, 0], first, covariances, others)
        return factors, *norms, moved, averaged, precisions, *gradients

    expected = results(1)
    for num_threads in (2, 3, 5):
        for result, one in zip(results(num_threads), expected, strict=True):
            np.testing.assert_array_equal(result, one)


@pytest.mark.kernels
@pytest.mark.parametrize("n_features", SIZES)
def test_subtract_symmetric(linalg, n_features):
    matrices = random_covariances(3, n_features)
    a, b = np.random.default_rng(1).normal(size=(2, 3, n_features))
    product = a[:, :, np.newaxis] * b[:, np.newaxis, :]
    moved = linalg.subtract_symmetric(matrices, a, b)
    np.testing.assert_array_equal(moved, matrices - (product + product.swapaxes(1, 2)))
    np.testing.assert_array_equal(moved, moved.swapaxes(1, 2))


@pytest.mark.kernels
@pytest.mark.parametrize("n_features", SIZES)
def test_average_moved(linalg, n_features):
    matrices, others = (random_covariances(3, n_features, seed) for seed in (0, 1))
    vectors = np.random.default_rng(1).normal(size=(2, 3, n_features))
    averaged = linalg.average_moved(matrices, *vectors, 0.9, others, 0.03)
    moved = linalg.subtract_symmetric(matrices, *vectors)
    np.testing.assert_array_equal(averaged, 0.9 * moved + 0.03 * others)
    np.testing.assert_array_equal(averaged, averaged.swapaxes(1, 2))


@pytest.mark.kernels
@pytest.mark.parametrize("n_features", [*range(1, 41), 63, 64, 65, 130, 256])
def test_precisions(linalg, n_features):
    """To the rounding of their sums of products."""
    factors = np.triu(np.random.default_rng(0).normal(size=(3, n_features, n_features)))
    precisions = linalg.precisions(factors)
    np.testing.assert_array_equal(precisions, precisions.swapaxes(1, 2))
    exact = factors.astype(np.longdouble)
    rounding = n_features * np.finfo(np.float64).eps
    error = np.abs(precisions - exact @ exact.swapaxes(1, 2))
    assert np.all(error <= rounding * (np.abs(factors) @ np.abs(factors).swapaxes(1, 2)))


def random_moments(linalg, n_matrices, n_features, n_means=1, condition=None, seed=0):
    """Weights, first and second moments, and factors of other covariances."""
    rng = np.random.default_rng(seed)
    if condition is None:
        covariances = random_covariances(n_matrices, n_features, seed=1)
    else:
        covariances = ill_conditioned(n_matrices, n_features, condition)
    return (
        rng.uniform(1.0, 100.0, size=n_matrices),
        rng.normal(size=(n_matrices, n_means, n_features)),
        random_covariances(n_matrices, n_features, seed),
        linalg.precision_cholesky(covariances),
    )


def check_matrix_gradients(linalg, weight, first, second, factors):
    """Against the definition, entry by entry to the rounding of its sums of products."""
    means, covariances, in_factors = linalg.matrix_gradients(weight, first, second, factors)
    np.testing.assert_array_equal(covariances, covariances.swapaxes(1, 2))
    np.testing.assert_array_equal(in_factors, np.triu(in_factors))
    n_features = factors.shape[-1]
    rounding = 4 * n_features * np.finfo(np.float64).eps
    for k, exact in enumerate(factors.astype(np.longdouble)):
        size = np.abs(exact)
        identity = weight[k] * np.eye(n_features)
        product, products = second[k] @ exact, np.abs(second[k]) @ size
        excess, excesses = exact.T @ product - identity, size.T @ products + identity
        inverse_diagonal = identity / np.diagonal(exact)
        for actual, expected, scale in (
            (means[k], first[k] @ exact @ exact.T, np.abs(first[k]) @ size @ size.T),
            (covariances[k], 0.5 * (exact @ excess @ exact.T), size @ excesses @ size.T),
            (in_factors[k], np.triu(inverse_diagonal - product), inverse_diagonal + products),
        ):
            assert np.all(np.abs(actual - expected) <= rounding * scale)


@pytest.mark.kernels
@pytest.mark.parametrize("n_features", [*range(1, 41), 63, 64, 65, 130])
def test_matrix_gradients(linalg, n_features):
    for n_matrices, n_means in ((3, 1), (1, 5)):
        check_matrix_gradients(linalg, *random_moments(linalg, n_matrices, n_features, n_means))


@pytest.mark.kernels
@pytest.mark.parametrize("n_features", [17, 256])
def test_matrix_gradients_at_a_condition_number_of_1e8(linalg, n_features):
    check_matrix_gradients(linalg, *random_moments(linalg, 1, n_features, condition=1e8))


@pytest.mark.kernels
@pytest.mark.parametrize(("n_matrices", "n_features"), [(0, 0), (0, 3), (2, 0)])
@pytest.mark.parametrize("n_means", [0, 1, 2])
def test_batches_of_nothing(linalg, n_matrices, n_features, n_means):
    K, D = n_matrices, n_features
    square = np.zeros((K, D, D))
    found = linalg.matrix_gradients(np.ones(K), np.zeros((K, n_means, D)), square, square)
    assert [array.shape for array in found] == [(K, n_means, D), (K, D, D), (K, D, D)]
    np.testing.assert_array_equal(ratio_norms(square, square), np.zeros(K))
    ones = np.ones((K, D))
    assert linalg.subtract_symmetric(square, ones, ones).shape == (K, D, D)
    assert linalg.average_moved(square, ones, ones, 0.5, square, 0.5).shape == (K, D, D)
    assert linalg.precisions(square).shape == (K, D, D)


@pytest.mark.kernels
def test_matrix_gradients_of_more_means_than_features(linalg):
    check_matrix_gradients(linalg, *random_moments(linalg, 2, 13, n_means=45))


@pytest.mark.kernels
@pytest.mark.parametrize("n_features", SIZES)
def test_matrix_gradients_vanish_where_moments_fit(linalg, n_features):
    covariances = random_covariances(2, n_features)
    weight = np.array([0.0, 50.0])
    means, in_covariances, in_factors = linalg.matrix_gradients(
        weight,
        np.zeros((2, 1, n_features)),
        weight[:, np.newaxis, np.newaxis] * covariances,
        linalg.precision_cholesky(covariances),
    )
    np.testing.assert_array_equal(means, 0.0)
    for gradient in (in_covariances, in_factors):
        np.testing.assert_array_equal(gradient[0], 0.0)
        scale = np.linalg.norm(np.linalg.inv(covariances[1])) ** 2
        np.testing.assert_allclose(gradient[1], 0.0, atol=1e-10 * scale)


@pytest.mark.kernels
@pytest.mark.parametrize(("n_matrices", "n_features", "n_means"), [(13, 300, 1), (3, 9, 2)])
def test_a_gradient_does_not_depend_on_the_other_matrices(linalg, n_matrices, n_features, n_means):
    moments = random_moments(linalg, n_matrices, n_features, n_means)
    together = linalg.matrix_gradients(*moments)
    for k in range(n_matrices):
        alone = linalg.matrix_gradients(*(moment[k : k + 1] for moment in moments))
        for gradient, one in zip(together, alone, strict=True):
            np.testing.assert_array_equal(gradient[k], one[0])


def test_a_failed_matrix_of_a_batch_is_named(linalg):
    covariances = random_covariances(11, 20)
    covariances[7] = 0.0
    with pytest.raises(NotPositiveDefiniteError) as caught:
        linalg.precision_cholesky(covariances)
    assert caught.value.component == 7


def test_native_arguments_of_wrong_shapes_are_refused():
    matrices = random_covariances(3, 4)
    with pytest.raises(ValueError, match="one denominator"):
        _vbfast.ratio_norms(matrices, matrices[:2], 1)
    with pytest.raises(ValueError, match="one shape"):
        _vbfast.ratio_norms(matrices, matrices[:, :3, :3], 1)
    with pytest.raises(ValueError, match="vectors"):
        _vbfast.subtract_symmetric(matrices, np.ones((3, 4)), np.ones((3, 5)), 1)
    with pytest.raises(ValueError, match="others"):
        _vbfast.average_moved(matrices, matrices[0, :3], matrices[0, :3], 1.0, matrices[:2], 1.0, 1)
    with pytest.raises(ValueError, match="factors"):
        _vbfast.squares(matrices[:, :3], 1)
    weight, first = np.ones(3), np.ones((3, 1, 4))
    for wrong, arguments in (
        ("second", (weight, first, matrices[0], matrices)),
        ("factors", (weight, first, matrices, matrices[:2])),
        ("weight", (weight[:2], first, matrices, matrices)),
        ("first", (weight, first[:, 0], matrices, matrices)),
    ):
        with pytest.raises(ValueError, match=f"^{wrong} must"):
            _vbfast.matrix_gradients(*arguments, 1)


@pytest.mark.kernels
@pytest.mark.parametrize("n_features", SIZES)
@pytest.mark.parametrize("counts", [[3], [0, 1, 40], [17, 0, 2], [0, 0]])
@pytest.mark.parametrize("shared", [False, True])
def test_draws_have_the_normals_as_their_whitened_deviations(linalg, n_features, counts, shared):
    rng = np.random.default_rng(0)
    K = len(counts)
    factors = linalg.precision_cholesky(random_covariances(1 if shared else K, n_features))
    means = rng.normal(size=(K, n_features))
    normals = rng.normal(size=(sum(counts), n_features))
    kept = normals.copy()
    rows = linalg.draw_rows(normals, np.array(counts), factors, means)
    assert rows.shape == kept.shape
    component = np.repeat(np.arange(K), counts)
    whole = np.broadcast_to(factors, (K, n_features, n_features))
    for x, k, z in zip(rows, component, kept, strict=True):
        np.testing.assert_allclose((x - means[k]) @ whole[k], z, rtol=0, atol=1e-10)


@pytest.mark.kernels
@pytest.mark.parametrize(("n_features", "n_samples"), [(2, 100_000), (40, 5000), (300, 100)])
def test_draws_do_not_depend_on_the_number_of_threads(n_features, n_samples):
    rng = np.random.default_rng(1)
    counts = np.array([n_samples // 3, 0, n_samples - n_samples // 3])
    factors = native().precision_cholesky(random_covariances(3, n_features))
    means, normals = rng.normal(size=(3, n_features)), rng.normal(size=(n_samples, n_features))
    one, three = (
        native(threads).draw_rows(normals.copy(), counts, factors, means) for threads in (1, 3)
    )
    np.testing.assert_array_equal(one, three)


@pytest.mark.parametrize(
    "changes",
    [
        {"rows": np.zeros((5, 3))},
        {"rows": np.zeros((4, 2))},
        {"rows": np.zeros(5)},
        {"counts": np.array([5])},
        {"counts": np.array([-1, 6])},
        {"counts": np.array([2**62, 2**62])},
        {"counts": np.array([2, 2])},
        {"counts": np.array([5, 3])},
        {"counts": np.array([6, -1])},
        {"factors": np.zeros((3, 2, 2))},
        {"factors": np.zeros((2, 2, 3))},
        {"means": np.zeros(2)},
    ],
)
def test_draws_of_arrays_that_do_not_fit(changes):
    fitting = {
        "rows": np.zeros((5, 2)),
        "counts": np.array([2, 3]),
        "factors": np.tile(np.eye(2), (2, 1, 1)),
        "means": np.zeros((2, 2)),
    }
    _vbfast.draw_rows(**fitting, num_threads=1)
    with pytest.raises(ValueError, match="must"):
        _vbfast.draw_rows(**{**fitting, **changes}, num_threads=1)


def test_draws_of_more_features_than_a_task_has_numbers():
    """A factor of which few pages are touched: there are no rows."""
    n_features = (1 << 14) + 1
    nothing = np.zeros((0, n_features))
    factor = np.zeros((1, n_features, n_features))
    counts, means = np.zeros(1, np.int64), np.zeros((1, n_features))
    assert len(native().draw_rows(nothing, counts, factor, means)) == 0
