"""Passes on an NVIDIA GPU, by a module of kernels of its own.

From the ground up:

- ``extension``: that module, wherever it is installed, and the device; errors that say what is
  missing.

Imported when the backend is first used; that takes the module, which only some builds have, and a
device.
"""

from __future__ import annotations

from vbfast.backends.cuda.extension import require_device
from vbfast.contract import Backend

__all__ = ["create_backend"]


def create_backend() -> Backend:
    """Return the backend, for :func:`vbfast.backends.get_backend`."""
    require_device()
    from vbfast.backends.cuda.backend import CudaBackend

    return CudaBackend()
