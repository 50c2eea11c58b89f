"""Executors of the E-step contract, imported when first used.

A backend is a module of this package with a function ``create_backend() -> Backend``. It is
complete when the shared suite in ``tests/backends`` passes on it.
"""

from __future__ import annotations

import functools
import importlib
from typing import cast

from vbfast.engine.contract import Backend

DEFAULT_BACKEND = "native"

_MODULES = {
    "native": "vbfast.backends.native",
    "numba": "vbfast.backends.numba",
    "reference": "vbfast.backends.reference",
}


def backend_names() -> tuple[str, ...]:
    """Names that :func:`get_backend` takes, the default first."""
    return tuple(_MODULES)


def check_backend_name(name: str) -> str:
    """Return ``name`` if it is a backend's, without importing the backend.

    Raises
    ------
    ValueError
        If it is not; the message lists the names.
    """
    if name not in _MODULES:
        known = ", ".join(repr(known_name) for known_name in _MODULES)
        raise ValueError(f"backend must be one of {known}; got {name!r}")
    return name


@functools.cache
def get_backend(name: str) -> Backend:
    """Return the backend of that name, importing it on first use.

    Parameters
    ----------
    name : {'native', 'numba', 'reference'}

    Returns
    -------
    Backend

    Raises
    ------
    ValueError
        If there is no backend of that name.
    ImportError
        If what it needs is not installed.

    Examples
    --------
    >>> from vbfast.backends import get_backend
    >>> get_backend("reference").name
    'reference'
    """
    module = importlib.import_module(_MODULES[check_backend_name(name)])
    return cast(Backend, module.create_backend())
