# shellcheck shell=bash
# The topology as facts, and as network namespaces:
#
#                          ┌─ s1  AS 65201
#     client ──── tor ─────┼─ s2  AS 65202
#               AS 65100   └─ s3  AS 65203
#
# Link N joins interface hN of the ToR and eth0 of server N: 10.97.N.1 — .2 /30, fd97:N::1 — ::2 /64. The client's link is
# number 100, interface cl. Every server holds all service addresses on lo.

SERVERS=(1 2 3)
TOR_AS=65100
CLIENT_LINK=100
WEB4=192.0.2.80 WEB6=2001:db8::80
DNS4=192.0.2.53 DNS6=2001:db8::53
ADDRESSES=("$WEB4" "$WEB6" "$DNS4" "$DNS6")

server_as() { printf '%d' $((65200 + $1)); }
tor4() { printf '10.97.%d.1' "$1"; }
far4() { printf '10.97.%d.2' "$1"; }
tor6() { printf 'fd97:%d::1' "$1"; }
far6() { printf 'fd97:%d::2' "$1"; }
# via N ADDRESS: server N's next hop for ADDRESS.
via() { if [[ $2 == *:* ]]; then far6 "$1"; else far4 "$1"; fi; }
host_route() { if [[ $1 == *:* ]]; then printf '%s/128' "$1"; else printf '%s/32' "$1"; fi; }

# A lab is a directory /run/anycaster-lab.ID and the namespaces acl-ID-*; so several run side by side. Its directory is
# locked (fd 9) for as long as its run lives.
LAB_PREFIX=/run/anycaster-lab.
LAB='' LAB_ID=''
ns() { printf 'acl-%s-%s' "$LAB_ID" "$1"; }
# in_ns NODE COMMAND…
in_ns() {
    local node=$1
    shift
    ip netns exec "$(ns "$node")" "$@"
}

lab_create() {
    LAB=$(mktemp -d "${LAB_PREFIX}XXXXXX")
    LAB_ID=${LAB#"$LAB_PREFIX"}
    chmod 755 "$LAB" # routers and services run as users of their own
    mkdir "$LAB/pids"
    exec 9>"$LAB/lock"
    flock -n 9
}

# nodes_up NODE…: a namespace for each.
nodes_up() {
    local node
    for node in "$@"; do
        ip netns add "$(ns "$node")" 2>"$LAB/error" ||
            die "cannot make network namespaces ($(tail -n 1 "$LAB/error")); in a container this needs --privileged"
        ip -n "$(ns "$node")" link set lo up
        # No duplicate address detection on our links. While it runs, for a second or two, a link-local address may not be
        # used, and neighbor solicitations for packets from elsewhere are sent from exactly that one: clients would wait.
        sysctl_in "$node" net/ipv6/conf/default/accept_dad 0
        sysctl_in "$node" net/ipv6/conf/default/dad_transmits 0
    done
}

# forwards NODE: it is a router that chooses among next hops by addresses and ports (policy 1), as hardware does.
forwards() {
    sysctl_in "$1" net/ipv4/ip_forward 1
    sysctl_in "$1" net/ipv6/conf/all/forwarding 1
    sysctl_in "$1" net/ipv4/fib_multipath_hash_policy 1
    sysctl_in "$1" net/ipv6/fib_multipath_hash_policy 1
}

topology_up() {
    local n address
    nodes_up client tor "${SERVERS[@]/#/s}"
    forwards tor
    link_up "$CLIENT_LINK" cl client
    for n in "${SERVERS[@]}"; do
        link_up "$n" "h$n" "s$n"
        mkdir "$LAB/s$n"
        for address in "${ADDRESSES[@]}"; do address_add "$n" "$address"; done
    done
}

# no_address_is_tentative: every interface may speak IPv6 by now.
no_address_is_tentative() {
    local node
    for node in client tor "${SERVERS[@]/#/s}"; do
        [[ -z $(ip -n "$(ns "$node")" -6 address show tentative) ]] || return 1
    done
}

sysctl_in() {
    # shellcheck disable=SC2016 # for the inner shell
    in_ns "$1" sh -c 'echo "$2" >"/proc/sys/$1"' sh "$2" "$3" 2>/dev/null || say "($2 cannot be set to $3 here)"
}

# link_up NUMBER TOR-INTERFACE NODE
link_up() {
    local n=$1 port=$2 tor far
    tor=$(ns tor) far=$(ns "$3")
    ip link add "$port" netns "$tor" type veth peer name eth0 netns "$far"
    ip -n "$tor" address add "$(tor4 "$n")/30" dev "$port"
    ip -n "$tor" address add "$(tor6 "$n")/64" dev "$port" nodad
    ip -n "$far" address add "$(far4 "$n")/30" dev eth0
    ip -n "$far" address add "$(far6 "$n")/64" dev eth0 nodad
    ip -n "$tor" link set "$port" up
    ip -n "$far" link set eth0 up
    ip -n "$far" route add default via "$(tor4 "$n")"
    ip -n "$far" route add default via "$(tor6 "$n")"
}

address_add() {
    local flags=()
    [[ $2 != *:* ]] || flags=(nodad)
    ip -n "$(ns "s$1")" address add "$(host_route "$2")" dev lo "${flags[@]}"
}

# spawn NAME NODE LOG COMMAND…: start it in a process group of its own, which outlives us if it must; its pid is in SPAWNED.
spawn() {
    local name=$1 node=$2 log=$3
    shift 3
    setsid ip netns exec "$(ns "$node")" "$@" >>"$log" 2>&1 </dev/null 9>&- &
    SPAWNED=$!
    printf '%d\n' "$SPAWNED" >"$LAB/pids/$name"
}
pid_of() { cat "$LAB/pids/$1"; }

# kernel_next_hops ADDRESS: what the ToR's kernel has for it, one next hop a line, sorted.
kernel_next_hops() {
    local family=-4
    [[ $1 != *:* ]] || family=-6
    ip -n "$(ns tor)" "$family" route show "$(host_route "$1")" 2>/dev/null | grep -o 'via [^ ]*' | cut -d' ' -f2 | sort || true
}

# lab_remove ID: processes, namespaces, directory. What runs in our namespaces is ours; their pids say so.
lab_remove() {
    local id=$1 name pids
    while read -r name _; do
        [[ $name == "acl-$id-"* ]] || continue
        for _ in 1 2 3 4 5; do
            pids=$(ip netns pids "$name" 2>/dev/null || true)
            [[ -n $pids ]] || break
            # shellcheck disable=SC2086 # one word a pid
            kill -9 $pids 2>/dev/null || true
            sleep 0.02
        done
        ip netns delete "$name" 2>/dev/null || true
    done < <(ip netns list 2>/dev/null)
    rm -rf "${LAB_PREFIX:?}${id:?}"
}

# lab_ids: every lab there is a trace of.
lab_ids() {
    local path
    {
        for path in "$LAB_PREFIX"*; do [[ ! -d $path ]] || printf '%s\n' "${path#"$LAB_PREFIX"}"; done
        ip netns list 2>/dev/null | sed -n 's/^acl-\([A-Za-z0-9]\{6\}\)-.*/\1/p'
    } | sort -u
}

# labs_down: remove every lab that no living run holds.
labs_down() {
    local id count=0
    for id in $(lab_ids); do
        if [[ -e $LAB_PREFIX$id/lock ]] && ! flock -n "$LAB_PREFIX$id/lock" true; then
            say "lab $id is running: left alone"
            continue
        fi
        lab_remove "$id"
        say "lab $id removed"
        count=$((count + 1))
    done
    ((count > 0)) || say 'no lab to remove'
}
