/* Processes, namespaces and pidfds: clone3(2), unshare(2), setns(2), pidfd_open(2), waitid(2). */
#include "sys.h"

#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

/* asm-generic/unistd.h; the same on every architecture */
#ifndef SYS_pidfd_send_signal
#define SYS_pidfd_send_signal 424
#endif
#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif
#ifndef SYS_clone3
#define SYS_clone3 435
#endif
#ifndef SYS_close_range
#define SYS_close_range 436
#endif
#ifndef SYS_pidfd_getfd
#define SYS_pidfd_getfd 438
#endif

/* linux/prctl.h */
#ifndef PR_GET_TID_ADDRESS
#define PR_GET_TID_ADDRESS 40
#endif

/* linux/sched.h, struct clone_args (CLONE_ARGS_SIZE_VER2) and the flags that <sched.h> of glibc lacks */
struct clone_args_v2 {
    uint64_t flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls, set_tid, set_tid_size, cgroup;
};
#define INTO_CGROUP 0x200000000ULL

/* linux/wait.h */
#define IDTYPE_PIDFD ((idtype_t)3)

/* fork(2) with namespaces. glibc keeps the thread's id in a field that the kernel wrote; the child's copy would hold
 * the parent's id. Asking the kernel for the field's address (PR_GET_TID_ADDRESS) lets the child have its own written
 * there, as glibc's fork does. Kernels without CONFIG_CHECKPOINT_RESTORE do not tell; then the field stays stale,
 * which only robust and recursive mutexes would notice. */
static PyObject *
sys_clone3(PyObject *Py_UNUSED(self), PyObject *args, PyObject *keywords)
{
    static char *names[] = {"flags", "cgroup_fd", "exit_signal", NULL};
    unsigned long long flags;
    int cgroup_fd = -1, exit_signal = SIGCHLD, pidfd = -1;
    if (!PyArg_ParseTupleAndKeywords(args, keywords, "K|ii:clone3", names, &flags, &cgroup_fd, &exit_signal))
        return NULL;
    if ((flags & (CLONE_VM | CLONE_THREAD | CLONE_VFORK | CLONE_SETTLS)) != 0) {
        PyErr_SetString(PyExc_ValueError, "clone3 here is a fork: no CLONE_VM, _THREAD, _VFORK or _SETTLS");
        return NULL;
    }
    struct clone_args_v2 clone_args = {
        .flags = flags | CLONE_PIDFD,
        .pidfd = (uint64_t)(uintptr_t)&pidfd,
        .exit_signal = (uint64_t)exit_signal,
    };
    if (cgroup_fd >= 0) {
        clone_args.flags |= INTO_CGROUP;
        clone_args.cgroup = (uint64_t)cgroup_fd;
    }
    void *tid_field = NULL;
    if (prctl(PR_GET_TID_ADDRESS, &tid_field, 0, 0, 0) == 0 && tid_field != NULL) {
        clone_args.flags |= CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID;
        clone_args.child_tid = (uint64_t)(uintptr_t)tid_field;
    }
    PyOS_BeforeFork();
    long pid = syscall(SYS_clone3, &clone_args, sizeof(clone_args));
    if (pid == 0) {
        PyOS_AfterFork_Child();
        return Py_BuildValue("ii", 0, -1);
    }
    int saved = errno;
    PyOS_AfterFork_Parent();
    errno = saved;
    if (pid < 0)
        return sys_error("clone3(0x%llx, cgroup_fd=%d, exit_signal=%d)", flags, cgroup_fd, exit_signal);
    return Py_BuildValue("li", pid, pidfd);
}

static PyObject *
sys_unshare(PyObject *Py_UNUSED(self), PyObject *args)
{
    int flags;
    if (!PyArg_ParseTuple(args, "i:unshare", &flags))
        return NULL;
    NONE_OR_ERROR(unshare(flags), "unshare(0x%x)", (unsigned)flags);
}

static PyObject *
sys_setns(PyObject *Py_UNUSED(self), PyObject *args)
{
    int fd, nstype;
    if (!PyArg_ParseTuple(args, "ii:setns", &fd, &nstype))
        return NULL;
    NONE_OR_ERROR(setns(fd, nstype), "setns(%d, 0x%x)", fd, (unsigned)nstype);
}

