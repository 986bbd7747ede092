/* Module pycontain.kernel._sys: one function per system call, named as its man page.
 *
 * No policy, no logging, no paths of ours. Every descriptor is close-on-exec. Errors are OSError with the operands
 * in `filename`. Only calls that may wait for another process release the GIL and retry EINTR (PEP 475).
 */
#include "sys.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static PyObject *
raise_os_error(int error, const char *log, const char *format, va_list operands)
{
    char *text = NULL;
    if (vasprintf(&text, format, operands) < 0)
        return PyErr_NoMemory();
    PyObject *where = PyUnicode_DecodeFSDefault(text);
    free(text);
    if (where == NULL)
        return NULL;
    PyObject *why = log != NULL && *log != '\0' ? PyUnicode_FromFormat("%s (%s)", strerror(error), log)
                                                : PyUnicode_FromString(strerror(error));
    PyObject *exception = why == NULL ? NULL : PyObject_CallFunction(PyExc_OSError, "iOO", error, why, where);
    Py_XDECREF(why);
    Py_DECREF(where);
    if (exception != NULL) {
        PyErr_SetObject((PyObject *)Py_TYPE(exception), exception);
        Py_DECREF(exception);
    }
    return NULL;
}

PyObject *
sys_error(const char *format, ...)
{
    int error = errno;
    va_list operands;
    va_start(operands, format);
    raise_os_error(error, NULL, format, operands);
    va_end(operands);
    return NULL;
}

PyObject *
sys_error_log(const char *log, const char *format, ...)
{
    int error = errno;
    va_list operands;
    va_start(operands, format);
    raise_os_error(error, log, format, operands);
    va_end(operands);
    return NULL;
}

int
path_or_none(PyObject *arg, void *out)
{
    if (arg == Py_None) {
        *(PyObject **)out = NULL;
        return Py_CLEANUP_SUPPORTED;
    }
    if (arg == NULL) {
        Py_CLEAR(*(PyObject **)out);
        return 1;
    }
    return PyUnicode_FSConverter(arg, out);
}

const char *
path_text(PyObject *path)
{
    return path == NULL ? "" : PyBytes_AS_STRING(path);
}

static int
add_methods(PyObject *module)
{
    PyMethodDef *tables[] = {
        mount_methods, process_methods, limit_methods, socket_methods, bpf_methods, tty_methods, finish_methods,
    };
    for (size_t i = 0; i < sizeof(tables) / sizeof(*tables); i++)
        if (PyModule_AddFunctions(module, tables[i]) < 0)
            return -1;
    return 0;
}

static PyModuleDef_Slot slots[] = {
    {Py_mod_exec, (void *)add_methods},
    {0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "pycontain.kernel._sys",
    .m_doc = PyDoc_STR("Linux system calls, one function each, named as their man pages."),
    .m_slots = slots,
};

/* declared nowhere: the import system looks the name up */
PyMODINIT_FUNC PyInit__sys(void);

PyMODINIT_FUNC
PyInit__sys(void)
{
    return PyModuleDef_Init(&definition);
}
