#!/bin/sh
# Run a container made from this host's own root and print what it sees beside what the host sees.
# usage: try.sh PYCONTAIN
set -eu

pycontain=$1

# Seen from inside or outside: one line per thing, "name: value".
# shellcheck disable=SC2016  # expanded by the shell that runs it
look='
field() { sed -n "s/^$1:[[:space:]]*//p" /proc/self/status; }
echo "host name: $(cat /proc/sys/kernel/hostname)"
echo "processes: $(ls -d /proc/[0-9]* | wc -l)"
echo "network interfaces: $(sed -n "s/^ *\([^ :]*\):.*/\1/p" /proc/net/dev | sort | tr "\n" " ")"
echo "mounts: $(wc -l < /proc/self/mountinfo)"
echo "entries of /dev: $(ls /dev | wc -l)"
echo "effective capabilities: $(field CapEff)"
echo "seccomp filters: $(field Seccomp_filters)"
echo "no new privileges: $(field NoNewPrivs)"
echo "kernel settings: $(if [ -w /proc/sys/kernel/core_pattern ] && { : >> /proc/sys/kernel/core_pattern; } 2>/dev/null
    then echo writable; else echo read-only; fi)"
for name in cgroup ipc mnt net pid user uts; do
    echo "$name namespace: $(readlink "/proc/self/ns/$name" | tr -dc 0-9)"
done
'

outside=$(sh -c "$look")
inside=$("$pycontain" run --rm @host -- sh -c "$look")

printf '%-24s %-28s %s\n' '' 'this host' 'the container'
printf '%s\n' "$inside" | while IFS= read -r line; do
    name=${line%%: *}
    printf '%-24s %-28s %s\n' "$name" "$(printf '%s\n' "$outside" | sed -n "s|^$name: ||p")" "${line#*: }"
done
