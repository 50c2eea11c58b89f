/* A caller of vbfast.h, compiled by the tests as a user's C99 extension module would be. */
#include <Python.h>
#include <vbfast.h>

static const vbfast_api *vbfast;

/* logsumexp(buffer of doubles, n, start, stride): of elements start, start + stride, ... */
static PyObject *logsumexp(PyObject *self, PyObject *args) {
    Py_buffer buffer;
    Py_ssize_t n, start, stride;
    double value;
    (void)self;
    if (!PyArg_ParseTuple(args, "y*nnn", &buffer, &n, &start, &stride)) return NULL;
    Py_BEGIN_ALLOW_THREADS
    value = vbfast->f64->logsumexp(n, (const double *)buffer.buf + start, stride);
    Py_END_ALLOW_THREADS
    PyBuffer_Release(&buffer);
    return PyFloat_FromDouble(value);
}

/* gap(log-joint, q logits): the Kullback-Leibler term of the bound, from buffers of floats. */
static PyObject *gap(PyObject *self, PyObject *args) {
    Py_buffer log_joint, q_logits;
    vbfast_elbo_terms terms;
    (void)self;
    if (!PyArg_ParseTuple(args, "y*y*", &log_joint, &q_logits)) return NULL;
    vbfast->f32->elbo((int64_t)(log_joint.len / (Py_ssize_t)sizeof(float)),
                      (const float *)log_joint.buf, 1, VBFAST_LOGITS, (const float *)q_logits.buf,
                      1, &terms);
    PyBuffer_Release(&log_joint);
    PyBuffer_Release(&q_logits);
    return PyFloat_FromDouble(terms.kl);
}

static PyObject *simd_level(PyObject *self, PyObject *args) {
    (void)self;
    (void)args;
    return PyUnicode_FromString(vbfast->simd_level());
}

static PyMethodDef methods[] = {{"logsumexp", logsumexp, METH_VARARGS, NULL},
                                {"gap", gap, METH_VARARGS, NULL},
                                {"simd_level", simd_level, METH_NOARGS, NULL},
                                {NULL, NULL, 0, NULL}};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "c_callers", NULL, -1, methods, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit_c_callers(void) {
    vbfast = vbfast_import();
    if (vbfast == NULL) return NULL;
    return PyModule_Create(&definition);
}
