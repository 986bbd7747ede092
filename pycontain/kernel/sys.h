/* Shared by the files of pycontain.kernel._sys: the error with operands, the path arguments, the method tables.
 *
 * Numbers and flags that the oldest headers we build with (glibc 2.36, Linux 6.1 headers) lack are defined beside
 * their use with the header they come from. System calls added since Linux 5.1 have one number on every
 * architecture (asm-generic/unistd.h), so a fallback #define is right on x86-64 and aarch64 alike.
 */
#ifndef PYCONTAIN_SYS_H
#define PYCONTAIN_SYS_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Raise OSError(errno, strerror, "call(operands)") from the current errno; return NULL. */
PyObject *sys_error(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* The same with what the kernel wrote into a log (or NULL) behind the errno's text. */
PyObject *sys_error_log(const char *log, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* "O&" converter: None becomes NULL, anything else what PyUnicode_FSConverter makes of it. */
int path_or_none(PyObject *arg, void *out);

/* The bytes of a converted path; "" for NULL, so that error texts need no case. */
const char *path_text(PyObject *path);

/* None for 0, the OSError of sys_error for -1. */
#define NONE_OR_ERROR(rc, ...) \
    do { \
        if ((rc) < 0) \
            return sys_error(__VA_ARGS__); \
        Py_RETURN_NONE; \
    } while (0)

#define METHOD(name, doc) {#name, sys_##name, METH_VARARGS, PyDoc_STR(doc)}
#define METHOD_KEYWORDS(name, doc) \
    {#name, (PyCFunction)(void (*)(void))sys_##name, METH_VARARGS | METH_KEYWORDS, PyDoc_STR(doc)}
#define METHODS_END {NULL, NULL, 0, NULL}

extern PyMethodDef mount_methods[];
extern PyMethodDef process_methods[];
extern PyMethodDef limit_methods[];
extern PyMethodDef socket_methods[];
extern PyMethodDef bpf_methods[];
extern PyMethodDef tty_methods[];
extern PyMethodDef finish_methods[];

#endif
