#!/bin/sh
# Runs the demonstration from where Proximux was built. Ctrl-C ends it, and nothing stays behind.
set -eu

etc=$(cd "$(dirname "$0")" && pwd)
proximux=${PROXIMUX:-./proximux}
[ -x "$proximux" ] || { echo "demo.sh: $proximux is not there; run make first" >&2; exit 1; }

echo 'The status page is at http://127.0.0.1:8404/; and behind three listeners at :8080, :8081 and :8082.'
exec "$proximux" -c "$etc/demo.conf"
