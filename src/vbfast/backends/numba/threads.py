"""Threads that run the tasks of a pass and are gone when it returns.

numba's own layers are not used: one of them must not be entered by two threads at once, another
ends a forked child of a process that used it. Kernels hold no lock of the interpreter, so plain
threads will do, and between two kernels a pass can be interrupted.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence

__all__ = ["Task", "run_tasks"]

Task = Callable[[int], Iterator[None]]


def run_tasks(tasks: Sequence[Task], num_threads: int) -> None:
    """Run every task on one of some threads, of which the calling one is the first.

    Parameters
    ----------
    tasks : sequence of callables
        Given the number of the thread, from 0, a task returns an iterator that works whenever it
        is advanced, a few milliseconds at a time; it is left where it is once another has failed.
    num_threads : int

    Raises
    ------
    BaseException
        What a task raised, or ``KeyboardInterrupt``; every thread has stopped then.
    """
    pending = iter(tasks)
    lock = threading.Lock()
    stop = threading.Event()
    errors: list[BaseException] = []

    def work(worker: int) -> None:
        try:
            while not stop.is_set():
                with lock:
                    task = next(pending, None)
                if task is None:
                    return
                for _ in task(worker):
                    if stop.is_set():
                        return
        except BaseException as error:
            errors.append(error)
            stop.set()

    others = [
        threading.Thread(target=work, args=(worker,), daemon=True)
        for worker in range(1, min(num_threads, len(tasks)))
    ]
    try:
        for thread in others:
            thread.start()
        work(0)
        _join(others)
    except BaseException as error:
        errors.append(error)
        stop.set()
        _join(others)
    if errors:
        raise errors[0]


def _join(threads: Sequence[threading.Thread]) -> None:
    for thread in threads:
        while thread.is_alive():
            thread.join(0.1)  # without a limit not every platform would see signals
