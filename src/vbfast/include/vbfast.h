/* The array functions of vbfast for C, C++ and whatever calls C.
 *
 * The functions are those that Python calls: one copy of the kernels, one instruction-set level and
 * one pool of threads in a process. An extension module includes Python.h and then this header,
 *
 *     static const vbfast_api *vbfast;
 *     ...
 *     vbfast = vbfast_import();                  once, when the module is initialised
 *     if (vbfast == NULL) return NULL;
 *     ...
 *     double evidence = vbfast->f64->logsumexp(n, log_joint, 1);
 *
 * and is compiled with the directory that vbfast.get_include() names; nothing is linked. No
 * function of the table needs the GIL, runs Python code, throws or keeps a pointer; all may be
 * called from several threads at once.
 *
 * Everything is in nats. Edges, errors and rounding are those of the Python function of the same
 * name: 0 log 0 = 0, logsumexp is -inf for nothing but -inf and for n = 0, NaN propagates.
 *
 * Arguments. n is the number of elements that are reduced together; each array is followed by its
 * stride, the step from one element to the next counted in elements (1 where they are contiguous;
 * negative from the last one backwards). Of a matrix, the step from row to row precedes that along
 * a row. An output may be the input itself, with the same strides, in softmax and log_softmax;
 * otherwise outputs must not overlap anything.
 *
 * A function that returns a number returns NaN where probabilities are no distribution: an entry
 * is negative, or the sum is off one by more than 1e-6 (double) or 1e-3 (float). Others return 0,
 * or info > 0 if row info - 1 is the first whose q is no distribution (probabilities as above;
 * logits with +inf, or nothing but -inf), or VBFAST_NO_MEMORY; what they write is NaN or
 * unspecified then.
 *
 * Functions of one slice run on the calling thread, without allocating memory below 2,048
 * contiguous elements. Those of the rows of a matrix use num_threads threads: 1 keeps to the
 * calling thread, 0 takes the pool's number. Within another parallel region, or while another
 * thread has the pool, they run on the calling thread. Results do not depend on the number of
 * threads.
 */
#ifndef VBFAST_H
#define VBFAST_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Raised when a function changes or goes; new ones come at a struct's end, whose size grows. */
#define VBFAST_API_VERSION 1

/* What an array holds: unnormalised logarithms of probabilities, or probabilities. */
enum { VBFAST_LOGITS = 0, VBFAST_PROBS = 1 };

enum { VBFAST_NO_MEMORY = -1 };

/* elbo = expected_log_joint + entropy = log_evidence - kl; double whatever the input. */
typedef struct vbfast_elbo_terms {
    double elbo;
    double expected_log_joint;
    double entropy;
    double log_evidence;
    double kl;
} vbfast_elbo_terms;

/* The functions for one type of element.
 *
 * Of one slice:
 *   logsumexp      log sum exp(a).
 *   softmax        out = exp(a) / sum exp(a); NaN where the largest element is not finite.
 *   log_softmax    out = a - logsumexp(a).
 *   entropy        -sum q log q of the distribution a, given as logits or as probabilities (kind).
 *   kl_divergence  sum q log(q / p), each given as either.
 *   elbo           The bound sum q (log_joint - log q) and its terms. q may be null: the posterior,
 *                  softmax of the log-joint, for which kl is 0 and the kind does not matter.
 *   elbo_and_grad  The same, and the gradients in the logits of q (null: the posterior's) and in
 *                  the log-joint. Zero for nothing but -inf; else, where the bound is not finite,
 *                  the first is NaN throughout, and the second is q still, which is NaN for a
 *                  posterior with +inf.
 *
 * NAME_rows does the same for each row of a matrix; out of a reduction has n_rows contiguous
 * elements. In the last two, weights (n_rows contiguous, finite and not negative, or null: ones)
 * multiply the terms and gradients of rows, row_terms (n_rows, or null) receives those of each
 * row and sum (or null) their sum. A row of weight zero is skipped whatever it holds.
 */
