#!/usr/bin/env bash
# Starts the backend and the agent on this host with the files of Examples/quickstart, shows what they do, and stops
# both at Ctrl-C.
#
#   Scripts/demo.sh            until Ctrl-C
#   Scripts/demo.sh --check    until both results are stored; exits 1 if they aren't within three minutes
#
# CONFIGURATION=release builds both as they are installed.
set -euo pipefail
cd "$(dirname "$0")/.."

check=no
[ "${1:-}" = "--check" ] && check=yes
example=Examples/quickstart

echo "Building the agent, the backend and the client; the first time takes some minutes."
flags=()
[ "${CONFIGURATION:-debug}" = release ] && flags=(-c release --static-swift-stdlib)
swift build ${flags[@]+"${flags[@]}"} --product runbook-agent
swift build ${flags[@]+"${flags[@]}"} --product runbook-backend
swift build ${flags[@]+"${flags[@]}"} --product runbook
bin=$(swift build ${flags[@]+"${flags[@]}"} --show-bin-path)

work=$(mktemp -d "${TMPDIR:-/tmp}/runbook-demo.XXXXXX")
log=$work/log
: >"$log"
backend= agent= stopped=no

# Lines get a name in front and go to the screen and to the log. Ctrl-C is for this script alone.
label() { trap '' INT; sed -u "s/^/$1  /" | tee -a "$log"; }

stop() {
    [ "$stopped" = no ] || return 0
    stopped=yes
    trap '' INT TERM
    echo
    if [ -n "$agent" ] && kill -TERM "$agent" 2>/dev/null; then
        wait "$agent" || true
        echo "Stopped the agent (process $agent)."
    fi
    if [ -n "$backend" ] && kill -TERM "$backend" 2>/dev/null; then
        wait "$backend" || true
        echo "Stopped the backend (process $backend)."
    fi
    rm -rf "$work"
    echo "Removed the demo's data in $work."
}
trap stop EXIT
trap 'exit 0' INT TERM

wait_for() { # seconds, pattern, what for
    local end=$((SECONDS + $1))
    until grep -qE "$2" "$log"; do
        if ! kill -0 "$backend" 2>/dev/null; then echo "The backend ended; see above." >&2; exit 1; fi
        if [ -n "$agent" ] && ! kill -0 "$agent" 2>/dev/null; then echo "The agent ended; see above." >&2; exit 1; fi
        if [ $SECONDS -ge $end ]; then echo "$3 did not come within $1 seconds." >&2; exit 1; fi
        sleep 0.2
    done
}

setsid "$bin/runbook-backend" serve --init --listen 127.0.0.1:0 --data "$work/backend" --seed "$example" \
    > >(label "backend") 2>&1 &
backend=$!
wait_for 30 'listens on http' "The backend's address"
address=$(grep -oE 'listens on http[^ ]*' "$log" | head -n 1 | cut -d ' ' -f 3)

RUNBOOK_AGENT_SERVER_URL=$address RUNBOOK_AGENT_PLUGIN_DIRECTORY=$work/plugins \
    RUNBOOK_AGENT_STATE_DIRECTORY=$work/state RUNBOOK_AGENT_KEY_FILE=$work/login.key \
    setsid "$bin/runbook-agent" run --config "$example/config.ini" > >(label "agent  ") 2>&1 &
agent=$!

# What an administrator does on the page of the backend, or so on its host.
wait_for 60 'agent .*enter the code ' "The agent's code"
code=$(grep -oE 'enter the code [^ ]+' "$log" | head -n 1 | awk '{ print $NF }')
name=$(grep -oE '"id": *"[^"]+"' "$example/agent.json" | head -n 1 | cut -d '"' -f 4)
approve=(device approve "$code" --agent "$name" --data "$work/backend")
echo "The agent asks to be let in with the code $code. This demo approves that by itself:"
echo "+ runbook-backend ${approve[*]}"
"$bin/runbook-backend" "${approve[@]}" 2>&1 | label "approve"

# And what an operator does, on whatever computer: a command, and its result.
wait_for 60 'backend .*result stored.*Hello from the Test Plugin!' "The result of greet"
RUNBOOK_TOKEN=$(grep -oE 'rba_[0-9a-f]+' "$log" | head -n 1)
export RUNBOOK_URL=$address RUNBOOK_TOKEN
echo '+ runbook run "Test Agent" greet'
begin=${EPOCHREALTIME/[.,]/}
"$bin/runbook" run "Test Agent" greet 2>&1 | label "runbook"
end=${EPOCHREALTIME/[.,]/}
echo "That took $(((end - begin) / 1000)) ms, from the key press to the result."

if [ "$check" = yes ]; then
    wait_for 120 'backend .*result stored.*The square of 2 is 4' "The result of square"
    echo "Both results are stored."
    exit 0
fi

echo "Press Ctrl-C to stop. The files in $example can be edited; then run this again."
wait "$agent" || true
echo "The agent ended; see above." >&2
exit 1
