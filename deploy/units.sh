#!/usr/bin/env bash
# Boots the systemd units in a container and breaks them; prints what was seen, a line each.
#
#   deploy/units.sh            builds Slipway as it is released; ends with 0 if everything held
#   deploy/units.sh --binaries DIR   with binaries that were built already
#
# The container is this machine's own system with everything that is written kept in memory: nothing
# of the machine changes, and no server of it is reached, since the container's network is its own
# loopback alone. Needs root, control groups v2 in the kernel, and Debian's packages
# systemd-container, mariadb-server, redis-server, procps, git and python3.
set -euo pipefail

die() { printf 'deploy/units.sh: %s\n' "$1" >&2; exit 2; }

binaries=
case "${1:-}" in
  -h | --help) sed -n '2,10s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; exit 0 ;;
  --binaries) binaries=$(realpath "${2:?a folder}") ;;
  "") ;;
  *) die "unknown argument $1" ;;
esac

cd "$(dirname "${BASH_SOURCE[0]}")/.."
export PATH="$PATH:/usr/sbin:/sbin"
nspawn=${SYSTEMD_NSPAWN:-systemd-nspawn}
[ "$(id -u)" = 0 ] || die "a container is started by root only"
for tool in "$nspawn" unshare mariadbd mariadb-install-db redis-server pgrep useradd git python3; do
  command -v "$tool" >/dev/null || die "$tool is missing; see deploy/units.sh --help"
done

if [ -z "$binaries" ]; then
  cargo build --release --workspace --locked
  binaries=$(cargo metadata --format-version 1 --no-deps --locked \
    | sed -n 's/.*"target_directory":"\([^"]*\)".*/\1/p')/release
fi

# What is mounted from here on is seen by this script and its children alone, and goes with them.
if [ "$(readlink /proc/self/ns/mnt)" = "$(readlink "/proc/$PPID/ns/mnt")" ]; then
  exec unshare --mount --propagation private "$PWD/deploy/units.sh" --binaries "$binaries"
fi

work=$(mktemp -d "${TMPDIR:-/tmp}/slipway-units.XXXXXX")
container=
leave() {
  local status=$?
  trap - EXIT
  [ -z "$container" ] || { kill "$container" 2>/dev/null || true; wait "$container" || true; }
  ! mountpoint -q "$work/system" || umount "$work/system"
  ! mountpoint -q "$work" || umount "$work"
  rmdir "$work"
  exit "$status"
}
trap leave EXIT

# A system manager wants one tree of groups, the only kind that systemd still has.
if [ "$(stat -f -c %T /sys/fs/cgroup)" != cgroup2fs ]; then
  umount -R /sys/fs/cgroup
  mount -t cgroup2 none /sys/fs/cgroup || die "this kernel has no control groups v2"
fi
mount -t tmpfs -o size=4g tmpfs "$work"
mkdir "$work/written" "$work/moved" "$work/system"
mount -t overlay -o "lowerdir=/,upperdir=$work/written,workdir=$work/moved" overlay "$work/system" \
  || die "this machine's file system cannot lie below another one"

system=$work/system
# A link in these places would lead out of the container.
for path in etc etc/machine-id etc/systemd etc/systemd/system usr usr/local usr/local/bin var var/lib; do
  [ ! -L "$system/$path" ] || die "/$path is a link on this machine"
done
rm -rf "$system"/etc/systemd/system/*.wants "$system"/etc/systemd/system/*.requires \
  "$system"/etc/systemd/system/slipway* "$system/etc/slipway" "$system/var/lib/slipway" \
  "$system/var/lib/mysql" "$system/var/lib/redis"
: >"$system/etc/machine-id"
ln -sf /lib/systemd/system/multi-user.target "$system/etc/systemd/system/default.target"
mkdir -p "$system/slipway" "$system/etc/systemd/system/multi-user.target.wants"
cp deploy/systemd/* deploy/units.py "$system/slipway"
install -m 0755 "$binaries"/slipway "$binaries"/slipway-api "$system/usr/local/bin"
install -m 0711 "$binaries"/slipway-worker "$system/usr/local/bin"
cat >"$system/etc/systemd/system/slipway-check.service" <<'UNIT'
[Unit]
After=multi-user.target
[Service]
Type=oneshot
TimeoutStartSec=900
ExecStart=/usr/bin/python3 /slipway/units.py
StandardOutput=append:/slipway/seen
StandardError=inherit
SuccessExitStatus=1
ExecStopPost=/bin/systemctl --no-block poweroff
UNIT
ln -s ../slipway-check.service "$system/etc/systemd/system/multi-user.target.wants/"

timeout --kill-after=30 1200 "$nspawn" --directory="$system" --boot --private-network \
  --register=no --keep-unit --quiet --console=pipe --resolv-conf=off --timezone=off \
  --link-journal=no --hostname=units \
  </dev/null >"$work/console" 2>&1 &
container=$!
wait "$container" || true
container=
cat "$system/slipway/seen" 2>/dev/null || { tail -n 20 "$work/console" >&2; die "the system did not start"; }
grep -qx 'everything held' "$system/slipway/seen"
