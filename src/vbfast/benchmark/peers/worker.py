"""The program that a peer runs in: it is asked through its standard input, a line of JSON each.

    python worker.py ADAPTER.py CLASS PROCESSORS

It stands alone, because the interpreter may be one that has no vbfast. ``process.py`` is the other
end. A class of an adapter is constructed from a :class:`Task`; it has ``version()``, ``run(n)``,
which takes n iterations from the task's start, and ``parameters()``, which returns what came out.
"""

from __future__ import annotations

import importlib.util
import json
import os
import sys
import time
import warnings
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Task:
    """Rows, and the mixture that iterations start from.

    Attributes
    ----------
    rows : ndarray of shape (n_samples, n_features), float32 or float64
    weights, means, covariances : ndarray, float64
        Shaped as scikit-learn's, by the covariance type.
    covariance_type : {'full', 'tied', 'diag', 'spherical'}
    reg_covar : float
    """

    rows: Any
    weights: Any
    means: Any
    covariances: Any
    covariance_type: str
    reg_covar: float


class Worker:
    """What is asked of one adapter."""

    def __init__(self, adapter: Any) -> None:
        self._adapter = adapter
        self._iterations: Any = None

    def version(self) -> str:
        """Return the version of the peer."""
        return str(self._adapter.version())

    def prepare(self, path: str) -> None:
        """Take the task that is in a file."""
        import numpy as np

        self._iterations = None  # the memory of the last task, before the next one is read
        with np.load(path) as arrays:
            task = {name: arrays[name] for name in arrays.files}
        for name in ("covariance_type", "reg_covar"):
            task[name] = task[name].item()
        self._iterations = self._adapter(Task(**task))

    def run(self, iterations: int) -> float:
        """Take iterations from the start, and return the seconds."""
        start = time.perf_counter()
        self._iterations.run(iterations)
        return time.perf_counter() - start

    def parameters(self, path: str) -> None:
        """Write what the last iterations have come to."""
        import numpy as np

        weights, means, covariances = self._iterations.parameters()
        np.savez(path, weights=weights, means=means, covariances=covariances)


def confine(processors: int) -> None:
    """Keep this process to some processors and to the memory that is there.

    Libraries choose their threads by the processors that they see. One that asks for more memory
    than there is fails by itself; otherwise the system might end another process.
    """
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:processors])
    if sys.platform == "linux":
        import resource

        with open("/proc/meminfo") as file:  # noqa: PTH123
            fields = dict(line.split(":", 1) for line in file)
        available = 1024 * int(fields["MemAvailable"].split()[0])
        _, most = resource.getrlimit(resource.RLIMIT_DATA)
        if most != resource.RLIM_INFINITY:
            available = min(available, most)
        resource.setrlimit(resource.RLIMIT_DATA, (available, most))


def load(path: str, name: str) -> Any:
    """Return a class of an adapter."""
    spec = importlib.util.spec_from_file_location("adapter", path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is no adapter")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return getattr(module, name)


def main(path: str, name: str, processors: str) -> None:
    """Answer until the standard input ends."""
    # What libraries print goes to standard error; answers alone go to standard output.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    here = os.path.dirname(os.path.abspath(__file__))  # noqa: PTH100, PTH120
    sys.path[:] = [entry for entry in sys.path if entry != here]  # its names are no packages'
    confine(int(processors))
    warnings.simplefilter("ignore")
    worker = None
    for line in sys.stdin:
        request, *arguments = json.loads(line)
        try:
            if worker is None:
                worker = Worker(load(path, name))
            answer = {"value": getattr(worker, request)(*arguments)}
        except Exception as error:
            text = " ".join(str(error).split())
            answer = {"error": f"{type(error).__name__}: {text}"[:300]}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
