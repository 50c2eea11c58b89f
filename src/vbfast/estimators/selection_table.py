"""Tables of fits, as text and as HTML."""

from __future__ import annotations

from html import escape
from typing import Any

__all__ = ["html_table", "text_table"]

Rows = list[dict[str, Any]]


def text_table(rows: Rows, marked: int | None = None) -> str:
    """Return rows of the same keys as lines of equal length, under a line of the keys.

    Parameters
    ----------
    rows : list of dict
        At least one.
    marked : int, optional
        The row that begins with a star, in a column of its own.
    """
    names = list(rows[0])
    cells = [names] + [[_format(row[name]) for name in names] for row in rows]
    if marked is not None:
        stars = ["*" if index == marked else "" for index in range(len(rows))]
        cells = [[star, *line] for star, line in zip(["", *stars], cells, strict=True)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return "\n".join(
        "  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True))
        for line in cells
    )


def html_table(rows: Rows, marked: int, caption: str) -> str:
    """Return rows of the same keys as an HTML table, with one in bold and starred."""
    head = "".join(f"<th>{escape(name)}</th>" for name in rows[0])
    lines = []
    for index, row in enumerate(rows):
        best = index == marked
        style = ' style="font-weight: bold"' if best else ""
        cells = "".join(f"<td>{escape(_format(value))}</td>" for value in row.values())
        lines.append(f"<tr{style}><td>{'*' if best else ''}</td>{cells}</tr>")
    body = "\n".join(lines)
    return (
        f"<table>\n<caption>{escape(caption)}</caption>\n<thead><tr><th></th>{head}</tr></thead>\n"
        f"<tbody>\n{body}\n</tbody>\n</table>"
    )


def _format(value: Any) -> str:
    return f"{value:.3f}" if isinstance(value, float) else str(value)
