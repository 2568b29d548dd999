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

# What is called by these names, and does not lie there before.
in_shm() { find /dev/shm -maxdepth 1 \( -name 'psm_*' -o -name 'sem.mp-*' \) -printf '%f %s bytes\n' | sort; }

# kill_one PROGRAM: with its group, once it has said what its segment is called.
kill_one() {
  mkfifo "$dir/said"
  setsid "$python" "$1" >"$dir/said" &
  pid=$!
  read -r name <"$dir/said"
  kill -9 "-$pid"
  wait "$pid" 2>/dev/null || true
  rm "$dir/said"
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
  await_gone "$name" && echo "the daemon has no segment $name any more"
  "$SHMDCTL" --json status | sed -n 's/ *"segments": *\([0-9]*\),/segments left in the daemon: \1/p'
  exit
  ;;
esac

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
trap 'exit 1' HUP INT TERM
in_shm >"$dir/before"

left() {
  in_shm | comm -13 "$dir/before" - >"$dir/left"
  sed 's/^/  left in \/dev\/shm: /' "$dir/left"
  [ -s "$dir/left" ] || echo "  nothing is left in /dev/shm"
}

echo "the standard library:"
kill_one "$here/leak.py"
left
cut -d ' ' -f 1 "$dir/left" | while read -r file; do rm -f "/dev/shm/$file"; done

echo "the same program under the shim:"
"$SHMDCTL" run --preload -- "$0" "$build" killed "$dir" "$here/leak.py" | sed 's/^/  /'
left

echo "with the module:"
"$SHMDCTL" run -- "$0" "$build" killed "$dir" "$here/leak_shmd.py" | sed 's/^/  /'
left
