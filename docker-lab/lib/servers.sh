# shellcheck shell=bash
# What runs on a server: nginx (web), dnsmasq (dns) and anycaster. Each server answers with its own name.

WEB_PORT=80
ANYCASTER='' # the program; set by run

# ---- web

web_config() {
    cat <<CONF
daemon off;
worker_processes 1;
pid $LAB/s$1/nginx.pid;
error_log $LAB/s$1/nginx.log;
events { worker_connections 256; }
http {
    access_log off;
    client_body_temp_path $LAB/s$1/nginx;
    proxy_temp_path $LAB/s$1/nginx;
    fastcgi_temp_path $LAB/s$1/nginx;
    uwsgi_temp_path $LAB/s$1/nginx;
    scgi_temp_path $LAB/s$1/nginx;
    keepalive_timeout 0;
    server {
        listen $WEB4:$WEB_PORT;
        listen [$WEB6]:$WEB_PORT;
        default_type text/plain;
        location / { return 200 "s$1\n"; }
    }
}
CONF
}
web_start() {
    web_config "$1" >"$LAB/s$1/nginx.conf"
    spawn "nginx-s$1" "s$1" "$LAB/s$1/nginx.log" nginx -c "$LAB/s$1/nginx.conf" -e "$LAB/s$1/nginx.log"
    disown "$SPAWNED"
}
web_answers() { in_ns "s$1" curl -sf --max-time 1 "http://$WEB4:$WEB_PORT/"; }

# ---- dns

dns_config() {
    cat <<CONF
no-resolv
no-hosts
bind-interfaces
listen-address=$DNS4
listen-address=$DNS6
local=/lab/
txt-record=whoami.lab,s$1
user=nobody
group=nogroup
log-facility=$LAB/s$1/dnsmasq.log
CONF
}
dns_start() {
    dns_config "$1" >"$LAB/s$1/dnsmasq.conf"
    spawn "dnsmasq-s$1" "s$1" "$LAB/s$1/dnsmasq.log" dnsmasq --keep-in-foreground \
        --conf-file="$LAB/s$1/dnsmasq.conf" --pid-file="$LAB/s$1/dnsmasq.pid"
    disown "$SPAWNED"
}
dns_answers() { in_ns "s$1" dig -b "$DNS4" "@$DNS4" +short +tries=1 +time=1 whoami.lab TXT | grep -q "s$1"; }

# ---- anycaster

anycaster_config() {
    cat <<CONF
[router]
asn       = $(server_as "$1")
state-dir = "$LAB/s$1/state"
control   = "$LAB/s$1/control.sock"
http      = "off"

[neighbors.tor]
address       = "$(tor4 "$1")"
asn           = $TOR_AS
connect-retry = "1s"

[services.web]
prefixes = ["$WEB4", "$WEB6"]
binding  = { listen = ["tcp/$WEB_PORT"] }

[[services.web.checks]]
name          = "page"
type          = "http"
port          = $WEB_PORT
interval      = "1s"
fast-interval = "200ms"
rise          = 2
fall          = 2

[services.dns]
prefixes = ["$DNS4", "$DNS6"]
binding  = { listen = ["udp/53", "tcp/53"] }

[[services.dns.checks]]
name     = "whoami"
type     = "exec"
command  = ["$HERE/lib/check-dns"]
interval = "1s"
timeout  = "900ms"
CONF
}
anycaster_start() {
    mkdir -p "$LAB/s$1/state"
    anycaster_config "$1" >"$LAB/s$1/config.toml"
    spawn "anycaster-s$1" "s$1" "$LAB/s$1/anycaster.log" "$ANYCASTER" run -c "$LAB/s$1/config.toml"
}
# anycaster N COMMAND…: ask the daemon of server N.
anycaster() {
    local n=$1
    shift
    "$ANYCASTER" "$@" --socket "$LAB/s$n/control.sock"
}
# all_is_well N: `status` ends with 0 when all is announced that should be.
all_is_well() { anycaster "$1" status; }

# ---- the client

# ask_web ADDRESS COUNT, ask_dns ADDRESS COUNT: that many requests, each from a port of its own; one line an answer.
ask_web() {
    local url=http://$1:$WEB_PORT/ i urls=()
    [[ $1 != *:* ]] || url=http://[$1]:$WEB_PORT/
    for ((i = 0; i < $2; i++)); do urls+=("$url"); done
    in_ns client timeout 15 curl -sgS --fail-early --max-time 2 "${urls[@]}"
}
ask_dns() {
    local i queries=()
    for ((i = 0; i < $2; i++)); do queries+=(whoami.lab TXT); done
    in_ns client timeout 15 dig "@$1" +short +tries=1 +time=2 "${queries[@]}" | tr -d '"'
}
# spread KIND ADDRESS COUNT: "s1 21  s2 18  s3 21"
spread() { "ask_$1" "$2" "$3" | sort | uniq -c | awk '{ printf "%s%s ×%d", sep, $2, $1; sep = "   " }'; }

# requests KIND ADDRESS N…: sixty from the client, all answered, by exactly the servers N…; left out where the router
# forwards nothing
requests() {
    router_installs || return 0
    local kind=$1 address=$2 answers wanted
    shift 2
    answers=$(spread "$kind" "$address" 60) || failed "60 answers from $address"
    wanted=$(printf 's%s ' "$@")
    [[ $(tr -s ' ' '\n' <<<"$answers" | grep '^s' | tr '\n' ' ') == "$wanted" ]] ||
        failed "answers from exactly ${wanted% } at $address; there were: $answers"
    [[ $(tr -s ' ' '\n' <<<"$answers" | sed -n 's/^×//p' | awk '{ all += $1 } END { print all }') == 60 ]] ||
        failed "60 answers from $address; there were: $answers"
    good "60 requests to $address ($kind):   $answers"
}
