"""What importance sampling shows while it runs."""

from __future__ import annotations

import re

import numpy as np
import pytest

from vbfast.estimators import BayesianGaussianMixture
from vbfast.inference.draw_monitor import BarDrawMonitor, make_draw_monitor


@pytest.fixture(scope="module")
def rows():
    return np.random.default_rng(0).normal(size=(300, 2))


def test_it_is_silent_by_default(rows, capfd):
    BayesianGaussianMixture(2, random_state=0, max_iter=500).fit(rows).log_marginal_likelihood(
        rows, 50
    )
    shown = capfd.readouterr()
    assert shown.out == shown.err == ""


@pytest.mark.parametrize("by", ["estimator", "call"])
def test_lines_say_how_far_it_is(rows, capfd, by):
    mixture = BayesianGaussianMixture(2, random_state=0, max_iter=500).fit(rows)
    if by == "estimator":
        mixture.set_params(verbose=1).log_marginal_likelihood(rows, 200)
    else:
        mixture.log_marginal_likelihood(rows, 200, verbose=1)
    lines = capfd.readouterr().out.splitlines()
    done = [int(re.fullmatch(r"  Draw (\d+) of 200\t about \d+ s left", line)[1]) for line in lines]
    assert done == sorted(done)
    assert done[-1] == 200
    assert 2 <= len(done) <= 10


def test_a_call_may_be_more_silent_than_the_estimator(rows, capfd):
    mixture = BayesianGaussianMixture(2, random_state=0, max_iter=500).fit(rows)
    mixture.set_params(verbose=2).log_marginal_likelihood(rows, 50, verbose=0)
    assert capfd.readouterr().out == ""


def test_a_bar_on_a_terminal(rows, capfd, monkeypatch):
    pytest.importorskip("rich")
    monkeypatch.setenv("FORCE_COLOR", "1")  # what rich takes for a terminal
    monkeypatch.setenv("TERM", "xterm")
    assert isinstance(make_draw_monitor(100, verbose=1), BarDrawMonitor)
    mixture = BayesianGaussianMixture(2, random_state=0, max_iter=500).fit(rows)
    mixture.log_marginal_likelihood(rows, 100, verbose=1)
    assert "100/100" in re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", capfd.readouterr().out)
