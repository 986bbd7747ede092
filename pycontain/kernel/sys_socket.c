/* Unix sockets and the descriptors that travel over them: unix(7), sendmsg(2), recvmsg(2). */
#include "sys.h"

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

/* linux/net.h SCM_MAX_FD: more descriptors than this in one message is EINVAL */
enum { MAX_FDS = 253 };

/* Fill `fds` from a sequence of ints; return how many, -1 with an exception set. */
static Py_ssize_t
parse_fds(PyObject *sequence, int fds[MAX_FDS])
{
    PyObject *fast = PySequence_Fast(sequence, "fds must be a sequence of int");
    if (fast == NULL)
        return -1;
    Py_ssize_t count = PySequence_Fast_GET_SIZE(fast);
    if (count > MAX_FDS) {
        PyErr_Format(PyExc_ValueError, "sendmsg: %zd descriptors, at most %d", count, MAX_FDS);
        count = -1;
    }
    for (Py_ssize_t i = 0; i < count; i++) {
        long fd = PyLong_AsLong(PySequence_Fast_GET_ITEM(fast, i));
        if (fd == -1 && PyErr_Occurred()) {
            count = -1;
            break;
        }
        fds[i] = (int)fd;
    }
    Py_DECREF(fast);
    return count;
}

static PyObject *
sys_sendmsg(PyObject *Py_UNUSED(self), PyObject *args, PyObject *keywords)
{
    static char *names[] = {"fd", "data", "fds", "flags", NULL};
    int fd, flags = 0, fds[MAX_FDS];
    Py_buffer data;
    PyObject *sequence = NULL;
    if (!PyArg_ParseTupleAndKeywords(args, keywords, "iy*|Oi:sendmsg", names, &fd, &data, &sequence, &flags))
        return NULL;
    Py_ssize_t count = sequence == NULL ? 0 : parse_fds(sequence, fds);
    if (count < 0) {
        PyBuffer_Release(&data);
        return NULL;
    }
    union {
        char bytes[CMSG_SPACE(sizeof(fds))];
        struct cmsghdr align;
    } control;
    struct iovec vector = {.iov_base = data.buf, .iov_len = (size_t)data.len};
    struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1};
    if (count > 0) {
        size_t size = (size_t)count * sizeof(int);
        memset(&control, 0, sizeof(control));
        message.msg_control = control.bytes;
        message.msg_controllen = CMSG_SPACE(size);
        struct cmsghdr *header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(size);
        memcpy(CMSG_DATA(header), fds, size);
    }
    ssize_t sent;
    do {
        Py_BEGIN_ALLOW_THREADS
        sent = sendmsg(fd, &message, flags | MSG_NOSIGNAL);
        Py_END_ALLOW_THREADS
    } while (sent < 0 && errno == EINTR && PyErr_CheckSignals() == 0);
    if (sent < 0 && !PyErr_Occurred())
        sys_error("sendmsg(%d, %zd bytes, %zd fds)", fd, data.len, count);
    PyBuffer_Release(&data);
    return sent < 0 ? NULL : PyLong_FromSsize_t(sent);
}

/* Return a tuple of the descriptors in `message`. On failure every one of them is closed. */
static PyObject *
received_fds(struct msghdr *message)
{
    PyObject *list = PyList_New(0);
    for (struct cmsghdr *header = CMSG_FIRSTHDR(message); header != NULL; header = CMSG_NXTHDR(message, header)) {
        if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS)
            continue;
        size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < count; i++) {
            int fd;
            memcpy(&fd, CMSG_DATA(header) + i * sizeof(int), sizeof(int));
            PyObject *number = list == NULL ? NULL : PyLong_FromLong(fd);
            if (number == NULL || PyList_Append(list, number) < 0) {
                Py_CLEAR(list);
                close(fd);
            }
            Py_XDECREF(number);
        }
    }
    PyObject *fds = list == NULL ? NULL : PyList_AsTuple(list);
    Py_XDECREF(list);
    return fds;
}

