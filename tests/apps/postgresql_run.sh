#!/bin/sh
# SPDX-License-Identifier: MIT
#
# The life of a PostgreSQL cluster, for postgresql.sh: it is made, asked, and killed with all its
# processes. What is found out stands in FOLDER/facts, as lines NAME=VALUE.
# usage: postgresql_run.sh BIN FOLDER QUERIES
set -eu

bin=$1
folder=$2
queries=$3
data=$folder/data
export PGHOST="$folder" PGPORT=54329 PGUSER=me PGDATABASE=postgres PGOPTIONS=
server=

# The server's children are its own process groups; their parents' end does not end them.
processes() { ps -eo pid=,ppid= | awk -v server="$server" '
  { parent[$1] = $2 } END { print server; for (pid in parent) if (parent[pid] == server) print pid }'; }

# shellcheck disable=SC2046 # one argument each
kill_all() { [ -z "$server" ] || kill -9 $(processes) 2>/dev/null || true; }

# The small System V segment by which it knows a second server is nobody's business here, and is removed.
end_all() {
  sysv=$(sed -n '7s/.* //p' "$data/postmaster.pid" 2>/dev/null || true)
  kill_all
  [ -z "$server" ] || wait "$server" 2>/dev/null || true
  server=
  [ -z "$sysv" ] || ipcrm -m "$sysv" || true
}
trap end_all EXIT

sql() { "$bin/psql" -X -q -A -t -v ON_ERROR_STOP=1 "$@"; }
note() { echo "$1=$2" >>"$folder/facts"; }
now_ms() { date +%s%3N; }
segments() { "$SHMDCTL" --json list 'PostgreSQL.*' | grep -c '"id":' || true; }
in_shm() { find /dev/shm -name 'PostgreSQL.*' | wc -l; }

# await WHAT COMMAND...: asks again until it succeeds, for a minute.
await() {
  what=$1
  shift
  end=$(($(date +%s) + 60))
  until "$@" >/dev/null 2>&1; do
    [ "$(date +%s)" -lt "$end" ] || { echo "waited in vain for $what" >&2; exit 1; }
  done
}

"$bin/initdb" -D "$data" -U me -A trust --no-sync >"$folder/initdb.log" 2>&1
cat >>"$data/postgresql.conf" <<END
listen_addresses = ''
port = $PGPORT
unix_socket_directories = '$folder'
dynamic_shared_memory_type = posix
shared_buffers = 16MB
fsync = off
max_worker_processes = 8
max_parallel_workers = 8
END
"$bin/postgres" -D "$data" >"$folder/server.log" 2>&1 &
server=$!
await "the server" "$bin/pg_isready"

sql -c "create table t as select i, i % 97 as k, md5(i::text) as text from generate_series(1, 60000) i" \
  -c "analyze t"

parallel="set parallel_setup_cost = 0; set parallel_tuple_cost = 0; set min_parallel_table_scan_size = 0;
  set max_parallel_workers_per_gather = 4; set parallel_leader_participation = off;"
serial="set max_parallel_workers_per_gather = 0;"
query="select k, count(*), sum(i), max(text) from t where text like '%a%' group by k order by k;"
join="select count(*), sum(a.i + b.i) from t a join t b using (text) where a.k <> 5;"

note launched "$(sql -c "$parallel" -c "explain (analyze, costs off) $query" |
  sed -n 's/ *Workers Launched: //p' | head -n 1)"

# ask SETTINGS FILE: each query in a session of its own.
ask() {
  start=$(now_ms)
  i=0
  while [ "$i" -lt "$queries" ]; do
    sql -c "$1" -c "$query" -c "$join"
    i=$((i + 1))
  done >"$2"
  took=$(($(now_ms) - start))
}
ask "$serial" "$folder/serial.out"
note ms_serial "$took"
ask "$parallel" "$folder/parallel.out"
note ms_parallel "$took"
[ -s "$folder/serial.out" ]
note wrong "$(diff "$folder/serial.out" "$folder/parallel.out" | grep -c '^[<>]' || true)"

# A query with workers that does not end by itself; then all of it is killed.
sql -c "$parallel" -c "select count(pg_sleep(i)) from t" >/dev/null 2>&1 &
client=$!
await "parallel workers" sh -c "[ \"\$('$bin/psql' -X -q -A -t \
  -c \"select count(*) from pg_stat_activity where backend_type = 'parallel worker'\")\" = 4 ]"
note shm_before "$(in_shm)"
if [ -n "${SHMD_SOCKET-}" ]; then
  note daemon_before "$(segments)"
  "$SHMDCTL" list 'PostgreSQL.*'
fi

end_all
trap - EXIT
wait "$client" 2>/dev/null || true

if [ -n "${SHMD_SOCKET-}" ]; then
  end=$(($(date +%s) + 10))
  while [ "$(segments)" -gt 0 ] && [ "$(date +%s)" -lt "$end" ]; do
    :
  done
  note daemon_after "$(segments)"
  note created "$("$SHMDCTL" --json status | sed -n 's/.*"created": *\([0-9]*\).*/\1/p')"
fi
