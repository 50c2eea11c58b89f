"""Statistics as values: they add up, scale, move, select, and are equal or not."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

import vbfast
from vbfast.config.settings import current_linalg
from vbfast.contract import LogJoint, Request, Statistics, StudentT, second_shape
from vbfast.passes.one_pass import run_pass
from vbfast.passes.rows import as_row_source

MOMENTS = ("first", "diag", "spherical", "pooled", "full")
K, D = 4, 3

every_kind = pytest.mark.parametrize("moments", MOMENTS)


def of_rows(X, resp, centres, moments, scale=None):
    """Statistics by their definition."""
    r = resp if scale is None else resp * scale
    d = X[:, np.newaxis] - centres
    outer = np.einsum("nk,nki,nkj->kij", r, d, d)
    outer = 0.5 * (outer + outer.swapaxes(1, 2))
    second = {
        "first": None,
        "diag": np.diagonal(outer, axis1=1, axis2=2),
        "spherical": np.trace(outer, axis1=1, axis2=2) / X.shape[1],
        "pooled": outer.sum(axis=0),
        "full": outer,
    }[moments]
    first = np.einsum("nk,nki->ki", r, d)
    total = None if scale is None else r.sum(axis=0)
    return Statistics(moments, centres, resp.sum(axis=0), first, second, total)


@pytest.fixture
def drawn(rng):
    X = rng.normal(size=(200, D)) + np.array([1.0, -2.0, 30.0])
    return X, rng.dirichlet(np.ones(K), 200), rng.normal(size=(K, D))


def assert_close(actual, expected, tolerance=1e-11):
    assert actual.moments == expected.moments
    for name in ("centres", "weight", "first", "second", "scale"):
        value, wanted = getattr(actual, name), getattr(expected, name)
        if wanted is None:
            assert value is None
            continue
        size = max(1.0, np.abs(wanted).max())
        np.testing.assert_allclose(value, wanted, atol=tolerance * size, err_msg=name)


@every_kind
@pytest.mark.parametrize("scaled", [False, True])
def test_an_average_is_two_products_and_a_sum(drawn, moments, scaled):
    """To the bit, also where a backend goes over the matrices once."""
    X, resp, centres = drawn
    scale = 0.5 + resp if scaled else None
    one = of_rows(X, resp, centres, moments, scale)
    other = of_rows(X, resp**2, centres + 0.25, moments, scale)
    for linalg in (None, current_linalg()):
        expected = one.about(other.centres, linalg) * 0.9 + other * 0.03
        assert one.averaged_with(0.9, other, 0.03, linalg) == expected
    another = of_rows(X, resp, centres, "first" if moments == "diag" else "diag", scale)
    with pytest.raises(ValueError, match="do not add up"):
        one.averaged_with(0.5, another, 0.5, current_linalg())


@every_kind
def test_the_sum_is_that_of_the_rows_of_both(drawn, moments):
    X, resp, centres = drawn
    one = of_rows(X[:70], resp[:70], centres, moments)
    other = of_rows(X[70:], resp[70:], centres, moments)
    assert_close(one + other, of_rows(X, resp, centres, moments))


@every_kind
def test_a_multiple_is_that_of_rows_that_weigh_more(drawn, moments):
    X, resp, centres = drawn
    one = of_rows(X, resp, centres, moments)
    assert_close(2.5 * one, of_rows(X, 2.5 * resp, centres, moments))
    assert one * 4.0 == 4.0 * one == (one + one) + (one + one)


@every_kind
@pytest.mark.parametrize("scaled", [False, True])
def test_about_other_centres(rng, drawn, moments, scaled):
    X, resp, centres = drawn
    scale = rng.uniform(0.2, 1.5, resp.shape) if scaled else None
    elsewhere = centres + rng.normal(size=centres.shape)
    moved = of_rows(X, resp, centres, moments, scale).about(elsewhere)
    assert_close(moved, of_rows(X, resp, elsewhere, moments, scale))


def test_a_backends_linear_algebra_moves_as_numpys(drawn):
    X, resp, centres = drawn
    statistics = of_rows(X, resp, centres, "full")
    elsewhere = centres + 0.5
    assert_close(statistics.about(elsewhere, current_linalg()), statistics.about(elsewhere))
    moved = statistics.about(elsewhere, current_linalg()).second
    np.testing.assert_array_equal(moved, moved.swapaxes(1, 2))


@every_kind
@pytest.mark.parametrize("components", [np.array([2, 0]), np.array([True, False, True, False])])
def test_selected_components(drawn, moments, components):
    X, resp, centres = drawn
    selected = of_rows(X, resp, centres, moments).select(components)
    expected = of_rows(X, resp[:, components], centres[components], moments)
    if moments == "pooled":  # no component has a share of its own
        expected = Statistics(
            moments,
            expected.centres,
            expected.weight,
            expected.first,
            of_rows(X, resp, centres, moments).second,
        )
    assert_close(selected, expected)


@every_kind
def test_among_others_is_the_inverse_of_select(drawn, moments):
    X, resp, centres = drawn
    kept = np.array([True, False, False, True])
    resp[:, ~kept] = 0.0
    whole = of_rows(X, resp, centres, moments)
    assert whole.select(kept).among(kept, centres) == whole


@every_kind
def test_equality_is_of_every_bit(drawn, moments):
    X, resp, centres = drawn
    one = of_rows(X, resp, centres, moments)
    assert one == of_rows(X, resp, centres, moments)
    assert one == pickle.loads(pickle.dumps(one))
    other = of_rows(X, resp, centres, moments)
    other.first[1, 2] = np.nextafter(other.first[1, 2], np.inf)
    assert one != other
    assert one != "statistics"
    with pytest.raises(TypeError, match="unhashable"):
        hash(one)


def test_what_does_not_add_up_says_so(drawn):
    X, resp, centres = drawn
    one = of_rows(X, resp, centres, "diag")
    with pytest.raises(ValueError, match="moments 'diag' and 'full' do not add up"):
        one + of_rows(X, resp, centres, "full")
    with pytest.raises(ValueError, match=r"about other centres .* move one of them with about\(\)"):
        one + of_rows(X, resp, centres + 1.0, "diag")
    with pytest.raises(ValueError, match="under a Student link"):
        one + of_rows(X, resp, centres, "diag", np.ones(resp.shape))
    with pytest.raises(TypeError):
        one + 1.0


def test_first_moments_have_no_second_ones(drawn):
    X, resp, centres = drawn
    with pytest.raises(ValueError, match="moments 'first' have no second moments"):
        of_rows(X, resp, centres, "first").second_about(np.zeros((K, D)))


@every_kind
def test_shapes_of_second_moments(drawn, moments):
    second = of_rows(*drawn, moments).second
    assert second_shape(moments, K, D) == (None if second is None else second.shape)


@every_kind
@pytest.mark.parametrize("backend", ["native", "reference"])
def test_merging_parts_in_their_order(rng, moments, backend):
    """A sum of parts is that of the whole; the terms of the bound to the bit."""
    from vbfast.backends import get_backend
    from vbfast.contract import RowBlock, RowOutputs

    executor = get_backend(backend)
    X = rng.normal(size=(6000, D))
    log_joint = LogJoint.quadratic("diag", np.zeros(K), rng.normal(size=(K, D)), np.ones((K, D)))
    request = Request(moments=moments, entropy=True)
    blocking = executor.blocking(len(X), D, K, X.dtype, moments)
    assert blocking.n_partitions > 8

    def of_partitions(partitions):
        running = executor.begin(
            log_joint,
            request,
            blocking,
            outputs=RowOutputs(),
            workspace=executor.workspace(),
            num_threads=1,
        )
        bounds = blocking.bounds
        blocks = [RowBlock(bounds[p], X[bounds[p] : bounds[p + 1]]) for p in partitions]
        running.run(blocks, 1)
        return running.finish()

    partitions = range(blocking.n_partitions)
    whole = of_partitions(partitions)
    folded = vbfast.merge(of_partitions([p]) for p in partitions)
    for name in ("total_weight", "log_evidence", "entropy", "expected_log_joint", "kl"):
        assert getattr(folded, name) == getattr(whole, name), name
    np.testing.assert_array_equal(folded.statistics.weight, whole.statistics.weight)
    # Compiled backends move the sums from their origin to the centres once, after the last.
    assert_close(folded.statistics, whole.statistics, 1e-14)


def test_a_student_link_weighs_rows_by_their_expected_precision(rng):
    X = rng.standard_t(3, size=(500, D))
    nu = np.array([3.0, 5.0])
    centres, P = rng.normal(size=(2, D)), np.ones((2, D))
    log_joint = LogJoint(
        np.zeros(2), LogJoint.quadratic("diag", np.zeros(2), centres, P).form, StudentT(nu)
    )
    result = run_pass(as_row_source(X), log_joint, Request(moments="full"))
    distance = np.square(X[:, np.newaxis] - centres).sum(axis=2)
    values = -0.5 * (nu + D) * np.log1p(distance / nu)
    evidence = np.logaddexp.reduce(values, axis=1)
    np.testing.assert_allclose(result.log_evidence, evidence.sum(), rtol=1e-13)
    resp = np.exp(values - evidence[:, np.newaxis])
    expected = of_rows(X, resp, centres, "full", (nu + D) / (nu + distance))
    assert_close(result.statistics, expected)
