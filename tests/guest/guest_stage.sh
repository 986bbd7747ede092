#!/bin/sh
# PID 1 of a test guest. / is the host's root (hostfs in user-mode-linux, virtiofs in QEMU).
# Puts a throw-away overlay over it, mounts a pure cgroup v2, runs $JOB/cmd, leaves its exit code in $JOB/rc and powers
# off. $JOB and $GUEST_MODULES come from the kernel command line; stdout is /dev/ttyS0, stderr /dev/ttyS1.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8
mount -t proc proc /proc
mount -t tmpfs tmpfs /mnt
mkdir /mnt/up /mnt/work /mnt/root /mnt/bin
# a static busybox starts much faster here than dynamically linked tools
full_path=$PATH
if bb=$(command -v busybox); then
  for a in mount mkdir ln cat uname umount pivot_root hostname; do ln -s "$bb" /mnt/bin/$a; done
  PATH=/mnt/bin:$PATH
fi
kernel=$(uname -r)

# The host need not have /lib/modules, and / cannot be written yet: load overlay by its file, those it needs first.
load_overlay() {
  grep -qw overlay /proc/filesystems && return
  needs=$(sed -n 's,^\(.*/overlay\.ko[.a-z]*\): *\(.*\),\2 \1,p' "$GUEST_MODULES/modules.dep")
  for file in $needs; do insmod "$GUEST_MODULES/$file"; done
}
[ -z "$GUEST_MODULES" ] || load_overlay

R=/mnt/root
mount -t overlay overlay -o lowerdir=/,upperdir=/mnt/up,workdir=/mnt/work $R || {
  echo "guest: no overlay" >/dev/console; echo 126 >"$JOB/rc"; sync; poweroff -f; }
mount -t proc proc $R/proc
mount -t sysfs sysfs $R/sys
mount -t securityfs securityfs $R/sys/kernel/security 2>/dev/null
mount -t devtmpfs dev $R/dev
mkdir -p $R/dev/pts $R/dev/shm $R/dev/mqueue
mount -t devpts -o newinstance,ptmxmode=0666,gid=5,mode=620 devpts $R/dev/pts
[ -c $R/dev/ptmx ] || ln -s pts/ptmx $R/dev/ptmx
mount -t tmpfs shm $R/dev/shm
mount -t mqueue mqueue $R/dev/mqueue 2>/dev/null
for l in fd:/proc/self/fd stdin:/proc/self/fd/0 stdout:/proc/self/fd/1 stderr:/proc/self/fd/2; do
  ln -sf "${l#*:}" "$R/dev/${l%%:*}"; done
mount -t tmpfs run $R/run
mount -t tmpfs -o size=80%,mode=1777 vartmp $R/var/tmp
if [ -n "$GUEST_MODULES" ]; then
  mkdir -p "$R/lib/modules"
  mount -t tmpfs none $R/lib/modules
  mkdir "$R/lib/modules/$kernel"
  mount --bind "$GUEST_MODULES" "$R/lib/modules/$kernel"
fi
mount -t cgroup2 cgroup2 $R/sys/fs/cgroup
for c in $(cat $R/sys/fs/cgroup/cgroup.controllers); do
  echo "+$c" >$R/sys/fs/cgroup/cgroup.subtree_control; done
mkdir -p $R/run/job $R/run/old
mount --bind "$JOB" $R/run/job
cd $R && pivot_root . run/old && umount -l /run/old
hostname guest
export PATH=$full_path
for m in ${EXTRA_MODULES-loop ext4 veth bridge dummy}; do
  case $m in dummy) modprobe dummy numdummies=0 ;; *) modprobe $m ;; esac 2>/dev/null; done
ip link set lo up 2>/dev/null
mount --make-rshared /                 # as systemd leaves it
export TMPDIR=/var/tmp JOB=/run/job
stty raw -echo </dev/ttyS0 2>/dev/null; stty raw -echo </dev/ttyS1 2>/dev/null
cd /var/tmp
setsid sh /run/job/cmd </dev/null >/dev/ttyS0 2>/dev/ttyS1
echo $? >/run/job/rc
stty -F /dev/ttyS0 >/dev/null 2>&1; sync
poweroff -f 2>/dev/null || halt -f
sleep 5
