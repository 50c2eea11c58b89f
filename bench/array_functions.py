"""Nanoseconds an element of the array functions, ours and other libraries', taking turns.

On a log-joint of 200,000 x 256; "out=" writes into memory that is there already, the others into
new arrays: what those cost more is the system's clearing of their pages. After a call that is not
timed, calls are repeated for 0.15 s before the next library has its turn, and the median of such
rounds is printed; a call that takes 0.3 s is timed once. Reading has its turn, too: the inputs'
largest elements by NumPy on all threads, about the time to read them once. The speed-up is over the
fastest of the other libraries. Along the first axis softmax has to go over its output a second
time. The second table has microseconds of a call on 10 elements.

A dash: the library is not installed (the extra ``peers`` has them), or has no such function.
numba's are loops of ours, none of them along the first axis.
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
LONG_ENOUGH = 0.3  # seconds of a call that is timed once
TWO_INPUTS = ("elbo, q logits", "elbo_and_grad, out=", "elbo_and_grad")


def reading(pool, arrays):
    """Return a call that reads the arrays with all threads: their largest elements, by pieces."""
    n_pieces = 8 * vbfast.get_num_threads()
    pieces = [piece for a in arrays for piece in np.array_split(a.reshape(-1), n_pieces)]
    return lambda: list(pool.map(np.max, pieces))


def results(calls, function, times, unit, digits):
    """Return a cell a library, in the order of MAKERS, and the speed-up over the fastest other."""
    names = [name for name in calls if function in calls[name]]
    of_library = {name: time / unit for name, time in zip(names, times, strict=True)}
    others = {name: time for name, time in of_library.items() if name != "vbfast"}
    fastest = min(others, key=others.get, default=None)
    return [
        *(measure.cell(of_library.get(name), digits) for name in MAKERS),
        measure.speed_up(others.get(fastest), of_library["vbfast"], f"slower than {fastest}"),
    ]


def median_seconds(calls, repeats, round_seconds):
    """Median seconds of each call, over rounds that take turns; a turn goes on for a while."""
    times = []
    for call in calls:
        call()  # compiles, and loads what it needs
        times.append([seconds(call)])
    numbers = {
        index: max(1, round(round_seconds / once))
        for index, [once] in enumerate(times)
        if once < LONG_ENOUGH
    }
    for index in numbers:
        times[index] = []
    for _ in range(repeats):
        for index, number in numbers.items():
            times[index].append(measure.warm_seconds(calls[index], number))
    return [float(np.median(each)) for each in times]


def large(pool, functions, shape, repeats, round_seconds):
    lines = []
    for dtype in DTYPES:
        inputs = Inputs.draw(*shape, dtype)
        calls = {name: MAKERS[name](inputs) for name in installed()}
        nanosecond = 1e-9 * inputs.log_joint.size
        for function in functions:
            chosen = [table[function] for table in calls.values() if function in table]
            read = [inputs.log_joint, inputs.q_logits][: 2 if function in TWO_INPUTS else 1]
            *times, of_reading = median_seconds(
                [*chosen, reading(pool, read)], repeats, round_seconds
            )
            lines.append([function, dtype, measure.cell(of_reading / nanosecond, 2),
                          *results(calls, function, times, nanosecond, 2)])  # fmt: skip
    return measure.Table(["ns an element", "dtype", "reading", *MAKERS, "speed-up"], lines)


def small(functions, n_elements, repeats, round_seconds):
    inputs = Inputs.draw(1, n_elements, "float64")
    calls = {name: MAKERS[name](inputs) for name in installed()}
    lines = []
    for function in functions:
        if "axis 0" in function:
            continue
        chosen = [table[function] for table in calls.values() if function in table]
        times = median_seconds(chosen, repeats, round_seconds)
        lines.append([function, *results(calls, function, times, 1e-6, 1)])
    return measure.Table([f"µs, {n_elements} elements", *MAKERS, "speed-up"], lines)


def tables(functions=FUNCTIONS, *, repeats=3, quick=False):
    shape = (500, 256) if quick else (200_000, 256)
    with ThreadPoolExecutor(vbfast.get_num_threads()) as pool:
        of_large = large(pool, functions, shape, repeats, 1e-4 if quick else 0.15)
    return [of_large, small(functions, 10, repeats, 1e-4 if quick else 0.02)]


if __name__ == "__main__":
    measure.run_script(tables)
