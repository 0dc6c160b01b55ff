#!/usr/bin/env bash
# Checks the Python that is built into the agent, or formats it: with ruff, where that is installed. It is no package of
# Debian 12 (`pipx install ruff`); without it the tests still execute every file.
#
#   Scripts/check-python.sh           the format and the rules of ruff.toml
#   Scripts/check-python.sh format    formats the files
set -euo pipefail
cd "$(dirname "$0")/.."

folders=(Sources/Plugins/PythonEmbedding/Python Tests/PythonEmbeddingTests/Python Benchmarks/processes.py)
if ! command -v ruff >/dev/null; then
    echo "ruff is not installed: the embedded Python is not checked"
elif [ "${1:-check}" = format ]; then
    ruff format "${folders[@]}"
else
    ruff format --check "${folders[@]}"
    ruff check "${folders[@]}"
fi
