"""What numba compiles for the functions of this package: importing it tells numba.

Each overload checks the types of its arguments, so that compiling a caller names those that do not
fit, and returns a call of the C function on the array's data and strides. A pointer is taken in the
call itself (``a.ctypes``), so that the array outlives it.
"""

import vbfast.numba_api.overloads.rows
import vbfast.numba_api.overloads.slices  # noqa: F401
