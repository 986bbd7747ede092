/* pycontain-init [--] PROGRAM [ARGUMENT...]: process 1 of a container that was started with --init.
 *
 * Starts PROGRAM in its own, foreground process group, passes every signal on to it, reaps whatever is orphaned, and
 * exits with PROGRAM's exit code or 128 + its signal; 127 when it is not found, 126 when it cannot be executed.
 *
 * Static and without a C library: nothing of the container's files is loaded, it fits in 12 KB, and under the
 * container's seccomp filter it needs no more than the calls named below. All signals stay blocked and are taken
 * one by one, so none is lost between a look and a wait; one SIGCHLD may stand for many children.
 */
#include <asm/unistd.h>
#include <linux/errno.h>
#include <linux/prctl.h>
#include <linux/signal.h>
#include <linux/types.h>
#include <linux/wait.h>

/* asm-generic/ioctls.h, linux/limits.h */
enum { IOCTL_TIOCSPGRP = 0x5410, PATH_SIZE = 4096 };

#if defined(__x86_64__)
__asm__(".globl _start\n_start:\n xor %ebp, %ebp\n mov %rsp, %rdi\n and $-16, %rsp\n call begin\n");

static long
call(long number, long a, long b, long c, long d)
{
    long result;
    register long fourth __asm__("r10") = d;
    register long fifth __asm__("r8") = 0;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(number), "D"(a), "S"(b), "d"(c), "r"(fourth), "r"(fifth)
                     : "rcx", "r11", "memory");
    return result;
}
#elif defined(__aarch64__)
__asm__(".globl _start\n_start:\n mov x29, #0\n mov x30, #0\n mov x0, sp\n bl begin\n");

static long
call(long number, long a, long b, long c, long d)
{
    register long x8 __asm__("x8") = number;
    register long x0 __asm__("x0") = a;
    register long x1 __asm__("x1") = b;
    register long x2 __asm__("x2") = c;
    register long x3 __asm__("x3") = d;
    register long x4 __asm__("x4") = 0;
    __asm__ volatile("svc #0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4) : "memory");
    return x0;
}
#else
#error "add the entry point and the system call of this architecture"
#endif

static const __u64 no_signal = 0;

static void __attribute__((noreturn))
leave(int code)
{
    for (;;)
        call(__NR_exit_group, code, 0, 0, 0);
}

static unsigned long
length(const char *text)
{
    unsigned long size = 0;
    while (text[size] != '\0')
        size++;
    return size;
}

static void __attribute__((noreturn))
refuse(const char *subject, const char *cause, int code)
{
    const char *parts[] = {"pycontain-init: ", subject, cause};
    for (int i = 0; i < 3; i++)
        call(__NR_write, 2, (long)parts[i], (long)length(parts[i]), 0);
    leave(code);
}

/* Return the value of PATH, or execvp(3)'s default. */
static const char *
search_path(char **envp)
{
    for (; *envp != 0; envp++)
        if ((*envp)[0] == 'P' && (*envp)[1] == 'A' && (*envp)[2] == 'T' && (*envp)[3] == 'H' && (*envp)[4] == '=')
            return *envp + 5;
    return "/bin:/usr/bin";
}

static int
has_slash(const char *name)
{
    for (; *name != '\0'; name++)
        if (*name == '/')
            return 1;
    return 0;
}

/* Become the program as execvp(3) finds it. */
static void __attribute__((noreturn))
execute(char **argv, char **envp)
{
    char path[PATH_SIZE];
    const char *name = argv[0], *next = has_slash(name) ? "" : search_path(envp);
    unsigned long size = length(name);
    long error = -ENOENT;
    for (;;) {
        unsigned long used = 0;
        int fits = 1;
        for (; *next != '\0' && *next != ':'; next++) {
            fits &= used + 2 < PATH_SIZE;
            if (fits)
                path[used++] = *next;
        }
        if (used > 0)
            path[used++] = '/';
        if (fits && used + size < PATH_SIZE) {
            for (unsigned long i = 0; i <= size; i++)
                path[used + i] = name[i];
            long result = call(__NR_execve, (long)path, (long)argv, (long)envp, 0);
            if (result != -ENOENT && result != -ENOTDIR)
                error = result;
            if (error != -ENOENT && error != -EACCES)
                break;
        }
        if (*next++ == '\0')
            break;
    }
    if (error == -ENOENT)
        refuse(name, ": not found\n", 127);
    refuse(name, error == -EACCES ? ": permission denied\n" : ": cannot be executed\n", 126);
}

/* Start the program in a process group of its own that has the terminal, if there is one; return its pid. */
static long
start(char **argv, char **envp)
{
    /* the stop for a background process that changes the terminal is blocked like every signal */
    long pid = call(__NR_clone, SIGCHLD, 0, 0, 0);
    if (pid == 0) {
        call(__NR_setpgid, 0, 0, 0, 0);
        int group = (int)call(__NR_getpid, 0, 0, 0, 0);
        call(__NR_ioctl, 0, IOCTL_TIOCSPGRP, (long)&group, 0);
        call(__NR_rt_sigprocmask, SIG_SETMASK, (long)&no_signal, 0, sizeof(no_signal));
        execute(argv, envp);
    }
    if (pid < 0)
        refuse(argv[0], ": clone failed\n", 126);
    return pid;
}

/* Reap every child that has ended, with no flags every child that will; exit when `program` is among them. */
static void
reap(long program, int flags)
{
    int status;
    long pid;
    while ((pid = call(__NR_wait4, -1, (long)&status, flags, 0)) > 0)
        if (pid == program)
            leave((status & 0x7f) == 0 ? (status >> 8) & 0xff : 128 + (status & 0x7f));
}

/* Entered from _start with the stack as the kernel leaves it: argc, argv, NULL, envp, NULL. */
__attribute__((noreturn, used)) void
begin(long *stack)
{
    char **argv = (char **)(stack + 1), **envp = argv + stack[0] + 1;
    if (stack[0] > 0)
        argv++;
    if (*argv != 0 && (*argv)[0] == '-' && (*argv)[1] == '-' && (*argv)[2] == '\0')
        argv++;
    if (*argv == 0)
        refuse("usage: ", "pycontain-init [--] PROGRAM [ARGUMENT...]\n", 125);
    const __u64 every_signal = ~no_signal;
    call(__NR_rt_sigprocmask, SIG_SETMASK, (long)&every_signal, 0, sizeof(every_signal));
    /* ignored, as some parents leave it, the kernel would reap the children itself and tell nobody */
    const unsigned long default_action[4] = {0};
    call(__NR_rt_sigaction, SIGCHLD, (long)default_action, 0, sizeof(no_signal));
    if (call(__NR_getpid, 0, 0, 0, 0) != 1)
        call(__NR_prctl, PR_SET_CHILD_SUBREAPER, 1, 0, 0);
    long program = start(argv, envp);
    for (;;) {
        siginfo_t info;
        long number = call(__NR_rt_sigtimedwait, (long)&every_signal, (long)&info, 0, sizeof(every_signal));
        if (number == SIGCHLD)
            reap(program, WNOHANG);
        else if (number < 0 && number != -EINTR)
            reap(program, 0); /* a filter forbids the wait for signals: no passing on, but no busy loop either */
        else if (!((number == SIGTTIN || number == SIGTTOU) && info.si_code > 0))
            call(__NR_kill, program, number, 0, 0); /* not what the terminal tells a background process, which we are */
    }
}
