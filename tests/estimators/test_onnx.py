"""Fitted mixtures as ONNX, by scikit-learn's converter."""

from __future__ import annotations

import numpy as np
import pytest

from vbfast import BayesianGaussianMixture, GaussianMixture
from vbfast.contract import COVARIANCE_TYPES

skl2onnx = pytest.importorskip("skl2onnx")
onnxruntime = pytest.importorskip("onnxruntime")


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
@pytest.mark.parametrize("mixture_class", [GaussianMixture, BayesianGaussianMixture])
def test_predictions_are_the_mixtures(clustered, mixture_class, covariance_type):
    mixture = mixture_class(3, covariance_type=covariance_type, random_state=0).fit(clustered)
    theirs = mixture.to_sklearn()
    rows = clustered.astype(np.float32)
    converted = skl2onnx.to_onnx(theirs, rows[:1], options={id(theirs): {"score_samples": True}})
    session = onnxruntime.InferenceSession(converted.SerializeToString())
    labels, resp, log_evidence = session.run(None, {"X": rows})
    np.testing.assert_array_equal(labels.ravel(), mixture.predict(rows))
    np.testing.assert_allclose(resp, mixture.predict_proba(rows), atol=1e-5)
    np.testing.assert_allclose(log_evidence.ravel(), mixture.score_samples(rows), atol=1e-4)
