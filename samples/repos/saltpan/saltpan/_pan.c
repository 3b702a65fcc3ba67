#include <Python.h>
#include <brinepan/pan.h>

static PyObject *salinity(PyObject *self, PyObject *arg)
{
    double litres = PyFloat_AsDouble(arg);
    return PyFloat_FromDouble(brinepan_salinity(litres));
}

static PyMethodDef methods[] = {{"salinity", salinity, METH_O, ""}, {NULL, NULL, 0, NULL}};
static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "_pan", NULL, -1, methods};

PyMODINIT_FUNC PyInit__pan(void)
{
    return PyModule_Create(&module);
}
