#!/bin/sh
# Run a command with the directory ROOT as the machine's root: enter.sh ROOT COMMAND...  In mount and pid namespaces of
# its own, so that nothing of it stays; /run is empty, as after a boot.
set -eu

if [ "${1-}" != --inside ]; then
    exec unshare --mount --pid --fork --kill-child sh "$0" --inside "$@"
fi
root=$2
shift 2
mount --bind "$root" "$root"
cd "$root"
mount -t proc proc proc
mount --rbind /sys sys
mount --rbind /dev dev
mount -t tmpfs -o mode=755 tmpfs run
mkdir run/before
pivot_root . run/before
umount --lazy run/before
rmdir run/before
exec env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 "$@"
