/* Mounts, namespaces' roots and path resolution: mount(2), open_tree(2) and the family of fsopen(2). */
#include "sys.h"

#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/vfs.h>

/* asm-generic/unistd.h; the same on every architecture */
#ifndef SYS_open_tree
#define SYS_open_tree 428
#define SYS_move_mount 429
#define SYS_fsopen 430
#define SYS_fsconfig 431
#define SYS_fsmount 432
#endif
#ifndef SYS_openat2
#define SYS_openat2 437
#endif
#ifndef SYS_mount_setattr
#define SYS_mount_setattr 442
#endif

/* linux/mount.h, enum fsconfig_command; <sys/mount.h> has them from glibc 2.36 on, <linux/mount.h> clashes with it */
enum { CMD_SET_FLAG = 0, CMD_SET_STRING = 1, CMD_SET_FD = 5, CMD_CREATE = 6 };

/* linux/nsfs.h */
#define IOCTL_NS_GET_NSTYPE _IO(0xb7, 0x3)

/* linux/mount.h, struct mount_attr (MOUNT_ATTR_SIZE_VER0) */
struct mount_attr_v0 {
    uint64_t attr_set, attr_clr, propagation, userns_fd;
};

/* linux/openat2.h, struct open_how (OPEN_HOW_SIZE_VER0) */
struct open_how_v0 {
    uint64_t flags, mode, resolve;
};

static PyObject *
sys_mount(PyObject *Py_UNUSED(self), PyObject *args)
{
    PyObject *source, *target, *fstype, *data;
    unsigned long flags;
    if (!PyArg_ParseTuple(args, "O&O&O&kO&:mount", path_or_none, &source, PyUnicode_FSConverter, &target,
                          path_or_none, &fstype, &flags, path_or_none, &data))
        return NULL;
    long rc = syscall(SYS_mount, source == NULL ? NULL : path_text(source), path_text(target),
                      fstype == NULL ? NULL : path_text(fstype), flags, data == NULL ? NULL : path_text(data));
    if (rc < 0)
        sys_error("mount('%s', '%s', '%s', 0x%lx, '%s')", path_text(source), path_text(target), path_text(fstype),
                  flags, path_text(data));
    Py_XDECREF(source);
    Py_DECREF(target);
    Py_XDECREF(fstype);
    Py_XDECREF(data);
    if (rc < 0)
        return NULL;
    Py_RETURN_NONE;
}

static PyObject *
sys_umount2(PyObject *Py_UNUSED(self), PyObject *args)
{
    PyObject *target;
    int flags;
    if (!PyArg_ParseTuple(args, "O&i:umount2", PyUnicode_FSConverter, &target, &flags))
        return NULL;
    int rc = umount2(path_text(target), flags);
    if (rc < 0)
        sys_error("umount2('%s', 0x%x)", path_text(target), (unsigned)flags);
    Py_DECREF(target);
    if (rc < 0)
        return NULL;
    Py_RETURN_NONE;
}

static PyObject *
sys_pivot_root(PyObject *Py_UNUSED(self), PyObject *args)
{
    PyObject *new_root, *put_old;
    if (!PyArg_ParseTuple(args, "O&O&:pivot_root", PyUnicode_FSConverter, &new_root, PyUnicode_FSConverter, &put_old))
        return NULL;
    long rc = syscall(SYS_pivot_root, path_text(new_root), path_text(put_old));
    if (rc < 0)
        sys_error("pivot_root('%s', '%s')", path_text(new_root), path_text(put_old));
    Py_DECREF(new_root);
    Py_DECREF(put_old);
    if (rc < 0)
        return NULL;
    Py_RETURN_NONE;
}

