#!/bin/sh
# SPDX-License-Identifier: MIT
#
# The examples check themselves; SHMD_TEST_RUNS says how often they have to, 100 unless set.

: "${top_srcdir:?}" "${top_builddir:?}" "${SHMD:?}" "${SHMDCTL:?}"
# shellcheck source=tests/system/tap.sh
. "$top_srcdir/tests/system/tap.sh"

many_times() {
  run=0
  while [ "$run" -lt "${SHMD_TEST_RUNS:-100}" ]; do
    "$top_builddir/examples/$1" || return 1
    run=$((run + 1))
  done
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
if [ "$(nproc)" -gt 1 ]; then
  ok "reader and writer, nothing between them: torn reads" tears
fi
ok "a program that exits without unlinking leaves nothing" leak
finish
