"""``vbfast.h`` compiles in both languages, and a C module reaches this process's functions."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_array_equal

import vbfast
from vbfast import _vbfast

INF = np.inf
HERE = Path(__file__).parent


@pytest.mark.skipif(sys.platform == "win32", reason="the flags are those of GCC and Clang")
@pytest.mark.parametrize(
    ("language", "standard"), [("c", "c99"), ("c", "c11"), ("c++", "c++98"), ("c++", "c++17")]
)
def test_header_compiles_by_itself(tmp_path, language, standard):
    compiler = shutil.which("cc") if language == "c" else shutil.which("c++")
    if compiler is None:
        pytest.skip(f"no compiler of {language}")
    source = tmp_path / "include.txt"
    source.write_text("#include <vbfast.h>\nint main(void) { return VBFAST_LOGITS; }\n")
    flags = ["-Wall", "-Wextra", "-Wpedantic", "-Wno-long-long", "-Werror", "-fsyntax-only"]
    subprocess.run(
        [compiler, f"-I{vbfast.get_include()}", f"-std={standard}", *flags, "-x", language, source],
        check=True,
    )


@pytest.mark.kernels
def test_c_module(c_callers):
    a = np.random.default_rng(0).normal(scale=5, size=301)
    assert c_callers.simd_level() == _vbfast.build_info()["simd"]
    for n, start, stride in [(301, 0, 1), (10, 3, 1), (100, 1, 3), (101, 300, -3), (0, 0, 1)]:
        ours = c_callers.logsumexp(a, n, start, stride)
        assert ours == pytest.approx(vbfast.logsumexp(a[start::stride][:n]), abs=1e-14)
    a[7] = np.nan
    assert np.isnan(c_callers.logsumexp(a, 301, 0, 1))
    log_joint = np.array([0.5, -1.0, 2.0], np.float32)
    q_logits = np.array([1.0, 0.0, -INF], np.float32)
    assert_array_equal(
        c_callers.gap(log_joint, q_logits), vbfast.elbo(log_joint, q_logits=q_logits).kl
    )


def changed_header(folder, pattern, replacement):
    text = (Path(vbfast.get_include()) / "vbfast.h").read_text()
    changed, n = re.subn(pattern, replacement, text)
    assert n == 1
    (folder / "vbfast.h").write_text(changed)
    shutil.copy(HERE / "c_callers.c", folder)


@pytest.mark.parametrize(
    ("pattern", "replacement", "message"),
    [
        (
            r"(#define VBFAST_API_VERSION) \d+",
            r"\1 99",
            r"compiled against version 99 .* install a newer vbfast",
        ),
        (
            r"(#define VBFAST_API_VERSION) \d+",
            r"\1 0",
            "compiled against version 0 .* compile again with its header",
        ),
        (
            r"(\(\*simd_level\)\(void\);)",
            r"\1 void (*later)(void);",
            "compiled against a newer vbfast",
        ),
    ],
)
def test_a_table_that_does_not_fit_is_an_import_error(
    build_extension, tmp_path, pattern, replacement, message
):
    changed_header(tmp_path, pattern, replacement)
    with pytest.raises(ImportError, match=message):
        build_extension(tmp_path, "c_callers", "c_callers.c", include=[str(tmp_path)])


def test_the_table_has_every_function_of_the_header():
    text = (Path(vbfast.get_include()) / "vbfast.h").read_text()
    members = text[text.index("#define VBFAST_DEFINE_FUNCTIONS") : text.index("} name;")]
    declared = re.findall(r"\(\*(\w+)\)", members)
    assert len(declared) == 14
    for functions in _vbfast.C_FUNCTIONS.values():
        assert list(functions) == declared
        assert len(set(functions.values())) == len(declared)