static PyObject *
sys_open_tree(PyObject *Py_UNUSED(self), PyObject *args)
{
    int dfd;
    PyObject *path;
    unsigned int flags;
    if (!PyArg_ParseTuple(args, "iO&I:open_tree", &dfd, PyUnicode_FSConverter, &path, &flags))
        return NULL;
    /* OPEN_TREE_CLOEXEC is O_CLOEXEC (linux/mount.h) */
    long fd = syscall(SYS_open_tree, dfd, path_text(path), flags | O_CLOEXEC);
    PyObject *result = fd < 0 ? sys_error("open_tree(%d, '%s', 0x%x)", dfd, path_text(path), flags)
                              : PyLong_FromLong(fd);
    Py_DECREF(path);
    return result;
}

static PyObject *
sys_move_mount(PyObject *Py_UNUSED(self), PyObject *args)
{
    int from_dfd, to_dfd;
    PyObject *from_path, *to_path;
    unsigned int flags;
    if (!PyArg_ParseTuple(args, "iO&iO&I:move_mount", &from_dfd, PyUnicode_FSConverter, &from_path, &to_dfd,
                          PyUnicode_FSConverter, &to_path, &flags))
        return NULL;
    long rc = syscall(SYS_move_mount, from_dfd, path_text(from_path), to_dfd, path_text(to_path), flags);
    if (rc < 0)
        sys_error("move_mount(%d, '%s', %d, '%s', 0x%x)", from_dfd, path_text(from_path), to_dfd, path_text(to_path),
                  flags);
    Py_DECREF(from_path);
    Py_DECREF(to_path);
    if (rc < 0)
        return NULL;
    Py_RETURN_NONE;
}

static PyObject *
sys_mount_setattr(PyObject *Py_UNUSED(self), PyObject *args, PyObject *keywords)
{
    static char *names[] = {"dfd", "path", "at_flags", "attr_set", "attr_clr", "propagation", "userns_fd", NULL};
    int dfd, userns_fd = -1;
    PyObject *path;
    unsigned int at_flags;
    unsigned long long attr_set = 0, attr_clr = 0, propagation = 0;
    if (!PyArg_ParseTupleAndKeywords(args, keywords, "iO&I|KKKi:mount_setattr", names, &dfd, PyUnicode_FSConverter,
                                     &path, &at_flags, &attr_set, &attr_clr, &propagation, &userns_fd))
        return NULL;
    struct mount_attr_v0 attr = {
        .attr_set = attr_set,
        .attr_clr = attr_clr,
        .propagation = propagation,
        .userns_fd = userns_fd < 0 ? 0 : (uint64_t)userns_fd,
    };
    long rc = syscall(SYS_mount_setattr, dfd, path_text(path), at_flags, &attr, sizeof(attr));
    if (rc < 0)
        sys_error("mount_setattr(%d, '%s', 0x%x, set=0x%llx, clr=0x%llx, propagation=0x%llx, userns_fd=%d)", dfd,
                  path_text(path), at_flags, attr_set, attr_clr, propagation, userns_fd);
    Py_DECREF(path);
    if (rc < 0)
        return NULL;
    Py_RETURN_NONE;
}

/* Fill `log` with the messages waiting in a file system context: "e overlay: No changes allowed in reconfigure".
 * One read(2) is one message; ENODATA ends them. The first letter is the level, the rest the text. */
static void
read_context_log(int fd, char *log, size_t size)
{
    int saved = errno;
    size_t used = 0;
    char message[512];
    ssize_t got;
    log[0] = '\0';
    while ((got = read(fd, message, sizeof(message) - 1)) > 0) {
        message[got] = '\0';
        const char *text = got > 2 && message[1] == ' ' ? message + 2 : message;
        int wrote = snprintf(log + used, size - used, "%s%s", used == 0 ? "" : "; ", text);
        if (wrote < 0 || (size_t)wrote >= size - used)
            break;
        used += (size_t)wrote;
        if (used > 0 && log[used - 1] == '\n')
            log[--used] = '\0';
    }
    errno = saved;
}

