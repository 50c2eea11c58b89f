"""Check what ptxas says of the kernels: no spills, and no more registers and memory than stated.

    python tests/build/check_ptxas.py LOG

LOG is what `cmake --build --preset cuda` printed. Sizes of blocks and tiles were chosen for these
limits: a kernel that needs more has fewer blocks at work at a time, or does not start.
"""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

# The first pattern that is found in a kernel's name, without namespaces and arguments: the most
# registers of a thread, and the most bytes of shared memory that its source declares. What a launch
# asks for is not among them.
LIMITS = [
    (r"^apply_factor<", 80, 0),  # six blocks of 128 threads at a time
    # Three blocks of 128 threads; of distances, which need most of their memory, one of 256.
    (r"^(distances<double|(first|second)_moments<|moment_products<double>)", 168, 0),
    (r"^moment_products<float>", 232, 0),  # two blocks of 128 threads, with 128 sums each
    # Array functions whose elements are mapped from registers: a block of 256, or three of 128.
    (r"^reduce_blocks<.*Map<", 184, 0),
    (r"^reduce_lanes<.*Map<", 168, 0),
    (r"", 128, 16 << 10),
]

KERNEL = re.compile(r"Compiling entry function '(\w+)' for '(\w+)'")
SPILLS = re.compile(r"(\d+) bytes spill stores, (\d+) bytes spill loads")
USED = re.compile(r"Used (\d+) registers")
SHARED = re.compile(r"(\d+) bytes smem")


@dataclass
class Kernel:
    """What ptxas says of a kernel for an architecture."""

    symbol: str
    architecture: str
    spills: int = 0
    registers: int = 0
    shared_bytes: int = 0


def read_kernels(log):
    """Return the kernels of a log, in its order."""
    kernels = []
    for line in log.splitlines():
        if "ptxas" not in line and "spill" not in line:
            continue
        if found := KERNEL.search(line):
            kernels.append(Kernel(*found.groups()))
        elif not kernels:
            continue
        elif found := SPILLS.search(line):  # also of functions that the kernel calls
            kernels[-1].spills += int(found[1]) + int(found[2])
        elif found := USED.search(line):
            kernels[-1].registers = int(found[1])
            if found := SHARED.search(line):
                kernels[-1].shared_bytes = int(found[1])
    return kernels


def readable_names(symbols):
    """Return symbols as they are written in C++, without namespaces and arguments."""
    output = subprocess.run(
        ["c++filt"], input="\n".join(symbols), capture_output=True, text=True, check=True
    ).stdout
    output = re.sub(r"^void |\(anonymous namespace\)::|\w+::", "", output, flags=re.MULTILINE)
    output = re.sub(r"\(\w+\)(?=\d)", "", output)  # what a number of an enum begins with
    return [name.partition("(")[0] for name in output.splitlines()]


def find_excesses(kernels, names, limits=LIMITS):
    """Return a line for each kernel and what it has too much of."""
    wrong = []
    for kernel, name in zip(kernels, names, strict=True):
        registers, shared_bytes = next(
            most for pattern, *most in limits if re.search(pattern, name)
        )
        for what, has, most in (
            ("bytes of spills", kernel.spills, 0),
            ("registers", kernel.registers, registers),
            ("bytes of static shared memory", kernel.shared_bytes, shared_bytes),
        ):
            if has > most:
                wrong.append(f"{name} for {kernel.architecture}: {has} {what}, at most {most}")
    return wrong


def main(path):
    """Check a log; return the exit status."""
    kernels = read_kernels(Path(path).read_text())
    if not kernels:
        print(f"{path} has nothing of ptxas", file=sys.stderr)
        return 1
    wrong = find_excesses(kernels, readable_names([kernel.symbol for kernel in kernels]))
    print(*wrong, sep="\n", end="\n" if wrong else "", file=sys.stderr)
    architectures = sorted({kernel.architecture for kernel in kernels})
    print(f"{len(kernels)} kernels for {', '.join(architectures)}: {len(wrong)} beyond the limits")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
