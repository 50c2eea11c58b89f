"""Which rooms of the package import which: no arrow points up, and none goes round.

Imports inside functions and those for types alone count as well, and so do modules whose names
stand in strings.
"""

import ast
import re
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "src" / "vbfast"
COMPILED = {"vbfast._vbfast", "vbfast._vbfast_cuda", "vbfast.cython_api"}
ENTRY_POINTS = {"vbfast.cuda"}  # names of groups, which are none of modules

# What each room stands on, the lowest first. A module of the package's own folder is a room too.
ALLOWED = {
    "_version": set(),
    "_vbfast": set(),
    "_vbfast_cuda": set(),
    "optional": set(),
    "atomic_file": set(),
    "capi": set(),
    "results": set(),
    "contract": set(),
    "inputs": {"_vbfast", "contract"},
    "user_functions": {"optional", "contract"},
    "backends": {"_version", "_vbfast", "_vbfast_cuda", "contract", "user_functions"},
    "config": {"_version", "_vbfast", "contract", "backends"},
    "arrays": {"_vbfast", "backends", "config", "inputs", "results"},
    "families": {"contract", "inputs", "user_functions", "config"},
    "passes": {"contract", "inputs", "backends", "config", "optional"},
    "mixtures": {"results", "contract", "inputs", "config", "arrays", "families", "passes"},
    "inference": {"results", "optional", "contract", "inputs", "arrays", "families", "passes"},
    "estimators": {
        "_version",
        "optional",
        "atomic_file",
        "results",
        "contract",
        "inputs",
        "backends",
        "config",
        "arrays",
        "families",
        "passes",
        "mixtures",
        "inference",
    },
    "plotting": {"optional", "results", "contract", "inputs", "families", "estimators"},
    "patch": {"estimators"},
    "dask": {"optional", "contract", "inputs", "config", "passes", "estimators"},
    "numba_api": {"_vbfast", "optional", "results", "arrays", "config"},
    "cython_api": {"_vbfast"},
    "torch": {"optional", "contract", "inputs", "arrays", "mixtures"},
    "jax": {"optional", "contract", "inputs", "arrays", "mixtures"},
    "info": {"_version", "_vbfast", "backends", "config"},
    # What is on top may use the package as its users do.
    "benchmark": {"vbfast", "optional", "atomic_file", "info", "contract", "families"},
    "demo": {"optional", "atomic_file", "contract", "families", "estimators", "benchmark"},
    "cli": {
        "vbfast",
        "_version",
        "atomic_file",
        "optional",
        "results",
        "inputs",
        "contract",
        "config",
        "passes",
        "info",
        "estimators",
        "benchmark",
        "demo",
    },
    "__main__": {"cli"},
}


def read_modules(package):
    """Return the syntax trees of a package's modules by their names, packages with a final dot."""
    modules = {}
    for path in sorted(package.rglob("*.py")):
        parts = (package.name, *path.relative_to(package).with_suffix("").parts)
        name = ".".join(parts[:-1]) + "." if parts[-1] == "__init__" else ".".join(parts)
        modules[name] = ast.parse(path.read_text())
    return modules


def names_imported(module, tree):
    """Yield the whole names of what a module imports, those of other packages included."""
    package = module.rpartition(".")[0].split(".")
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) + 1 - node.level] if node.level else []
            origin = [*above, *filter(None, [node.module])]
            yield from (".".join([*origin, alias.name]) for alias in node.names)
        elif isinstance(node, ast.Constant) and re.fullmatch(r"vbfast(\.\w+)+", str(node.value)):
            yield from {node.value} - ENTRY_POINTS


def find_imports(modules):
    """Return which modules of the package each imports; "vbfast" is the package itself."""
    there = {name.rstrip(".") for name in modules} | COMPILED

    def inner(name):
        """Return the module that a name is, or is of."""
        while name and name not in there:
            name = name.rpartition(".")[0]
        return name

    return {
        module.rstrip("."): {inner(name) for name in names_imported(module, tree)} - {""}
        for module, tree in modules.items()
    }


def room_of(module):
    """Return the folder or module that a module lies in, below the package."""
    return module.split(".")[1] if "." in module else module


def find_wrong_arrows(imports):
    """Return a line for each import that ALLOWED does not allow."""
    wrong = []
    for module, imported in imports.items():
        room = room_of(module)
        if room == "vbfast":
            continue  # it has the public names, and imports them when they are asked for
        if room not in ALLOWED:
            wrong.append(f"{module} lies in no room")
            continue
        wrong += [
            f"{module} imports {other}: {room} does not stand on {room_of(other)}"
            for other in sorted(imported)
            if room_of(other) not in ALLOWED[room] | {room}
        ]
    return wrong


def find_circles(imports):
    """Return a line for each way that is found from a module back to it."""
    circles, done, way = [], set(), []

    def visit(module):
        if module in way:
            circles.append(" -> ".join([*way[way.index(module) :], module]))
        elif module not in done and module in imports:
            way.append(module)
            for other in sorted(imports[module] - {module, "vbfast"}):
                visit(other)
            done.add(way.pop())

    for module in sorted(set(imports) - {"vbfast"}):
        visit(module)
    return circles


