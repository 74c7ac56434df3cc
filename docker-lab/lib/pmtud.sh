# shellcheck shell=bash
# The story of `run pmtud`: a router's "packet too big" reaches one server of four, connections of the other three hang;
# anycaster sends it on, and none does. What is defined here takes the place of what servers.sh and run define under the same name.

CONNECTIONS=50
BLOCK=0              # of client addresses: every measurement has fresh ones
declare -gA MODE=()   # of each server: none, relay or broadcast
declare -gA CELL=()   # "ROW FABRIC FAMILY": "STALLED MEDIAN MAX"
declare -gA RESULT=() # of the last measurement, as pmtud-client says it
declare -gA SAID=([shared]='shared segment' [routed]='routed fabric' [v4]=IPv4 [v6]=IPv6)
declare -gA ROW=([none]='no module' [relay]=relay [broadcast]=broadcast [alone]='relay alone')
FAMILIES=(v4 v6)

# pmtud_options CONNECTIONS FABRIC: as given to run; empty where not.
pmtud_options() {
    router_installs ||
        die "${ROUTER_NAME[$ROUTER]} installs no kernel routes here, so nothing would be forwarded: pmtud is for frr and bird"
    if [[ -n $1 ]]; then
        [[ $1 =~ ^([1-9][0-9]{0,2}|1000)$ ]] || die "--connections is a number from 1 to 1000, not $1"
        CONNECTIONS=$1
    fi
    if [[ -n $2 ]]; then
        [[ -n ${MEMBERS[$2]-} ]] || die "--fabric is shared or routed, not $2"
        FABRICS=("$2")
    fi
    choose_fabrics
}

# ---- what runs on a server

pusher_start() {
    local fabric
    fabric=$(fabric_of "$1")
    spawn "pusher-s$1" "s$1" "$LAB/s$1/pusher.log" "$HERE/lib/pmtud-server" "s$1" "${SERVICE[$fabric-v4]}" "${SERVICE[$fabric-v6]}"
    disown "$SPAWNED"
}
pusher_answers() { (($(in_ns "s$1" ss -Hltn 'sport = :80' | wc -l) == 2)); }

anycaster_config() {
    local n=$1 fabric
    fabric=$(fabric_of "$n")
    cat <<CONF
[router]
asn       = $(server_as "$n")
state-dir = "$LAB/s$n/state"
control   = "$LAB/s$n/control.sock"
http      = "off"

[neighbors.tor]
address       = "$(tor4 "$n")"
asn           = $TOR_AS
connect-retry = "1s"

[services.web]
prefixes = ["${SERVICE[$fabric-v4]}", "${SERVICE[$fabric-v6]}"]
binding  = { listen = ["tcp/80"] }

[drain]
withdraw-settle = "0s"
CONF
    [[ ${MODE[$n]} == none ]] || pmtud_config "$n"
}

# Members of the routed fabric send to each other over IPv4, those of the shared one over IPv6.
pmtud_config() {
    local n=$1 fabric far=far4 member list=''
    fabric=$(fabric_of "$n")
    [[ $fabric == routed ]] || far=far6
    for member in ${MEMBERS[$fabric]}; do list+="\"$("$far" "$member")\", "; done
    cat <<CONF

[pmtud]
interfaces = ["eth0"]
mode       = "${MODE[$n]}"
CONF
    [[ ${MODE[$n]} == relay ]] || return 0
    cat <<CONF
address    = "$("$far" "$n")"
members    = [${list%, }]
keys       = ["$LAB/pmtud.key"]
CONF
}

