"""Seconds of one pass of an EM iteration on the numba backend, as a multiple of the native one.

They take turns, from the same parameters; compilation is over before the clock starts.
"""

from __future__ import annotations

import measure

if __name__ == "__main__":
    measure.restart_without()

import vbfast
from vbfast.backends import get_backend
from vbfast.benchmark.cases import CASES
from vbfast.benchmark.timing import alternate
from vbfast.config.settings import current_backend
from vbfast.contract import Request
from vbfast.families.covariances import MOMENTS_OF
from vbfast.families.gaussian import GaussianParameters
from vbfast.passes.one_pass import run_pass
from vbfast.passes.rows import as_row_source


def one_pass(backend, rows, params, request):
    with vbfast.config_context(backend=backend):
        workspace = get_backend(current_backend()).workspace()

    def call():
        with vbfast.config_context(backend=backend):
            run_pass(rows, params, request, workspace=workspace)

    call()
    return call


def table(cases=("diag_32", "diag_bigK", "sph_bigK"), dtypes=("float64", "float32"), *,
          repeats=5, quick=False):  # fmt: skip
    lines = []
    for dtype in dtypes:
        for name in cases:
            case = CASES[name].smaller(100) if quick else CASES[name]
            rows, start = as_row_source(case.rows(dtype)), case.start()
            params = GaussianParameters.from_precisions(
                case.covariance_type,
                start["weights_init"],
                start["means_init"],
                start["precisions_init"],
            ).log_joint()
            request = Request(moments=MOMENTS_OF[case.covariance_type])
            calls = [one_pass(backend, rows, params, request) for backend in ("native", "numba")]
            native, numba = alternate(calls, repeats)
            lines.append([name, dtype, f"{native:.4f}", f"{numba:.4f}", f"{numba / native:.2f}"])
    return measure.markdown(["case", "dtype", "native s", "numba s", "ratio"], lines)


if __name__ == "__main__":
    chosen = measure.options(__doc__, cases=["diag_32", "diag_bigK", "sph_bigK"],
                             dtypes=["float64", "float32"], repeats=5)  # fmt: skip
    print(table(**vars(chosen)))
