"""What this installation is and runs on."""

from __future__ import annotations

from typing import Any

from vbfast import _vbfast
from vbfast.backends import backend_names
from vbfast.backends.cuda.extension import describe_device
from vbfast.config.settings import current_backend, get_num_threads

__all__ = ["configuration", "show_config"]


def configuration() -> dict[str, Any]:
    """Return version, build, instruction sets, threads, backends and the GPU.

    Returns
    -------
    dict
        Keys ``version``, ``build_type``, ``sanitizers``, ``compiler``, ``simd`` (in use),
        ``simd_available``, ``simd_built``, ``num_threads``, ``available_threads``, ``backend``,
        ``backends`` and ``cuda``, the device or why there is none. Where the module of CUDA kernels
        is installed also ``cuda_driver``, ``cuda_runtime``, ``cuda_architectures`` that it was
        compiled for and, with a device, ``cuda_memory``.
    """
    return {
        **_vbfast.build_info(),
        "num_threads": get_num_threads(),
        "available_threads": _vbfast.available_threads(),
        "backend": current_backend(),
        "backends": list(backend_names()),
        **describe_device(),
    }


def show_config() -> None:
    """Print version, build, instruction sets, threads, backends and the GPU, one line an entry.

    Examples
    --------
    >>> import vbfast
    >>> vbfast.show_config()  # doctest: +ELLIPSIS
    version            ...
    """
    for key, value in configuration().items():
        text = ", ".join(map(str, value)) if isinstance(value, list) else value
        print(f"{key:18s} {text}")
