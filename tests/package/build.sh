#!/bin/env bash
# SPDX-License-Identifier: MIT
#
#   build.sh FOLDER           builds the Debian packages of these sources, as they are, into FOLDER
#   build.sh FOLDER SUFFIX    does so if there are none in it, and writes the same packages with SUFFIX
#                             behind their version, for upgrades, into FOLDER/SUFFIX
#
# DEB_BUILD_OPTIONS are those of dpkg-buildpackage; without them no tests run, and no debug symbols are
# packed.
set -eu

[ $# -eq 1 ] || [ $# -eq 2 ] || {
  echo "Usage: build.sh FOLDER [SUFFIX]" >&2
  exit 2
}
sources=$(cd "$(dirname "$0")/../.." && pwd)
mkdir -p "$1"
folder=$(cd "$1" && pwd)
suffix=${2-}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM

: "${DEB_BUILD_OPTIONS=nocheck noautodbgsym parallel=$(nproc)}"
export DEB_BUILD_OPTIONS

# What git would know, changed or not; without git, all that no build has made.
copy_sources() {
  cd "$sources"
  if git rev-parse --git-dir >/dev/null 2>&1; then
    git ls-files -z --cached --others --exclude-standard |
      while IFS= read -r -d '' file; do [ ! -e "$file" ] || printf '%s\0' "$file"; done |
      tar -cf - --null -T -
  else
    tar -cf - --exclude=./build .
  fi | tar -C "$1" -xf -
}

build() {
  mkdir "$work/shmd"
  (copy_sources "$work/shmd")
  (cd "$work/shmd" && dpkg-buildpackage -us -uc -b) >"$work/log" 2>&1 || {
    tail -n 60 "$work/log" >&2
    return 1
  }
  mv "$work"/*.deb "$work"/*.changes "$work"/*.buildinfo "$folder"
}

# repack PACKAGE: only the versions in it are others, of itself and of what it needs from here.
repack() {
  version=$(dpkg-deb -f "$1" Version)
  escaped=$(printf '%s' "$version" | sed 's/[.+]/\\&/g')
  rm -rf "$work/unpacked"
  dpkg-deb -R "$1" "$work/unpacked"
  sed -i -e "s/^Version: $escaped\$/&$suffix/" -e "s/(= $escaped)/(= $version$suffix)/g" \
    "$work/unpacked/DEBIAN/control"
  dpkg-deb --root-owner-group -Zgzip -z1 -b "$work/unpacked" "$folder/$suffix" >/dev/null
}

set -- "$folder"/*.deb
[ -z "$suffix" ] || [ ! -e "$1" ] || built=yes
[ -n "${built-}" ] || build
[ -n "$suffix" ] || exit 0
mkdir -p "$folder/$suffix"
for package in "$folder"/*.deb; do
  repack "$package"
done
