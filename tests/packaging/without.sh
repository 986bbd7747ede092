#!/bin/sh
# Run a command on a machine that lacks some headers: without.sh "FILE..." COMMAND...  They are removed from a throw-away
# layer above /usr/include, in a mount namespace of its own.
set -eu

if [ "${1-}" != --inside ]; then
    exec unshare --mount sh "$0" --inside "$@"
fi
files=$2
shift 2
mount -t tmpfs tmpfs /mnt
mkdir /mnt/upper /mnt/work
mount -t overlay -o lowerdir=/usr/include,upperdir=/mnt/upper,workdir=/mnt/work overlay /usr/include
# shellcheck disable=SC2086  # a list of words
rm -r $files
exec "$@"
