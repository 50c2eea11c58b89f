"""A peer in the race: its processes, of which the faster one runs a case."""

from __future__ import annotations

import contextlib
import math
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from vbfast.benchmark.cases import Case
from vbfast.benchmark.peers.process import PeerError, PeerProcess
from vbfast.benchmark.peers.registry import OURS, PEERS, PRODUCT, Absent, Peer
from vbfast.benchmark.timing import PRODUCT_SIZE
from vbfast.contract import Float64Array, FloatArray

__all__ = [
    "ITERATIONS",
    "Entrant",
    "Field",
    "PeerEntrant",
    "Product",
    "Task",
    "entered",
    "processors",
]

# What is timed: a run of 1 + ITERATIONS less a run of 1. What a fit does once (checks, copies, a
# last E-step) is in both.
ITERATIONS = 5
# Seconds of an iteration, beside which compiling is short.
LONG = 2.0


@dataclass(frozen=True)
class Task:
    """A case in one dtype, on disk for those that read it.

    Attributes
    ----------
    case : Case
    rows : ndarray of shape (n_samples, n_features)
    path : Path
        An ``.npz`` of what ``worker.Task`` has.
    """

    case: Case
    rows: FloatArray
    path: Path

    @classmethod
    def write(cls, case: Case, dtype: str, folder: Path) -> Task:
        """Draw the rows of a case, and write them with its start."""
        rows, start = case.rows(dtype), case.start()
        precisions = start["precisions_init"]
        dense = case.covariance_type in ("full", "tied")
        path = folder / "task.npz"
        np.savez(
            path,
            rows=rows,
            weights=start["weights_init"],
            means=start["means_init"],
            covariances=np.linalg.inv(precisions) if dense else 1.0 / precisions,
            covariance_type=case.covariance_type,
            reg_covar=case.reg_covar,
        )
        return cls(case, rows, path)


class Entrant(Protocol):
    """Something that takes iterations; all methods may raise :class:`PeerError`."""

    @property
    def name(self) -> str:
        """The library's."""
        ...

    def version(self) -> str:
        """Return the library's version."""
        ...

    def lacks(self, task: Task) -> str | None:
        """Return what it lacks of what a task needs, in words, or None."""
        ...

    def warm_up(self, task: Task) -> int:
        """Take the iterations once, untimed, and return how many processors are used."""
        ...

    def turn(self) -> float:
        """Return the seconds of an iteration."""
        ...

    def parameters(self) -> tuple[Float64Array, Float64Array, Float64Array]:
        """Return weights, means and covariances after ``1 + ITERATIONS``."""
        ...


