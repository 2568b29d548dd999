#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# What the fuzzers reach by their corpus: the lines of src/wire and src/core that were run, in percent,
# for each file and for each folder.
#
#   coverage.sh [BUILD [CORPUS]]
#
# BUILD     a folder for the build, to be used again; else one that goes away
# CORPUS    more inputs, as `make fuzz` finds them: a folder for each fuzzer, e.g. build/fuzz-corpus
#
# UNREACHED=1 in the environment prints the lines that were not run, too. Needs clang, llvm-profdata and
# llvm-cov (Debian: clang libclang-rt-dev llvm), all of one version; CC, LLVM_PROFDATA and LLVM_COV say
# which.
set -euo pipefail

source=$(cd "$(dirname "$0")/../.." && pwd)
fuzzers='config dispatch image ledger packet parse'
CC=${CC:-clang}

# find_tool VARIABLE NAME: Debian has them with and without the version in their names.
find_tool() {
  local version
  version=$("$CC" -dumpversion | cut -d. -f1)
  for tool in "${!1:-}" "$2-$version" "$2"; do
    if [ -n "$tool" ] && command -v "$tool" >/dev/null; then
      printf -v "$1" '%s' "$tool"
      return
    fi
  done
  echo "$0: $2 is needed (Debian: llvm, or llvm-$version)" >&2
  exit 1
}

build_fuzzers() {
  local name targets=()
  for name in $fuzzers; do
    targets+=("tests/fuzz/fuzz_$name")
  done
  [ -e "$source/configure" ] || (cd "$source" && autoreconf -i)
  [ -e Makefile ] ||
    "$source/configure" --quiet CC="$CC" --enable-fuzzers \
      CFLAGS='-g -O1 -fprofile-instr-generate -fcoverage-mapping'
  make --silent -j"$(nproc)" "${targets[@]}" >make.log 2>&1 || {
    tail -n 20 make.log >&2
    return 1
  }
}

run_corpus() {
  local name folders
  rm -f ./*.profraw
  for name in $fuzzers; do
    folders=("$source/tests/fuzz/corpus/$name")
    [ ! -d "$corpus/$name" ] || folders+=("$corpus/$name")
    LLVM_PROFILE_FILE=$name.profraw "tests/fuzz/fuzz_$name" -runs=0 "${folders[@]}" >"$name.log" 2>&1 || {
      tail -n 20 "$name.log" >&2
      return 1
    }
  done
  "$LLVM_PROFDATA" merge -sparse ./*.profraw -o fuzz.profdata
}

# cov COMMAND ARGUMENTS...: llvm-cov over what all of them ran
cov() {
  local command=$1 name objects=()
  shift
  for name in $fuzzers; do
    objects+=(-object "tests/fuzz/fuzz_$name")
  done
  # The first one stands without the option.
  "$LLVM_COV" "$command" -instr-profile=fuzz.profdata "${objects[@]:1}" "$@" \
    "$source"/src/wire/*.[ch] "$source"/src/core/*.[ch]
}

# Headers without functions have lines only where their macros are used, and do not count.
report() {
  cov export -format=lcov | awk -v source="$source/" '
    /^SF:/ { file = substr($0, 4); sub(source, "", file) }
    /^FNF:/ { has_functions = substr($0, 5) > 0 }
    /^LF:/ { found = substr($0, 4) }
    /^LH:/ && has_functions {
      folder = file; sub("/[^/]*$", "/", folder)
      lines[file] = found; hit[file] = substr($0, 4)
      lines[folder] += found; hit[folder] += hit[file]
    }
    END {
      for (of in lines)
        printf "%-24s %5d lines %5d not run %6.1f %%\n", of, lines[of], lines[of] - hit[of],
          100 * hit[of] / lines[of]
    }' | LC_ALL=C sort
}

find_tool LLVM_PROFDATA llvm-profdata
find_tool LLVM_COV llvm-cov
corpus=$(readlink -f "${2:-/nonexistent}" || true)
if [ $# -gt 0 ]; then
  mkdir -p "$1"
  cd "$1"
else
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
  cd "$work"
fi
build_fuzzers
run_corpus
if [ "${UNREACHED:-}" = 1 ]; then
  cov export -format=lcov | awk -v source="$source/" '
    /^SF:/ { file = substr($0, 4); sub(source, "", file) }
    /^DA:.*,0$/ { line = substr($0, 4); sub(",0$", "", line); print file ":" line ": not run" }'
fi
report
