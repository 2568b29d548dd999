#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# run.sh BUILD-FOLDER: boots a real systemd in a container whose /usr is this machine's, installs the build
# under its /usr/local, and runs inside.sh there. Ends with its status. Needs root, systemd-container and dbus.
# SHMD_LOAD: options of the load (client.c); its numbers are those of the promise unless set.
# SHMD_ONLY: a pattern of the functions in inside.sh that are run; all unless set.
set -euo pipefail

build=$(cd "$1" && pwd)
here=$(cd "$(dirname "$0")" && pwd)
name=shmd-test-$$

skip() {
  echo "1..0 # SKIP THE TESTS UNDER A REAL SYSTEMD: $*"
  exit 77
}

[ "$(id -u)" -eq 0 ] || skip "only root can boot a container"
command -v systemd-nspawn >/dev/null || skip "there is no systemd-nspawn (Debian: systemd-container)"
[ -e /usr/lib/systemd/system/dbus.socket ] || [ -e /lib/systemd/system/dbus.socket ] ||
  skip "there is no D-Bus (Debian: dbus)"

folder=$(mktemp -d /tmp/shmd-nspawn-XXXXXX)
# shellcheck disable=SC2317 # it is called by the trap
cleanup() {
  rm -rf "$folder"
  rmdir "/run/systemd/nspawn/propagate/$name" 2>/dev/null || true
  # Empty ones, where it was started in; the kernel takes a moment.
  for _ in 1 2 3 4 5; do
    find /sys/fs/cgroup{,/unified}/{payload,supervisor} -depth -type d -exec rmdir {} \; 2>/dev/null || true
    [ -n "$(find /sys/fs/cgroup{,/unified}/{payload,supervisor} -maxdepth 0 2>/dev/null)" ] || break
    sleep 0.1
  done
  return 0
}
trap cleanup EXIT

# Services that run as other users have to get there.
chmod 755 "$folder"
mkdir "$folder/units"
make -C "$build" --silent install DESTDIR="$folder/root" >"$folder/install.log" 2>&1 || {
  cat "$folder/install.log"
  exit 1
}
[ -x "$folder/root/usr/local/sbin/shmd" ] || {
  echo "the build is for another prefix than /usr/local"
  exit 1
}
cp "$here/drive.service" "$folder/units/"
install -m 755 "$here/inside.sh" "$build/tests/systemd/client" "$folder/"
printf 'SHMD_LOAD="%s"\nSHMD_ONLY="%s"\n' "${SHMD_LOAD-}" "${SHMD_ONLY-.*}" >"$folder/environment"
touch "$folder/output"

boot() {
  SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1 timeout -k 10 300 systemd-nspawn -q -M "$name" -D / --volatile=yes \
    --register=no --keep-unit -b --private-network --console=pipe --capability=CAP_IPC_LOCK \
    --bind="$folder:/mnt/t" --bind-ro="$folder/root/usr/local:/usr/local" \
    --bind-ro="$folder/units:/etc/systemd/system" systemd.unit=drive.service
}

status=0
tail -n +1 -f "$folder/output" &
follower=$!
boot </dev/null >"$folder/console" 2>&1 || status=$?
sleep 0.1
kill "$follower" 2>/dev/null
wait "$follower" 2>/dev/null || true
# Nothing of ours has run: this machine cannot do it.
if [ ! -s "$folder/output" ]; then
  cat "$folder/console"
  [ -e "$folder/began" ] || skip "systemd-nspawn cannot boot a container here (status $status)"
fi
[ "$status" -eq 0 ] || {
  [ -z "${SHMD_JOURNAL-}" ] || cp "$folder/journal" "$SHMD_JOURNAL"
  echo "# the container ended with status $status; the journal of the daemon:"
  sed 's/^/# /' "$folder/journal" 2>/dev/null | tail -n 60
}
exit "$status"
