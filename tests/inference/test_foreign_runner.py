"""A loop is given a runner that is none of ours: over four chunks, whose sums are merged."""

from __future__ import annotations

import numpy as np
import pytest

import vbfast
from vbfast.contract import COVARIANCE_TYPES, Request
from vbfast.inference.acceleration import make_accelerator
from vbfast.inference.em import Stopping, run_em
from vbfast.passes.rows import as_row_source
from vbfast.passes.runner import LocalRunner

MIXTURES = [vbfast.GaussianMixture, vbfast.BayesianGaussianMixture]


class Chunks:
    """A runner that has the members of vbfast.inference.runner.Runner, and no more."""

    def __init__(self, rows):
        self._chunks = [LocalRunner(as_row_source(chunk)) for chunk in rows]
        self._starts = np.cumsum([0, *(len(chunk) for chunk in rows)])
        self.dtype = self._chunks[0].dtype
        self.linalg = self._chunks[0].linalg
        self.n_passes = 0

    def iterate(self, log_joint, request, *, previous=None, scatter_floor=None):
        del previous, scatter_floor
        self.n_passes += 1
        return vbfast.merge([chunk.run(log_joint, request) for chunk in self._chunks])

    def impossible_row(self, log_joint):
        for start, chunk in zip(self._starts, self._chunks, strict=False):
            if chunk.run(log_joint, Request()).log_evidence == -np.inf:
                return int(start) + chunk.impossible_row(log_joint)
        raise AssertionError

    def largest_row(self):
        raise NotImplementedError


@pytest.fixture
def clustered():
    rng = np.random.default_rng(3)
    return np.concatenate([rng.normal(size=(200, 4)) + centre for centre in (0.0, 2.0, 5.0)])


@pytest.fixture
def started(clustered):
    """A function that makes a mixture at its start."""

    def start(mixture, covariance_type):
        made = mixture(3, covariance_type=covariance_type, reg_covar=1e-3, random_state=0)
        return made.initialize(clustered)

    return start


@pytest.fixture
def chunks(clustered):
    return np.split(clustered, [70, 300, 450])


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
@pytest.mark.parametrize("mixture", MIXTURES)
@pytest.mark.parametrize("accelerate", [None, "squarem"])
def test_chunks_lead_where_all_rows_do(
    clustered, chunks, started, mixture, covariance_type, accelerate
):
    begun = started(mixture, covariance_type)
    family, start = begun._fitted_family(), begun._fitted_parameters()

    def fit(runner):
        accelerator = make_accelerator(accelerate, family.coordinates)
        return run_em(runner, start, family, Stopping(0.0, 20), accelerator=accelerator)

    foreign = Chunks(chunks)
    by_chunks, whole = fit(foreign), fit(LocalRunner(as_row_source(clustered)))
    assert by_chunks.n_passes == foreign.n_passes >= 20
    np.testing.assert_allclose(by_chunks.lower_bounds, whole.lower_bounds, rtol=1e-10)
    attributes = [family.attributes(fit.parameters, np.float64) for fit in (by_chunks, whole)]
    for name in ("weights_", "means_", "covariances_"):
        by_chunk, of_all = (np.asarray(fitted[name]) for fitted in attributes)
        scale = np.abs(of_all).max()
        np.testing.assert_allclose(by_chunk, of_all, rtol=0.0, atol=1e-10 * scale)


@pytest.mark.parametrize("mixture", MIXTURES)
def test_the_bits_of_a_fit_in_steps(chunks, started, mixture):
    stepped = started(mixture, "full")
    family, start = stepped._fitted_family(), stepped._fitted_parameters()
    result = run_em(Chunks(chunks), start, family, Stopping(0.0, 5))
    for _ in range(5):
        stepped.maximize(vbfast.merge([stepped.summarize(chunk) for chunk in chunks]))
    assert result.lower_bounds == stepped.lower_bounds_
    for name, value in family.attributes(result.parameters, np.float64).items():
        np.testing.assert_array_equal(value, getattr(stepped, name))


def test_an_impossible_row_of_a_later_chunk_is_named(chunks, started):
    begun = started(vbfast.GaussianMixture, "diag")
    chunks[2][11] = 1e200
    with pytest.raises(ValueError, match="row 311"):
        run_em(Chunks(chunks), begun._fitted_parameters(), begun._fitted_family(), Stopping(0.0, 5))
