"""Count the instructions that a pass of EM takes for a row: a busy machine changes nothing.

The processor traps after every instruction of one ``EStep.run`` on one thread, and a handler counts
(x86-64, Linux; ``single_steps.c``). A row's are the difference of two passes that differ in their
rows, divided by that difference: what a pass does once falls out.

    python bench/instructions.py
    python bench/instructions.py --commit HEAD~1    # beside another commit, which is built
"""

from __future__ import annotations

import argparse
import ctypes
import itertools
import json
import os
import platform
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np

import measure
from checkouts import ROOT, add_options, environment, other_checkout

SIZES = ((2, 16), (8, 32), (16, 64), (64, 32))
TYPES = ("full", "tied", "diag", "spherical")
DTYPES = ("float64", "float32")
REPEATS, PAGE = 3, 4096
QUICK = {"D=2 K=16 diag float64", "D=2 K=16 full float32"}


def compiled(folder):
    """Return the counter, compiled into a folder."""
    library = Path(folder) / "single_steps.so"
    source = ROOT / "bench" / "single_steps.c"
    command = [os.environ.get("CC", "cc"), "-O2", "-shared", "-fPIC", str(source), "-o"]
    subprocess.run([*command, str(library)], check=True)
    counter = ctypes.PyDLL(str(library))  # which keeps the GIL: nothing else runs in between
    counter.end_counting.restype = ctypes.c_uint64
    return counter


def pass_instructions(counter, mixture, rows):
    """Return the instructions of the kernels' run in a fit of one iteration."""
    from vbfast.backends.native.passes import NativePass

    run, found = NativePass.run, []

    def counted(self, blocks, num_threads):
        blocks, kernels = list(blocks), self._estep.run
        if counter.begin_counting():
            raise OSError("cannot handle SIGTRAP")
        try:
            kernels(blocks, 1)
        finally:
            found.append(counter.end_counting())

    NativePass.run = counted
    try:
        mixture.fit(rows, callback=lambda _: False)  # watched, so that Python runs its passes
    finally:
        NativePass.run = run
    return found[0]


def aligned(rows):
    """Return the rows at the start of a page, so that their place decides nothing."""
    buffer = np.empty(rows.nbytes + PAGE, np.uint8)
    start = -buffer.ctypes.data % PAGE
    copy = buffer[start : start + rows.nbytes].view(rows.dtype).reshape(rows.shape)
    copy[...] = rows
    return copy


def row_instructions(counter, case, dtype, n_rows=None, repeats=REPEATS):
    """Return the instructions of a row: the least of some, as the interpreter's own vary."""
    import vbfast

    if n_rows is None:  # some hundred thousand steps, which take seconds
        n_rows = 128 if case.n_components * case.n_features**2 > 8192 else 512
    found = []
    for factor in (1, 2):
        larger = replace(case, n_samples=factor * n_rows)
        mixture = vbfast.GaussianMixture(**larger.start(), max_iter=1)
        rows = aligned(larger.rows(dtype))
        mixture.fit(rows)  # and its memory is there
        found.append(min(pass_instructions(counter, mixture, rows) for _ in range(repeats)))
    return (found[1] - found[0]) / n_rows


def counts(chosen):
    """Return the instructions a row of every case of this process's build."""
    import warnings

    import vbfast
    from vbfast.benchmark.cases import Case

    warnings.simplefilter("ignore")
    vbfast.set_num_threads(1)
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        counter = compiled(folder)
        for (D, K), kind, dtype in itertools.product(SIZES, TYPES, DTYPES):
            name = f"D={D} K={K} {kind} {dtype}"
            if chosen and name not in chosen:
                continue
            found[name] = row_instructions(counter, Case(name, 1, D, K, kind, 0.1), dtype)
    return found


def counts_of(source, level, quick):
    """Return the counts of a checkout or, without one, of the package in use.

    This script takes them in a process of its own.
    """
    command = [sys.executable, str(ROOT / "bench" / "instructions.py"), "--counts"]
    run = subprocess.run(
        [*command, *(["--quick"] if quick else [])],
        env=environment(source, level), cwd=source, check=True, capture_output=True, text=True,
    )  # fmt: skip
    return json.loads(run.stdout)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_options(parser)
    parser.set_defaults(commit=None)
    parser.add_argument("--level", help="the instruction set; that of this machine by default")
    parser.add_argument("--quick", action="store_true", help="two cases")
    parser.add_argument("--counts", action="store_true", help="print this process's counts")
    options = parser.parse_args()
    if sys.platform != "linux" or platform.machine() != "x86_64":
        raise SystemExit("single steps are counted on x86-64 and Linux")
    if options.counts:
        print(json.dumps(counts(QUICK if options.quick else None)))
        return
    header, theirs = ["case", "instructions a row"], None
    if not (options.commit or options.built):
        ours = counts_of(None, options.level, options.quick)
    else:
        with other_checkout(options) as other:
            ours = counts_of(ROOT, options.level, options.quick)
            theirs = counts_of(other, options.level, options.quick)
        header += [f"of {options.commit or options.built}", "ratio"]
    lines = []
    for name, count in ours.items():
        line = [name, f"{count:,.1f}"]
        if theirs:
            line += [f"{theirs[name]:,.1f}", f"{count / theirs[name]:.4f}"]
        lines.append(line)
    print(measure.Table(header, lines))


if __name__ == "__main__":
    main()
