"""Which rooms of the package import which: no arrow points up, and none goes round.

Imports inside functions and those for types alone count as well.
"""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "src" / "vbfast"

# What each room stands on, the lowest first. A module of the package's own folder is a room too.
ALLOWED = {
    "_version": set(),
    "_vbfast": set(),
    "optional": set(),
    "atomic_file": set(),
    "capi": set(),
    "results": set(),
    "contract": set(),
    "inputs": {"_vbfast", "contract"},
    "user_functions": {"optional", "contract"},
    "backends": {"_version", "_vbfast", "contract", "user_functions"},
    "config": {"_version", "_vbfast", "contract", "backends"},
    "arrays": {"_vbfast", "backends", "config", "inputs", "results"},
    "families": {"contract", "inputs", "user_functions", "config"},
    "passes": {"contract", "inputs", "backends", "config"},
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
    "numba_api": {"_vbfast", "optional", "results", "arrays", "config"},
    "cython_api": {"_vbfast"},
    "torch": {"optional", "contract", "inputs", "arrays", "mixtures"},
    "jax": {"optional", "contract", "inputs", "arrays", "mixtures"},
    "info": {"_version", "_vbfast", "backends", "config"},
    # What is on top may use the package as its users do.
    "benchmark": {"vbfast", "info", "contract"},
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
        "info",
        "estimators",
        "benchmark",
        "demo",
    },
    "__main__": {"cli"},
}


def _module(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(part for part in ("vbfast", *parts) if part != "__init__")


MODULES = {_module(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def _imports(module: str) -> set[str]:
    """Return the modules of the package that a module imports, the package itself included."""
    found = set()
    for node in ast.walk(ast.parse(MODULES[module].read_text())):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            for name in node.names:
                whole = f"{node.module}.{name.name}"
                inner = whole in MODULES or whole == "vbfast._vbfast"
                found.add(whole if inner else node.module)
    return {name for name in found if name.split(".")[0] == "vbfast"}


def _room(module: str) -> str:
    return module.split(".")[1]


@pytest.mark.parametrize("module", sorted(set(MODULES) - {"vbfast"}))
def test_no_arrow_points_up(module):
    room = _room(module)
    rooms = {"vbfast" if name == "vbfast" else _room(name) for name in _imports(module)}
    assert rooms - {room} <= ALLOWED[room]


def test_rooms_stand_on_lower_ones():
    below = {"vbfast"}
    for room, on in ALLOWED.items():
        assert on <= below, room
        below.add(room)


def test_no_module_imports_itself_by_way_of_others():
    order: list[str] = []
    open_: list[str] = []

    def visit(module: str) -> None:
        assert module not in open_, " -> ".join([*open_[open_.index(module) :], module])
        if module in order or module not in MODULES:
            return
        open_.append(module)
        for imported in sorted(_imports(module) - {module, "vbfast"}):
            # A package's own modules are reached from it and may not import it back.
            visit(imported)
        open_.pop()
        order.append(module)

    for module in MODULES:
        if module != "vbfast":
            visit(module)
