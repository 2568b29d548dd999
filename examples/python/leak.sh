#!/bin/sh
# SPDX-License-Identifier: MIT
#
# A Python program is killed with a segment and a lock in its hands, and all processes of its group with it:
# what is left of the standard library's, of the same under the shim, and with the module.
# usage examples/python/leak.sh BUILD_FOLDER
set -eu

build=$(cd "$1" && pwd)
here=$(cd "$(dirname "$0")" && pwd)
python=${PYTHON:-python3}
export PYTHONPATH="$build/python" SHMDCTL="$build/shmdctl"

# kill_one PROGRAM: with its group, once it has said what it has; that is in $names, its segment first.
kill_one() {
  rm -f "$dir/said"
  mkfifo "$dir/said"
  setsid "$python" "$1" >"$dir/said" &
  pid=$!
  read -r names <"$dir/said"
  kill -9 "-$pid"
  wait "$pid" 2>/dev/null || true
  echo "$names" | tr ' ' '\n' >"$dir/names"
}

# The daemon sees the end of a process a moment after others do.
await_gone() {
  i=0
  while "$SHMDCTL" show "$1" >/dev/null 2>&1; do
    i=$((i + 1))
    [ "$i" -lt 1000 ] || return 1
  done
}

case ${2-} in
killed)
  # Within shmdctl run.
  dir=$3
  kill_one "$4"
  await_gone "${names%% *}" && echo "the daemon has no segment ${names%% *} any more"
  "$SHMDCTL" --json status | sed -n 's/ *"segments": *\([0-9]*\),/segments left in the daemon: \1/p'
  exit
  ;;
esac

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
trap 'exit 1' HUP INT TERM

# Clears away what it tells of.
left() {
  count=0
  while read -r name; do
    [ -e "/dev/shm/$name" ] || continue
    count=$((count + 1))
    find "/dev/shm/$name" -printf '  left in /dev/shm: %f, %s bytes\n' -delete
  done <"$dir/names"
  [ "$count" -gt 0 ] || echo "  nothing is left in /dev/shm"
}

echo "the standard library:"
kill_one "$here/leak.py"
left

echo "the same program under the shim:"
"$SHMDCTL" run --preload -- "$0" "$build" killed "$dir" "$here/leak.py" | sed 's/^/  /'
left

echo "with the module:"
"$SHMDCTL" run -- "$0" "$build" killed "$dir" "$here/leak_shmd.py" | sed 's/^/  /'
left
