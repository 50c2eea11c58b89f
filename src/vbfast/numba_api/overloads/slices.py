"""The functions of one slice, a 1-d array."""

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
)
from vbfast.numba_api.overloads.operands import (
    aligned,
    apart,
    apart_from_both,
    bound_terms,
    either,
    elements,
    step,
)
from vbfast.numba_api.symbols import external


@overload(functions.logsumexp)
def _overload_logsumexp(a):
    call = external("logsumexp", check_array("a", a, 1))

    def logsumexp(a):
        x = aligned(a)
        return call(x.size, x.ctypes, step(x, 0))

    return logsumexp


def _overload_map(function):
    name = function.__name__

    def overload_map(a, out):
        dtype = check_array("a", a, 1)
        check_array("out", out, 1, dtype, output=True)
        call = external(name, dtype)

        def map_slice(a, out):
            check_out(out, a)
            x = apart(aligned(a), out)
            check_info(call(x.size, x.ctypes, step(x, 0), out.ctypes, step(out, 0)))

        return map_slice

    overload(function)(overload_map)


_overload_map(functions.softmax)
_overload_map(functions.log_softmax)


@overload(functions.entropy)
def _overload_entropy(probs=None, logits=None):
    kind = check_one_of(probs=probs, logits=logits)
    given = ("probs", probs) if kind else ("logits", logits)
    call = external("entropy", check_array(*given, 1))

    def entropy(probs=None, logits=None):
        x = aligned(either(probs, logits))
        return call(x.size, kind, x.ctypes, step(x, 0))

    return entropy


@overload(functions.kl_divergence)
def _overload_kl_divergence(q_probs=None, p_probs=None, q_logits=None, p_logits=None):
    q_kind, p_kind, dtype = check_pair(1, q_probs, p_probs, q_logits, p_logits)
    call = external("kl_divergence", dtype)

    def kl_divergence(q_probs=None, p_probs=None, q_logits=None, p_logits=None):
        q = aligned(either(q_probs, q_logits))
        p = aligned(either(p_probs, p_logits))
        check_shape_of_p(p, q)
        return call(q.size, q_kind, q.ctypes, step(q, 0), p_kind, p.ctypes, step(p, 0))

    return kl_divergence


@overload(functions.elbo)
def _overload_elbo(log_joint, q=None, q_logits=None):
    dtype = check_array("log_joint", log_joint, 1)
    kind = check_q(dtype, 1, q=q, q_logits=q_logits)
    call = external("elbo", dtype)

    def elbo(log_joint, q=None, q_logits=None):
        x, y = aligned(log_joint), aligned(either(q, q_logits))
        check_shape_of_q(y, x)
        terms = np.empty(5)
        call(x.size, x.ctypes, step(x, 0), kind, elements(y, x), step(y, 0), terms.ctypes)
        return bound_terms(terms)

    return elbo


@overload(functions.elbo_and_grad)
def _overload_elbo_and_grad(log_joint, q_logits, out):
    dtype = check_array("log_joint", log_joint, 1)
    check_q(dtype, 1, q_logits=q_logits)
    check_gradients(dtype, 1, out)
    call = external("elbo_and_grad", dtype)

    def elbo_and_grad(log_joint, q_logits, out):
        grad_q, grad = out
        check_shape_of_q(q_logits, log_joint)
        check_gradients_fit(grad_q, grad, log_joint)
        x = apart_from_both(aligned(log_joint), out)
        y = apart_from_both(aligned(q_logits), out)
        terms = np.empty(5)
        call(
            x.size, x.ctypes, step(x, 0), elements(y, x), step(y, 0), terms.ctypes,
            grad_q.ctypes, step(grad_q, 0), grad.ctypes, step(grad, 0),
        )  # fmt: skip
        return bound_terms(terms)

    return elbo_and_grad
