"""The code in docs/ and the README runs, and shows what it says it shows."""

from __future__ import annotations

import ast
import contextlib
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import vbfast

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
PAGES = [README, *sorted((ROOT / "docs").glob("*.md"))] if README.is_file() else []
OPTIONAL = ("dask", "jax", "matplotlib", "numba", "torch")


def run_python(block, names):
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


def run_shell(block):
    """Run a block, with this interpreter and its vbfast."""
    python = f'python() {{ "{sys.executable}" "$@"; }}'
    command = f'{python}\nvbfast() {{ python -m vbfast "$@"; }}\n{block}'
    path = os.pathsep.join([str(Path(vbfast.__file__).parents[1]), *filter(None, sys.path)])
    environment = {**os.environ, "PYTHONPATH": path}
    done = subprocess.run(
        ["bash", "-ec", command], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def code_of(page):
    """Return the language and the text of each block of code."""
    text = page.read_text(encoding="utf-8")
    return re.findall(r"^```(\w+)\n(.*?)^```$", text, flags=re.DOTALL | re.MULTILINE)


def run_page(page):
    """Run the blocks of a page in their order; return the names, and what expressions are."""
    names, expressions = {"__name__": page.stem}, []
    for language, block in code_of(page):
        if language == "python":
            expressions += run_python(block, names)
        elif language == "sh" and page != README:  # which has the commands of CI
            run_shell(block)
    return names, expressions


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """A function that runs a page, once, in a folder of its own."""
    results = {}

    def run(page):
        if page not in results:
            with contextlib.chdir(tmp_path_factory.mktemp(page.stem)):
                try:
                    results[page] = run_page(page)
                except ImportError as error:
                    if not any(extra in str(error) for extra in OPTIONAL):
                        raise
                    pytest.skip(str(error))
        return results[page]

    return run


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_code_of_a_page_is_true(ran, page):
    _, expressions = ran(page)
    said = [(code, value, words) for code, value, words in expressions if words is not None]
    assert said or all(value is None for _, value, _ in expressions)
    for code, value, words in said:
        assert value == words, code
    for code, value, words in expressions:
        assert words is not None or not isinstance(value, bool | np.bool_), code


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_all_code_is_run_somewhere(page):
    languages = {language for language, _ in code_of(page)}
    # Cython and C: tests/capi/test_documentation.py.
    compiled = {"cython", "c"} if page.name == "compiled-code.md" else set()
    assert languages <= {"python", "sh"} | compiled
    fences = re.findall(r"^```.*$", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert len(fences) == 2 * len(code_of(page))


@pytest.mark.skipif(not PAGES, reason="docs/ is not part of this distribution")
def test_the_bayesian_page_finds_what_its_rows_were_drawn_from(ran):
    names, _ = ran(ROOT / "docs" / "bayesian.md")
    assert names["fitted"].converged_
    for mixture in (names["fitted"].prune(), names["table"].best_, names["by_bic"].best_):
        distances = np.linalg.norm(mixture.means_[:, np.newaxis] - names["centres"], axis=2)
        assert sorted(distances.argmin(axis=1)) == [0, 1, 2, 3]
        # A mean of 2,500 rows with eight features of unit variance is 0.06 from the centre.
        assert distances.min(axis=1).max() < 0.15
        np.testing.assert_allclose(mixture.weights_, 0.25, atol=0.02)
