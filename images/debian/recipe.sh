#!/bin/sh
# A small Debian (or Ubuntu) of the host's own suite with python3-minimal, made by mmdebstrap from the sources that the
# host's apt uses. The tree is kept as a tar in the user's cache directory, so that a fresh clone unpacks it in seconds
# and needs no network. See images/build.sh for `key` and `build`.
set -eu

suite=$(. /etc/os-release && echo "${VERSION_CODENAME:?this host names no suite}")
packages=python3-minimal
cache=${XDG_CACHE_HOME:-$HOME/.cache}/pycontain/images

key() {
  { cat "$0"; echo "$suite"; dpkg --print-architecture; } | sha256sum
}

# The host's own apt sources and the keys they name; mmdebstrap takes one-line and deb822 files alike.
sources() {
  for file in /etc/apt/sources.list /etc/apt/sources.list.d/debian.sources \
    /etc/apt/sources.list.d/ubuntu.sources; do
    [ -s "$file" ] && grep -Eq '^(deb |Types:)' "$file" && echo "$file" || true
  done
}

make_tar() {
  command -v mmdebstrap >/dev/null || { echo "images: mmdebstrap is missing: apt-get install mmdebstrap" >&2; exit 1; }
  # what mmdebstrap itself says of this names neither the reason nor the cure
  user=$(id -un 2>/dev/null || id -u)
  if [ "$(id -u)" != 0 ] && ! grep -qs "^$user:" /etc/subuid; then
    echo "images: debian: $user has no subordinate ids: run make images once as root, or" \
      "sudo usermod --add-subuids 100000-165535 --add-subgids 100000-165535 $user" >&2
    exit 1
  fi
  mkdir -p "$cache"
  rm -f "$1".*.tmp
  # shellcheck disable=SC2046  # one word per file
  mmdebstrap --quiet --format=tar --variant=minbase --include="$packages" \
    --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' --dpkgopt='path-exclude=/usr/share/info/*' \
    --customize-hook='rm -f "$1/etc/resolv.conf" "$1/etc/hostname" "$1/etc/hosts"' \
    --customize-hook='echo "app:x:1000:1000:an ordinary user:/home/app:/bin/sh" >>"$1/etc/passwd"' \
    --customize-hook='echo "app:x:1000:" >>"$1/etc/group"' \
    --customize-hook='mkdir "$1/home/app" && chown 1000:1000 "$1/home/app"' \
    "$suite" "$1.$$.tmp" $(sources)
  mv "$1.$$.tmp" "$1"
}

build() {
  tar=$cache/debian-$(key | cut -c1-16).tar
  [ -f "$tar" ] || make_tar "$tar"
  # /dev's nodes are the runtime's to make, and an ordinary user cannot make them
  tar -xf "$tar" -C "$1" --numeric-owner --exclude='./dev/*'
}

case ${1-} in
  key) key ;;
  build) build "$2" ;;
  *) echo "usage: $0 key | build DIR" >&2; exit 2 ;;
esac
