/* pycontain: start the interpreter of this installation, sealed, with a clean environment.
 *
 * A pip console script cannot pass -I -S, inherits LD_* and PYTHON*, and runs an interpreter that a container may
 * overwrite through /proc/<pid>/exe (CVE-2019-5736). This program finds the interpreter that the installation was made
 * with, seals it and replaces itself by it:
 *
 *   privileged     a detached, read-only clone of the mount that holds the file: writing to it is EROFS
 *   unprivileged   root's own file as it is, because no user namespace of ours can map its owner: EACCES;
 *                  any other in a copy, a sealed memfd: EPERM
 *
 * The new process reaches itself as /proc/self/exe, so it can start over without coming back here.
 */
#define _GNU_SOURCE
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <link.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* asm-generic/unistd.h and linux/mount.h */
#ifndef SYS_open_tree
#define SYS_open_tree 428
#endif
#ifndef SYS_mount_setattr
#define SYS_mount_setattr 442
#endif
#define TREE_CLONE 1U
#define ATTR_RDONLY 0x1ULL

/* linux/memfd.h, since Linux 6.3 */
#ifndef MFD_EXEC
#define MFD_EXEC 0x0010U
#endif

enum { EXIT_RUNTIME = 125, MAX_FLAGS = 16 };

/* the build makes one launcher for each of the programs: pycontain, pycontain-oci */
#ifndef PROGRAM
#define PROGRAM "pycontain"
#endif

extern char **environ;

static void __attribute__((noreturn, format(printf, 1, 2)))
fail(const char *format, ...)
{
    va_list operands;
    va_start(operands, format);
    fputs(PROGRAM ": ", stderr);
    vfprintf(stderr, format, operands);
    fputc('\n', stderr);
    va_end(operands);
    _exit(EXIT_RUNTIME);
}

static void __attribute__((format(printf, 2, 3)))
join(char path[PATH_MAX], const char *format, ...)
{
    va_list operands;
    va_start(operands, format);
    int length = vsnprintf(path, PATH_MAX, format, operands);
    va_end(operands);
    if (length < 0 || length >= PATH_MAX)
        fail("the path of the installation is too long");
}

/* Cut the last component of an absolute path. */
static void
parent(char *path)
{
    char *slash = strrchr(path, '/');
    if (slash != NULL)
        *slash = '\0';
}

/* Copy the value of `key = value` in a pyvenv.cfg line; 0 when the line is another one. */
static int
setting(const char *line, const char *key, char value[PATH_MAX])
{
    size_t length = strlen(key);
    if (strncmp(line, key, length) != 0)
        return 0;
    line += length;
    line += strspn(line, " \t");
    if (*line != '=')
        return 0;
    line++;
    line += strspn(line, " \t");
    join(value, "%s", line);
    value[strcspn(value, "\r\n")] = '\0';
    return 1;
}

/* Find the interpreter of the virtual environment at `prefix`: venv names the file, virtualenv calls it
 * base-executable, uv tells only its directory. 0 when there is no pyvenv.cfg. */
static int
venv_interpreter(const char *prefix, char interpreter[PATH_MAX])
{
    char path[PATH_MAX], line[PATH_MAX], home[PATH_MAX] = "", executable[PATH_MAX] = "", base[PATH_MAX] = "";
    join(path, "%s/pyvenv.cfg", prefix);
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return 0;
    while (fgets(line, sizeof(line), file) != NULL) {
        if (!setting(line, "home", home) && !setting(line, "base-executable", base))
            setting(line, "executable", executable);
    }
    fclose(file);
    if (base[0] == '/')
        join(interpreter, "%s", base);
    else if (executable[0] == '/')
        join(interpreter, "%s", executable);
    else if (home[0] == '/')
        join(interpreter, "%s/%s", home, PYTHON_NAME);
    else
        fail("%s names no interpreter", path);
    return 1;
}

/* Find the directory below which the package lies: beside this program, else where the build was told. */
static void
find_packages(const char *prefix, char packages[PATH_MAX])
{
    static const char *const places[] = {"lib/" PYTHON_NAME "/site-packages", "lib64/" PYTHON_NAME "/site-packages",
                                         "lib/" PYTHON_NAME "/dist-packages", "lib/python3/dist-packages"};
    char start[PATH_MAX];
    for (size_t i = 0; i < sizeof(places) / sizeof(*places); i++) {
        join(packages, "%s/%s", prefix, places[i]);
        join(start, "%s/pycontain/launcher/_start.py", packages);
        if (access(start, R_OK) == 0)
            return;
    }
    join(packages, "%s", PACKAGES_DIR);
    join(start, "%s/pycontain/launcher/_start.py", packages);
    if (access(start, R_OK) != 0)
        fail("the package pycontain is neither below %s/lib nor in %s: install it again", prefix, packages);
}

