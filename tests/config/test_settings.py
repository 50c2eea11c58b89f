"""Threads and backend: overrides for a block of code, and what is refused."""

from __future__ import annotations

import asyncio
import contextvars
import threading

import numpy as np
import pytest

import vbfast
from vbfast.arrays.arguments import executor
from vbfast.backends import DEFAULT_BACKEND, backend_names, get_array_functions
from vbfast.config.settings import config_context, current_backend


def test_set_and_reset(restore_num_threads):
    default = vbfast.get_num_threads()
    assert default >= 1
    vbfast.set_num_threads(np.int64(default + 2))
    assert vbfast.get_num_threads() == default + 2
    vbfast.set_num_threads(0)
    assert vbfast.get_num_threads() == default


def test_blocks_nest_and_end(restore_num_threads):
    vbfast.set_num_threads(5)
    with config_context(num_threads=2, backend="reference"):
        assert (vbfast.get_num_threads(), current_backend()) == (2, "reference")
        with config_context(num_threads=3):
            assert (vbfast.get_num_threads(), current_backend()) == (3, "reference")
            with config_context():
                assert (vbfast.get_num_threads(), current_backend()) == (3, "reference")
            vbfast.set_num_threads(7)  # the block's own number goes first
            assert vbfast.get_num_threads() == 3
        assert vbfast.get_num_threads() == 2
    assert (vbfast.get_num_threads(), current_backend()) == (7, DEFAULT_BACKEND)


def test_settings_of_array_functions(restore_num_threads):
    native = get_array_functions(DEFAULT_BACKEND)
    assert executor() == (native, 0)
    with config_context(num_threads=2):
        assert executor() == (native, 2)
        with config_context(backend="reference"):
            assert executor() == (get_array_functions("reference"), 2)
    with config_context(backend="reference"):
        assert executor() == (get_array_functions("reference"), 0)


def test_a_block_ends_by_an_exception_too():
    before = vbfast.get_num_threads()
    with pytest.raises(ZeroDivisionError), config_context(num_threads=before + 1):
        raise ZeroDivisionError
    assert vbfast.get_num_threads() == before


def test_other_threads_do_not_see_a_block():
    before, seen = vbfast.get_num_threads(), []
    with config_context(num_threads=before + 1, backend="reference"):
        thread = threading.Thread(
            target=lambda: seen.extend([vbfast.get_num_threads(), current_backend()])
        )
        thread.start()
        thread.join()
    assert seen == [before, DEFAULT_BACKEND]


def test_asynchronous_tasks_do_not_see_each_other_s_block():
    async def task(number, entered, other):
        with config_context(num_threads=number):
            entered.set()
            await other.wait()
            return vbfast.get_num_threads()

    async def both():
        first, second = asyncio.Event(), asyncio.Event()
        return await asyncio.gather(task(2, first, second), task(3, second, first))

    assert asyncio.run(both()) == [2, 3]


@pytest.mark.parametrize(
    ("number", "error", "message"),
    [
        (-1, ValueError, "num_threads must be at least 0; got -1"),
        (10**12, ValueError, "num_threads must be at most 65536; got 1000000000000"),
        (1.0, TypeError, "num_threads must be an integer; got 1.0 of type float"),
        ("2", TypeError, "must be an integer; got '2' of type str"),
        (None, TypeError, "must be an integer; got None"),
    ],
)
def test_wrong_numbers_of_threads(number, error, message):
    before = vbfast.get_num_threads()
    with pytest.raises(error, match=message):
        vbfast.set_num_threads(number)
    assert vbfast.get_num_threads() == before


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"num_threads": 0}, ValueError, "num_threads must be at least 1; got 0"),
        ({"num_threads": 2.5}, TypeError, "num_threads must be an integer"),
        ({"backend": "opencl"}, ValueError, "opencl"),
    ],
)
def test_wrong_overrides(arguments, error, message):
    with pytest.raises(error, match=message) as caught, config_context(**arguments):
        pytest.fail("the block must not be entered")
    if "backend" in arguments:
        assert all(name in str(caught.value) for name in backend_names())


def test_a_block_that_is_closed_where_it_was_not_entered():
    """As the interpreter does with one that an interruption left."""
    block = config_context(backend="reference")
    contextvars.copy_context().run(block.__enter__)
    with config_context(num_threads=2):
        block.gen.close()
        assert (vbfast.get_num_threads(), current_backend()) == (2, DEFAULT_BACKEND)
