/* finish(): the last step of every process that becomes a container's program.
 *
 * Everything that needs Python is prepared first: plain C arrays of argv, envp, paths, descriptors and the filter.
 * From become() on no Python object is touched, and after the filter is loaded the only calls are execve(2), and on
 * failure write(2) and exit_group(2), so a filter that allows no more than execve and exit_group works.
 *
 *   dispositions, mask, PDEATHSIG, is the parent there?  ->  close_range  ->  seccomp  ->  execve paths in order  ->  'E' record, _exit
 *
 * A filter that notifies (SECCOMP_FILTER_FLAG_NEW_LISTENER) yields a descriptor that must leave this process although
 * the filter may forbid every way out. A second thread, which the filter does not bind, waits for it and sends it.
 *
 * Descriptors are closed, not marked close-on-exec: execve(2) resolves its path before it closes those, so a leaked
 * host directory could be reached as /proc/self/fd/N/… (the way of CVE-2024-21626).
 */
#include "sys.h"

#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>

#ifndef SYS_close_range
#define SYS_close_range 436
#endif
/* linux/seccomp.h, since Linux 5.7 */
#ifndef SECCOMP_FILTER_FLAG_TSYNC_ESRCH
#define SECCOMP_FILTER_FLAG_TSYNC_ESRCH (1UL << 4)
#endif

/* steps of the 'E' record that are not an index into paths; constants.py has the same numbers */
enum { STEP_SIGNALS = -1, STEP_CLOSE = -2, STEP_SECCOMP = -3, STEP_CAPABILITIES = -4 };

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
    int lowers; /* capability sets to take on after the filter is loaded */
    uint64_t effective, permitted, inheritable;
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

/* Whether the process that made us, and holds the other end of the channel, died before PDEATHSIG was set and could
 * not be told. A process closes its files before it signals its children, so that one of the two is always noticed.
 * getppid(2) does not help: process 1 of a pid namespace has no parent in it. Only a packet or EAGAIN means life. */
static int
parent_is_gone(int channel)
{
    char byte;
    long got = syscall(SYS_recvfrom, channel, &byte, 1UL, MSG_PEEK | MSG_DONTWAIT, NULL, NULL);
    return got == 0 || (got < 0 && errno != EAGAIN);
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

/* What the thread that sends the listener shares with the one that loads the filter. */
struct handover {
    int channel;
    _Atomic int listener; /* NO_LISTENER_YET, the descriptor, or NO_LISTENER when loading failed */
    _Atomic int outcome;  /* 0 until the message is sent, then 1 or a negative errno */
};
enum { NO_LISTENER_YET = -1, NO_LISTENER = -2 };

/* The second thread: send 'N' and the listener. It shares errno with the first, which does not look at it meanwhile. */
static int
send_listener(void *argument)
{
    struct handover *handover = argument;
    int listener;
    while ((listener = handover->listener) == NO_LISTENER_YET)
        syscall(SYS_sched_yield);
    if (listener >= 0) {
        char type = 'N';
        union {
            char bytes[CMSG_SPACE(sizeof(int))];
            struct cmsghdr header;
        } control = {.header = {.cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS}};
        *(int *)(void *)CMSG_DATA(&control.header) = listener;
        struct iovec vector = {.iov_base = &type, .iov_len = 1};
        struct msghdr message = {
            .msg_iov = &vector, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)};
        handover->outcome = syscall(SYS_sendmsg, handover->channel, &message, MSG_NOSIGNAL) < 0 ? -errno : 1;
    }
    syscall(SYS_exit, 0);
    __builtin_unreachable();
}

