"""The functions of each row of a matrix, a 2-d array."""

from __future__ import annotations

import numpy as np
from numba.extending import overload

from vbfast.numba_api import functions
from vbfast.numba_api.overloads.checks import (
    check_array,
    check_gradients,
    check_gradients_fit,
    check_info,
    check_one_of,
    check_out,
    check_pair,
    check_q,
    check_shape_of_p,
    check_shape_of_q,
    check_weights,
    check_weights_fit,
)
from vbfast.numba_api.overloads.operands import (
    aligned,
    apart,
    apart_from_both,
    bound_terms,
    either,
    elements,
    null,
    step,
)
from vbfast.numba_api.symbols import external


@overload(functions.logsumexp_rows)
def _overload_logsumexp_rows(a, num_threads=1):
    dtype = check_array("a", a, 2)
    call = external("logsumexp_rows", dtype)

    def logsumexp_rows(a, num_threads=1):
        x = aligned(a)
        N, n = x.shape
        out = np.empty(N, x.dtype)
        check_info(call(N, n, x.ctypes, step(x, 0), step(x, 1), out.ctypes, num_threads))
        return out

    return logsumexp_rows


def _overload_map_rows(function):
    name = function.__name__

    def overload_map_rows(a, out, num_threads=1):
        dtype = check_array("a", a, 2)
        check_array("out", out, 2, dtype, output=True)
        call = external(name, dtype)

        def map_rows(a, out, num_threads=1):
            check_out(out, a)
            x = apart(aligned(a), out)
            N, n = x.shape
            check_info(
                call(
                    N, n, x.ctypes, step(x, 0), step(x, 1),
                    out.ctypes, step(out, 0), step(out, 1), num_threads,
                )
            )  # fmt: skip

        return map_rows

    overload(function)(overload_map_rows)


_overload_map_rows(functions.softmax_rows)
_overload_map_rows(functions.log_softmax_rows)


@overload(functions.entropy_rows)
def _overload_entropy_rows(probs=None, logits=None, num_threads=1):
    kind = check_one_of(probs=probs, logits=logits)
    given = ("probs", probs) if kind else ("logits", logits)
    call = external("entropy_rows", check_array(*given, 2))

    def entropy_rows(probs=None, logits=None, num_threads=1):
        x = aligned(either(probs, logits))
        N, n = x.shape
        out = np.empty(N, x.dtype)
        check_info(call(N, n, kind, x.ctypes, step(x, 0), step(x, 1), out.ctypes, num_threads))
        return out

    return entropy_rows


@overload(functions.kl_divergence_rows)
def _overload_kl_divergence_rows(
    q_probs=None, p_probs=None, q_logits=None, p_logits=None, num_threads=1
):
    q_kind, p_kind, dtype = check_pair(2, q_probs, p_probs, q_logits, p_logits)
    call = external("kl_divergence_rows", dtype)

    def kl_divergence_rows(q_probs=None, p_probs=None, q_logits=None, p_logits=None, num_threads=1):
        q = aligned(either(q_probs, q_logits))
        p = aligned(either(p_probs, p_logits))
        check_shape_of_p(p, q)
        N, n = q.shape
        out = np.empty(N, q.dtype)
        check_info(
            call(
                N, n, q_kind, q.ctypes, step(q, 0), step(q, 1),
                p_kind, p.ctypes, step(p, 0), step(p, 1), out.ctypes, num_threads,
            )
        )  # fmt: skip
        return out

    return kl_divergence_rows


@overload(functions.elbo_rows)
def _overload_elbo_rows(log_joint, q=None, q_logits=None, sample_weight=None, num_threads=1):
    dtype = check_array("log_joint", log_joint, 2)
    kind = check_q(dtype, 2, q=q, q_logits=q_logits)
    check_weights(sample_weight)
    call = external("elbo_rows", dtype)

    def elbo_rows(log_joint, q=None, q_logits=None, sample_weight=None, num_threads=1):
        x, y = aligned(log_joint), aligned(either(q, q_logits))
        check_shape_of_q(y, x)
        check_weights_fit(sample_weight, x)
        N, n = x.shape
        terms = np.empty(5)
        check_info(
            call(
                N, n, x.ctypes, step(x, 0), step(x, 1),
                kind, elements(y, x), step(y, 0), step(y, 1),
                elements(sample_weight, terms), null(terms), terms.ctypes, num_threads,
            )
        )  # fmt: skip
        return bound_terms(terms)

    return elbo_rows


@overload(functions.elbo_and_grad_rows)
def _overload_elbo_and_grad_rows(log_joint, q_logits, out, sample_weight=None, num_threads=1):
    dtype = check_array("log_joint", log_joint, 2)
    check_q(dtype, 2, q_logits=q_logits)
    check_gradients(dtype, 2, out)
    check_weights(sample_weight)
    call = external("elbo_and_grad_rows", dtype)

    def elbo_and_grad_rows(log_joint, q_logits, out, sample_weight=None, num_threads=1):
        grad_q, grad = out
        check_shape_of_q(q_logits, log_joint)
        check_weights_fit(sample_weight, log_joint)
        check_gradients_fit(grad_q, grad, log_joint)
        x = apart_from_both(aligned(log_joint), out)
        y = apart_from_both(aligned(q_logits), out)
        weights = apart_from_both(sample_weight, out)
        N, n = x.shape
        terms = np.empty(5)
        check_info(
            call(
                N, n, x.ctypes, step(x, 0), step(x, 1),
                elements(y, x), step(y, 0), step(y, 1),
                elements(weights, terms), null(terms), terms.ctypes,
                grad_q.ctypes, step(grad_q, 0), step(grad_q, 1),
                grad.ctypes, step(grad, 0), step(grad, 1), num_threads,
            )
        )  # fmt: skip
        return bound_terms(terms)

    return elbo_and_grad_rows
