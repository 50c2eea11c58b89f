"""What one iteration costs, in seconds and in memory above the rows, beside other libraries.

Rows are float64, of clusters that overlap: the hardest data. All libraries start from the same
parameters and take turns, each in a process of its own with the better of one and of all
processors, as in `vbfast bench`. The figure has all that were found, and the floor; open points are
of libraries whose bound is another. Memory is the growth of a process's peak during a fit of one
iteration, each library's in a process of its own, measured as in memory.py.

``--peers none`` leaves all but scikit-learn out. ``--json-file`` and ``--figure`` are files to
write: the table and the figure are made from what the JSON has.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import measure

if __name__ == "__main__":
    measure.restart_without()

import sklearn.mixture

import vbfast
from memory import growth_in_fresh_processes
from vb_iteration import time_iterations
from vbfast.benchmark.cases import CASES
from vbfast.benchmark.figure import draw_comparisons
from vbfast.benchmark.peers.entrants import Task, entered
from vbfast.benchmark.peers.registry import PEERS
from vbfast.benchmark.side_by_side import compare, record_of

# The command's name of a row: its case, and whether the mixture is Bayesian.
ROWS = {
    "full_2d": ("full_2d", False),
    "full_16": ("full_16", False),
    "diag_32": ("diag_32", False),
    "tied_32": ("tied_32", False),
    "sph_bigK": ("sph_bigK", False),
    "bayesian_16": ("full_16", True),
}
PEER = "scikit-learn"  # the table's
LIMIT = 60.0  # seconds of a run of somebody else's, and of all turns


def described(case, bayesian):
    model = f"Bayesian, {case.covariance_type}" if bayesian else case.covariance_type
    return f"{model}: {case.n_samples:,} x {case.n_features}, {case.n_components:,} components"


def extra_bytes(case, bayesian):
    """Return what a fit of one iteration takes above the rows, ours and scikit-learn's."""
    if bayesian:
        name, arguments = (
            "BayesianGaussianMixture",
            {
                "n_components": case.n_components,
                "covariance_type": case.covariance_type,
                "reg_covar": case.reg_covar,
                "init_params": "random_from_data",
                "random_state": 0,
            },
        )
    else:
        name, arguments = "GaussianMixture", case.start()
    estimators = [
        getattr(library, name)(**arguments, max_iter=1) for library in (vbfast, sklearn.mixture)
    ]
    return growth_in_fresh_processes(estimators, case.rows("float64"))


def compared(case, field, repeats):
    with tempfile.TemporaryDirectory() as folder:
        task = Task.write(case, "float64", Path(folder))
        return compare(task, field.entrants, field.product, repeats=repeats, patience=LIMIT)


def measured(cases, repeats, names, interpreters, *, quick):
    """Return the record that the table and the figure are made from."""
    comparisons, rows = [], []
    with entered(names, interpreters=interpreters, limit=LIMIT) as field:
        for name in cases:
            case, bayesian = CASES[ROWS[name][0]], ROWS[name][1]
            case = case.smaller(100) if quick else case
            if bayesian:
                last = 0.0 if quick else 1.5
                ours, _, _, peer = time_iterations(case, "float64", repeats, last=last)
            else:
                comparison = compared(case, field, repeats)
                comparisons.append(comparison)
                mine, *others = comparison.results
                ours = mine.median
                [other] = [each for each in others if each.library == PEER]
                # Times compare only where the bounds agree.
                peer = None if other.ratio(mine) is None else other.median
            extra, peer_extra = extra_bytes(case, bayesian)
            rows.append({"name": name, "case": described(case, bayesian), "seconds": ours,
                         "peer_seconds": peer, "extra_bytes": extra,
                         "peer_extra_bytes": peer_extra})  # fmt: skip
        return record_of(comparisons, field.absent, rows=rows)


def table_of(record):
    """Return the table of a record."""
    lines = [
        [row["case"], measure.cell(row["peer_seconds"], 2, "fails"), f"{row['seconds']:.3f}",
         measure.speed_up(row["peer_seconds"], row["seconds"]),
         f"{row['extra_bytes'] / 1e6:,.0f} MB ({row['peer_extra_bytes'] / 1e6:,.0f} MB)",
         f"`python bench/at_a_glance.py --cases {row['name']}`"]
        for row in record["rows"]
    ]  # fmt: skip
    header = ["case", "scikit-learn s", "vbfast s", "speed-up", "extra memory (scikit-learn's)",
              "command"]  # fmt: skip
    return measure.Table(header, lines)


def picture_of(name):
    """Return the Markdown that shows the figure, from the page beside it."""
    return f"![Seconds of an iteration, vbfast and other libraries, beside the floor]({name})"


def tables(cases=tuple(ROWS), *, repeats=5, peers="all", onedal_python="", json_file="",
           figure="", quick=False):  # fmt: skip
    if quick:  # starting processes is what takes long
        cases = (cases[0], cases[-1])
    names = list(PEERS) if peers == "all" and not quick else [PEER]
    interpreters = {"oneDAL": onedal_python} if onedal_python else {}
    record = measured(cases, repeats, names, interpreters, quick=quick)
    blocks = [table_of(record)]
    if json_file:
        Path(json_file).write_text(json.dumps(record, indent=1) + "\n")
    if figure:
        draw_comparisons(record, Path(figure))
        blocks.append(picture_of(Path(figure).name))
    return blocks


if __name__ == "__main__":
    measure.run_script(tables)