static PyObject *
sys_fsopen(PyObject *Py_UNUSED(self), PyObject *args)
{
    const char *fstype;
    unsigned int flags = 0;
    if (!PyArg_ParseTuple(args, "s|I:fsopen", &fstype, &flags))
        return NULL;
    /* FSOPEN_CLOEXEC is 1 (linux/mount.h) */
    long fd = syscall(SYS_fsopen, fstype, flags | 1U);
    return fd < 0 ? sys_error("fsopen('%s', 0x%x)", fstype, flags) : PyLong_FromLong(fd);
}

static PyObject *
sys_fsconfig_set_flag(PyObject *Py_UNUSED(self), PyObject *args)
{
    int fd;
    const char *key;
    if (!PyArg_ParseTuple(args, "is:fsconfig_set_flag", &fd, &key))
        return NULL;
    if (syscall(SYS_fsconfig, fd, CMD_SET_FLAG, key, NULL, 0) < 0) {
        char log[1024];
        read_context_log(fd, log, sizeof(log));
        return sys_error_log(log, "fsconfig_set_flag(%d, '%s')", fd, key);
    }
    Py_RETURN_NONE;
}

static PyObject *
sys_fsconfig_set_string(PyObject *Py_UNUSED(self), PyObject *args)
{
    int fd;
    const char *key;
    PyObject *value;
    if (!PyArg_ParseTuple(args, "isO&:fsconfig_set_string", &fd, &key, PyUnicode_FSConverter, &value))
        return NULL;
    long rc = syscall(SYS_fsconfig, fd, CMD_SET_STRING, key, path_text(value), 0);
    if (rc < 0) {
        char log[1024];
        read_context_log(fd, log, sizeof(log));
        sys_error_log(log, "fsconfig_set_string(%d, '%s', '%s')", fd, key, path_text(value));
    }
    Py_DECREF(value);
    if (rc < 0)
        return NULL;
    Py_RETURN_NONE;
}

static PyObject *
sys_fsconfig_set_fd(PyObject *Py_UNUSED(self), PyObject *args)
{
    int fd, value;
    const char *key;
    if (!PyArg_ParseTuple(args, "isi:fsconfig_set_fd", &fd, &key, &value))
        return NULL;
    if (syscall(SYS_fsconfig, fd, CMD_SET_FD, key, NULL, value) < 0) {
        char log[1024];
        read_context_log(fd, log, sizeof(log));
        return sys_error_log(log, "fsconfig_set_fd(%d, '%s', %d)", fd, key, value);
    }
    Py_RETURN_NONE;
}

static PyObject *
sys_fsconfig_create(PyObject *Py_UNUSED(self), PyObject *args)
{
    int fd;
    if (!PyArg_ParseTuple(args, "i:fsconfig_create", &fd))
        return NULL;
    if (syscall(SYS_fsconfig, fd, CMD_CREATE, NULL, NULL, 0) < 0) {
        char log[1024];
        read_context_log(fd, log, sizeof(log));
        return sys_error_log(log, "fsconfig_create(%d)", fd);
    }
    Py_RETURN_NONE;
}

static PyObject *
sys_fsmount(PyObject *Py_UNUSED(self), PyObject *args)
{
    int fd;
    unsigned int flags = 0, attr_flags = 0;
    if (!PyArg_ParseTuple(args, "i|II:fsmount", &fd, &flags, &attr_flags))
        return NULL;
    /* FSMOUNT_CLOEXEC is 1 (linux/mount.h) */
    long mount_fd = syscall(SYS_fsmount, fd, flags | 1U, attr_flags);
    if (mount_fd < 0) {
        char log[1024];
        read_context_log(fd, log, sizeof(log));
        return sys_error_log(log, "fsmount(%d, 0x%x, 0x%x)", fd, flags, attr_flags);
    }
    return PyLong_FromLong(mount_fd);
}

