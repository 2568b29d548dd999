#!/bin/sh
# SPDX-License-Identifier: MIT
#
# What doc/containers says, beyond what check_namespaces shows: a socket that is mounted read-only, a
# daemon that sees none of its clients' processes, and whose memory it is for the kernel. Needs root.

: "${top_srcdir:?}" "${top_builddir:?}" "${SHMD:?}" "${SHMDCTL:?}"
# shellcheck source=tests/system/tap.sh
. "$top_srcdir/tests/system/tap.sh"

ctl() { "$SHMDCTL" "$@"; }

skip() {
  passed=$((passed + 1))
  echo "ok $((passed + failed)) - $1 # SKIP $2"
}

# --- sockets --------------------------------------------------------------------------------------

# The folder of the socket is another mount there, in which nothing can be made or removed.
through_read_only_mount() {
  # shellcheck disable=SC2016 # for the inner shell
  unshare --mount sh -c '
    mount --bind "$1" "$1" && mount -o remount,bind,ro "$1" || exit 1
    touch "$1/file" 2>/dev/null && exit 1
    rm -f "$1/s" 2>/dev/null && exit 1
    "$2" create there 1 && "$2" unlink there' sh "$dir" "$SHMDCTL"
}

# --- processes ------------------------------------------------------------------------------------

recovered() {
  ctl --json status | sed -n 's/.*"locks_recovered": *\([0-9]*\).*/\1/p'
}

# It has no number for the holder, and sees its death by a pidfd all the same.
dies_unseen() {
  [ "$(ctl --json clients | grep -c '"pid": null')" -eq 1 ] || return 1
  before=$(recovered)
  ctl create shared 64 || return 1
  mkfifo "$dir/holding"
  "$top_builddir/examples/holder" mine shared >"$dir/holding" &
  read -r _ <"$dir/holding"
  kill -9 $!
  wait $! 2>/dev/null
  status 0 ctl lock -w 10 shared -- true && says "the last holder of 'shared' died with it" &&
    await sh -c "! '$SHMDCTL' show mine" && [ "$(recovered)" -eq $((before + 1)) ] &&
    ctl unlink shared
}

# --- memory ---------------------------------------------------------------------------------------

# The folder of our control group, where there is one for memory.
memory_group() {
  group=$(sed -n 's/^[0-9]*:memory://p' /proc/self/cgroup)
  if [ -n "$group" ]; then
    echo "/sys/fs/cgroup/memory$group"
  else
    sed -n 's|^0::|/sys/fs/cgroup|p' /proc/self/cgroup
  fi
}

make_groups() {
  group=$(memory_group)/shmd-test-$$
  mkdir "$group-creator" 2>/dev/null || return 1
  mkdir "$group-writer" && [ -e "$group-writer/memory.stat" ] && return
  remove_groups
  return 1
}

remove_groups() {
  rmdir "$group-creator" "$group-writer" 2>/dev/null
}

# in_group creator|writer COMMAND...
in_group() {
  # shellcheck disable=SC2016 # for the inner shell
  sh -c 'echo $$ >"$1/cgroup.procs" && shift && exec "$@"' sh "$group-$1" "$SHMDCTL" "$2" "$3" "$4"
}

# charged creator|writer FROM TO: whether the shared memory of that group is between these sizes.
charged() {
  bytes=$(sed -n 's/^shmem //p' "$group-$1/memory.stat")
  [ "$bytes" -ge "$2" ] && [ "$bytes" -le "$3" ]
}

# Not the daemon, nor who made the segment, nor who reads what is there.
who_writes_first_pays() {
  head -c 16M /dev/zero >"$dir/zeroes"
  in_group creator create big 16M && in_group writer put big "$dir/zeroes" &&
    in_group creator get big /dev/null && await charged writer 16777216 17825792 &&
    charged creator 0 1048576 && ctl unlink big && await charged writer 0 1048576
}

# --- all ------------------------------------------------------------------------------------------

if [ "$(id -u)" -ne 0 ]; then
  echo "1..0 # SKIP needs root, to make namespaces and control groups"
  exit
fi

start_daemon /dev/null
if unshare --mount true 2>/dev/null; then
  ok "a socket whose folder is mounted read-only" through_read_only_mount
else
  skip "a socket whose folder is mounted read-only" "no namespaces"
fi
if make_groups; then
  ok "memory is charged to whom writes it first" who_writes_first_pays
  remove_groups
else
  skip "memory is charged to whom writes it first" "no control groups can be made"
fi
kill "$daemon" && wait "$daemon"
daemon=
rm "$dir/ready"

# valgrind does not get along with the wrapper; the kernel must be 6.5.
if [ -z "${SHMD_WRAPPER-}" ] && unshare --fork --pid true 2>/dev/null &&
  [ "$(uname -r | awk -F. '{ print $1 * 1000 + $2 }')" -ge 6005 ]; then
  SHMD_WRAPPER="unshare --fork --pid"
  start_daemon /dev/null
  # The daemon itself, because unshare passes no signal on.
  outside=$daemon
  daemon=$(cat "/proc/$outside/task/$outside/children")
  ok "a client dies that the daemon has no number for" dies_unseen
  # shellcheck disable=SC2086 # a number, and a space behind it
  kill $daemon && wait "$outside"
  daemon=
else
  skip "a client dies that the daemon has no number for" "no PID namespace, or too old a kernel"
fi
finish
