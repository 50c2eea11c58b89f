"""The examples in docs/examples run, draw, and show what they say they show."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import adjusted_mutual_info_score

EXAMPLES = Path(__file__).parent.parent / "docs" / "examples"
# tests/estimators/test_stepwise.py and tests/engines run these, which draw nothing.
NOT_SHOWN = {"fit_in_processes", "fit_with_ray", "fit_with_spark"}

pytestmark = pytest.mark.skipif(
    not EXAMPLES.is_dir(), reason="the examples are not part of this distribution"
)


@pytest.fixture
def example(monkeypatch):
    """A function that runs an example, sees that it has drawn something, and returns its names."""
    pyplot = pytest.importorskip("matplotlib.pyplot")
    pyplot.switch_backend("agg")
    monkeypatch.setattr(pyplot, "show", lambda: None)

    def run(name):
        names = runpy.run_path(str(EXAMPLES / f"{name}.py"))
        assert pyplot.get_fignums()
        return names

    yield run
    pyplot.close("all")


def test_every_example_is_tested():
    there = {path.stem for path in EXAMPLES.glob("*.py")}
    tested = set(re.findall(r'= example\("(\w+)"\)', Path(__file__).read_text()))
    assert there == tested | NOT_SHOWN


def test_an_example_begins_with_a_title():
    for path in EXAMPLES.glob("*.py"):
        if path.stem not in NOT_SHOWN:
            title, underline = path.read_text().splitlines()[1:3]
            assert underline == "=" * len(title), path.name


def test_the_swapped_mixture_is_scikit_learns(example):
    names = example("drop_in_swap")
    theirs, ours = names["theirs"], names["ours"]
    assert ours.n_iter_ == theirs.n_iter_
    np.testing.assert_allclose(ours.means_, theirs.means_, rtol=1e-8)
    np.testing.assert_allclose(ours.lower_bounds_, theirs.lower_bounds_, rtol=1e-8)
    assert names["seconds"]["vbfast"] < names["seconds"]["scikit-learn"]


def test_the_photograph_is_in_regions(example):
    names = example("segment_photograph")
    assert names["mixture"].converged_
    between = names["regions"].reshape(-1, 3) - names["pixels"].mean(axis=0)
    spread = names["pixels"] - names["pixels"].mean(axis=0)
    assert (between**2).sum() > 0.8 * (spread**2).sum()  # most of the variance is between regions
    assert 0 <= names["doubt"].min() <= names["doubt"].max() <= np.log(6)


def test_malignant_tumours_are_anomalous(example):
    names = example("anomaly_scores")
    assert len(names["training"]) == 179
    assert names["area"] > 0.95
    assert names["found"] > 0.8
    assert names["false"] < 0.1


def test_the_bound_and_its_gap_add_up(example):
    names = example("decomposition")
    terms = names["terms"]
    assert np.ptp(terms.log_evidence) == 0.0
    np.testing.assert_allclose(terms.elbo + terms.kl, terms.log_evidence, atol=1e-14)
    assert terms.kl.argmin() == 100  # the posterior
    np.testing.assert_allclose(names["ascent"][-1], np.tile(names["posterior"], (3, 1)), atol=1e-4)
    evidence, bound = np.array(names["evidence"]), np.array(names["bound"])
    assert (evidence[:-1] < bound).all()  # the global step raises the bound from where it is tight,
    assert (bound < evidence[1:]).all()  # and the evidence more


def test_the_moons_take_several_gaussians(example):
    names = example("two_moons")
    assert 6 <= names["mixture"].n_components <= 10
    assert names["mixture"].converged_


def test_the_bayesian_mixture_finds_the_clusters(example):
    names = example("number_of_components")
    assert names["mixture"].n_active_components_ == 5
    found = names["mixture"].prune()
    distances = np.linalg.norm(found.means_[:, np.newaxis] - names["centres"], axis=2)
    assert sorted(distances.argmin(axis=1)) == [0, 1, 2, 3, 4]
    assert distances.min(axis=1).max() < 0.2


def test_the_prior_of_the_autoencoder_sorts_the_digits(example):
    pytest.importorskip("torch")
    names = example("vae_prior")
    single, mixture = (np.mean(trace[-10:]) for trace in names["traces"])
    assert abs(single - mixture) < 0.5
    assert names["information"] > 0.4
    shuffled = np.random.default_rng(0).permutation(names["labels"])
    assert adjusted_mutual_info_score(shuffled, names["labels"]) < 0.05


def test_patches_are_denoised(example):
    names = example("denoise_patches")
    psnr = names["psnr"]
    assert psnr(names["denoised"]) > psnr(names["noisy_image"]) + 4
    assert np.isclose(psnr(names["noisy_image"]), -20 * np.log10(names["NOISE"]), atol=0.1)


def test_memory_helps_a_hidden_markov_model(example):
    names = example("hidden_markov")
    assert names["together"] > names["alone"] + 0.2
    assert abs(names["best"] - names["STAY"]) < 0.03
    # Forward and backward meet in the evidence of a sequence, at every step.
    alpha, beta = (names[name](names["log_density"], 0.9) for name in ("forward", "backward"))
    evidence = np.logaddexp.reduce(alpha + beta, axis=2)
    np.testing.assert_allclose(evidence, np.tile(evidence[:, -1:], evidence.shape[1]), rtol=1e-12)


def test_regression_has_branches(example):
    names = example("regression")
    density, answers = np.asarray(names["density"]), names["answers"]
    np.testing.assert_allclose(density.sum(axis=1) * np.diff(answers)[0], 1.0, atol=2e-2)
    position = np.abs(names["positions"] - 0.45).argmin()
    inner = density[position, 1:-1]
    peaks = (inner > density[position, :-2]) & (inner > density[position, 2:])
    assert (peaks & (inner > 0.1 * inner.max())).sum() >= 2


def test_lbfgs_lands_on_ems_optimum(example):
    names = example("fit_by_lbfgs")
    np.testing.assert_allclose(max(names["trace"]), names["em"].score(names["X"]), rtol=1e-9)
    np.testing.assert_allclose(names["found_means"], names["em"].means_, atol=1e-3)
    np.testing.assert_allclose(names["found_weights"], names["em"].weights_, atol=1e-3)
    assert len(names["trace"]) < names["em"].n_iter_


def test_langevin_samples_are_the_mixtures(example):
    names = example("langevin")
    chains, samples = names["chains"][400], names["samples"]
    # Four standard errors, and the bias of a finite step.
    np.testing.assert_allclose(chains.mean(axis=0), samples.mean(axis=0), atol=0.2)
    np.testing.assert_allclose(np.cov(chains.T), np.cov(samples.T), atol=0.3)
