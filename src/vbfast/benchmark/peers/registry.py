"""The peers: which there are, what they can do, and why one is absent."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from vbfast.contract import CovarianceType

__all__ = ["OURS", "PEERS", "PRODUCT", "Absent", "Peer"]

ALL: tuple[CovarianceType, ...] = ("full", "tied", "diag", "spherical")


class Absent(Exception):  # noqa: N818
    """A peer cannot be run here; the message says why."""


def _here(package: str) -> Callable[[Mapping[str, str]], str]:
    """Find a package in this environment."""

    def find(interpreters: Mapping[str, str]) -> str:  # noqa: ARG001
        if importlib.util.find_spec(package) is None:
            raise Absent(f"{package} is not installed")
        return sys.executable

    return find


def _elsewhere(name: str, package: str) -> Callable[[Mapping[str, str]], str]:
    """Find a package in the environment of an interpreter that is given."""

    def find(interpreters: Mapping[str, str]) -> str:
        interpreter = interpreters.get(name)
        if interpreter is None:
            raise Absent(f"no interpreter of an environment with {package} is given")
        try:
            run = subprocess.run(
                [interpreter, "-c", f"import {package}"], capture_output=True, text=True
            )
        except OSError as error:
            raise Absent(f"{interpreter}: {error.strerror}") from None
        if run.returncode:
            raise Absent(f"{interpreter}: {run.stderr.strip().splitlines()[-1]}")
        return interpreter

    return find


def _compiled(header: str) -> Callable[[Mapping[str, str]], str]:
    """Find a C++ library that the adapter compiles against."""

    def find(interpreters: Mapping[str, str]) -> str:  # noqa: ARG001
        compiler = shutil.which(os.environ.get("CXX", "c++"))
        if compiler is None:
            raise Absent("there is no C++ compiler")
        command = [compiler, "-E", "-x", "c++", "-"]
        found = subprocess.run(
            command, input=f"#include <{header}>\n", capture_output=True, text=True
        )
        if found.returncode:
            raise Absent(f"there is no header <{header}>")
        return sys.executable

    return find


@dataclass(frozen=True)
class Peer:
    """A library that takes EM iterations from given parameters.

    Attributes
    ----------
    name : str
    adapter : str
        A file in ``adapters/`` and a class in it, see :class:`~.process.PeerProcess`.
    find : callable
        Takes interpreters by the names of peers, and returns the one that this peer runs in, or
        raises :class:`Absent`.
    covariance_types, dtypes : tuple of str
        What it has.
    """

    name: str
    adapter: str
    find: Callable[[Mapping[str, str]], str]
    covariance_types: tuple[CovarianceType, ...] = ALL
    dtypes: tuple[str, ...] = ("float64", "float32")

    def lacks(self, covariance_type: CovarianceType, dtype: str) -> str | None:
        """Return what it lacks of these two, in words, or None."""
        if covariance_type not in self.covariance_types:
            return f"has no {covariance_type} covariances"
        if dtype not in self.dtypes:
            return f"has no {dtype}"
        return None


OURS = Peer("vbfast", "estimators:Ours", _here("vbfast"))
# A large matrix product through NumPy's BLAS, which the floor is computed from.
PRODUCT = Peer("matrix product", "matrix_product:Product", _here("vbfast"))
PEERS = {
    peer.name: peer
    for peer in (
        Peer("scikit-learn", "estimators:ScikitLearn", _here("sklearn")),
        Peer("oneDAL", "onedal:OneDAL", _elsewhere("oneDAL", "daal4py"), ("full", "diag")),
        Peer("Armadillo", "armadillo:Armadillo", _compiled("armadillo"), ("full", "diag")),
        Peer("JAX", "plain_em:Jax", _here("jax")),
        Peer("PyTorch", "plain_em:PyTorch", _here("torch")),
        Peer("numba", "numba_loops:Numba", _here("numba"), ("full", "diag", "spherical")),
        Peer("pomegranate", "torch_mixtures:Pomegranate", _here("pomegranate"), ("full", "diag")),
        Peer("tgmm", "torch_mixtures:Tgmm", _here("tgmm")),
        Peer("gmmx", "jax_mixtures:Gmmx", _here("gmmx"), ("full", "diag"), ("float32",)),
    )
}
