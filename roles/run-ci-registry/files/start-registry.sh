#!/bin/sh
# Starts a registry that outlives the ssh session it was started from, unless it runs already.
# Usage: start-registry.sh PID_FILE LOG_FILE COMMAND...
set -eu
pid_file=$1
log_file=$2
shift 2
if [ -s "$pid_file" ] && kill -0 "$(cat "$pid_file")" 2>/dev/null; then
    echo "runs already as process $(cat "$pid_file")"
    exit 0
fi
umask 077
# shellcheck disable=SC2016  # the inner shell expands them
setsid --fork sh -c 'echo $$ >"$0"; exec "$@"' "$pid_file" "$@" </dev/null >>"$log_file" 2>&1
