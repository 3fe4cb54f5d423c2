#!/bin/sh
# Starts a registry that outlives the ssh session it was started from, unless it runs already.
# Usage: start-registry.sh PID_FILE LOG_FILE COMMAND... CONFIG_FILE
set -eu
pid_file=$1
log_file=$2
shift 2
for config in "$@"; do :; done
# The number may belong to another program by now.
if [ -s "$pid_file" ] && tr '\0' '\n' <"/proc/$(cat "$pid_file")/cmdline" 2>/dev/null | grep -qxF "$config"; then
    echo "runs already as process $(cat "$pid_file")"
    exit 0
fi
umask 077
rm -f "$pid_file"
# shellcheck disable=SC2016  # the inner shell expands them
setsid --fork sh -c 'echo $$ >"$0"; exec "$@"' "$pid_file" "$@" </dev/null >>"$log_file" 2>&1
# setsid returns before its child has left our session: a terminal that closes now would hang it up.
tries=0
while [ ! -s "$pid_file" ] && [ "$tries" -lt 600 ]; do
    sleep 0.1
    tries=$((tries + 1))
done
