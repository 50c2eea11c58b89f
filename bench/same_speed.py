"""Seconds of this tree's fits and array functions as a multiple of another commit's.

Builds the other commit in a temporary worktree. Each build has a process of its own, and they take
turns: every round times both, in changing order, each for a while. The median of the rounds' ratios
is printed, with the quartiles; rows slower by more than 3 % are marked.

    python bench/same_speed.py            # changes that are not committed
    python bench/same_speed.py --commit HEAD~1 --rounds 15
"""

from __future__ import annotations

import argparse
import sys

import measure
from builds import Build, times_by_turns
from checkouts import ROOT, add_options, other_checkout

if __name__ == "__main__":
    measure.restart_without()

import numpy as np

DTYPES = ("float64", "float32")
ALLOWED = 1.03


def main() -> int:
    import array_peers
    from vbfast.benchmark.cases import CASES

    names = (*CASES, *array_peers.FUNCTIONS)
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_options(parser)
    parser.add_argument("--names", nargs="+", default=names, help="calls, as in bench/builds.py")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=0.2, help="of a turn, at least")
    parser.add_argument("--rows", type=int, default=0, help="fewer than the cases have")
    parser.add_argument("--backend", default="native")
    options = parser.parse_args()
    lines, slower = [], 0
    with other_checkout(options) as other:
        builds = [Build(ROOT), Build(other)]
        for dtype in DTYPES:
            for name in options.names:
                times = times_by_turns(
                    builds, name, dtype, options.rows, options.backend,
                    options.rounds, options.seconds,
                )  # fmt: skip
                low, ratio, high = np.quantile(times[:, 0] / times[:, 1], [0.25, 0.5, 0.75])
                slower += ratio > ALLOWED
                lines.append(
                    [name, dtype, f"{np.median(times[:, 0]):.5f}", f"{ratio:.3f}",
                     f"{low:.3f}-{high:.3f}", "slower" if ratio > ALLOWED else ""]
                )  # fmt: skip
        for build in builds:
            build.close()
    print(measure.Table(["case", "dtype", "seconds", "ratio", "quartiles", ""], lines))
    return 1 if slower else 0


if __name__ == "__main__":
    sys.exit(main())
