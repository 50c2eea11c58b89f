"""Passes and array functions as numba kernels, also of a user's functions.

One pass serves every form. It takes functions of a group of rows and a component, which the loops
over groups and components are made with when they are compiled. From the ground up:

- ``constants``: numbers that were chosen, and why; ``blocking``: which rows are added up together;
- ``compiling``, ``machine_code``: how kernels are compiled and where they are kept; ``memory``,
  ``exponential``: aligned memory, and an exponential that vectorises;
- ``rows``: rows of any strides, loaded into lanes;
- ``forms``: the functions of each form, its values and its slopes in the rows; ``quadratic``: the
  contract's quadratic forms, laid out for them; ``loops``: the loops of log-joint and gradient;
- ``moments``: the functions of each kind of moments, and their loop;
- ``local_step``: responsibilities, outputs and sums from the log-joint;
- ``batch``: memory for some tiles; ``models``, ``user``: log-joints as the steps of a pass, of the
  forms above and of a user's functions; ``bounds``: what these are guarded by;
- ``summary_step``: the moments of a batch, and the contract's statistics; ``threads``, ``passes``,
  ``seeding``: passes on threads;
- ``array_layout``, ``array_kernels``, ``array_results``, ``arrays``: the array functions, from the
  strides of an array to what a call returns.

Imported when the backend is first used; that takes numba, the extra ``vbfast[numba]``.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np

from vbfast.backends.blocking import make_blocking
from vbfast.backends.native.linalg import NativeLinearAlgebra
from vbfast.backends.numba.constants import LIMITS, TILE_BYTES
from vbfast.contract import (
    Backend,
    Blocking,
    Float64Array,
    Identity,
    Linear,
    LogJoint,
    Moments,
    Pass,
    Quadratic,
    Request,
    RowOutputs,
    RowSource,
    SeedingPass,
    UserFunction,
    second_shape,
)
from vbfast.optional import needed

__all__ = ["NumbaBackend", "create_backend", "require_numba"]


def require_numba(by: str) -> None:
    """Raise an error that says how to install numba, where it is not.

    Parameters
    ----------
    by : str
        What needs it.

    Raises
    ------
    ImportError
    """
    with needed("numba", by=by):
        import numba  # noqa: F401


_FORMS = (Quadratic, Linear, UserFunction)
_LINKS = (Identity,)


class NumbaBackend:
    """Kernels that numba compiles when they are first used."""

    name = "numba"

    def blocking(
        self,
        n_samples: int,
        row_length: int,
        n_components: int,
        dtype: np.dtype[Any],
        moments: Moments | None,
    ) -> Blocking:
        """Fix which rows are added up together; large statistics are of few partitions."""
        size = 0
        if moments is not None:
            kept = "diag" if moments == "spherical" else moments
            shape = second_shape(kept, n_components, row_length) or (0,)
            size = 8 * (n_components * (1 + row_length) + math.prod(shape))
        tile_rows = TILE_BYTES // dtype.itemsize
        fitting = max(1, min(LIMITS.partitions, LIMITS.statistics_bytes // max(1, size)))
        limits = replace(LIMITS, tile_rows=tile_rows, partitions=fitting)
        return make_blocking(limits, n_samples, row_length, n_components, dtype, size)

    def evaluates(self, log_joint: LogJoint) -> bool:
        """Quadratic and linear forms and a user's functions, under the identity."""
        forms = (Quadratic, Linear, UserFunction)
        return isinstance(log_joint.form, forms) and isinstance(log_joint.link, Identity)

    def adopt(self, source: RowSource) -> RowSource:
        """Kernels read rows where they lie, whatever their strides."""
        return source

    def begin(
        self,
        log_joint: LogJoint,
        request: Request,
        blocking: Blocking,
        *,
        outputs: RowOutputs,
        workspace: Any,
        num_threads: int,
    ) -> Pass:
        """Start a pass.

        Raises
        ------
        NotImplementedError
            If the gradient is wanted of custom components.
        """
        from vbfast.backends.numba.models import Model
        from vbfast.backends.numba.passes import NumbaPass
        from vbfast.backends.numba.quadratic import lay_out
        from vbfast.backends.numba.user import UserModel

        del workspace, num_threads
        model: Model
        if not isinstance(log_joint.form, UserFunction):
            model = Model(log_joint, lay_out(log_joint, blocking.dtype))
        elif outputs.gradient is None:
            model = UserModel(log_joint, blocking.dtype)
        else:
            raise NotImplementedError(
                "the gradient in the rows takes a model of Gaussian components; the derivative of "
                "a custom log_density is not known"
            )
        return NumbaPass(model, request, blocking, outputs)

    def begin_seeding(self, candidates: Float64Array, blocking: Blocking) -> SeedingPass:
        """Start a k-means++ pass."""
        from vbfast.backends.numba.seeding import NumbaSeedingPass

        return NumbaSeedingPass(candidates, blocking)

    def workspace(self) -> None:
        """Nothing is kept between passes."""

    def linalg(self, num_threads: int) -> NativeLinearAlgebra:
        """Return the native one: no loop over rows is in it."""
        return NativeLinearAlgebra(num_threads)


def create_backend() -> Backend:
    """Return the backend, for :func:`vbfast.backends.get_backend`."""
    require_numba("the backend 'numba'")
    return NumbaBackend()
