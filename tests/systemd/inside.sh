#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# Runs inside of the container, as a service of the systemd that the daemon is a service of, too.
# What it prints is TAP; its status is the container's.

here=/mnt/t
client=$here/client
# The folder is read-only under /usr/local, and not here.
config=$here/root/usr/local/etc/shmd/shmd.conf.d/test.conf
mkdir -p "${config%/*}"

# shellcheck source=tests/systemd/tap.sh
. $here/tap.sh

# An input without an end.
mkfifo /tmp/never
exec 7<>/tmp/never

something_is_stored() { [ "$(property NFileDescriptorStore)" -gt 0 ]; }
nothing_is_stored() { is_property NFileDescriptorStore 0; }
says() { [[ "$(property StatusText)" == *"$1"* ]] || { property StatusText; false; }; }
exists() { shmdctl show "$1"; }
gone() { ! shmdctl show "$1" >/dev/null 2>&1; }
is_locked() { ! shmdctl lock -n "$1" -- true; }
all_dead() { ! kill -0 "$@" 2>/dev/null; }

# --- the units --------------------------------------------------------------------------------------

verifies() {
  local said
  said=$(systemd-analyze verify "$@" 2>&1) || echo "it failed"
  [ -z "$said" ] || {
    echo "$said"
    return 1
  }
}

