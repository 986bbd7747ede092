/* Programs on cgroups (devices): bpf(2). */
#include "sys.h"

#include <linux/bpf.h>
#include <stdlib.h>
#include <string.h>

static long
bpf(int command, union bpf_attr *attr)
{
    return syscall(SYS_bpf, command, attr, sizeof(*attr));
}

static PyObject *
sys_bpf_prog_load(PyObject *Py_UNUSED(self), PyObject *args)
{
    unsigned int prog_type, attach_type;
    Py_buffer insns;
    const char *license;
    if (!PyArg_ParseTuple(args, "IIy*s:bpf_prog_load", &prog_type, &attach_type, &insns, &license))
        return NULL;
    union bpf_attr attr;
    memset(&attr, 0, sizeof(attr));
    attr.prog_type = prog_type;
    attr.expected_attach_type = attach_type;
    attr.insn_cnt = (uint32_t)((size_t)insns.len / sizeof(struct bpf_insn));
    attr.insns = (uint64_t)(uintptr_t)insns.buf;
    attr.license = (uint64_t)(uintptr_t)license;
    long fd = bpf(BPF_PROG_LOAD, &attr);
    PyObject *result = NULL;
    if (fd >= 0) {
        result = PyLong_FromLong(fd);
    } else {
        /* only a second, failing load pays for the verifier's log */
        enum { LOG_SIZE = 64 * 1024 };
        int saved = errno;
        char *log = calloc(1, LOG_SIZE);
        if (log != NULL) {
            attr.log_buf = (uint64_t)(uintptr_t)log;
            attr.log_size = LOG_SIZE;
            attr.log_level = 1;
            fd = bpf(BPF_PROG_LOAD, &attr);
        }
        errno = saved;
        result = fd >= 0 ? PyLong_FromLong(fd)
                         : sys_error_log(log, "bpf(BPF_PROG_LOAD, type %u, %u instructions)", prog_type,
                                         attr.insn_cnt);
        free(log);
    }
    PyBuffer_Release(&insns);
    return result;
}

static PyObject *
sys_bpf_prog_attach(PyObject *Py_UNUSED(self), PyObject *args, PyObject *keywords)
{
    static char *names[] = {"target_fd", "prog_fd", "attach_type", "flags", "replace_fd", NULL};
    int target_fd, prog_fd, replace_fd = -1;
    unsigned int attach_type, flags = 0;
    if (!PyArg_ParseTupleAndKeywords(args, keywords, "iiI|Ii:bpf_prog_attach", names, &target_fd, &prog_fd,
                                     &attach_type, &flags, &replace_fd))
        return NULL;
    union bpf_attr attr;
    memset(&attr, 0, sizeof(attr));
    attr.target_fd = (uint32_t)target_fd;
    attr.attach_bpf_fd = (uint32_t)prog_fd;
    attr.attach_type = attach_type;
    attr.attach_flags = flags;
    if (replace_fd >= 0)
        attr.replace_bpf_fd = (uint32_t)replace_fd;
    NONE_OR_ERROR(bpf(BPF_PROG_ATTACH, &attr), "bpf(BPF_PROG_ATTACH, %d, %d, %u, flags=0x%x, replace=%d)", target_fd,
                  prog_fd, attach_type, flags, replace_fd);
}

static PyObject *
sys_bpf_prog_detach(PyObject *Py_UNUSED(self), PyObject *args)
{
    int target_fd, prog_fd;
    unsigned int attach_type;
    if (!PyArg_ParseTuple(args, "iiI:bpf_prog_detach", &target_fd, &prog_fd, &attach_type))
        return NULL;
    union bpf_attr attr;
    memset(&attr, 0, sizeof(attr));
    attr.target_fd = (uint32_t)target_fd;
    attr.attach_bpf_fd = (uint32_t)prog_fd;
    attr.attach_type = attach_type;
    NONE_OR_ERROR(bpf(BPF_PROG_DETACH, &attr), "bpf(BPF_PROG_DETACH, %d, %d, %u)", target_fd, prog_fd, attach_type);
}

static PyObject *
sys_bpf_prog_query(PyObject *Py_UNUSED(self), PyObject *args)
{
    int target_fd;
    unsigned int attach_type;
    if (!PyArg_ParseTuple(args, "iI:bpf_prog_query", &target_fd, &attach_type))
        return NULL;
    /* the kernel allows BPF_CGROUP_MAX_PROGS = 64 on one cgroup (kernel/bpf/cgroup.c) */
    uint32_t ids[64] = {0};
    union bpf_attr attr;
    memset(&attr, 0, sizeof(attr));
    attr.query.target_fd = (uint32_t)target_fd;
    attr.query.attach_type = attach_type;
    attr.query.prog_ids = (uint64_t)(uintptr_t)ids;
    attr.query.prog_cnt = sizeof(ids) / sizeof(*ids);
    if (bpf(BPF_PROG_QUERY, &attr) < 0)
        return sys_error("bpf(BPF_PROG_QUERY, %d, %u)", target_fd, attach_type);
    PyObject *list = PyList_New((Py_ssize_t)attr.query.prog_cnt);
    for (uint32_t i = 0; list != NULL && i < attr.query.prog_cnt; i++) {
        PyObject *id = PyLong_FromUnsignedLong(ids[i]);
        if (id == NULL)
            Py_CLEAR(list);
        else
            PyList_SET_ITEM(list, (Py_ssize_t)i, id);
    }
    return list;
}

static PyObject *
sys_bpf_prog_get_fd_by_id(PyObject *Py_UNUSED(self), PyObject *args)
{
    unsigned int id;
    if (!PyArg_ParseTuple(args, "I:bpf_prog_get_fd_by_id", &id))
        return NULL;
    union bpf_attr attr;
    memset(&attr, 0, sizeof(attr));
    attr.prog_id = id;
    long fd = bpf(BPF_PROG_GET_FD_BY_ID, &attr);
    return fd < 0 ? sys_error("bpf(BPF_PROG_GET_FD_BY_ID, %u)", id) : PyLong_FromLong(fd);
}

PyMethodDef bpf_methods[] = {
    METHOD(bpf_prog_load, "bpf_prog_load(prog_type, expected_attach_type, insns, license) -> fd: bpf(2)."),
    METHOD_KEYWORDS(bpf_prog_attach,
                    "bpf_prog_attach(target_fd, prog_fd, attach_type, flags=0, replace_fd=-1): bpf(2)."),
    METHOD(bpf_prog_detach, "bpf_prog_detach(target_fd, prog_fd, attach_type): bpf(2)."),
    METHOD(bpf_prog_query, "bpf_prog_query(target_fd, attach_type) -> program ids: bpf(2)."),
    METHOD(bpf_prog_get_fd_by_id, "bpf_prog_get_fd_by_id(id) -> fd: bpf(2)."),
    METHODS_END,
};
