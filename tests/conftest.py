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
