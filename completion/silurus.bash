# Completion for bash of silurus, silurus-server, silurus-gate and silurus-bench. Commands and options are those that the
# programs' own help lists, so that there is no second list of them here. Values of options that are one of a
# few words are listed below; tests/completion compares them with what the programs accept.

declare -A _silurus_words=(
  [--mode]="messaging offload adaptive" [-m]="messaging offload adaptive"
  [--format]="text json csv" [-f]="text json csv"
  [--policy]="cost catfish catfish-doubling"
  [--read]="primary any"
  [--predicate]="intersects within contains"
  [--as]="boxes points segments"
)
declare -A _silurus_server_words=(
  [--dimensions]="2 3"
  [--wait]="adaptive spin sleep periodic"
  [--durability]="sync async none"
  [--log-level]="debug info warning error off"
  [--log-format]="text json"
  [--min-members]="majority 1 2 3"
  [--replicator]="multicast log-write chain"
  [--ack]="all quorum metadata"
)

# The options that a help text describes: those at the beginning of its indented lines.
_silurus_options() {
  sed -nE 's/^ +(-.*)$/\1/p' | sed -E 's/([^,]) {2,}.*$/\1/' |
    grep -oE '(^|[ ,])--?[a-zA-Z][a-zA-Z-]*' | tr -d ' ,' | sort -u
}

# The commands that a help text lists under "Commands".
_silurus_commands() {
  sed -nE '/^[Cc]ommands/,/^$/s/^ +([a-z][a-z-]*)( .*)?$/\1/p' | sort -u
}

_silurus() {
  local program=${COMP_WORDS[0]} current=${COMP_WORDS[COMP_CWORD]} previous= command= word i
  ((COMP_CWORD > 0)) && previous=${COMP_WORDS[COMP_CWORD - 1]}
  local words=
  case ${program##*/} in
    silurus-server) words=${_silurus_server_words[$previous]-} ;;
    silurus | silurus-gate) words=${_silurus_words[$previous]-} ;;
  esac
  if [[ -n $words ]]; then
    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current")
    return
  fi
  local commands=
  [[ ${program##*/} == silurus-@(server|gate) ]] || commands=$("$program" --help 2>/dev/null | _silurus_commands)
  for ((i = 1; i < COMP_CWORD; i++)); do
    word=${COMP_WORDS[i]}
    if grep -qxF -- "$word" <<<"$commands"; then command=$word; break; fi
  done
  if [[ $current == -* ]]; then
    local help
    case ${program##*/} in
      silurus-server | silurus-gate) help=$("$program" --help 2>/dev/null) ;;
      silurus) help=$("$program" help options 2>/dev/null; [[ -z $command ]] || "$program" help "$command" 2>/dev/null) ;;
      *) help=$([[ -z $command ]] || "$program" "$command" --help 2>/dev/null) ;;
    esac
    mapfile -t COMPREPLY < <(compgen -W "$(_silurus_options <<<"$help")" -- "$current")
  elif [[ -z $command || $command == help ]] && [[ -n $commands ]]; then
    mapfile -t COMPREPLY < <(compgen -W "$commands" -- "$current")
  else
    compopt -o default 2>/dev/null  # names of files
    COMPREPLY=()
  fi
}
complete -F _silurus silurus silurus-server silurus-gate silurus-bench