# relays N: its relay listens.
relays() { [[ -n $(in_ns "s$1" ss -Hlun 'sport = :5141') ]]; }
# metrics N NAME: what its daemon counts under this name.
metrics() { curl -sf --unix-socket "$LAB/s$1/control.sock" http://localhost/metrics | sed -n "/^anycaster_pmtud_$2/p"; }
# counted N NAME VERDICT: one number, of both families.
counted() { metrics "$1" "$2" | awk -v verdict="verdict=\"$3\"" 'index($1, verdict) { all += $2 } END { print all + 0 }'; }

# ---- measuring

# measure ROW FABRIC FAMILY SECONDS: that many connections at once; the numbers are in CELL and RESULT.
measure() {
    local row=$1 fabric=$2 family=$3 limit=$4 n key value source
    BLOCK=$((BLOCK + 1))
    source=10.$((96 + BLOCK / 64)).$((BLOCK % 64 * 4)).1
    [[ $family == v4 ]] || source=fd96:0:$(printf '%x' "$BLOCK"):1::1
    for n in ${MEMBERS[$fabric]}; do
        ip -n "$(ns "s$n")" route flush cache
        ip -n "$(ns "s$n")" -6 route flush cache
    done
    counters_read "$fabric" "$family" BEFORE
    with_progress "${SAID[$fabric]}, ${SAID[$family]}: $CONNECTIONS connections" "$LAB/pull" \
        in_ns client "$HERE/lib/pmtud-client" "${SERVICE[$fabric-$family]}" "$source" --count "$CONNECTIONS" --timeout "$limit" ||
        failed 'the client to run'
    counters_read "$fabric" "$family" AFTER
    RESULT=()
    while read -r key value; do RESULT[$key]=$value; done <"$LAB/pull"
    ((RESULT[failed] == 0)) ||
        failed "all $CONNECTIONS connections to ${SERVICE[$fabric-$family]} to be made, not to fail (${RESULT[failed]} did: ${RESULT[failure]-})"
    CELL["$row $fabric $family"]="${RESULT[stalled]} ${RESULT[median]} ${RESULT[max]}"
}

# The kernel's own counters, by server: errors received, and those of them for which it had no socket.
declare -gA BEFORE=() AFTER=()
counters_read() {
    local n names=(IcmpInDestUnreachs IcmpInErrors)
    # shellcheck disable=SC2034 # a name for BEFORE or AFTER
    local -n into=$3
    [[ $2 == v4 ]] || names=(Icmp6InPktTooBigs Icmp6InErrors)
    for n in ${MEMBERS[$1]}; do
        into["$n"]=$(in_ns "s$n" nstat -asz "${names[@]}" |
            awk -v all="${names[0]}" -v none="${names[1]}" '{ value[$1] = $2 } END { print value[all], value[none] }')
    done
}
# errors FABRIC: "s1 +590 (471)  s2 +0  …"
errors() {
    local n text='' all none all_before none_before
    for n in ${MEMBERS[$1]}; do
        read -r all none <<<"${AFTER[$n]}"
        read -r all_before none_before <<<"${BEFORE[$n]}"
        text+="s$n $((all - all_before))"
        ((none == none_before)) || text+=" ($((none - none_before)) for no socket here)"
        text+='   '
    done
    printf '%s' "${text%   }"
}
# one_is_hit FABRIC: one server received nine in ten of them, or more.
one_is_hit() {
    local n new most=0 sum=0
    for n in ${MEMBERS[$1]}; do
        new=$((${AFTER[$n]%% *} - ${BEFORE[$n]%% *}))
        sum=$((sum + new))
        most=$((new > most ? new : most))
    done
    ((most > 0 && most * 10 >= sum * 9))
}

result_said() {
    good "${SAID[$1]}, ${SAID[$2]}: $BOLD${RESULT[stalled]} of $CONNECTIONS stalled$PLAIN; finished in ${RESULT[median]} ms (median), ${RESULT[max]} ms (last)"
}

# none_stalls ROW FABRIC FAMILY
none_stalls() {
    measure "$1" "$2" "$3" 10
    ((RESULT[stalled] == 0)) ||
        failed "none of $CONNECTIONS connections (${SAID[$2]}, ${SAID[$3]}) to stall for 10 s; ${RESULT[stalled]} did; finished, by server: ${RESULT[servers]}"
    result_said "$2" "$3"
}

# ---- from one mode to the next

# routes_of FABRIC N…: exactly these next hops
routes_of() {
    local fabric=$1
    shift
    router_has_next_hops "${SERVICE[$fabric-v4]}" "$@" && router_has_next_hops "${SERVICE[$fabric-v6]}" "$@"
}
announce() {
    local fabric n
    for fabric in "$@"; do
        for n in ${MEMBERS[$fabric]}; do anycaster_start "$n"; done
    done
    for fabric in "$@"; do
        # shellcheck disable=SC2086 # one word a server
        expect 20 "${SAID[$fabric]}: both addresses have four next hops in the ToR's kernel" routes_of "$fabric" ${MEMBERS[$fabric]}
    done
}
withdraw() {
    local fabric n status
    for fabric in "$@"; do
        for n in ${MEMBERS[$fabric]}; do kill -TERM "$(pid_of "anycaster-s$n")"; done
    done
    for fabric in "$@"; do
        for n in ${MEMBERS[$fabric]}; do
            status=0
            wait_for 8 "anycaster on s$n to end" has_ended "anycaster-s$n" || failed "anycaster on s$n to end after SIGTERM"
            wait "$(pid_of "anycaster-s$n")" || status=$?
            ((status == 0)) || failed "anycaster on s$n to end with exit code 0, not $status"
        done
        wait_for 5 "the routes to go" routes_of "$fabric" || failed "no next hop for the addresses of the ${SAID[$fabric]}"
    done
}
# restart_as MODE FABRIC…
restart_as() {
    local mode=$1 fabric n
    shift
    withdraw "$@"
    for fabric in "$@"; do
        for n in ${MEMBERS[$fabric]}; do MODE[$n]=$mode; done
    done
    announce "$@"
}

# ---- the chapters

chapter_path() {
    local n
    step 'A narrow link on the way to a rack'
    say "client ─1500─ r1 ─$NARROW─ r2 ─1500─ tor ─┬─ s1 … s4   routed: a link for each   192.0.2.80  2001:db8::80"
    say "                                       └─ s5 … s8   shared: one segment       192.0.2.81  2001:db8::81"
    say "tor: ${ROUTER_NAME[$ROUTER]}, ECMP by addresses and ports. r1 and r2: the kernel's forwarding, so the errors are a real kernel's."
    say 'On each server: anycaster, and a program that pushes 300 kB to everybody who connects. rp_filter = 1 everywhere.'
    topology_up
    wait_for 5 'IPv6 addresses' no_address_is_tentative || failed 'no IPv6 address to be tentative'
    router_start
    for n in "${SERVERS[@]}"; do
        pusher_start "$n"
        MODE[$n]=none
    done
    for n in "${SERVERS[@]}"; do wait_for 10 "s$n" pusher_answers "$n" || failed "the server on s$n to listen on both addresses"; done
    wait_for 10 'link addresses' neighbors_known || failed 'every server to answer the ToR'
    announce "${FABRICS[@]}"
    show_routes "${SERVICE[${FABRICS[0]}-v4]}"
    show 'r2# cat /sys/class/net/r1/mtu' in_ns r2 cat /sys/class/net/r1/mtu
}

# The ToR knows everybody's link address, as a router with traffic does. While it asks for one, its kernel takes another IPv6
# next hop, and a few errors would go astray.
neighbors_known() {
    local n address
    for n in "${SERVERS[@]}"; do
        for address in "$(far4 "$n")" "$(far6 "$n")"; do
            in_ns tor bash -c ": <>/dev/tcp/$address/1" || true # refused: that is an answer
            [[ -n $(ip -n "$(ns tor)" neighbor show "$address" nud reachable) ]] || return 1
        done
    done
}

chapter_hole() {
    local fabric family
    step "Without the module: $CONNECTIONS connections at once, each from a client address of its own, 5 s to finish"
    for fabric in "${FABRICS[@]}"; do
        for family in "${FAMILIES[@]}"; do
            measure none "$fabric" "$family" 5
            ((RESULT[stalled] > 0)) ||
                failed "some of $CONNECTIONS connections (${SAID[$fabric]}, ${SAID[$family]}) to stall: as none did, this lab proves nothing"
            result_said "$fabric" "$family"
            say "   finished:        ${RESULT[servers]}"
            say "   errors received: $(errors "$fabric")"
            one_is_hit "$fabric" ||
                failed "nearly all errors (${SAID[$fabric]}, ${SAID[$family]}) to reach one server; they reached: $(errors "$fabric")"
        done
    done
    say 'The ToR chooses by r2 and the service address: an ICMP error has no ports. What one server hears, the others need.'
}

chapter_relay() {
    local fabric family n
    step 'With [pmtud] mode = "relay": each error goes on to the other members over UDP'
    (umask 077 && openssl rand -hex 32 >"$LAB/pmtud.key")
    restart_as relay "${FABRICS[@]}"
    n=${SERVERS[0]}
    show "s$n# grep -A9 pmtud config.toml" grep -A9 '^\[pmtud\]' "$LAB/s$n/config.toml"
    for fabric in "${FABRICS[@]}"; do
        for family in "${FAMILIES[@]}"; do none_stalls relay "$fabric" "$family"; done
    done
}

chapter_seen() {
    local fabric=${FABRICS[0]} n first='' other='' here relayed=0 injected=0 address
    address=${SERVICE[$fabric-v4]}
    step "What an operator sees (${SAID[$fabric]})"
    for n in ${MEMBERS[$fabric]}; do
        here=$(counted "$n" packets_total relayed)
        if ((here > 0)); then first=${first:-$n}; else other=$n; fi
        relayed=$((relayed + here))
        injected=$((injected + $(counted "$n" relay_received_total injected)))
    done
    [[ -n $first ]] || failed 'a server to count errors as relayed'
    say "The router's errors reach s$first: some are about its own connections, and repeats are not sent on."
    show "s$first# anycaster status" anycaster "$first" status
    show "s$first# curl … /metrics | grep pmtud_packets_total | grep -v ' 0\$'" metrics_above_zero "$first" packets_total
    if [[ -n $other ]]; then
        say "s$other hears of each, and takes those whose connection it has."
        show "s$other# curl … /metrics | grep pmtud_relay_received_total | grep -v ' 0\$'" metrics_above_zero "$other" relay_received_total
    fi
    # One that came late, after its connection had ended, is for nobody.
    ((injected <= relayed && injected * 10 >= relayed * 9)) ||
        failed "each of $relayed errors relayed to meet its connection on one member; $injected did"
    good "$injected of $relayed errors relayed met their connection, each on one of the three other members"
    show "s$first# anycaster explain $address" anycaster "$first" explain "$address"
    for n in ${MEMBERS[$fabric]}; do expect 5 "s$n: anycaster status says all is well" all_is_well "$n"; done
}
metrics_above_zero() { metrics "$@" | grep -v ' 0$'; }

chapter_broadcast() {
    local family
    [[ " ${FABRICS[*]} " == *' shared '* ]] || return 0
    step 'With mode = "broadcast": one Ethernet frame to everybody on the segment'
    restart_as broadcast shared
    for family in "${FAMILIES[@]}"; do none_stalls broadcast shared "$family"; done
}

# Without BGP from the hosts: the ToR has static routes, the relay runs alone.
chapter_alone() {
    local family n far hops
    [[ " ${FABRICS[*]} " == *' routed '* ]] || return 0
    step 'anycaster pmtud: the relay alone, on hosts whose addresses are announced by other means (here: static routes of the ToR)'
    withdraw routed
    for family in "${FAMILIES[@]}"; do
        far=far${family#v} hops=()
        for n in ${MEMBERS[routed]}; do hops+=("$("$far" "$n")"); done
        route tor "${SERVICE[routed-$family]}" "${hops[@]}"
    done
    for n in ${MEMBERS[routed]}; do
        MODE[$n]=relay
        {
            pmtud_config "$n"
            printf 'prefixes   = ["%s", "%s"]\n' "${SERVICE[routed-v4]}" "${SERVICE[routed-v6]}"
        } >"$LAB/s$n/pmtud.toml"
        spawn "anycaster-s$n" "s$n" "$LAB/s$n/anycaster.log" \
            "$ANYCASTER" pmtud -c "$LAB/s$n/pmtud.toml" --socket "$LAB/s$n/control.sock"
    done
    for n in ${MEMBERS[routed]}; do wait_for 5 "s$n" relays "$n" || failed "anycaster pmtud on s$n to listen on UDP port 5141"; done
    show 's1# cat pmtud.toml' cat "$LAB/s1/pmtud.toml"
    for family in "${FAMILIES[@]}"; do none_stalls alone routed "$family"; done
    show 's1# anycaster status' anycaster 1 status
}

# ---- the end

cell() {
    local stalled median max
    if [[ -z ${CELL[$*]-} ]]; then
        printf -- -
        return
    fi
    read -r stalled median max <<<"${CELL[$*]}"
    printf '%-4d %s / %s' "$stalled" "$median" "$max"
}
table() {
    local row fabric family
    printf '\n   %sstalled of %d, median / last of the others in ms%s\n' "$BOLD" "$CONNECTIONS" "$PLAIN"
    {
        printf '%-12s' ''
        for fabric in "${FABRICS[@]}"; do
            for family in "${FAMILIES[@]}"; do printf '%-22s' "$fabric ${SAID[$family]}"; done
        done
        for row in none relay broadcast alone; do
            printf '\n%-12s' "${ROW[$row]}"
            for fabric in "${FABRICS[@]}"; do
                for family in "${FAMILIES[@]}"; do printf '%-22s' "$(cell "$row" "$fabric" "$family")"; done
            done
        done
        printf '\n'
    } | sed -e 's/^/   /' -e 's/ *$//'
}

explore() {
    local fabric=${FABRICS[0]} n=${SERVERS[0]}
    cat <<TEXT

The lab is up. To explore (as root):
  client   ip netns exec $(ns client) $HERE/lib/pmtud-client ${SERVICE[$fabric-v4]} 10.111.0.1 --count 50    # next time 10.111.1.1
  errors   ip netns exec $(ns "s$n") nstat -az 'Icmp*InErrors'
           ip netns exec $(ns tor) tcpdump -ni r2 'icmp[0] == 3 or icmp6[0] == 2'
           ip netns exec $(ns "s$n") tcpdump -ni eth0 udp port 5141
  server   $ANYCASTER status --socket $LAB/s$n/control.sock
           tail -f $LAB/s$n/anycaster.log
  router   $(router_shell)
  remove   $HERE/run --down
TEXT
}

story() {
    local began
    began=$(now_ms)
    chapter_path
    chapter_hole
    chapter_relay
    chapter_seen
    chapter_broadcast
    chapter_alone
    table
    printf '\n%sAll as expected, in %d s.%s\n' "$BOLD" "$((($(now_ms) - began) / 1000))" "$PLAIN"
}
