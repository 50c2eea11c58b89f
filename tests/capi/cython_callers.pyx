# cython: language_level=3, boundscheck=False, wraparound=False
"""Callers of vbfast.cython_api, compiled by the tests as a user's module would be."""
from cython cimport floating
from cython.parallel cimport prange
from vbfast cimport cython_api
from vbfast.cython_api cimport LOGITS, PROBS, ElboTerms


cdef inline Py_ssize_t step(const floating[:] a) noexcept nogil:
    return a.strides[0] // <Py_ssize_t>sizeof(floating)


cdef as_tuple(ElboTerms terms):
    return terms.elbo, terms.expected_log_joint, terms.entropy, terms.log_evidence, terms.kl


def logsumexp(const floating[:] a):
    cdef floating value
    with nogil:
        value = cython_api.logsumexp(a.shape[0], &a[0], step(a))
    return value


def softmax(const floating[:] a, floating[:] out):
    return cython_api.softmax(a.shape[0], &a[0], step(a), &out[0], step(out))


def log_softmax(const floating[:] a, floating[:] out):
    return cython_api.log_softmax(a.shape[0], &a[0], step(a), &out[0], step(out))


def entropy(const floating[:] a, bint probs):
    return cython_api.entropy(a.shape[0], PROBS if probs else LOGITS, &a[0], step(a))


def kl_divergence(const floating[:] q, bint q_probs, const floating[:] p, bint p_probs):
    return cython_api.kl_divergence(
        q.shape[0], PROBS if q_probs else LOGITS, &q[0], step(q),
        PROBS if p_probs else LOGITS, &p[0], step(p))


def elbo(const floating[:] log_joint, const floating[:] q, bint probs):
    cdef ElboTerms terms
    cdef Py_ssize_t info
    info = cython_api.elbo(
        log_joint.shape[0], &log_joint[0], step(log_joint),
        PROBS if probs else LOGITS, &q[0], step(q), &terms)
    return info, as_tuple(terms)


def elbo_of_posterior(const floating[:] log_joint):
    cdef ElboTerms terms
    cdef const floating *posterior = NULL
    cython_api.elbo(
        log_joint.shape[0], &log_joint[0], step(log_joint), LOGITS, posterior, 0, &terms)
    return as_tuple(terms)


def elbo_and_grad(
        const floating[:] log_joint, const floating[:] q_logits, floating[:] grad_q,
        floating[:] grad):
    cdef ElboTerms terms
    cdef Py_ssize_t info
    info = cython_api.elbo_and_grad(
        log_joint.shape[0], &log_joint[0], step(log_joint), &q_logits[0], step(q_logits), &terms,
        &grad_q[0], step(grad_q), &grad[0], step(grad))
    return info, as_tuple(terms)


def logsumexp_in_prange(const floating[:, ::1] a, floating[::1] out):
    cdef Py_ssize_t n, K = a.shape[1]
    for n in prange(a.shape[0], nogil=True):
        out[n] = cython_api.logsumexp(K, &a[n, 0], 1)


def rows(const floating[:, :] a, const floating[:, :] b, int num_threads, floating[:, ::1] results,
         floating[:, :] soft, floating[:, :] log_soft):
    cdef Py_ssize_t N = a.shape[0], n = a.shape[1], size = sizeof(floating), info = 0
    cdef Py_ssize_t a0 = a.strides[0] // size, a1 = a.strides[1] // size
    cdef Py_ssize_t b0 = b.strides[0] // size, b1 = b.strides[1] // size
    cdef Py_ssize_t s0 = soft.strides[0] // size, s1 = soft.strides[1] // size
    with nogil:
        info |= cython_api.logsumexp_rows(
            N, n, &a[0, 0], a0, a1, &results[0, 0], num_threads)
        info |= cython_api.entropy_rows(
            N, n, LOGITS, &a[0, 0], a0, a1, &results[1, 0], num_threads)
        info |= cython_api.kl_divergence_rows(
            N, n, LOGITS, &a[0, 0], a0, a1, LOGITS, &b[0, 0], b0, b1, &results[2, 0],
            num_threads)
        info |= cython_api.softmax_rows(
            N, n, &a[0, 0], a0, a1, &soft[0, 0], s0, s1, num_threads)
        info |= cython_api.log_softmax_rows(
            N, n, &a[0, 0], a0, a1, &log_soft[0, 0], s0, s1, num_threads)
    return info


def elbo_rows(
        const floating[:, ::1] log_joint, const floating[:, ::1] q, bint probs,
        const double[::1] weights, double[:, ::1] row_terms, int num_threads):
    cdef ElboTerms total
    cdef Py_ssize_t info, K = log_joint.shape[1]
    info = cython_api.elbo_rows(
        log_joint.shape[0], K, &log_joint[0, 0], K, 1, PROBS if probs else LOGITS, &q[0, 0], K, 1,
        &weights[0], <ElboTerms *>&row_terms[0, 0], &total, num_threads)
    return info, as_tuple(total)


def elbo_and_grad_rows(
        const floating[:, ::1] log_joint, const floating[:, ::1] q_logits,
        const double[::1] weights, floating[:, ::1] grad_q, floating[:, ::1] grad,
        int num_threads):
    cdef ElboTerms total
    cdef Py_ssize_t info, K = log_joint.shape[1]
    info = cython_api.elbo_and_grad_rows(
        log_joint.shape[0], K, &log_joint[0, 0], K, 1, &q_logits[0, 0], K, 1, &weights[0], NULL,
        &total, &grad_q[0, 0], K, 1, &grad[0, 0], K, 1, num_threads)
    return info, as_tuple(total)


def num_threads(int number):
    cython_api.set_num_threads(number)
    return cython_api.get_num_threads()


def simd_level():
    return cython_api.simd_level().decode()
