"""Tables of numbers as text: the delimiter, the names, and which cell holds no number."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import itertools
import lzma
import math
import re
import sys
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal, cast

import numpy as np
import numpy.typing as npt

from vbfast.cli.table import Table, cell, note

__all__ = ["COMPRESSED", "STANDARD_INPUT", "TextFormat", "read_text"]

STANDARD_INPUT = Path("-")
COMPRESSED: dict[str, Any] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
# What reading damaged or other content raises, beside ValueError.
_DAMAGED = (csv.Error, zlib.error, lzma.LZMAError, EOFError)

# In the order of preference where several cut all lines alike; None is any white space. A comma
# may stand in numbers between other delimiters.
DELIMITERS = ("\t", ";", ",", "|", None)
# Lines from which the delimiter and the header are found out.
SAMPLE = 100

_INTEGER = re.compile(r"[+-]?\d+")
_UNNAMED = ("", "Unnamed: 0")  # the second is what pandas makes of the first
Kind = Literal["empty", "integer", "real", "text"]


@dataclass(frozen=True)
class TextFormat:
    """What the user says about a text file; None is found out from the file.

    Attributes
    ----------
    header : bool or None
        Whether the first line holds names.
    delimiter : str or None
    """

    header: bool | None = None
    delimiter: str | None = None


@dataclass(frozen=True)
class _Layout:
    delimiter: str | None
    names: list[str] | None
    n_columns: int
    index: bool  # whether the first column is that of a data frame, and no feature


def read_text(path: Path, text_format: TextFormat) -> Table:
    """Read a table from text, compressed or not, in UTF-8 or UTF-16.

    Lines that are empty or begin with # are skipped. The first line holds names if that is what its
    fields look like above those of their columns, by the rule of :meth:`csv.Sniffer.has_header`. A
    first column whose name is empty is the index of a data frame, and left out.

    Raises
    ------
    ValueError
        If there are no rows, or lines have different numbers of columns, or a cell is empty, not a
        number or not finite. The message names the row, column and line.
    """
    standard_input = sys.stdin.buffer.read() if path == STANDARD_INPUT else None

    def opened() -> io.TextIOWrapper:
        return _open(path, standard_input)

    try:
        with opened() as file:
            layout = _layout(path, file, text_format)
        with opened() as file:
            values = _parse(file, layout)
        if values is None or not np.isfinite(values).all():
            with opened() as file:
                raise ValueError(_fault(file, layout, asked=text_format.header is not None))
    except UnicodeDecodeError as error:
        raise ValueError(f"not text in UTF-8: {error.reason} at byte {error.start}") from error
    except (OSError, *_DAMAGED) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # what the system says, and not what decompresses
        raise ValueError(f"damaged, or of another kind: {error}") from error
    names = None if layout.names is None else tuple(layout.names[layout.index :])
    if names is not None and len(set(names)) < len(names):
        note(f"{path}: two columns have the same name; names are not kept")
        names = None
    return Table(path, values, names)


def _open(path: Path, standard_input: bytes | None) -> io.TextIOWrapper:
    raw: IO[bytes]
    if standard_input is not None:
        raw = io.BytesIO(standard_input)
    else:
        raw = cast("IO[bytes]", COMPRESSED.get(path.suffix.lower(), open)(path, "rb"))
    # Spreadsheets begin a file with a byte order mark, which would make a name of a number.
    wide = raw.read(2) in (b"\xff\xfe", b"\xfe\xff")
    raw.seek(0)
    return io.TextIOWrapper(raw, encoding="utf-16" if wide else "utf-8-sig")


class _Lines:
    """The lines that hold something, and the number of the last one, from 1."""

    def __init__(self, file: io.TextIOWrapper) -> None:
        self._file = file
        self.number = 0

    def __iter__(self) -> Iterator[str]:
        for line in self._file:
            self.number += 1
            if line.strip() and not line.startswith("#"):
                yield line


def _records(lines: _Lines, delimiter: str | None) -> Iterator[tuple[int, list[str]]]:
    """Yield the number of each record's last line, and its fields."""
    fields = (
        (line.split() for line in lines)
        if delimiter is None
        else csv.reader(lines, delimiter=delimiter)
    )
    for record in fields:
        yield lines.number, [field.strip() for field in record]


def _layout(path: Path, file: io.TextIOWrapper, text_format: TextFormat) -> _Layout:
    """Tell the delimiter and the names from the first lines."""
    lines = list(itertools.islice(_Lines(file), SAMPLE))
    if not lines:
        raise ValueError("no rows")
    delimiter = text_format.delimiter
    if delimiter is None:
        delimiter = _delimiter(lines)
    elif delimiter.isspace() and delimiter != "\t":
        delimiter = None
    records = _split(lines, delimiter)
    first, others = records[0], records[1:]
    header = text_format.header
    if header is None:
        header = _has_header(first, others, delimiter)
        numbers = all(_kind(field) != "text" for field in first)
        if header and numbers:
            note(f"{path}: the first line, {', '.join(first)}, holds names; --no-header if not")
        elif not header and others and _consecutive(first):
            note(f"{path}: the first line, {', '.join(first)}, is a row; --header if it has names")
    if header and not others:
        raise ValueError("no rows")
    index = header and len(first) > 1 and first[0] in _UNNAMED
    if index:
        note(f"{path}: the first column, without a name, is an index and left out")
    return _Layout(delimiter, first if header else None, len(first), index)