static PyObject *
sys_recvmsg(PyObject *Py_UNUSED(self), PyObject *args, PyObject *keywords)
{
    static char *names[] = {"fd", "bufsize", "maxfds", "flags", NULL};
    int fd, maxfds = 0, flags = 0;
    Py_ssize_t size;
    if (!PyArg_ParseTupleAndKeywords(args, keywords, "in|ii:recvmsg", names, &fd, &size, &maxfds, &flags))
        return NULL;
    if (size < 0 || maxfds < 0 || maxfds > MAX_FDS) {
        PyErr_SetString(PyExc_ValueError, "recvmsg: size or number of descriptors out of range");
        return NULL;
    }
    PyObject *data = PyBytes_FromStringAndSize(NULL, size);
    if (data == NULL)
        return NULL;
    union {
        char bytes[CMSG_SPACE(MAX_FDS * sizeof(int))];
        struct cmsghdr align;
    } control;
    struct iovec vector = {.iov_base = PyBytes_AS_STRING(data), .iov_len = (size_t)size};
    struct msghdr message;
    ssize_t got;
    do {
        message = (struct msghdr){.msg_iov = &vector, .msg_iovlen = 1};
        if (maxfds > 0) {
            message.msg_control = control.bytes;
            message.msg_controllen = CMSG_SPACE((size_t)maxfds * sizeof(int));
        }
        Py_BEGIN_ALLOW_THREADS
        got = recvmsg(fd, &message, flags | MSG_CMSG_CLOEXEC);
        Py_END_ALLOW_THREADS
    } while (got < 0 && errno == EINTR && PyErr_CheckSignals() == 0);
    if (got < 0) {
        Py_DECREF(data);
        return PyErr_Occurred() ? NULL : sys_error("recvmsg(%d, %zd)", fd, size);
    }
    PyObject *fds = received_fds(&message);
    /* with MSG_TRUNC in flags the kernel reports the whole length, of which only `size` bytes are here */
    if (fds == NULL || _PyBytes_Resize(&data, got < size ? got : size) < 0) {
        Py_XDECREF(fds);
        Py_XDECREF(data);
        return NULL;
    }
    return Py_BuildValue("NNi", data, fds, message.msg_flags);
}

static PyObject *
sys_socketpair(PyObject *Py_UNUSED(self), PyObject *args)
{
    int type, pair[2];
    if (!PyArg_ParseTuple(args, "i:socketpair", &type))
        return NULL;
    if (socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, pair) < 0)
        return sys_error("socketpair(AF_UNIX, %d)", type);
    return Py_BuildValue("ii", pair[0], pair[1]);
}

/* Fill `address` so that it reaches `path`. A path that does not fit (107 bytes) is reached through its directory,
 * opened as *dirfd, which the caller closes after bind(2) or connect(2). Return -1 with errno. */
static int
fill_address(const char *path, struct sockaddr_un *address, int *dirfd)
{
    *dirfd = -1;
    memset(address, 0, sizeof(*address));
    address->sun_family = AF_UNIX;
    if (strlen(path) < sizeof(address->sun_path)) {
        strcpy(address->sun_path, path);
        return 0;
    }
    const char *slash = strrchr(path, '/');
    char directory[4096];
    if (slash == NULL || slash == path || (size_t)(slash - path) >= sizeof(directory)) {
        errno = ENAMETOOLONG;
        return -1;
    }
    memcpy(directory, path, (size_t)(slash - path));
    directory[slash - path] = '\0';
    int fd = open(directory, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    int wrote = snprintf(address->sun_path, sizeof(address->sun_path), "/proc/self/fd/%d/%s", fd, slash + 1);
    if (wrote < 0 || (size_t)wrote >= sizeof(address->sun_path)) {
        close(fd);
        errno = ENAMETOOLONG;
        return -1;
    }
    *dirfd = fd;
    return 0;
}

/* Close the descriptors that are open without losing errno. */
static void
close_keeping_errno(int first, int second)
{
    int saved = errno;
    if (first >= 0)
        close(first);
    if (second >= 0)
        close(second);
    errno = saved;
}

static PyObject *
sys_unix_listen(PyObject *Py_UNUSED(self), PyObject *args)
{
    PyObject *path;
    int type, backlog;
    unsigned int mode;
    if (!PyArg_ParseTuple(args, "O&iiI:unix_listen", PyUnicode_FSConverter, &path, &type, &backlog, &mode))
        return NULL;
    struct sockaddr_un address;
    int dirfd = -1, fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);
    /* bind(2) gives the file the mode of the socket, so it never exists with a wider one; umask narrows it further */
    int failed = fd < 0 || fchmod(fd, mode) < 0 || fill_address(path_text(path), &address, &dirfd) < 0 ||
                 bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 || listen(fd, backlog) < 0;
    close_keeping_errno(dirfd, failed ? fd : -1);
    PyObject *result = failed ? sys_error("bind('%s', type %d, mode 0%o)", path_text(path), type, mode)
                              : PyLong_FromLong(fd);
    Py_DECREF(path);
    return result;
}

