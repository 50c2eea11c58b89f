"""Compiles the callers beside this file, as a user of the installed package would."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

import vbfast

HERE = Path(__file__).parent

SETUP = """
import sys
import vbfast
from Cython.Build import cythonize
from setuptools import Extension, setup

[module] = {modules}
setup(name=module.name, ext_modules=cythonize([module]), script_args=["-q", "build_ext", "-i"])
"""

QUICK = ["-O0", "-g0"]
STRICT = [*QUICK, "-std=c99", "-Wall", "-Wextra", "-Werror"]


def build(folder, name, source, *, include=(), flags=QUICK):
    """Build an extension module in a process of its own, and import it."""
    compiler = (sysconfig.get_config_var("CC") or "cc").split()[0]
    if shutil.which(compiler) is None:
        pytest.skip(f"no C compiler, {compiler}")
    extension = f"Extension({name!r}, [{source!r}], include_dirs={list(include)!r}"
    if sys.platform != "win32":
        extension += f", extra_compile_args={list(flags)!r}"
    (folder / "setup.py").write_text(SETUP.format(modules=f"[{extension})]"))
    package = str(Path(vbfast.__file__).parents[1])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([package, *filter(None, sys.path)])}
    done = subprocess.run(
        [sys.executable, "setup.py"], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    [library] = [p for p in folder.glob(f"{name}*") if p.suffix in (".so", ".pyd")]
    spec = importlib.util.spec_from_file_location(name, library)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def build_extension():
    """The function above, for tests that build what should not work."""
    return build


@pytest.fixture(scope="session")
def cython_callers(tmp_path_factory):
    """The Cython module, built without the header."""
    folder = tmp_path_factory.mktemp("cython_callers")
    shutil.copy(HERE / "cython_callers.pyx", folder)
    return build(folder, "cython_callers", "cython_callers.pyx")


@pytest.fixture(scope="session")
def c_callers(tmp_path_factory):
    """The C99 module."""
    folder = tmp_path_factory.mktemp("c_callers")
    shutil.copy(HERE / "c_callers.c", folder)
    include = [vbfast.get_include()]
    return build(folder, "c_callers", "c_callers.c", include=include, flags=STRICT)
