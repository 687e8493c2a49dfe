#!/bin/sh
# Runs the demonstration from where Proximux was built: a web server of one page on 127.0.0.1:8081 and Proximux in
# front of it. Ctrl-C ends both, and nothing stays behind.
set -eu
unset http_proxy

etc=$(cd "$(dirname "$0")" && pwd)
proximux=${PROXIMUX:-./proximux}
[ -x "$proximux" ] || { echo "demo.sh: $proximux is not there; run make first" >&2; exit 1; }
command -v busybox >/dev/null || { echo 'demo.sh: busybox is missing (Debian: apt-get install busybox)' >&2; exit 1; }

page=$(mktemp -d)
web=''
proxy=''
clean_up() {
    for process in $proxy $web; do
        kill "$process" 2>/dev/null || :
    done
    rm -rf "$page"
}
trap clean_up EXIT
# Ctrl-C reaches Proximux as well, which drains; other ends are handed on to it by clean_up.
trap : INT
trap 'exit 1' HUP TERM

chmod 755 "$page"
echo 'Hello from the server behind Proximux.' >"$page/index.html"
busybox httpd -f -p 127.0.0.1:8081 -h "$page" &
web=$!
tries=0
until busybox wget -q -O - http://127.0.0.1:8081/ 2>/dev/null | grep -q Proximux; do
    tries=$((tries + 1))
    if ! kill -0 "$web" 2>/dev/null || [ $tries -ge 50 ]; then
        echo 'demo.sh: the web server did not start' >&2
        exit 1
    fi
    sleep 0.1
done

"$proximux" -c "$etc/demo.conf" &
proxy=$!
# A signal ends wait early: what counts is the end of Proximux.
while kill -0 "$proxy" 2>/dev/null; do
    status=0
    wait "$proxy" || status=$?
done
proxy=''
exit "$status"
