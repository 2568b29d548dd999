#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# systemd.sh FOLDER: boots a real systemd in a container that is this machine with a layer over its files, and
# runs inside.sh there, which installs, upgrades and purges the packages that `build.sh FOLDER +next` made.
# Ends with its status. Needs root, systemd-container, dbus, overlayfs, and what builds the packages.
# SHMD_LOAD: options of the load (tests/systemd/client.c).
set -euo pipefail

# What is mounted ends with it.
if [ -z "${SHMD_UNSHARED-}" ] && unshare -m true 2>/dev/null; then
  SHMD_UNSHARED=1 exec unshare -m "$0" "$@"
fi
packages=$(cd "$1" && pwd)
here=$(cd "$(dirname "$0")" && pwd)
shared=$here/../systemd
# shellcheck source=tests/systemd/container.sh
. "$shared/container.sh"

container_folder
for way in "" +next/; do
  mkdir -p "$folder/packages/$way"
  cp "$packages/$way"*.deb "$folder/packages/$way"
done
mkdir -p "$folder/client/tests/system"
cp "$shared/client.c" "$here"/../system/load{,_client}.[ch] "$folder/client/tests/system/"
install -m 755 "$here/inside.sh" "$shared/tap.sh" "$folder/"
printf '%s\n' "SHMD_LOAD=\"${SHMD_LOAD-}\"" LD_LIBRARY_PATH= \
  PATH=/usr/sbin:/usr/bin:/sbin:/bin DEBIAN_FRONTEND=noninteractive >"$folder/environment"

# This machine's files below, and above them, in memory, what differs.
mkdir "$folder/host"
mount -t tmpfs -o mode=755 shmd-test "$folder/host" || skip "nothing can be mounted"
mkdir "$folder"/host/{upper,work,root}
mount -t overlay -o "lowerdir=/,upperdir=$folder/host/upper,workdir=$folder/host/work" shmd-test \
  "$folder/host/root" || skip "overlayfs cannot be mounted over the files of this machine"
# No policy forbids to start services there, the index of all manuals is not made anew each time, and it is
# another machine, but not at its first boot.
rm -f "$folder"/host/root/{usr/sbin/policy-rc.d,var/lib/man-db/auto-update}
: >"$folder/host/root/etc/machine-id"
mkdir -p "$folder/host/root/etc/systemd/system"
cp "$shared/drive.service" "$folder/host/root/etc/systemd/system/"

container_run -D "$folder/host/root" --bind-ro="$folder/host/upper:/mnt/upper" \
  --bind-ro=/:/mnt/lower:norbind
