# SPDX-License-Identifier: MIT
# shellcheck shell=sh
#
# What shell tests are made of: a daemon on a private socket, and TAP. A test sources this, calls
# start_daemon, then ok for each thing it shows, and finish at the end.

dir=$(mktemp -d /tmp/shmd-test-XXXXXX)
export SHMD_SOCKET="$dir/s"
daemon=
passed=0
failed=0

cleanup() {
  [ -z "$daemon" ] || { kill "$daemon" 2>/dev/null && wait "$daemon" 2>/dev/null; }
  if [ "$failed" -eq 0 ]; then
    rm -rf "$dir"
  else
    echo "# what it left is in $dir"
  fi
}
trap cleanup EXIT
trap 'failed=1; exit 1' HUP INT TERM

# start_daemon CONFIG: starts it, and returns when clients can connect.
start_daemon() {
  mkfifo "$dir/ready"
  # shellcheck disable=SC2086 # a command and its options
  ${SHMD_WRAPPER-} "$SHMD" -c "$1" -s "$SHMD_SOCKET" --ready-fd=3 3>"$dir/ready" \
    2>"$dir/log" &
  daemon=$!
  read -r _ <"$dir/ready"
}

# ok NAME COMMAND...: a test that passes if the command does.
ok() {
  title=$1
  shift
  if "$@" >"$dir/out" 2>&1; then
    passed=$((passed + 1))
    echo "ok $((passed + failed)) - $title"
  else
    failed=$((failed + 1))
    echo "not ok $((passed + failed)) - $title"
    sed 's/^/# /' "$dir/out"
  fi
}

# status N COMMAND...: whether the command ends with that status; its output is in $dir/said.
status() {
  expected=$1
  shift
  got=0
  "$@" >"$dir/said" 2>&1 || got=$?
  [ "$got" -eq "$expected" ] || {
    echo "status $got instead of $expected: $*"
    cat "$dir/said"
    return 1
  }
}

# says TEXT: whether the last command of `status` said so.
says() {
  grep -qF -e "$1" "$dir/said" || {
    echo "it did not say '$1', but:"
    cat "$dir/said"
    return 1
  }
}

# Waits, by asking again, until the command succeeds.
await() {
  tries=0
  until "$@" >/dev/null 2>&1; do
    tries=$((tries + 1))
    [ "$tries" -lt 2000 ] || {
      echo "waited in vain for: $*"
      return 1
    }
  done
}

finish() {
  echo "1..$((passed + failed))"
}
