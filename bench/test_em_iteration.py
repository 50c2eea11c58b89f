"""pytest-benchmark: ``python -m pytest bench``; ``--benchmark-disable`` only checks it runs."""

from __future__ import annotations

import importlib
import sys
import warnings
from pathlib import Path

import pytest
from sklearn.exceptions import ConvergenceWarning

import vbfast

sys.path.insert(0, str(Path(__file__).parent))
cases = importlib.import_module("cases")


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", list(cases.CASES))
def test_five_iterations(benchmark, name, dtype):
    case = cases.CASES[name]
    rows = case.rows(dtype)
    mixture = vbfast.GaussianMixture(**case.start(), max_iter=5)

    def fit():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            mixture.fit(rows)

    benchmark.pedantic(fit, rounds=3, warmup_rounds=1)
