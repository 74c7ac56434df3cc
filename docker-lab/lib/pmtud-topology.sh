# shellcheck shell=bash
# The topology of `run pmtud`, as facts and as network namespaces. What is defined here takes the place of what topology.sh
# defines under the same name.
#
#     client ─1500─ r1 ─1400─ r2 ─1500─ tor ─┬─ s1 … s4   routed: a link for each
#                                            └─ s5 … s8   shared: one bridge, br0 of the ToR
#
# r1 and r2 forward with their kernel alone: errors come from r2, since packets of 1500 do not fit on its link to r1.
# Server N of the routed fabric is as in topology.sh: 10.97.N.1 — .2 /30, fd97:N::1 — ::2 /64, interface hN of the ToR. On
# the bridge it is 10.98.0.N /24, fd98::N /64, and the ToR is 1. Between the routers: 10.99.N.1 — .2 /30, fd99:N::1 — ::2 /64.
# Clients are all of 10.96.0.0/12 and fd96::/32; each service address is on lo of the four servers of one fabric.

FABRICS=(shared routed)
declare -gA MEMBERS=([routed]='1 2 3 4' [shared]='5 6 7 8')
declare -gA SERVICE=([routed-v4]=192.0.2.80 [routed-v6]=2001:db8::80 [shared-v4]=192.0.2.81 [shared-v6]=2001:db8::81)
NARROW=1400

fabric_of() { if (($1 <= 4)); then printf routed; else printf shared; fi; }
tor4() { if (($1 <= 4)); then printf '10.97.%d.1' "$1"; else printf 10.98.0.1; fi; }
far4() { if (($1 <= 4)); then printf '10.97.%d.2' "$1"; else printf '10.98.0.%d' "$1"; fi; }
tor6() { if (($1 <= 4)); then printf 'fd97:%d::1' "$1"; else printf fd98::1; fi; }
far6() { if (($1 <= 4)); then printf 'fd97:%d::2' "$1"; else printf 'fd98::%d' "$1"; fi; }

# choose_fabrics: SERVERS and ADDRESSES are those of FABRICS.
choose_fabrics() {
    local fabric
    SERVERS=() ADDRESSES=()
    for fabric in "${FABRICS[@]}"; do
        # shellcheck disable=SC2206 # one word a server
        SERVERS+=(${MEMBERS[$fabric]})
        ADDRESSES+=("${SERVICE[$fabric-v4]}" "${SERVICE[$fabric-v6]}")
    done
}

# wire NODE INTERFACE NODE INTERFACE MTU. Without segmentation offload: a large segment in one piece is not what a link carries.
wire() {
    ip link add "$2" mtu "$5" netns "$(ns "$1")" type veth peer name "$4" mtu "$5" netns "$(ns "$3")"
    wire_end "$1" "$2"
    wire_end "$3" "$4"
}
wire_end() {
    in_ns "$1" ethtool -K "$2" tso off gso off gro off >/dev/null
    ip -n "$(ns "$1")" link set "$2" up
}

# number NODE INTERFACE ADDRESS…
number() {
    local node=$1 interface=$2 address flags
    shift 2
    for address in "$@"; do
        flags=()
        [[ $address != *:* ]] || flags=(nodad)
        ip -n "$(ns "$node")" address add "$address" dev "$interface" "${flags[@]}"
    done
}

# path N NODE INTERFACE NODE INTERFACE MTU: a link between two routers, or to the client.
path() {
    wire "${@:2}"
    number "$2" "$3" "10.99.$1.1/30" "fd99:$1::1/64"
    number "$4" "$5" "10.99.$1.2/30" "fd99:$1::2/64"
}

# route NODE PREFIX VIA…: several are ECMP.
route() {
    local node=$1 prefix=$2 hops=() via
    shift 2
    for via in "$@"; do hops+=(nexthop via "$via"); done
    ip -n "$(ns "$node")" route add "$prefix" "${hops[@]}"
}

topology_up() {
    local n node
    nodes_up client r1 r2 tor "${SERVERS[@]/#/s}"
    for node in r1 r2 tor; do forwards "$node"; done
    path 1 r1 client client eth0 1500
    path 2 r2 r1 r1 r2 "$NARROW"
    path 3 tor r2 r2 tor 1500

    # Every address of the two blocks is the client's.
    ip -n "$(ns client)" route add local 10.96.0.0/12 dev lo
    ip -n "$(ns client)" route add local fd96::/32 dev lo
    sysctl_in client net/ipv6/ip_nonlocal_bind 1
    route client default 10.99.1.1
    route client default fd99:1::1
    route r1 10.96.0.0/12 10.99.1.2
    route r1 fd96::/32 fd99:1::2
    route r1 default 10.99.2.1
    route r1 default fd99:2::1
    route r2 10.96.0.0/12 10.99.2.2
    route r2 fd96::/32 fd99:2::2
    route r2 default 10.99.3.1
    route r2 default fd99:3::1
    route tor default 10.99.3.2
    route tor default fd99:3::2

    if [[ " ${FABRICS[*]} " == *' shared '* ]]; then
        ip -n "$(ns tor)" link add br0 type bridge
        in_ns tor ethtool -K br0 tso off gso off gro off >/dev/null
        ip -n "$(ns tor)" link set br0 up
        number tor br0 "$(tor4 5)/24" "$(tor6 5)/64"
    fi
    for n in "${SERVERS[@]}"; do server_up "$n"; done
}

server_up() {
    local n=$1 port=h$1 length=30 interface
    wire tor "$port" "s$n" eth0 1500
    if [[ $(fabric_of "$n") == shared ]]; then
        ip -n "$(ns tor)" link set "$port" master br0
        length=24
    else
        number tor "$port" "$(tor4 "$n")/30" "$(tor6 "$n")/64"
    fi
    number "s$n" eth0 "$(far4 "$n")/$length" "$(far6 "$n")/64"
    number "s$n" lo "${SERVICE[$(fabric_of "$n")-v4]}/32" "${SERVICE[$(fabric_of "$n")-v6]}/128"
    route "s$n" default "$(tor4 "$n")"
    route "s$n" default "$(tor6 "$n")"
    for interface in all default lo eth0; do sysctl_in "s$n" "net/ipv4/conf/$interface/rp_filter" 1; done
    # As after a boot: DF is set, and TCP does not probe for black holes.
    sysctl_in "s$n" net/ipv4/ip_no_pmtu_disc 0
    sysctl_in "s$n" net/ipv4/tcp_mtu_probing 0
    mkdir "$LAB/s$n"
}