def processors() -> int:
    """Return how many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class PeerEntrant:
    """A peer that has one process with all processors and one with a single processor.

    Which one is faster shows in the warm-up of each case: threads cost some libraries more than
    they give.

    Parameters
    ----------
    peer : Peer
    interpreters : mapping of str to str
        By the names of peers, for those that have environments of their own.
    limit : float
        Seconds that one answer may take.
    most_processors : int
    """

    def __init__(
        self, peer: Peer, interpreters: Mapping[str, str], limit: float, most_processors: int
    ) -> None:
        self.name = peer.name
        self._peer = peer
        self._interpreter = peer.find(interpreters)
        self._limit = limit
        self._choices = sorted({1, most_processors}, reverse=True)
        self._processes: dict[int, PeerProcess] = {}
        self._chosen: PeerProcess | None = None

    def _process(self, number: int) -> PeerProcess:
        """Return the process with so many processors; a new one if the last has ended."""
        process = self._processes.get(number)
        if process is None or not process.alive():
            if process is not None:
                process.close()
            process = PeerProcess(self._interpreter, self._peer.adapter, number)
            self._processes[number] = process
        return process

    def start(self) -> None:
        """Let the processes import what they need; what fails then fails again when it is used."""
        for number in self._choices:
            with contextlib.suppress(PeerError):
                self._process(number).ask("version", limit=self._limit)

    def version(self) -> str:
        """Return the library's version."""
        return str(self._process(self._choices[0]).ask("version", limit=self._limit))

    def lacks(self, task: Task) -> str | None:
        """Return what the peer lacks of what a task needs."""
        return self._peer.lacks(task.case.covariance_type, task.rows.dtype.name)

    def warm_up(self, task: Task) -> int:
        """Let each process compile and take its memory, and choose the faster one."""
        times: dict[int, float] = {}
        failure: PeerError | None = None
        for number in self._choices:
            process = self._process(number)
            try:
                process.ask("prepare", str(task.path), limit=self._limit)
                times[number] = self._seconds(process)
                if len(self._choices) > 1 and times[number] < LONG:
                    times[number] = self._seconds(process)  # once more, without compiling
            except PeerError as error:
                failure = error
        if not times:
            assert failure is not None
            raise failure
        best = min(times, key=lambda number: times[number])
        self._chosen = self._processes[best]
        return best

    def _seconds(self, process: PeerProcess) -> float:
        short = process.ask("run", 1, limit=self._limit)
        long = process.ask("run", 1 + ITERATIONS, limit=self._limit)
        return float(long - short) / ITERATIONS

    def turn(self) -> float:
        """Time a run of one iteration and one of more, after one that is not timed.

        While others had their turns, caches and threads were theirs: what the first run pays to get
        them back would be taken off as the time of an iteration.
        """
        assert self._chosen is not None
        self._chosen.ask("run", 1, limit=self._limit)
        return self._seconds(self._chosen)

    def parameters(self) -> tuple[Float64Array, Float64Array, Float64Array]:
        """Return the parameters that the last run has come to."""
        assert self._chosen is not None
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "parameters.npz"
            self._chosen.ask("parameters", str(path), limit=self._limit)
            with np.load(path) as arrays:
                weights, means, covariances = (
                    np.asarray(arrays[name], dtype=np.float64)
                    for name in ("weights", "means", "covariances")
                )
        return weights, means, covariances

    def close(self) -> None:
        """End the processes."""
        for process in self._processes.values():
            with contextlib.suppress(OSError):
                process.close()


class Product(PeerEntrant):
    """The matrix product, whose one run is one product."""

    def _seconds(self, process: PeerProcess) -> float:
        return float(process.ask("run", 1, limit=self._limit))

    def peak(self) -> float:
        """Return the floating-point operations a second of one more product."""
        return 2 * PRODUCT_SIZE**3 / self.turn()


@dataclass(frozen=True)
class Field:
    """Everybody who takes part.

    Attributes
    ----------
    entrants : list of PeerEntrant
        Ours is the first.
    product : Product
    absent : dict of str to str
        Why a peer is not among them.
    """

    entrants: list[PeerEntrant]
    product: Product
    absent: dict[str, str]


@contextlib.contextmanager
def entered(
    names: Sequence[str] = tuple(PEERS),
    *,
    interpreters: Mapping[str, str] | None = None,
    limit: float = 60.0,
    most_processors: int | None = None,
) -> Iterator[Field]:
    """Find the peers, and end their processes when the block ends.

    Parameters
    ----------
    names : sequence of str
        Keys of :data:`~vbfast.benchmark.peers.registry.PEERS`.
    interpreters : mapping of str to str, optional
        Pythons of peers that have environments of their own.
    limit : float
        Seconds that one answer of a peer may take.
    most_processors : int, optional
        All by default.
    """
    most = min(most_processors or processors(), processors())
    interpreters = interpreters or {}
    entrants, absent = [PeerEntrant(OURS, interpreters, math.inf, most)], {}
    for name in names:
        try:
            entrants.append(PeerEntrant(PEERS[name], interpreters, limit, most))
        except Absent as reason:
            absent[name] = str(reason)
    product = Product(PRODUCT, interpreters, math.inf, most)
    try:
        with ThreadPoolExecutor(most) as pool:
            list(pool.map(PeerEntrant.start, (*entrants, product)))
        yield Field(entrants, product, absent)
    finally:
        for entrant in (*entrants, product):
            entrant.close()
