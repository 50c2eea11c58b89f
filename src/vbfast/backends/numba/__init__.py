"""The E-step contract and the array functions as numba kernels, for custom components, too.

- ``compiling``, ``machine_code``, ``exponential``: how kernels are compiled and where they are
  kept, and the exponential that vectorises;
- ``tiles``, ``log_joint``, ``local_step``, ``gradient``, ``moments``: the kernels of a pass, in
  this order;
- ``batch``, ``gaussian``, ``custom``: what is done with the rows of a batch, for the contract's
  models and for a user's own;
- ``passes``, ``seeding``: passes, on ``threads``;
- ``array_layout``, ``array_kernels``, ``array_results``, ``arrays``: the array functions, from the
  strides of an array to what a call returns.

Imported when the backend is first used; that takes numba, the extra ``vbfast[numba]``.
"""

from __future__ import annotations

from typing import Any

from vbfast.backends.native.linalg import NativeLinearAlgebra
from vbfast.backends.numba import blocking
from vbfast.contract import (
    Backend,
    Blocking,
    Float64Array,
    Identity,
    LogJoint,
    Pass,
    Quadratic,
    Request,
    RowOutputs,
    RowSource,
    SeedingPass,
    UserFunction,
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


class NumbaBackend:
    """Kernels that numba compiles when they are first used."""

    name = "numba"
    blocking = staticmethod(blocking.blocking)

    def evaluates(self, log_joint: LogJoint) -> bool:
        """Quadratic forms, and a user's functions."""
        known = isinstance(log_joint.form, Quadratic | UserFunction)
        return known and isinstance(log_joint.link, Identity)

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
        from vbfast.backends.numba.batch import Model
        from vbfast.backends.numba.custom import CustomModel
        from vbfast.backends.numba.gaussian import GaussianModel
        from vbfast.backends.numba.passes import NumbaPass

        del workspace, num_threads
        model: Model
        gradient = None
        if isinstance(log_joint.form, UserFunction):
            if outputs.gradient is not None:
                raise NotImplementedError(
                    "the gradient in the rows takes a model of Gaussian components; the "
                    "derivative of a custom log_density is not known"
                )
            model = CustomModel(log_joint, blocking.dtype)
        else:
            model = gaussian = GaussianModel(log_joint, request, blocking.dtype)
            if outputs.gradient is not None:
                gradient = gaussian.gradient()
        return NumbaPass(model, gradient, request, blocking, outputs)

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