static PyObject *
sys_pidfd_open(PyObject *Py_UNUSED(self), PyObject *args)
{
    int pid;
    unsigned int flags = 0;
    if (!PyArg_ParseTuple(args, "i|I:pidfd_open", &pid, &flags))
        return NULL;
    long fd = syscall(SYS_pidfd_open, pid, flags);
    return fd < 0 ? sys_error("pidfd_open(%d, 0x%x)", pid, flags) : PyLong_FromLong(fd);
}

static PyObject *
sys_pidfd_send_signal(PyObject *Py_UNUSED(self), PyObject *args)
{
    int pidfd, number;
    unsigned int flags = 0;
    if (!PyArg_ParseTuple(args, "ii|I:pidfd_send_signal", &pidfd, &number, &flags))
        return NULL;
    NONE_OR_ERROR(syscall(SYS_pidfd_send_signal, pidfd, number, NULL, flags), "pidfd_send_signal(%d, %d, 0x%x)", pidfd,
                  number, flags);
}

static PyObject *
sys_pidfd_getfd(PyObject *Py_UNUSED(self), PyObject *args)
{
    int pidfd, target;
    unsigned int flags = 0;
    if (!PyArg_ParseTuple(args, "ii|I:pidfd_getfd", &pidfd, &target, &flags))
        return NULL;
    long fd = syscall(SYS_pidfd_getfd, pidfd, target, flags);
    return fd < 0 ? sys_error("pidfd_getfd(%d, %d, 0x%x)", pidfd, target, flags) : PyLong_FromLong(fd);
}

static PyObject *
sys_waitid_pidfd(PyObject *Py_UNUSED(self), PyObject *args)
{
    int pidfd, options;
    if (!PyArg_ParseTuple(args, "ii:waitid_pidfd", &pidfd, &options))
        return NULL;
    siginfo_t info;
    int rc;
    do {
        info.si_pid = 0;
        Py_BEGIN_ALLOW_THREADS
        rc = waitid(IDTYPE_PIDFD, (id_t)pidfd, &info, options);
        Py_END_ALLOW_THREADS
    } while (rc < 0 && errno == EINTR && PyErr_CheckSignals() == 0);
    if (rc < 0)
        return PyErr_Occurred() ? NULL : sys_error("waitid(P_PIDFD, %d, 0x%x)", pidfd, (unsigned)options);
    if (info.si_pid == 0)
        Py_RETURN_NONE;
    return Py_BuildValue("iii", info.si_pid, info.si_code, info.si_status);
}

static PyObject *
sys_close_range(PyObject *Py_UNUSED(self), PyObject *args)
{
    unsigned int first, last, flags = 0;
    if (!PyArg_ParseTuple(args, "II|I:close_range", &first, &last, &flags))
        return NULL;
    NONE_OR_ERROR(syscall(SYS_close_range, first, last, flags), "close_range(%u, %u, 0x%x)", first, last, flags);
}

PyMethodDef process_methods[] = {
    METHOD_KEYWORDS(clone3, "clone3(flags, cgroup_fd=-1, exit_signal=SIGCHLD) -> (pid, pidfd): clone3(2) as fork; "
                            "(0, -1) in the child."),
    METHOD(unshare, "unshare(flags): unshare(2)."),
    METHOD(setns, "setns(fd, nstype): setns(2)."),
    METHOD(pidfd_open, "pidfd_open(pid, flags=0) -> fd: pidfd_open(2)."),
    METHOD(pidfd_send_signal, "pidfd_send_signal(pidfd, sig, flags=0): pidfd_send_signal(2)."),
    METHOD(pidfd_getfd, "pidfd_getfd(pidfd, targetfd, flags=0) -> fd: pidfd_getfd(2)."),
    METHOD(waitid_pidfd, "waitid_pidfd(pidfd, options) -> (pid, code, status), None with WNOHANG: waitid(2)."),
    METHOD(close_range, "close_range(first, last, flags=0): close_range(2)."),
    METHODS_END,
};
