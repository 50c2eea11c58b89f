"""Where compiled kernels are kept, and when they are stale.

numba looks at the file of a kernel alone, while kernels are compiled together with those that they
call and with constants of other modules. Here all files decide that kernels come from, and the
package's version.
"""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path
from typing import Any

from numba.core.caching import CompileResultCacheImpl, FunctionCache

from vbfast._version import __version__

__all__ = ["PackageCache"]


@functools.cache
def package_stamp() -> str:
    """Return a hash of the package's version and of the sources of its kernels."""
    found = hashlib.sha256(__version__.encode())
    beside = sorted(Path(__file__).parent.glob("*.py"))
    for path in beside:
        found.update(path.name.encode())
        found.update(path.read_bytes())
    return found.hexdigest()


class _StampedWithPackage(CompileResultCacheImpl):  # type: ignore[misc]
    """The place of a kernel's code, which is stale once one of the sources has changed."""

    def __init__(self, function: Any) -> None:
        super().__init__(function)
        of_file = self.locator.get_source_stamp
        self.locator.get_source_stamp = lambda: (of_file(), package_stamp())


class PackageCache(FunctionCache):  # type: ignore[misc]
    """What numba keeps machine code of a kernel in; one that is stale is compiled anew."""

    _impl_class = _StampedWithPackage
