#!/bin/sh
# SPDX-License-Identifier: MIT
#
#   check.sh FOLDER    whether the packages that build.sh made there are as they should be; what they
#                      hold is listed in contents, beside this script
set -u

[ $# -eq 1 ] || {
  echo "Usage: check.sh FOLDER" >&2
  exit 2
}
contents=$(dirname "$0")/contents
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=0

complain() {
  echo "$*" >&2
  failed=1
}

# The files of all packages, one a line behind the package's name; the architecture's folder is ARCH, and
# extensions of Python are of VERSION and ARCH.
list() {
  for package in "$1"/*.deb; do
    name=$(dpkg-deb -f "$package" Package)
    dpkg-deb --fsys-tarfile "$package" | tar -t |
      sed -n -e '/\/$/d' -e "s|^\./usr/lib/[a-z0-9_]*-linux-[a-z0-9]*/|./usr/lib/ARCH/|" \
        -e 's|\.cpython-[0-9]*-[a-z0-9_]*-linux-[a-z0-9]*\.so$|.cpython-VERSION-ARCH.so|' \
        -e "s|^\.|$name |p"
  done | LC_ALL=C sort
}

check_contents() {
  grep -v '^#' "$contents" | LC_ALL=C sort >"$work/expected"
  list "$1" | diff "$work/expected" - || complain "these files differ from $contents"
}

check_lintian() {
  lintian --fail-on error,warning "$1"/*.changes >"$work/lintian" 2>&1 || {
    cat "$work/lintian" >&2
    complain "lintian does not like it"
  }
}

restarts() {
  grep -q "deb-systemd-invoke \$_dh_action 'shmd.service'" "$1" && grep -q '_dh_action=restart$' "$1"
}

# The daemon's segments are in systemd's hands over a restart, and over nothing else; and whoever
# connects meanwhile waits at the socket.
check_upgrade() {
  dpkg-deb -e "$1"/shmd_*.deb "$work/control"
  restarts "$work/control/postinst" || complain "an upgrade does not restart shmd.service"
  grep -E "(restart|_dh_action).*shmd\.socket" "$work/control/postinst" &&
    complain "an upgrade restarts shmd.socket"
  [ ! -e "$work/control/preinst" ] || ! grep -n stop "$work/control/preinst" ||
    complain "an upgrade stops something"
  awk '/^if / { on_remove = /"\$1" = remove/ } / stop / && !on_remove { print; bad = 1 }
    END { exit !bad }' "$work/control/prerm" && complain "it is not only stopped on removal"
}

check_contents "$1"
check_lintian "$1"
check_upgrade "$1"
exit "$failed"
