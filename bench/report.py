"""Run all benchmark scripts and write docs/benchmarks.md, and the README's table and figure.

The page is of one run: no table is taken again by itself. ``--only NAME ...`` prints the sections
of these scripts and writes nothing. ``--quick`` runs everything at tiny sizes and writes the page
to a temporary file: it shows that every script runs.

``batches.py``, ``checkpoints.py``, ``cluster.py``, ``cuda.py``, ``denoising.py``,
``evidence_curves.py``, ``from_disk.py``, ``instructions.py``, ``kmeans.py``, ``published.py``,
``scaling.py``, ``shapes.py``, ``small_fits.py``, ``streaming.py``, ``time_to_solution.py`` and
``truncated.py`` are no sections of the page.
"""

from __future__ import annotations

import argparse
import datetime as dt
import importlib
import inspect
import os
import re
import tempfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import measure

if __name__ == "__main__":
    measure.restart_without()

from vbfast.benchmark.machine import machine
from vbfast.benchmark.timing import seconds

# Each script and the heading of its section.
SECTIONS = {
    "at_a_glance": "At a glance",
    "em_iteration": "An EM iteration",
    "demo_iteration": "An EM iteration of the demo's full data",
    "vb_iteration": "A variational Bayes iteration",
    "initialisation": "The start of a fit",
    "thread_scaling": "One thread and two",
    "memory": "Memory",
    "array_functions": "Array functions",
    "gradients": "Gradients of the evidence",
    "acceleration": "Accelerated fits",
    "gibbs": "Variational Bayes and Gibbs sampling",
    "sampling": "Samples",
    "numba_backend": "The numba backend",
    "blocking": "Blocking",
    "kernel_parts": "Parts of a kernel",
}
# Options of a script that has more to hand over than tables; paths are from the root.
OPTIONS = {
    "at_a_glance": {"json_file": "docs/at_a_glance.json", "figure": "docs/at_a_glance.png"},
    "gibbs": {"output": "docs/gibbs.png"},
}
ROOT = Path(__file__).parent.parent
PAGE, README = ROOT / "docs" / "benchmarks.md", ROOT / "README.md"
PREFACE = """\
# Benchmarks

`python bench/report.py` writes this page, and its first table into the README: all numbers are of
that one run. Each section names the script's command, how long it took, and the machine. Other
libraries and vbfast take turns, on as many threads: machines are shared, and a busy neighbour slows
a core down by up to a half. A speed-up below one means that vbfast is slower, and says so.
"""


@dataclass(frozen=True)
class Section:
    """A section of the page.

    Attributes
    ----------
    heading : str
    method : str
        How things are measured: the script's docstring.
    results : str
        The command, when and where it ran, and the blocks that the script returned.
    """

    heading: str
    method: str
    results: str

    def __str__(self):
        return f"## {self.heading}\n\n{self.method}\n\n{self.results}\n"


def run(name, options, *, quick=False):
    """Run a script and return its section."""
    module = importlib.import_module(name)
    arguments = measure.quick_arguments(module.tables) if quick else options
    blocks = []
    took = seconds(lambda: blocks.extend(map(str, module.tables(**arguments))))
    written = (f"--{option.replace('_', '-')} {value}" for option, value in options.items())
    command = " ".join([f"python bench/{name}.py", *written])
    origin = f"`{command}`: {took:.0f} s on {dt.date.today()}, on {machine()}."
    method = inspect.getdoc(module).replace("``", "`")
    return Section(SECTIONS[name], method, "\n\n".join([origin, *blocks]))


def with_results(readme, results):
    """Return the README with other results between its markers; pictures lie in docs/."""
    results = re.sub(r"\]\((?=[\w-]+\.png\))", "](docs/", results)
    marked = re.compile(r"(<!-- begin at_a_glance -->).*(<!-- end at_a_glance -->)", re.DOTALL)
    text, n = marked.subn(lambda match: f"{match[1]}\n\n{results}\n\n{match[2]}", readme)
    if n != 1:
        raise ValueError("README.md has no place for the table")
    return text


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", choices=SECTIONS, metavar="NAME")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--onedal-python", help="an interpreter that has daal4py")
    chosen = parser.parse_args()
    os.chdir(ROOT)
    if chosen.onedal_python:
        OPTIONS["at_a_glance"]["onedal_python"] = chosen.onedal_python
    sections = {}
    for name in chosen.only or SECTIONS:
        # A process of its own: peak memory and the state of the heap belong to one script.
        call = partial(run, quick=True) if chosen.quick else partial(measure.fresh, run)
        sections[name] = call(name, {} if chosen.only else OPTIONS.get(name, {}))
        print(sections[name], flush=True)
    if chosen.only:
        return
    page = "\n".join([PREFACE, *map(str, sections.values())])
    readme = with_results(README.read_text(), sections["at_a_glance"].results)
    if chosen.quick:
        with tempfile.NamedTemporaryFile("w", suffix=".md", delete=False) as file:
            file.write(page)
        print(f"wrote {file.name}")
    else:
        PAGE.write_text(page)
        README.write_text(readme)


if __name__ == "__main__":
    main()
