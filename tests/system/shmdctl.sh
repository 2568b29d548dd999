#!/bin/sh
# SPDX-License-Identifier: MIT
#
# The command line: what it prints, how it ends, and that data comes out as it went in.
# SHMD_TEST_SIZE: the largest segment that data is copied through, 64M unless set.

: "${top_srcdir:?}" "${top_builddir:?}" "${SHMD:?}" "${SHMDCTL:?}"
# shellcheck source=tests/system/tap.sh
. "$top_srcdir/tests/system/tap.sh"

ctl() { "$SHMDCTL" "$@"; }
exists() { ctl show "$1"; }
gone() { ! ctl show "$1" >/dev/null 2>&1; }

# --- data -----------------------------------------------------------------------------------------

# Random bytes of that size, through a segment of that size.
round_trip() {
  head -c "$1" /dev/urandom >"$dir/in"
  ctl create data "$1" &&
    ctl put data "$dir/in" &&
    ctl get data "$dir/out-file" &&
    cmp "$dir/in" "$dir/out-file" &&
    ctl get data | cmp - "$dir/in" &&
    ctl unlink data
}

through_pipes() {
  ctl create data 100000 &&
    head -c 100000 "$dir/in" | ctl put data &&
    ctl get data | cmp -n 100000 - "$dir/in" &&
    ctl unlink data
}

# What is too long changes nothing.
too_long() {
  ctl create data 5 && echo abcd | ctl put data || return 1
  echo abcde >"$dir/six"
  status 1 ctl put data "$dir/six" && says 5 && says 6 || return 1
  # shellcheck disable=SC2002 # a pipe is the point
  cat "$dir/six" | status 1 ctl put data || return 1
  [ "$(ctl get data)" = abcd ] && ctl unlink data
}

shorter() {
  ctl create data 4 && printf abcd | ctl put data && printf XY | ctl put data || return 1
  [ "$(ctl get data)" = XYcd ] && ctl unlink data
}

sparse_stays_sparse() {
  ctl create data 1G && ctl get data /dev/null && ctl list --json | grep '"allocated": 0,' &&
    ctl unlink data
}

# --- publishing -----------------------------------------------------------------------------------

publish_and_get() {
  head -c 300000 /dev/urandom >"$dir/in"
  first=$(ctl publish frame "$dir/in") && ctl get frame | cmp - "$dir/in" || return 1
  second=$(printf two | ctl publish frame) && [ "$second" -gt "$first" ] || return 1
  [ "$(ctl get frame)" = two ] && ctl show frame | grep -qi sealed || return 1
  echo x | status 1 ctl put frame && says sealed && [ "$(ctl get frame)" = two ] &&
    ctl unlink frame
}

# Nothing is published, and what was there stays.
publish_refusals() {
  printf one | ctl publish frame >"$dir/first" || return 1
  status 1 ctl publish frame "$dir/none" && says "$dir/none" &&
    status 1 ctl publish frame /dev/null && says "size is 0" &&
    status 1 ctl publish a/b "$dir/first" && status 2 ctl publish && status 2 ctl publish a b c &&
    [ "$(ctl get frame)" = one ] && ctl unlink frame
}

wait_for_names() {
  "$SHMDCTL" wait frame >"$dir/waited" &
  waiter=$!
  await eval 'ctl status --json | tr -d " \n" | grep -q "\"waits\",\"value\":[0-9]*,\"use\":1"' ||
    return 1
  first=$(echo one | ctl publish frame) && wait "$waiter" && [ "$(cat "$dir/waited")" = "$first" ] ||
    return 1
  [ "$(ctl wait frame)" = "$first" ] || return 1
  status 1 ctl wait frame --newer-than="$first" --timeout=0 && says "0 ms" &&
    status 1 ctl wait other --timeout=0.01s && status 2 ctl wait frame --newer-than=x || return 1
  "$SHMDCTL" wait frame --newer-than="$first" >"$dir/waited" &
  waiter=$!
  second=$(echo two | ctl publish frame) && wait "$waiter" && [ "$(cat "$dir/waited")" = "$second" ] &&
    ctl unlink frame
}

# --- events ---------------------------------------------------------------------------------------

heard() { grep -q "$1" "$dir/events"; }

# Until the watcher hears: it may not have begun to.
watch_is_on() {
  ctl create "$1" 1 >/dev/null && ctl unlink "$1" && heard "$1"
}

watch_prints() {
  "$SHMDCTL" watch >"$dir/events" &
  watcher=$!
  await watch_is_on probe || return 1
  echo one | ctl publish frame >/dev/null && status 1 ctl attach none && ctl unlink frame || return 1
  await heard 'unlinked.*frame' || return 1
  heard 'created' && heard 'published.*frame' && heard "refused.*no segment 'none'" || return 1
  kill "$watcher" && wait "$watcher"
}

