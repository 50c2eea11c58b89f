"""The pass of an iteration of a benchmark's case, for scripts that time passes by themselves."""

from __future__ import annotations

from vbfast.benchmark.cases import CASES
from vbfast.contract import Request
from vbfast.families.covariances import MOMENTS_OF
from vbfast.families.gaussian_parameters import GaussianParameters
from vbfast.passes.rows import as_row_source


def case_pass(name, dtype, quick):
    """Return the rows, the log-joint of the start, and the request; fewer rows if ``quick``."""
    case = CASES[name].smaller(100) if quick else CASES[name]
    start = case.start()
    parameters = GaussianParameters.from_precisions(
        case.covariance_type, start["weights_init"], start["means_init"], start["precisions_init"]
    )
    request = Request(moments=MOMENTS_OF[case.covariance_type])
    return as_row_source(case.rows(dtype)), parameters.log_joint(), request
