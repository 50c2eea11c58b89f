"""One name means one thing: two types of one name in a library are undefined behaviour."""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path

import pytest

SOURCES = Path(__file__).parents[2] / "csrc"
EACH_ROOM_OF_KERNELS = {"Kernels", "Table"}
TYPE = re.compile(
    r"^(?:(?:struct|class|enum class|enum) (?:alignas\(\w+\) )?|using (?=\w+ =))(\w+)\b(?!;)",
    re.MULTILINE,
)


@pytest.mark.skipif(not SOURCES.is_dir(), reason="needs the sources")
def test_headers_define_a_type_once():
    # Bodies of kernels and lanes are compiled once a level, each time in a namespace of its own.
    headers = [
        path
        for path in SOURCES.rglob("*.h")
        if path.relative_to(SOURCES).parts[0] != "simd" and not path.name.endswith("-inl.h")
    ]
    places = defaultdict(set)
    for path in headers:
        # The CUDA module is a library of its own, and its types have a namespace of their own.
        library = "cuda" if path.relative_to(SOURCES).parts[0] == "cuda" else "core"
        for name in TYPE.findall(path.read_text()):
            places[library, name].add(str(path))
    core = {name for library, name in places if library == "core"}
    assert {"Tile", "Plan", "Layout", "GilRelease"} <= core
    several = {key: files for key, files in places.items() if len(files) > 1}
    assert {key: several[key] for key in several if key[1] not in EACH_ROOM_OF_KERNELS} == {}
