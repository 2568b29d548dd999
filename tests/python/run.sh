#!/bin/sh
# SPDX-License-Identifier: MIT
#
#   run.sh PYTHON TEST.py    runs it with the module that was built, under a private daemon
#
# PYTHON is "no" where there is no module. The environment: top_srcdir, top_builddir, SHMDCTL and SHMD.

: "${top_srcdir:?}" "${top_builddir:?}" "${SHMD:?}" "${SHMDCTL:?}"

skip() {
  echo "1..0 # SKIP $*"
  exit 0
}

[ "$1" != no ] || skip "built without Python"

# Python is not built with a sanitizer: its runtime has to be there first. gcc's is a library of its own.
sanitizer=$(ldd "$top_builddir"/python/shmd/_shmd*.so | awk '$1 ~ /^lib[at]san/ { print $3; exit }')
if [ -n "$sanitizer" ]; then
  set -- env LD_PRELOAD="$sanitizer" ASAN_OPTIONS="${ASAN_OPTIONS-}:detect_leaks=0" "$@"
elif grep -qE '__(asan|tsan|ubsan)_' "$top_builddir"/python/shmd/_shmd*.so; then
  skip "built with a sanitizer that Python cannot load"
fi
export PYTHONPATH="$top_builddir/python" PYTHONDONTWRITEBYTECODE=1
SHMD_TEST_FOLDER=$(mktemp -d) || exit 99
export SHMD_TEST_FOLDER
"$SHMDCTL" run -- "$@"
status=$?
rm -rf "$SHMD_TEST_FOLDER"
exit "$status"
