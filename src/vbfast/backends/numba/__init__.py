"""Passes and array functions as numba kernels, also of a user's functions.

One pass serves every form. Its loops over tiles of rows and components are made, when they are
compiled, with functions of both. From the ground up:

- ``blocking``: numbers that were chosen, and why;
- ``compiling``, ``memory``, ``exponential``, ``threads``: what kernels stand on;
- ``forms``: functions that evaluate a form and its slopes; ``loops``: over tiles and components;
- ``batch``: some tiles; ``models``, ``user``: log-joints as the steps of a pass, of the forms above
  and of a user's functions;
- ``local_step``: responsibilities from the log-joint; ``moments``: the summary step; ``passes``;
- ``array_kernels``, ``array_boxes``, ``arrays``: the array functions, from sums in lanes to what a
  call returns.

Imported when the backend is first used; that takes numba, the extra ``vbfast[numba]``.
"""

from __future__ import annotations

from typing import Any

from vbfast.backends.checks import check_log_joint
from vbfast.backends.native.linalg import NativeLinearAlgebra, native_linalg
from vbfast.backends.numba import blocking
from vbfast.contract import (
    Backend,
    Blocking,
    Float64Array,
    Identity,
    Linear,
    LogJoint,
    Pass,
    Quadratic,
    Request,
    RowOutputs,
    RowSource,
    SeedingPass,
    UserFunction,
)
from vbfast.user_functions import require_numba

__all__ = ["NumbaBackend", "create_backend"]


class NumbaBackend:
    """Kernels that numba compiles when they are first used."""

    name = "numba"
    blocking = staticmethod(blocking.blocking)

    def evaluates(self, log_joint: LogJoint) -> bool:
        """Quadratic and linear forms and a user's functions, under the identity."""
        form = isinstance(log_joint.form, (Quadratic, Linear, UserFunction))
        return form and isinstance(log_joint.link, Identity)

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
        from vbfast.backends.numba.models import LinearModel, quadratic_model
        from vbfast.backends.numba.passes import NumbaPass
        from vbfast.backends.numba.user import UserModel

        del workspace, num_threads
        lay_out: dict[type, Any] = {
            Quadratic: quadratic_model,
            Linear: LinearModel,
            UserFunction: UserModel,
        }
        if outputs.gradient is not None and isinstance(log_joint.form, UserFunction):
            raise NotImplementedError(
                "the gradient in the rows takes a model of Gaussian components; the derivative of "
                "a custom log_density is not known"
            )
        check_log_joint(log_joint, blocking)
        model = lay_out[type(log_joint.form)](log_joint, blocking.dtype)
        return NumbaPass(model, request, blocking, outputs)

    def begin_seeding(self, candidates: Float64Array, blocking: Blocking) -> SeedingPass:
        """Start a k-means++ pass."""
        from vbfast.backends.numba.passes import NumbaSeedingPass

        return NumbaSeedingPass(candidates, blocking)

    def workspace(self) -> None:
        """Nothing is kept between passes."""

    def linalg(self, num_threads: int) -> NativeLinearAlgebra:
        """Return the native one: no loop over rows is in it."""
        return native_linalg(num_threads)


def create_backend() -> Backend:
    """Return the backend, for :func:`vbfast.backends.get_backend`."""
    require_numba("the backend 'numba'")
    return NumbaBackend()
