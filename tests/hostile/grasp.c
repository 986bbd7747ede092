/* Run in a container by test_hostile_exec.py: what can be had of the host.
 *
 *   grasp key NAME COMMAND…   puts a key into a session keyring of its own and runs the command (on the host)
 *   grasp find NAME           prints the key's content if this process possesses it
 *   grasp descriptors FILE    watches for other processes until it is killed; says so of each that holds that file or a
 *                             null device through which its mode can be changed
 *   grasp rights MASK         watches for other processes until it is killed; prints the permitted capabilities of each
 *                             that has more than MASK and that it may trace
 *   grasp thread MASK         the same in a second thread, while the first has no rights that could be seen
 *   grasp nothing             waits, without any rights
 */
#include <dirent.h>
#include <linux/capability.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* linux/keyctl.h */
enum { SESSION_KEYRING = -3, JOIN_SESSION = 1, SEARCH = 10, READ = 11 };

static int
add_key_and_run(char **argv)
{
    if (syscall(SYS_keyctl, JOIN_SESSION, NULL) < 0 ||
        syscall(SYS_add_key, "user", argv[0], "of the host", 11, SESSION_KEYRING) < 0) {
        perror("add_key");
        return 1;
    }
    execvp(argv[1], argv + 1);
    perror(argv[1]);
    return 1;
}

static int
find_key(const char *name)
{
    char content[64] = "";
    long key = syscall(SYS_keyctl, SEARCH, SESSION_KEYRING, "user", name, 0);
    if (key < 0 || syscall(SYS_keyctl, READ, key, content, sizeof(content) - 1) < 0)
        puts("nothing");
    else
        puts(content);
    return 0;
}

static unsigned long long
permitted(const char *pid)
{
    char path[64], line[256];
    unsigned long long mask = 0;
    snprintf(path, sizeof(path), "/proc/%s/status", pid);
    FILE *file = fopen(path, "r");
    if (file == NULL)
        return 0;
    while (fgets(line, sizeof(line), file) != NULL)
        if (sscanf(line, "CapPrm: %llx", &mask) == 1)
            break;
    fclose(file);
    return mask;
}

/* In a child: its end sets the other process free. */
static void
seize(int pid, const char *name, unsigned long long allowed)
{
    pid_t child = fork();
    if (child == 0) {
        if (ptrace(PTRACE_SEIZE, pid, NULL, NULL) == 0 && (permitted(name) & ~allowed) != 0)
            dprintf(1, "seized %llx\n", permitted(name));
        _exit(0);
    }
    waitpid(child, NULL, 0);
}

/* What can be had of another process's open files; each is told once. */
static void
look_at_descriptors(const char *pid, const struct stat *wanted)
{
    char path[128];
    static int told_file, told_null;
    for (int fd = 0; fd < 64; fd++) {
        struct stat found;
        snprintf(path, sizeof(path), "/proc/%s/fd/%d", pid, fd);
        if (stat(path, &found) < 0)
            continue;
        if (found.st_dev == wanted->st_dev && found.st_ino == wanted->st_ino && !told_file++)
            puts("holds the file");
        struct stat own;
        if (stat("/dev/null", &own) == 0 && S_ISCHR(found.st_mode) && found.st_rdev == own.st_rdev &&
            found.st_dev != own.st_dev && chmod(path, found.st_mode & 07777) == 0 && !told_null++)
            puts("holds the null device");
        fflush(stdout);
    }
}

static void __attribute__((noreturn))
watch_descriptors(const char *file)
{
    struct stat wanted;
    puts("watching");
    fflush(stdout);
    for (;;) {
        DIR *directory = opendir("/proc");
        if (stat(file, &wanted) == 0)
            for (struct dirent *entry; (entry = readdir(directory)) != NULL;)
                if (atoi(entry->d_name) > 1 && atoi(entry->d_name) != getpid())
                    look_at_descriptors(entry->d_name, &wanted);
        closedir(directory);
    }
}

static void __attribute__((noreturn))
watch(unsigned long long allowed)
{
    puts("watching");
    fflush(stdout);
    for (;;) {
        DIR *directory = opendir("/proc");
        for (struct dirent *entry; (entry = readdir(directory)) != NULL;) {
            int pid = atoi(entry->d_name);
            if (pid <= 1 || pid == getpid())
                continue;
            unsigned long long mask = permitted(entry->d_name);
            if ((mask & ~allowed) != 0)
                seize(pid, entry->d_name, allowed);
        }
        closedir(directory);
    }
}

static void *
watch_in_thread(void *mask)
{
    watch(strtoull(mask, NULL, 16));
}

/* Of this thread alone: capabilities are a thread's. */
static void __attribute__((noreturn))
give_up_rights(void)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct none[2] = {{0}};
    for (int number = 0; number < 64; number++)
        prctl(PR_CAPBSET_DROP, number, 0, 0, 0);
    if (syscall(SYS_capset, &header, none) < 0)
        perror("capset");
    puts("without rights");
    fflush(stdout);
    for (;;)
        pause();
}

int
main(int argc, char **argv)
{
    pthread_t thread;
    if (argc == 3 && strcmp(argv[1], "thread") == 0 && pthread_create(&thread, NULL, watch_in_thread, argv[2]) == 0)
        give_up_rights();
    if (argc == 2 && strcmp(argv[1], "nothing") == 0)
        give_up_rights();
    if (argc > 3 && strcmp(argv[1], "key") == 0)
        return add_key_and_run(argv + 2);
    if (argc == 3 && strcmp(argv[1], "find") == 0)
        return find_key(argv[2]);
    if (argc == 3 && strcmp(argv[1], "descriptors") == 0)
        watch_descriptors(argv[2]);
    if (argc == 3 && strcmp(argv[1], "rights") == 0)
        watch(strtoull(argv[2], NULL, 16));
    return 2;
}
