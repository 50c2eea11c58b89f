"""The figure of a benchmark: seconds of an iteration, a panel for each case, beside the floor."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vbfast.atomic_file import written_whole
from vbfast.optional import needed

__all__ = ["draw_comparisons", "fingerprint"]

OURS, OTHERS, FLOOR = "#2563eb", "#6b7280", "#dc2626"
COLUMNS = 2


def draw_comparisons(record: Mapping[str, Any], path: Path) -> None:
    """Draw what :func:`~vbfast.benchmark.side_by_side.record_of` returns.

    A point is a median, its line goes from the least to the most seconds. Open points are of
    libraries whose bound is another; the dashed line is the floor.

    Parameters
    ----------
    record : mapping
    path : Path
        PNG, SVG or PDF, by its ending.

    Raises
    ------
    ImportError
        If matplotlib is not installed (extra ``plot``).
    """
    with needed("matplotlib", by="the figure"):
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

    comparisons = record["comparisons"]
    most = max(len(_timed(comparison)) for comparison in comparisons)
    lines = -(-len(comparisons) // COLUMNS)
    figure = Figure(figsize=(5.0 * COLUMNS, lines * (1.0 + 0.28 * most)), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(lines, COLUMNS, squeeze=False).flat
    for comparison, axes in zip(comparisons, panels, strict=False):
        _draw_case(axes, comparison)
    for axes in panels:  # one is left where the number of cases is odd
        axes.set_visible(False)
    with written_whole(path) as file:
        form = path.suffix[1:].lower()
        entry = "Subject" if form == "pdf" else "Description"
        figure.savefig(file, format=form, dpi=120, metadata={entry: fingerprint(record)})


def fingerprint(record: Mapping[str, Any]) -> str:
    """Return a hash of what is drawn, which the figure's file carries."""
    text = json.dumps(record["comparisons"], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _timed(comparison: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the results that have a positive time, the fastest first."""
    timed = [result for result in comparison["results"] if (result["seconds"] or 0.0) > 0.0]
    return sorted(timed, key=lambda result: float(result["seconds"]))


def _draw_case(axes: Any, comparison: Mapping[str, Any]) -> None:
    ours = comparison["results"][0]["library"]
    results = _timed(comparison)
    for place, result in enumerate(results):
        colour = OURS if result["library"] == ours else OTHERS
        least = max(result["least_seconds"], 1e-3 * result["seconds"])  # a logarithm is taken
        axes.plot([least, result["most_seconds"]], [place, place], color=colour, lw=2, alpha=0.5)
        known = result["library"] == ours or result["ratio"] is not None
        axes.plot(
            result["seconds"], place, "o", color=colour, markerfacecolor=colour if known else "none"
        )
    axes.axvline(comparison["floor_seconds"], color=FLOOR, ls="--", lw=1)
    axes.set_xscale("log")
    axes.set_yticks(range(len(results)), [result["library"] for result in results])
    axes.set_ylim(len(results) - 0.5, -0.5)
    axes.set_xlabel("seconds of an iteration")
    axes.set_title(
        f"{comparison['covariance_type']}, {comparison['n_samples']:,} x "
        f"{comparison['n_features']}, K = {comparison['n_components']:,}, {comparison['dtype']}",
        fontsize="medium",
    )
    axes.spines[["top", "right"]].set_visible(False)