def find_others(modules, room, known):
    """Return the other packages that a room imports, but for Python's own and known ones."""
    named = {
        name.split(".")[0]
        for module, tree in modules.items()
        if room_of(module.rstrip(".")) == room
        for name in names_imported(module, tree)
    }
    return named - {"vbfast"} - known - sys.stdlib_module_names


@pytest.fixture(scope="module")
def modules():
    return read_modules(PACKAGE)


def test_no_arrow_points_up(modules):
    assert find_wrong_arrows(find_imports(modules)) == []


def test_no_module_imports_itself_by_way_of_others(modules):
    assert find_circles(find_imports(modules)) == []


def test_rooms_stand_on_lower_ones():
    below = {"vbfast"}
    for room, on in ALLOWED.items():
        assert on <= below, room
        below.add(room)


def test_rooms_are_there(modules):
    there = {room_of(name.rstrip(".")) for name in modules}
    assert set(ALLOWED) - there == {room_of(name) for name in COMPILED}  # no Python source


def test_loops_are_given_a_runner(modules):
    imports = find_imports(modules)
    importers = {name for name, names in imports.items() if "vbfast.passes.runner" in names}
    rooms = {room_of(module) for module in importers}
    assert rooms == {"passes", "mixtures", "estimators", "dask"}


def test_the_ground_floor_needs_numpy_alone(modules):
    assert find_others(modules, "contract", {"numpy"}) == set()


class TestTheCheck:
    """It finds what it is for, in trees of a few lines."""

    @pytest.fixture
    def tree(self, tmp_path):
        """A function that writes modules beside three empty ones, and reads them all."""

        def write(sources):
            package = tmp_path / "vbfast"
            files = {"contract/rows": "", "families/family": "", "passes/runner": "", **sources}
            for name, source in files.items():
                path = package / f"{name}.py"
                path.parent.mkdir(parents=True, exist_ok=True)
                (path.parent / "__init__.py").touch()
                path.write_text(source)
            (package / "__init__.py").touch()
            return read_modules(package)

        return write

    @pytest.mark.parametrize(
        "source",
        [
            "import vbfast.families.family",
            "import numpy, vbfast.families.family as family",
            "from vbfast.families.family import Family",
            "from vbfast.families import family",
            "from vbfast import families",
            "from ..families import family",
            "from ..families.family import Family",
            "from .. import families",
            "def start():\n    from vbfast.families.family import Family",
            "if TYPE_CHECKING:\n    from vbfast.families.family import Family",
            "try:\n    import vbfast.families\nexcept ImportError:\n    pass",
            "importlib.import_module('vbfast.families.family')",
            "HOMES = {'Family': 'vbfast.families.family'}",
        ],
    )
    def test_an_arrow_upwards(self, tree, source):
        (wrong,) = find_wrong_arrows(find_imports(tree({"contract/rows": source})))
        assert wrong.startswith("vbfast.contract.rows imports vbfast.families")
        assert wrong.endswith("contract does not stand on families")

    @pytest.mark.parametrize(
        "source",
        [
            "from vbfast.contract.rows import RowSource",
            "from ..contract import rows",
            "from . import other",
            "import numpy.passes",
            '"""See vbfast.passes.runner."""',
        ],
    )
    def test_arrows_downwards(self, tree, source):
        assert find_wrong_arrows(find_imports(tree({"families/family": source}))) == []

    def test_the_whole_package_from_below(self, tree):
        (wrong,) = find_wrong_arrows(find_imports(tree({"contract/rows": "import vbfast"})))
        assert wrong.endswith("contract does not stand on vbfast")

    def test_a_relative_import_of_a_package(self, tree):
        imports = find_imports(tree({"contract/__init__": "from ..families import family"}))
        (wrong,) = find_wrong_arrows(imports)
        assert wrong.startswith("vbfast.contract imports vbfast.families.family")

    def test_a_room_that_is_nowhere(self, tree):
        wrong = find_wrong_arrows(find_imports(tree({"cellar": ""})))
        assert wrong == ["vbfast.cellar lies in no room"]

    @pytest.mark.parametrize(
        "last", ["from vbfast.passes.rows import a", "def f():\n    from . import rows"]
    )
    def test_a_circle(self, tree, last):
        sources = {
            "passes/rows": "import vbfast.passes.runner",
            "passes/runner": "from vbfast.passes.one_pass import run_pass",
            "passes/one_pass": last,
        }
        way = ("one_pass", "rows", "runner", "one_pass")
        circle = " -> ".join(f"vbfast.passes.{name}" for name in way)
        assert find_circles(find_imports(tree(sources))) == [circle]

    def test_a_circle_through_a_package(self, tree):
        sources = {
            "passes/__init__": "from vbfast.passes.runner import run",
            "passes/runner": "from vbfast.passes import run",
        }
        circle = "vbfast.passes -> vbfast.passes.runner -> vbfast.passes"
        assert find_circles(find_imports(tree(sources))) == [circle]

    @pytest.mark.parametrize(
        ("source", "others"),
        [
            ("import scipy.special", {"scipy"}),
            ("def f():\n    from numba import njit", {"numba"}),
            (
                "import math, numpy.typing\nfrom vbfast.contract import types\nfrom . import b",
                set(),
            ),
        ],
    )
    def test_other_packages(self, tree, source, others):
        assert find_others(tree({"contract/rows": source}), "contract", {"numpy"}) == others
