"""A peer in a process of its own: it may print, crash or hang without harm to the others."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import tempfile
import threading
from pathlib import Path
from typing import IO, Any

__all__ = ["PeerError", "PeerProcess"]

WORKER = Path(__file__).with_name("worker.py")
ADAPTERS = Path(__file__).with_name("adapters")
# What somebody set for other programs; a library's own choice is that of its users.
SETTINGS = (
    "MKL_NUM_THREADS",
    "NUMBA_NUM_THREADS",
    "OMP_NUM_THREADS",
    "OPENBLAS_CORETYPE",
    "OPENBLAS_NUM_THREADS",
    "VBFAST_NUM_THREADS",
)


class PeerError(RuntimeError):
    """A peer has raised an error, has ended, or has taken too long."""


class PeerProcess:
    """An adapter in a process of its own.

    Parameters
    ----------
    interpreter : str
        The Python that runs it.
    adapter : str
        The name of a file in ``adapters/``, and of a class in it, as ``"estimators:Ours"``.
    processors : int
        How many processors the process sees.
    """

    def __init__(self, interpreter: str, adapter: str, processors: int) -> None:
        module, _, name = adapter.partition(":")
        self.processors = processors
        self._printed: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115
        self._process = subprocess.Popen(
            [interpreter, str(WORKER), str(ADAPTERS / f"{module}.py"), name, str(processors)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._printed,
            env={key: value for key, value in os.environ.items() if key not in SETTINGS},
            text=True,
        )

    def ask(self, request: str, *arguments: Any, limit: float) -> Any:
        """Have a method of the worker called.

        Parameters
        ----------
        request : str
        *arguments
            Of JSON's types.
        limit : float
            Seconds, after which the process is ended; may be infinite.

        Raises
        ------
        PeerError
            If the method raises, the process ends, or the time is up.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        too_late = threading.Event()

        def end() -> None:
            too_late.set()
            self._process.kill()

        timer = threading.Timer(min(limit, threading.TIMEOUT_MAX), end)
        timer.start()
        try:
            with contextlib.suppress(BrokenPipeError):  # the answer is missing, too
                self._process.stdin.write(json.dumps([request, *arguments]) + "\n")
                self._process.stdin.flush()
            line = self._process.stdout.readline()
        finally:
            timer.cancel()
        if not line:
            late = too_late.is_set()
            raise PeerError(f"no end within {limit:g} s" if late else self._last_words())
        answer = json.loads(line)
        if "error" in answer:
            raise PeerError(answer["error"])
        return answer["value"]

    def _last_words(self) -> str:
        status = self._process.wait()
        self._printed.seek(0)
        printed = self._printed.read().decode(errors="replace").split("\n")
        said = next((line.strip() for line in reversed(printed) if line.strip()), "")
        return f"its process ended with status {status}: {said}".rstrip(": ")[:300]

    def alive(self) -> bool:
        """Return whether it can be asked."""
        return self._process.poll() is None

    def close(self) -> None:
        """End the process."""
        with contextlib.suppress(BrokenPipeError):
            self._process.communicate()
        self._printed.close()
