from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning

import vbfast
from vbfast.contract import COVARIANCE_TYPES, Linear, LogJoint, Request, RowOutputs, StudentT
from vbfast.families.expected_log_joint import expected_log_joint
from vbfast.passes.rows import as_row_source
from vbfast.passes.runner import LocalRunner

LINALG = LocalRunner(as_row_source(np.zeros((1, 1)))).linalg


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
@pytest.mark.parametrize("kind", [vbfast.GaussianMixture, vbfast.BayesianGaussianMixture])
def test_what_a_pass_sums(rng, covariance_type, kind):
    X = rng.normal(size=(500, 3)) * [1.0, 2.0, 3.0] + 7.0
    mixture = kind(4, covariance_type=covariance_type, random_state=0, max_iter=2, tol=0.0)
    with pytest.warns(ConvergenceWarning):
        mixture.fit(X)
    weights = rng.uniform(0.0, 2.0, size=500)
    runner = LocalRunner(as_row_source(X), weights)
    log_joint = mixture._fitted_parameters().log_joint()
    moments = mixture._fitted_family().moments
    sums = runner.run(log_joint, Request(moments=moments, entropy=True))
    expected = expected_log_joint(sums.statistics, log_joint, LINALG)
    np.testing.assert_allclose(expected, sums.expected_log_joint, rtol=1e-12)
    # Of parameters that the responsibilities are not of.
    other = replace(
        log_joint,
        offset=log_joint.offset - 1.0,
        form=replace(log_joint.form, centres=log_joint.form.centres + 0.5),
    )
    resp = np.empty((500, 4))
    runner.run(log_joint, Request(), outputs=RowOutputs(resp=resp))
    values = np.empty((500, 4))
    runner.run(other, Request(), outputs=RowOutputs(log_joint=values))
    np.testing.assert_allclose(
        expected_log_joint(sums.statistics, other, LINALG),
        (weights[:, np.newaxis] * resp * values).sum(),
        rtol=1e-11,
    )


def test_a_linear_form(rng):
    X = rng.poisson(3.0, size=(200, 4)).astype(float)
    log_joint = LogJoint(np.log([0.3, 0.7]), Linear(rng.normal(size=(2, 4))))
    runner = LocalRunner(as_row_source(X))
    sums = runner.run(log_joint, Request(moments="first", entropy=True))
    expected = expected_log_joint(sums.statistics, log_joint, LINALG)
    np.testing.assert_allclose(expected, sums.expected_log_joint, rtol=1e-12)


def test_a_component_without_weight_or_rows(rng):
    X = rng.normal(size=(50, 2))
    log_joint = LogJoint.quadratic(
        "diag", np.array([0.0, -np.inf]), np.zeros((2, 2)), np.ones((2, 2))
    )
    sums = LocalRunner(as_row_source(X)).run(log_joint, Request(moments="diag"))
    expected = expected_log_joint(sums.statistics, log_joint, LINALG)
    np.testing.assert_allclose(expected, sums.log_evidence, rtol=1e-12)


def test_what_statistics_do_not_tell(rng):
    X = rng.normal(size=(50, 2))
    log_joint = LogJoint.quadratic("full", np.zeros(1), np.zeros((1, 2)), np.eye(2)[np.newaxis])
    runner = LocalRunner(as_row_source(X))
    statistics = runner.run(log_joint, Request(moments="full")).statistics
    assert expected_log_joint(statistics, log_joint, LINALG) is not None
    tailed = replace(log_joint, link=StudentT(np.array([3.0])))
    assert expected_log_joint(statistics, tailed, LINALG) is None
    less = runner.run(log_joint, Request(moments="diag")).statistics
    assert expected_log_joint(less, log_joint, LINALG) is None
