"""What a user reads, documentation and examples, has names that are the user's to import."""

from __future__ import annotations

import importlib
import inspect
import re
from pathlib import Path

import pytest

import vbfast

ROOT = Path(__file__).parents[1]
MODULES = ("families", "plotting", "dask", "torch", "jax", "numba_api", "cython_api", "patch")
NOT_PYTHON = {"h"}  # the header, vbfast.h


def public_names(module):
    """The names that a module lists, or None where it has no list, or needs what is not there."""
    try:
        return getattr(importlib.import_module(module), "__all__", None)
    except ImportError:
        return None


def private_names(text):
    """Return the names in vbfast that a text has and that are not public."""
    private = set()
    for name in re.findall(r"\bvbfast(?:\.| import )(\w+(?:\.\w+)?)", text):
        first, *rest = name.split(".")
        if first not in MODULES:
            public = first in vbfast.__all__ or first in NOT_PYTHON
        else:
            listed = public_names(f"vbfast.{first}")
            public = listed is None or set(rest) <= set(listed)
        if not public:
            private.add(name)
    return private


def documented(module):
    """Yield the public objects of a module, with the methods of classes, by name."""
    for name in getattr(module, "__all__", ()):
        value = getattr(module, name)
        yield name, value
        if inspect.isclass(value):
            for member, of_class in inspect.getmembers(value):
                if not member.startswith("_"):
                    yield f"{name}.{member}", of_class


def test_private_names_are_found():
    text = "from vbfast.passes.rows import a; vbfast.families.gaussian; from vbfast import contract"
    assert private_names(text) == {"passes.rows", "families.gaussian", "contract"}
    assert not private_names("import vbfast.torch; vbfast.elbo; vbfast.families.Custom; vbfast.h")


def test_contributing_lists_the_public_modules():
    contributing = ROOT / "CONTRIBUTING.md"
    if not contributing.is_file():
        pytest.skip("the documents are not part of this distribution")
    (listed,) = re.findall(
        r"Public are the names in (.*?)\.\s+All other", contributing.read_text(), re.S
    )
    modules = [name for name in re.findall(r"`vbfast\.(\w+)`", listed) if name != "__all__"]
    assert sorted(modules) == sorted(MODULES)


@pytest.mark.parametrize("name", ["vbfast", *(f"vbfast.{module}" for module in MODULES)])
def test_docstrings(name):
    module = pytest.importorskip(name)
    found = {name: private_names(module.__doc__)}
    for member, value in documented(module):
        found[member] = private_names(inspect.getdoc(value) or "")
    assert {member: names for member, names in found.items() if names} == {}


@pytest.mark.parametrize("name", ["vbfast", *(f"vbfast.{module}" for module in MODULES)])
def test_the_reference_has_every_public_name(name):
    page = ROOT / "docs" / "api.rst"
    if not page.is_file():
        pytest.skip("the documents are not part of this distribution")
    module = pytest.importorskip(name)
    sections = re.split(rf"module:: {name}$", page.read_text(), flags=re.M)
    assert len(sections) > 1
    section = re.split(r"^\.\. automodule::", sections[-1], flags=re.M)[0]
    listed = re.findall(r"^   (\w+)$", section, re.M)
    names = set(getattr(module, "__all__", ()))
    if name == "vbfast":
        names -= {*MODULES, "__version__"}
    elif name == "vbfast.patch":
        names = set()  # those of vbfast, and what IPython calls
    assert sorted(listed) == sorted(names)


@pytest.mark.parametrize("folder", ["docs", "."])
def test_documents(folder):
    documents = [*(ROOT / folder).glob("*.md"), *(ROOT / folder / "examples").glob("*.py")]
    if not documents:
        pytest.skip("the documents are not part of this distribution")
    for_developers = {"CHANGELOG.md", "CONTRIBUTING.md"}
    found = {path.name: private_names(path.read_text()) for path in documents}
    assert {path for path, names in found.items() if names} <= for_developers
