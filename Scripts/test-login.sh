#!/usr/bin/env bash
# Tests the login with what isn't ours, from Tests/LoginTests: a real browser, a foreign authorization server.
#
#   Scripts/test-login.sh [ARGUMENT…]      arguments are pytest's, such as -k denied
#
# Installs the Debian packages that are missing, saying so first; Python's packages go into .build/login.
set -euo pipefail
cd "$(dirname "$0")/.."

Scripts/install-dependencies.sh login

requirements=Tests/LoginTests/requirements.txt
environment=.build/login
# Made anew where the requirements changed: what is installed is what is pinned.
if ! cmp -s "$requirements" "$environment/requirements.txt"; then
    echo "Installing $requirements into $environment"
    rm -rf "$environment"
    python3 -m venv "$environment"
    "$environment/bin/pip" install --quiet --disable-pip-version-check --requirement "$requirements"
    cp "$requirements" "$environment/requirements.txt"
fi

swift build --product runbook-agent
swift build --product runbook-backend
RUNBOOK_BIN=$(swift build --show-bin-path)
export RUNBOOK_BIN

exec "$environment/bin/python" -B -m pytest -p no:cacheprovider Tests/LoginTests "$@"