/* Drop what would steer the dynamic loader, libc or the interpreter; the container gets its own environment. */
static void
scrub_environment(void)
{
    static const char *const prefixes[] = {"LD_", "PYTHON", "GLIBC_TUNABLES=", "GCONV_PATH=", "LOCPATH="};
    char **kept = environ;
    for (char **entry = environ; *entry != NULL; entry++) {
        int drop = 0;
        for (size_t i = 0; i < sizeof(prefixes) / sizeof(*prefixes); i++)
            drop |= strncmp(*entry, prefixes[i], strlen(prefixes[i])) == 0;
        if (!drop)
            *kept++ = *entry;
    }
    *kept = NULL;
}

/* Return the run path of an ELF image (DT_RUNPATH, else DT_RPATH), or NULL. The interpreter is trusted like the libc
 * that it loads, so its headers are not checked for sense. */
static const char *
run_path(const char *image)
{
    const ElfW(Ehdr) *header = (const void *)image;
    const ElfW(Phdr) *segments = (const void *)(image + header->e_phoff);
    const ElfW(Dyn) *dynamic = NULL;
    uint64_t table = 0, offset = 0;
    for (unsigned i = 0; i < header->e_phnum; i++)
        if (segments[i].p_type == PT_DYNAMIC)
            dynamic = (const void *)(image + segments[i].p_offset);
    for (const ElfW(Dyn) *entry = dynamic; entry != NULL && entry->d_tag != DT_NULL; entry++) {
        if (entry->d_tag == DT_STRTAB)
            table = entry->d_un.d_ptr;
        else if (entry->d_tag == DT_RUNPATH || (entry->d_tag == DT_RPATH && offset == 0))
            offset = entry->d_un.d_val;
    }
    for (unsigned i = 0; i < header->e_phnum && offset != 0; i++) {
        const ElfW(Phdr) *segment = &segments[i];
        if (segment->p_type == PT_LOAD && table >= segment->p_vaddr && table < segment->p_vaddr + segment->p_filesz)
            return image + segment->p_offset + (table - segment->p_vaddr) + offset;
    }
    return NULL;
}

/* Write the library path of an interpreter whose run path says $ORIGIN, which the loader would take for the directory
 * of the sealed file. Empty for any other. */
static void
library_path(const char *run_path, const char *interpreter, char libraries[PATH_MAX])
{
    static const char *const words[] = {"$ORIGIN", "${ORIGIN}"};
    char directory[PATH_MAX], before[PATH_MAX];
    int found = 0;
    join(directory, "%s", interpreter);
    parent(directory);
    join(libraries, "%s", run_path);
    for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++) {
        for (char *word; (word = strstr(libraries, words[i])) != NULL; found = 1) {
            join(before, "%s", libraries);
            join(libraries, "%.*s%s%s", (int)(word - libraries), before, directory,
                 before + (word - libraries) + strlen(words[i]));
        }
    }
    if (!found)
        libraries[0] = '\0';
}

/* Look into the interpreter: refuse what is no ELF file, and fill `libraries` as library_path does. */
static void
examine(int file, const struct stat *info, const char *interpreter, char libraries[PATH_MAX])
{
    size_t size = (size_t)info->st_size;
    char *image = size < sizeof(ElfW(Ehdr)) ? MAP_FAILED : mmap(NULL, size, PROT_READ, MAP_PRIVATE, file, 0);
    if (image == MAP_FAILED || memcmp(image, ELFMAG, SELFMAG) != 0)
        fail("%s is not a program: the environment must be made with a real interpreter", interpreter);
    const char *path = run_path(image);
    if (path != NULL)
        library_path(path, interpreter, libraries);
    munmap(image, size);
}

/* Return a descriptor of a read-only clone of the mount that holds the interpreter, or -1 with errno. */
static int
seal_by_mount(const char *interpreter)
{
    /* linux/mount.h, struct mount_attr */
    uint64_t attr[4] = {ATTR_RDONLY, 0, 0, 0};
    int fd = (int)syscall(SYS_open_tree, AT_FDCWD, interpreter, TREE_CLONE | O_CLOEXEC);
    if (fd >= 0 && syscall(SYS_mount_setattr, fd, "", AT_EMPTY_PATH, attr, sizeof(attr)) == 0)
        return fd;
    return -1;
}

