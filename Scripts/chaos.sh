#!/usr/bin/env bash
# Builds the agent and has it killed again and again, or watched through very many runs.
#
#   Scripts/chaos.sh --kills 200 [--seed N]       counts what was lost or repeated; exits 1 where anything was
#   Scripts/chaos.sh soak [--runs 200000]         watches memory, threads and descriptors
#
# CONFIGURATION=release builds it as it is installed.
set -euo pipefail
cd "$(dirname "$0")/.."

configuration=${CONFIGURATION:-debug}
swift build -c "$configuration" --product runbook-agent
swift build -c "$configuration" --product chaos
# A plugin that crashes on purpose is no reason for a core dump.
ulimit -c 0
exec "$(swift build -c "$configuration" --show-bin-path)/chaos" "$@"
