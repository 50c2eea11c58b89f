"""Evidence of rows that are held out, against the seconds of the fit, for libraries that can fit.

Each has its own start and its own defaults. A point is a whole fit, its start included, that may
take 1, 2, 4, ... iterations from the same seed; a curve ends where a fit stops by itself. Data sets
are those of `vbfast/benchmark/datasets.py`. Evidence is the mean log-density, nats, computed for
everybody by one function. The table has the last points; ``--json-file`` and ``--figure`` are files
for all of them. tgmm and pomegranate take part where they are installed.
"""

from __future__ import annotations

import importlib.util
import json
import time
import warnings
from pathlib import Path

import measure

if __name__ == "__main__":
    measure.restart_without()

import numpy as np
import sklearn.mixture
from sklearn.exceptions import ConvergenceWarning

import vbfast
from vbfast.benchmark.datasets import DATASETS
from vbfast.benchmark.machine import machine
from vbfast.benchmark.peers.process import PeerError
from vbfast.benchmark.side_by_side import bound_of

MOST_ITERATIONS = 128


def estimator_fit(library):
    """Return a fit by a class with scikit-learn's interface."""

    def fit(dataset, rows, seed, max_iter):
        mixture = library.GaussianMixture(
            **dataset.arguments(), random_state=seed, max_iter=max_iter
        ).fit(rows)
        return (mixture.weights_, mixture.means_, mixture.covariances_), mixture.converged_

    return fit


def tgmm_fit(dataset, rows, seed, max_iter):
    import tgmm
    import torch

    mixture = tgmm.GaussianMixture(
        **dataset.arguments(), random_state=seed, max_iter=max_iter, device="cpu"
    ).fit(torch.from_numpy(rows))
    arrays = (mixture.weights_, mixture.means_, mixture.covariances_)
    return tuple(array.numpy() for array in arrays), bool(mixture.converged_)


def pomegranate_fit(dataset, rows, seed, max_iter):
    import torch
    from pomegranate.distributions import Normal
    from pomegranate.gmm import GeneralMixtureModel

    # Without parameters its distributions are of float32, whatever the rows are.
    kind = dataset.covariance_type
    components = [Normal(covariance_type=kind) for _ in range(dataset.n_components)]
    mixture = GeneralMixtureModel(components, random_state=seed, max_iter=max_iter)
    mixture.fit(torch.from_numpy(rows.astype(np.float32)))
    means = np.stack([each.means.detach().numpy() for each in mixture.distributions])
    covariances = np.stack([each.covs.detach().numpy() for each in mixture.distributions])
    return (mixture.priors.detach().numpy(), means, covariances), False


# Each with the covariance types that it has.
LIBRARIES = {
    "vbfast": (estimator_fit(vbfast), ("full", "tied", "diag", "spherical")),
    "scikit-learn": (estimator_fit(sklearn.mixture), ("full", "tied", "diag", "spherical")),
    "tgmm": (tgmm_fit, ("full", "tied", "diag", "spherical")),
    "pomegranate": (pomegranate_fit, ("full", "diag")),
}


def curve(fit, dataset, seed, factor, most):
    """Return seconds and evidence of fits of more and more iterations, and why it ends early."""
    fitted, held_out = dataset.split(seed, factor)
    points, max_iter = [], 1
    while max_iter <= most:
        try:
            start = time.perf_counter()
            parameters, converged = fit(dataset, fitted, seed, max_iter)
            took = time.perf_counter() - start
            arrays = tuple(np.asarray(array, dtype=np.float64) for array in parameters)
            evidence = bound_of(held_out, arrays, dataset.covariance_type)
        except (PeerError, RuntimeError, ValueError) as error:
            return points, " ".join(str(error).split())[:80]
        points.append({"max_iter": max_iter, "seconds": took, "evidence": evidence})
        if converged:
            break
        max_iter *= 2
    return points, ""


def draw(record, path):
    """Draw a panel for each data set, a curve for each library."""
    from matplotlib.figure import Figure

    names = list(dict.fromkeys(each["data"] for each in record["curves"]))
    lines = -(-len(names) // 3)
    figure = Figure(figsize=(12.0, 3.2 * lines), layout="constrained")
    panels = figure.subplots(lines, 3, squeeze=False).flat
    for name, axes in zip(names, panels, strict=False):
        for each in record["curves"]:
            if each["data"] == name and each["points"]:
                points = each["points"]
                axes.plot([point["seconds"] for point in points],
                          [point["evidence"] for point in points],
                          ".-", label=each["library"])  # fmt: skip
        axes.set_xscale("log")
        axes.set_title(name)
        axes.legend(fontsize="small")
    for axes in panels:
        axes.set_visible(False)
    figure.supxlabel("seconds of the fit")
    figure.supylabel("evidence of held-out rows, nats")
    figure.savefig(path, dpi=120)


def tables(datasets=tuple(DATASETS), libraries=tuple(LIBRARIES), *, seed=0, json_file="",
           figure="", quick=False):  # fmt: skip
    warnings.simplefilter("ignore")
    warnings.simplefilter("ignore", ConvergenceWarning)
    factor, most = (500, 2) if quick else (1, MOST_ITERATIONS)
    curves, lines = [], []
    there = [name for name in libraries
             if name in ("vbfast", "scikit-learn") or importlib.util.find_spec(name)]  # fmt: skip
    for key in datasets[:2] if quick else datasets:
        dataset = DATASETS[key]
        for name in there:
            fit, types = LIBRARIES[name]
            if dataset.covariance_type not in types:
                continue
            curve(fit, dataset, seed, max(factor, 100), 1)  # loads and compiles what a fit needs
            points, remark = curve(fit, dataset, seed, factor, most)
            curves.append({"data": key, "library": name, "points": points, "remark": remark})
            last = points[-1] if points else {}
            lines.append([key, name, f"{last.get('max_iter', 0)}",
                          measure.cell(last.get("seconds"), 3),
                          measure.cell(last.get("evidence"), 3), remark])  # fmt: skip
    record = {"machine": machine(), "seed": seed, "curves": curves}
    if json_file:
        Path(json_file).write_text(json.dumps(record, indent=1) + "\n")
    if figure:
        draw(record, figure)
    header = ["data", "library", "iterations at most", "seconds", "evidence", "ended by"]
    return [measure.Table(header, lines)]


if __name__ == "__main__":
    measure.run_script(tables)
