#!/bin/sh
# SPDX-License-Identifier: MIT
#
# The examples in Python check themselves: a reader and a writer in four ways, and what a killed one leaves.
# usage: examples.sh BUILD_FOLDER

build=$(cd "$1" && pwd) || exit 2
examples=$(cd "$(dirname "$0")/../../examples/python" && pwd)
PYTHON=${SHMD_APPS_PYTHON:-/usr/bin/python3}
export PYTHON PYTHONPATH="$build/python"
passed=0
failed=0
said=$(mktemp)
trap 'rm -f "$said"' EXIT
trap 'exit 1' HUP INT TERM

# ok NAME TEXT COMMAND...: it succeeds, and says so.
ok() {
  name=$1
  text=$2
  shift 2
  if "$@" >"$said" 2>&1 && grep -qF -e "$text" "$said"; then
    passed=$((passed + 1))
    echo "ok $((passed + failed)) - $name"
    grep ' ns a turn' "$said" | sed 's/^/# /'
  else
    failed=$((failed + 1))
    echo "not ok $((passed + failed)) - $name"
    sed 's/^/# /' "$said"
  fi
}

run() { "$build/shmdctl" run "$@"; }

leaks() {
  "$examples/leak.sh" "$build" >"$said.leak" 2>&1 || return
  cat "$said.leak"
  [ "$(grep -c 'left in /dev/shm: ' "$said.leak")" -eq 2 ] &&
    [ "$(grep -c 'nothing is left in /dev/shm' "$said.leak")" -eq 2 ] &&
    [ "$(grep -c 'segments left in the daemon: 0' "$said.leak")" -eq 2 ]
}

whole="every read was whole"
ok "the standard library" "$whole" "$PYTHON" "$examples/turns.py"
ok "the same under the shim" "$whole" run --preload -- "$PYTHON" "$examples/turns.py"
ok "the same with SHMD_PRELOAD_RECOVER=1" "$whole" \
  env SHMD_PRELOAD_RECOVER=1 "$build/shmdctl" run --preload -- "$PYTHON" "$examples/turns.py"
ok "shmd, its lock" "$whole" run -- "$PYTHON" "$examples/turns_shmd.py"
ok "shmd, published" "$whole" run -- "$PYTHON" "$examples/turns_publish.py"
ok "what a killed one leaves, before and after" "nothing is left" leaks
rm -f "$said.leak"
ok "frames are published to readers of any speed" " 0 bad" run -- "$PYTHON" "$examples/frames.py"
ok "asyncio is told of a death" "reaped: victim" run -- "$PYTHON" "$examples/watch.py"
if "$PYTHON" -c 'import numpy' 2>/dev/null; then
  ok "ten workers share an array, and one is killed" "the sums are right" \
    run -- "$PYTHON" "$examples/pool.py"
else
  passed=$((passed + 1))
  echo "ok $((passed + failed)) - ten workers share an array # SKIP there is no numpy"
fi
echo "1..$((passed + failed))"
[ "$failed" -eq 0 ]
