r"""Array functions to call from Cython, without the GIL.

``cimport`` finds the declarations (``cython_api.pxd``) in the installed package; a module that uses
them is compiled and linked without anything of vbfast::

    # cython: language_level=3
    from cython cimport floating
    from cython.parallel cimport prange
    from vbfast.cython_api cimport LOGITS, ElboTerms, elbo, entropy, logsumexp, softmax_rows

    def evidences(floating[:, ::1] log_joint, floating[::1] out):
        cdef Py_ssize_t n, K = log_joint.shape[1]
        for n in prange(log_joint.shape[0], nogil=True):
            out[n] = logsumexp(K, &log_joint[n, 0], 1)

    def responsibilities(floating[:, ::1] log_joint, floating[:, ::1] out):
        cdef Py_ssize_t N = log_joint.shape[0], K = log_joint.shape[1]
        with nogil:  # on all threads of vbfast's pool
            softmax_rows(N, K, &log_joint[0, 0], K, 1, &out[0, 0], K, 1, 0)

    def gap(double[::1] log_joint, double[::1] q_logits):
        cdef ElboTerms terms
        elbo(log_joint.shape[0], &log_joint[0], 1, LOGITS, &q_logits[0], 1, &terms)
        return terms.kl

All are ``noexcept nogil``, take ``float`` or ``double`` pointers (a fused type, as in
``cython.floating``) and run the code of the Python functions of the same names, to the same
contract, in nats, in the same pool. They are

- of one slice of ``n`` elements, on the calling thread: ``logsumexp``, ``softmax``,
  ``log_softmax``, ``entropy``, ``kl_divergence``, ``elbo``, ``elbo_and_grad``;
- of each row of a matrix, on ``num_threads`` threads (1 keeps to the calling thread, 0 is the
  pool's number): the same names with ``_rows``;
- ``get_num_threads``, ``set_num_threads`` (for the whole process; 0 goes back to the default) and
  ``simd_level``.

Arguments. Each array is followed by its stride, the step from one element to the next counted in
elements (1 where contiguous; of a memoryview, ``a.strides[0] // sizeof(a[0])``); of a matrix, the
step from row to row comes before it. ``kind`` is ``LOGITS`` (unnormalised logarithms) or ``PROBS``.
A null ``q`` or ``q_logits`` is the posterior. ``weights``, ``row_terms`` and ``sum`` may be null.
In ``softmax`` and ``log_softmax`` the output may be the input; otherwise outputs overlap nothing.

Results. A function that returns a number returns NaN where probabilities are no distribution: an
entry is negative, or the sum is off one by more than 1e-6 (double) or 1e-3 (float). The others
return 0; or i > 0 if row i - 1 is the first whose q is no distribution; or ``NO_MEMORY``.

``vbfast.get_include()`` has the C header that this module is written over; the details are there.

Raises
------
ImportError
    On import, if this module and the rest of the package come from builds that do not fit.
"""

from libc.stdint cimport int64_t


