"""The pool under threadpoolctl."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import threadpoolctl

import vbfast
from vbfast.config.settings import config_context


def pools():
    return [pool for pool in threadpoolctl.threadpool_info() if pool["user_api"] == "vbfast"]


@pytest.fixture
def three_threads():
    vbfast.set_num_threads(3)
    yield
    vbfast.set_num_threads(0)


def test_it_is_listed_once(three_threads):
    (pool,) = pools()
    assert pool["num_threads"] == 3
    assert pool["version"] == vbfast.__version__


@pytest.mark.parametrize("user_api", [None, "vbfast"])
def test_a_limit_holds_within_its_block(three_threads, user_api):
    with threadpoolctl.threadpool_limits(limits=1, user_api=user_api):
        assert vbfast.get_num_threads() == 1
    assert vbfast.get_num_threads() == 3


def test_another_library_s_limit_does_not_touch_it(three_threads):
    with threadpoolctl.threadpool_limits(limits=1, user_api="blas"):
        assert vbfast.get_num_threads() == 3


def test_config_context_goes_before_a_limit(three_threads):
    with threadpoolctl.threadpool_limits(limits=1), config_context(num_threads=2):
        assert vbfast.get_num_threads() == 2


def test_the_same_bits_under_a_limit(rng):
    X = rng.normal(size=(3000, 4))
    mixture = vbfast.GaussianMixture(3, max_iter=3, tol=0.0, random_state=0)
    with pytest.warns(match="converge"):
        expected = mixture.fit(X).means_
    with threadpoolctl.threadpool_limits(limits=1), pytest.warns(match="converge"):
        np.testing.assert_array_equal(mixture.fit(X).means_, expected)


def test_light_import():
    code = "import sys, vbfast; assert 'threadpoolctl' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
