#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Programs that know nothing of shmd, on the bare system, under the shim and with the Python module: all of
# them, in a short form or whole. What is not installed is skipped, and says so.
# usage: all.sh BUILD_FOLDER [--full]

build=$(cd "$1" && pwd) || exit 2
here=$(cd "$(dirname "$0")" && pwd)
failed=0

# rig NAME ARGUMENTS...: runs it, and keeps of what passes only what it found.
rig() {
  name=$1
  shift
  echo "--- $name"
  start=$(date +%s)
  if "$here/$name" "$build" "$@" >"$out" 2>&1 && ! grep -q '^not ok' "$out" && grep -q '^1\.\.' "$out"; then
    grep -E '^#|# SKIP' "$out"
  else
    failed=$((failed + 1))
    cat "$out"
  fi
  echo "--- $name: $(grep -c '^ok' "$out") ok, $(grep -c '^not ok' "$out") not ok," \
    "$(grep -c '# SKIP' "$out") skipped, $(($(date +%s) - start)) s"
}

out=$(mktemp)
trap 'rm -f "$out"' EXIT
trap 'exit 1' HUP INT TERM

case ${2-} in
'')
  rig cpython.py --jobs=3
  rig numpy_pools.py
  rig postgresql.sh 5
  rig leak.py 60
  rig killed_holder.py
  rig moving.py
  rig examples.sh
  ;;
--full)
  rig cpython.py --full
  rig numpy_pools.py
  rig postgresql.sh 100
  rig leak.py 500
  rig killed_holder.py fork,spawn,forkserver
  rig moving.py
  rig examples.sh
  ;;
*)
  echo "usage: all.sh BUILD_FOLDER [--full]" >&2
  exit 2
  ;;
esac
[ "$failed" -eq 0 ]
