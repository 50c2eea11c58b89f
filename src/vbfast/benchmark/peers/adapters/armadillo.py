"""Armadillo's mixtures, by a small library that is compiled against its headers."""

from __future__ import annotations

import ctypes
import os
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

SOURCE = Path(__file__).with_suffix(".cpp")


def compiled() -> ctypes.CDLL:
    """Compile the library for this processor, and load it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "armadillo.so"
        command = [os.environ.get("CXX", "c++"), "-std=c++17", "-O3", "-march=native", "-DNDEBUG"]
        command += ["-fopenmp", "-shared", "-fPIC", str(SOURCE), "-o", str(path), "-larmadillo"]
        run = subprocess.run(command, capture_output=True, text=True)
        if run.returncode:
            raise OSError(f"cannot compile: {run.stderr.strip().splitlines()[-1]}")
        return ctypes.CDLL(str(path))


class Armadillo:
    """``gmm_full`` and ``gmm_diag``, whose threads are OpenMP's."""

    library: Any = None

    def __init__(self, task: Any) -> None:
        dtype = task.rows.dtype
        suffix = "double" if dtype == np.float64 else "float"
        self._learn = getattr(self._loaded(), f"learn_{task.covariance_type}_{suffix}")
        self._learn.restype = ctypes.c_int
        self._rows, self._reg_covar = np.ascontiguousarray(task.rows), task.reg_covar
        start = (task.weights, task.means, task.covariances)
        self._start = [np.ascontiguousarray(array, dtype) for array in start]
        self._parameters: Any = None

    @classmethod
    def _loaded(cls) -> Any:
        if Armadillo.library is None:
            Armadillo.library = compiled()
        return Armadillo.library

    @classmethod
    def version(cls) -> str:
        return ".".join(str(cls._loaded().version_part(part)) for part in range(3))

    def run(self, iterations: int) -> None:
        self._parameters = [array.copy() for array in self._start]
        sizes = (*self._rows.shape, len(self._start[0]), iterations)
        arrays = [array.ctypes.data for array in (self._rows, *self._parameters)]
        learnt = self._learn(
            *map(ctypes.c_size_t, sizes),
            ctypes.c_double(self._reg_covar),
            *map(ctypes.c_void_p, arrays),
        )
        if not learnt:
            raise ArithmeticError("learn() has failed")

    def parameters(self) -> tuple[Any, Any, Any]:
        weights, means, covariances = self._parameters
        return weights, means, covariances
