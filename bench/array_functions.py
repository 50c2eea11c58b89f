"""Nanoseconds an element of the array functions, ours and other libraries', taking turns.

On a log-joint of 200,000 x 256; "out=" writes into memory that is there already, the others into
new arrays. A call is repeated for 0.3 s before the next library has its turn, and the median of
such rounds is printed. Reading is the time that all threads take to read the inputs once: what no
call can beat. After it, microseconds of a call on 10 elements. A dash: the library is not
installed, or has no such function (numba's are loops of ours, none of them along the first axis).
"""

from __future__ import annotations

import timeit
from concurrent.futures import ThreadPoolExecutor

import measure

if __name__ == "__main__":
    measure.restart_without()

import numpy as np

import vbfast
from array_peers import FUNCTIONS, MAKERS, Inputs, installed
from vbfast.benchmark.timing import alternate, seconds

DTYPES = ("float64", "float32")
TWO_INPUTS = ("elbo, q logits", "elbo_and_grad, out=", "elbo_and_grad")


def reading_seconds(array, repeats):
    """Median seconds to read an array with all threads: its largest element, by pieces."""
    threads = vbfast.get_num_threads()
    pieces = np.array_split(array.reshape(-1), 8 * threads)
    with ThreadPoolExecutor(threads) as pool:
        return alternate([lambda: list(pool.map(np.max, pieces))], repeats)[0]


def cells(calls, function, convert, times):
    """One number a library, in the order of MAKERS."""
    of_library = dict(zip([name for name in calls if function in calls[name]], times, strict=True))
    return [convert(of_library[name]) if name in of_library else "-" for name in MAKERS]


def median_seconds(calls, repeats, round_seconds):
    """Median seconds of each call, over rounds that take turns; a round goes on for a while."""
    numbers = []
    for call in calls:
        call()  # compiles, and loads what it needs
        numbers.append(max(1, round(round_seconds / seconds(call))))
    rounds = [
        lambda call=call, number=number: timeit.timeit(call, number=number)
        for call, number in zip(calls, numbers, strict=True)
    ]
    return alternate(rounds, repeats) / numbers


def large(shape, repeats, round_seconds):
    lines = []
    for dtype in DTYPES:
        inputs = Inputs.draw(*shape, dtype)
        calls = {name: MAKERS[name](inputs) for name in installed()}
        size = inputs.log_joint.size
        reading = 1e9 * reading_seconds(inputs.log_joint, 2 * repeats + 1) / size
        for function in FUNCTIONS:
            chosen = [table[function] for table in calls.values() if function in table]
            times = median_seconds(chosen, repeats, round_seconds)
            row = cells(calls, function, lambda t, n=size: f"{1e9 * t / n:.2f}", times)
            n_inputs = 2 if function in TWO_INPUTS else 1
            lines.append([function, dtype, f"{n_inputs * reading:.2f}", *row])
    return measure.markdown(["ns an element", "dtype", "reading", *MAKERS], lines)


def small(n_elements, repeats, round_seconds):
    inputs = Inputs.draw(1, n_elements, "float64")
    calls = {name: MAKERS[name](inputs) for name in installed()}
    lines = []
    for function in FUNCTIONS:
        if "axis 0" in function:
            continue
        chosen = [table[function] for table in calls.values() if function in table]
        times = median_seconds(chosen, repeats, round_seconds)
        lines.append([function, *cells(calls, function, lambda t: f"{1e6 * t:.1f}", times)])
    return measure.markdown([f"µs, {n_elements} elements", *MAKERS], lines)


def table(*, repeats=3, quick=False):
    shape = (500, 256) if quick else (200_000, 256)
    of_large = large(shape, repeats, 1e-4 if quick else 0.3)
    return f"{of_large}\n\n{small(10, repeats, 1e-4 if quick else 0.02)}"


if __name__ == "__main__":
    print(table(**vars(measure.options(__doc__, repeats=3))))
