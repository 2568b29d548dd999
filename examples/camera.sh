#!/bin/sh
# SPDX-License-Identifier: MIT
#
# A camera and three readers, of which one is slow, on a private daemon. The readers start first. Fails
# if any of them saw a torn frame, or one older than the one before.
# usage examples/camera.sh BUILD_FOLDER [RATE [SIZE [SECONDS]]]
set -eu

build=$1
shift

# shellcheck disable=SC2016 # the inner shell's variables
exec "$build/shmdctl" run -- sh -eu -c '
  build=$0
  "$build/examples/camera" read & one=$!
  "$build/examples/camera" read & two=$!
  "$build/examples/camera" read 100 & slow=$!
  trap "kill $one $two $slow 2>/dev/null || true" EXIT
  # All three wait already when the camera begins.
  until "$build/shmdctl" --json status | tr -d " \n" | grep -q "\"waits\",\"value\":[0-9]*,\"use\":3"; do
    kill -0 "$one" "$two" "$slow"
  done
  "$build/examples/camera" write "$@"
  wait "$one"
  wait "$two"
  wait "$slow"
' "$build" "$@"