#define VBFAST_DEFINE_FUNCTIONS(name, real)                                                        \
    typedef struct name {                                                                          \
        size_t size; /* of this struct in the table at hand, in bytes */                           \
        real (*logsumexp)(int64_t n, const real* a, int64_t stride);                               \
        int64_t (*softmax)(int64_t n, const real* a, int64_t stride, real* out,                    \
                           int64_t out_stride);                                                    \
        int64_t (*log_softmax)(int64_t n, const real* a, int64_t stride, real* out,                \
                               int64_t out_stride);                                                \
        real (*entropy)(int64_t n, int kind, const real* a, int64_t stride);                       \
        real (*kl_divergence)(int64_t n, int q_kind, const real* q, int64_t q_stride, int p_kind,  \
                              const real* p, int64_t p_stride);                                    \
        int64_t (*elbo)(int64_t n, const real* log_joint, int64_t stride, int q_kind,              \
                        const real* q, int64_t q_stride, vbfast_elbo_terms* terms);                \
        int64_t (*elbo_and_grad)(int64_t n, const real* log_joint, int64_t stride,                 \
                                 const real* q_logits, int64_t q_stride, vbfast_elbo_terms* terms, \
                                 real* grad_q_logits, int64_t grad_q_stride, real* grad_log_joint, \
                                 int64_t grad_stride);                                             \
        int64_t (*logsumexp_rows)(int64_t n_rows, int64_t n, const real* a, int64_t row_stride,    \
                                  int64_t stride, real* out, int num_threads);                     \
        int64_t (*softmax_rows)(int64_t n_rows, int64_t n, const real* a, int64_t row_stride,      \
                                int64_t stride, real* out, int64_t out_row_stride,                 \
                                int64_t out_stride, int num_threads);                              \
        int64_t (*log_softmax_rows)(int64_t n_rows, int64_t n, const real* a, int64_t row_stride,  \
                                    int64_t stride, real* out, int64_t out_row_stride,             \
                                    int64_t out_stride, int num_threads);                          \
        int64_t (*entropy_rows)(int64_t n_rows, int64_t n, int kind, const real* a,                \
                                int64_t row_stride, int64_t stride, real* out, int num_threads);   \
        int64_t (*kl_divergence_rows)(int64_t n_rows, int64_t n, int q_kind, const real* q,        \
                                      int64_t q_row_stride, int64_t q_stride, int p_kind,          \
                                      const real* p, int64_t p_row_stride, int64_t p_stride,       \
                                      real* out, int num_threads);                                 \
        int64_t (*elbo_rows)(int64_t n_rows, int64_t n, const real* log_joint, int64_t row_stride, \
                             int64_t stride, int q_kind, const real* q, int64_t q_row_stride,      \
                             int64_t q_stride, const double* weights,                              \
                             vbfast_elbo_terms* row_terms, vbfast_elbo_terms* sum,                 \
                             int num_threads);                                                     \
        int64_t (*elbo_and_grad_rows)(int64_t n_rows, int64_t n, const real* log_joint,            \
                                      int64_t row_stride, int64_t stride, const real* q_logits,    \
                                      int64_t q_row_stride, int64_t q_stride,                      \
                                      const double* weights, vbfast_elbo_terms* row_terms,         \
                                      vbfast_elbo_terms* sum, real* grad_q_logits,                 \
                                      int64_t grad_q_row_stride, int64_t grad_q_stride,            \
                                      real* grad_log_joint, int64_t grad_row_stride,               \
                                      int64_t grad_stride, int num_threads);                       \
    } name;

VBFAST_DEFINE_FUNCTIONS(vbfast_f64, double)
VBFAST_DEFINE_FUNCTIONS(vbfast_f32, float)

typedef struct vbfast_api {
    int version; /* VBFAST_API_VERSION of the table at hand */
    size_t size; /* of this struct there, in bytes */
    const vbfast_f64* f64;
    const vbfast_f32* f32;
    int (*get_num_threads)(void);    /* of the pool, for the whole process */
    void (*set_num_threads)(int);    /* 0 goes back to the default */
    const char* (*simd_level)(void); /* "avx2", say */
} vbfast_api;

#define VBFAST_CAPSULE_NAME "vbfast._vbfast._C_API"

#ifdef __cplusplus
}
#endif

#ifdef Py_PYTHON_H
/* Imports vbfast and returns its table; null, with ImportError set, where vbfast cannot be imported
 * or its table lacks something that this header has. Holds the GIL. */
static inline const vbfast_api* vbfast_import(void) {
    PyObject* module = PyImport_ImportModule("vbfast._vbfast");
    PyObject* capsule = NULL;
    const vbfast_api* api = NULL;
    if (module == NULL) return NULL;
    capsule = PyObject_GetAttrString(module, "_C_API");
    Py_DECREF(module);
    if (capsule == NULL) {
        PyErr_SetString(PyExc_ImportError,
                        "this vbfast has no C function table; install a newer one");
        return NULL;
    }
    /* The table is static: it outlives the capsule. */
    api = (const vbfast_api*)PyCapsule_GetPointer(capsule, VBFAST_CAPSULE_NAME);
    Py_DECREF(capsule);
    if (api == NULL) return NULL;
    if (api->version != VBFAST_API_VERSION) {
        PyErr_Format(
            PyExc_ImportError,
            "compiled against version %d of vbfast's C functions, but the vbfast installed "
            "has version %d; %s",
            VBFAST_API_VERSION, api->version,
            api->version < VBFAST_API_VERSION ? "install a newer vbfast"
                                              : "compile again with its header");
        return NULL;
    }
    if (api->size < sizeof(vbfast_api) || api->f64->size < sizeof(vbfast_f64) ||
        api->f32->size < sizeof(vbfast_f32)) {
        PyErr_SetString(PyExc_ImportError,
                        "compiled against a newer vbfast, whose table of C functions has more than "
                        "that of the vbfast installed; install a newer vbfast");
        return NULL;
    }
    return api;
}
#endif

#endif
