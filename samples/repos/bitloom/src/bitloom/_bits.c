#define PY_SSIZE_T_CLEAN
#include <Python.h>

static PyObject *popcount(PyObject *self, PyObject *arg)
{
    Py_buffer view;
    unsigned long long count = 0;

    if (PyObject_GetBuffer(arg, &view, PyBUF_SIMPLE) < 0)
        return NULL;
    const unsigned char *bytes = view.buf;
    for (Py_ssize_t i = 0; i < view.len; i++)
        for (unsigned char byte = bytes[i]; byte; byte &= byte - 1)
            count++;
    PyBuffer_Release(&view);
    return PyLong_FromUnsignedLongLong(count);
}

static PyMethodDef methods[] = {
    {"popcount", popcount, METH_O, "The number of bits that are set in a bytes-like object."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "_bits", NULL, -1, methods};

PyMODINIT_FUNC PyInit__bits(void)
{
    return PyModule_Create(&module);
}
