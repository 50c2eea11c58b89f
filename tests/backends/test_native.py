"""The extension module itself: axes of length zero, and arrays that do not fit."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import vbfast
from vbfast import _vbfast

pytestmark = pytest.mark.kernels

LENGTHS = (0, 2)
DTYPES = (np.float32, np.float64)
REDUCTIONS = _vbfast.REDUCTIONS


@pytest.mark.parametrize("num_threads", [1, 2])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("axis", [None, 0, 1, 2, (0, 2), (0, 1, 2)])
def test_array_functions_of_empty_axes(axis, dtype, num_threads):
    reduced = range(3) if axis is None else np.atleast_1d(axis)
    for shape in itertools.product(LENGTHS, LENGTHS, (0, 3)):
        x = np.full(shape, 1 / np.prod([max(1, shape[d]) for d in reduced]), dtype)
        kept = tuple(n for d, n in enumerate(shape) if d not in reduced)
        n = int(np.prod([shape[d] for d in reduced]))
        for name, number in REDUCTIONS.items():
            second = None if name in ("sum_exp", "logits_entropy", "probs_entropy") else x
            names = ("probs", "") if name.startswith("probs") and n > 0 else ()
            which = (
                "log_evidence" if "sum_exp" in name else "kl" if second is not None else "entropy"
            )
            for out in (None, np.full(kept, 7, dtype)):
                result = _vbfast.reduce_array(
                    number, x, second, axis, False, (_vbfast.RESULTS[which],), names,
                    (1e-3, 1e-3)[: len(names)], out, num_threads,
                )  # fmt: skip
                assert np.shape(result) == kept
                if n == 0 and "probs" not in name:  # which is refused, as no distribution
                    expected = -np.inf if "sum_exp" in name else 0.0
                    np.testing.assert_array_equal(result, np.full(kept, expected))
        for number in _vbfast.MAPPINGS.values():
            for out in (None, np.full(shape, 7, dtype)):
                result = _vbfast.map_array(number, x, axis, out, num_threads)
                assert result.shape == shape
                assert out is None or result is out


@pytest.mark.parametrize("num_threads", [1, 2])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", list(itertools.product(LENGTHS, LENGTHS, (0, 3))))
def test_bounds_of_empty_axes(shape, dtype, num_threads):
    x = np.zeros(shape, dtype)
    weights = np.ones(shape[:-1])
    _vbfast.check_weights(weights, x)
    impossible = shape[-1] == 0 and weights.size > 0  # rows without components have no evidence
    for q, weight in itertools.product((None, x), (None, weights)):
        if impossible and q is not None:
            continue  # refused, as no distribution
        terms = _vbfast.bound_terms(x, q, True, None, weight, False, num_threads)
        if x.size == 0:
            assert terms == ((-np.inf, -np.inf, 0.0, -np.inf, 0.0) if impossible else (0.0,) * 5)
        for rows in _vbfast.bound_terms(x, q, True, None, weight, True, num_threads):
            assert rows.shape == shape[:-1]
        for out in (None, (np.full(shape, 7, dtype), np.full(shape, 7, dtype))):
            again, gradients = _vbfast.bound_and_gradients(
                x, q, True, None, weight, False, out, num_threads
            )
            assert again == terms
            assert all(gradient.shape == shape for gradient in gradients)


@pytest.mark.parametrize("shape", [(0, 3), (2, 0, 3), (0, 2, 3)])
def test_empty_batches_have_a_bound_of_zero(shape):
    weights = np.zeros(shape[:-1])
    assert vbfast.elbo(np.zeros(shape), sample_weight=weights).elbo == 0
    terms, gradient = vbfast.elbo_and_grad(np.zeros(shape), sample_weight=weights)
    assert terms.elbo == 0
    assert gradient.log_joint.shape == shape


@pytest.mark.parametrize("num_threads", [1, 2])
@pytest.mark.parametrize(("K", "D", "n_vectors"), itertools.product((0, 2), (0, 3), (0, 2)))
def test_linear_algebra_of_empty_axes(K, D, n_vectors, num_threads):
    matrices = np.tile(np.eye(D), (K, 1, 1))
    factors, failed = _vbfast.precision_cholesky(matrices, num_threads)
    assert failed == -1
    np.testing.assert_array_equal(factors, matrices)
    np.testing.assert_array_equal(_vbfast.ratio_norms(matrices, matrices, num_threads), [D] * K)
    moved = _vbfast.subtract_symmetric(matrices, np.zeros((K, D)), np.zeros((K, D)), num_threads)
    np.testing.assert_array_equal(moved, matrices)
    nowhere = np.zeros((K, D))
    averaged = _vbfast.average_moved(matrices, nowhere, nowhere, 0.5, matrices, 0.5, num_threads)
    np.testing.assert_array_equal(averaged, matrices)
    np.testing.assert_array_equal(_vbfast.squares(matrices, num_threads), matrices)
    gradients = _vbfast.matrix_gradients(
        np.ones(K), np.zeros((K, n_vectors, D)), matrices, matrices, num_threads
    )
    assert [g.shape for g in gradients] == [(K, n_vectors, D), (K, D, D), (K, D, D)]
    assert all((g == 0).all() for g in gradients)
    rows, counts = np.zeros((n_vectors * K, D)), np.full(K, n_vectors)
    _vbfast.draw_rows(rows, counts, matrices, np.full((K, D), 2.5), num_threads)
    np.testing.assert_array_equal(rows, np.full((n_vectors * K, D), 2.5))


def estep(single=False, K=2, D=3, **changes):
    """A pass over five rows with every output, with some of its arguments changed."""
    real = np.float32 if single else np.float64
    arguments = {
        "form": "diag",
        "offset": np.zeros(K),
        "means": np.zeros((K, D)),
        "coefficients": np.ones((K, D)),
        "assignment": "posterior",
        "moments": "diag",
        "entropy": True,
        "single_precision": single,
        "partition_bounds": (0, 5),
        "tile_rows": 64,
        "split_components": False,
        "open_partitions": 1,
        "outputs": tuple(
            np.empty(shape, dtype)
            for shape, dtype in (
                ((5,), real), ((5,), np.int64), ((5, K), real), ((5,), real), ((5,), real),
                ((5, D), real), ((5, K), real),
            )
        ),
        "workspace": _vbfast.Workspace(),
        "num_threads": 1,
    }  # fmt: skip
    return _vbfast.EStep(**{**arguments, **changes})


def block(n=5, D=3, dtype=np.float64, **changes):
    values = {
        "start": 0,
        "rows": np.ones((n, D), dtype),
        "weights": None,
        "given": None,
    }
    return tuple({**values, **changes}.values())


@pytest.mark.parametrize("single", [False, True])
def test_a_pass_over_no_rows(single):
    dtype = np.float32 if single else np.float64
    running = estep(single)
    assert running.run([], 2) == -1
    assert running.run([block(0, dtype=dtype, weights=np.empty(0))], 2) == -1
    assert running.sums() == (0.0, 0.0, 0.0, 0.0, 0.0, np.inf)
    weight, first, second = running.statistics(2)
    assert not weight.any()
    assert not first.any()
    assert not second.any()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"K": 0}, "n_components must be at least 1; got 0"),
        ({"D": 0}, "n_features must be at least 1; got 0"),
        ({"partition_bounds": (0,)}, "partition_bounds must ascend from 0, and be two at least"),
        ({"partition_bounds": (1, 5)}, "partition_bounds must ascend"),
        ({"partition_bounds": (0, 6, 5)}, "partition_bounds must ascend"),
        ({"open_partitions": 0}, "open_partitions must be at least 1; got 0"),
        ({"tile_rows": 0}, "tile_rows must be at least 1; got 0"),
        ({"offset": np.zeros(3)}, r"offset must have shape \(2,\); got \(3,\)"),
        ({"means": np.zeros(3)}, "means must have shape"),
        ({"coefficients": np.ones((2, 2))}, r"coefficients must have shape \(2, 3\)"),
        ({"form": "full"}, r"coefficients must have shape \(2, 3, 3\)"),
        ({"form": "tied"}, r"coefficients must have shape \(3, 3\)"),
        ({"form": "spherical"}, r"coefficients must have shape \(2,\)"),
        ({"form": "linear", "coefficients": np.ones(2)}, r"coefficients must have shape \(2, 3\)"),
        ({"form": "cubic"}, "form: cubic"),
        ({"moments": "third"}, "moments: third"),
    ],
)
def test_parameters_that_do_not_fit_are_named(changes, message):
    with pytest.raises(ValueError, match=message):
        estep(**changes)


@pytest.mark.parametrize("single", [False, True])
def test_tiles_are_whole_groups_of_rows(single):
    running = estep(single, tile_rows=3)
    X = np.zeros((5, 3), np.float32 if single else np.float64)
    with pytest.raises(ValueError, match="tile_rows must be a multiple of"):
        running.run([(0, X, None, None)], 1)


NAMES = ("log_evidence", "labels", "resp", "entropy", "expected_log_joint", "gradient", "log_joint")
SHAPES = ((5,), (5,), (5, 2), (5,), (5,), (5, 3), (5, 2))


@pytest.mark.parametrize("place", range(7))
def test_outputs_that_do_not_fit_are_named(place):
    name, shape = NAMES[place], SHAPES[place]
    dtype, other = (np.int64, np.float64) if name == "labels" else (np.float64, np.float32)
    wrong = {
        "must have shape": np.empty((*shape[:-1], shape[-1] + 1), dtype),
        "must have dtype": np.empty(shape, other),
        "must be C-contiguous": np.empty(tuple(2 * n for n in shape), dtype)[
            tuple(slice(None, None, 2) for _ in shape)
        ],
    }
    for message, output in wrong.items():
        outputs = [None] * 7
        outputs[0 if place else 6] = np.empty(SHAPES[0 if place else 6])  # has five rows
        outputs[place] = output
        if len(shape) == 1 and "shape" in message and place == 0:
            continue  # the first output says how many rows there are
        with pytest.raises(ValueError, match=f"{name} {message}"):
            estep(outputs=tuple(outputs))
    read_only = np.empty(shape, dtype)
    read_only.flags.writeable = False
    with pytest.raises(ValueError, match="writeable"):
        estep(outputs=tuple(read_only if i == place else None for i in range(7)))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"D": 4}, r"rows must have shape \('any', 3\); got \(5, 4\)"),
        ({"dtype": np.float32}, "rows must have dtype float64; got float32"),
        ({"dtype": ">f8"}, "rows must have dtype float64; got >f8"),
        ({"start": 1}, "5 rows from 1 on are beyond those of the pass, 5"),
        ({"start": -1}, "5 rows from -1 on are beyond"),
        ({"start": 2**63 - 1}, "are beyond"),
        ({"n": 6}, "6 rows from 0 on are beyond"),
        ({"start": 1, "n": 4}, "do not begin with a tile"),
        ({"weights": np.ones(4)}, r"weights must have shape \(5,\); got \(4,\)"),
        ({"given": np.ones((1, 2))}, r"responsibilities must have shape \(5, 2\); got \(1, 2\)"),
        ({"given": np.ones((5, 2), np.float32)}, "responsibilities must have dtype float64"),
        ({"given": np.ones((5, 4))[:, ::2]}, "responsibilities must be C-contiguous"),
        ({"given": np.zeros(5, np.int32)}, "labels must have dtype int64"),
        ({"given": np.zeros(4, np.int64)}, r"labels must have shape \(5,\)"),
    ],
)
def test_blocks_that_do_not_fit_are_named(changes, message):
    with pytest.raises(ValueError, match=message):
        estep().run([block(**changes)], 1)


def test_a_pass_without_statistics_has_none():
    with pytest.raises(ValueError, match="no statistics"):
        estep(moments="none").statistics(1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((np.zeros((0, 3)), False, (0, 5), 64), "n_candidates must be at least 1"),
        ((np.zeros((2, 0)), False, (0, 5), 64), "n_features must be at least 1"),
        ((np.zeros(3), False, (0, 5), 64), "candidates must have shape"),
        ((np.zeros((2, 3)), False, (0,), 64), "partition_bounds must ascend"),
        ((np.zeros((2, 3)), False, (0, 5), 0), "tile_rows must be at least 1"),
    ],
)
def test_candidates_that_do_not_fit_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        _vbfast.Seeding(*arguments)


@pytest.mark.parametrize(
    ("closest", "lowered", "message"),
    [
        (np.ones(4), None, r"closest must have shape \(5,\)"),
        (np.ones(5, np.float32), None, "closest must have dtype float64"),
        (np.ones(10)[::2], None, "closest must be C-contiguous"),
        (np.ones(5), np.ones((3, 5)), r"lowered must have shape \(2, 5\)"),
        (np.ones(5), np.ones((2, 5), np.float32), "lowered must have dtype float64"),
        (np.ones(5), np.ones((5, 2)).T, "rows of lowered must be contiguous"),
    ],
)
def test_distances_that_do_not_fit_are_named(closest, lowered, message):
    seeding = _vbfast.Seeding(np.zeros((2, 3)), False, (0, 5), 64)
    with pytest.raises(ValueError, match=message):
        seeding.run([(*block(), closest, lowered)], 1)


def test_seeding_over_no_rows():
    seeding = _vbfast.Seeding(np.zeros((2, 3)), False, (0, 5), 64)
    assert seeding.run([(*block(0), np.empty(0), np.empty((2, 0)))], 2) == -1
    np.testing.assert_array_equal(seeding.potentials(), [0.0, 0.0])
