from __future__ import annotations

import zlib

import numpy as np
import pytest

import vbfast


@pytest.fixture
def rng(request):
    """A generator whose seed is the test's name, so that tests do not share a stream."""
    return np.random.default_rng(zlib.crc32(request.node.nodeid.encode()))


@pytest.fixture
def restore_num_threads():
    """For tests that set the number of threads."""
    yield
    vbfast.set_num_threads(0)


@pytest.fixture
def jax_float64():
    """JAX with float64 enabled; it computes in float32 otherwise."""
    jax = pytest.importorskip("jax", reason="JAX is not installed: pip install vbfast[jax]")
    before = jax.config.jax_enable_x64
    jax.config.update("jax_enable_x64", True)
    yield jax
    jax.config.update("jax_enable_x64", before)
