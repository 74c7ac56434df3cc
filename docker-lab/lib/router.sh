# shellcheck shell=bash
# The top-of-rack router: FRR or BIRD (below), GoBGP or OpenBGPD (router-rib.sh), started by hand in the ToR's namespace with
# everything it writes under $LAB/tor. Each router_* function does the same for any.

ROUTER=frr
declare -A ROUTER_NAME=([frr]=FRR [bird]=BIRD [gobgp]=GoBGP [openbgpd]=OpenBGPD)
FRR_BIN=/usr/lib/frr

# Does it install kernel routes here? Where not, its RIB is what the story looks at.
router_installs() { [[ $ROUTER == frr || $ROUTER == bird ]]; }
router_start() { "${ROUTER}_start"; }
# The sessions, as the router prints them.
router_sessions() { "${ROUTER}_sessions"; }
# router_established N: is the session with server N up?
router_established() { "${ROUTER}_established" "$1"; }
# router_ups N: how often it came up since the start.
router_ups() { "${ROUTER}_ups" "$1"; }
# router_last_reset N: why it last went down.
router_last_reset() { "${ROUTER}_last_reset" "$1"; }
# router_next_hops ADDRESS: what the ToR's kernel has for it, or what its RIB would use; one next hop a line, sorted.
router_next_hops() { if router_installs; then kernel_next_hops "$1"; else { "${ROUTER}_next_hops" "$1" || true; } | sort; fi; }
# router_has_next_hops ADDRESS N…: exactly those of the servers N…
router_has_next_hops() {
    local address=$1 n wanted=''
    shift
    for n in "$@"; do wanted+=$(via "$n" "$address")$'\n'; done
    [[ $(router_next_hops "$address") == "$(printf '%s' "$wanted" | sort)" ]]
}
# What a person would type to see these, and to look around.
router_sessions_prompt() { "${ROUTER}_sessions_prompt"; }
router_reset_prompt() { "${ROUTER}_reset_prompt" "$1"; }
router_shell() { "${ROUTER}_shell"; }
# What the router waits by itself before it acts, if it does.
router_own_delay() { "${ROUTER}_own_delay"; }

router_report() {
    local address
    router_sessions || true
    for address in "${ADDRESSES[@]}"; do
        printf '%s: %s\n' "$(host_route "$address")" "$(router_next_hops "$address" | tr '\n' ' ')"
    done
    ip -n "$(ns tor)" neighbor show || true
}

router_has_reset() { router_last_reset "$1" | grep -qiE "$2"; }

# ---- FRR

frr_config() {
    local n
    cat <<CONF
hostname tor
log file $LAB/tor/bgpd.log
log timestamp precision 3
!
ip prefix-list ANYCAST seq 5 permit 192.0.2.0/24 ge 32
ipv6 prefix-list ANYCAST seq 5 permit 2001:db8::/32 ge 128
!
route-map FROM-SERVER permit 10
 match ip address prefix-list ANYCAST
route-map FROM-SERVER6 permit 10
 match ipv6 address prefix-list ANYCAST
 set ipv6 next-hop prefer-global
route-map TO-SERVER deny 10
!
router bgp $TOR_AS
 bgp router-id 10.97.0.1
 bgp log-neighbor-changes
 no bgp default ipv4-unicast
 bgp bestpath as-path multipath-relax
 neighbor SERVERS peer-group
 neighbor SERVERS timers 3 9
 neighbor SERVERS timers connect 1
 neighbor SERVERS advertisement-interval 0
 neighbor SERVERS passive
CONF
    for n in "${SERVERS[@]}"; do
        printf ' neighbor %s remote-as %s\n' "$(far4 "$n")" "$(server_as "$n")"
        printf ' neighbor %s peer-group SERVERS\n' "$(far4 "$n")"
        printf ' neighbor %s description s%s\n' "$(far4 "$n")" "$n"
    done
    cat <<'CONF'
 address-family ipv4 unicast
  neighbor SERVERS activate
  neighbor SERVERS route-map FROM-SERVER in
  neighbor SERVERS route-map TO-SERVER out
  maximum-paths 64
 exit-address-family
 address-family ipv6 unicast
  neighbor SERVERS activate
  neighbor SERVERS route-map FROM-SERVER6 in
  neighbor SERVERS route-map TO-SERVER out
  maximum-paths 64
 exit-address-family
CONF
}

