"""The pool of threads as threadpoolctl sees it, which joblib and scikit-learn limit pools with."""

from __future__ import annotations

import threadpoolctl

from vbfast._version import __version__

__all__ = ["register_pool"]


class PoolController(threadpoolctl.LibController):  # type: ignore[misc]
    """Finds the extension module among the loaded libraries by the two symbols that it exports."""

    user_api = "vbfast"
    internal_api = "vbfast"
    filename_prefixes = ("_vbfast",)
    check_symbols = ("vbfast_get_num_threads", "vbfast_set_num_threads")

    def get_num_threads(self) -> int:
        """Return the number of threads that a pass started now would use."""
        return int(self.dynlib.vbfast_get_num_threads())

    def set_num_threads(self, num_threads: int) -> None:
        """Set it for the process."""
        self.dynlib.vbfast_set_num_threads(num_threads)

    def get_version(self) -> str:
        """Return the version of the package."""
        return __version__


def register_pool() -> None:
    """Make the pool known to threadpoolctl."""
    threadpoolctl.register(PoolController)
