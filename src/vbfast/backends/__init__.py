"""Executors of the E-step contract and of the array functions, imported when first used.

A backend is a module of this package with a function ``create_backend() -> Backend``. It is
complete when the shared suite in ``tests/backends`` passes on it. Executors of the array functions
are modules with the extension module's ``reduce_array``, ``map_array``, ``bound_terms`` and
``bound_and_gradients``; a backend that has none of its own uses the native ones.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
from collections.abc import Callable
from types import ModuleType
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:  # array functions are imported without the contract of passes
    from vbfast.contract import Backend, LogJoint

DEFAULT_BACKEND = "native"

_MODULES = {
    "native": "vbfast.backends.native",
    "numba": "vbfast.backends.numba",
    "reference": "vbfast.backends.reference",
    "cuda": "vbfast.backends.cuda",
}
_REGISTERED: dict[str, Callable[[], Backend]] = {}

_ARRAY_MODULES = {
    "numba": "vbfast.backends.numba.arrays",
    "cuda": "vbfast.backends.cuda.arrays",
}


def backend_names() -> tuple[str, ...]:
    """Names that :func:`get_backend` takes, the default first."""
    return (*_MODULES, *_REGISTERED)


def register_backend(name: str, create_backend: Callable[[], Backend]) -> None:
    """Make a backend known by a name, for :func:`vbfast.config_context`.

    Parameters
    ----------
    name : str
        Not one of the package's own.
    create_backend : callable
        Called once, when the backend is first used.

    Raises
    ------
    ValueError
        If the name is taken.
    """
    if name in backend_names():
        raise ValueError(f"there is a backend {name!r} already")
    _REGISTERED[name] = create_backend


def check_backend_name(name: Any) -> str:
    """Return ``name`` if it is a backend's, without importing the backend.

    Raises
    ------
    ValueError
        If it is not; the message lists the names.
    """
    if not isinstance(name, str) or name not in backend_names():
        known = ", ".join(repr(known_name) for known_name in backend_names())
        raise ValueError(f"backend must be one of {known}; got {name!r}")
    return name


@functools.cache
def get_backend(name: str) -> Backend:
    """Return the backend of that name, importing it on first use.

    Parameters
    ----------
    name : {'native', 'numba', 'reference', 'cuda'}

    Returns
    -------
    Backend

    Raises
    ------
    ValueError
        If there is no backend of that name.
    ImportError
        If what it needs is not installed.
    RuntimeError
        If it needs a device, and there is none.

    Examples
    --------
    >>> from vbfast.backends import get_backend
    >>> get_backend("reference").name
    'reference'
    """
    if check_backend_name(name) in _REGISTERED:
        return _REGISTERED[name]()
    return cast("Backend", importlib.import_module(_MODULES[name]).create_backend())


def backend_for(log_joint: LogJoint, name: str) -> Backend:
    """Return the backend of that name or, where it does not evaluate a log-joint, one that does.

    That is never 'cuda': a device is used where somebody asks for it.

    Parameters
    ----------
    log_joint : LogJoint
    name : {'native', 'numba', 'reference', 'cuda'}

    Returns
    -------
    Backend

    Raises
    ------
    NotImplementedError
        If none does.
    ImportError
        If what the backend of that name needs is not installed.
    RuntimeError
        If it needs a device, and there is none.
    """
    wanted = get_backend(name)
    if wanted.evaluates(log_joint):
        return wanted
    for other in backend_names():
        if other == "cuda":
            continue
        with contextlib.suppress(ImportError):
            backend = get_backend(other)
            if backend.evaluates(log_joint):
                return backend
    form, link = type(log_joint.form).__name__, type(log_joint.link).__name__
    raise NotImplementedError(f"no backend evaluates the form {form} under the link {link}")


@functools.cache
def get_array_functions(name: str) -> ModuleType:
    """Return the module that executes the array functions of a backend.

    Parameters
    ----------
    name : {'native', 'numba', 'reference', 'cuda'}

    Returns
    -------
    module
        With ``reduce_array``, ``map_array``, ``bound_terms`` and ``bound_and_gradients``, for which
        0 threads means as many as are in force.

    Raises
    ------
    ImportError
        If what the backend needs is not installed.
    RuntimeError
        If it needs a device, and there is none.
    """
    if name in ("numba", "cuda"):
        get_backend(name)  # says what is missing
    return importlib.import_module(_ARRAY_MODULES.get(name, "vbfast._vbfast"))
