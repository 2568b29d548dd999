#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# run.sh BUILD-FOLDER: boots a real systemd in a container whose /usr is this machine's, installs the build
# under its /usr/local, and runs inside.sh there. Ends with its status. Needs root, systemd-container and dbus.
# SHMD_LOAD: options of the load (client.c); its numbers are those of the promise unless set.
# SHMD_ONLY: a pattern of the functions in inside.sh that are run; all unless set.
set -euo pipefail

build=$(cd "$1" && pwd)
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=tests/systemd/container.sh
. "$here/container.sh"

container_folder
mkdir "$folder/units"
make -C "$build" --silent install DESTDIR="$folder/root" >"$folder/install.log" 2>&1 || {
  cat "$folder/install.log"
  exit 1
}
[ -x "$folder/root/usr/local/sbin/shmd" ] || {
  echo "the build is for another prefix than /usr/local"
  exit 1
}
cp "$here/drive.service" "$folder/units/"
install -m 755 "$here/inside.sh" "$here/tap.sh" "$build/tests/systemd/client" "$folder/"
printf 'SHMD_LOAD="%s"\nSHMD_ONLY="%s"\n' "${SHMD_LOAD-}" "${SHMD_ONLY-.*}" >"$folder/environment"

container_run -D / --volatile=yes --bind-ro="$folder/root/usr/local:/usr/local" \
  --bind-ro="$folder/units:/etc/systemd/system"
