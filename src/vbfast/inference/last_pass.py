"""A pass that belongs to no iteration: how good the parameters are that iterations ended with."""

from __future__ import annotations

from dataclasses import replace
from typing import TypeVar

import numpy as np

from vbfast.contract import Quadratic, Request
from vbfast.families.family import Family, Parameters
from vbfast.inference.em import EMResult
from vbfast.inference.errors import DistantRowError
from vbfast.inference.runner import RowRunner

__all__ = ["with_last_pass"]

P = TypeVar("P", bound=Parameters)


def with_last_pass(runner: RowRunner, family: Family[P], result: EMResult[P]) -> EMResult[P]:
    """Return a result whose last bound is that of its parameters and of all rows.

    Parameters
    ----------
    runner : RowRunner
    family : Family
    result : EMResult
        Of iterations whose bounds are of other parameters, or of other responsibilities than those
        of the parameters. Without iterations it is returned as it is.

    Returns
    -------
    EMResult

    Raises
    ------
    NonFiniteRowError
        If a row is not finite.
    DistantRowError
        If a row of positive weight has log-density ``-inf`` under all components, of a quadratic
        form.
    """
    if not result.lower_bounds:
        return result
    log_joint = result.parameters.log_joint()
    sums = runner.run(log_joint, Request())
    if sums.log_evidence == -np.inf and isinstance(log_joint.form, Quadratic):
        raise DistantRowError.of_iteration(runner.impossible_row(log_joint), runner.dtype)
    bound = family.bound_at(sums, result.parameters)
    bounds = [*result.lower_bounds[:-1], bound]
    return replace(result, lower_bounds=bounds, n_passes=result.n_passes + 1)
