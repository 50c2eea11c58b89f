"""Threads that run the tasks of a pass and are gone when it returns.

numba's own layers are not used: one of them must not be entered by two threads at once, another
ends a forked child of a process that used it. Kernels hold no lock of the interpreter, so plain
threads will do, and between two kernels a pass can be interrupted.
"""

from __future__ import annotations

import _thread
import contextlib
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

__all__ = ["Task", "run_tasks"]

Task = Callable[[int], Iterator[None]]

# More threads than processors gain nothing; the native pool draws the same line.
_MOST_THREADS = max(64, os.cpu_count() or 1)


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
        ``RuntimeError`` in the child of a fork during a call on several threads: it has one.
    """
    pending = deque(tasks)
    process = os.getpid()
    stop = threading.Event()
    errors: list[BaseException] = []

    def work(worker: int) -> None:
        try:
            while pending and not stop.is_set():
                try:
                    task = pending.popleft()
                except IndexError:
                    return
                for _ in task(worker):
                    if stop.is_set():
                        return
        except BaseException as error:
            errors.append(error)
            stop.set()

    others: dict[int, Any] = {}  # locks that threads hold while they work
    started: set[int] = set()
    finished: set[int] = set()

    def work_and_tell(worker: int) -> None:
        started.add(worker)
        work(worker)
        finished.add(worker)
        others[worker].release()

    def join(workers: Iterable[int]) -> None:
        for worker in workers:
            # Without a limit not every platform would see signals; a forked child has no others.
            while os.getpid() == process and worker not in finished:
                others[worker].acquire(timeout=0.1)

    try:
        for worker in range(1, min(num_threads, len(tasks), _MOST_THREADS)):
            others[worker] = threading.Lock()
            others[worker].acquire()
            # Unlike a Thread's start it waits for nothing, which would be for ever in a child.
            _thread.start_new_thread(work_and_tell, (worker,))
        work(0)
        join(others)
    except BaseException as error:
        errors.append(error)
        stop.set()
        while True:
            with contextlib.suppress(KeyboardInterrupt):
                join(tuple(started))  # one that starts later finds that it is to stop
                break
    if others and os.getpid() != process:
        raise RuntimeError(
            "the process was forked during a call on several threads, which the child cannot "
            "finish: it has one of them only"
        )
    if errors:
        raise errors[0]
