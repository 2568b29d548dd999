#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Whether the documentation says what the programs do. Prints TAP.
#
#   docs.sh           compares
#   docs.sh update    writes the generated parts of etc/shmd.conf and man/shmd.conf.5 anew
#
# The environment: top_srcdir and top_builddir, and SHMD and SHMDCTL where these are elsewhere.

: "${top_srcdir:?}" "${top_builddir:?}"
SHMD=${SHMD:-$top_builddir/shmd}
SHMDCTL=${SHMDCTL:-$top_builddir/shmdctl}
config_doc=$top_builddir/tests/tools/config-doc
template=$top_srcdir/etc/shmd.conf
manual=$top_srcdir/man/shmd.conf.5
LC_ALL=C
export LC_ALL

work=$(mktemp -d) || exit 99
trap 'rm -rf "$work"' EXIT

# --- what the files should be -----------------------------------------------------------------------

# The block of comments at the head is written by hand; one empty line, and the rest is generated.
make_template() {
	awk '!/^#/ { exit } { print }' "$template" && echo && "$config_doc" template
}

# Generated is what stands between two marks.
make_manual() {
	if [ "$(grep -cE '^\.\\" generated: (begin|end)$' "$manual")" -ne 2 ]; then
		echo "$manual: the two marks 'generated' are not there" >&2
		return 1
	fi
	awk '{ print } /^\.\\" generated: begin$/ { exit }' "$manual" &&
		"$config_doc" manual &&
		awk '/^\.\\" generated: end$/ { on = 1 } on' "$manual"
}

# --- what programs and pages tell -------------------------------------------------------------------

# Options at the beginning of the lines of a help: "  -s, --socket=SOCKET  listen here".
options_of_help() {
	awk '/^ +-/ {
		for (i = 1; i <= NF && $i ~ /^-/; i++) {
			sub(/[,=].*/, "", $i)
			print $i
		}
	}' | sort -u
}

# Options in the heads of items: ".It Fl s Ar socket , Fl Fl socket Ns = Ns Ar socket", and those that
# stand with their command, ".It Cm attach Oo Fl Fl read-only Oc Ar name". "Fl Fl Oc" is a bare "--".
options_of_page() {
	awk '/^\.It .*Fl/ {
		for (i = 2; i < NF; i++) {
			if ($i != "Fl")
				continue
			dashes = "-"
			if ($(i + 1) == "Fl") {
				dashes = "--"
				i++
			}
			if ($(i + 1) ~ /^([A-Za-z]|[a-z][a-z-]+)$/)
				print dashes $(i + 1)
		}
	}' "$1" | sort -u
}

commands_of_help() {
	"$SHMDCTL" --help | awk '/^Commands:/ { on = 1; next } /^$/ { on = 0 } on { print $1 }' |
		sort -u
}

# The items of the section COMMANDS; long ones have their words on the lines behind ".It Xo".
commands_of_page() {
	awk '/^\.Sh/ { on = $2 == "COMMANDS" }
		on && /^\.It Cm/ { print $3 }
		on && was_open && /^\.Cm/ { print $2 }
		{ was_open = /^\.It Xo/ }' "$1" | sort -u
}

all_helps() {
	"$SHMDCTL" --help
	for command in $(commands_of_help); do
		"$SHMDCTL" "$command" --help
	done
}

# --- comparing --------------------------------------------------------------------------------------

number=0
failed=0

# check WHAT COMMAND...: one test; what a command that fails has printed becomes a comment.
check() {
	what=$1
	shift
	number=$((number + 1))
	if "$@" >"$work/said" 2>&1; then
		echo "ok $number - $what"
		return
	fi
	failed=$((failed + 1))
	echo "not ok $number - $what"
	sed 's/^/# /' "$work/said"
}

skip() {
	number=$((number + 1))
	echo "ok $number - $1 # SKIP $2"
}

# is_made_by FILE MAKER: the file is what its maker prints.
is_made_by() {
	"$2" >"$work/made" || return 1
	diff -u "$1" "$work/made" && return
	echo "'make update-docs' brings it up to date"
	return 1
}

# agree: the lists "help" and "page" have the same lines, and some.
agree() {
	if ! [ -s "$work/help" ]; then
		echo "the help names nothing"
		return 1
	fi
	comm -23 "$work/help" "$work/page" | sed 's/$/ is in the help, and not in the page/'
	comm -13 "$work/help" "$work/page" | sed 's/$/ is in the page, and not in the help/'
	cmp -s "$work/help" "$work/page"
}

check_page() {
	name="${1##*/} is clean"
	if command -v mandoc >/dev/null; then
		check "$name" mandoc -Tlint -W warning "$1"
	else
		skip "$name" "there is no mandoc"
	fi
}

compare() {
	check "etc/shmd.conf is up to date" is_made_by "$template" make_template
	check "man/shmd.conf.5 is up to date" is_made_by "$manual" make_manual
	for page in "$top_srcdir"/man/*.[1-8]; do
		check_page "$page"
	done

	"$SHMD" --help | options_of_help >"$work/help"
	options_of_page "$top_srcdir/man/shmd.8" >"$work/page"
	check "shmd(8) has the options of shmd --help" agree

	commands_of_help >"$work/help"
	commands_of_page "$top_srcdir/man/shmdctl.1" >"$work/page"
	check "shmdctl(1) has the commands of shmdctl --help" agree

	all_helps | options_of_help >"$work/help"
	options_of_page "$top_srcdir/man/shmdctl.1" >"$work/page"
	check "shmdctl(1) has the options of all commands" agree
	echo "1..$number"
}

# --- writing ----------------------------------------------------------------------------------------

# Nothing is written before both are made.
update() {
	make_template >"$work/template" && make_manual >"$work/manual" &&
		cat "$work/template" >"$template" && cat "$work/manual" >"$manual"
}

case $1 in
'') compare ;;
update) update ;;
*)
	echo "Usage: docs.sh [update]" >&2
	exit 2
	;;
esac
