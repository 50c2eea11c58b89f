"""How the seconds of an iteration grow with rows, features, components and threads.

One of the four is changed at a time, from the same middle; rows are float64, of clusters that
overlap. A slope is that of a line through the points on logarithmic axes: 1 where an iteration
takes as many times as long, -1 where threads share the work. ``--json-file`` and ``--figure`` are
files to write.
"""

from __future__ import annotations

import json
import warnings
from dataclasses import replace
from pathlib import Path

import measure

if __name__ == "__main__":
    measure.restart_without()

import numpy as np
from sklearn.exceptions import ConvergenceWarning

import vbfast
from vbfast.benchmark.cases import Case
from vbfast.benchmark.iterations import iteration_seconds, iterations_lasting
from vbfast.benchmark.machine import machine
from vbfast.benchmark.peers.entrants import processors

TYPES = ("full", "tied", "diag", "spherical")
MIDDLE = Case("middle", 100_000, 16, 32, "full")
SWEEPS = {
    "n_samples": (10_000, 30_000, 100_000, 300_000, 1_000_000),
    "n_features": (2, 4, 8, 16, 32, 64),
    "n_components": (4, 8, 16, 32, 64, 128, 256),
}
THREADS = "threads"
WORDS = {"n_samples": "rows", "n_features": "features", "n_components": "components"}


def iteration_median(case, repeats, least_seconds):
    """Return the median seconds of an iteration."""
    warnings.simplefilter("ignore", ConvergenceWarning)
    rows = case.rows("float64")
    mixture = vbfast.GaussianMixture(**case.start())
    iterations = iterations_lasting(mixture, rows, least_seconds)
    return float(np.median([iteration_seconds(mixture, rows, iterations) for _ in range(repeats)]))


def sweep(kind, name, values, repeats, least_seconds, n_samples):
    """Return the seconds at each value."""
    middle = replace(MIDDLE, covariance_type=kind, n_samples=n_samples)
    times = []
    for value in values:
        threads = value if name == THREADS else processors()
        case = middle if name == THREADS else replace(middle, **{name: value})
        with vbfast.config_context(num_threads=threads):
            times.append(iteration_median(case, repeats, least_seconds))
    return times


def slope(values, times):
    """Return the slope of the line through the points on logarithmic axes."""
    if len(values) < 2 or min(times) <= 0.0:
        return float("nan")
    return float(np.polyfit(np.log(values), np.log(times), 1)[0])


def draw(record, path):
    """Draw a panel for each sweep, a line for each covariance type."""
    from matplotlib.figure import Figure

    names = list(dict.fromkeys(each["sweep"] for each in record["sweeps"]))
    figure = Figure(figsize=(4.0 * len(names), 3.6), layout="constrained")
    for axes, name in zip(figure.subplots(1, len(names), squeeze=False)[0], names, strict=True):
        for each in record["sweeps"]:
            if each["sweep"] == name:
                label = f"{each['covariance_type']}: {measure.cell(each['slope'], 2)}"
                axes.loglog(each["values"], each["seconds"], "o-", label=label)
        axes.set_xlabel(WORDS.get(name, name))
        axes.legend(title="slope", fontsize="small")
    figure.supylabel("seconds of an iteration")
    figure.savefig(path, dpi=120)


def tables(types=TYPES, sweeps=(*SWEEPS, THREADS), *, repeats=5, json_file="", figure="",
           quick=False):  # fmt: skip
    counts = tuple(range(1, processors() + 1))
    n_samples, least_seconds = (1000, 0.0) if quick else (MIDDLE.n_samples, 0.3)
    found = []
    for kind in types:
        for name in sweeps:
            values = SWEEPS.get(name, counts)
            if quick:
                values = values[:2]
            times = sweep(kind, name, values, repeats, least_seconds, n_samples)
            found.append({"covariance_type": kind, "sweep": name, "values": list(values),
                          "seconds": times, "slope": slope(values, times)})  # fmt: skip
    record = {"machine": machine(), "sweeps": found}
    if json_file:
        Path(json_file).write_text(json.dumps(record, indent=1) + "\n")
    if figure:
        draw(record, figure)
    lines = [
        [each["covariance_type"], WORDS.get(each["sweep"], each["sweep"]),
         f"{each['values'][0]:,} to {each['values'][-1]:,}",
         f"{each['seconds'][0]:.4f} to {each['seconds'][-1]:.4f}",
         measure.cell(each["slope"], 2)]
        for each in found
    ]  # fmt: skip
    return [measure.Table(["covariances", "of", "from, to", "seconds", "slope"], lines)]


if __name__ == "__main__":
    measure.run_script(tables)
