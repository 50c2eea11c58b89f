"""The arrows between the rooms of csrc/, by its includes: none points up, and none goes round."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

SOURCES = Path(__file__).parents[2] / "csrc"
INCLUDE = re.compile(r'^#include "([^"]+)"', re.MULTILINE)
PUBLIC = {"vbfast.h"}  # src/vbfast/include, which knows none of the rooms

# Each room, and the others whose headers its files may include.
ROOMS = {
    "runtime": set(),
    "kernels": set(),
    "kernels/estep": {"kernels", "runtime"},
    "kernels/arrays": {"kernels", "runtime"},
    "kernels/linalg": {"kernels", "runtime"},
    "simd": set(),
    "targets": {"simd", "runtime", "kernels/estep", "kernels/arrays", "kernels/linalg"},
    "estep": {"kernels/estep", "runtime"},
    "arrays": {"kernels/arrays", "runtime"},
    "linalg": {"kernels/linalg", "runtime"},
    "loops": {"estep", "kernels/estep", "linalg", "runtime"},
    "capi": {"arrays", "kernels/arrays", "runtime"},
    "cuda": {"estep", "kernels/estep", "runtime"},
    "cuda/arrays": {"cuda", "arrays"},
    "cuda/python": {"cuda", "cuda/arrays", "python", "estep", "runtime"},
    "python": {"capi", "estep", "arrays", "linalg", "loops", "runtime"},
}


def read_includes(root):
    """Return what each file of a tree includes in quotes, all as paths from its root."""
    return {
        path.relative_to(root).as_posix(): INCLUDE.findall(path.read_text())
        for path in sorted(root.rglob("*"))
        if path.suffix in {".h", ".cpp", ".cu"}
    }


def room_of(name):
    """Return the folder of a file."""
    return Path(name).parent.as_posix()


def find_wrong_arrows(includes):
    """Return a line for each include that ROOMS does not allow."""
    wrong = []
    for name, included in includes.items():
        room = room_of(name)
        if room not in ROOMS:
            wrong.append(f"{name} lies in no room")
            continue
        for other in included:
            if other in PUBLIC:
                continue
            if other not in includes:
                wrong.append(f"{name} includes {other}, which is no path from csrc/")
            elif room_of(other) not in ROOMS[room] | {room}:
                wrong.append(f"{name} includes {other}: {room} is not above {room_of(other)}")
    return wrong


def find_circle(includes):
    """Return the files along a circle of includes, the first one again at the end, or None."""
    done = set()

    def visit(name, path):
        if name in path:
            return [*path[path.index(name) :], name]
        if name in done:
            return None
        for other in includes.get(name, []):
            circle = visit(other, [*path, name])
            if circle:
                return circle
        done.add(name)
        return None

    return next(filter(None, (visit(name, []) for name in includes)), None)


@pytest.mark.skipif(not SOURCES.is_dir(), reason="needs the sources")
class TestTheTree:
    def test_every_include_points_down(self):
        assert find_wrong_arrows(read_includes(SOURCES)) == []

    def test_no_includes_go_round(self):
        assert find_circle(read_includes(SOURCES)) is None

    def test_no_rooms_go_round(self):
        assert find_circle(ROOMS) is None

    def test_every_room_is_there(self):
        rooms = {room_of(name) for name in read_includes(SOURCES)}
        assert rooms == set(ROOMS)


def write_tree(root, files):
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return read_includes(root)


@pytest.mark.parametrize(
    ("files", "wrong"),
    [
        ({"estep/estep.cpp": '#include "runtime/threads.h"\n', "runtime/threads.h": ""}, []),
        (
            {"runtime/threads.cpp": '#include "estep/estep.h"\n', "estep/estep.h": ""},
            ["runtime/threads.cpp includes estep/estep.h: runtime is not above estep"],
        ),
        (
            {"estep/estep.cpp": '#include "estep.h"\n', "estep/estep.h": ""},
            ["estep/estep.cpp includes estep.h, which is no path from csrc/"],
        ),
        ({"loose.h": ""}, ["loose.h lies in no room"]),
    ],
)
def test_an_arrow_that_is_not_allowed_is_named(tmp_path, files, wrong):
    assert find_wrong_arrows(write_tree(tmp_path, files)) == wrong


def test_a_circle_is_named(tmp_path):
    includes = write_tree(
        tmp_path,
        {
            "estep/a.h": '#include "estep/b.h"\n',
            "estep/b.h": '#include "estep/c.h"\n',
            "estep/c.h": '#include "estep/b.h"\n',
        },
    )
    assert find_circle(includes) == ["estep/b.h", "estep/c.h", "estep/b.h"]
