#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Two programs that hand work over, started in both orders, on a private daemon.
# usage examples/handover.sh BUILD_FOLDER
set -eu

# shellcheck disable=SC2016 # the inner shell's variables
exec "$1/shmdctl" run -- sh -eu -c '
  # Returns when the program has begun to wait: then the daemon counts one wait.
  await_waiting() {
    until "$0/shmdctl" --json status | tr -d " \n" | grep -q "\"waits\",\"value\":[0-9]*,\"use\":1"; do
      kill -0 "$1"
    done
  }

  echo "the worker first:"
  "$0/examples/handover" worker &
  worker=$!
  await_waiting "$worker"
  "$0/examples/handover" client "first the worker"
  wait "$worker"

  echo "the client first:"
  "$0/examples/handover" client "first the client" &
  client=$!
  await_waiting "$client"
  "$0/examples/handover" worker
  wait "$client"
' "$1"