watch_json() {
  "$SHMDCTL" --json watch 'fr*' >"$dir/events" &
  watcher=$!
  await watch_is_on frog || return 1
  ctl create hidden 1 >/dev/null && ctl unlink hidden && echo one | ctl publish frame >/dev/null &&
    ctl unlink frame && await heard '"unlinked".*"frame"' || return 1
  ! heard hidden || return 1
  kill "$watcher" && wait "$watcher" || return 1
  # Each line is an object of its own.
  while read -r line; do
    case $line in
    '{'*'"time":'*'"event":'*'"name":'*'"id":'*'}') ;;
    *) return 1 ;;
    esac
  done <"$dir/events"
}

# --- holding --------------------------------------------------------------------------------------

hold_until_end_of_input() {
  mkfifo "$dir/hold"
  "$SHMDCTL" create --hold --lifetime=owner held 64 <"$dir/hold" >"$dir/line" &
  client=$!
  exec 4>"$dir/hold"
  await exists held || return 1
  exec 4>&-
  wait "$client" && gone held && grep -q '^held	shmd-' "$dir/line"
}

hold_until_signal() {
  sleep 1000 | ctl create --hold --lifetime=owner held 64 >/dev/null &
  await exists held || return 1
  pid=$(ctl show held --json | sed -n 's/.*"pid": \([0-9]*\).*/\1/p')
  kill -TERM "$pid"
  await gone held
  pkill -P $$ -x sleep || true
}

killed_owner() {
  mkfifo "$dir/hold2"
  "$SHMDCTL" create --hold --lifetime=owner held 64 <"$dir/hold2" >/dev/null &
  client=$!
  exec 4>"$dir/hold2"
  await exists held || return 1
  kill -9 "$client"
  wait "$client" 2>/dev/null
  # Its input is still open: only its death can have ended it.
  await gone held
  result=$?
  exec 4>&-
  return "$result"
}

attach_keeps() {
  mkfifo "$dir/hold3"
  ctl create lingering 64 --lifetime=clients --linger=1min || return 1
  ctl attach lingering --read-only <"$dir/hold3" >/dev/null &
  exec 4>"$dir/hold3"
  # shellcheck disable=SC2016 # for the inner shell
  await sh -c '"$SHMDCTL" show lingering --json | grep -q "\"access\": \"read-only\""' || return 1
  exec 4>&-
  wait $! && ctl unlink lingering
}

# --- locks ----------------------------------------------------------------------------------------

lock_excludes() {
  ctl create lockable 64 || return 1
  status 1 ctl lock lockable -- "$SHMDCTL" lock -n lockable -- true &&
    status 7 ctl lock lockable -- "$SHMDCTL" lock -n -E 7 lockable -- true &&
    status 1 ctl lock lockable -- "$SHMDCTL" lock -w 0.05 lockable -- true &&
    status 0 ctl lock -n lockable -- true
}

lock_status() {
  status 42 ctl lock lockable -- sh -c 'exit 42' &&
    status 137 ctl lock lockable -- sh -c 'kill -9 $$' &&
    status 126 ctl lock lockable -- /dev/null &&
    status 127 ctl lock lockable -- /nonexistent/command &&
    status 125 ctl lock nothing-of-that-name -- true &&
    status 0 ctl lock -n lockable -- true && ctl unlink lockable
}

# --- run ------------------------------------------------------------------------------------------

run_private() {
  # shellcheck disable=SC2016 # for the inner shell
  status 0 ctl run -- sh -c '"$SHMDCTL" create x 64 && "$SHMDCTL" list && echo "$SHMD_SOCKET"' &&
    says x && socket=$(tail -n 1 "$dir/said") && [ "$socket" != "$SHMD_SOCKET" ] &&
    [ ! -e "$(dirname "$socket")" ] && gone x
}

run_status() {
  status 9 ctl run -- sh -c 'exit 9' && status 127 ctl run -- /nonexistent/command
}

# What is gone and what is left, each with its size; and which of these is told does not hang on how
# fast the daemon sees that a process has ended.
run_reports() {
  # shellcheck disable=SC2016 # for the inner shell
  status 7 ctl run --report -- sh -c '
    "$SHMDCTL" create --hold --lifetime=clients --mode=600 gone 3K </dev/null &&
    "$SHMDCTL" create stays 5K && "$SHMDCTL" create lingers 1K --lifetime=owner --linger=1h &&
    exit 7' &&
    says "reaped 'gone', 3K: nobody" && says "left 'stays', 5K: it was persistent" &&
    says "left 'lingers', 1K: it lingered" && says "run: 1 reaped (3K), 2 left (6K)" || return 1
  status 0 ctl run --report -- true && says "run: nothing was reaped, nothing was left" &&
    status 0 ctl run -- "$SHMDCTL" create stays 1 && ! says "left" >/dev/null
}

