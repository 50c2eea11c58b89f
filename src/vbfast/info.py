"""What this installation is and runs on."""

from __future__ import annotations

from typing import Any

from vbfast import _vbfast
from vbfast.backends import backend_names
from vbfast.config.settings import current_backend, get_num_threads

__all__ = ["configuration", "show_config"]


def configuration() -> dict[str, Any]:
    """Return version, build, instruction sets, threads and backends.

    Returns
    -------
    dict
        Keys ``version``, ``build_type``, ``sanitizers``, ``compiler``, ``simd`` (in use),
        ``simd_available``, ``simd_built``, ``num_threads``, ``available_threads``, ``backend`` and
        ``backends``.
    """
    return {
        **_vbfast.build_info(),
        "num_threads": get_num_threads(),
        "available_threads": _vbfast.available_threads(),
        "backend": current_backend(),
        "backends": list(backend_names()),
    }


def show_config() -> None:
    """Print version, build, instruction sets, threads and backends, one line an entry.

    Examples
    --------
    >>> import vbfast
    >>> vbfast.show_config()  # doctest: +ELLIPSIS
    version            ...
    """
    for key, value in configuration().items():
        text = ", ".join(map(str, value)) if isinstance(value, list) else value
        print(f"{key:18s} {text}")
