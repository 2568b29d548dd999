# SPDX-License-Identifier: MIT
# shellcheck shell=bash
#
# What tests under a real systemd share on the outside: a container whose /usr is this machine's. A test
# sources this, calls container_folder, puts what it needs into $folder, and calls container_run.
# SHMD_JOURNAL: a file that the journal is copied to when a test fails.

name=shmd-test-$$

skip() {
  echo "1..0 # SKIP THE TESTS UNDER A REAL SYSTEMD: $*"
  exit 77
}

# Makes $folder, which is /mnt/t in there; skips where it is known that no container can be booted.
container_folder() {
  [ "$(id -u)" -eq 0 ] || skip "only root can boot a container"
  command -v systemd-nspawn >/dev/null || skip "there is no systemd-nspawn (Debian: systemd-container)"
  [ -e /usr/lib/systemd/system/dbus.socket ] || [ -e /lib/systemd/system/dbus.socket ] ||
    skip "there is no D-Bus (Debian: dbus)"
  folder=$(mktemp -d /tmp/shmd-nspawn-XXXXXX)
  trap cleanup EXIT
  trap 'exit 1' HUP INT TERM
  # Services that run as other users have to get there.
  chmod 755 "$folder"
  touch "$folder/output"
}

# shellcheck disable=SC2317 # it is called by the trap
cleanup() {
  [ -z "${container-}" ] || { kill "$container" && wait "$container"; } 2>/dev/null || true
  [ -z "${follower-}" ] || kill "$follower" 2>/dev/null || true
  ! mountpoint -q "$folder/host" || umount -R "$folder/host"
  rm -rf "$folder"
  rmdir "/run/systemd/nspawn/propagate/$name" 2>/dev/null || true
  # Empty ones, where it was started in; the kernel takes a moment.
  for _ in 1 2 3 4 5; do
    find /sys/fs/cgroup{,/unified,/systemd}/{payload,supervisor} -depth -type d -exec rmdir {} \; 2>/dev/null || true
    [ -n "$(find /sys/fs/cgroup{,/unified,/systemd}/{payload,supervisor} -maxdepth 0 2>/dev/null)" ] || break
    sleep 0.1
  done
  return 0
}

boot() {
  export SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1
  exec timeout -k 10 300 systemd-nspawn -q -M "$name" --register=no \
    --keep-unit -b --private-network --console=pipe --capability=CAP_IPC_LOCK \
    --bind="$folder:/mnt/t:norbind" "$@" systemd.unit=drive.service
}

# container_run NSPAWN-ARGUMENTS...: boots, lets drive.service run $folder/inside.sh, and exits with its status.
container_run() {
  local status=0
  tail -n +1 -f "$folder/output" &
  follower=$!
  boot "$@" </dev/null >"$folder/console" 2>&1 &
  container=$!
  wait "$container" || status=$?
  container=
  sleep 0.1
  kill "$follower" 2>/dev/null
  wait "$follower" 2>/dev/null || true
  follower=
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
}