cdef extern from *:
    """
    #include "vbfast.h"

    static const vbfast_api *api = NULL;

    /* One name for the functions of both types, which fused types need. */
    template <class T> struct OfType;
    template <> struct OfType<double> { typedef vbfast_f64 type; };
    template <> struct OfType<float> { typedef vbfast_f32 type; };
    template <class T> using Functions = typename OfType<T>::type;
    static const vbfast_f64 *functions(const double *) { return api->f64; }
    static const vbfast_f32 *functions(const float *) { return api->f32; }
    """
    ctypedef struct vbfast_elbo_terms:
        pass

    ctypedef struct vbfast_api:
        int (*get_num_threads)() noexcept nogil
        void (*set_num_threads)(int) noexcept nogil
        const char *(*simd_level)() noexcept nogil

    const vbfast_api *api
    const vbfast_api *vbfast_import() except NULL

    cdef cppclass Functions[T]:
        T logsumexp(int64_t, const T *, int64_t) noexcept nogil
        int64_t softmax(int64_t, const T *, int64_t, T *, int64_t) noexcept nogil
        int64_t log_softmax(int64_t, const T *, int64_t, T *, int64_t) noexcept nogil
        T entropy(int64_t, int, const T *, int64_t) noexcept nogil
        T kl_divergence(int64_t, int, const T *, int64_t, int, const T *, int64_t) noexcept nogil
        int64_t elbo(
            int64_t, const T *, int64_t, int, const T *, int64_t,
            vbfast_elbo_terms *) noexcept nogil
        int64_t elbo_and_grad(
            int64_t, const T *, int64_t, const T *, int64_t, vbfast_elbo_terms *, T *, int64_t, T *,
            int64_t) noexcept nogil
        int64_t logsumexp_rows(
            int64_t, int64_t, const T *, int64_t, int64_t, T *, int) noexcept nogil
        int64_t softmax_rows(
            int64_t, int64_t, const T *, int64_t, int64_t, T *, int64_t, int64_t,
            int) noexcept nogil
        int64_t log_softmax_rows(
            int64_t, int64_t, const T *, int64_t, int64_t, T *, int64_t, int64_t,
            int) noexcept nogil
        int64_t entropy_rows(
            int64_t, int64_t, int, const T *, int64_t, int64_t, T *, int) noexcept nogil
        int64_t kl_divergence_rows(
            int64_t, int64_t, int, const T *, int64_t, int64_t, int, const T *, int64_t, int64_t,
            T *, int) noexcept nogil
        int64_t elbo_rows(
            int64_t, int64_t, const T *, int64_t, int64_t, int, const T *, int64_t, int64_t,
            const double *, vbfast_elbo_terms *, vbfast_elbo_terms *, int) noexcept nogil
        int64_t elbo_and_grad_rows(
            int64_t, int64_t, const T *, int64_t, int64_t, const T *, int64_t, int64_t,
            const double *, vbfast_elbo_terms *, vbfast_elbo_terms *, T *, int64_t, int64_t, T *,
            int64_t, int64_t, int) noexcept nogil

    const Functions[double] *functions(const double *) noexcept nogil
    const Functions[float] *functions(const float *) noexcept nogil


# Callers see the terms as a struct of this package, so that they need no header.
assert sizeof(ElboTerms) == sizeof(vbfast_elbo_terms)
api = vbfast_import()


cdef floating logsumexp(
    Py_ssize_t n, const floating *a, Py_ssize_t stride) noexcept nogil:
    return functions(a).logsumexp(n, a, stride)


cdef Py_ssize_t softmax(
    Py_ssize_t n, const floating *a, Py_ssize_t stride,
    floating *out, Py_ssize_t out_stride) noexcept nogil:
    return <Py_ssize_t>functions(a).softmax(n, a, stride, out, out_stride)


cdef Py_ssize_t log_softmax(
    Py_ssize_t n, const floating *a, Py_ssize_t stride,
    floating *out, Py_ssize_t out_stride) noexcept nogil:
    return <Py_ssize_t>functions(a).log_softmax(n, a, stride, out, out_stride)


cdef floating entropy(
    Py_ssize_t n, int kind, const floating *a, Py_ssize_t stride) noexcept nogil:
    return functions(a).entropy(n, kind, a, stride)


cdef floating kl_divergence(
    Py_ssize_t n, int q_kind, const floating *q, Py_ssize_t q_stride,
    int p_kind, const floating *p, Py_ssize_t p_stride) noexcept nogil:
    return functions(q).kl_divergence(n, q_kind, q, q_stride, p_kind, p, p_stride)


cdef Py_ssize_t elbo(
    Py_ssize_t n, const floating *log_joint, Py_ssize_t stride,
    int q_kind, const floating *q, Py_ssize_t q_stride, ElboTerms *terms) noexcept nogil:
    return <Py_ssize_t>functions(log_joint).elbo(
        n, log_joint, stride, q_kind, q, q_stride, <vbfast_elbo_terms *>terms)


cdef Py_ssize_t elbo_and_grad(
    Py_ssize_t n, const floating *log_joint, Py_ssize_t stride,
    const floating *q_logits, Py_ssize_t q_stride, ElboTerms *terms,
    floating *grad_q_logits, Py_ssize_t grad_q_stride,
    floating *grad_log_joint, Py_ssize_t grad_stride) noexcept nogil:
    return <Py_ssize_t>functions(log_joint).elbo_and_grad(
        n, log_joint, stride, q_logits, q_stride, <vbfast_elbo_terms *>terms, grad_q_logits,
        grad_q_stride, grad_log_joint, grad_stride)


