"""Arrays that do not fit a pass are refused by every backend, by name, before anything is written.

Whoever calls the contract may be somebody else's runner: no array of theirs makes a backend read or
write out of bounds.
"""

from __future__ import annotations

import numpy as np
import pytest

from vbfast.backends import get_backend
from vbfast.contract import Linear, LogJoint, Request, RowBlock, RowOutputs

pytestmark = pytest.mark.kernels

N, K, D = 150, 3, 2
SHAPES = {
    "log_evidence": (N,),
    "labels": (N,),
    "resp": (N, K),
    "entropy": (N,),
    "expected_log_joint": (N,),
    "gradient": (N, D),
    "log_joint": (N, K),
}
GIVEN = Request("given", moments="diag")


class Problem:
    """A pass over ``N`` rows of ones, all of its outputs wanted, and its blocks."""

    def __init__(self, backend, dtype, n_samples=N):
        self.backend = get_backend(backend)
        self.dtype = np.dtype(dtype)
        self.log_joint = LogJoint.quadratic("diag", np.zeros(K), np.zeros((K, D)), np.ones((K, D)))
        self.blocking = self.backend.blocking(n_samples, D, K, self.dtype, "diag")

    def output(self, name, shape=None, dtype=None):
        dtype = dtype or (np.int64 if name == "labels" else self.dtype)
        return np.full(SHAPES[name] if shape is None else shape, 7, dtype)

    def begin(self, request=Request(moments="diag"), **outputs):  # noqa: B008 (immutable)
        return self.backend.begin(
            self.log_joint,
            request,
            self.blocking,
            outputs=RowOutputs(**outputs),
            workspace=self.backend.workspace(),
            num_threads=2,
        )

    def block(self, partition=0, **changes):
        start, stop = self.blocking.bounds[partition : partition + 2]
        rows = changes.pop("rows", np.ones((stop - start, D), self.dtype))
        return RowBlock(start, rows, **changes)

    @property
    def length(self):
        """Rows of the first partition."""
        return self.blocking.bounds[1]


@pytest.fixture(params=[np.float64, np.float32])
def problem(request, backend):
    return Problem(backend, request.param)


def test_what_fits_is_taken(problem):
    """Else the refusals below would show nothing."""
    outputs = {name: problem.output(name) for name in SHAPES}
    running = problem.begin(**outputs)
    running.run([problem.block(p) for p in range(problem.blocking.n_partitions)], 2)
    assert running.finish().total_weight == N
    np.testing.assert_array_equal(outputs["labels"], 0)
    n = problem.length
    for given in (np.full((n, K), 1 / K, problem.dtype), np.zeros(n, np.int64)):
        running = problem.begin(GIVEN)
        running.run([problem.block(resp=given, weights=np.ones(n))], 2)
        assert running.finish().total_weight == n


def test_parameters_beyond_the_dtype(problem):
    largest = float(np.finfo(problem.dtype).max)
    joint = LogJoint(np.zeros(1), Linear(np.array([[1.0, -largest]])))
    beyond = LogJoint(np.zeros(1), Linear(np.array([[1.0, -2.0 * float(np.finfo("f4").max)]])))
    arguments = {"outputs": RowOutputs(), "workspace": problem.backend.workspace()}
    problem.backend.begin(joint, Request(), problem.blocking, num_threads=1, **arguments)
    if problem.dtype == np.float32:
        with pytest.raises(ValueError, match="theta must be in the range of float32"):
            problem.backend.begin(beyond, Request(), problem.blocking, num_threads=1, **arguments)


def read_only(array):
    array.flags.writeable = False
    return array


def misaligned(array):
    memory = np.zeros(array.nbytes + 1, np.uint8)[1:].view(array.dtype).reshape(array.shape)
    memory[...] = array
    return memory


def spaced(array):
    """The same numbers, with gaps between those of the last axis."""
    return np.repeat(array, 2, axis=-1)[..., ::2]


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize(
    "change",
    [
        lambda array: array[:-1],
        lambda array: np.concatenate([array, array]),
        lambda array: array[..., np.newaxis],
        lambda array: array[:0],
        lambda array: array.astype(np.int32),
        lambda array: array.astype(np.float32 if array.dtype != np.float32 else np.float64),
        lambda array: array.astype(array.dtype.newbyteorder()),
        spaced,
        read_only,
        misaligned,
        lambda array: np.broadcast_to(array[:1], array.shape),
    ],
    ids=[
        *("short", "long", "an_axis_more", "empty", "integers", "another_precision"),
        *("byte_order", "spaced", "read_only", "misaligned", "one_row_for_all"),
    ],
)
def test_outputs(problem, name, change):
    other = "entropy" if name == "log_evidence" else "log_evidence"
    wrong = change(problem.output(name))
    before = wrong.copy()
    with pytest.raises(ValueError, match=name):
        problem.begin(**{other: problem.output(other), name: wrong})
    np.testing.assert_array_equal(wrong, before)


