"""Packages that only parts of vbfast need, and what to install where one is missing."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

__all__ = ["EXTRAS", "needed"]

# By the name that they are imported by: the distribution, and the extra of ours that has it.
EXTRAS = {
    "PIL": ("Pillow", "cli"),
    "dask": ("Dask", "dask"),
    "distributed": ("distributed", "dask"),
    "h5py": ("h5py", "hdf5"),
    "jax": ("JAX", "jax"),
    "matplotlib": ("matplotlib", "plot"),
    "numba": ("numba", "numba"),
    "pandas": ("pandas", "pandas"),
    "pyarrow": ("pyarrow", "parquet"),
    "torch": ("torch", "torch"),
    "zarr": ("zarr", "zarr"),
}


@contextlib.contextmanager
def needed(package: str, by: str) -> Iterator[None]:
    """Import a package in the block, or raise an error that says how to install it.

    Parameters
    ----------
    package : str
        A key of :data:`EXTRAS`.
    by : str
        What needs it, as the error's first words.

    Raises
    ------
    ImportError
        If the package is missing. One that is there and fails to be imported says why itself.

    Examples
    --------
    >>> from vbfast.optional import needed
    >>> with needed("numba", "compiling"):
    ...     raise ModuleNotFoundError(name="numba")
    Traceback (most recent call last):
    ...
    ImportError: compiling needs numba: pip install 'vbfast[numba]'
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != package:
            raise
        distribution, extra = EXTRAS[package]
        message = f"{by} needs {distribution}: pip install 'vbfast[{extra}]'"
        raise ImportError(message, name=package) from error