/* Load a filter that notifies and wait, without a system call, until its listener has been sent. */
static int
load_with_listener(const struct program *program)
{
    static char stack[16384] __attribute__((aligned(16)));
    static struct handover handover = {.listener = NO_LISTENER_YET};
    handover.channel = program->channel;
    if (clone(send_listener, stack + sizeof(stack),
              CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM, &handover) < 0)
        return -1;
    /* without TSYNC, which would bind the second thread too and has no other to bind */
    const unsigned int tsync = SECCOMP_FILTER_FLAG_TSYNC | SECCOMP_FILTER_FLAG_TSYNC_ESRCH;
    unsigned int flags = program->filter_flags & ~tsync;
    long listener = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &program->filter);
    if (listener < 0) {
        handover.listener = NO_LISTENER;
        return -1;
    }
    handover.listener = (int)listener;
    while (handover.outcome == 0)
        ;
    errno = handover.outcome < 0 ? -handover.outcome : 0;
    return handover.outcome < 0 ? -1 : 0;
}

static int
load_filter(const struct program *program)
{
    if (program->filter_flags & SECCOMP_FILTER_FLAG_NEW_LISTENER)
        return load_with_listener(program);
    return (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, program->filter_flags, &program->filter);
}

/* Take on the last capability sets. Without no_new_privs, loading a filter needs CAP_SYS_ADMIN (seccomp(2)), which
 * most programs must not have; such a profile must therefore allow capset(2). */
static int
lower_capabilities(const struct program *program)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
    const struct __user_cap_data_struct data[2] = {
        {(uint32_t)program->effective, (uint32_t)program->permitted, (uint32_t)program->inheritable},
        {(uint32_t)(program->effective >> 32), (uint32_t)(program->permitted >> 32),
         (uint32_t)(program->inheritable >> 32)},
    };
    return (int)syscall(SYS_capset, &header, data);
}

/* Become the first of the paths that can be executed, as execvp(3) chooses: one that is not there is passed over, one
 * that must not be executed is remembered, any other error ends the search. */
static void __attribute__((noreturn))
become(const struct program *program)
{
    if (reset_signals(program->pdeathsig) < 0)
        give_up(program->channel, errno, STEP_SIGNALS);
    if (program->pdeathsig != 0 && program->channel >= 0 && parent_is_gone(program->channel))
        syscall(SYS_exit_group, EXIT_CANNOT_EXECUTE);
    if (close_others(program) < 0)
        give_up(program->channel, errno, STEP_CLOSE);
    if (program->filtered && load_filter(program) < 0)
        give_up(program->channel, errno, STEP_SECCOMP);
    if (program->lowers && lower_capabilities(program) < 0)
        give_up(program->channel, errno, STEP_CAPABILITIES);
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

/* Fill the capability sets from None or a tuple (effective, permitted, inheritable); -1 with an exception set. */
static int
capability_sets(struct program *program, PyObject *sets)
{
    unsigned long long effective, permitted, inheritable;
    if (sets == Py_None)
        return 0;
    if (!PyTuple_Check(sets)) {
        PyErr_SetString(PyExc_TypeError, "finish: lowered must be None or (effective, permitted, inheritable)");
        return -1;
    }
    if (!PyArg_ParseTuple(sets, "KKK:finish", &effective, &permitted, &inheritable))
        return -1;
    program->lowers = 1;
    program->effective = effective;
    program->permitted = permitted;
    program->inheritable = inheritable;
    return 0;
}

static PyObject *
sys_finish(PyObject *Py_UNUSED(self), PyObject *args, PyObject *keywords)
{
    static char *names[] = {"argv",    "envp",          "paths",     "keep_fds", "channel_fd",
                            "seccomp", "seccomp_flags", "pdeathsig",
                            "lowered", NULL};
    PyObject *argv, *envp, *paths, *keep_fds, *lowered = Py_None;
    Py_buffer filter = {.buf = NULL, .len = 0};
    struct program program = {.kept = 0};
    if (!PyArg_ParseTupleAndKeywords(args, keywords, "O!O!O!O!i|z*IkO:finish", names, &PyList_Type, &argv, &PyList_Type,
                                     &envp, &PyList_Type, &paths, &PyTuple_Type, &keep_fds, &program.channel, &filter,
                                     &program.filter_flags, &program.pdeathsig, &lowered) ||
        capability_sets(&program, lowered) < 0)
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
                            "pdeathsig=0, lowered=None): become a program; does not return."),
    METHODS_END,
};
