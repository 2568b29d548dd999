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
  [ -z "$client" ] || kill "$client" 2>/dev/null || true
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

say "Any program may share data by name: put and get"
shmdctl create notes 64
echo "hello from one process" | shmdctl put notes
printf 'read by another one: '
shmdctl get notes | tr -d '\0'
shmdctl unlink notes

say "A client makes a segment that is to end with it"
"$build/shmdctl" create --hold --lifetime=owner crash 16M <"$dir/hold" &
client=$!
exec 4>"$dir/hold"
until shmdctl show crash >/dev/null 2>&1; do
  kill -0 "$client"
done
shmdctl list
shmdctl clients
echo "in /dev/shm:" /dev/shm/sem.shmd-*

say "kill -9: the daemon reaps what the client left"
kill -9 "$client"
wait "$client" 2>/dev/null || true
client=
await_gone crash
shmdctl list
shmdctl status

say "A program that exits without cleaning up leaves nothing, either"
name=$("$build/examples/leak")
await_gone "$name"
echo "segment $name is gone"

say "The daemon ends, and nothing is left"
kill "$daemon"
wait "$daemon"
daemon=
