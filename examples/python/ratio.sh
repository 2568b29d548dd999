#!/bin/sh
# SPDX-License-Identifier: MIT
#
# What turns, creating and attaching cost in Python, beside the standard library's: all ways take their turns
# on one processor, one after the other, in rounds. usage examples/python/ratio.sh BUILD_FOLDER [ROUNDS]
set -eu

build=$(cd "$1" && pwd)
rounds=${2:-9}
here=$(cd "$(dirname "$0")" && pwd)
export PYTHON="${PYTHON:-python3}" PYTHONPATH="$build/python"

# What --preload puts into the environment is for some of the programs only.
# shellcheck disable=SC2016 # the inner shell's variables
exec taskset -c "${CPU:-0}" "$build/shmdctl" run --preload -- sh -euc '
  shim=$LD_PRELOAD
  unset LD_PRELOAD
  here=$1
  ns() { sed "s/.*[^0-9]\([0-9]*\) ns a turn.*/$1 \1/"; }
  both() { sed "s/\(.*\) \(.*\)/create-$1 \1\nattach-$1 \2/"; }
  round=0
  while [ "$round" -lt "$2" ]; do
    "$PYTHON" "$here/turns.py" 30000 | ns turn-stdlib
    LD_PRELOAD=$shim "$PYTHON" "$here/turns.py" 30000 | ns turn-shim
    LD_PRELOAD=$shim SHMD_PRELOAD_RECOVER=1 "$PYTHON" "$here/turns.py" 30000 | ns turn-recover
    "$PYTHON" "$here/turns_shmd.py" 30000 | ns turn-shmd
    "$PYTHON" "$here/turns_publish.py" 3000 | ns turn-publish
    "$PYTHON" "$here/cost.py" stdlib 2000 4096 | both stdlib
    LD_PRELOAD=$shim "$PYTHON" "$here/cost.py" stdlib 2000 4096 | both shim
    "$PYTHON" "$here/cost.py" shmd 2000 4096 | both shmd
    round=$((round + 1))
  done' ratio "$here" "$rounds" |
  awk '
    function median(way,   n, i, j, t, a) {
      n = count[way]
      for (i = 1; i <= n; i++)
        a[i] = value[way, i]
      for (i = 2; i <= n; i++)
        for (j = i; j > 1 && a[j - 1] > a[j]; j--) { t = a[j]; a[j] = a[j - 1]; a[j - 1] = t }
      return n % 2 ? a[(n + 1) / 2] : (a[n / 2] + a[n / 2 + 1]) / 2
    }
    function tell(what, way, text,   i) {
      for (i = 1; i <= count[what "-" way]; i++)
        value["ratio", i] = value[what "-" way, i] / value[what "-stdlib", i]
      count["ratio"] = count[what "-" way]
      printf "  %-44s %9.0f ns  %6.2f\n", text, median(what "-" way), median("ratio")
    }
    { value[$1, ++count[$1]] = $2 }
    END {
      printf "medians of %d rounds, and of the ratios to the standard library in each round\n", count["turn-stdlib"]
      print "a turn on 64 bytes, two processes"
      tell("turn", "stdlib", "multiprocessing.shared_memory, Lock")
      tell("turn", "shim", "the same under the shim")
      tell("turn", "recover", "the same with SHMD_PRELOAD_RECOVER=1")
      tell("turn", "shmd", "shmd, its lock")
      tell("turn", "publish", "shmd, published")
      print "make 4 KiB, close, unlink"
      tell("create", "stdlib", "multiprocessing.shared_memory")
      tell("create", "shim", "the same under the shim")
      tell("create", "shmd", "shmd")
      print "attach, close"
      tell("attach", "stdlib", "multiprocessing.shared_memory")
      tell("attach", "shim", "the same under the shim")
      tell("attach", "shmd", "shmd")
    }'
