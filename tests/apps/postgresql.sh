#!/bin/sh
# SPDX-License-Identifier: MIT
#
# PostgreSQL with dynamic_shared_memory_type=posix, on the bare system and under the shim: parallel
# queries give what serial ones do, and kill -9 of all its processes leaves nothing with the shim.
# usage: postgresql.sh BUILD_FOLDER [QUERIES]
#
# Needs its programs (Debian: postgresql-15), and root, who becomes another user for it: as its server
# insists. Starts a cluster of its own in a temporary folder, and nothing of the system's.

build=$(cd "$1" && pwd) || exit 2
queries=${2:-20}
bin=${SHMD_APPS_POSTGRESQL:-/usr/lib/postgresql/15/bin}
here=$(cd "$(dirname "$0")" && pwd)

skip_all() {
  echo "1..0 # SKIP $1"
  exit 0
}

[ -x "$bin/initdb" ] || skip_all "there is no PostgreSQL in $bin"
user=$(getent passwd postgres >/dev/null && echo postgres || echo nobody)
[ "$(id -u)" -eq 0 ] || skip_all "only root can become another user"

passed=0
failed=0
dir=$(mktemp -d /tmp/shmd-apps-XXXXXX)
shm=$(mktemp -d /dev/shm/shmd-apps-XXXXXX)
chmod 1777 "$dir" "$shm"
trap 'rm -rf "$dir" "$shm"' EXIT
trap 'exit 1' HUP INT TERM

# ok NAME COMMAND...
ok() {
  name=$1
  shift
  if "$@" >"$dir/said" 2>&1; then
    passed=$((passed + 1))
    echo "ok $((passed + failed)) - $name"
  else
    failed=$((failed + 1))
    echo "not ok $((passed + failed)) - $name"
    sed 's/^/# /' "$dir/said"
  fi
}

# A /dev/shm of its own, where that is permitted: what is left there is its own, too.
if unshare --mount mount --bind "$shm" /dev/shm 2>/dev/null; then
  # shellcheck disable=SC2016 # for the inner shell
  own_shm() { unshare --mount sh -c 'mount --bind "$0" /dev/shm && exec "$@"' "$shm" "$@"; }
else
  skip_all "mounts are not permitted"
fi

fact() { [ ! -e "$dir/$mode/facts" ] || sed -n "s/^$1=//p" "$dir/$mode/facts"; }

# run_mode MODE COMMAND...: the cluster's life, as the other user, who keeps notes of it in facts.
run_mode() {
  mode=$1
  shift
  mkdir "$dir/$mode" && chown "$user" "$dir/$mode"
  (cd "$dir/$mode" && SHMDCTL=$build/shmdctl SHMD_PRELOAD_REQUIRE=1 HOME=$dir/$mode own_shm \
    setpriv --reuid="$user" --regid="$user" --clear-groups \
    "$@" sh "$here/postgresql_run.sh" "$bin" "$dir/$mode" "$queries") >"$dir/$mode/log" 2>&1
  status=$?
  left=$(find "$shm" -name 'PostgreSQL.*' | wc -l)
  left_kib=$(find "$shm" -name 'PostgreSQL.*' -printf '%k\n' | awk '{ n += $1 } END { print n + 0 }')
  left_all=$(find "$shm" -type f | wc -l)
  ok "$mode: it runs" test_run
  ok "$mode: parallel workers were launched" [ "$(fact launched)" = 4 ]
  ok "$mode: $queries parallel queries give what serial ones do" [ "$(fact wrong)" = 0 ]
  echo "# $mode: $(fact ms_parallel) ms for $queries parallel queries, $(fact ms_serial) ms for as many serial ones"
}

test_run() {
  [ "$status" -eq 0 ] || {
    echo "status $status"
    tail -n 30 "$dir/$mode/log"
    return 1
  }
}

run_mode bare env
echo "# bare: $(fact shm_before) segments in /dev/shm before kill -9, $left ($left_kib KiB) after"
ok "bare: kill -9 leaves segments, as is to be shown" [ "$left" -gt 0 ]
rm -f "$shm"/*

if setpriv --reuid="$user" --regid="$user" --clear-groups "$build/shmdctl" run --preload -- true \
  2>"$dir/why"; then
  run_mode shim "$build/shmdctl" run --preload --report --
  echo "# shim: $(fact daemon_before) segments in the daemon before kill -9, $(fact daemon_after) after;" \
    "$(fact created) made by $queries queries and the start"
  ok "shim: its segments are the daemon's" [ "0$(fact daemon_before)" -gt 0 ]
  ok "shim: none of them is in /dev/shm" [ "$(fact shm_before)" = 0 ]
  ok "shim: kill -9 leaves nothing in the daemon" [ "$(fact daemon_after)" = 0 ]
  ok "shim: kill -9 leaves nothing in /dev/shm" [ "$left_all" = 0 ]
  grep '^shmdctl: run:' "$dir/shim/log" | tail -n 1 | sed 's/^/# /'
else
  passed=$((passed + 1))
  echo "ok $((passed + failed)) - shim # SKIP $(cat "$dir/why")"
fi
echo "1..$((passed + failed))"
[ "$failed" -eq 0 ]