static PyObject *
sys_openat2(PyObject *Py_UNUSED(self), PyObject *args)
{
    int dfd;
    PyObject *path;
    unsigned long long flags, mode = 0, resolve = 0;
    if (!PyArg_ParseTuple(args, "iO&K|KK:openat2", &dfd, PyUnicode_FSConverter, &path, &flags, &mode, &resolve))
        return NULL;
    struct open_how_v0 how = {.flags = flags | O_CLOEXEC, .mode = mode, .resolve = resolve};
    long fd;
    /* openat2(2) ERRORS: EAGAIN when a rename or mount raced with RESOLVE_IN_ROOT or RESOLVE_BENEATH; a tree that is
     * changed all the time must not hold us here, so the caller sees it after a bounded number of tries */
    int tries = 128;
    do {
        fd = syscall(SYS_openat2, dfd, path_text(path), &how, sizeof(how));
    } while (fd < 0 && (errno == EINTR || (errno == EAGAIN && resolve != 0 && --tries > 0)));
    PyObject *result = fd < 0 ? sys_error("openat2(%d, '%s', 0x%llx, 0%llo, 0x%llx)", dfd, path_text(path), flags,
                                          mode, resolve)
                              : PyLong_FromLong(fd);
    Py_DECREF(path);
    return result;
}

static PyObject *
sys_fstatfs_type(PyObject *Py_UNUSED(self), PyObject *args)
{
    int fd;
    struct statfs info;
    if (!PyArg_ParseTuple(args, "i:fstatfs_type", &fd))
        return NULL;
    if (fstatfs(fd, &info) < 0)
        return sys_error("fstatfs(%d)", fd);
    return PyLong_FromUnsignedLong((unsigned long)info.f_type & 0xffffffffUL);
}

static PyObject *
sys_ns_type(PyObject *Py_UNUSED(self), PyObject *args)
{
    int fd;
    if (!PyArg_ParseTuple(args, "i:ns_type", &fd))
        return NULL;
    int type = ioctl(fd, IOCTL_NS_GET_NSTYPE);
    return type < 0 ? sys_error("ioctl(%d, NS_GET_NSTYPE)", fd) : PyLong_FromLong(type);
}

PyMethodDef mount_methods[] = {
    METHOD(mount, "mount(source, target, fstype, flags, data): mount(2); source, fstype and data may be None."),
    METHOD(umount2, "umount2(target, flags): umount2(2)."),
    METHOD(pivot_root, "pivot_root(new_root, put_old): pivot_root(2)."),
    METHOD(open_tree, "open_tree(dfd, path, flags) -> fd: open_tree(2)."),
    METHOD(move_mount, "move_mount(from_dfd, from_path, to_dfd, to_path, flags): move_mount(2)."),
    METHOD_KEYWORDS(mount_setattr, "mount_setattr(dfd, path, at_flags, attr_set=0, attr_clr=0, propagation=0, "
                                   "userns_fd=-1): mount_setattr(2)."),
    METHOD(fsopen, "fsopen(fstype, flags=0) -> fd: fsopen(2)."),
    METHOD(fsconfig_set_flag, "fsconfig_set_flag(fd, key): fsconfig(2) FSCONFIG_SET_FLAG."),
    METHOD(fsconfig_set_string, "fsconfig_set_string(fd, key, value): fsconfig(2) FSCONFIG_SET_STRING."),
    METHOD(fsconfig_set_fd, "fsconfig_set_fd(fd, key, value_fd): fsconfig(2) FSCONFIG_SET_FD."),
    METHOD(fsconfig_create, "fsconfig_create(fd): fsconfig(2) FSCONFIG_CMD_CREATE."),
    METHOD(fsmount, "fsmount(fd, flags=0, attr_flags=0) -> fd: fsmount(2)."),
    METHOD(openat2, "openat2(dfd, path, flags, mode=0, resolve=0) -> fd: openat2(2)."),
    METHOD(fstatfs_type, "fstatfs_type(fd) -> magic number: fstatfs(2)."),
    METHOD(ns_type, "ns_type(fd) -> CLONE_NEW* of a namespace file: ioctl_ns(2)."),
    METHODS_END,
};
