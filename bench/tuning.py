"""What the numbers of csrc/runtime/tuning.h are worth: times with other values, as multiples.

Builds of copies of this tree take turns. One copy reads numbers from its environment; those that
are lengths of arrays, or decide what is compiled, have copies of their own. The calls are those in
which a number matters, named as in bench/builds.py. Printed are the medians of the rounds' ratios:
above one, the value that stands in the file is the faster one. Other blocks sum in another order;
no result is compared here.

    python bench/tuning.py --names half_of_l2 --rounds 15
    python bench/tuning.py --folder /tmp/tuning --build    # builds only, which the next call finds
    python bench/tuning.py --folder /tmp/tuning
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import measure
from builds import Build, times_by_turns
from checkouts import ROOT

if __name__ == "__main__":
    measure.restart_without()

import numpy as np

HEADER = Path("csrc/runtime/tuning.h")
DTYPES = ("float64", "float32")
SEARCHES = ("kmeans 100000x16x64", "kmeans 50000x64x256", "kmeans 100000x12x1000")
# A number, other values, and the calls in which it matters.
TUNED = {
    "half_of_l2": (
        ("128 << 10", "512 << 10"),
        (
            "diag_bigK",
            "full_64",
            "full_256",
            "sph_bigK",
            "gradient-in-x diag_bigK",
            "linear 20000x2000x32",
            "kmeans 50000x64x1000",
        ),
    ),
    "third_of_l1": (
        ("6 << 10", "24 << 10"),
        ("full_16", "diag_32", "gradient-in-x diag_32", "kmeans 300000x6x64"),
    ),
    "visited_joint": (
        ("32 << 10", "128 << 10"),
        ("full_2d", "full_16", "diag_32", "kmeans 300000x6x64"),
    ),
    "dense_panel": (("12 << 10", "40 << 10"), ("full_2d", "full_16", "diag_32")),
    "gathered_panel": (("20 << 10", "80 << 10"), ("full_64", "full_256")),
    "linear_features": (("32", "128"), ("linear 100000x256x64", "linear 20000x2000x32")),
    "largest_dense_full": (
        ("16", "32"),
        ("fit full 100000x20x32", "fit full 100000x24x32", "fit full 50000x28x32"),
    ),
    "smallest_sparse": (
        ("6", "14"),
        ("separated full 100000x10x16", "separated full 100000x14x16"),
    ),
    "sparse_per_mille": (
        ("12", "50"),
        (
            "separated full 100000x12x16",
            "separated full 100000x24x16",
            "fit full 100000x16x64",
            "fit full 100000x24x32",
        ),
    ),
    "panel_components": (
        ("0", "8"),
        ("separated full 100000x16x4", "separated full 100000x20x4", "fit full 100000x24x4"),
    ),
    "largest_scatter_in_lanes": (("12", "40"), ("fit tied 100000x16x8", "fit tied 100000x32x8")),
    "smallest_gathered_gradient": (
        ("17", "41"),
        ("gradient-in-x full 50000x20x16", "gradient-in-x full 50000x32x16"),
    ),
    "smallest_kept": (
        ("64", "256"),
        ("gradient-in-x full 20000x96x4", "gradient-in-x full 10000x160x4"),
    ),
    "largest_kept": (
        ("1 << 20", "16 << 20"),
        ("gradient-in-x full 10000x160x8", "gradient-in-x full 5000x256x16"),
    ),
    "early_exit_factor": (("64", "1024"), ("full_16", "full_64")),
    "unrolled_features": (("2", "8"), ("kmeans 300000x3x16", "kmeans 300000x6x16")),
    "fewest_operations": (("250", "1000"), (*SEARCHES, "kmeans 100000x16x32")),
    "fewest_features": (("8", "24"), ("kmeans 100000x10x256", "kmeans 100000x16x256")),
    "most_groups": (("6",), SEARCHES),
    "search_batch": (("128", "512"), SEARCHES),
    "search_row_operations": (("750", "3000"), SEARCHES),
    "search_range": (("128 << 10", "512 << 10"), SEARCHES),
    "row_chunk": (("1024", "4096"), ("logsumexp", "softmax, out=", "entropy")),
    "column_width": (("128", "512"), ("logsumexp, axis 0",)),
    "column_chunk": (("32", "128"), ("logsumexp, axis 0",)),
    "block_elements": (("1 << 14", "1 << 16"), ("logsumexp", "softmax, out=", "entropy")),
    "non_temporal_bytes": (("1 << 22", "1ll << 40"), ("softmax, out=", "log_softmax, out=")),
    "thread_operations": (
        ("1 << 18", "1 << 20"),
        ("fit diag 500x8x4", "fit full 1000x4x4", "fit full 300x16x8"),
    ),
    "partitions_a_thread": (("2", "32"), ("full_2d", "diag_32", "sph_bigK")),
    "task_draws": (("1 << 13", "1 << 16"), ("sample full 100000x16x8",)),
    "gradient_scratch": (("1 << 18", "1 << 22"), ("gradient full 2000x64x64",)),
}


# These are lengths of arrays, or decide what is compiled.
COMPILED = (
    "third_of_l1",
    "unrolled_features",
    "most_groups",
    "search_batch",
    "row_chunk",
    "column_width",
    "column_chunk",
)
# What a copy has that reads the others.
READ = """
#include <cstdlib>

