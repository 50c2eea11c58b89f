"""The tests of these functions that SciPy's wheel ships, with ours swapped in."""

from __future__ import annotations

import importlib
import warnings

import pytest

import vbfast

# Earlier ones need fixtures of SciPy's configuration.
pytest.importorskip("scipy", minversion="1.17")
with warnings.catch_warnings():  # marks that SciPy's own configuration knows
    warnings.simplefilter("ignore")
    scipy_tests = pytest.importorskip(
        "scipy.special.tests.test_logsumexp", reason="this SciPy comes without its tests"
    )

pytestmark = [
    pytest.mark.kernels,
    pytest.mark.filterwarnings("ignore::RuntimeWarning"),  # of what they compare with
]

TestLogSumExp = scipy_tests.TestLogSumExp
TestSoftmax = scipy_tests.TestSoftmax
TestLogSoftmax = scipy_tests.TestLogSoftmax


# Methods find the functions in their own module.
@pytest.fixture(autouse=True)
def swapped(array_backend, monkeypatch):
    for name in ("logsumexp", "softmax", "log_softmax"):
        monkeypatch.setattr(scipy_tests, name, getattr(vbfast, name))


@pytest.fixture
def xp():
    """The array namespace, with what the standard has and NumPy does not."""
    for home in ("_external", "_lib"):  # from SciPy 1.18, and before
        try:
            return importlib.import_module(f"scipy.{home}.array_api_compat.numpy")
        except ModuleNotFoundError:
            continue
    pytest.skip("this SciPy comes without array_api_compat")


@pytest.fixture
def devices():
    return ["cpu"]