# The command is killed, and what it leaves in the background lives on, and keeps what it has.
run_reports_background() {
  mkfifo "$dir/background"
  # shellcheck disable=SC2016 # for the inner shell
  ctl run --report -- sh -c '
    "$SHMDCTL" create --hold --lifetime=owner kept 64 <"$0" 4>&- >/dev/null 2>&1 &
    exec 4>"$0"
    until "$SHMDCTL" show kept >/dev/null 2>&1; do kill -0 $! || exit 1; done
    kill -9 $$' "$dir/background" >"$dir/said" 2>&1 4<>"$dir/background" &
  exec 4<>"$dir/background"
  result=0
  wait $! || result=$?
  exec 4>&-
  [ "$result" -eq 137 ] && says "left 'kept', 64B: still in use" &&
    says "nothing was reaped, 1 left (64B)"
}

# What shmdctl said; the private daemon may have something to say of its machine, too.
own_lines() { grep -vc '^shmd: ' "$dir/said"; }

run_reports_json() {
  # shellcheck disable=SC2016 # for the inner shell
  status 0 ctl --json run --report -- sh -c '
    "$SHMDCTL" create --hold --lifetime=owner gone 3 </dev/null >/dev/null &&
    "$SHMDCTL" create stays 5 >/dev/null' &&
    says '{"reaped":[{"name":"gone","id":' && says '"size":3,"fate":"reaped"}],"left":[{' &&
    says '"size":5,"fate":"persistent"}]' && says '"complete":true' &&
    [ "$(own_lines)" -eq 1 ]
}

# A daemon that is killed has nothing more to tell, and that is said.
run_reports_doubts() {
  # shellcheck disable=SC2016 # for the inner shell
  status 0 ctl run --report -- sh -c '
    "$SHMDCTL" create stays 5 >/dev/null
    kill -9 "$("$SHMDCTL" --json status | sed -n "s/^ *\"pid\": *\([0-9]*\).*/\1/p")"' &&
    says "more may have been reaped or left than is told here"
}

# Events that shmdctl could not read in time are counted: it is stopped meanwhile, and the name of what
# was published last goes with its publisher.
run_reports_lost() {
  # shellcheck disable=SC2016 # for the inner shell
  status 0 ctl run --report -- sh -c '
    kill -STOP "$PPID"
    "$0" 5000 >/dev/null
    while "$SHMDCTL" --json list "publish-*" | grep -q "\"id\""; do :; done
    kill -CONT "$PPID"' "$top_builddir/examples/publish" &&
    { { says "run: 1 more was reaped, whose names were not heard in time" && [ "$(own_lines)" -eq 1 ]; } ||
      { says "run: 1 reaped" && [ "$(own_lines)" -eq 2 ]; }; }
}

# A shmdctl that is installed elsewhere, with something in the place of the shim. That it is no library
# is the dynamic linker's to say.
installed() {
  mkdir -p "$dir/$1/bin" "$dir/$1/sbin" "$dir/$1/lib"
  real=$top_builddir/.libs/shmdctl
  [ -e "$real" ] || real=$top_builddir/shmdctl
  cp "$real" "$dir/$1/bin/shmdctl" && cp "$SHMD" "$dir/$1/sbin/shmd"
}

installed_run() {
  folder=$1
  shift
  LD_LIBRARY_PATH=$top_builddir/.libs "$dir/$folder/bin/shmdctl" run "$@"
}

preloads() {
  shim=lib/libshmd-preload.so
  # shellcheck disable=SC2016 # for the inner shell
  print='echo "<$LD_PRELOAD>"'
  installed inst && : >"$dir/inst/$shim" && installed 'in st' && : >"$dir/in st/$shim" || return 1
  status 0 installed_run inst --preload -- sh -c "$print" && says "<$dir/inst/bin/../$shim>" &&
    LD_PRELOAD='/nonexistent/a.so' status 0 installed_run inst --preload -- sh -c "$print" &&
    says "<$dir/inst/bin/../$shim:/nonexistent/a.so>" &&
    status 0 installed_run inst -- sh -c "$print" && says "<>" &&
    status 125 installed_run 'in st' --preload -- true && says "has a colon or a space"
}

# Where it is not to be had, the command does not run without. It may be installed on this machine.
preload_missing() {
  installed none && status 0 installed_run none -- true || return 1
  # shellcheck disable=SC2016 # for the inner shell
  installed_run none --preload -- sh -c 'echo "ran with $LD_PRELOAD"' >"$dir/said" 2>&1
  result=$?
  if grep '^ran with' "$dir/said"; then
    ! says "$dir" && [ "$result" -eq 0 ]
  else
    [ "$result" -eq 125 ] && says "cannot find libshmd-preload.so, neither beside shmdctl nor in"
  fi
}