frr_start() {
    local dir=$LAB/tor daemon
    mkdir "$dir"
    printf 'hostname tor\nlog file %s/zebra.log\nlog timestamp precision 3\n' "$dir" >"$dir/zebra.conf"
    frr_config >"$dir/bgpd.conf"
    chown -R frr:frr "$dir"
    for daemon in zebra bgpd; do
        in_ns tor "$FRR_BIN/$daemon" -d -P 0 -z "$dir/zserv.api" --vty_socket "$dir" \
            -f "$dir/$daemon.conf" -i "$dir/$daemon.pid" >"$dir/$daemon.start.log" 2>&1 </dev/null 9>&- ||
            failed "$daemon to start"
        wait_for 5 "$daemon" frr_command 'show version' || failed "$daemon to answer vtysh"
    done
}

frr_command() { vtysh --vty_socket "$LAB/tor" -c "$1"; }
frr_shell() { printf 'vtysh --vty_socket %s' "$LAB/tor"; }
frr_sessions() { frr_command 'show bgp ipv4 unicast summary' | grep -E '^(Neighbor|[0-9]+\.)'; }
frr_sessions_prompt() { printf "tor# vtysh -c 'show bgp ipv4 unicast summary'"; }
frr_neighbor() { frr_command "show bgp neighbors $(far4 "$1")"; }
frr_established() { frr_neighbor "$1" | grep -q 'BGP state = Established'; }
frr_ups() { frr_neighbor "$1" | sed -n 's/.*Connections established \([0-9]*\);.*/\1/p'; }
frr_last_reset() { frr_neighbor "$1" | grep -E 'Last reset|Message:' | sed 's/^ *//'; }
frr_reset_prompt() { printf "tor# vtysh -c 'show bgp neighbors %s'" "$(far4 "$1")"; }
frr_own_delay() {
    say 'After the update the time is the router: FRR gathers changes before it acts, 50 ms in bgpd and 10 ms in zebra'
    say '(column Hold). BIRD does not wait: with --router bird the next hop leaves as the update arrives.'
    show "tor# vtysh -c 'show work-queues'" frr_work_queues
}
frr_work_queues() { frr_command 'show work-queues' | grep -E 'Hold|process_queue|route_node'; }

# ---- BIRD

bird_config() {
    local n
    cat <<CONF
log "$LAB/tor/bird.log" all;
timeformat log iso long ms;
router id 10.97.0.1;
protocol device {}
protocol direct { ipv4; ipv6; interface "h*", "cl"; }
protocol kernel kernel4 { merge paths yes limit 64; ipv4 { import none; export where source = RTS_BGP; }; }
protocol kernel kernel6 { merge paths yes limit 64; ipv6 { import none; export where source = RTS_BGP; }; }
filter anycast4 { if net ~ [ 192.0.2.0/24{32,32} ] then accept; reject; }
filter anycast6 { if net ~ [ 2001:db8::/32{128,128} ] then accept; reject; }
template bgp server {
    local as $TOR_AS;
    passive yes;
    hold time 9;
    keepalive time 3;
    error wait time 1, 1;
    debug { states };
    ipv4 { import filter anycast4; export none; };
    ipv6 { import filter anycast6; export none; };
}
CONF
    for n in "${SERVERS[@]}"; do
        printf 'protocol bgp s%d from server { neighbor %s as %d; source address %s; }\n' \
            "$n" "$(far4 "$n")" "$(server_as "$n")" "$(tor4 "$n")"
    done
}

bird_start() {
    local dir=$LAB/tor
    mkdir "$dir"
    bird_config >"$dir/bird.conf"
    spawn bird tor "$dir/start.log" bird -f -c "$dir/bird.conf" -s "$dir/bird.ctl"
    disown "$SPAWNED"
    wait_for 5 bird bird_command 'show status' || failed 'bird to answer birdc'
}

bird_command() { birdc -s "$LAB/tor/bird.ctl" "$1" | sed 1d; }
bird_shell() { printf 'birdc -s %s' "$LAB/tor/bird.ctl"; }
bird_sessions() { bird_command 'show protocols' | grep -E '^(Name|s[0-9])'; }
bird_sessions_prompt() { printf 'tor# birdc show protocols'; }
bird_established() { bird_command "show protocols s$1" | grep -q Established; }
bird_ups() { grep -c "s$1: State changed to up" "$LAB/tor/bird.log" || true; }
bird_last_reset() { grep -E "s$1: (Received|Error|Sent)" "$LAB/tor/bird.log" | tail -n 1; }
bird_reset_prompt() { printf 'tor# grep "s%d: Received" bird.log' "$1"; }
bird_own_delay() { :; }
