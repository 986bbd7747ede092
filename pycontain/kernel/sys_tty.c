/* Pseudo-terminals without a path: pts(4), ioctl_tty(2). */
#include "sys.h"

#include <sys/ioctl.h>

/* asm-generic/ioctls.h; since Linux 4.13 */
#ifndef TIOCGPTPEER
#define TIOCGPTPEER _IO('T', 0x41)
#endif

static PyObject *
sys_openpty_at(PyObject *Py_UNUSED(self), PyObject *args)
{
    int devpts;
    if (!PyArg_ParseTuple(args, "i:openpty_at", &devpts))
        return NULL;
    int master = openat(devpts, "ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC | O_NOFOLLOW);
    if (master < 0)
        return sys_error("openat(%d, 'ptmx')", devpts);
    int unlocked = 0, slave = -1;
    if (ioctl(master, TIOCSPTLCK, &unlocked) == 0)
        slave = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (slave < 0) {
        sys_error("ioctl(%d, TIOCGPTPEER)", master);
        close(master);
        return NULL;
    }
    return Py_BuildValue("ii", master, slave);
}

static PyObject *
sys_tty_set_size(PyObject *Py_UNUSED(self), PyObject *args)
{
    int fd;
    unsigned short rows, columns;
    if (!PyArg_ParseTuple(args, "iHH:tty_set_size", &fd, &rows, &columns))
        return NULL;
    struct winsize size = {.ws_row = rows, .ws_col = columns};
    NONE_OR_ERROR(ioctl(fd, TIOCSWINSZ, &size), "ioctl(%d, TIOCSWINSZ, %dx%d)", fd, rows, columns);
}

static PyObject *
sys_tty_get_size(PyObject *Py_UNUSED(self), PyObject *args)
{
    int fd;
    if (!PyArg_ParseTuple(args, "i:tty_get_size", &fd))
        return NULL;
    struct winsize size;
    if (ioctl(fd, TIOCGWINSZ, &size) < 0)
        return sys_error("ioctl(%d, TIOCGWINSZ)", fd);
    return Py_BuildValue("ii", size.ws_row, size.ws_col);
}

static PyObject *
sys_tty_make_controlling(PyObject *Py_UNUSED(self), PyObject *args)
{
    int fd;
    if (!PyArg_ParseTuple(args, "i:tty_make_controlling", &fd))
        return NULL;
    NONE_OR_ERROR(ioctl(fd, TIOCSCTTY, 0), "ioctl(%d, TIOCSCTTY)", fd);
}

PyMethodDef tty_methods[] = {
    METHOD(openpty_at, "openpty_at(devpts_dirfd) -> (master, slave): a pair of that devpts, by TIOCGPTPEER."),
    METHOD(tty_set_size, "tty_set_size(fd, rows, columns): ioctl_tty(2) TIOCSWINSZ."),
    METHOD(tty_get_size, "tty_get_size(fd) -> (rows, columns): ioctl_tty(2) TIOCGWINSZ."),
    METHOD(tty_make_controlling, "tty_make_controlling(fd): ioctl_tty(2) TIOCSCTTY; the caller leads its session."),
    METHODS_END,
};
