/* What a process may do and use: prctl(2), capset(2), prlimit(2), sched_setattr(2), keys, names, interfaces. */
#include "sys.h"

#include <linux/capability.h>
#include <linux/keyctl.h>
#include <net/if.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>

static PyObject *
sys_prctl(PyObject *Py_UNUSED(self), PyObject *args)
{
    int option;
    unsigned long a2 = 0, a3 = 0, a4 = 0, a5 = 0;
    if (!PyArg_ParseTuple(args, "i|kkkk:prctl", &option, &a2, &a3, &a4, &a5))
        return NULL;
    long rc = syscall(SYS_prctl, option, a2, a3, a4, a5);
    return rc < 0 ? sys_error("prctl(%d, %lu, %lu, %lu, %lu)", option, a2, a3, a4, a5) : PyLong_FromLong(rc);
}

static PyObject *
sys_set_name(PyObject *Py_UNUSED(self), PyObject *args)
{
    const char *name;
    if (!PyArg_ParseTuple(args, "s:set_name", &name))
        return NULL;
    NONE_OR_ERROR(prctl(PR_SET_NAME, name, 0, 0, 0), "prctl(PR_SET_NAME, '%s')", name);
}

static PyObject *
sys_capget(PyObject *Py_UNUSED(self), PyObject *Py_UNUSED(args))
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
    struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {{0, 0, 0}, {0, 0, 0}};
    if (syscall(SYS_capget, &header, data) < 0)
        return sys_error("capget()");
    return Py_BuildValue("KKK", data[0].effective | (unsigned long long)data[1].effective << 32,
                         data[0].permitted | (unsigned long long)data[1].permitted << 32,
                         data[0].inheritable | (unsigned long long)data[1].inheritable << 32);
}

static PyObject *
sys_capset(PyObject *Py_UNUSED(self), PyObject *args)
{
    unsigned long long effective, permitted, inheritable;
    if (!PyArg_ParseTuple(args, "KKK:capset", &effective, &permitted, &inheritable))
        return NULL;
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
    struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {
        {(uint32_t)effective, (uint32_t)permitted, (uint32_t)inheritable},
        {(uint32_t)(effective >> 32), (uint32_t)(permitted >> 32), (uint32_t)(inheritable >> 32)},
    };
    NONE_OR_ERROR(syscall(SYS_capset, &header, data), "capset(0x%llx, 0x%llx, 0x%llx)", effective, permitted,
                  inheritable);
}

static PyObject *
sys_keyctl_join_session(PyObject *Py_UNUSED(self), PyObject *args)
{
    const char *name = NULL;
    if (!PyArg_ParseTuple(args, "|z:keyctl_join_session", &name))
        return NULL;
    long serial = syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, name);
    return serial < 0 ? sys_error("keyctl(KEYCTL_JOIN_SESSION_KEYRING, '%s')", name == NULL ? "" : name)
                      : PyLong_FromLong(serial);
}

static PyObject *
sys_sethostname(PyObject *Py_UNUSED(self), PyObject *args)
{
    const char *name;
    Py_ssize_t size;
    if (!PyArg_ParseTuple(args, "s#:sethostname", &name, &size))
        return NULL;
    NONE_OR_ERROR(sethostname(name, (size_t)size), "sethostname('%s')", name);
}

static PyObject *
sys_setdomainname(PyObject *Py_UNUSED(self), PyObject *args)
{
    const char *name;
    Py_ssize_t size;
    if (!PyArg_ParseTuple(args, "s#:setdomainname", &name, &size))
        return NULL;
    NONE_OR_ERROR(setdomainname(name, (size_t)size), "setdomainname('%s')", name);
}

