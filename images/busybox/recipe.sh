#!/bin/sh
# The smallest useful root: the static busybox of the host (Debian's busybox-static) with a link for every applet.
# No /etc/resolv.conf, hosts or hostname: the runtime makes those. See images/build.sh for `key` and `build`.
set -eu

busybox=$(command -v busybox) || { echo "images: busybox is missing: apt-get install busybox-static" >&2; exit 1; }

key() {
  cat "$0" "$busybox" | sha256sum
}

accounts() {
  cat >etc/passwd <<'EOF'
root:x:0:0:root:/root:/bin/sh
daemon:x:1:1:daemon:/usr/sbin:/bin/false
mail:x:8:8:mail:/var/mail:/bin/false
app:x:1000:1000:an ordinary user:/home/app:/bin/sh
nobody:x:65534:65534:nobody:/nonexistent:/bin/false
EOF
  cat >etc/group <<'EOF'
root:x:0:
daemon:x:1:
tty:x:5:
mail:x:8:
audio:x:29:app
video:x:44:app
app:x:1000:
nogroup:x:65534:
EOF
  # locked passwords; a file that only root may read
  sed 's/:.*/:*:19000:0:99999:7:::/' etc/passwd >etc/shadow
  chmod 640 etc/shadow
}

build() {
  cd "$1"
  if LC_ALL=C ldd "$busybox" 2>/dev/null | grep -q '=>'; then
    echo "images: $busybox is not static: apt-get install busybox-static" >&2
    exit 1
  fi
  mkdir -p bin sbin usr/bin usr/sbin usr/lib lib etc dev proc sys run home mnt opt srv \
    var/log var/spool var/lib var/cache var/mail
  ln -s ../run var/run
  mkdir -m 700 root
  mkdir -m 1777 tmp var/tmp
  cp "$busybox" bin/busybox
  chmod 755 bin/busybox
  # "usr/bin/awk" -> "../../bin/busybox"; an applet that is called busybox would replace the program
  "$busybox" --list-full | while read -r applet; do
    case $applet in */busybox | busybox) continue ;; esac
    case $applet in */*) [ -d "${applet%/*}" ] || mkdir -p "${applet%/*}" ;; esac
    case $applet in usr/*/*) up=../../bin ;; bin/*) up=. ;; */*) up=../bin ;; *) up=bin ;; esac
    ln -s "$up/busybox" "$applet"
  done
  [ -e bin/sh ] || ln -s busybox bin/sh
  accounts
  mkdir home/app
  [ "$(id -u)" != 0 ] || chown 1000:1000 home/app
  cat >etc/os-release <<'EOF'
NAME="busybox"
ID=busybox
PRETTY_NAME="busybox root of pycontain's tests"
EOF
  printf 'export PS1="\\h:\\w\\$ "\n' >etc/profile
}

case ${1-} in
  key) key ;;
  build) build "$2" ;;
  *) echo "usage: $0 key | build DIR" >&2; exit 2 ;;
esac
