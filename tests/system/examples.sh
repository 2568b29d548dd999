#!/bin/sh
# SPDX-License-Identifier: MIT
#
# The examples check themselves; SHMD_TEST_RUNS says how often they have to, 100 unless set.

: "${top_srcdir:?}" "${top_builddir:?}" "${SHMD:?}" "${SHMDCTL:?}"
# shellcheck source=tests/system/tap.sh
. "$top_srcdir/tests/system/tap.sh"

# many_times EXAMPLE [ARGUMENT]
many_times() {
  example=$top_builddir/examples/$1
  shift
  run=0
  while [ "$run" -lt "${SHMD_TEST_RUNS:-100}" ]; do
    "$example" "$@" || return 1
    run=$((run + 1))
  done
}

# killed WAY: what it says is in $dir/said.
killed() {
  status 0 "$top_builddir/examples/killed-$1" && says "the reader goes on"
}

# The kernel drops a file lock, and nobody is told: the reader takes what it finds.
killed_silently() {
  run=0
  while [ "$run" -lt "${SHMD_TEST_RUNS:-100}" ]; do
    killed flock && [ "$(grep -c "read half a record" "$dir/said")" -eq 2 ] &&
      ! grep "told" "$dir/said" || return 1
    run=$((run + 1))
  done
}

# The first who has the semaphore then is told, and mends the record; the second is not told again.
killed_and_told() {
  before=$(recovered)
  run=0
  while [ "$run" -lt "${SHMD_TEST_RUNS:-100}" ]; do
    killed semaphore && says "half a record, made whole" &&
      [ "$(grep -c "told" "$dir/said")" -eq 1 ] &&
      [ "$(grep -c "read a whole record" "$dir/said")" -eq 2 ] || return 1
    run=$((run + 1))
  done
  [ "$(recovered)" -eq $((before + run)) ] || {
    echo "$run permits were lost, and locks_recovered went from $before to $(recovered)"
    return 1
  }
}

# What was published is whole, what was not is gone, and the next writer goes on.
killed_and_published() {
  run=0
  while [ "$run" -lt "${SHMD_TEST_RUNS:-100}" ]; do
    killed publish && says "a whole record of A" && says "a whole record of C" || return 1
    run=$((run + 1))
  done
}

# Three readers of a camera: each says what it saw, and the slow one has skipped frames.
camera() {
  whole="frames seen, [0-9]* skipped, 0 torn, 0 backwards"
  status 0 "$top_srcdir/examples/camera.sh" "$top_builddir" 60 65536 1 || return 1
  cat "$dir/said"
  [ "$(grep -c "reader: [0-9]* $whole" "$dir/said")" -eq 3 ] &&
    grep -q "slow reader: [0-9]* frames seen, [1-9]" "$dir/said"
}

handover() {
  status 0 "$top_srcdir/examples/handover.sh" "$top_builddir" && says "FIRST THE WORKER" &&
    says "FIRST THE CLIENT"
}

recovered() {
  "$SHMDCTL" --json status | sed -n 's/.*"locks_recovered": *\([0-9]*\).*/\1/p'
}

# A client that is killed with a segment and a permit in its hands: shmdctl shows it before and after.
holder() {
  ctl create shared 64 || return 1
  mkfifo "$dir/holding"
  "$top_builddir/examples/holder" mine shared >"$dir/holding" &
  read -r _ <"$dir/holding"
  status 0 ctl --json show shared && says "\"pid\": $!" && says '"permits": 1,' &&
    says '"until_exit": false' && status 1 ctl lock -n shared -- true && ctl show mine || return 1
  kill -9 $!
  wait $! 2>/dev/null
  status 0 ctl lock -w 10 shared -- true && says "the last holder of 'shared' died with it" &&
    await sh -c "! '$SHMDCTL' show mine" && status 0 ctl lock -n shared -- true &&
    [ ! -s "$dir/said" ] && ctl unlink shared
}

ctl() {
  "$SHMDCTL" "$@"
}

# The twin does the same without a daemon, and leaves nothing in /dev/shm.
twin() {
  "$top_builddir/examples/posix" 5000 &
  wait $! && ! find /dev/shm -maxdepth 1 -name "*turns-$!" | grep .
}

# The examples can fail: with nothing between them, reader and writer get in each other's way.
tears() {
  tries=0
  while "$top_builddir/examples/unguarded"; do
    tries=$((tries + 1))
    [ "$tries" -lt 2000 ] || return 1
  done
}

leak() {
  name=$("$top_builddir/examples/leak") || return 1
  case $name in leak-*) ;; *) return 1 ;; esac
  await sh -c "! '$SHMDCTL' show '$name'" && [ "$("$SHMDCTL" list --json | grep -c '"id"')" -eq 0 ]
}

start_daemon /dev/null
ok "reader and writer, a file lock between them" many_times flock
ok "reader and writer, a semaphore between them" many_times semaphore
ok "reader and writer, published generations between them" many_times publish 50
if [ "$(nproc)" -gt 1 ]; then
  ok "reader and writer, nothing between them: torn reads" tears
fi
ok "a plain POSIX twin of theirs" twin
ok "a writer is killed in its turn: a file lock goes silently" killed_silently
ok "a writer is killed in its turn: the next one at the semaphore is told" killed_and_told
ok "a writer is killed in its turn: what it published is whole" killed_and_published
ok "a client is killed with a segment and a permit in its hands" holder
ok "a camera and three readers" camera
ok "work is handed over, whoever comes first" handover
ok "a program that exits without unlinking leaves nothing" leak
finish
