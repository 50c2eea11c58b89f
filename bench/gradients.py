"""Seconds of the evidence's gradient, in the parameters and in the rows too, and of EM beside it.

An EM iteration is timed as in em_iteration.py, the three taking turns, a gradient after one that is
not timed; medians of times and of their ratios are printed. The gradient is taken amid the timed
iterations, as posteriors grow sparser from one to the next. JAX differentiates the same evidence,
compiled, on a subset of the rows whose N x K array (N x K x D for 'full') it can hold, and its time
is scaled to all rows. The speed-up is of both gradients over JAX. ``--peers none`` leaves it out.
"""

from __future__ import annotations

import warnings
from functools import partial

import measure

if __name__ == "__main__":
    measure.restart_without()

import numpy as np
from sklearn.exceptions import ConvergenceWarning

import vbfast
from vbfast.benchmark.cases import CASES
from vbfast.benchmark.iterations import iteration_seconds, iterations_lasting
from vbfast.benchmark.timing import seconds

PEER_NUMBERS = 20_000_000  # of the largest array that JAX makes

OUR_ITERATIONS = 5


def jax_gradient(covariance_type):
    """A compiled function of rows and parameters: the evidence and its gradient in all of them."""
    import jax
    import jax.numpy as jnp

    jax.config.update("jax_enable_x64", True)

    def log_joint(X, logits, means, P):
        D = X.shape[1]
        if covariance_type == "full":
            y = jnp.einsum("nd,kde->nke", X, P) - jnp.einsum("kd,kde->ke", means, P)
            square = (y**2).sum(axis=2)
            log_det = jnp.log(jnp.diagonal(P, axis1=1, axis2=2)).sum(axis=1)
        elif covariance_type == "diag":
            square = X**2 @ (P**2).T - 2 * X @ (means * P**2).T + (means**2 * P**2).sum(axis=1)
            log_det = jnp.log(P).sum(axis=1)
        else:
            tied = covariance_type == "tied"
            x, m = (X @ P, means @ P) if tied else (X, means)
            square = (x**2).sum(axis=1, keepdims=True) - 2 * x @ m.T + (m**2).sum(axis=1)
            square = square if tied else square * P**2
            log_det = jnp.log(jnp.diagonal(P)).sum() if tied else D * jnp.log(P)
        constant = -0.5 * D * jnp.log(2 * jnp.pi)
        return jax.nn.log_softmax(logits) + log_det + constant - 0.5 * square

    def log_evidence(*arguments):
        return jax.nn.logsumexp(log_joint(*arguments), axis=1).sum()

    return jax.jit(jax.value_and_grad(log_evidence, argnums=(0, 1, 2, 3)))


def peer_seconds(mixture, rows):
    """JAX's time on a subset, scaled to all rows; None without JAX."""
    try:
        function = jax_gradient(mixture.covariance_type)
    except ImportError:
        return None
    import jax

    K, D = mixture.means_.shape
    row_numbers = K * D if mixture.covariance_type == "full" else K
    some = rows[: max(1, PEER_NUMBERS // row_numbers)]
    parameters = (np.log(mixture.weights_), mixture.means_, mixture.precisions_cholesky_)

    def call():
        jax.block_until_ready(function(some, *parameters))

    call()  # compiles
    return seconds(call) * len(rows) / len(some)


def tables(
    cases=tuple(CASES), dtypes=("float64", "float32"), *, repeats=3, peers="jax", quick=False
):
    warnings.simplefilter("ignore", ConvergenceWarning)
    lines, least = [], repeats
    for dtype in dtypes:
        for name in cases:
            case = CASES[name].smaller(100) if quick else CASES[name]
            rows = case.rows(dtype)
            fitted = vbfast.GaussianMixture(**case.start(), max_iter=1 + OUR_ITERATIONS // 2)
            fitted.fit(rows)
            if not quick:  # short ones more often
                mixture = vbfast.GaussianMixture(**case.start())
                repeats = max(least, iterations_lasting(mixture, rows, 1.5) // OUR_ITERATIONS)
            gradient = partial(fitted.log_evidence_and_grad, rows)
            gradient_with_x = partial(fitted.log_evidence_and_grad, rows, wrt_x=True)
            times = []
            for _ in range(repeats):
                mixture = vbfast.GaussianMixture(**case.start())
                times.append(
                    [
                        iteration_seconds(mixture, rows, OUR_ITERATIONS),
                        measure.warm_seconds(gradient),
                        measure.warm_seconds(gradient_with_x),
                    ]
                )
            em, parameters, with_x = np.median(times, axis=0)
            _, of_parameters, of_all = np.median(np.array(times) / np.array(times)[:, :1], axis=0)
            other = peer_seconds(fitted, rows) if peers == "jax" else None
            lines.append([name, dtype, f"{em:.4f}", f"{parameters:.4f}", f"{of_parameters:.2f}",
                          f"{with_x:.4f}", f"{of_all:.2f}", measure.cell(other, 3),
                          measure.speed_up(other, with_x)])  # fmt: skip
    header = ["case", "dtype", "EM iteration s", "gradient s", "gradient / EM", "with x s",
              "with x / EM", "JAX with x s", "speed-up"]  # fmt: skip
    return [measure.Table(header, lines)]


if __name__ == "__main__":
    measure.run_script(tables)