/* Return a descriptor of a sealed copy of the open interpreter. */
static int
seal_by_copy(int file, const struct stat *info, const char *interpreter)
{
    unsigned int flags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
    int fd = memfd_create("pycontain", flags | MFD_EXEC);
    if (fd < 0 && errno == EINVAL)
        fd = memfd_create("pycontain", flags);
    if (fd < 0)
        fail("cannot seal %s: memfd_create: %s", interpreter, strerror(errno));
    for (off_t left = info->st_size; left > 0;) {
        ssize_t copied = sendfile(fd, file, NULL, (size_t)left);
        if (copied <= 0)
            fail("cannot seal %s: copy: %s", interpreter, copied < 0 ? strerror(errno) : "it became shorter");
        left -= copied;
    }
    if (fchmod(fd, 0555) < 0 || fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL) < 0)
        fail("cannot seal %s: %s", interpreter, strerror(errno));
    return fd;
}

/* Return a descriptor to execute, through which nobody in a container can write. */
static int
seal(int file, const struct stat *info, const char *interpreter)
{
    int fd = seal_by_mount(interpreter);
    if (fd >= 0)
        return fd;
    if (info->st_uid == 0 && geteuid() != 0 && (info->st_mode & (S_IWGRP | S_IWOTH)) == 0)
        return file;
    return seal_by_copy(file, info, interpreter);
}

/* Open /dev/null where the caller closed a standard stream: the next file opened would take its number. */
static void
fill_standard_streams(void)
{
    for (int fd = 0; fd < 3; fd++)
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDWR) < 0)
            fail("/dev/null: %s", strerror(errno));
}

/* Go on as a grandchild, in a session of its own: whoever started us waits for a process that is gone at once, and never
 * meets this one in waitpid(2). */
static void
detach(void)
{
    pid_t child = fork();
    if (child < 0)
        fail("fork: %s", strerror(errno));
    if (child > 0)
        _exit(0);
    setsid();
}

/* An interpreter that Ctrl-C meets while it boots dies with a traceback of its own: _start.py lets the signal through. */
static void
hold_interrupt(void)
{
    sigset_t interrupt;
    sigemptyset(&interrupt);
    sigaddset(&interrupt, SIGINT);
    sigprocmask(SIG_BLOCK, &interrupt, NULL);
}

int
main(int argc, char **argv)
{
    static char prefix[PATH_MAX], interpreter[PATH_MAX], packages[PATH_MAX], start[PATH_MAX];
    static char libraries[PATH_MAX], libraries_option[PATH_MAX];
    if (getauxval(AT_SECURE) != 0)
        fail("must not be installed setuid or with file capabilities");
    fill_standard_streams();
    if (argc > 1 && strcmp(argv[1], "--internal-launcher") == 0)
        detach();
    if (readlink("/proc/self/exe", prefix, sizeof(prefix) - 1) < 0)
        fail("readlink /proc/self/exe: %s", strerror(errno));
    parent(prefix);
    parent(prefix);
    if (!venv_interpreter(prefix, interpreter))
        join(interpreter, "%s", INTERPRETER);
    find_packages(prefix, packages);
    join(start, "%s/pycontain/launcher/_start.py", packages);
    scrub_environment();

    struct stat info;
    int file = open(interpreter, O_RDONLY | O_CLOEXEC);
    if (file < 0 || fstat(file, &info) < 0)
        fail("interpreter %s: %s", interpreter, strerror(errno));
    examine(file, &info, interpreter, libraries);

    char **command = calloc((size_t)argc + MAX_FLAGS, sizeof(char *));
    if (command == NULL)
        fail("%s", strerror(errno));
    int n = 0;
    command[n++] = interpreter;
    command[n++] = "-ISB";
    command[n++] = "-Xutf8";
    if (libraries[0] != '\0') {
        /* for the loader only: _start.py sees the option and takes the variable out of the environment again */
        join(libraries_option, "-Xpycontain.libraries=%s", libraries);
        command[n++] = libraries_option;
        setenv("LD_LIBRARY_PATH", libraries, 1);
    }
    command[n++] = "-Xpycontain.program=" PROGRAM;
    command[n++] = start;
    for (int i = 1; i < argc; i++)
        command[n++] = argv[i];
    int sealed = seal(file, &info, interpreter);
    hold_interrupt();
    syscall(SYS_execveat, sealed, "", command, environ, AT_EMPTY_PATH);
    fail("cannot execute %s: %s", interpreter, strerror(errno));
}
