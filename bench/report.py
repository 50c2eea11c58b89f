"""Run all benchmark scripts and write docs/benchmarks.md, and with it the README's table.

The page is of one run: no table is taken again by itself. ``--only NAME ...`` prints the sections
of these scripts and writes nothing. ``--quick`` runs everything at tiny sizes and writes the page
to a temporary file: it shows that every script runs.
"""

from __future__ import annotations

import argparse
import datetime as dt
import importlib
import inspect
import re
import tempfile
from dataclasses import dataclass
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
    "numba_backend": "The numba backend",
    "kernel_parts": "Parts of a kernel",
}
ROOT = Path(__file__).parent.parent
PAGE, README = ROOT / "docs" / "benchmarks.md", ROOT / "README.md"
PREFACE = """\
# Benchmarks

`python bench/report.py` writes this page, and its first table into the README: all numbers are of
that one run. It runs each script without options, and each section names its command, how long that
took, and the machine. Other libraries and vbfast take turns, on as many threads: machines are
shared, and a busy neighbour slows a core down by up to a half. A speed-up below one means that
vbfast is slower, and says so.
"""


@dataclass(frozen=True)
class Section:
    """What a script measured: its docstring, and the blocks of Markdown that it returned."""

    name: str
    text: str
    blocks: list[str]

    def markdown(self, origin):
        """Return the section; ``origin`` says where the numbers come from."""
        return "\n\n".join([f"## {SECTIONS[self.name]}", self.text, origin, *self.blocks])


def run(name, quick):
    """Run a script and return its section."""
    module = importlib.import_module(name)
    arguments = measure.quick_arguments(module.tables) if quick else {}
    blocks = [str(block) for block in module.tables(**arguments)]
    return Section(name, inspect.getdoc(module).replace("``", "`"), blocks)


def timed_section(name, *, quick):
    """Run a script, unless it is quick in a process of its own, and return its section's text."""
    sections = []
    took = seconds(
        lambda: sections.append(run(name, quick) if quick else measure.fresh(run, name, quick))
    )
    [section] = sections
    origin = f"`python bench/{name}.py`: {took:.0f} s on {dt.date.today()}, on {machine()}."
    return section, section.markdown(origin)


def with_table(readme, table):
    """Return the README with another table between its markers."""
    marked = re.compile(r"(<!-- begin at_a_glance -->\n).*?(\n<!-- end at_a_glance -->)", re.DOTALL)
    text, n = marked.subn(lambda match: match[1] + table + match[2], readme)
    if n != 1:
        raise ValueError("README.md has no place for the table")
    return text


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", choices=SECTIONS, metavar="NAME")
    parser.add_argument("--quick", action="store_true")
    chosen = parser.parse_args()
    texts, glance = [], None
    for name in chosen.only or SECTIONS:
        section, text = timed_section(name, quick=chosen.quick)
        print(text, end="\n\n", flush=True)
        texts.append(text)
        if name == "at_a_glance":
            glance = section.blocks[0]
    if chosen.only:
        return
    page = "\n".join([PREFACE, *(f"{text}\n" for text in texts)])
    readme = with_table(README.read_text(), glance)
    if chosen.quick:
        with tempfile.NamedTemporaryFile("w", suffix=".md", delete=False) as file:
            file.write(page)
        print(f"wrote {file.name}")
    else:
        PAGE.write_text(page)
        README.write_text(readme)


if __name__ == "__main__":
    main()
