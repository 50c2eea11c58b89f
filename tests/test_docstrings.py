"""The examples in the docstrings are true."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import vbfast

# Importing vbfast.__main__ runs the command line.
MODULES = [
    module.name
    for module in pkgutil.walk_packages(vbfast.__path__, "vbfast.")
    if not module.name.endswith("__main__")
]
OPTIONAL = ("dask", "jax", "numba", "torch")


@pytest.mark.parametrize("name", ["vbfast", *MODULES])
def test_examples(name):
    try:
        module = importlib.import_module(name)
    except ImportError as error:
        if not any(extra in str(error) for extra in OPTIONAL):
            raise
        pytest.skip(str(error))
    if name.startswith("vbfast.plotting"):
        pytest.importorskip("matplotlib")  # which the examples import, and the module does not
    assert doctest.testmod(module).failed == 0
