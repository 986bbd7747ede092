/* finish(): the last step of every process that becomes a container's program.
 *
 * Everything that needs Python is prepared first: plain C arrays of argv, envp, paths, descriptors and the filter.
 * From become() on no Python object is touched, and after the filter is loaded the only calls are execve(2), and on
 * failure write(2) and exit_group(2), so a filter that allows no more than execve and exit_group works.
 *
 *   dispositions, mask, PDEATHSIG  ->  close_range  ->  seccomp  ->  execve paths in order  ->  'E' record, _exit
 *
 * Descriptors are closed, not marked close-on-exec: execve(2) resolves its path before it closes those, so a leaked
 * host directory could be reached as /proc/self/fd/N/… (the way of CVE-2024-21626).
 */
#include "sys.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>

#ifndef SYS_close_range
#define SYS_close_range 436
#endif

/* steps of the 'E' record that are not an index into paths; constants.py has the same numbers */
enum { STEP_SIGNALS = -1, STEP_CLOSE = -2, STEP_SECCOMP = -3 };

/* the exit codes that shells and docker use: found but cannot be executed, not found */
enum { EXIT_CANNOT_EXECUTE = 126, EXIT_NOT_FOUND = 127 };

struct program {
    char **argv, **envp, **paths;
    int *keep; /* ascending */
    Py_ssize_t kept;
    int channel;
    struct sock_fprog filter;
    unsigned int filter_flags;
    int filtered;
    unsigned long pdeathsig;
};

/* Write {'E', errno, step} to the channel and exit. Only raw system calls: the filter may be loaded. */
static void __attribute__((noreturn))
give_up(int channel, int error, int32_t step)
{
    struct __attribute__((packed)) {
        char type;
        int32_t error, step;
    } record = {'E', error, step};
    if (channel >= 0)
        syscall(SYS_write, channel, &record, sizeof(record));
    syscall(SYS_exit_group, error == ENOENT && step >= 0 ? EXIT_NOT_FOUND : EXIT_CANNOT_EXECUTE);
    __builtin_trap();
}

/* Give every signal its default disposition and unblock all. The system calls, not sigaction(3): glibc refuses its own
 * two real-time signals, which the program would then inherit as they were. */
static int
reset_signals(unsigned long pdeathsig)
{
    /* struct sigaction of the kernel (asm-generic/signal.h): all zero is SIG_DFL with an empty mask */
    unsigned long default_action[4] = {0};
    const uint64_t empty = 0;
    for (int number = 1; number <= 64; number++)
        if (number != SIGKILL && number != SIGSTOP &&
            syscall(SYS_rt_sigaction, number, default_action, NULL, sizeof(empty)) < 0)
            return -1;
    if (syscall(SYS_rt_sigprocmask, SIG_SETMASK, &empty, NULL, sizeof(empty)) < 0)
        return -1;
    return pdeathsig == 0 ? 0 : (int)syscall(SYS_prctl, PR_SET_PDEATHSIG, pdeathsig, 0UL, 0UL, 0UL);
}

/* Close the gaps between the kept descriptors, which lose their close-on-exec flag, and make the channel keep it. */
static int
close_others(const struct program *program)
{
    unsigned int first = 3;
    for (Py_ssize_t i = 0; i <= program->kept; i++) {
        unsigned int kept = i < program->kept ? (unsigned int)program->keep[i] : ~0U;
        if (kept < first)
            continue;
        unsigned int last = i < program->kept ? kept - 1 : ~0U;
        if (first <= last && syscall(SYS_close_range, first, last, 0) < 0)
            return -1;
        if (i < program->kept)
            first = kept + 1;
    }
    for (Py_ssize_t i = 0; i < program->kept; i++) {
        int flag = program->keep[i] == program->channel ? FD_CLOEXEC : 0;
        if (syscall(SYS_fcntl, program->keep[i], F_SETFD, flag) < 0)
            return -1;
    }
    return 0;
}

/* Become the first of the paths that can be executed, as execvp(3) chooses: one that is not there is passed over, one
 * that must not be executed is remembered, any other error ends the search. */
