/* Run in a container by test_hostile_races.py: swapper NAME TARGET
 *
 * Exchanges the directory NAME with the symbolic link NAME.link to TARGET, as fast as it can, until it is killed.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#ifndef RENAME_EXCHANGE
#define RENAME_EXCHANGE (1 << 1)
#endif

int
main(int argc, char **argv)
{
    char other[4096];
    if (argc != 3)
        return 2;
    snprintf(other, sizeof(other), "%s.link", argv[1]);
    mkdir(argv[1], 0777);
    if (symlink(argv[2], other) < 0) {
        perror(other);
        return 1;
    }
    puts("swapping");
    fflush(stdout);
    for (;;)
        if (renameat2(AT_FDCWD, argv[1], AT_FDCWD, other, RENAME_EXCHANGE) < 0)
            perror("renameat2");
}