def test_outputs_in_another_order(problem):
    with pytest.raises(ValueError, match="resp"):
        problem.begin(resp=np.asfortranarray(problem.output("resp")))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda p: {"rows": np.ones((p.length, D + 1), p.dtype)}, "rows"),
        (lambda p: {"rows": np.ones((p.length, D - 1), p.dtype)}, "rows"),
        (lambda p: {"rows": np.ones(p.length, p.dtype)}, "rows"),
        (lambda p: {"rows": np.ones((p.length, D), int)}, "rows"),
        (lambda p: {"rows": np.ones((p.length, D), np.float16)}, "rows"),
        (lambda p: {"rows": np.ones((p.length, D), p.dtype.newbyteorder())}, "rows"),
        (lambda p: {"rows": misaligned(np.ones((p.length, D), p.dtype))}, "rows"),
        (lambda p: {"rows": np.ones((2 * N, D), p.dtype)}, "rows"),
        (lambda p: {"weights": np.ones(p.length - 1)}, "weights"),
        (lambda p: {"weights": np.ones((p.length, 1))}, "weights"),
        (lambda p: {"weights": np.ones(p.length, np.float32)}, "weights"),
        (lambda p: {"weights": spaced(np.ones(p.length))}, "weights"),
        (lambda p: {"weights": misaligned(np.ones(p.length))}, "weights"),
        (lambda p: {"start": 1, "rows": np.ones((1, D), p.dtype)}, "begin"),
        (lambda p: {"start": -1}, "rows"),
        (lambda p: {"start": N}, "rows"),
    ],
)
def test_blocks(problem, change, message):
    evidence = problem.output("log_evidence")
    running = problem.begin(log_evidence=evidence)
    with pytest.raises(ValueError, match=message):
        running.run([problem.block()._replace(**change(problem))], 2)
    np.testing.assert_array_equal(evidence, 7)


def test_blocks_of_one_partition_at_a_time(problem):
    part = problem.block(rows=np.ones((problem.length // 2, D), problem.dtype))
    with pytest.raises(ValueError, match="partition"):
        problem.begin().run([part, part], 2)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_blocks_over_several_partitions(backend, dtype):
    """However rows are handed over, tiles are the same."""
    problem = Problem(backend, dtype, 5000)
    bounds, tile_rows = problem.blocking.bounds, problem.blocking.tile_rows
    assert len(bounds) > 4
    X = np.random.default_rng(0).normal(size=(5000, D)).astype(dtype)
    within = bounds[3] if bounds[3] - bounds[2] <= tile_rows else bounds[2] + tile_rows
    results = []
    for calls in ([[(0, 5000)]], [[(bounds[1], within)], [(0, bounds[1]), (within, 5000)]]):
        running = problem.begin()
        for blocks in calls:
            running.run([RowBlock(start, X[start:stop]) for start, stop in blocks], 2)
        results.append(running.finish())
    assert results[0] == results[1]
    with pytest.raises(ValueError, match="partition"):
        problem.begin().run([RowBlock(0, X[: bounds[2]]), RowBlock(bounds[1], X[bounds[1] :])], 2)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_blocks_of_the_same_rows(backend, dtype):
    problem = Problem(backend, dtype, 3000)
    assert problem.blocking.n_partitions > 1
    first, second = problem.block(0), problem.block(1)
    with pytest.raises(ValueError, match="rows"):
        problem.begin().run([first, second._replace(start=first.start)], 2)


@pytest.mark.parametrize(
    "change",
    [
        lambda length, dtype: None,
        lambda length, dtype: np.ones((length, K + 1), dtype),
        lambda length, dtype: np.ones((length, 1), dtype),
        lambda length, dtype: np.ones((length - 1, K), dtype),
        lambda length, dtype: np.ones((length, K), np.float16),
        lambda length, dtype: np.ones((length, K, 1), dtype),
        lambda length, dtype: spaced(np.ones((length, K), dtype)),
        lambda length, dtype: np.asfortranarray(np.ones((length, K), dtype)),
        lambda length, dtype: np.zeros(length - 1, np.int64),
        lambda length, dtype: np.zeros(length, np.int32),
        lambda length, dtype: np.zeros(length, dtype),
        lambda length, dtype: spaced(np.zeros(length, np.int64)),
    ],
)
def test_given_responsibilities(problem, change):
    wrong = change(problem.length, problem.dtype)
    with pytest.raises(ValueError, match=r"resp|labels"):
        problem.begin(GIVEN).run([problem.block(resp=wrong)], 2)


@pytest.mark.parametrize("label", [-2, K, 2**40, -(2**40)])
def test_labels_out_of_range(problem, label):
    labels = np.zeros(problem.length, np.int64)
    labels[-1] = label
    with pytest.raises(ValueError, match="label"):
        problem.begin(GIVEN).run([problem.block(resp=labels)], 2)


@pytest.mark.parametrize(
    ("closest", "lowered", "message"),
    [
        (lambda n, dtype: np.ones(n - 1, dtype), None, "closest"),
        (lambda n, dtype: np.ones((n, 1), dtype), None, "closest"),
        (lambda n, dtype: np.ones(n, np.float16), None, "closest"),
        (lambda n, dtype: spaced(np.ones(n, dtype)), None, "closest"),
        (None, lambda n, dtype: np.ones((K, n - 1), dtype), "lowered"),
        (None, lambda n, dtype: np.ones((K - 1, n), dtype), "lowered"),
        (None, lambda n, dtype: np.ones((K, n), np.float16), "lowered"),
        (None, lambda n, dtype: spaced(np.ones((K, n), dtype)), "lowered"),
        (None, lambda n, dtype: read_only(np.ones((K, n), dtype)), "lowered"),
    ],
)
def test_seeding(problem, closest, lowered, message):
    n, dtype = problem.length, problem.dtype
    candidates = np.zeros((K, D))
    before = np.ones(n, dtype) if closest is None else closest(n, dtype)
    after = None if lowered is None else lowered(n, dtype)
    running = problem.backend.begin_seeding(candidates, problem.blocking)
    with pytest.raises(ValueError, match=message):
        running.run([problem.block()], [before], [after], 2)