static void __attribute__((noreturn))
become(const struct program *program)
{
    if (reset_signals(program->pdeathsig) < 0)
        give_up(program->channel, errno, STEP_SIGNALS);
    if (close_others(program) < 0)
        give_up(program->channel, errno, STEP_CLOSE);
    if (program->filtered &&
        syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, program->filter_flags, &program->filter) < 0)
        give_up(program->channel, errno, STEP_SECCOMP);
    int error = ENOENT;
    int32_t step = 0;
    for (int32_t i = 0; program->paths[i] != NULL; i++) {
        syscall(SYS_execve, program->paths[i], program->argv, program->envp);
        if (errno == EACCES) {
            error = EACCES;
            step = i;
        } else if (errno != ENOENT && errno != ENOTDIR) {
            give_up(program->channel, errno, i);
        }
    }
    give_up(program->channel, error, step);
}

/* Point a NULL-terminated array at the bytes of a list, which must outlive it; NULL with an exception set. */
static char **
byte_strings(PyObject *list, const char *what)
{
    Py_ssize_t size = PyList_GET_SIZE(list);
    char **strings = calloc((size_t)size + 1, sizeof(char *));
    if (strings == NULL)
        return (char **)PyErr_NoMemory();
    for (Py_ssize_t i = 0; i < size; i++) {
        if (PyBytes_AsStringAndSize(PyList_GET_ITEM(list, i), &strings[i], NULL) < 0) {
            free(strings);
            PyErr_Format(PyExc_ValueError, "finish: %s must be bytes without a zero byte", what);
            return NULL;
        }
    }
    return strings;
}

static int
ascending(const void *left, const void *right)
{
    int a = *(const int *)left, b = *(const int *)right;
    return (a > b) - (a < b);
}

/* Fill program->keep with the descriptors of a tuple and the channel; -1 with an exception set. */
static int
keep_descriptors(struct program *program, PyObject *fds)
{
    Py_ssize_t size = PyTuple_GET_SIZE(fds);
    program->keep = calloc((size_t)size + 1, sizeof(int));
    if (program->keep == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    for (Py_ssize_t i = 0; i < size; i++) {
        long fd = PyLong_AsLong(PyTuple_GET_ITEM(fds, i));
        if (fd < 0 || fd > INT32_MAX) {
            if (!PyErr_Occurred())
                PyErr_SetString(PyExc_ValueError, "finish: keep_fds must be descriptors");
            return -1;
        }
        program->keep[program->kept++] = (int)fd;
    }
    if (program->channel >= 0)
        program->keep[program->kept++] = program->channel;
    qsort(program->keep, (size_t)program->kept, sizeof(int), ascending);
    return 0;
}

static PyObject *
sys_finish(PyObject *Py_UNUSED(self), PyObject *args, PyObject *keywords)
{
    static char *names[] = {"argv",    "envp",          "paths",     "keep_fds", "channel_fd",
                            "seccomp", "seccomp_flags", "pdeathsig", NULL};
    PyObject *argv, *envp, *paths, *keep_fds;
    Py_buffer filter = {.buf = NULL, .len = 0};
    struct program program = {.kept = 0};
    if (!PyArg_ParseTupleAndKeywords(args, keywords, "O!O!O!O!i|z*Ik:finish", names, &PyList_Type, &argv, &PyList_Type,
                                     &envp, &PyList_Type, &paths, &PyTuple_Type, &keep_fds, &program.channel, &filter,
                                     &program.filter_flags, &program.pdeathsig))
        return NULL;
    if (filter.buf != NULL) {
        program.filter.filter = filter.buf;
        program.filter.len = (unsigned short)((size_t)filter.len / sizeof(struct sock_filter));
        program.filtered = 1;
    }
    if (filter.len % (Py_ssize_t)sizeof(struct sock_filter) != 0 ||
        filter.len / (Py_ssize_t)sizeof(struct sock_filter) > BPF_MAXINSNS)
        PyErr_Format(PyExc_ValueError, "finish: seccomp must be 8-byte instructions, at most %d", BPF_MAXINSNS);
    else if ((program.argv = byte_strings(argv, "argv")) != NULL &&
             (program.envp = byte_strings(envp, "envp")) != NULL &&
             (program.paths = byte_strings(paths, "paths")) != NULL && keep_descriptors(&program, keep_fds) == 0)
        become(&program);
    free(program.argv);
    free(program.envp);
    free(program.paths);
    free(program.keep);
    if (filter.buf != NULL)
        PyBuffer_Release(&filter);
    return NULL;
}

PyMethodDef finish_methods[] = {
    METHOD_KEYWORDS(finish, "finish(argv, envp, paths, keep_fds, channel_fd, seccomp=None, seccomp_flags=0, "
                            "pdeathsig=0): become a program; does not return."),
    METHODS_END,
};
