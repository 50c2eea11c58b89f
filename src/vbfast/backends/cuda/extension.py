"""The module of CUDA kernels, and the device that it finds."""

from __future__ import annotations

import functools
import importlib
import re
from importlib.metadata import entry_points
from types import ModuleType
from typing import Any

from vbfast._version import __version__

__all__ = ["DeviceError", "describe_device", "load_extension", "require_device"]

MODULE = "vbfast._vbfast_cuda"
ENTRY_POINTS = "vbfast.cuda"  # the group by which another distribution offers the module


class DeviceError(RuntimeError):
    """There is no device to compute on."""


@functools.cache
def load_extension() -> ModuleType:
    """Return the module of kernels: this package's own, or that of a distribution that offers it.

    Raises
    ------
    ImportError
        If there is none, or it is of another version than this package.
    """
    try:
        module = importlib.import_module(MODULE)
    except ModuleNotFoundError as error:
        if error.name != MODULE:
            raise
        offered = sorted(entry_points(group=ENTRY_POINTS), key=lambda entry: entry.name)
        if not offered:
            raise ImportError(
                "the backend 'cuda' needs the module _vbfast_cuda, which this installation was "
                "built without: build it from vbfast's sources by `VBFAST_CUDA=ON pip install .`",
                name=MODULE,
            ) from None
        module = offered[0].load()
    version = module.build_info()["version"]
    if version != __version__:
        raise ImportError(
            f"vbfast is of version {__version__}, and its CUDA module {module.__name__} of version "
            f"{version}: install both of the same version",
            name=module.__name__,
        )
    return module


def require_device() -> dict[str, Any]:
    """Return what the module says of the device in use.

    Returns
    -------
    dict
        Keys ``index``, ``name``, ``compute_capability``, ``multiprocessors``, ``total_bytes``,
        ``free_bytes``, ``l2_bytes`` and ``shared_bytes``.

    Raises
    ------
    ImportError
        If the module is missing.
    DeviceError
        If there is no driver or no device, the driver is too old, the device is of an architecture
        that the module was not compiled for, or it has no memory left. The message says which.
    """
    extension = load_extension()
    versions = extension.versions()
    driver, runtime = versions["driver"], versions["runtime"]
    if driver == 0:
        raise DeviceError(
            f"the backend 'cuda' found no NVIDIA driver; it needs one for CUDA {_text(runtime)}"
        )
    if driver // 1000 < runtime // 1000:
        raise DeviceError(
            f"the backend 'cuda' needs an NVIDIA driver for CUDA {_text(runtime)}; the one that is "
            f"installed is for CUDA {_text(driver)} at most"
        )
    try:
        device: dict[str, Any] = extension.device_info()
    except (RuntimeError, MemoryError) as error:
        raise DeviceError(
            f"the backend 'cuda' found no device that it can use, with the driver for CUDA "
            f"{_text(driver)}: {error}"
        ) from error
    architectures = extension.build_info()["architectures"]
    major, minor = device["compute_capability"]
    if not _runs(architectures, major, minor):
        raise DeviceError(
            f"the backend 'cuda' found {device['name']}, of compute capability {major}.{minor}; "
            f"the module was built for {architectures}: build it with "
            f"CMAKE_CUDA_ARCHITECTURES={major}{minor}"
        )
    return device


def describe_device() -> dict[str, Any]:
    """Return what there is to compute on, or why there is nothing.

    Returns
    -------
    dict
        ``cuda_architectures``, that the module was compiled for, where there is a module;
        ``cuda_driver`` and ``cuda_runtime``, versions of CUDA; ``cuda_memory``; and ``cuda``, the
        device, or the reason why there is none.
    """
    try:
        extension = load_extension()
    except ImportError as error:
        return {"cuda": f"none: {error}"}
    try:
        device = require_device()
    except DeviceError as error:
        found = {"cuda": f"none: {error}"}
    else:
        capability = ".".join(map(str, device["compute_capability"]))
        gib = 2.0**30
        found = {
            "cuda": f"{device['name']}, compute capability {capability}, "
            f"{device['multiprocessors']} multiprocessors",
            "cuda_memory": f"{device['total_bytes'] / gib:.1f} GiB, of which "
            f"{device['free_bytes'] / gib:.1f} are free",
        }
    versions = extension.versions()
    return {
        **found,
        "cuda_driver": _text(versions["driver"]) if versions["driver"] else "none",
        "cuda_runtime": _text(versions["runtime"]),
        "cuda_architectures": extension.build_info()["architectures"].split(","),
    }


def _text(version: int) -> str:
    """Write a version of CUDA, which comes as 13000 for 13.0."""
    return f"{version // 1000}.{version % 1000 // 10}"


def _runs(architectures: str, major: int, minor: int) -> bool:
    """Return whether code for architectures, in CMake's words, runs on a device.

    Machine code runs on later devices of the same major number, PTX on all that are later, and
    what is for one architecture only ("90a") on that.
    """
    for architecture in architectures.split(","):
        parts = re.fullmatch(r"(\d+)(\d)([af]?)(-real|-virtual)?", architecture)
        if parts is None:  # "native" or "all"
            return True
        of = int(parts[1]), int(parts[2])
        if parts[3] == "a":
            fits = of == (major, minor)
        elif parts[3] == "f" or parts[4] == "-real":
            fits = of[0] == major and of[1] <= minor
        else:
            fits = of <= (major, minor)
        if fits:
            return True
    return False
