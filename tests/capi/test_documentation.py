"""The Cython and C code of docs/compiled-code.md compiles, and does what it is there for."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

import vbfast

PAGE = Path(__file__).parents[2] / "docs" / "compiled-code.md"


def code_of(language):
    if not PAGE.is_file():
        pytest.skip("docs/ is not part of this distribution")
    [block] = re.findall(rf"^```{language}\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    return block


def test_cython(tmp_path, build_extension):
    (tmp_path / "caller.pyx").write_text(code_of("cython"))
    caller = build_extension(tmp_path, "caller", "caller.pyx")
    log_joint = np.random.default_rng(0).normal(size=(7, 5))
    assert caller.evidence(log_joint[0]) == vbfast.logsumexp(log_joint[0])
    out = np.empty_like(log_joint)
    caller.responsibilities(log_joint, out)
    np.testing.assert_allclose(out, vbfast.softmax(log_joint, axis=1), rtol=1e-15)


def test_c(tmp_path, build_extension):
    (tmp_path / "caller.c").write_text(code_of("c"))
    strict = ["-O0", "-g0", "-std=c99", "-Wall", "-Wextra", "-Werror"]
    caller = build_extension(
        tmp_path, "caller", "caller.c", include=[vbfast.get_include()], flags=strict
    )
    log_joint = np.random.default_rng(0).normal(size=9)
    assert caller.evidence(log_joint) == vbfast.logsumexp(log_joint)
