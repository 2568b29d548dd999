#!/bin/sh
# SPDX-License-Identifier: MIT
#
# What a turn costs with libshmd's semaphore, beside plain POSIX: both programs take the same number of
# turns, one after the other, in rounds. usage examples/ratio.sh BUILD_FOLDER [ROUNDS [TURNS]]
set -eu

build=$1
rounds=${2:-15}
turns=${3:-300000}

# shellcheck disable=SC2016 # the inner shell's variables
exec "$build/shmdctl" run -- sh -c '
  ns() { "$1/examples/$2" "$3" | sed "s/.*, \([0-9]*\) ns.*/\1/"; }
  round=0
  while [ "$round" -lt "$2" ]; do
    echo "$(ns "$1" semaphore "$3") $(ns "$1" posix "$3")"
    round=$((round + 1))
  done' ratio "$build" "$rounds" "$turns" |
  awk '
    function median(a, n,   i, j, t) {
      for (i = 2; i <= n; i++)
        for (j = i; j > 1 && a[j - 1] > a[j]; j--) { t = a[j]; a[j] = a[j - 1]; a[j - 1] = t }
      return n % 2 ? a[(n + 1) / 2] : (a[n / 2] + a[n / 2 + 1]) / 2
    }
    { shmd[NR] = $1; posix[NR] = $2; ratio[NR] = $1 / $2 }
    END {
      printf "medians of %d rounds, ns a turn: shmd %.0f, posix %.0f, ratio of a round %.2f",
        NR, median(shmd, NR), median(posix, NR), median(ratio, NR)
      printf " (%.2f to %.2f)\n", ratio[1], ratio[NR]
    }'
