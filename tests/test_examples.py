"""The examples in docs/ and the README run, and show what they say they show."""

from __future__ import annotations

import ast
import re
import runpy
from pathlib import Path

import numpy as np
import pytest

import vbfast

ROOT = Path(__file__).parent.parent
EXAMPLES = ROOT / "docs" / "examples"


@pytest.fixture(scope="module")
def example():
    """A function that returns the names of an example."""
    if not EXAMPLES.is_dir():
        pytest.skip("the examples are not part of this distribution")
    return lambda name: runpy.run_path(str(EXAMPLES / f"{name}.py"))


def test_lbfgs_lands_on_ems_optimum(example):
    em_bound, bound, em_means, means = example("fit_by_lbfgs")["main"](n_samples=800)
    np.testing.assert_allclose(bound, em_bound, rtol=1e-9)
    np.testing.assert_allclose(means, em_means, atol=1e-3)


def test_langevin_samples_are_the_mixtures(example):
    chains, samples = example("langevin")["main"](n_chains=3000, n_steps=200)
    # Four standard errors, and the bias of a finite step.
    np.testing.assert_allclose(chains.mean(axis=0), samples.mean(axis=0), atol=0.2)
    np.testing.assert_allclose(np.cov(chains.T), np.cov(samples.T), atol=0.3)


def python_blocks(text):
    return re.findall(r"^```python\n(.*?)^```$", text, flags=re.DOTALL | re.MULTILINE)


def run(block, names):
    """Run a block, and yield the value of each expression with what its comment says it is.

    A comment says so by beginning with a Python literal that ends it or comes before a colon.
    """
    lines = block.splitlines()
    for statement in ast.parse(block).body:
        code = ast.unparse(statement)
        if not isinstance(statement, ast.Expr):
            exec(code, names)
            continue
        value = eval(code, names)
        said = re.search(r"#\s*(True|False|-?[\d.]+)(:|$)", lines[statement.end_lineno - 1])
        yield code, value, ast.literal_eval(said[1]) if said else None


@pytest.fixture(scope="module")
def readme():
    """The names after the README's code, and each expression with its value and what is said."""
    path = ROOT / "README.md"
    if not path.is_file():
        pytest.skip("the README is not part of this distribution")
    names, expressions, states = {}, [], []
    for block in python_blocks(path.read_text(encoding="utf-8")):
        expressions += run(block, names)
        states.append(dict(names))
    return states, expressions


def test_the_readmes_code_is_true(readme):
    _, expressions = readme
    said = {code: (value, words) for code, value, words in expressions if words is not None}
    assert len(said) >= 4
    for code, (value, words) in said.items():
        assert value == words, code
    unsaid = [code for code, value, words in expressions if isinstance(value, bool | np.bool_)]
    assert set(unsaid) <= set(said)


def test_the_readmes_bayesian_example_finds_what_its_rows_were_drawn_from(readme):
    states, _ = readme
    names = next(state for state in states if "estimate" in state)
    selected = names["table"].best_
    fitted = vbfast.BayesianGaussianMixture(10, max_iter=500, random_state=0).fit(names["X"])
    assert fitted.converged_
    for mixture in (fitted.prune(), selected):
        distances = np.linalg.norm(mixture.means_[:, np.newaxis] - names["centres"], axis=2)
        assert sorted(distances.argmin(axis=1)) == [0, 1, 2, 3]
        # A mean of 2,500 rows with eight features of unit variance is 0.06 from the centre.
        assert distances.min(axis=1).max() < 0.15
        np.testing.assert_allclose(mixture.weights_, 0.25, atol=0.02)
