"""pytest-benchmark: ``python -m pytest bench``; ``--benchmark-disable`` only checks it runs."""

from __future__ import annotations

import warnings

import pytest
from sklearn.exceptions import ConvergenceWarning

import vbfast
from vbfast.benchmark.cases import CASES


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", list(CASES))
def test_five_iterations(benchmark, smoke, name, dtype):
    case = CASES[name].smaller(100) if smoke else CASES[name]
    rows = case.rows(dtype)
    mixture = vbfast.GaussianMixture(**case.start(), max_iter=5)

    def fit():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            mixture.fit(rows)

    benchmark.pedantic(fit, rounds=3, warmup_rounds=0 if smoke else 1)
