#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# Runs inside of the container, as a service of the systemd that the daemon is a service of, too. What it
# prints is TAP; its status is the container's. One test goes on where the former has ended.
#
#   inside.sh upgrade|downgrade    is what the load runs in the place of a restart

here=/mnt/t
# shellcheck source=tests/systemd/tap.sh
. $here/tap.sh

client=/tmp/client
old=$here/packages
new=$old/+next
config=/etc/shmd/shmd.conf.d/mine.conf

is() { [ "$2" = "$3" ] || { echo "$1: '$2', and not '$3'" && false; }; }
is_not() { [ "$2" != "$3" ] || { echo "$1: '$2'" && false; }; }
silently() { "$@" >/tmp/said 2>&1 || { cat /tmp/said && false; }; }
none() { ! grep . || { echo "$1" && false; }; }

version_of() { dpkg-deb -f "$1"/shmd_*.deb Version; }
installed_version() { dpkg-query -W -f '${Version}' shmd; }
starts() { journalctl -q -o cat -u $unit | grep -c '^Started '; }
is_active() { is_property ActiveState active "$1" || { systemctl status "$1"; false; }; }

# Semaphores and lock files of the daemon.
in_shm() { find /dev/shm -user shmd; }
something_is_in_shm() { in_shm | grep -q .; }

as_tester() { setpriv --reuid=4711 --regid=4711 --clear-groups "$@"; }

# --- installed --------------------------------------------------------------------------------------

# What is in the layer over the machine's files and not below, but for what is not of a package's.
written() {
  find /mnt/upper -mindepth 1 ! -type c | sed 's|^/mnt/upper||' |
    grep -vE '^/(root|run|tmp|mnt|var/(cache|log|tmp|lib/dpkg|lib/systemd/(random-seed|timers|catalog)))(/|$)' |
    while read -r path; do
      [ -e "/mnt/lower$path" ] || [ -L "/mnt/lower$path" ] || echo "$path"
    done | sort
}

