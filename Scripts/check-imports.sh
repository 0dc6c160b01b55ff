#!/usr/bin/env bash
# Refuses an import that Package.swift doesn't declare, and an import of a C library outside its one target.
#
# The compiler finds modules of the whole build folder, so an import that isn't declared builds by luck.
set -euo pipefail
cd "$(dirname "$0")/.."

system='Foundation|FoundationEssentials|Glibc|Dispatch|Synchronization|Testing|Swift|PackageDescription'
packages=$(mktemp)
trap 'rm -f "$packages"' EXIT
swift package dump-package >"$packages"

failed=0
complain() { echo "$1" >&2; failed=1; }

# A line a dependency: target, then the module's name. Read from the manifest itself.
declared=$(awk '
    /^  "targets" : \[/ { in_targets = 1 }
    !in_targets { next }
    /"dependencies" : \[/ { in_dependencies = 1 }
    in_dependencies && /"(byName|product|target)" : \[/ { getline; gsub(/[",]|^ +| +$/, ""); names[++count] = $0 }
    /^      "name" : / {
        gsub(/[",]|"name" : |^ +| +$/, ""); sub(/^name : /, "")
        for (i = 1; i <= count; i++) print $0, names[i]
        print $0, ""
        count = 0; in_dependencies = 0
    }' "$packages")

allowed() { # target module
    [[ "$2" =~ ^($system)$ ]] && return 0
    [ "$1" = "$2" ] && return 0
    grep -qxF "$1 $2" <<<"$declared" && return 0
    return 1
}

# What stands before a module's name: `@preconcurrency public import struct `.
before='(@[A-Za-z_]+(\([^)]*\))? +)*((public|package|internal|private|fileprivate) +)?import +((struct|class|enum|func|protocol|let|var|typealias) +)?'

while IFS=: read -r file _ line; do
    folder=${file#*/}
    target=${folder%%/*}
    module=$(sed -E "s/^$before([A-Za-z_0-9]+).*/\\7/" <<<"$line")
    allowed "$target" "$module" || complain "$file imports $module, which Package.swift does not declare for $target"
done < <(grep -rnE "^$before" Sources Tests --include='*.swift')

only_importer() { # module target
    local others
    others=$(grep -rlE "^[[:space:]]*$before$1\b" Sources --include='*.swift' |
        grep -v "^Sources/$2/" || true)
    [ -z "$others" ] || complain "$1 may only be imported by $2, and is by: $others"
}
only_importer CPython PythonEmbedding
only_importer CCurl BackendClient
only_importer COpenSSL Cryptography
only_importer CCallTrace RunJournal
only_importer CProcess Agent
only_importer CInitProcess runbook-agent
only_importer CSignals Agent
only_importer CSandbox Sandbox

exit $failed