static PyObject *
sys_unix_connect(PyObject *Py_UNUSED(self), PyObject *args)
{
    PyObject *path;
    int type;
    if (!PyArg_ParseTuple(args, "O&i:unix_connect", PyUnicode_FSConverter, &path, &type))
        return NULL;
    struct sockaddr_un address;
    int dirfd = -1, fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);
    int failed = fd < 0 || fill_address(path_text(path), &address, &dirfd) < 0;
    if (!failed) {
        int rc;
        do {
            Py_BEGIN_ALLOW_THREADS
            rc = connect(fd, (struct sockaddr *)&address, sizeof(address));
            Py_END_ALLOW_THREADS
        } while (rc < 0 && errno == EINTR && PyErr_CheckSignals() == 0);
        failed = rc < 0;
    }
    close_keeping_errno(dirfd, failed ? fd : -1);
    PyObject *result = NULL;
    if (!failed)
        result = PyLong_FromLong(fd);
    else if (!PyErr_Occurred())
        sys_error("connect('%s', type %d)", path_text(path), type);
    Py_DECREF(path);
    return result;
}

static PyObject *
sys_unix_accept(PyObject *Py_UNUSED(self), PyObject *args)
{
    int fd, peer;
    if (!PyArg_ParseTuple(args, "i:unix_accept", &fd))
        return NULL;
    do {
        Py_BEGIN_ALLOW_THREADS
        peer = accept4(fd, NULL, NULL, SOCK_CLOEXEC);
        Py_END_ALLOW_THREADS
    } while (peer < 0 && errno == EINTR && PyErr_CheckSignals() == 0);
    if (peer < 0)
        return PyErr_Occurred() ? NULL : sys_error("accept4(%d)", fd);
    return PyLong_FromLong(peer);
}

static PyObject *
sys_peer_credentials(PyObject *Py_UNUSED(self), PyObject *args)
{
    int fd;
    if (!PyArg_ParseTuple(args, "i:peer_credentials", &fd))
        return NULL;
    struct ucred peer;
    socklen_t size = sizeof(peer);
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0)
        return sys_error("getsockopt(%d, SO_PEERCRED)", fd);
    return Py_BuildValue("iII", peer.pid, peer.uid, peer.gid);
}

PyMethodDef socket_methods[] = {
    METHOD_KEYWORDS(sendmsg,
                    "sendmsg(fd, data, fds=(), flags=0) -> bytes sent: sendmsg(2) with SCM_RIGHTS, never SIGPIPE."),
    METHOD_KEYWORDS(recvmsg, "recvmsg(fd, bufsize, maxfds=0, flags=0) -> (data, fds, msg_flags): recvmsg(2)."),
    METHOD(socketpair, "socketpair(type) -> (fd, fd): socketpair(2) of AF_UNIX."),
    METHOD(unix_listen, "unix_listen(path, type, backlog, mode) -> fd: bind(2) and listen(2); mode less the umask."),
    METHOD(unix_connect, "unix_connect(path, type) -> fd: connect(2)."),
    METHOD(unix_accept, "unix_accept(fd) -> fd: accept4(2)."),
    METHOD(peer_credentials, "peer_credentials(fd) -> (pid, uid, gid): unix(7) SO_PEERCRED."),
    METHODS_END,
};
