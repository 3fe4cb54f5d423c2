#!/bin/sh
# Ends the process that a pid file names, if it is still the registry that was started with this configuration.
# Usage: stop-registry.sh PID_FILE CONFIG_FILE
set -u
pid_file=$1
config=$2
[ -s "$pid_file" ] || exit 0
pid=$(cat "$pid_file")
# The number may belong to another program by now.
if tr '\0' '\n' <"/proc/$pid/cmdline" 2>/dev/null | grep -qxF "$config"; then
    kill "$pid"
    tries=0
    while kill -0 "$pid" 2>/dev/null && [ "$tries" -lt 50 ]; do
        sleep 0.1
        tries=$((tries + 1))
    done
    kill -9 "$pid" 2>/dev/null
fi
rm -f "$pid_file"
exit 0
