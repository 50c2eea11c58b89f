"""Run all benchmark scripts and put their tables into README.md, between its markers.

``--quick`` prints tables of tiny sizes instead: it only shows that every script runs.
"""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
from pathlib import Path

import measure
from vbfast.benchmark.machine import machine

SCRIPTS = (
    "em_iteration",
    "demo_iteration",
    "initialisation",
    "array_functions",
    "numba_backend",
    "gradients",
    "vb_iteration",
    "acceleration",
    "gibbs",
    "thread_scaling",
    "memory",
)
README = Path(__file__).parent.parent / "README.md"


def main():
    chosen = measure.options(__doc__, scripts=list(SCRIPTS))
    measure.restart_without()
    for name in chosen.scripts:
        if chosen.quick:
            arguments = {} if name in ("acceleration", "gibbs", "memory") else {"repeats": 1}
            print(importlib.import_module(name).table(quick=True, **arguments), flush=True)
            continue
        # A process of its own: peak memory and the state of the heap belong to one script.
        script = Path(__file__).with_name(f"{name}.py")
        run = subprocess.run([sys.executable, script], check=True, capture_output=True, text=True)
        block = f"Measured on {machine()}.\n\n{run.stdout.strip()}"
        print(f"{name}: {block}\n", flush=True)
        text = README.read_text()
        marker = re.compile(f"(<!-- begin {name} -->\n).*?(<!-- end {name} -->)", re.DOTALL)
        README.write_text(marker.sub(lambda m, b=block: f"{m[1]}\n{b}\n\n{m[2]}", text))


if __name__ == "__main__":
    main()
