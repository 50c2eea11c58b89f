"""The table of parameters that go together, in docs/truncation.md, is what fits do."""

from __future__ import annotations

import re
from itertools import combinations
from pathlib import Path

import pytest

import vbfast

PAGE = Path(__file__).parents[2] / "docs" / "truncation.md"
# What each name in the table makes of a fit: a parameter, or where its rows come from.
PARAMETERS = {
    "`truncation`": {"truncation": 2},
    "`batch_size`": {"batch_size": 500},
    "`checkpoint`": {"checkpoint": "fit.npz"},
    "`accelerate`": {"accelerate": "squarem"},
    "`annealing`": {"annealing": [0.5, 0.8]},
    "`reseeding`": {"reseeding": 0.9},
    '`backend="numba"`': {"backend": "numba"},
}
FUNCTION, CLUSTER = "rows from a function", "`vbfast.dask`"


def table():
    """Return what the page says of every pair."""
    section = PAGE.read_text(encoding="utf-8").split("## What goes together")[1]
    text = section.split("\n## ")[0]
    lines = [re.split(r" *\| *", line) for line in text.splitlines() if " | " in line]
    (_, *columns), _, *rows = lines
    return {
        (name, column): cell
        for name, *cells in rows
        for column, cell in zip(columns, cells, strict=True)
        if cell
    }


SAID = table() if PAGE.is_file() else {}


@pytest.mark.skipif(not SAID, reason="docs/ is not part of this distribution")
def test_every_pair_is_in_the_table():
    pairs = set(combinations([*PARAMETERS, FUNCTION, CLUSTER], 2)) - {(FUNCTION, CLUSTER)}
    assert set(SAID) == pairs


@pytest.mark.parametrize("pair", SAID, ids=" with ".join)
@pytest.mark.filterwarnings("ignore:Best performing initialization")
@pytest.mark.filterwarnings("ignore:rows seem to be sorted")
def test_a_pair_does_what_the_table_says(pair, clustered, request, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    if '`backend="numba"`' in pair:
        pytest.importorskip("numba")
    kind, rows, parameters = vbfast.GaussianMixture, clustered, {}
    for name in pair:
        parameters |= PARAMETERS.get(name, {})
    if FUNCTION in pair:

        def rows():
            yield clustered[:1000]
            yield clustered[1000:]

    if CLUSTER in pair:
        client = request.getfixturevalue("client")
        array, dask = pytest.importorskip("dask.array"), pytest.importorskip("vbfast.dask")
        kind, rows = dask.GaussianMixture, array.from_array(clustered, chunks=(1000, 3))
        parameters["client"] = client
    mixture = kind(3, max_iter=3, random_state=0, **parameters)
    if SAID[pair] == "yes":
        assert mixture.fit(rows).n_iter_ > 0
    else:
        assert SAID[pair].startswith("no (")
        with pytest.raises((ValueError, TypeError, NotImplementedError)):
            mixture.fit(rows)
        assert not hasattr(mixture, "n_iter_")