namespace vbfast::tuning {
static inline std::int64_t read(const char* name, std::int64_t otherwise) {
    const char* text = std::getenv(name);
    return text == nullptr ? otherwise : std::strtoll(text, nullptr, 10);
}
}  // namespace vbfast::tuning
"""
PREFIX = "VBFAST_TUNING_"


def definition(name):
    """Return the pattern of a number's definition: what stands before it, and its value."""
    return rf"(constexpr [\w:]+ {name} = )([^;]+)(?=;)"


def number(value):
    """Return the number that an expression of C++ says."""
    return int(eval(value.replace("ll", "")))


def variants_of(names):
    """Return dictionaries of changed numbers, a copy of the tree each.

    Numbers that no kind of call has in common are changed together: a build takes longer than the
    calls.
    """
    variants = []
    for name in names:
        kinds = {call.split()[0] for call in TUNED[name][1]}
        for value in TUNED[name][0]:
            for changes, taken in variants:
                if not kinds & taken:
                    changes[name] = value
                    taken |= kinds
                    break
            else:
                variants.append(({name: value}, set(kinds)))
    return [changes for changes, _ in variants]


def make_copy(folder, changes, read=()):
    """Return a copy of the tree with other values of some numbers, built unless it is there.

    It reads the numbers ``read`` from its environment.
    """
    described = json.dumps([changes, list(read)], sort_keys=True)
    tree = folder / hashlib.sha1(described.encode()).hexdigest()[:12]
    if (tree / "built").exists():
        return tree
    listed = ["git", "-C", str(ROOT), "ls-files", "--cached", "--others", "--exclude-standard"]
    for path in subprocess.run(listed, check=True, capture_output=True, text=True).stdout.split():
        (tree / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / path, tree / path)
    text = (tree / HEADER).read_text()
    for name, value in changes.items():
        text, found = re.subn(definition(name), rf"\g<1>{value}", text)
        assert found == 1, name
    for name in read:
        reading = rf'static const std::int64_t {name} = read("{PREFIX}{name}", \2)'
        text, found = re.subn(definition(name), reading, text)
        assert found == 1, name
    if read:
        text = text.replace("#include <cstdint>\n", f"#include <cstdint>\n{READ}", 1)
    (tree / HEADER).write_text(text)
    for step in (["--preset", "dev"], ["--build", "--preset", "dev", "--target", "_vbfast"]):
        subprocess.run(["cmake", *step], cwd=tree, check=True, stdout=subprocess.DEVNULL)
    (tree / "built").touch()
    return tree


def value_of(name):
    """Return a number as it stands in the file."""
    return re.search(definition(name), (ROOT / HEADER).read_text())[2]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--names", nargs="+", default=list(TUNED), choices=TUNED)
    parser.add_argument("--folder", type=Path, help="for the builds, which are kept there")
    parser.add_argument("--build", action="store_true", help="builds only")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=0.1, help="of a turn, at least")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        read = [name for name in TUNED if name not in COMPILED]
        reading = make_copy(folder, {}, read)
        compiled = [name for name in options.names if name in COMPILED]
        own = make_copy(folder, {}) if compiled else None
        copies = {}
        for changes in variants_of(compiled):
            tree = make_copy(folder, changes)
            copies.update(dict.fromkeys(changes.items(), tree))
        if options.build:
            return
        print("| number | value | other value | call | float64 | float32 |\n|" + " --- |" * 6)
        for name in options.names:
            values = TUNED[name][0]
            if name in compiled:
                builds = [Build(tree) for tree in (own, *(copies[name, value] for value in values))]
            else:
                variables = [{}, *({PREFIX + name: str(number(value))} for value in values)]
                builds = [Build(reading, changed) for changed in variables]
            print_ratios(name, builds, options)


def print_ratios(name, builds, options):
    """Print a line for each call and other value."""
    for call in TUNED[name][1]:
        ratios = []
        for dtype in DTYPES:
            times = times_by_turns(
                builds, call, dtype, 0, "native", options.rounds, options.seconds
            )
            ratios.append(np.median(times[:, 1:] / times[:, :1], axis=0))
        for value, double, single in zip(TUNED[name][0], *ratios, strict=True):
            cells = [name, value_of(name), value, call, f"{double:.2f}", f"{single:.2f}"]
            print("| " + " | ".join(cells) + " |", flush=True)
    for build in builds:
        build.close()


if __name__ == "__main__":
    sys.exit(main())
