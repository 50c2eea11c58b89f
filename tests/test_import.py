"""What ``import vbfast`` offers and costs."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import vbfast
from vbfast._vbfast import build_info


def run(code):
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    return done.stdout.strip()


def test_import_is_light():
    heavy = (
        "{'sklearn', 'scipy', 'numba', 'rich', 'matplotlib', 'pandas', 'joblib', 'torch', 'jax'}"
    )
    code = f"import sys, vbfast; vbfast.ElboTerms; print({heavy} & set(sys.modules) or 'light')"
    assert run(code) == "light"


def imported_by(name):
    return set(run(f"import sys, vbfast; vbfast.{name}; print(*sys.modules)").split())


def test_array_functions_are_imported_without_passes_and_estimators():
    modules = imported_by("logsumexp")
    assert {"vbfast.arrays.functions", "threadpoolctl"} <= modules
    above = {"contract", "families", "passes", "inference", "mixtures", "estimators"}
    assert modules.isdisjoint(f"vbfast.{room}" for room in above)
    assert modules.isdisjoint({"scipy", "sklearn"})


def test_an_estimator_is_imported_without_what_only_other_tools_need():
    peer = set(run("import sys, sklearn.mixture; print(*sys.modules)").split())
    modules = imported_by("GaussianMixture") - peer
    assert "vbfast.estimators.gaussian" in modules
    others = {"plotting", "patch", "cli", "demo", "benchmark", "numba_api", "torch", "jax"}
    assert modules.isdisjoint(f"vbfast.{room}" for room in others)
    assert modules.isdisjoint({"vbfast.backends.numba", "numba", "rich", "matplotlib", "torch"})


def test_every_name_resolves_and_is_listed():
    for name in vbfast.__all__:
        assert getattr(vbfast, name) is not None
        assert name in dir(vbfast)


def test_version_is_the_same_everywhere():
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())
    assert vbfast.__version__ == project["project"]["version"]
    assert vbfast.__version__ == build_info()["version"]
    citation = (Path(__file__).parents[1] / "CITATION.cff").read_text().splitlines()
    assert f"version: {vbfast.__version__}" in citation
    assert f"license: {project['project']['license']}" in citation


def test_version_is_the_distributions():
    metadata = pytest.importorskip("importlib.metadata")
    try:
        installed = metadata.version("vbfast")
    except metadata.PackageNotFoundError:
        pytest.skip("vbfast is imported from its source tree")
    assert vbfast.__version__ == installed


def test_unknown_names_are_attribute_errors():
    with pytest.raises(AttributeError, match="no attribute 'no_such_name'"):
        vbfast.no_such_name  # noqa: B018


@pytest.mark.parametrize(
    ("module", "framework"), [("jax", "jax"), ("torch", "torch"), ("numba_api", "numba")]
)
def test_a_missing_framework_is_an_import_error_that_names_its_extra(module, framework):
    code = f"""
import sys
sys.modules[{framework!r}] = None
try:
    import vbfast.{module}
except ImportError as error:
    print(error)
"""
    assert f"vbfast[{framework}]" in run(code)


def test_custom_components_need_numba():
    code = """
import sys
sys.modules["numba"] = None
import vbfast
try:
    vbfast.families.Custom(max, max, max, n_statistics=1)
except ImportError as error:
    print(error)
"""
    assert "vbfast[numba]" in run(code)


def test_star_import():
    assert run("from vbfast import *; print(GaussianMixture.__module__)") == (
        "vbfast.estimators.gaussian"
    )
