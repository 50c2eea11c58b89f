"""Where compiled kernels are kept, and when they are stale.

numba looks at the file of a kernel alone, while kernels are compiled together with those that they
call and with constants of other modules. Here all source files of the package decide, and its
version where there are none.
"""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path
from typing import Any

from numba.core.caching import CompileResultCacheImpl, FunctionCache

import vbfast

__all__ = ["PackageCache"]


@functools.cache
def package_stamp() -> str:
    """Return a hash of the package's version and sources."""
    found = hashlib.sha256(vbfast.__version__.encode())
    home = Path(vbfast.__file__).parent
    for path in sorted(home.rglob("*.py")):
        found.update(str(path.relative_to(home)).encode())
        found.update(path.read_bytes())
    return found.hexdigest()


class _StampedWithPackage(CompileResultCacheImpl):  # type: ignore[misc]
    """The place of a kernel's code, which is stale once the package has changed."""

    def __init__(self, function: Any) -> None:
        super().__init__(function)
        of_file = self.locator.get_source_stamp
        self.locator.get_source_stamp = lambda: (of_file(), package_stamp())


class PackageCache(FunctionCache):  # type: ignore[misc]
    """What numba keeps machine code of a kernel in; one that is stale is compiled anew."""

    _impl_class = _StampedWithPackage
