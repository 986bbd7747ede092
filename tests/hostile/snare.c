/* Run in a container by test_hostile_snares.py: holds whatever comes in by exec.
 *
 *   snare stop         stops every other process that appears, by SIGSTOP
 *   snare trace        seizes and interrupts every other process that appears, and never lets go
 *   snare keep NAME    traces every process of that name, and does not wait for its end
 *   snare die NUMBER   is called "victim" for a second, then sends itself a signal
 */
#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <unistd.h>

static int
has_name(const char *pid, const char *wanted)
{
    char path[64], name[32] = "";
    snprintf(path, sizeof(path), "/proc/%s/comm", pid);
    FILE *file = fopen(path, "r");
    if (file == NULL)
        return 0;
    if (fgets(name, sizeof(name), file) != NULL)
        name[strcspn(name, "\n")] = '\0';
    fclose(file);
    return strcmp(name, wanted) == 0;
}

int
main(int argc, char **argv)
{
    if (argc < 2)
        return 2;
    if (argc == 3 && strcmp(argv[1], "die") == 0) {
        prctl(PR_SET_NAME, "victim", 0, 0, 0);
        sleep(1);
        kill(getpid(), atoi(argv[2]));
        return 0;
    }
    puts("ready");
    fflush(stdout);
    for (;;) {
        DIR *directory = opendir("/proc");
        for (struct dirent *entry; (entry = readdir(directory)) != NULL;) {
            int pid = atoi(entry->d_name);
            if (pid <= 1 || pid == getpid())
                continue;
            if (strcmp(argv[1], "stop") == 0) {
                kill(pid, SIGSTOP);
            } else if (argc < 3 || has_name(entry->d_name, argv[2])) {
                if (ptrace(PTRACE_SEIZE, pid, NULL, NULL) == 0 && strcmp(argv[1], "trace") == 0)
                    ptrace(PTRACE_INTERRUPT, pid, NULL, NULL);
            }
        }
        closedir(directory);
    }
}
