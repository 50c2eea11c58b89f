"""The backends that have array functions."""

from __future__ import annotations

import os

import pytest

import vbfast
from vbfast.backends.cuda.extension import DeviceError, require_device


def names():
    """Names of the backends, 'cuda' where there is a device or the emulated module."""
    try:
        if "VBFAST_TEST_CUDA" not in os.environ:
            require_device()
    except (ImportError, DeviceError):
        return ["native", "numba"]
    return ["native", "numba", "cuda"]


@pytest.fixture(
    params=[
        # Which is the device's, at every instruction-set level.
        pytest.param(name, marks=[pytest.mark.one_level] if name == "cuda" else [])
        for name in names()
    ]
)
def array_backend(request, require_backend):
    """Run the test with each backend that has array functions."""
    require_backend(request.param)
    with vbfast.config_context(backend=request.param):
        yield request.param
