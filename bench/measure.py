"""What the benchmark scripts share: fair timing, tables, the name of the machine."""

from __future__ import annotations

import argparse
import os
import platform
import sys
import time
from pathlib import Path

import numpy as np


def restart_without(variable="OPENBLAS_CORETYPE"):
    """Run this script again without a variable that would slow NumPy's BLAS down."""
    if variable in os.environ:
        del os.environ[variable]
        os.execv(sys.executable, [sys.executable, *sys.argv])


def seconds(call):
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def alternate(calls, repeats):
    """Median seconds of each call. They take turns, so that all see the same machine."""
    times = [[seconds(call) for call in calls] for _ in range(repeats)]
    return np.median(times, axis=0)


def markdown(header, rows):
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def machine():
    """One line: processor, threads, instruction set, versions."""
    import scipy
    import sklearn

    import vbfast
    from vbfast.info import configuration

    name = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        fields = dict(
            line.split(":", 1) for line in cpuinfo.read_text().splitlines() if ":" in line
        )
        fields = {key.strip(): value.strip() for key, value in fields.items()}
        name = fields.get("model name", name)
        if "cpu family" in fields:
            name += f" (family {fields['cpu family']}, model {fields['model']})"
    return (
        f"{name}, {vbfast.get_num_threads()} threads, {configuration()['simd']}; "
        f"vbfast {vbfast.__version__}, NumPy {np.__version__}, SciPy {scipy.__version__}, "
        f"scikit-learn {sklearn.__version__}, Python {platform.python_version()}"
    )


def options(description, **defaults):
    """Parse ``--quick`` (small sizes, only to see that the script runs) and the given defaults."""
    parser = argparse.ArgumentParser(description=description.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    for name, value in defaults.items():
        if isinstance(value, bool):
            parser.add_argument(f"--{name.replace('_', '-')}", action="store_true")
        elif isinstance(value, list):
            parser.add_argument(f"--{name}", nargs="+", default=value)
        else:
            parser.add_argument(f"--{name}", type=type(value), default=value)
    return parser.parse_args()
