"""Compiled kernels are kept on disk, and compiled anew once a file that they come from changes."""

from __future__ import annotations

import ast
import importlib
import math
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import vbfast

numba = pytest.importorskip("numba")

# Of a file that stays as it is, while one that it calls into changes.
KERNEL = """
from vbfast.backends.numba.compiling import kernel
from vbfast.backends.numba.exponential import exp_nonpositive


@kernel
def evaluate(x):
    return exp_nonpositive(x, -700.0)
"""

# The hook of an editable installation would find the package elsewhere.
SCRIPT = """
import sys

sys.meta_path = [finder for finder in sys.meta_path if isinstance(finder, type)]
from vbfast.backends.numba.evaluation import evaluate

print(evaluate(-0.25), sum(evaluate.stats.cache_hits.values()))
"""


@pytest.fixture
def package(tmp_path):
    """A copy of the package, with a kernel more."""
    copy = tmp_path / "vbfast"
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(Path(vbfast.__file__).parent, copy, ignore=ignored)
    (copy / "backends" / "numba" / "evaluation.py").write_text(KERNEL)
    return copy


@pytest.fixture
def evaluated(package):
    """A function that calls the kernel in a new process: its value, and whether code was kept."""
    environment = {name: v for name, v in os.environ.items() if name != "NUMBA_CACHE_DIR"}

    def run():
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT],
            env={**environment, "PYTHONPATH": str(package.parent)},
            cwd=package.parent,
            capture_output=True,
            text=True,
            check=True,
        )
        value, hits = done.stdout.split()
        return float(value), bool(int(hits))

    return run


def test_a_change_of_what_a_kernel_calls(package, evaluated):
    value, kept = evaluated()
    assert value == pytest.approx(math.exp(-0.25), rel=1e-15)
    assert not kept
    assert evaluated() == (value, True)
    called = package / "backends" / "numba" / "exponential.py"
    text = called.read_text()
    # 2^n (1 + r + r^2 q(r)), where n is 0: the one becomes two.
    assert text.count("+ 1.0\n    bits") == 1
    called.write_text(text.replace("+ 1.0\n    bits", "+ 2.0\n    bits"))
    changed, kept = evaluated()
    assert changed == pytest.approx(math.exp(-0.25) + 1.0, rel=1e-15)
    assert not kept


def test_another_version(package, evaluated):
    value, _ = evaluated()
    home = package / "_version.py"
    home.write_text(home.read_text().replace(f'"{vbfast.__version__}"', '"9.9.9"'))
    assert evaluated() == (value, False)


def test_kernels_take_nothing_from_files_that_are_not_looked_at():
    """Names imported from other modules of the package are none that a kernel uses."""
    home = Path(importlib.import_module("vbfast.backends.numba").__file__).parent
    looked_at = "vbfast.backends.numba"
    n_kernels = 0
    for path in home.glob("[!_]*.py"):
        module = importlib.import_module(f"vbfast.backends.numba.{path.stem}")
        elsewhere = {
            alias.asname or alias.name
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.ImportFrom) and str(node.module).startswith("vbfast")
            if not str(node.module).startswith(looked_at)
            for alias in node.names
        }
        for found in vars(module).values():
            if isinstance(found, numba.core.dispatcher.Dispatcher):
                n_kernels += 1
                assert not elsewhere.intersection(found.py_func.__code__.co_names), found
    assert n_kernels > 20
