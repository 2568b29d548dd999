#!/bin/sh
# SPDX-License-Identifier: MIT
#
# A client in another language, written from shmd-protocol(7) alone. It speaks TAP itself.

: "${top_srcdir:?}" "${SHMD:?}"
# shellcheck source=tests/system/tap.sh
. "$top_srcdir/tests/system/tap.sh"

if ! command -v python3 >/dev/null; then
  echo "1..0 # SKIP there is no python3"
  exit 0
fi
start_daemon /dev/null
# It plays another user, too, who must get at the socket.
chmod 755 "$dir"
python3 "$top_srcdir/tests/system/protocol-client.py"
