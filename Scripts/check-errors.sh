#!/usr/bin/env bash
# Every error code in the sources has a row in docs/errors.md, and every row has a code in the sources.
set -euo pipefail
cd "$(dirname "$0")/.."

# Codes stand in the sources as string literals of the shape "area.what_happened"; of the backend's, some are put
# together of a kind and an ending.
areas='administration|agent|api|backend|client|command|configuration|cryptography|device|executor|http|journal|login|outbox|plugin|python|request|route|run|sandbox|schedule|store|task'
composed='\.(not_found|already_exists)$'
in_sources=$(grep -rhoE "\"($areas)\.[a-z][a-z_0-9]*\"" Sources --include='*.swift' | tr -d '"' |
    grep -vE '\.(sqlite|json|py|ini|sealed|lock)$' | sort -u)
in_docs=$(grep -oE "^\| \`($areas)\.[a-z][a-z_0-9]*\`" docs/errors.md | tr -d '|` ' | sort -u)

failed=0
while read -r code; do
    [ -z "$code" ] || { echo "docs/errors.md has no row for $code" >&2; failed=1; }
done < <(comm -23 <(echo "$in_sources") <(echo "$in_docs"))
while read -r code; do
    [ -z "$code" ] || { echo "docs/errors.md has a row for $code, which no source names" >&2; failed=1; }
done < <(comm -13 <(echo "$in_sources") <(echo "$in_docs") | grep -vE "$composed")
exit $failed
