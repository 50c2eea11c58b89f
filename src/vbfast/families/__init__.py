"""Component families: their parameters, the kernel layout of those, and the global step."""

from __future__ import annotations

from vbfast.families.custom import Custom

__all__ = ["Custom"]