cdef Py_ssize_t logsumexp_rows(
    Py_ssize_t n_rows, Py_ssize_t n, const floating *a, Py_ssize_t row_stride,
    Py_ssize_t stride, floating *out, int num_threads) noexcept nogil:
    return <Py_ssize_t>functions(a).logsumexp_rows(
        n_rows, n, a, row_stride, stride, out, num_threads)


cdef Py_ssize_t softmax_rows(
    Py_ssize_t n_rows, Py_ssize_t n, const floating *a, Py_ssize_t row_stride,
    Py_ssize_t stride, floating *out, Py_ssize_t out_row_stride, Py_ssize_t out_stride,
    int num_threads) noexcept nogil:
    return <Py_ssize_t>functions(a).softmax_rows(
        n_rows, n, a, row_stride, stride, out, out_row_stride, out_stride, num_threads)


cdef Py_ssize_t log_softmax_rows(
    Py_ssize_t n_rows, Py_ssize_t n, const floating *a, Py_ssize_t row_stride,
    Py_ssize_t stride, floating *out, Py_ssize_t out_row_stride, Py_ssize_t out_stride,
    int num_threads) noexcept nogil:
    return <Py_ssize_t>functions(a).log_softmax_rows(
        n_rows, n, a, row_stride, stride, out, out_row_stride, out_stride, num_threads)


cdef Py_ssize_t entropy_rows(
    Py_ssize_t n_rows, Py_ssize_t n, int kind, const floating *a, Py_ssize_t row_stride,
    Py_ssize_t stride, floating *out, int num_threads) noexcept nogil:
    return <Py_ssize_t>functions(a).entropy_rows(
        n_rows, n, kind, a, row_stride, stride, out, num_threads)


cdef Py_ssize_t kl_divergence_rows(
    Py_ssize_t n_rows, Py_ssize_t n, int q_kind, const floating *q, Py_ssize_t q_row_stride,
    Py_ssize_t q_stride, int p_kind, const floating *p, Py_ssize_t p_row_stride,
    Py_ssize_t p_stride, floating *out, int num_threads) noexcept nogil:
    return <Py_ssize_t>functions(q).kl_divergence_rows(
        n_rows, n, q_kind, q, q_row_stride, q_stride, p_kind, p, p_row_stride, p_stride, out,
        num_threads)


cdef Py_ssize_t elbo_rows(
    Py_ssize_t n_rows, Py_ssize_t n, const floating *log_joint, Py_ssize_t row_stride,
    Py_ssize_t stride, int q_kind, const floating *q, Py_ssize_t q_row_stride,
    Py_ssize_t q_stride, const double *weights, ElboTerms *row_terms, ElboTerms *sum,
    int num_threads) noexcept nogil:
    return <Py_ssize_t>functions(log_joint).elbo_rows(
        n_rows, n, log_joint, row_stride, stride, q_kind, q, q_row_stride, q_stride, weights,
        <vbfast_elbo_terms *>row_terms, <vbfast_elbo_terms *>sum, num_threads)


cdef Py_ssize_t elbo_and_grad_rows(
    Py_ssize_t n_rows, Py_ssize_t n, const floating *log_joint, Py_ssize_t row_stride,
    Py_ssize_t stride, const floating *q_logits, Py_ssize_t q_row_stride, Py_ssize_t q_stride,
    const double *weights, ElboTerms *row_terms, ElboTerms *sum,
    floating *grad_q_logits, Py_ssize_t grad_q_row_stride, Py_ssize_t grad_q_stride,
    floating *grad_log_joint, Py_ssize_t grad_row_stride, Py_ssize_t grad_stride,
    int num_threads) noexcept nogil:
    return <Py_ssize_t>functions(log_joint).elbo_and_grad_rows(
        n_rows, n, log_joint, row_stride, stride, q_logits, q_row_stride, q_stride, weights,
        <vbfast_elbo_terms *>row_terms, <vbfast_elbo_terms *>sum, grad_q_logits, grad_q_row_stride,
        grad_q_stride, grad_log_joint, grad_row_stride, grad_stride, num_threads)


cdef int get_num_threads() noexcept nogil:
    return api.get_num_threads()


cdef void set_num_threads(int num_threads) noexcept nogil:
    api.set_num_threads(num_threads)


cdef const char *simd_level() noexcept nogil:
    return api.simd_level()
