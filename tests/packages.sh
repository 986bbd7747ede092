#!/bin/sh
# Install what only the tests use, through tools/host.sh. A package that this distribution does not have is named; the
# tests that need it are then skipped by name.
set -eu

packages="
  git                    what the architecture tests ask for the project's files
  util-linux mount       unshare, setpriv, losetup
  strace                 which files a start opens
  mmdebstrap             images/debian
  e2fsprogs kmod         the guests' disk and modules
  xfsprogs btrfs-progs   further disks there
  user-mode-linux        guest uml
  qemu-system-x86        guest qemu
  crun runc bubblewrap   peers
  criu iptables          checkpoints, in guest qemu
  podman catatonit conmon    engines that drive pycontain-oci
  containerd docker.io        and their dependencies: tini, iptables
  curl                   speaks to containerd as a kubelet does
  tmux                   a terminal as a person uses it
  procps
  dbus dbus-user-session systemd    booted in the guests
  man-db mandoc          what the manual pages look like
  build-essential debhelper dh-python meson python3-pip lintian   the Debian package
  apparmor               the default profile is loaded by its parser
"

command -v apt-cache >/dev/null || exit 0
words=$(printf '%s\n' "$packages" | sed 's/   .*//')
# an image of a distribution may come without lists of packages
apt-cache show strace >/dev/null 2>&1 || [ "$(id -u)" != 0 ] || apt-get update -qq
known=
for package in $words; do
    if apt-cache show "$package" >/dev/null 2>&1; then
        known="$known $package"
    else
        echo "not in this distribution: $package"
    fi
done
# shellcheck disable=SC2086  # a list of words
exec sh "$(dirname "$0")/../tools/host.sh" $known
