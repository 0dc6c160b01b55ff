#!/usr/bin/env bash
# Runs tests that are built as an ordinary user, which is another thing for the sandbox than root: namespaces are made
# by way of a user namespace, and plugins keep the agent's user. Does nothing but say so where it isn't run as root.
#
#   Scripts/test-as-user.sh                    the tests of both executors
#   Scripts/test-as-user.sh 'SandboxSecrets'   those whose name the expression matches
set -euo pipefail
cd "$(dirname "$0")/.."

filter=${1:-PluginExecutionTests}
if [ "$(id -u)" -ne 0 ]; then
    echo "this is an ordinary user already: its tests are those of 'make test'"
    exit 0
fi
built=.build/debug
tests=$built/runbook-agentPackageTests.xctest
[ -x "$tests" ] || { echo "build them first: swift build --build-tests" >&2; exit 1; }

# The checkout may lie where no one else may go.
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
chmod 755 "$folder"
cp "$tests" "$built/runbook-agent" "$built/runbook-backend" "$folder/"
chmod 755 "$folder"/*
mkdir -m 777 "$folder/home"

cd "$folder/home"
HOME=$folder/home setpriv --reuid=65534 --regid=65534 --clear-groups --inh-caps=-all \
    "$folder/$(basename "$tests")" --testing-library swift-testing --filter "$filter"
