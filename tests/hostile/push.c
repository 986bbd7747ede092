/* Run by test_hostile_attacks.py and test_attacks_inside.py: tries to type a key on each terminal that it has or can find. */
#include <fcntl.h>
#include <stdio.h>
#include <sys/ioctl.h>

static void
push(const char *name, int fd)
{
    printf("%s: %s\n", name, ioctl(fd, TIOCSTI, "#") == 0 ? "pushed" : "refused");
}

int
main(void)
{
    push("input", 0);
    push("output", 1);
    push("terminal", open("/dev/tty", O_RDWR));
    puts("end");
    return 0;
}
