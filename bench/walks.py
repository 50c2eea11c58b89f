"""How new rows find their component among thousands: our walks, and indices of nearest neighbours.

A diagonal mixture is fitted to all patches but a tenth (``truncation=3``, 15 neighbours). Rows of
that tenth look for the component of largest log-joint. "found" is the part of them that find it.

- vbfast: ``predict``, with the neighbours that the fit has learned; nothing is built for it.
- vbfast, exact: ``predict(exact=True)``.
- hnswlib and FAISS (where they are installed) know inner products. The log-joint of a diagonal
  component is one: of x², x and 1 with what the component's parameters are. Features are brought to
  mean zero and variance one first, so that single precision does. Their effort doubles until
  they find as many best components as the walks do, or is the most that is tried.

All use two threads at most, as many as the machine has. Times are medians of turns, after one that
is not timed. The index's own time to be built stands beside.

    python bench/walks.py
    python bench/walks.py --components 5000
"""

from __future__ import annotations

import importlib.util
import timeit
import warnings

import measure

if __name__ == "__main__":
    measure.restart_without()

import numpy as np
from sklearn.exceptions import ConvergenceWarning

import vbfast
from truncated import patches, patches_mixture
from vbfast.benchmark.machine import machine

LEAST_EFFORT, MOST_EFFORT = 8, 2048


def as_inner_products(mixture, rows):
    """Return vectors of components and of rows whose inner products are log-joints, float32.

    Up to a term of each row, which makes no difference for what it finds. Of components of weight
    zero, which no row can find, there are none.
    """
    possible = mixture.weights_ > 0.0
    centre, unit = rows.mean(axis=0, dtype=np.float64), rows.std(axis=0, dtype=np.float64)
    means = (mixture.means_[possible] - centre) / unit
    precisions = mixture.precisions_[possible] * unit**2
    offset = np.log(mixture.weights_[possible]) + 0.5 * (
        np.log(precisions) - precisions * means**2
    ).sum(1)
    components = np.column_stack([-0.5 * precisions, precisions * means, offset])
    x = (rows - centre) / unit
    asked = np.column_stack([x**2, x, np.ones(len(x))])
    return components.astype(np.float32), np.ascontiguousarray(asked, np.float32)


class Hnswlib:
    """A graph of hnswlib.

    Parameters
    ----------
    components : ndarray of shape (n_components, n_coordinates), float32
    """

    name, package = "hnswlib, HNSW", "hnswlib"

    def __init__(self, components):
        import hnswlib

        self._index = hnswlib.Index("ip", components.shape[1])
        self._index.init_index(len(components), ef_construction=200, M=16)
        self._index.set_num_threads(vbfast.get_num_threads())
        self._index.add_items(components)

    def best(self, asked, effort):
        """Return the component that each row finds; ``effort`` is the width of its search."""
        self._index.set_ef(effort)
        return self._index.knn_query(asked, 1)[0][:, 0]


class FaissHnsw:
    """A graph of FAISS."""

    name, package = "FAISS, HNSW", "faiss"

    def __init__(self, components):
        import faiss

        faiss.omp_set_num_threads(vbfast.get_num_threads())
        self._index = self._made(faiss, components)
        self._index.add(components)

    def _made(self, faiss, components):
        index = faiss.IndexHNSWFlat(components.shape[1], 16, faiss.METRIC_INNER_PRODUCT)
        index.hnsw.efConstruction = 200
        return index

    def best(self, asked, effort):
        """Return the component that each row finds; ``effort`` is the width of its search."""
        self._index.hnsw.efSearch = effort
        return self._index.search(asked, 1)[1][:, 0]


class FaissCells(FaissHnsw):
    """Cells of FAISS, of which a row looks into some."""

    name = "FAISS, cells"

    def _made(self, faiss, components):
        n_cells = max(1, int(np.sqrt(len(components))))
        quantizer = faiss.IndexFlatIP(components.shape[1])
        index = faiss.IndexIVFFlat(
            quantizer, components.shape[1], n_cells, faiss.METRIC_INNER_PRODUCT
        )
        self._kept = quantizer  # the index has only a pointer to it
        index.train(components)
        return index

    def best(self, asked, effort):
        """Return the component that each row finds; ``effort`` is the number of cells."""
        self._index.nprobe = min(effort, self._index.nlist)
        return self._index.search(asked, 1)[1][:, 0]


class FaissFlat(FaissHnsw):
    """All inner products, by FAISS."""

    name = "FAISS, all"

    def _made(self, faiss, components):
        return faiss.IndexFlatIP(components.shape[1])

    def best(self, asked, effort):
        """Return the component of the largest inner product with each row."""
        return self._index.search(asked, 1)[1][:, 0]


PEERS = (Hnswlib, FaissHnsw, FaissCells, FaissFlat)


def tables(*, components=20_000, repeats=5, quick=False):
    """Return a table of how many rows find their best component, in what time."""
    warnings.simplefilter("ignore", ConvergenceWarning)
    rows = patches(3000 if quick else None)
    held_out, learned = np.split(rows, [len(rows) // 10])
    held_out = held_out[:200] if quick else held_out[:20_000]
    count = 30 if quick else components
    mixture = patches_mixture(count, "diag", 3).fit(learned)
    wanted = mixture.predict(held_out, exact=True)
    possible = np.flatnonzero(mixture.weights_)
    lines = []

    def measured(name, build, call, *, effort):
        found = float(np.mean(call() == wanted))
        seconds = np.median([timeit.timeit(call, number=1) for _ in range(repeats)])
        line = [name, measure.cell(build, 1), effort, f"{100 * found:.2f}"]
        lines.append([*line, f"{1e6 * seconds / len(held_out):.2f}"])
        return found

    none = measure.MISSING
    ours = measured("vbfast", None, lambda: mixture.predict(held_out), effort=none)
    measured("vbfast, exact", None, lambda: mixture.predict(held_out, exact=True), effort=none)
    vectors, asked = as_inner_products(mixture, held_out)
    for peer in PEERS:
        if importlib.util.find_spec(peer.package) is None:
            lines.append([peer.name, "not installed", none, none, none])
            continue
        start = timeit.default_timer()
        index = peer(vectors)
        build = timeit.default_timer() - start
        effort = LEAST_EFFORT
        while (
            np.mean(possible[index.best(asked, effort)] == wanted) < ours and effort < MOST_EFFORT
        ):
            effort *= 2
        measured(
            peer.name,
            build,
            lambda i=index, e=effort: possible[i.best(asked, e)],
            effort=str(effort),
        )
    header = ["search", "built s", "effort", "found %", "microseconds a row"]
    text = f"On {machine()}; {len(held_out):,} rows, {count:,} components, 64 features, float32."
    return [text, measure.Table(header, lines)]


if __name__ == "__main__":
    measure.run_script(tables)
