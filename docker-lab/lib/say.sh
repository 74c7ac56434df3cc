# shellcheck shell=bash
# What the lab says, and how it waits: titles, commands with their output, expectations with a bound.

if [[ -t 1 && -z ${NO_COLOR:-} ]]; then
    BOLD=$'\e[1m' DIM=$'\e[2m' GREEN=$'\e[32m' RED=$'\e[31m' PLAIN=$'\e[0m'
else
    BOLD='' DIM='' GREEN='' RED='' PLAIN=''
fi

STEP=0
step() {
    STEP=$((STEP + 1))
    printf '\n%s%d  %s%s\n' "$BOLD" "$STEP" "$*" "$PLAIN"
}
say() { printf '   %s\n' "$*"; }
good() { printf '   %s✓%s %s\n' "$GREEN" "$PLAIN" "$*"; }

# die TEXT…: the lab itself cannot go on (exit 2), in one sentence.
die() {
    printf '%s: %s\n' "${0##*/}" "$*" >&2
    exit 2
}

# show PROMPT COMMAND…: a command as a person would type it, and what it prints.
show() {
    printf '   %s%s%s\n' "$DIM" "$1" "$PLAIN"
    shift
    "$@" 2>&1 | sed -e '/^[[:space:]]*$/d' -e 's/\t/    /g' -e 's/^/     /' -e 's/[[:space:]]*$//' || true
}

# with_progress TEXT LOG COMMAND…: run it, say once in a while that it is still running, show its last words if it fails.
with_progress() {
    local text=$1 log=$2 ticker status=0
    shift 2
    (
        for ((seconds = 2; ; seconds += 2)); do
            sleep 2
            kill -0 "$$" 2>/dev/null || exit 0 # Ctrl-C does not reach a background job
            if [[ -t 1 ]]; then
                printf '\r   %s … %d s' "$text" "$seconds"
            elif ((seconds % 10 == 2)); then
                printf '   %s … %d s\n' "$text" "$seconds"
            fi
        done
    ) 9>&- &
    ticker=$!
    "$@" >"$log" 2>&1 </dev/null 9>&- || status=$?
    kill "$ticker" 2>/dev/null || true
    wait "$ticker" 2>/dev/null || true
    [[ ! -t 1 ]] || printf '\r\e[K'
    if ((status != 0)); then
        printf '%s failed (exit %d):\n' "$text" "$status" >&2
        tail -n 20 "$log" | sed 's/^/    /' >&2
    fi
    return "$status"
}

now_ms() {
    local t=${EPOCHREALTIME/[.,]/}
    printf '%s' "${t:0:-3}"
}

# wait_for SECONDS TEXT COMMAND…: until COMMAND succeeds; false when the time is over. Says so when it takes long.
wait_for() {
    local limit=$1 text=$2 start said=0 passed
    shift 2
    start=$(now_ms)
    until "$@" >/dev/null 2>&1; do
        passed=$((($(now_ms) - start) / 1000))
        ((passed < limit)) || return 1
        if ((passed >= said + 2)); then
            said=$passed
            say "waiting for $text … $passed s"
        fi
        sleep 0.05
    done
}

# failed EXPECTED: end with exit 1, with what the router says and the last lines of every log.
failed() {
    local log
    printf '\n%s✗ expected: %s%s\n' "$RED" "$*" "$PLAIN"
    for log in "$LAB"/pids/*; do
        [[ ! -e $log ]] || kill -0 "$(cat "$log")" 2>/dev/null || say "not running: ${log##*/}"
    done
    show 'what the router says:' router_report
    for log in "$LAB"/tor/*.log "$LAB"/s?/*.log; do
        [[ -s $log ]] || continue
        printf '   %slast lines of %s%s\n' "$DIM" "${log#"$LAB"/}" "$PLAIN"
        tail -n 8 "$log" | sed 's/^/     /'
    done
    exit 1
}

# expect SECONDS TEXT COMMAND…: TEXT must become true within SECONDS.
expect() {
    local text=$2
    wait_for "$@" || failed "$text, within $1 s"
    good "$text"
}
