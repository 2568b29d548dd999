#!/bin/sh
# SPDX-License-Identifier: MIT
#
# The main job, shown on a private daemon: usage examples/demo.sh BUILD_FOLDER
set -eu

build=$1
dir=$(mktemp -d)
daemon=
client=
SHMD_SOCKET=$dir/shmd.sock
export SHMD_SOCKET

cleanup() {
  [ -z "$client" ] || kill -9 "$client" 2>/dev/null || true
  [ -z "$daemon" ] || { kill "$daemon" 2>/dev/null && wait "$daemon"; } || true
  rm -rf "$dir"
}
trap cleanup EXIT
trap 'exit 1' HUP INT TERM

say() { printf '\n== %s\n' "$*"; }
shmdctl() { "$build/shmdctl" "$@"; }

# Returns when the daemon no longer knows the name, and says how it goes when it does not.
await_gone() {
  i=0
  while shmdctl show "$1" >/dev/null 2>&1; do
    i=$((i + 1))
    [ "$i" -lt 1000 ] || { echo "segment $1 is still there" >&2; exit 1; }
  done
}

say "A private daemon on $SHMD_SOCKET"
mkfifo "$dir/ready" "$dir/hold"
"$build/shmd" -c /dev/null -s "$SHMD_SOCKET" --ready-fd=3 3>"$dir/ready" &
daemon=$!
read -r _ <"$dir/ready"

say "A writer and a reader take 1000 turns each on 64 bytes, kept apart by a file lock"
"$build/examples/flock"

say "The same, kept apart by the semaphore that comes with the segment"
"$build/examples/semaphore"

say "The same without a lock: the writer publishes whole generations, the reader waits for the newest"
"$build/examples/publish"

say "A writer is killed in the middle of its turn: a file lock goes with it, and nobody is told"
"$build/examples/killed-flock"

say "The same with the semaphore: the daemon gives the permit back, and the next one is told"
"$build/examples/killed-semaphore"

say "The same with publishing: what was not published is gone, what was is whole"
"$build/examples/killed-publish"

say "A camera: 60 frames of 1 MiB a second, three readers without locks, one of them slow"
"$(dirname "$0")/camera.sh" "$build" 60 1048576 2

say "Two programs hand work over, started in any order"
"$(dirname "$0")/handover.sh" "$build"

say "Any program may share data by name: put and get"
shmdctl create notes 64
echo "hello from one process" | shmdctl put notes
printf 'read by another one: '
shmdctl get notes | tr -d '\0'

say "A client makes a segment that is to end with it, and takes the lock of the notes"
"$build/examples/holder" crash notes >"$dir/hold" &
client=$!
read -r _ <"$dir/hold"
shmdctl list
shmdctl clients
echo
shmdctl show notes
shmdctl lock -n notes -- true || echo "so nobody else can have the lock now"
echo "in /dev/shm:" /dev/shm/sem.shmd-*

say "kill -9: the daemon reaps what the client left, and gives back the permit that it held"
kill -9 "$client"
wait "$client" 2>/dev/null || true
client=
shmdctl lock -w 10 notes -- echo "the next one has the lock, and was told"
shmdctl lock -n notes -- echo "the one after it has nothing to be told"
await_gone crash
shmdctl list
echo
shmdctl show notes
shmdctl unlink notes
echo
shmdctl status

say "A program that exits without cleaning up leaves nothing, either"
name=$("$build/examples/leak")
await_gone "$name"
echo "segment $name is gone"

say "The daemon ends, and nothing is left"
kill "$daemon"
wait "$daemon"
daemon=