install_old() { silently dpkg -i $old/*.deb; }

installed() {
  is "user before" "$(id shmd 2>/dev/null)" "" && install_old && is version "$(installed_version)" "$(version_of $old)" &&
    is_active shmd.socket && is_active $unit &&
    is enabled "$(systemctl is-enabled shmd.socket $unit | xargs)" "enabled enabled" &&
    is user "$(ps -o user= -p "$(property MainPID)")" shmd &&
    is "the socket's mode" "$(stat -c %a /run/shmd/shmd.sock)" 666 && silently shmdctl status
}

# Against the package, so that its library is replaced under programs that run.
client_is_built() {
  # shellcheck disable=SC2046 # options
  (cd $here/client && cc -O1 -D_GNU_SOURCE -I. -o $client tests/system/*.c $(pkg-config --cflags --libs libshmd)) &&
    ldd $client | grep -q '/usr/lib.*libshmd.so.0\|/lib.*libshmd.so.0'
}

# --- upgraded ---------------------------------------------------------------------------------------

# install_over FOLDER: the packages there take the place of those that run. The daemon is restarted once,
# and it is the new one; the socket is not touched.
install_over() {
  local pid socket started
  pid=$(property MainPID)
  socket=$(property InvocationID shmd.socket)
  started=$(starts)
  silently dpkg -i "$1"/*.deb || return 1
  is version "$(installed_version)" "$(version_of "$1")" && is_active $unit && is_active shmd.socket &&
    is_not "the process is the same" "$(property MainPID)" "$pid" &&
    is "the program" "$(stat -Lc %d:%i "/proc/$(property MainPID)/exe")" "$(stat -c %d:%i /usr/sbin/shmd)" &&
    is "the socket's invocation" "$(property InvocationID shmd.socket)" "$socket" &&
    is starts "$(starts)" $((started + 1)) && is crashes "$(property NRestarts)" 0
}

upgrade() { install_over $new; }

# The first time; then what is installed is installed again.
downgrade() {
  if [ -e /tmp/downgraded ]; then
    install_over $new
  else
    : >/tmp/downgraded
    install_over $old
  fi
}

# Of fewer descriptors than the unit asks for, as some machines have no more, it may warn.
few_descriptors() {
  [ "$(awk '/^Max open files/ { print $4 }' "/proc/$(property MainPID)/limits")" -lt "$(property LimitNOFILE)" ]
}

warnings() {
  local known='^$'
  ! few_descriptors || known=RLIMIT_NOFILE
  journalctl -q -o cat -u $unit -p warning | grep -v "$known"
}

under_load() {
  local visitor status=0
  printf '[limits]\nsegments_per_user = 4096\nsemaphores_per_user = 4096\n' >$config
  systemctl reload $unit && mkfifo /tmp/visitor || return 1
  $client knock </tmp/visitor &
  visitor=$!
  exec 8>/tmp/visitor
  # shellcheck disable=SC2086 # options
  $client load --segments=300 --clients=30 --holders=10 --waiters=10 --restarts=4 --moments-ms=200 --pause-us=10000 \
    --restart-by="$here/inside.sh upgrade" --restart-name=upgrade \
    --crash-by="$here/inside.sh downgrade" --crash-name="downgrade or reinstallation" $SHMD_LOAD 8>&- || status=1
  exec 8>&-
  wait $visitor && warnings | none "the daemon warned" && is version "$(installed_version)" "$(version_of $new)" &&
    return $status
}

disabled() {
  silently systemctl disable --now shmd.socket $unit && silently dpkg -i $old/*.deb &&
    is_property ActiveState inactive && is_property ActiveState inactive shmd.socket &&
    is enabled "$(systemctl is-enabled shmd.socket $unit | xargs)" "disabled disabled" &&
    silently systemctl enable --now shmd.socket $unit && silently shmdctl status
}

# The new daemon cannot start until somebody repairs what they wrote; until then, all is kept and clients wait.
misconfigured() {
  local late
  echo content | silently shmdctl publish survivor && echo 'segments = few' >>$config &&
    silently dpkg -i $new/*.deb && is version "$(installed_version)" "$(version_of $new)" || return 1
  shmdctl get survivor >/tmp/late &
  late=$!
  # Beyond the first start.
  sleep 0.5
  is_not state "$(property ActiveState)" active && is_active shmd.socket && [ -d /proc/$late ] &&
    sed -i '/few/d' $config && await is_property ActiveState active && wait $late &&
    is content "$(cat /tmp/late)" content && silently shmdctl unlink survivor
}

# --- removed ----------------------------------------------------------------------------------------

# Removed but not purged, they are still wanted by links in /etc/systemd, as those of other packages: not-found.
no_loaded_units() {
  systemctl list-units --all --plain --no-legend 'shmd*' | grep -v ' not-found *inactive ' | none "systemd has these units" &&
    systemctl list-unit-files --no-legend 'shmd*' | none "systemd has these files"
}

nothing_runs() { ! pgrep -x shmd && is "/run/shmd" "$(find /run/shmd 2>/dev/null)" ""; }

removed() {
  local holder
  mkfifo /tmp/holder
  as_tester $client hold held </tmp/holder >/tmp/holds &
  holder=$!
  exec 8>/tmp/holder
  await grep -x holds /tmp/holds && silently dpkg --remove shmd && no_loaded_units && nothing_runs &&
    [ -e /etc/shmd/shmd.conf ] && [ -e $config ] && id shmd || return 1
  exec 8>&-
  wait $holder
  local status=$?
  grep -v holds /tmp/holds
  return $status
}

# What the former daemon left is swept by the next one.
back_again() {
  something_is_in_shm && install_old && is_active $unit && silently shmdctl status &&
    is "in /dev/shm" "$(in_shm | wc -l)" 1 && [ -e $config ]
}

# --- purged -----------------------------------------------------------------------------------------

anonymous() { ! grep -n shmd /etc/passwd /etc/group /etc/shadow /etc/gshadow /etc/subuid /etc/subgid; }

nothing_is_left() {
  no_loaded_units && systemctl list-units --all --plain --no-legend 'shmd*' | none "systemd knows of these units" &&
    nothing_runs && anonymous &&
    find /etc /run /usr /var /lib -xdev -name '*shmd*' ! -name 'shmdt*' 2>/dev/null | none "these files are left" &&
    comm -13 /tmp/written <(written) | none "these files are new" &&
    is "in /dev/shm" "$(find /dev/shm -mindepth 1)" /dev/shm/sem.shmd-other &&
    systemctl list-units --all --plain --no-legend | grep not-found | comm -13 /tmp/not-found - | none "these units are not found"
}

# purged COMMAND...: after the command, which leaves something in /dev/shm.
purged() {
  : >/tmp/said
  as_tester touch /dev/shm/sem.shmd-other
  silently shmdctl create left 4K && echo "# mine" >>$config && "$@" && silently dpkg --purge python3-shmd shmd libshmd-dev libshmd0 &&
    rm -rf /run/systemd/system/$unit.d && nothing_is_left
}

# It waits to be started again.
crashed() {
  local pid
  configure RestartSec=60
  pid=$(property MainPID)
  systemctl kill --kill-whom=main --signal=KILL $unit && await dead "$pid" && await is_property SubState auto-restart &&
    something_is_in_shm
}

# The stop on removal kills it, which systemd takes for a failure.
to_be_killed() { configure KillSignal=SIGKILL && something_is_in_shm; }

purged_when_crashed() { purged crashed; }
purged_when_killed() { installed && purged to_be_killed; }

# --- all --------------------------------------------------------------------------------------------

if [ $# -gt 0 ]; then
  "$1"
  exit
fi
written >/tmp/written
systemctl list-units --all --plain --no-legend | grep not-found >/tmp/not-found
ok "they install, and the daemon runs" installed
ok "a program is built against them" client_is_built
patience=150
ok "upgrades and downgrades lose nothing under load" under_load
patience=60
ok "who disabled the units finds them disabled after an upgrade" disabled
ok "an upgrade that cannot start loses nothing" misconfigured
ok "removal harms nobody who has something mapped" removed
ok "installed again, it sweeps what was left" back_again
ok "a purge after kill -9 leaves nothing" purged_when_crashed
ok "a purge that has to kill it leaves nothing" purged_when_killed
finish
