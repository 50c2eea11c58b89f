"""Where a package that is optional is missing, the error says what to install."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import vbfast
from vbfast.demo.demo import run_demo
from vbfast.estimators import Selection
from vbfast.optional import EXTRAS, needed
from vbfast.plotting import BoundDisplay

PACKAGE = Path(vbfast.__file__).parent
PYPROJECT = PACKAGE.parent.parent / "pyproject.toml"
# Reached through create_backend, vbfast.numba_api and Custom's constructor, which ask for numba,
# and through the registry of peers, which says why one is absent.
BEHIND_A_DOOR = (
    "backends/numba/",
    "benchmark/peers/adapters/",
    "numba_api/",
    "user_functions.py",
)
BEHIND_THEIR_PACKAGE = ("torch", "jax", "dask")  # whose __init__ asks for them


def test_the_extras_have_the_packages():
    if not PYPROJECT.is_file():
        pytest.skip("vbfast is not imported from its source tree")
    extras = tomllib.loads(PYPROJECT.read_text())["project"]["optional-dependencies"]
    for distribution, extra in EXTRAS.values():
        names = [re.match(r"[\w-]+", requirement)[0] for requirement in extras[extra]]
        assert distribution.lower() in names


def imports_without_words(tree):
    """Lines that import an optional package where nobody says what to do about its absence."""
    guarded = set()
    for node in ast.walk(tree):
        asks = isinstance(node, ast.With) and any(
            isinstance(item.context_expr, ast.Call)
            and getattr(item.context_expr.func, "id", None) == "needed"
            for item in node.items
        )
        if asks or (isinstance(node, ast.Try) and "pip install" in ast.unparse(node.handlers)):
            guarded |= set(ast.walk(node))
    for node in ast.walk(tree):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names = [node.module]
        if node not in guarded and any(name.partition(".")[0] in EXTRAS for name in names):
            yield node.lineno


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: path.stem)
def test_no_import_is_without_words(path):
    inside = path.relative_to(PACKAGE)
    in_package = inside.parts[0] in BEHIND_THEIR_PACKAGE and path.name != "__init__.py"
    if not in_package and not inside.as_posix().startswith(BEHIND_A_DOOR):
        assert list(imports_without_words(ast.parse(path.read_text()))) == []


@pytest.mark.parametrize("package", EXTRAS)
def test_a_missing_package(package):
    message = f"this needs {EXTRAS[package][0]}: pip install 'vbfast[{EXTRAS[package][1]}]'"
    error = ModuleNotFoundError(name=f"{package}.part")
    with (
        pytest.raises(ImportError, match=f"^{re.escape(message)}$") as caught,
        needed(package, by="this"),
    ):
        raise error
    assert caught.value.name == package


def test_a_package_that_fails_to_be_imported_says_why_itself():
    with pytest.raises(ModuleNotFoundError, match="libcuda"), needed("torch", by="this"):
        raise ModuleNotFoundError("libcuda", name="libcuda")
    with pytest.raises(ImportError, match="undefined symbol"), needed("torch", by="this"):
        raise ImportError("undefined symbol", name="torch")


@pytest.mark.parametrize(
    ("method", "package"), [("to_dataframe", "pandas"), ("plot", "matplotlib")]
)
def test_selections(monkeypatch, method, package):
    monkeypatch.setitem(sys.modules, package, None)
    extra = EXTRAS[package][1]
    with pytest.raises(ImportError, match=rf"^{method} needs {package}: pip .*'vbfast\[{extra}\]'"):
        getattr(Selection([], []), method)()


def test_the_displays(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    display = BoundDisplay([-2.0, -1.0])
    with pytest.raises(
        ImportError, match=r"^BoundDisplay.plot needs matplotlib: .*'vbfast\[plot\]'"
    ):
        display.plot()


def test_the_demo(monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(ImportError, match=r"^the picture needs Pillow: pip .*'vbfast\[cli\]'"):
        run_demo(n_patches=100, n_components=1)


@pytest.mark.parametrize(
    ("package", "code"),
    [
        ("numba", "import vbfast.numba_api"),
        ("numba", "import vbfast; vbfast.families.Custom(max, max, max, n_statistics=1)"),
        ("numba", "from vbfast.backends import get_backend; get_backend('numba')"),
        ("jax", "import vbfast.jax"),
        ("torch", "import vbfast.torch"),
    ],
)
def test_modules(package, code):
    hidden = f"import sys; sys.modules[{package!r}] = None\n{code}"
    done = subprocess.run(
        [sys.executable, "-c", hidden], capture_output=True, text=True, check=False, timeout=60
    )
    assert re.search(rf"ImportError: .*pip install 'vbfast\[{package}\]'", done.stderr)
