#!/bin/sh
# SPDX-License-Identifier: MIT
#
# The completion of shmdctl's command line, in the shells that are there: what is inserted is what
# shmdctl knows, also where a name has to be quoted.

# shellcheck disable=SC1003,SC2016 # quotes and dollars are what this is about
: "${top_srcdir:?}" "${SHMD:?}" "${SHMDCTL:?}"
# shellcheck source=tests/system/tap.sh
. "$top_srcdir/tests/system/tap.sh"

ctl() { "$SHMDCTL" "$@"; }

skip() {
  passed=$((passed + 1))
  echo "ok $((passed + failed)) - $1 # SKIP $2"
}

# Names that a shell would take for something else. None begins like another.
make_odd_names() {
  for name in 'front' 'two words' "it's" 'dollar$(id)x' 'quo"te' 'back\slash' 'colon:a=b@c' 'star*' \
    'ünï' '-dash' ' lead' 'hash#' 'semi;colon&' 'tick`id`' '~tilde' 'brace{a,b}' 'null'; do
    ctl create -- "$name" 1 >/dev/null || return 1
  done
}

# --- bash -----------------------------------------------------------------------------------------

# in_bash LINE: completes it at its end as readline would, and prints the replies, one a line. The last
# word is what stands behind the last break, and an open quote breaks no more.
in_bash() {
  bash --norc -c '
    . "$1" || exit
    shopt -s extglob
    line=$2
    COMP_LINE=$line COMP_POINT=${#line} COMP_WORDS=() COMP_TYPE=9 COMP_KEY=9
    word= quote=
    for ((i = 0; i < ${#line}; i++)); do
      c=${line:i:1}
      if [[ $quote ]]; then
        word+=$c
        [[ $c != "$quote" ]] || quote=
      elif [[ $c == \\ ]]; then
        word+=$c${line:$((++i)):1}
      elif [[ $c == [\"\'"'"'] ]]; then
        word+=$c quote=$c
      elif [[ $c == " " ]]; then
        [[ ! $word ]] || COMP_WORDS+=("$word")
        word=
      elif [[ $c == [:=@] ]]; then
        [[ ! $word ]] || COMP_WORDS+=("$word")
        COMP_WORDS+=("$c")
        word=
      else
        word+=$c
      fi
    done
    if [[ $word || ${line: -1} == " " ]]; then COMP_WORDS+=("$word"); fi
    COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
    set -- "$3"
    _shmdctl "$1" "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
    ((${#COMPREPLY[@]} == 0)) || printf "%s\n" "${COMPREPLY[@]}"
  ' bash "$top_srcdir/completion/shmdctl.bash" "$1" "$SHMDCTL" 2>"$dir/bash-says"
  [ ! -s "$dir/bash-says" ] || cat "$dir/bash-says"
}

# bash LINE REPLY...: whether these are all replies.
bash_says() {
  line=$1
  shift
  in_bash "$line" >"$dir/got"
  printf '%s\n' "$@" | cmp -s - "$dir/got" && return
  echo "'$line' in bash:"
  cat "$dir/got"
  return 1
}

bash_says_nothing() {
  in_bash "$1" >"$dir/got"
  cat "$dir/got"
  [ ! -s "$dir/got" ]
}

bash_commands() {
  bash_says 'shmdctl sta' status && bash_says 'shmdctl --json sho' show &&
    bash_says_nothing 'shmdctl xyz' || return 1
  ctl --help | sed -n '/^Commands:/,/^$/s/^  \([a-z]*\).*/\1/p' >"$dir/all"
  in_bash 'shmdctl ' | cmp - "$dir/all"
}

bash_options() {
  bash_says 'shmdctl list --noh' --noheadings &&
    bash_says 'shmdctl lock --time' --timeout= &&
    bash_says 'shmdctl --soc' --socket= &&
    bash_says 'shmdctl create --lifetime=o' owner &&
    bash_says 'shmdctl create --lifetime ' persistent owner clients &&
    bash_says 'shmdctl list -o AL' ALLOCATED &&
    bash_says 'shmdctl list --output=ID,NA' ID,NAME
}

bash_names() {
  bash_says 'shmdctl show fr' front && bash_says 'shmdctl -J show fr' front &&
    bash_says 'shmdctl unlink x fr' front && bash_says 'shmdctl lock -w 5 fr' front &&
    bash_says 'shmdctl put fr' front && bash_says "shmdctl --socket=$SHMD_SOCKET get fr" front &&
    bash_says_nothing 'shmdctl show front fr' && bash_says_nothing 'shmdctl create fr' &&
    bash_says_nothing "shmdctl -s $dir/none show fr"
}

# What bash would make of the line with the reply in it is the name.
bash_odd_name() {
  reply=$(in_bash "shmdctl show -- $1") || return 1
  made=$(bash -c "set -f; printf '<%s>' $4$reply$3" 2>&1)
  [ "$made" = "<$2>" ] || {
    echo "'$1' became '$reply', which is $made"
    return 1
  }
}

bash_odd_names() {
  bash_odd_name 'two' 'two words' && bash_odd_name 'two\ w' 'two words' &&
    bash_odd_name "it" "it's" && bash_odd_name 'doll' 'dollar$(id)x' &&
    bash_odd_name 'quo' 'quo"te' && bash_odd_name 'back' 'back\slash' &&
    bash_odd_name 'star' 'star*' && bash_odd_name 'ü' 'ünï' && bash_odd_name '-d' '-dash' &&
    bash_odd_name '\ l' ' lead' && bash_odd_name 'hash' 'hash#' &&
    bash_odd_name 'semi' 'semi;colon&' && bash_odd_name 'tick' 'tick`id`' &&
    bash_odd_name '\~' '~tilde' && bash_odd_name 'brace' 'brace{a,b}' &&
    bash_odd_name 'colon' 'colon:a=b@c' && bash_odd_name 'colon:a' 'colon:a=b@c' '' 'colon:' &&
    bash_odd_name 'colon:a=b@' 'colon:a=b@c' '' 'colon:a=b@' &&
    bash_odd_name "'two w" 'two words' "'" "'" && bash_odd_name '"doll' 'dollar$(id)x' '"' '"'
}

bash_inner_command() {
  bash_says "shmdctl lock front -- $SHMDCTL" "$SHMDCTL" || return 1
  mkdir "$dir/folder" && : >"$dir/folder/only" &&
    bash_says "shmdctl run cat $dir/folder/on" "$dir/folder/only" &&
    bash_says "shmdctl run --rep" --report &&
    bash_says "shmdctl run --report --preload cat $dir/folder/on" "$dir/folder/only" &&
    bash_says "shmdctl lock -n front cat $dir/folder/on" "$dir/folder/only"
}

# --- zsh ------------------------------------------------------------------------------------------

# zsh_makes LINE RESULT: whether TAB in a zsh of its own makes that of the line.
zsh_makes() {
  zsh -f "$dir/zsh-driver" "$1" >"$dir/got" 2>&1
  [ "$(cat "$dir/got")" = "$2" ] && return
  echo "'$1' in zsh, which was to become '$2':"
  cat "$dir/got"
  return 1
}

make_zsh_driver() {
  mkdir "$dir/functions" && cp "$top_srcdir/completion/_shmdctl" "$dir/functions/" || return 1
  cat >"$dir/zsh-driver" <<END
zmodload zsh/zpty
zpty shell zsh -f -i
zpty -w shell 'PS1= RPS1=; unsetopt promptcr promptsp; stty -echo; cd "$dir"'
zpty -w shell 'fpath=("$dir/functions" \$fpath); path=("${SHMDCTL%/*}" \$path)'
zpty -w shell 'autoload -Uz compinit; compinit -C -d "$dir/dump"; unset zle_bracketed_paste'
zpty -w shell 'report() { print -r -- "<<\$BUFFER>>"; zle kill-buffer }; zle -N report'
zpty -w shell 'bindkey "^I" complete-word; bindkey "^G" report; setopt nolistbeep; print rea""dy'
zpty -r shell line '*ready*'
zpty -w -n shell "\$1"\$'\t\x07'
zpty -r shell line '*>>*'
line=\${line##*'<<'}
print -r -- "\${line%%'>>'*}"
zpty -d shell
END
}

zsh_commands() {
  zsh_makes 'shmdctl sta' 'shmdctl status ' && zsh_makes 'shmdctl --json sho' 'shmdctl --json show ' &&
    zsh_makes 'shmdctl xyz' 'shmdctl xyz'
}

zsh_options() {
  zsh_makes 'shmdctl list --noh' 'shmdctl list --noheadings ' &&
    zsh_makes 'shmdctl create --lifetime=o' 'shmdctl create --lifetime=owner ' &&
    zsh_makes 'shmdctl list -o AL' 'shmdctl list -o ALLOCATED,'
}

zsh_names() {
  zsh_makes 'shmdctl show fr' 'shmdctl show front ' &&
    zsh_makes 'shmdctl unlink x fr' 'shmdctl unlink x front ' &&
    zsh_makes 'shmdctl lock -w 5 fr' 'shmdctl lock -w 5 front ' &&
    zsh_makes "shmdctl --socket=$SHMD_SOCKET get fr" "shmdctl --socket=$SHMD_SOCKET get front " &&
    zsh_makes 'shmdctl create fr' 'shmdctl create fr' &&
    zsh_makes "shmdctl -s $dir/none show fr" "shmdctl -s $dir/none show fr"
}

zsh_odd_names() {
  zsh_makes 'shmdctl show two' 'shmdctl show two\ words ' &&
    zsh_makes 'shmdctl show it' "shmdctl show it\\'s " &&
    zsh_makes 'shmdctl show doll' 'shmdctl show dollar\$\(id\)x ' &&
    zsh_makes 'shmdctl show quo' 'shmdctl show quo\"te ' &&
    zsh_makes 'shmdctl show back' 'shmdctl show back\\slash ' &&
    zsh_makes 'shmdctl show colon:a' 'shmdctl show colon:a=b@c ' &&
    zsh_makes 'shmdctl show -- -d' 'shmdctl show -- -dash '
}

zsh_inner_command() {
  mkdir -p "$dir/folder" && : >"$dir/folder/only" &&
    zsh_makes "shmdctl run cat $dir/folder/on" "shmdctl run cat $dir/folder/only " &&
    zsh_makes 'shmdctl run --rep' 'shmdctl run --report ' &&
    zsh_makes "shmdctl run --report --preload cat $dir/folder/on" \
      "shmdctl run --report --preload cat $dir/folder/only " &&
    zsh_makes "shmdctl lock -n front -- cat $dir/folder/on" \
      "shmdctl lock -n front -- cat $dir/folder/only "
}

# --- all ------------------------------------------------------------------------------------------

start_daemon /dev/null
make_odd_names || exit 1
if command -v bash >/dev/null; then
  ok "bash: commands" bash_commands
  ok "bash: options and what they take" bash_options
  ok "bash: names of segments" bash_names
  ok "bash: names that have to be quoted" bash_odd_names
  ok "bash: commands of the user's" bash_inner_command
else
  skip "bash" "it is not there"
fi
if command -v zsh >/dev/null; then
  ok "zsh: what drives it" make_zsh_driver
  ok "zsh: commands" zsh_commands
  ok "zsh: options and what they take" zsh_options
  ok "zsh: names of segments" zsh_names
  ok "zsh: names that have to be quoted" zsh_odd_names
  ok "zsh: commands of the user's" zsh_inner_command
else
  skip "zsh" "it is not there"
fi
finish
