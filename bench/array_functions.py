"""Nanoseconds an element of the array functions, ours and other libraries', taking turns.

On a log-joint of 200,000 x 256; "out=" writes into memory that is there already, the others into
new arrays. After a call that is not timed, calls are repeated for 0.3 s before the next library has
its turn, and the median of such rounds is printed. Reading has its turn, too: the inputs' largest
elements by NumPy on all threads, about the time to read them once. After it, microseconds of a call
on 10 elements. A dash: the library is not installed, or has no such function (numba's are loops of
ours, none of them along the first axis).
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import measure

if __name__ == "__main__":
    measure.restart_without()

import numpy as np

import vbfast
from array_peers import FUNCTIONS, MAKERS, Inputs, installed
from vbfast.benchmark.timing import seconds

DTYPES = ("float64", "float32")
TWO_INPUTS = ("elbo, q logits", "elbo_and_grad, out=", "elbo_and_grad")


def reading(pool, arrays):
    """Return a call that reads the arrays with all threads: their largest elements, by pieces."""
    n_pieces = 8 * vbfast.get_num_threads()
    pieces = [piece for a in arrays for piece in np.array_split(a.reshape(-1), n_pieces)]
    return lambda: list(pool.map(np.max, pieces))


def cells(calls, function, results):
    """One result a library, in the order of MAKERS."""
    names = [name for name in calls if function in calls[name]]
    of_library = dict(zip(names, results, strict=True))
    return [of_library.get(name, "-") for name in MAKERS]


def median_seconds(calls, repeats, round_seconds):
    """Median seconds of each call, over rounds that take turns; a turn goes on for a while."""
    numbers = []
    for call in calls:
        call()  # compiles, and loads what it needs
        numbers.append(max(1, round(round_seconds / seconds(call))))
    times = [
        [measure.warm_seconds(call, number) for call, number in zip(calls, numbers, strict=True)]
        for _ in range(repeats)
    ]
    return np.median(times, axis=0)


def large(pool, functions, shape, repeats, round_seconds):
    lines = []
    for dtype in DTYPES:
        inputs = Inputs.draw(*shape, dtype)
        calls = {name: MAKERS[name](inputs) for name in installed()}
        size = inputs.log_joint.size
        for function in functions:
            chosen = [table[function] for table in calls.values() if function in table]
            read = [inputs.log_joint, inputs.q_logits][: 2 if function in TWO_INPUTS else 1]
            times = median_seconds([*chosen, reading(pool, read)], repeats, round_seconds)
            ns = [f"{1e9 * t / size:.2f}" for t in times]
            lines.append([function, dtype, ns[-1], *cells(calls, function, ns[:-1])])
    return measure.markdown(["ns an element", "dtype", "reading", *MAKERS], lines)


def small(functions, n_elements, repeats, round_seconds):
    inputs = Inputs.draw(1, n_elements, "float64")
    calls = {name: MAKERS[name](inputs) for name in installed()}
    lines = []
    for function in functions:
        if "axis 0" in function:
            continue
        chosen = [table[function] for table in calls.values() if function in table]
        times = median_seconds(chosen, repeats, round_seconds)
        lines.append([function, *cells(calls, function, [f"{1e6 * t:.1f}" for t in times])])
    return measure.markdown([f"µs, {n_elements} elements", *MAKERS], lines)


def table(functions=FUNCTIONS, *, repeats=3, quick=False):
    shape = (500, 256) if quick else (200_000, 256)
    with ThreadPoolExecutor(vbfast.get_num_threads()) as pool:
        of_large = large(pool, functions, shape, repeats, 1e-4 if quick else 0.3)
    return f"{of_large}\n\n{small(functions, 10, repeats, 1e-4 if quick else 0.02)}"


if __name__ == "__main__":
    print(table(**vars(measure.options(__doc__, functions=list(FUNCTIONS), repeats=3))))
