"""What a benchmark ran on."""

from __future__ import annotations

import platform
from pathlib import Path

import numpy as np

__all__ = ["machine"]


def machine() -> str:
    """Return one line: processor, threads, instruction set, versions."""
    import scipy
    import sklearn

    import vbfast
    from vbfast.info import configuration

    return (
        f"{_processor()}, {vbfast.get_num_threads()} threads, {configuration()['simd']}; "
        f"vbfast {vbfast.__version__}, NumPy {np.__version__}, SciPy {scipy.__version__}, "
        f"scikit-learn {sklearn.__version__}, Python {platform.python_version()}"
    )


def _processor() -> str:
    name = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        pairs = (line.split(":", 1) for line in cpuinfo.read_text().splitlines() if ":" in line)
        fields = {key.strip(): value.strip() for key, value in pairs}
        name = fields.get("model name", name)
        if "cpu family" in fields:
            name += f" (family {fields['cpu family']}, model {fields['model']})"
    return name