# --- statuses and words ---------------------------------------------------------------------------

usage_errors() {
  status 2 ctl && status 2 ctl nonsense && status 2 ctl create && status 2 ctl create a &&
    status 2 ctl create a b c && status 2 ctl list --nonsense && status 2 ctl create a 1X &&
    status 2 ctl create a 1 --lifetime=owner && says hold
}

refusals() {
  status 1 ctl show nothing && says "no segment 'nothing'" &&
    [ "$(own_lines)" -eq 1 ] &&
    status 1 ctl create a/b 1 && status 1 ctl create a 0 && says "size is 0" &&
    status 1 ctl unlink nothing
}

no_daemon() {
  status 3 ctl -s "$dir/none" list && status 3 ctl -s "$dir/none" --json status
}

json() {
  ctl create named 12345 --permits=3 --mode=0640 >/dev/null || return 1
  ctl list --json >"$dir/json" &&
    grep -q '"name": "named"' "$dir/json" && grep -q '"size": 12345' "$dir/json" &&
    grep -q '"mode": "0640"' "$dir/json" && grep -q '"lifetime": "persistent"' "$dir/json" &&
    grep -q '"sealed": false' "$dir/json" && ctl show named --json >"$dir/json" &&
    grep -q '"total": 3' "$dir/json" && grep -q '"available": 3' "$dir/json" &&
    ctl status --json >"$dir/json" && grep -q '"uptime_s"' "$dir/json" &&
    grep -q '"bytes": 12345' "$dir/json" && grep -q '"heap_bytes":' "$dir/json" &&
    grep -q '"descriptors":' "$dir/json" && ctl clients --json >"$dir/json" &&
    grep -q '"connected_s"' "$dir/json" && ctl unlink named
}

explains() {
  ctl explain named >"$dir/said" && grep -q 'MAY CREATE: *yes' "$dir/said" &&
    grep -q "no rule matches 'named'" "$dir/said" && ctl create named 1 >/dev/null &&
    ctl explain named --json >"$dir/json" && ctl unlink named &&
    grep -q '"rule": null' "$dir/json" && grep -q '"create": true' "$dir/json" &&
    grep -q '"mode": null' "$dir/json" && grep -q '"mode_max": "0777"' "$dir/json" &&
    grep -q '"persistent"' "$dir/json" && grep -q '"size_max": null' "$dir/json" &&
    grep -q '"exists": true' "$dir/json" && grep -q '"write": true' "$dir/json" &&
    status 1 ctl explain a/b && status 2 ctl explain && status 2 ctl explain a --uid=x
}

globs() {
  ctl create a-1 1 && ctl create a-2 1 && ctl create b-1 1 || return 1
  [ "$(ctl list 'a-*' --json | grep -c '"name"')" -eq 2 ] && ctl unlink a-1 a-2 b-1
}

nothing_left() {
  ctl status --json | grep '"segments": 0,'
}

start_daemon /dev/null
for size in 1 64 4095 4096 1048577 "${SHMD_TEST_SIZE:-64M}"; do
  ok "$size bytes come out as they went in" round_trip "$size"
done
ok "data goes through pipes" through_pipes
ok "input that is too long is refused and changes nothing" too_long
ok "shorter input leaves the rest" shorter
ok "reading a hole allocates nothing" sparse_stays_sparse
ok "what is published comes out as it went in" publish_and_get
ok "a refused publication changes nothing" publish_refusals
ok "wait waits for a name and for a newer generation" wait_for_names
ok "watch prints events" watch_prints
ok "watch --json prints an object a line" watch_json
ok "create --hold until end of input" hold_until_end_of_input
ok "create --hold until a signal" hold_until_signal
ok "create --hold, killed: the owner's segment goes" killed_owner
ok "attach revives a segment that lingers" attach_keeps
ok "lock excludes, tries and waits" lock_excludes
ok "lock ends with its command's status" lock_status
ok "run has a private daemon, which goes with it" run_private
ok "run ends with its command's status" run_status
ok "run --report tells what was reaped, and what was left" run_reports
ok "run --report tells what is in use behind it" run_reports_background
ok "run --report tells programs" run_reports_json
ok "run --report says when the daemon was gone" run_reports_doubts
ok "run --report counts what it could not hear of" run_reports_lost
ok "run --preload finds the shim, and says when it cannot be preloaded" preloads
ok "run --preload says when there is no shim" preload_missing
ok "usage errors are status 2" usage_errors
ok "refusals are status 1 and one line" refusals
ok "no daemon is status 3" no_daemon
ok "--json has the keys" json
ok "explain tells what the policy says" explains
ok "list takes a pattern" globs
ok "nothing is left" nothing_left
finish
