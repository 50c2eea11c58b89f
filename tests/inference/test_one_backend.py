"""A fit is computed on the backend that its runner has, from the start to the last bound."""

from __future__ import annotations

import numpy as np
import pytest

from vbfast.backends.native import NativeBackend
from vbfast.backends.native.linalg import NativeLinearAlgebra
from vbfast.contract import COVARIANCE_TYPES
from vbfast.families.covariances import MOMENTS_OF
from vbfast.families.gaussian import Gaussian
from vbfast.families.mixing_weights import WEIGHT_PRIORS
from vbfast.families.variational import VariationalGaussian
from vbfast.inference.acceleration import make_accelerator
from vbfast.inference.em import Stopping, run_em
from vbfast.inference.empirical_prior import empirical_prior
from vbfast.inference.initialisation import initial_statistics
from vbfast.inference.marginal_likelihood import importance_weights
from vbfast.inference.predictive import log_predictive_density
from vbfast.inference.responsibilities import log_responsibilities
from vbfast.passes.rows import as_row_source
from vbfast.passes.runner import LocalRunner


@pytest.fixture
def rows():
    rng = np.random.default_rng(4)
    return np.concatenate([rng.normal(-1, 1, (60, 3)), rng.normal(1, 2, (90, 3))])


@pytest.fixture
def native_calls(monkeypatch):
    """The names of what has been called of the native backend, which is the one in use."""
    called = set()

    def watch(owner, name):
        method = getattr(owner, name)

        def watched(*args, **kwargs):
            called.add(name)
            return method(*args, **kwargs)

        monkeypatch.setattr(owner, name, watched)

    for name in dir(NativeLinearAlgebra):
        if not name.startswith("_"):
            watch(NativeLinearAlgebra, name)
    for name in ("begin", "begin_bounded", "begin_seeding"):
        watch(NativeBackend, name)
    return called


def family_of(kind, runner, covariance_type):
    if kind == "likelihood":
        return Gaussian(covariance_type, 1e-3)
    prior = empirical_prior(
        runner,
        covariance_type=covariance_type,
        n_components=2,
        weights=WEIGHT_PRIORS[kind],
        reg_covar=1e-3,
    )
    return VariationalGaussian(prior, 1e-3)


def fit(runner, family):
    """Fit with an accelerator, which makes parameters of its own."""
    statistics = initial_statistics(
        runner,
        n_components=2,
        moments=MOMENTS_OF[family.covariance_type],
        init_params="kmeans",
        random_state=0,
    )
    return run_em(
        runner,
        family.start(statistics, runner),
        family,
        Stopping(0.0, 12),
        accelerator=make_accelerator("squarem", family.coordinates),
    )


KINDS = ("likelihood", *WEIGHT_PRIORS)


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
@pytest.mark.parametrize("kind", KINDS)
def test_a_fit_on_the_reference_backend_has_nothing_native(
    rows, native_calls, kind, covariance_type
):
    runner = LocalRunner(as_row_source(rows), backend="reference")
    family = family_of(kind, runner, covariance_type)
    fitted = fit(runner, family).parameters
    log_responsibilities(runner, fitted.log_joint())
    if kind != "likelihood":
        fitted.restricted_to(np.array([True, False])).log_joint()
        log_predictive_density(runner, fitted)
        importance_weights(runner, fitted, 4, np.random.RandomState(0))
    assert native_calls == set()


@pytest.mark.parametrize("kind", KINDS)
def test_a_prior_of_one_backend_and_a_runner_of_another(rows, native_calls, kind):
    family = family_of(kind, LocalRunner(as_row_source(rows)), "full")
    native_calls.clear()
    fit(LocalRunner(as_row_source(rows), backend="reference"), family)
    assert native_calls == set()


@pytest.mark.parametrize("kind", KINDS)
def test_the_native_one_is_called_where_it_is_the_runners(rows, native_calls, kind):
    runner = LocalRunner(as_row_source(rows), backend="native")
    fit(runner, family_of(kind, runner, "full"))
    expected = {"begin_bounded", "begin", "precision_cholesky"}
    if kind != "likelihood":
        expected |= {"expected_log_density", "normal_wishart_divergence"}
    assert expected <= native_calls
