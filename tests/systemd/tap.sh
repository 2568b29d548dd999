# SPDX-License-Identifier: MIT
# shellcheck shell=bash
#
# What tests under a real systemd share inside of the container: TAP, and questions to systemd. A test sources
# this, calls ok for each thing it shows, and finish at the end.

# For the outside: so far it has come.
: >/mnt/t/began
unit=shmd.service
failed=0
number=0

# Each test is a process group, which is killed when it takes too long.
set -m

# ok NAME COMMAND...: a test that passes if the command does, within $patience seconds.
patience=60
ok() {
  local title=$1 begin=$EPOCHREALTIME test guard status=0
  shift
  [[ $1 =~ ^(${SHMD_ONLY-.*})$ ]] || return 0
  number=$((number + 1))
  "$@" >/tmp/out 2>&1 &
  test=$!
  { sleep $patience && echo "it took too long" >>/tmp/out && kill -KILL -- -$test; } >/dev/null 2>&1 &
  guard=$!
  disown $guard
  wait $test 2>/dev/null || status=$?
  kill -KILL -- -$guard 2>/dev/null
  # What it left behind.
  kill -KILL -- -$test 2>/dev/null
  if [ $status -eq 0 ]; then
    grep '^#' /tmp/out
    echo "ok $number - $title ($(((${EPOCHREALTIME/./} - ${begin/./}) / 1000)) ms)"
  else
    failed=$((failed + 1))
    sed 's/^#* */# /' /tmp/out
    echo "not ok $number - $title"
  fi
}

# await COMMAND...: asks again until it succeeds, for at most twenty seconds.
await() {
  local deadline=$((SECONDS + 20))
  until "$@" >/dev/null 2>&1; do
    [ $SECONDS -lt $deadline ] || {
      echo "waited in vain for: $*"
      return 1
    }
    sleep 0.01
  done
}

property() { systemctl show -P "$1" "${2-$unit}"; }
# is_property PROPERTY VALUE [UNIT]
is_property() {
  local is
  is=$(property "$1" "${3-$unit}")
  [ "$is" = "$2" ] || { echo "$1 of ${3-$unit} is '$is', and not '$2'" && false; }
}
has_other_pid() { [ "$(property MainPID)" != "$1" ] && [ "$(property ActiveState)" = active ]; }
dead() { ! kill -0 "$1" 2>/dev/null; }

# configure TEXT: what the unit is to be otherwise, in a drop-in.
configure() {
  mkdir -p /run/systemd/system/$unit.d
  printf '[Service]\n%s\n' "$1" >/run/systemd/system/$unit.d/test.conf
  systemctl daemon-reload
}

# Ends with the container's status.
finish() {
  echo "1..$number"
  journalctl --no-pager -o short-monotonic >/mnt/t/journal 2>&1
  [ $failed -eq 0 ]
}
