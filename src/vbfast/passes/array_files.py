"""Two-dimensional arrays in files of HDF5 and Zarr."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import numpy as np

from vbfast.inputs.named_arrays import chosen_name
from vbfast.optional import needed

__all__ = ["open_hdf5", "open_zarr"]

ADVICE = "choose one by its key"


def open_hdf5(path: Path, key: str | None) -> Any:
    """Return a dataset of an HDF5 file, by default the only one.

    The file stays open as long as the dataset is used.

    Raises
    ------
    OSError
        If there is no such file.
    ValueError
        If it is none of HDF5, or has no such dataset.
    ImportError
        If h5py is missing.
    """
    with needed("h5py", by=f"reading {path.suffix} files"):
        import h5py
    with path.open("rb"):
        pass  # a missing file is the system's error, not h5py's
    if not h5py.is_hdf5(path):
        raise ValueError(f"{path}: no HDF5 file")
    names: list[str] = []

    def note(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            names.append(name)

    try:
        file = h5py.File(path, "r")
        file.visititems(note)
        array = file[chosen_name(names, None if key is None else key.strip("/"), ADVICE)]
        np.dtype(array.dtype)  # or there is no such in NumPy
        return array
    except (OSError, MemoryError):
        raise
    except Exception as error:  # a damaged file makes h5py raise nearly anything
        raise ValueError(f"{path}: {error}") from error


def open_zarr(path: Path, key: str | None) -> Any:
    """Return an array of a Zarr folder, which is one or has several; by default the only one.

    Raises
    ------
    OSError
        If there is no such folder.
    ValueError
        If it is none of Zarr, or has no such array.
    ImportError
        If zarr is missing.
    """
    with needed("zarr", by=f"reading {path.suffix} folders"):
        import zarr
    if not path.exists():
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
    try:
        stored = zarr.open(str(path), mode="r")
        if isinstance(stored, zarr.Array):
            if key is not None:
                raise ValueError(f"is one array, and has none by the name {key!r}")
            return stored
        names = [name for name, item in stored.members(None) if isinstance(item, zarr.Array)]
        return stored[chosen_name(names, None if key is None else key.strip("/"), ADVICE)]
    except MemoryError:
        raise
    except Exception as error:  # of many kinds, FileNotFoundError for a folder of other things
        raise ValueError(f"{path}: {error}") from error
