"""Files are short: a subject each."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LONGEST = 420
NUMBA = 2500  # of all files of the backend together


def lines_of(path):
    return len(path.read_text().splitlines())


def sources(folder):
    return [
        path
        for path in sorted((ROOT / folder).rglob("*"))
        if path.suffix in {".py", ".pyx", ".pxd", ".h", ".cpp", ".cu"}
    ]


@pytest.mark.skipif(not (ROOT / "csrc").is_dir(), reason="needs the sources")
class TestTheTree:
    @pytest.mark.parametrize("folder", ["src/vbfast", "csrc"])
    def test_no_file_is_long(self, folder):
        assert sources(folder)
        assert {path.name: n for path in sources(folder) if (n := lines_of(path)) > LONGEST} == {}

    def test_the_numba_backend_is_short(self):
        assert 0 < sum(map(lines_of, sources("src/vbfast/backends/numba"))) < NUMBA