def _split(lines: list[str], delimiter: str | None) -> list[list[str]]:
    text = io.TextIOWrapper(io.BytesIO("".join(lines).encode()), encoding="utf-8")
    return [record for _, record in _records(_Lines(text), delimiter)]


def _delimiter(lines: list[str]) -> str | None:
    """Return what cuts most lines into the same number of fields, more than one."""
    best: tuple[float, str | None] = (0.5, ",")  # a single column has none
    for delimiter in DELIMITERS:
        counts = [len(record) for record in _split(lines, delimiter)]
        usual = max(set(counts), key=counts.count)
        share = counts.count(usual) / len(counts)
        if usual > 1 and share > best[0]:
            best = (share, delimiter)
    return best[1]


def _kind(field: str) -> Kind:
    if not field:
        return "empty"
    if _INTEGER.fullmatch(field):
        return "integer"
    try:
        float(field)
    except ValueError:
        return "text"
    return "text" if "_" in field else "real"


def _has_decimal_comma(field: str, delimiter: str | None) -> bool:
    return delimiter != "," and "," in field and _kind(field.replace(",", ".", 1)) == "real"


def _has_header(first: list[str], others: list[list[str]], delimiter: str | None) -> bool:
    """Whether more columns speak for names in the first line than against them.

    As :meth:`csv.Sniffer.has_header` a column speaks for them if its first field is of another kind
    than all others, text above numbers or an integer above numbers with a decimal point; it speaks
    against them if a number is like what is below it. Decimal commas are refused later, by cell;
    here they count as numbers.
    """

    def kind_of(field: str) -> Kind:
        return "real" if _has_decimal_comma(field, delimiter) else _kind(field)

    if not others:
        return all(kind_of(field) == "text" for field in first)
    votes = 0
    for position, field in enumerate(first):
        below = {kind_of(record[position]) for record in others if position < len(record)}
        below -= {"empty"}
        if "text" in below:
            continue
        kind = kind_of(field)
        if kind == "text" or (kind == "integer" and below == {"real"}):
            votes += 1
        elif kind != "empty":
            votes -= 1
    return votes > 0


def _consecutive(first: list[str]) -> bool:
    """Whether fields are numbers in a row, as years or the default names of a data frame."""
    if len(first) < 2 or any(_kind(field) != "integer" for field in first):
        return False
    return all(int(b) - int(a) == 1 for a, b in itertools.pairwise(first))


def _parse(file: io.TextIOWrapper, layout: _Layout) -> npt.NDArray[np.float64] | None:
    """Return the numbers, or None if a cell holds none."""
    lines = _Lines(file)
    if layout.names is not None:
        next(_records(lines, layout.delimiter))
    converters: Any = {0: lambda field: 0.0} if layout.index else None  # noqa: ARG005
    try:
        values = np.loadtxt(
            iter(lines),
            delimiter=layout.delimiter,
            comments=None,
            quotechar='"',
            converters=converters,
            ndmin=2,
        )
    except ValueError as error:
        if isinstance(error, UnicodeDecodeError):
            raise
        return None
    if values.shape[1] != layout.n_columns:
        return None
    return values[:, 1:] if layout.index else values


def _fault(file: io.TextIOWrapper, layout: _Layout, *, asked: bool) -> str:
    """Describe the first fault, with its place."""
    lines = _Lines(file)
    records = _records(lines, layout.delimiter)
    names = None if layout.names is None else tuple(layout.names)
    if names is not None:
        next(records)
    for row, (line, record) in enumerate(records):
        if len(record) != layout.n_columns:
            return (
                f"row {row}, counted from 0, has {len(record)} columns (line {line}); "
                f"the first line has {layout.n_columns}"
            )
        for index in range(int(layout.index), len(record)):
            what = _objection(record[index], layout.delimiter)
            if what is None:
                continue
            if layout.index:
                where = cell(row, index - 1, None if names is None else names[1:])
            else:
                where = cell(row, index, names)
            message = f"{where}, {what} (line {line})"
            if row == 0 and names is None and not asked and _kind(record[index]) == "text":
                message += "; if the first line holds names, say --header"
            return message
    return "not numbers between delimiters, as NumPy reads them"


def _objection(field: str, delimiter: str | None) -> str | None:
    """Say what is wrong with a cell, if anything is."""
    kind = _kind(field)
    if kind == "empty":
        return "is empty"
    shown = repr(field if len(field) <= 40 else field[:37] + "...")
    if kind == "text":
        if _has_decimal_comma(field, delimiter):
            return f"is {shown}; expected a decimal point"
        return f"is {shown}, not a number"
    return None if math.isfinite(float(field)) else f"is {shown}; expected a finite number"
