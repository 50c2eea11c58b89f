"""Milliseconds that the first use of a name adds to what its users have imported already.

A fresh interpreter imports the others first; the times that ``-X importtime`` gives for all modules
after that are added up. The least of several interpreters is printed. The first one compiles the
modules to bytecode, as pip does when it installs a package.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile

import measure

# What is imported already, and what is used first.
USES = {"logsumexp": "numpy", "GaussianMixture": "sklearn.mixture"}


def time_first_use(name: str, imported: str, bytecode: str) -> tuple[float, int]:
    """Return milliseconds, and the number of modules."""
    code = f"import {imported}\nimport vbfast\nvbfast.{name}"
    command = [sys.executable, "-X", "importtime", "-c", code]
    environment = {**os.environ, "PYTHONPYCACHEPREFIX": bytecode, "PYTHONDONTWRITEBYTECODE": ""}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    lines = [line.removeprefix("import time:").split("|") for line in done.stderr.splitlines()]
    modules = [fields[-1].strip() for fields in lines]
    added = [int(fields[0]) for fields in lines[modules.index(imported) + 1 :]]
    return sum(added) / 1e3, len(added)


def tables(names=tuple(USES), *, repeats=10, quick=False):
    lines = []
    with tempfile.TemporaryDirectory() as bytecode:
        for name in names:
            runs = range(1 if quick else repeats + 1)
            milliseconds, modules = min(time_first_use(name, USES[name], bytecode) for _ in runs)
            lines.append([name, USES[name], f"{milliseconds:.1f}", str(modules)])
    return [measure.Table(["name", "imported before", "ms", "modules"], lines)]


if __name__ == "__main__":
    measure.run_script(tables)
