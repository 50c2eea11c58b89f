"""Where the C header of the array functions is."""

from __future__ import annotations

from pathlib import Path

__all__ = ["get_include"]


def get_include() -> str:
    """Return the directory of ``vbfast.h``, the array functions for C and C++.

    The header declares a table of functions, for float64 and float32, that need no GIL, and
    ``vbfast_import()``, which finds it in the running process: the same kernels, instruction-set
    level and pool of threads that Python uses. It compiles as C99 and as C++; nothing is linked.

    Returns
    -------
    str
        For the compiler's include path.

    See Also
    --------
    vbfast.cython_api : The same functions to ``cimport``, which needs no header.
    vbfast.numba_api : The same functions inside ``@njit`` code.

    Notes
    -----
    In an extension module::

        #include <Python.h>
        #include <vbfast.h>

        static const vbfast_api *vbfast;

        static PyObject *evidence(PyObject *self, PyObject *buffer) { ...
            double value = vbfast->f64->logsumexp(n, log_joint, 1); ...
        }

        PyMODINIT_FUNC PyInit_mine(void) {
            vbfast = vbfast_import();  /* ImportError where the table is older than the header */
            if (vbfast == NULL) return NULL; ...
        }

    and in its ``setup.py``::

        Extension("mine", ["mine.c"], include_dirs=[vbfast.get_include()])

    Examples
    --------
    >>> import pathlib
    >>> import vbfast
    >>> (pathlib.Path(vbfast.get_include()) / "vbfast.h").is_file()
    True
    """
    return str(Path(__file__).parent / "include")