static PyObject *
sys_prlimit(PyObject *Py_UNUSED(self), PyObject *args)
{
    int pid, resource;
    long long soft, hard;
    if (!PyArg_ParseTuple(args, "iiLL:prlimit", &pid, &resource, &soft, &hard))
        return NULL;
    /* RLIM64_INFINITY is all ones (linux/resource.h), which is what -1 becomes and what comes back as -1 */
    uint64_t new_limits[2] = {(uint64_t)soft, (uint64_t)hard}, old_limits[2];
    if (syscall(SYS_prlimit64, pid, resource, new_limits, old_limits) < 0)
        return sys_error("prlimit(%d, %d, %lld, %lld)", pid, resource, soft, hard);
    return Py_BuildValue("LL", (long long)old_limits[0], (long long)old_limits[1]);
}

static PyObject *
sys_sched_setattr(PyObject *Py_UNUSED(self), PyObject *args)
{
    /* linux/sched/types.h, struct sched_attr (SCHED_ATTR_SIZE_VER1). The clamps are asked for by flags alone: they get
     * the values that clamp nothing. */
    struct {
        uint32_t size, policy;
        uint64_t flags;
        int32_t nice;
        uint32_t priority;
        uint64_t runtime, deadline, period;
        uint32_t util_min, util_max;
    } attr = {.size = sizeof(attr), .util_min = 0, .util_max = 1024};
    int pid, nice;
    unsigned int policy, priority;
    unsigned long long flags, runtime, deadline, period;
    if (!PyArg_ParseTuple(args, "iIiIKKKK:sched_setattr", &pid, &policy, &nice, &priority, &flags, &runtime,
                          &deadline, &period))
        return NULL;
    attr.policy = policy;
    attr.nice = nice;
    attr.priority = priority;
    attr.flags = flags;
    attr.runtime = runtime;
    attr.deadline = deadline;
    attr.period = period;
    NONE_OR_ERROR(syscall(SYS_sched_setattr, pid, &attr, 0),
                  "sched_setattr(%d, policy=%u, nice=%d, priority=%u, flags=0x%llx, runtime=%llu, deadline=%llu, "
                  "period=%llu)",
                  pid, policy, nice, priority, flags, runtime, deadline, period);
}

static PyObject *
sys_sched_setaffinity(PyObject *Py_UNUSED(self), PyObject *args)
{
    int pid;
    const char *mask;
    Py_ssize_t size;
    if (!PyArg_ParseTuple(args, "iy#:sched_setaffinity", &pid, &mask, &size))
        return NULL;
    /* the kernel takes whole words, and ignores what lies beyond the CPUs that it knows */
    unsigned long words[8192 / (8 * sizeof(unsigned long))] = {0};
    if ((size_t)size > sizeof(words)) {
        PyErr_SetString(PyExc_ValueError, "sched_setaffinity: more than 8192 CPUs");
        return NULL;
    }
    memcpy(words, mask, (size_t)size);
    NONE_OR_ERROR(syscall(SYS_sched_setaffinity, pid, sizeof(words), words), "sched_setaffinity(%d)", pid);
}

static PyObject *
sys_ioprio_set(PyObject *Py_UNUSED(self), PyObject *args)
{
    int which, who, ioprio;
    if (!PyArg_ParseTuple(args, "iii:ioprio_set", &which, &who, &ioprio))
        return NULL;
    NONE_OR_ERROR(syscall(SYS_ioprio_set, which, who, ioprio), "ioprio_set(%d, %d, 0x%x)", which, who,
                  (unsigned)ioprio);
}

static PyObject *
sys_personality(PyObject *Py_UNUSED(self), PyObject *args)
{
    unsigned long persona;
    if (!PyArg_ParseTuple(args, "k:personality", &persona))
        return NULL;
    int old = personality(persona);
    return old < 0 ? sys_error("personality(0x%lx)", persona) : PyLong_FromLong(old);
}

