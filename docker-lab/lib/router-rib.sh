# shellcheck shell=bash
# GoBGP and OpenBGPD as top-of-rack router. Neither installs kernel routes here (GoBGP 3.10 does that through zebra, and
# panics with FRR 8.4's; OpenBGPD does it on BSD only): what they would use is in their RIB.

# ---- GoBGP

gobgp_config() {
    local n
    cat <<CONF
[global.config]
as = $TOR_AS
router-id = "10.97.0.1"
[global.use-multiple-paths.config]
enabled = true
[global.apply-policy.config]
import-policy-list = ["from-servers"]
default-import-policy = "reject-route"
default-export-policy = "reject-route"

[[defined-sets.prefix-sets]]
prefix-set-name = "anycast4"
prefix-list = [{ ip-prefix = "192.0.2.0/24", masklength-range = "32..32" }]
[[defined-sets.prefix-sets]]
prefix-set-name = "anycast6"
prefix-list = [{ ip-prefix = "2001:db8::/32", masklength-range = "128..128" }]
[[policy-definitions]]
name = "from-servers"
CONF
    for n in 4 6; do
        cat <<CONF
[[policy-definitions.statements]]
conditions.match-prefix-set.prefix-set = "anycast$n"
actions.route-disposition = "accept-route"
CONF
    done
    for n in "${SERVERS[@]}"; do
        cat <<CONF

[[neighbors]]
config = { neighbor-address = "$(far4 "$n")", peer-as = $(server_as "$n"), description = "s$n" }
transport.config = { passive-mode = true }
timers.config = { hold-time = 9, idle-hold-time-after-reset = 1 }
[[neighbors.afi-safis]]
config.afi-safi-name = "ipv4-unicast"
[[neighbors.afi-safis]]
config.afi-safi-name = "ipv6-unicast"
CONF
    done
}

gobgp_start() {
    local dir=$LAB/tor
    mkdir "$dir"
    gobgp_config >"$dir/gobgpd.toml"
    spawn gobgpd tor "$dir/gobgpd.log" gobgpd --log-plain --pprof-disable --api-hosts 127.0.0.1:50051 -f "$dir/gobgpd.toml"
    disown "$SPAWNED"
    wait_for 5 gobgpd gobgp_knows_all || failed 'gobgpd to answer gobgp'
}
gobgp_knows_all() { (($(gobgp_sessions | wc -l) == ${#SERVERS[@]} + 1)); }

gobgp_command() { in_ns tor gobgp "$@"; }
gobgp_shell() { printf 'ip netns exec %s gobgp global rib    # or: neighbor' "$(ns tor)"; }
gobgp_sessions() { gobgp_command neighbor; }
gobgp_sessions_prompt() { printf 'tor# gobgp neighbor'; }
gobgp_established() { gobgp_command neighbor "$(far4 "$1")" | grep -q 'BGP state = ESTABLISHED'; }
gobgp_ups() { grep -c "msg=\"Peer Up\" Key=$(far4 "$1") " "$LAB/tor/gobgpd.log" || true; }
gobgp_last_reset() { grep -E "Key=$(far4 "$1") .*(Subcode|Reason)=|Reason=.* Key=$(far4 "$1") " "$LAB/tor/gobgpd.log" | tail -n 2; }
gobgp_reset_prompt() { printf 'tor# grep Key=%s gobgpd.log' "$(far4 "$1")"; }
gobgp_own_delay() { :; }
gobgp_rib() { gobgp_command global rib "$(host_route "$1")" -a "$(if [[ $1 == *:* ]]; then printf ipv6; else printf ipv4; fi)"; }
gobgp_rib_prompt() { printf 'tor# gobgp global rib %s' "$(host_route "$1")"; }
# "*> 192.0.2.80/32  10.97.1.2  65201  00:00:04  […]": valid paths; the import policy lets no other in.
gobgp_next_hops() { gobgp_rib "$1" | awk '/^\*/ { print $3 }'; }

# ---- OpenBGPD

OPENBGPD=/usr/sbin/bgpd # FRR has a bgpd too

openbgpd_config() {
    local n
    cat <<CONF
AS $TOR_AS
router-id 10.97.0.1
fib-update no
rde evaluate all
holdtime 9
socket "$LAB/tor/bgpd.sock"
CONF
    for n in "${SERVERS[@]}"; do printf 'listen on %s\n' "$(tor4 "$n")"; done
    cat <<'CONF'
group "servers" {
    announce IPv4 unicast
    announce IPv6 unicast
    export none
    passive
CONF
    for n in "${SERVERS[@]}"; do
        printf '    neighbor %s {\n        remote-as %d\n        descr "s%d"\n    }\n' "$(far4 "$n")" "$(server_as "$n")" "$n"
    done
    cat <<'CONF'
}
allow from group "servers" prefix 192.0.2.0/24 prefixlen = 32
allow from group "servers" prefix 2001:db8::/32 prefixlen = 128
CONF
}

openbgpd_start() {
    local dir=$LAB/tor
    mkdir "$dir"
    mkdir -p /run/openbgpd # the home of its user, where its children are locked in
    openbgpd_config >"$dir/bgpd.conf"
    chmod 600 "$dir/bgpd.conf" # it refuses a file that others may read
    spawn openbgpd tor "$dir/bgpd.log" "$OPENBGPD" -d -v -f "$dir/bgpd.conf"
    disown "$SPAWNED"
    wait_for 5 bgpd openbgpd_knows_all || failed 'bgpd to answer bgpctl'
}
openbgpd_knows_all() { (($(openbgpd_sessions | wc -l) == ${#SERVERS[@]} + 1)); }

openbgpd_command() { bgpctl -s "$LAB/tor/bgpd.sock" "$@"; }
openbgpd_shell() { printf 'bgpctl -s %s/tor/bgpd.sock show rib    # or: neighbor' "$LAB"; }
openbgpd_sessions() { openbgpd_command show summary; }
openbgpd_sessions_prompt() { printf 'tor# bgpctl show summary'; }
openbgpd_established() { openbgpd_command show neighbor "$(far4 "$1")" | grep -q 'BGP state = Established'; }
openbgpd_ups() { grep -c "neighbor $(far4 "$1") .*: state change OpenConfirm -> Established" "$LAB/tor/bgpd.log" || true; }
openbgpd_last_reset() { openbgpd_command show neighbor "$(far4 "$1")" | grep -E 'Last (received|error)' | sed 's/^ *//'; }
openbgpd_reset_prompt() { printf 'tor# bgpctl show neighbor %s' "$(far4 "$1")"; }
openbgpd_own_delay() { :; }
openbgpd_rib() { openbgpd_command show rib "$(host_route "$1")" | sed -n '/^flags  *\|^[*]/p'; }
openbgpd_rib_prompt() { printf 'tor# bgpctl show rib %s' "$(host_route "$1")"; }
# The best path and those that ECMP would use beside it.
openbgpd_next_hops() {
    openbgpd_command show rib detail "$(host_route "$1")" |
        awk '$1 == "Nexthop" { hop = $2 } /^ *Origin .*, (best|ecmp)$/ { print hop }'
}