verified() {
  local units=/usr/local/lib/systemd page
  # man(1) has no configuration here.
  verifies --man=no $units/system/shmd.{service,socket} &&
    XDG_RUNTIME_DIR=/run SYSTEMD_ENVIRONMENT_GENERATOR_PATH=/nowhere verifies --man=no --user $units/user/shmd.{service,socket} || return 1
  while read -r page; do
    [ -e "/usr/local/share/man/man${page##*.}/$page" ] || {
      echo "there is no page $page"
      return 1
    }
  done < <(sed -n 's/^Documentation=//p' $units/*/shmd.* | tr ' ' '\n' | sed 's/man:\(.*\)(\(.\))/\1.\2/')
}

# It prints tenths as an integer when it is asked to compare.
secure() { systemd-analyze security --threshold=10 --no-pager shmd.service; }

runs_as_its_user() { [ "$(ps -o user= -p "$(property MainPID)")" = shmd ]; }

activated() {
  is_property ActiveState inactive && shmdctl status >/dev/null && is_property ActiveState active &&
    runs_as_its_user
}

status_text() {
  shmdctl create told 3M && await is_property StatusText "1 segment, 3.0 MiB, 0 clients" && shmdctl unlink told
}

# --- reload -----------------------------------------------------------------------------------------

reload() {
  local pid
  pid=$(property MainPID)
  printf '[limits]\nsegments = few\n' >$config && systemctl reload $unit &&
    await says 'configuration not read: /' && printf '[limits]\nsegments = 4000\n' >$config &&
    systemctl reload $unit && await says 'configuration read again' && shmdctl status | grep -w 4000 &&
    is_property ActiveState active && is_property MainPID "$pid"
}

# --- restarts ---------------------------------------------------------------------------------------

# survives COMMAND...: what is there before the command, which makes another daemon, is there afterwards.
survives() {
  local pid generation
  generation=$(echo content | shmdctl publish survivor) || return 1
  pid=$(property MainPID)
  "$@" && await has_other_pid "$pid" && [ "$(shmdctl get survivor)" = content ] &&
    [ "$(shmdctl wait survivor)" = "$generation" ] && shmdctl unlink survivor
}

by_restart() { survives systemctl restart $unit; }
by_kill() { survives systemctl kill --kill-whom=main --signal=KILL $unit; }

# A clean end that nobody asked systemd for is no reason to forget anything.
by_term() { survives systemctl kill --kill-whom=main --signal=TERM $unit; }

by_watchdog() {
  configure 'WatchdogSec=1' && systemctl restart $unit && survives systemctl kill --kill-whom=main --signal=STOP $unit &&
    [ "$(property NRestarts)" -ge 1 ]
}

has_restarted() { [ "$(property NRestarts)" -ge "$1" ]; }

# For a while no start succeeds; who connects meanwhile waits.
by_failing_starts() {
  local late
  echo content | shmdctl publish survivor || return 1
  configure 'ExecStart=
ExecStart=/usr/local/sbin/shmd -c /nowhere'
  systemctl restart $unit
  await has_restarted 8 && something_is_stored || return 1
  shmdctl get survivor >/tmp/late &
  late=$!
  configure ''
  await is_property ActiveState active && wait $late && [ "$(cat /tmp/late)" = content ] &&
    shmdctl unlink survivor
}

# --- deaths in the gap ------------------------------------------------------------------------------

# Kills the daemon, and the processes while there is none.
die_in_the_gap() {
  local pid
  printf '[daemon]\ngrace = 2s\n' >$config
  configure 'RestartSec=1'
  pid=$(property MainPID)
  systemctl kill --kill-whom=main --signal=KILL $unit && await dead "$pid" || return 1
  # Some die of the others' deaths.
  kill -KILL "$@" 2>/dev/null
  await all_dead "$@" && configure '' && await has_other_pid "$pid"
}

owner_dies() {
  local holder locker
  shmdctl create --hold --lifetime=owner ended 4K <&7 >/dev/null &
  holder=$!
  shmdctl create locked 4K || return 1
  shmdctl lock locked -- sleep 1000 &
  locker=$!
  await exists ended && await is_locked locked || return 1
  # shellcheck disable=SC2046 # a list of numbers
  die_in_the_gap $holder $locker $(pgrep -P $locker) && await gone ended &&
    shmdctl lock -w 20 locked -- true && shmdctl unlink locked
}

# A mapping in a forked child keeps its segment, and its death ends that.
heir_lives() {
  local parent child
  rm -f /tmp/heirs
  $client heir heirloom >/tmp/heirs &
  await test -s /tmp/heirs || return 1
  read -r parent child </tmp/heirs
  die_in_the_gap "$parent"
  # Beyond the time to come back.
  sleep 4
  exists heirloom && [ "$(shmdctl get heirloom | head -c 9)" = inherited ] && kill -KILL "$child" &&
    await gone heirloom
}

# --- stop and start ---------------------------------------------------------------------------------

nothing_is_left() { ! find /dev/shm -name 'sem.*' | grep .; }

stop_and_start() {
  local parent child
  rm -f /tmp/heirs
  $client heir mapped >/tmp/heirs &
  await test -s /tmp/heirs || return 1
  read -r parent child </tmp/heirs
  shmdctl create forgotten 4K && something_is_stored && systemctl stop shmd.socket $unit &&
    nothing_is_stored || return 1
  # Who has it mapped has it mapped.
  grep -q memfd:shmd "/proc/$parent/maps" && grep -q memfd:shmd "/proc/$child/maps" &&
    systemctl start shmd.socket && gone forgotten && gone mapped && kill -KILL "$parent" "$child" &&
    await nothing_is_left
}

# --- of a user --------------------------------------------------------------------------------------

# Without PAM and logind, which have no configuration here.
as_user() {
  setpriv --reuid=4711 --regid=4711 --clear-groups env XDG_RUNTIME_DIR=/run/user/4711 HOME=/ "$@"
}

start_user_manager() {
  echo 'tester:x:4711:4711::/:/bin/sh' >>/etc/passwd && echo 'tester:x:4711:' >>/etc/group &&
    systemd-run --quiet --unit=tester --uid=4711 --gid=4711 -p Type=notify -p Delegate=yes \
      -p RuntimeDirectory=user/4711 -p RuntimeDirectoryMode=0700 -E XDG_RUNTIME_DIR=/run/user/4711 \
      /lib/systemd/systemd --user
}

per_user() {
  start_user_manager && as_user systemctl --user start shmd.socket &&
    as_user shmdctl --user create mine 4K && as_user systemctl --user restart $unit &&
    as_user shmdctl --user show mine && as_user systemctl --user kill --kill-whom=main --signal=KILL $unit &&
    as_user shmdctl --user show mine && as_user shmdctl --user unlink mine &&
    as_user systemctl --user stop shmd.socket $unit && systemctl stop tester.service
}

# --- the load ---------------------------------------------------------------------------------------

# shellcheck disable=SC2086 # options
load() {
  printf '[limits]\nsegments_per_user = 4096\nsemaphores_per_user = 4096\n' >$config &&
    systemctl restart $unit && $client load $SHMD_LOAD
}

all() {
  ok "verify has nothing to say" verified
  ok "the exposure is at most 1.0" secure
  systemctl start shmd.socket
  ok "the first client starts it" activated
  ok "the status tells how it is" status_text
  ok "reload" reload
  ok "a restart loses nothing" by_restart
  ok "kill -9 loses nothing" by_kill
  ok "a clean end by another hand loses nothing" by_term
  ok "the watchdog loses nothing" by_watchdog
  configure ''
  ok "starts that fail lose nothing" by_failing_starts
  ok "who dies in the gap is reaped" owner_dies
  ok "what a child inherited stays" heir_lives
  ok "stop and start forgets, and harms nobody" stop_and_start
  ok "a user's own" per_user
  patience=200
  ok "load" load
}

all
finish
