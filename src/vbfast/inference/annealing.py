"""Deterministic annealing: the first iterations have softer responsibilities.

At inverse temperature ``b`` a row's responsibilities are ``q_k = exp(b l_k) / Z_b``, those that
maximize ``E_q[l] + H[q] / b`` (Ueda and Nakano 1998). Where ``b`` is small, components share the
rows; as it rises to one they part. They are the posterior of a log-joint, ``b l``, so that the
passes are those of any iteration. What such a pass sums is ``log Z_b = b E_q[l] + H[q]``. The bound
is ``E_q[l] + H[q]`` for these responsibilities as for any others.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from vbfast.contract import Identity, Linear, LogJoint, PassResult, Quadratic, Request
from vbfast.families.family import Objective
from vbfast.inference.runner import Runner

__all__ = ["Annealing"]


class Annealing:
    """The temperatures of iterations.

    Parameters
    ----------
    inverse_temperatures : sequence of float, optional
        Of the first iterations, in (0, 1]. The others have 1.

    Examples
    --------
    >>> from vbfast.inference.annealing import Annealing
    >>> annealing = Annealing([0.25, 0.5])
    >>> [annealing.inverse_temperature(iteration) for iteration in range(3)]
    [0.25, 0.5, 1.0]
    """

    def __init__(self, inverse_temperatures: Sequence[float] = ()) -> None:
        self._inverse = tuple(inverse_temperatures)

    @property
    def n_iter(self) -> int:
        """How many iterations have a temperature of their own."""
        return len(self._inverse)

    def inverse_temperature(self, iteration: int) -> float:
        """Return the inverse temperature of an iteration, from 0."""
        return self._inverse[iteration] if iteration < len(self._inverse) else 1.0

    def log_joint(self, log_joint: LogJoint, iteration: int) -> LogJoint:
        """Return the log-joint whose posterior is that of a log-joint in an iteration.

        Raises
        ------
        NotImplementedError
            If it is not a multiple of what backends evaluate.
        """
        inverse = self.inverse_temperature(iteration)
        return log_joint if inverse == 1.0 else _multiple(log_joint, inverse)

    def iterate(
        self,
        runner: Runner,
        log_joint: LogJoint,
        objective: Objective[Any],
        iteration: int,
        previous: PassResult | None,
    ) -> PassResult:
        """Make the pass of an iteration.

        Parameters
        ----------
        runner : Runner
        log_joint : LogJoint
            From :meth:`log_joint`.
        objective : Objective
        iteration : int
            From 0.
        previous : PassResult or None
            Of the iteration before.

        Returns
        -------
        PassResult
            Its ``log_evidence`` is the bound for the responsibilities, which at any other
            temperature than one is less than the evidence.
        """
        inverse = self.inverse_temperature(iteration)
        if inverse != self.inverse_temperature(max(iteration - 1, 0)):
            previous = None  # its evidence was another
        sums = runner.iterate(
            log_joint,
            Request(moments=objective.moments, entropy=inverse != 1.0),
            previous=previous,
            scatter_floor=objective.scatter_floor,
        )
        if inverse == 1.0:
            return sums
        expected = sums.expected_log_joint / inverse
        return replace(
            sums, log_evidence=expected + sums.entropy, expected_log_joint=expected, kl=math.nan
        )


def _multiple(log_joint: LogJoint, factor: float) -> LogJoint:
    form = log_joint.form
    if not isinstance(log_joint.link, Identity) or not isinstance(form, Quadratic | Linear):
        raise NotImplementedError(
            "annealing needs Gaussian components, or others of a linear form; got "
            f"{type(form).__name__} under {type(log_joint.link).__name__}: use annealing=None"
        )
    if isinstance(form, Linear):
        return LogJoint(factor * log_joint.offset, Linear(factor * form.theta))
    factors = math.sqrt(factor) * form.precision_cholesky
    return LogJoint(factor * log_joint.offset, Quadratic(form.factor_type, form.centres, factors))
