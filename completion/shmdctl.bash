# SPDX-License-Identifier: MIT
# shellcheck shell=bash
#
# Completion of shmdctl for bash: commands, options, columns, and the names of segments. All of that is
# asked of shmdctl, from its help and from the daemon; this file only knows what the words in the usage
# stand for.

# _shmdctl_unquote WORD: prints what the shell would make of it, and runs nothing.
_shmdctl_unquote() {
  local word=$1 quote='' plain='' c
  local -i i

  for ((i = 0; i < ${#word}; i++)); do
    c=${word:i:1}
    if [[ $c == "$quote" ]]; then
      quote=
    elif [[ -z $quote && $c == [\'\"] ]]; then
      quote=$c
    elif [[ $c == \\ && $quote != \' ]]; then
      i+=1
      c=${word:i:1}
      [[ -z $quote || $c == [\$\`\"\\] ]] || plain+=\\
      plain+=$c
    else
      plain+=$c
    fi
  done
  printf '%s' "$plain"
}

# _shmdctl_words: sets words, where they start, cword and cur, as COMP_WORDS has them, but whole at ':', '=' and '@'.
_shmdctl_words() {
  local rest=$COMP_LINE word glue=
  local -i i

  words=()
  starts=()
  cword=0
  for ((i = 0; i < ${#COMP_WORDS[@]}; i++)); do
    word=${COMP_WORDS[i]}
    [[ $i -eq 0 || $rest != [[:space:]]* ]] || glue=
    rest=${rest#"${rest%%[![:space:]]*}"}
    if [[ $glue ]]; then
      words[${#words[@]} - 1]+=$word
    else
      words+=("$word")
      starts+=("$i")
    fi
    rest=${rest#"$word"}
    glue=yes
    ((i != COMP_CWORD)) || cword=$((${#words[@]} - 1))
  done
  cur=${words[cword]}
}

# _shmdctl_reply WORD...: those that begin like the current word, quoted as that one is, from where
# readline thinks that it begins.
_shmdctl_reply() {
  local raw=${COMP_WORDS[COMP_CWORD]} plain quoted typed word

  [[ $raw != [:=@] ]] || raw=
  typed=${cur%"$raw"}
  plain=$(_shmdctl_unquote "$cur")
  for word; do
    [[ $word == "$plain"* ]] || continue
    case $raw in
      \'*)
        [[ $word != *\'* ]] || continue
        quoted=$word
        ;;
      \"*)
        quoted=${word//\\/\\\\}
        quoted=${quoted//\"/\\\"}
        quoted=${quoted//\$/\\\$}
        quoted=${quoted//\`/\\\`}
        ;;
      *)
        quoted=$word
        [[ $word != *[!A-Za-z0-9_,.=-]* ]] || printf -v quoted %q "$word"
        ;;
    esac
    [[ $quoted == "$typed"* ]] && COMPREPLY+=("${quoted#"$typed"}")
  done
}

# _shmdctl_help ARGUMENT...: the help, of a command or of all.
_shmdctl_help() {
  "$shmdctl" "$@" --help 2>/dev/null </dev/null
}

_shmdctl_commands() {
  _shmdctl_help | sed -n '/^Commands:/,/^$/s/^  \([a-z][a-z-]*\).*/\1/p'
}

# Options, one a line: the letter or nothing, the long name, and the word for the argument or nothing.
_shmdctl_options() {
  _shmdctl_help "$@" |
    sed -n 's/^  \(-\(.\), \|    \)--\([a-z-]*\)\(=\([A-Z]*\)\)\{0,1\} .*/\2:\3:\5/p'
}

_shmdctl_columns() {
  _shmdctl_help "$@" | sed -n '/^Columns /,/^$/s/^  \([A-Z][A-Z_-]*\).*/\1/p'
}

# The words that the usage has behind "[OPTION...]".
_shmdctl_operands() {
  _shmdctl_help "$@" | sed -n '1s/.*\[OPTION\.\.\.\] *//p'
}

# Names have no control characters, and JSON adds a backslash to quotes and backslashes alone.
_shmdctl_names() {
  local names

  mapfile -t names < <("$shmdctl" "${place[@]}" --json list -o name 2>/dev/null </dev/null |
    LC_ALL=C sed -n 's/^ *"name": "\(.*\)",\{0,1\}$/\1/p' | LC_ALL=C sed 's/\\\(.\)/\1/g')
  _shmdctl_reply "${names[@]}"
}

_shmdctl_files() {
  compopt -o filenames 2>/dev/null
  mapfile -t COMPREPLY < <(compgen -f -- "$(_shmdctl_unquote "${cur#"${1-}"}")")
}

# The last of several columns, separated by commas.
_shmdctl_column_list() {
  local head=${cur#"$1"} columns column

  [[ $head == *,* ]] && head=${head%,*}, || head=
  mapfile -t columns < <(_shmdctl_columns "$command")
  for column in "${columns[@]}"; do
    [[ ,$head == *,"$column",* ]] || _shmdctl_reply "$1$head$column"
  done
  compopt -o nospace 2>/dev/null
}

# _shmdctl_value KIND [PREFIX]: what an argument or operand of that kind can be; PREFIX is the option
# that the current word begins with.
_shmdctl_value() {
  case $1 in
    SOCKET | FILE) _shmdctl_files "${2-}" ;;
    COLUMNS) _shmdctl_column_list "${2-}" ;;
    LIFETIME) _shmdctl_reply "${2-}"{persistent,owner,clients} ;;
    NAME | GLOB) _shmdctl_names ;;
  esac
}

# Sets operands to the words that the usage has for them, without dots and brackets; and repeated to the
# last one, where it may be given any number of times.
_shmdctl_learn_operands() {
  read -ra operands <<<"$(_shmdctl_operands "$command")"
  repeated=
  ((${#operands[@]} == 0)) || [[ ${operands[-1]} != *... ]] || repeated=${operands[-1]//[^A-Z]/}
  operands=("${operands[@]//[^A-Z]/}")
  case $command in
    # A name that is to be made is nobody's yet.
    create) operands=() ;;
    # Without the "--", which stands before the command or not.
    lock) operands=(NAME COMMAND) ;;
    run) operands=(COMMAND) ;;
  esac
}

# Sets kind to what the option takes, by its name with its dashes; empty where it takes nothing.
_shmdctl_option_kind() {
  local line letter name argument

  kind=
  for line in "${options[@]}"; do
    IFS=: read -r letter name argument <<<"$line"
    [[ $1 != "--$name" && ($1 != "-$letter" || -z $letter) ]] || kind=$argument
  done
}

_shmdctl_option_names() {
  local line letter name argument

  for line in "${options[@]}"; do
    IFS=: read -r letter name argument <<<"$line"
    _shmdctl_reply "--$name${argument:+=}"
  done
  [[ ${#COMPREPLY[@]} -ne 1 || ${COMPREPLY[0]} != *= ]] || compopt -o nospace 2>/dev/null
}

# Begins anew with a command line within this one.
_shmdctl_inner_command() {
  if declare -F _command_offset >/dev/null; then
    _command_offset "$1"
  elif ((COMP_CWORD == $1)); then
    mapfile -t COMPREPLY < <(compgen -c -- "$cur")
  else
    _shmdctl_files
  fi
}

# Learns about the daemon from an option of all commands: where it is.
_shmdctl_note_place() {
  case $1 in
    -s | --socket) place=(--socket="$(_shmdctl_unquote "${2/#\~/$HOME}")") ;;
    --user) place=(--user) ;;
  esac
}

# Reads what stands before the current word. Returns 1 where that is an argument of an option.
_shmdctl_read() {
  local word
  local -i i

  for ((i = 1; i < cword; i++)); do
    word=${words[i]}
    if [[ $word == -- && $dashes -eq 0 ]]; then
      dashes=1
      ended=1
    elif ((!ended)) && [[ $word == --*=* ]]; then
      _shmdctl_note_place "${word%%=*}" "${word#*=}"
    elif ((!ended)) && [[ $word == -?* ]]; then
      _shmdctl_option_kind "$word"
      _shmdctl_note_place "$word" "${words[i + 1]}"
      [[ -z $kind ]] || ((++i < cword)) || return 1
    elif [[ -z $command ]]; then
      command=$(_shmdctl_unquote "$word")
      mapfile -t options < <(_shmdctl_options "$command")
      _shmdctl_learn_operands
      dashes=0
      ended=0
    else
      [[ ${operands[operand]-} != COMMAND ]] || break
      [[ $command != lock ]] || ended=1
      operand+=1
    fi
  done
  first=$i
}

_shmdctl() {
  local shmdctl=${1/#\~/$HOME} command='' kind='' repeated='' cur='' cword
  local -a words starts options operands place=()
  local -i first=0 operand=0 dashes=0 ended=0

  COMPREPLY=()
  _shmdctl_words
  mapfile -t options < <(_shmdctl_options)
  if ! _shmdctl_read; then
    _shmdctl_value "$kind"
  elif ((!ended)) && [[ $first -eq $cword && $cur == --*=* ]]; then
    _shmdctl_option_kind "${cur%%=*}"
    [[ -z $kind ]] || _shmdctl_value "$kind" "${cur%%=*}="
  elif ((!ended)) && [[ $first -eq $cword && $cur == -* ]]; then
    _shmdctl_option_names
  elif [[ -z $command ]]; then
    mapfile -t words < <(_shmdctl_commands)
    _shmdctl_reply "${words[@]}"
  elif [[ ${operands[operand]-} == COMMAND ]]; then
    _shmdctl_inner_command "${starts[first]}"
  else
    _shmdctl_value "${operands[operand]-$repeated}"
  fi
} && complete -F _shmdctl shmdctl
