"""Passes over groups of chunks, and what their runner says of the rows, beside all rows at once."""

from __future__ import annotations

import numpy as np
import pytest

import vbfast
from vbfast.contract import LogJoint, NonFiniteRowError, Request, RowOutputs
from vbfast.passes import chunk_runner, groups
from vbfast.passes.array_rows import ArrayRows
from vbfast.passes.groups import GROUP_ROWS, group_bounds
from vbfast.passes.iterated import IteratedRows
from vbfast.passes.random_responsibilities import RandomResponsibilities
from vbfast.passes.runner import LocalRunner, runner_over


@pytest.mark.parametrize(
    ("sizes", "bounds"),
    [
        ([1], [0, 1]),
        ([GROUP_ROWS - 1, 1, 5], [0, 2, 3]),
        ([GROUP_ROWS, GROUP_ROWS, 5], [0, 1, 2, 3]),
        ([5, 10 * GROUP_ROWS, 5, 5], [0, 2, 4]),
        ([GROUP_ROWS // 2] * 4, [0, 2, 4]),
    ],
)
def test_small_chunks_are_grouped_by_their_sizes(sizes, bounds):
    assert group_bounds(sizes) == bounds


@pytest.fixture
def X():  # noqa: N802
    rng = np.random.default_rng(1)
    return rng.normal(size=(1000, 3)) + 4.0 * rng.integers(3, size=(1000, 1))


@pytest.fixture
def chunks(X, monkeypatch):
    """Seven chunks, in groups of 300, 290, 210 and 200 rows."""
    monkeypatch.setattr(groups, "GROUP_ROWS", 200)
    return np.split(X, [100, 150, 300, 590, 600, 800])


@pytest.fixture
def log_joint():
    rng = np.random.default_rng(2)
    centres = rng.normal(size=(4, 3)) + 4.0 * rng.integers(3, size=(4, 1))
    return LogJoint.quadratic("spherical", np.log(np.full(4, 0.25)), centres, np.ones(4))


def runners(X, chunks, weights=None):
    return runner_over(IteratedRows(lambda: iter(chunks)), weights), LocalRunner(
        ArrayRows(X), weights
    )


def assert_close(one, other):
    for name in ("total_weight", "log_evidence", "entropy", "expected_log_joint"):
        np.testing.assert_allclose(getattr(one, name), getattr(other, name), rtol=1e-13)
    assert one.lowest_log_evidence == other.lowest_log_evidence
    for name in ("weight", "first", "second"):
        of_one, of_other = getattr(one.statistics, name), getattr(other.statistics, name)
        scale = np.abs(of_other).max()
        np.testing.assert_allclose(of_one, of_other, rtol=0.0, atol=1e-13 * scale)


@pytest.mark.parametrize("weights", [None, "integers", "tiny", "none in a group"])
def test_a_pass(X, chunks, log_joint, weights):
    if weights is not None:
        weights = {
            "integers": np.arange(1000) % 3,
            "tiny": np.ldexp(1.0 + np.arange(1000) % 3, -900),
            "none in a group": np.where(np.arange(1000) < 300, 0.0, 1.0),
        }[weights].astype(float)
    by_chunks, whole = runners(X, chunks, weights)
    request = Request(moments="full", entropy=True)
    assert_close(by_chunks.run(log_joint, request), whole.run(log_joint, request))
    assert by_chunks.total_weight == whole.total_weight


def test_the_sums_are_merged_in_the_fixed_tree(chunks, log_joint):
    groups = [np.concatenate(chunks[:3]), chunks[3], np.concatenate(chunks[4:6]), chunks[6]]
    request = Request(moments="full", entropy=True)
    parts = [LocalRunner(ArrayRows(group)).run(log_joint, request) for group in groups]
    runner = runner_over(IteratedRows(lambda: iter(chunks)))
    assert runner.run(log_joint, request) == vbfast.merge(parts)
    others = [parts[0] + (parts[1] + (parts[2] + parts[3])), sum(parts[1:], parts[0])]
    assert any(vbfast.merge(parts) != other for other in others)


@pytest.mark.parametrize("name", ["log_evidence", "labels", "resp", "log_joint", "gradient"])
def test_outputs(X, chunks, log_joint, name):
    shape = {
        "resp": (1000, 4),
        "log_joint": (1000, 4),
        "gradient": (1000, 3),
    }.get(name, (1000,))
    filled = []
    for runner in runners(X, chunks):
        array = np.empty(shape, np.int64 if name == "labels" else np.float64)
        runner.run(log_joint, Request(moments="first"), outputs=RowOutputs(**{name: array}))
        filled.append(array)
    np.testing.assert_array_equal(*filled)


def responsibilities(kind):
    rng = np.random.default_rng(0)
    if kind == "matrix":
        return rng.dirichlet(np.ones(4), size=1000)
    if kind == "labels":
        return rng.integers(-1, 4, size=1000)
    return RandomResponsibilities(np.random.RandomState(3), 4, np.dtype(np.float64))


@pytest.mark.parametrize("kind", ["matrix", "labels", "random"])
def test_given_responsibilities(X, chunks, log_joint, kind):
    request = Request("given", "diag", entropy=True)
    by_chunks, whole = (
        runner.run(log_joint, request, resp=responsibilities(kind)) for runner in runners(X, chunks)
    )
    np.testing.assert_allclose(by_chunks.kl, whole.kl, rtol=1e-12)
    np.testing.assert_allclose(by_chunks.statistics.weight, whole.statistics.weight, rtol=1e-12)
    np.testing.assert_allclose(by_chunks.statistics.second, whole.statistics.second, rtol=1e-12)


def test_a_wrong_responsibility_is_named_by_its_row(chunks, log_joint):
    resp = np.full((1000, 4), 0.25)
    resp[617, 1] = 0.5
    runner = runner_over(IteratedRows(lambda: iter(chunks)))
    with pytest.raises(ValueError, match="row 617 has"):
        runner.run(log_joint, Request("given", "diag"), resp=resp)


def test_seeding(X, chunks):
    candidates = X[[3, 700]]
    found = []
    for runner in runners(X, chunks):
        closest, lowered = np.full(1000, np.inf), np.empty((2, 1000))
        found.append((runner.seed(candidates, closest, lowered=lowered), lowered))
    np.testing.assert_allclose(found[0][0], found[1][0], rtol=1e-13)
    np.testing.assert_array_equal(found[0][1], found[1][1])


def test_questions_about_rows(X, chunks, log_joint):
    weights = np.where(np.arange(1000) < 620, 0.0, 1.0)
    by_chunks, whole = runners(X, chunks, weights)
    np.testing.assert_array_equal(by_chunks.first_weighted_row(), X[620])
    assert by_chunks.largest_row() == whole.largest_row() >= 620
    indices = np.array([999, 0, 617, 617, 3])
    np.testing.assert_array_equal(by_chunks.gather(indices), X[indices])
    np.testing.assert_array_equal(by_chunks.only(indices).source.in_memory, X[indices])
    for one, other in zip(by_chunks.column_moments(), whole.column_moments(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12)
    X[700] = chunks[5][100] = 1e200
    assert by_chunks.impossible_row(log_joint) == 700
    assert by_chunks.largest_row() == 700


def test_the_first_of_equally_large_rows(X, chunks):
    for row in (250, 650, 651):
        X[row] = 1e6
    by_chunks, _ = runners(X, chunks)
    assert by_chunks.largest_row() == 250


def test_parts(X, chunks):
    weights = np.arange(1000.0)
    by_chunks, _ = runners(X, chunks, weights)
    seen = 0
    for rows, part in by_chunks.parts(130):
        assert rows.start == seen
        assert part.n_samples == rows.stop - rows.start <= 130
        np.testing.assert_array_equal(part.source.in_memory, X[rows])
        np.testing.assert_array_equal(part.sample_weight, weights[rows])
        seen = rows.stop
    assert seen == 1000


def test_parts_name_rows_by_their_place_among_all(X, chunks, log_joint):
    X[617] = np.nan
    by_chunks, _ = runners(X, chunks)
    with pytest.raises(NonFiniteRowError) as caught:
        list(by_chunks.log_joint_blocks(log_joint, 50))
    assert caught.value.row == 617


@pytest.mark.parametrize(
    "visit",
    [
        lambda runner, log_joint: runner.run(log_joint, Request()),
        lambda runner, log_joint: runner.seed(np.zeros((1, 3)), np.full(1000, np.inf)),
    ],
    ids=["a pass", "seeding"],
)
def test_the_first_row_that_is_not_finite_is_named(X, chunks, log_joint, visit):
    X[[617, 999]] = np.nan
    by_chunks, _ = runners(X, chunks)
    with pytest.raises(NonFiniteRowError) as caught:
        visit(by_chunks, log_joint)
    assert caught.value.row == 617


def test_float32_rows_in_float64(X, chunks):
    single = [chunk.astype(np.float32) for chunk in chunks]
    by_chunks, _ = runners(X, single)
    double = by_chunks.in_float64()
    assert (by_chunks.dtype, double.dtype) == (np.float32, np.float64)
    assert double.in_float64() is double
    centre = X.mean(axis=0)
    exact = LocalRunner(ArrayRows(np.concatenate(single).astype(np.float64)))
    np.testing.assert_allclose(
        double.moments_about(centre, "full").second,
        exact.moments_about(centre, "full").second,
        rtol=1e-13,
    )
    np.testing.assert_array_equal(double.gather(np.array([617])), single[5][17:18])


def test_rows_are_copied_for_many_passes_unless_they_are_many(X, chunks, monkeypatch):
    weights = np.arange(1000.0)
    by_chunks, _ = runners(X, chunks, weights)
    copied = by_chunks.in_memory()
    np.testing.assert_array_equal(copied.source.in_memory, X)
    assert copied.sample_weight is weights
    monkeypatch.setattr(chunk_runner, "COPIED_BYTES", X.nbytes - 1)
    assert by_chunks.in_memory() is by_chunks


class TestIterations:
    """Chunks of rows take what an iteration does besides its pass."""

    def test_negligible_components_are_left_out(self, X, chunks, log_joint, monkeypatch):
        offset = log_joint.offset.copy()
        offset[2] -= 1000.0
        empty = LogJoint(offset, log_joint.form)
        seen = []
        run = LocalRunner.run

        def spy(self, log_joint, *arguments, **options):
            seen.append(log_joint.n_components)
            return run(self, log_joint, *arguments, **options)

        monkeypatch.setattr(LocalRunner, "run", spy)
        by_chunks, whole = runners(X, chunks)
        request = Request(moments="full", entropy=True)
        results = []
        for runner in (by_chunks, whole):
            first = runner.iterate(empty, request)
            results.append(runner.iterate(empty, request, previous=first))
            assert runner.n_passes == 2
        assert seen == [4] * 4 + [3] * 4 + [4, 3]
        assert_close(*results)

    def test_moments_that_cancel_are_taken_again(self, X, chunks):
        centres = X[:2] + 1e8 * np.array([[1.0], [2.0]])
        far = LogJoint.quadratic("diag", np.zeros(2), centres, np.ones((2, 3)))
        results = []
        for runner in runners(X, chunks):
            results.append(
                runner.iterate(
                    far, Request(moments="diag"), scatter_floor=lambda weight: np.zeros((2, 3))
                )
            )
            assert runner.n_passes == 2
        by_chunks, whole = (result.statistics for result in results)
        np.testing.assert_allclose(by_chunks.weight, whole.weight)
        np.testing.assert_allclose(by_chunks.centres, whole.centres, rtol=1e-7)
        np.testing.assert_allclose(by_chunks.second, whole.second, rtol=1e-12)
