# Declarations of vbfast.cython_api, whose docstring tells how to use them.
from cython cimport floating

# What an array holds: unnormalised logarithms of probabilities, or probabilities.
cdef enum:
    LOGITS = 0
    PROBS = 1

cdef enum:
    NO_MEMORY = -1

# elbo = expected_log_joint + entropy = log_evidence - kl, in nats.
cdef struct ElboTerms:
    double elbo
    double expected_log_joint
    double entropy
    double log_evidence
    double kl

# Of one slice of n elements, on the calling thread.

cdef floating logsumexp(
    Py_ssize_t n, const floating *a, Py_ssize_t stride) noexcept nogil

cdef Py_ssize_t softmax(
    Py_ssize_t n, const floating *a, Py_ssize_t stride,
    floating *out, Py_ssize_t out_stride) noexcept nogil

cdef Py_ssize_t log_softmax(
    Py_ssize_t n, const floating *a, Py_ssize_t stride,
    floating *out, Py_ssize_t out_stride) noexcept nogil

cdef floating entropy(
    Py_ssize_t n, int kind, const floating *a, Py_ssize_t stride) noexcept nogil

cdef floating kl_divergence(
    Py_ssize_t n, int q_kind, const floating *q, Py_ssize_t q_stride,
    int p_kind, const floating *p, Py_ssize_t p_stride) noexcept nogil

cdef Py_ssize_t elbo(
    Py_ssize_t n, const floating *log_joint, Py_ssize_t stride,
    int q_kind, const floating *q, Py_ssize_t q_stride, ElboTerms *terms) noexcept nogil

cdef Py_ssize_t elbo_and_grad(
    Py_ssize_t n, const floating *log_joint, Py_ssize_t stride,
    const floating *q_logits, Py_ssize_t q_stride, ElboTerms *terms,
    floating *grad_q_logits, Py_ssize_t grad_q_stride,
    floating *grad_log_joint, Py_ssize_t grad_stride) noexcept nogil

# Of each row of a matrix, on num_threads threads.

cdef Py_ssize_t logsumexp_rows(
    Py_ssize_t n_rows, Py_ssize_t n, const floating *a, Py_ssize_t row_stride,
    Py_ssize_t stride, floating *out, int num_threads) noexcept nogil

cdef Py_ssize_t softmax_rows(
    Py_ssize_t n_rows, Py_ssize_t n, const floating *a, Py_ssize_t row_stride,
    Py_ssize_t stride, floating *out, Py_ssize_t out_row_stride, Py_ssize_t out_stride,
    int num_threads) noexcept nogil

cdef Py_ssize_t log_softmax_rows(
    Py_ssize_t n_rows, Py_ssize_t n, const floating *a, Py_ssize_t row_stride,
    Py_ssize_t stride, floating *out, Py_ssize_t out_row_stride, Py_ssize_t out_stride,
    int num_threads) noexcept nogil

cdef Py_ssize_t entropy_rows(
    Py_ssize_t n_rows, Py_ssize_t n, int kind, const floating *a, Py_ssize_t row_stride,
    Py_ssize_t stride, floating *out, int num_threads) noexcept nogil

cdef Py_ssize_t kl_divergence_rows(
    Py_ssize_t n_rows, Py_ssize_t n, int q_kind, const floating *q, Py_ssize_t q_row_stride,
    Py_ssize_t q_stride, int p_kind, const floating *p, Py_ssize_t p_row_stride,
    Py_ssize_t p_stride, floating *out, int num_threads) noexcept nogil

cdef Py_ssize_t elbo_rows(
    Py_ssize_t n_rows, Py_ssize_t n, const floating *log_joint, Py_ssize_t row_stride,
    Py_ssize_t stride, int q_kind, const floating *q, Py_ssize_t q_row_stride,
    Py_ssize_t q_stride, const double *weights, ElboTerms *row_terms, ElboTerms *sum,
    int num_threads) noexcept nogil

cdef Py_ssize_t elbo_and_grad_rows(
    Py_ssize_t n_rows, Py_ssize_t n, const floating *log_joint, Py_ssize_t row_stride,
    Py_ssize_t stride, const floating *q_logits, Py_ssize_t q_row_stride, Py_ssize_t q_stride,
    const double *weights, ElboTerms *row_terms, ElboTerms *sum,
    floating *grad_q_logits, Py_ssize_t grad_q_row_stride, Py_ssize_t grad_q_stride,
    floating *grad_log_joint, Py_ssize_t grad_row_stride, Py_ssize_t grad_stride,
    int num_threads) noexcept nogil

# The pool, for the whole process, and the instruction-set level ("avx2", say).

cdef int get_num_threads() noexcept nogil
cdef void set_num_threads(int num_threads) noexcept nogil
cdef const char *simd_level() noexcept nogil
