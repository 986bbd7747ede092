#!/bin/sh
# Run a command inside a guest with an ext4 disk of its own:  run_in_guest.sh uml|qemu CMD ARG...
# In the guest PYCONTAIN_GUEST names it, PYCONTAIN_TEST_DISK is a directory on a fresh ext4 (a loop image in memory), and
# PYCONTAIN_GUEST_REPORT a file that comes back as $KEEP_DIR/report. Environment otherwise: see uml_run.sh, qemu_run.sh.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
guest=$1
shift
case $guest in
  uml) ;;
  qemu) ls "${GUESTK:-${XDG_CACHE_HOME:-$HOME/.cache}/guest-kernel}"/boot/vmlinuz-* >/dev/null 2>&1 ||
    sh "$here/get_kernel.sh" >&2 ;;
  *) echo "run_in_guest: unknown guest $guest: uml or qemu" >&2; exit 125 ;;
esac
# shellcheck disable=SC2016  # expanded in the guest
exec sh "$here/${guest}_run.sh" env PYCONTAIN_GUEST="$guest" sh -c '
  truncate -s 768M /var/tmp/disk.img && mkfs.ext4 -q -F /var/tmp/disk.img && mkdir -p /run/disk &&
    mount -o loop /var/tmp/disk.img /run/disk || { echo "run_in_guest: no ext4 disk" >&2; exit 125; }
  export PYCONTAIN_TEST_DISK=/run/disk PYCONTAIN_GUEST_REPORT=/run/job/keep/report
  "$@"
  code=$?
  umount /run/disk 2>/dev/null || true
  exit $code' sh "$@"
