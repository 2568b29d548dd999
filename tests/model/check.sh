#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Searches lock.pml with spin(1), every configuration to its end, and then the variants that are known to be
# wrong, in which an error must be found. `check.sh NAME...` runs some rows alone and keeps what belongs to
# them, the trail of an error too, in the folder MODEL_DIR (made when there is none).
# MODEL_JOBS: searches at the same time, 2 unless set; each needs up to 3 GB.

here=$(cd "$(dirname "$0")" && pwd) || exit 1
model=$here/lock.pml

# name, what it must show, options. KILLS are the daemon's, DEATHS the clients'; one of each unless said.
# The longest first, so that the last to run are short.
rows='
two-raw          holds PERMITS=2 CLIENTS=2 RAW=1 ROUNDS=1 REBIRTHS=0
one-raw          holds PERMITS=1 CLIENTS=2 RAW=1 REBIRTHS=0
two-threads      holds PERMITS=2 CLIENTS=2 THREADS=2 KILLS=0 REBIRTHS=0
one-stop         holds PERMITS=1 CLIENTS=3 STOPS=1 KILLS=0 REBIRTHS=0
two-scan         holds PERMITS=2 CLIENTS=2 SETTLE=1
two-busy         holds PERMITS=2 CLIENTS=5 HOLDING=2 ROUNDS=1 DEATHS=0 KILLS=0 REBIRTHS=0
one-clients      holds PERMITS=1 CLIENTS=3
two-stop         holds PERMITS=2 CLIENTS=3 STOPS=1 ROUNDS=1
one-raws         holds PERMITS=1 CLIENTS=1 RAW=2
one-threads      holds PERMITS=1 CLIENTS=2 THREADS=2
two-clients      holds PERMITS=2 CLIENTS=3 ROUNDS=1
two-rounds       holds PERMITS=2 CLIENTS=2 ROUNDS=3 DEATHS=2
one-deaths       holds PERMITS=1 CLIENTS=2 DEATHS=2 KILLS=2
two-held         holds PERMITS=2 CLIENTS=2 THREADS=2 HOLDING=2 ROUNDS=1 KILLS=2
SLEEP_LOW        fails PERMITS=1 CLIENTS=3
SLEEP_HIGH_FIRST fails PERMITS=1 CLIENTS=3
CLEAR_EXACT      fails PERMITS=1 CLIENTS=3 HOLDING=1 RAW=1 SETTLE=0 ROUNDS=1 DEATHS=0 RAW_DEATHS=0 KILLS=0
CLEAR_NO_W       fails PERMITS=1 CLIENTS=3 HOLDING=1 RAW=1 SETTLE=0 ROUNDS=1 DEATHS=0 RAW_DEATHS=0 KILLS=0
STALE_NO_WAKE    fails PERMITS=1 CLIENTS=3
RELEASE_NO_WAKE  fails PERMITS=1 CLIENTS=2
BUSY_GIVES_UP    fails PERMITS=2 CLIENTS=5 HOLDING=2 ROUNDS=1 DEATHS=0 KILLS=0 REBIRTHS=0
OWNER_LATE       fails PERMITS=1 CLIENTS=2
NO_PRIVATE_LOCK  fails PERMITS=2 CLIENTS=2 THREADS=2 KILLS=0 REBIRTHS=0 INTERRUPTS=0
NO_PARITY        fails PERMITS=2 CLIENTS=2
NO_MARK          fails PERMITS=2 CLIENTS=1 THREADS=2 HOLDING=2 ROUNDS=1
BURY_ANY_OWNER   fails PERMITS=2 CLIENTS=2
BURY_LIVING      fails PERMITS=1 CLIENTS=2
BURY_NO_WAKE     fails PERMITS=1 CLIENTS=2
NUMBER_EARLY     fails PERMITS=1 CLIENTS=2
DIED_LATE        fails PERMITS=1 CLIENTS=2
RAW_ONE_SCAN     fails PERMITS=2 CLIENTS=2 SETTLE=1
RAW_NO_LEASE     fails PERMITS=1 CLIENTS=1 RAW=2
RAW_NO_WAKE      fails PERMITS=1 CLIENTS=1 RAW=2 ROUNDS=1
'

# states FILE: how many states pan's report counts
states() { sed -n 's/^ *\([0-9.e+]*\) states, stored.*/\1/p' "$1" | head -n 1; }

# search: generates, compiles and runs pan in this folder, with the options given. No state is dropped:
# neither bitstate nor hash compaction. pan's status says nothing of errors that it found, its report does.
search() {
  # shellcheck disable=SC2046 # one argument an option
  spin $(printf -- '-D%s ' "$@") -a "$model" >spin.log 2>&1 &&
    ${CC:-cc} "$optimise" -w -DSAFETY -DMEMLIM=5000 -o pan pan.c >cc.log 2>&1 &&
    ./pan -m100000 -w25 >pan.log 2>&1
}

# holds: the search came to its end, at no limit of depth or memory, and found nothing
holds() {
  grep -q 'errors: 0$' pan.log && grep -q '^Full statespace search' pan.log &&
    ! grep -qE '^pan: (reached|out of)|search not completed|max search depth|hash-compact' pan.log
}

# fails: what the variant is to show was found: an assertion, or a process that is stuck
fails() { grep -qE '^pan:1: (assertion violated|invalid end state)' pan.log; }

# row NAME MUST OPTIONS...: one row; its line says ok or not ok
row() {
  name=$1 must=$2
  shift 2
  mkdir -p "$MODEL_DIR/$name" && cd "$MODEL_DIR/$name" || exit 1
  optimise=-O2
  if [ "$must" = fails ]; then
    set -- "$@" "BROKEN=$name"
    optimise=-O0 # to compile takes longer than to find the error
  fi
  search "$@"
  if "$must" 2>/dev/null; then result=ok; else result='not ok'; fi
  error=$(sed -n 's/^pan:1: //p' pan.log 2>/dev/null)
  seconds=$(sed -n 's/^pan: elapsed time \([0-9.]*\).*/\1/p' pan.log 2>/dev/null)
  printf '%-6s %-16s %s %9s states %6s s%s\n' "$result" "$name" "$must" "$(states pan.log)" \
    "${seconds:-0}" "${error:+: $error}"
  [ "$result" = ok ] || tail -n 5 spin.log cc.log 2>/dev/null | grep -i error
}

if [ "$1" = --row ]; then
  shift
  row "$@"
  exit 0
fi

command -v spin >/dev/null || {
  echo 'spin(1) is needed: apt-get install spin' >&2
  exit 1
}
if [ -n "$MODEL_DIR" ]; then
  mkdir -p "$MODEL_DIR" && MODEL_DIR=$(cd "$MODEL_DIR" && pwd) || exit 1
else
  MODEL_DIR=$(mktemp -d) || exit 1
  trap 'rm -rf "$MODEL_DIR"' EXIT
  trap 'exit 1' INT TERM
fi
export MODEL_DIR

[ $# -eq 0 ] || rows=$(for name; do echo "$rows" | grep "^$name "; done)
echo "$rows" | grep . | xargs -L 1 -P "${MODEL_JOBS:-2}" "$here/check.sh" --row |
  tee "$MODEL_DIR/results"
wanted=$(echo "$rows" | grep -c .)
passed=$(grep -c '^ok ' "$MODEL_DIR/results")
echo "$passed passed, $((wanted - passed)) failed"
[ "$wanted" -gt 0 ] && [ "$passed" -eq "$wanted" ]