static PyObject *
sys_set_mempolicy(PyObject *Py_UNUSED(self), PyObject *args)
{
    int mode;
    Py_buffer mask;
    if (!PyArg_ParseTuple(args, "iy*:set_mempolicy", &mode, &mask))
        return NULL;
    /* room for MAX_NUMNODES = 1024 (CONFIG_NODES_SHIFT 10); the kernel reads maxnode - 1 bits */
    unsigned long nodes[1024 / (8 * sizeof(unsigned long))] = {0};
    if ((size_t)mask.len > sizeof(nodes)) {
        PyBuffer_Release(&mask);
        PyErr_SetString(PyExc_ValueError, "set_mempolicy: more than 1024 nodes");
        return NULL;
    }
    memcpy(nodes, mask.buf, (size_t)mask.len);
    int empty = mask.len == 0;
    PyBuffer_Release(&mask);
    NONE_OR_ERROR(syscall(SYS_set_mempolicy, mode, empty ? NULL : nodes, empty ? 0UL : sizeof(nodes) * 8 + 1),
                  "set_mempolicy(0x%x, 0x%lx)", (unsigned)mode, nodes[0]);
}

static PyObject *
sys_link_up(PyObject *Py_UNUSED(self), PyObject *args)
{
    const char *name;
    if (!PyArg_ParseTuple(args, "s:link_up", &name))
        return NULL;
    struct ifreq request = {.ifr_flags = 0};
    if (strlen(name) >= sizeof(request.ifr_name)) {
        errno = ENODEV;
        return sys_error("ioctl(SIOCSIFFLAGS, '%s')", name);
    }
    strcpy(request.ifr_name, name);
    /* any socket reaches the interfaces of the network namespace; a unix one needs no protocol module */
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return sys_error("socket(AF_UNIX, SOCK_DGRAM)");
    int rc = ioctl(fd, SIOCGIFFLAGS, &request);
    if (rc == 0) {
        request.ifr_flags = (short)(request.ifr_flags | IFF_UP | IFF_RUNNING);
        rc = ioctl(fd, SIOCSIFFLAGS, &request);
    }
    int saved = errno;
    close(fd);
    errno = saved;
    NONE_OR_ERROR(rc, "ioctl(SIOCSIFFLAGS, '%s')", name);
}

PyMethodDef limit_methods[] = {
    METHOD(prctl, "prctl(option, arg2=0, arg3=0, arg4=0, arg5=0) -> int: prctl(2) with numbers."),
    METHOD(set_name, "set_name(name): prctl(2) PR_SET_NAME; the kernel keeps 15 bytes."),
    {"capget", sys_capget, METH_NOARGS, PyDoc_STR("capget() -> (effective, permitted, inheritable): capget(2).")},
    METHOD(capset, "capset(effective, permitted, inheritable): capset(2) with 64-bit masks."),
    METHOD(keyctl_join_session, "keyctl_join_session(name=None) -> serial: keyctl(2) KEYCTL_JOIN_SESSION_KEYRING."),
    METHOD(sethostname, "sethostname(name): sethostname(2)."),
    METHOD(setdomainname, "setdomainname(name): setdomainname(2)."),
    METHOD(prlimit, "prlimit(pid, resource, soft, hard) -> (old_soft, old_hard): prlimit(2); -1 is RLIM_INFINITY."),
    METHOD(sched_setattr, "sched_setattr(pid, policy, nice, priority, flags, runtime, deadline, period): "
                          "sched_setattr(2); times in nanoseconds."),
    METHOD(sched_setaffinity, "sched_setaffinity(pid, mask): sched_setaffinity(2); bit n of the bytes is CPU n."),
    METHOD(ioprio_set, "ioprio_set(which, who, ioprio): ioprio_set(2)."),
    METHOD(personality, "personality(persona) -> old persona: personality(2)."),
    METHOD(set_mempolicy, "set_mempolicy(mode, nodemask): set_mempolicy(2); nodemask is little-endian bytes."),
    METHOD(link_up, "link_up(name): netdevice(7) SIOCSIFFLAGS with IFF_UP | IFF_RUNNING."),
    METHODS_END,
};
