"""Number of threads and backend: process-wide defaults, and overrides for a block of code."""

from __future__ import annotations

import contextlib
import functools
import importlib
import operator
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass, replace
from types import ModuleType
from typing import TYPE_CHECKING

from vbfast.backends import DEFAULT_BACKEND, check_backend_name, get_backend
from vbfast.config.threadpool import register_pool

if TYPE_CHECKING:
    from vbfast.contract import LinearAlgebra

register_pool()

# More would be a mistake, and the pool counts in ints.
MOST_THREADS = 1 << 16


@dataclass(frozen=True)
class _Overrides:
    num_threads: int | None = None
    backend: str | None = None


_overrides: ContextVar[_Overrides | None] = ContextVar("vbfast_config", default=None)
current_overrides = _overrides.get  # for calls so short that a function of Python's would show


@functools.cache  # array functions ask at every call
def _thread_pool() -> ModuleType | None:
    """Return the extension module, which owns the pool; ``None`` where it is not built."""
    try:
        return importlib.import_module("vbfast._vbfast")
    except ModuleNotFoundError:
        return None


def _check_num_threads(num_threads: int, *, lowest: int) -> int:
    try:
        number = operator.index(num_threads)
    except TypeError:
        raise TypeError(
            f"num_threads must be an integer; got {num_threads!r} of type "
            f"{type(num_threads).__name__}"
        ) from None
    if number < lowest:
        raise ValueError(f"num_threads must be at least {lowest}; got {number}")
    if number > MOST_THREADS:
        raise ValueError(f"num_threads must be at most {MOST_THREADS}; got {number}")
    return number


def set_num_threads(num_threads: int) -> None:
    """Set how many threads passes use in this process.

    Parameters
    ----------
    num_threads : int
        At least 1; 0 goes back to the default: ``VBFAST_NUM_THREADS``, else ``OMP_NUM_THREADS``,
        else what the process's affinity and control group allow. A call starts no more than the
        machine has processors, or than 64 where those are fewer.

    Raises
    ------
    TypeError, ValueError
        If it is not a non-negative integer.

    See Also
    --------
    config_context : The same for a block of code.

    Examples
    --------
    >>> import vbfast
    >>> vbfast.set_num_threads(1)
    >>> vbfast.get_num_threads()
    1
    >>> vbfast.set_num_threads(0)
    """
    number = _check_num_threads(num_threads, lowest=0)
    pool = _thread_pool()
    if pool is None:
        raise ImportError("the number of threads needs the extension module, which is not built")
    pool.set_num_threads(number)


def get_num_threads() -> int:
    """Return how many threads a pass started now would use.

    Returns
    -------
    int
        The value of the surrounding :func:`config_context`, else of :func:`set_num_threads` (or
        threadpoolctl), else the default.

    Examples
    --------
    >>> import vbfast
    >>> with vbfast.config_context(num_threads=2):
    ...     vbfast.get_num_threads()
    2
    """
    overrides = _overrides.get()
    if overrides is not None and overrides.num_threads is not None:
        return overrides.num_threads
    pool = _thread_pool()
    return 1 if pool is None else int(pool.get_num_threads())


current_num_threads = get_num_threads  # the name that it has inside the package


def current_backend() -> str:
    """Return the name of the backend that a pass started now would use."""
    overrides = _overrides.get()
    if overrides is not None and overrides.backend is not None:
        return overrides.backend
    return DEFAULT_BACKEND


def current_linalg() -> LinearAlgebra:
    """Return the linear algebra of the backend in use, on the number of threads in use."""
    return get_backend(current_backend()).linalg(current_num_threads())


@contextlib.contextmanager
def config_context(*, num_threads: int | None = None, backend: str | None = None) -> Iterator[None]:
    """Use another number of threads or another backend within a ``with`` block.

    Holds in the calling thread (and asynchronous task) only. Blocks nest.

    Parameters
    ----------
    num_threads : int, optional
        At least 1; ``None`` leaves it as it is.
    backend : {'native', 'numba', 'reference', 'cuda'}, optional
        Of the estimators and of the array functions; ``None`` leaves it as it is. 'numba' takes
        the extra ``vbfast[numba]``, 'cuda' a GPU and a build for it. 'reference' and 'cuda' have
        no array functions of their own: they are the native ones then.

    Raises
    ------
    TypeError, ValueError
        If ``num_threads`` is not a positive integer or there is no such backend.

    Examples
    --------
    >>> import vbfast
    >>> with vbfast.config_context(num_threads=1):
    ...     pass
    """
    overrides = _overrides.get() or _Overrides()
    if num_threads is not None:
        overrides = replace(overrides, num_threads=_check_num_threads(num_threads, lowest=1))
    if backend is not None:
        overrides = replace(overrides, backend=check_backend_name(backend))
    token = _overrides.set(overrides)
    try:
        yield
    finally:
        # A block that an interruption left unfinished may be closed after its context is gone.
        with contextlib.suppress(ValueError):
            _overrides.reset(token)
