#!/usr/bin/env bash
# Refuses an import that Package.swift doesn't declare, an import of a C library outside its one target, SQL of the
# backend outside its storage, and a dependency of a folder of `Sources` on one that stands below it in Package.swift.
#
# The compiler finds modules of the whole build folder, so an import that isn't declared builds by luck.
set -euo pipefail
cd "$(dirname "$0")/.."

system='Foundation|FoundationEssentials|Glibc|Dispatch|Synchronization|Testing|Swift|PackageDescription|PackagePlugin'
packages=$(mktemp)
trap 'rm -f "$packages"' EXIT
swift package dump-package >"$packages"

failed=0
complain() { echo "$1" >&2; failed=1; }

# A line for each dependency, target and module, and one for each target and its folder. Read from the manifest itself.
described=$(awk '
    /^  "targets" : \[/ { in_targets = 1 }
    !in_targets { next }
    /"dependencies" : \[/ { in_dependencies = 1 }
    in_dependencies && /"(byName|product|target)" : \[/ { getline; gsub(/[",]|^ +| +$/, ""); names[++count] = $0 }
    /^      "name" : / {
        gsub(/[",]|"name" : |^ +| +$/, ""); sub(/^name : /, ""); target = $0
        for (i = 1; i <= count; i++) print "uses", target, names[i]
        print "uses", target, ""
        count = 0; in_dependencies = 0
    }
    /^      "path" : / {
        gsub(/[",]|^ +| +$/, ""); sub(/^path : /, ""); gsub(/\\\//, "/")
        print "lies", target, $0
    }' "$packages")
declared=$(sed -n 's/^uses //p' <<<"$described")

# Without a folder of its own a target is a folder of Tests.
folder_of() { # target
    local folder
    folder=$(sed -n "s/^lies $1 //p" <<<"$described")
    echo "${folder:-Tests/$1}"
}

allowed() { # target module
    [[ "$2" =~ ^($system)$ ]] && return 0
    [ "$1" = "$2" ] && return 0
    grep -qxF "$1 $2" <<<"$declared" && return 0
    return 1
}

# What stands before a module's name: `@preconcurrency public import struct `.
before='(@[A-Za-z_]+(\([^)]*\))? +)*((public|package|internal|private|fileprivate) +)?import +((struct|class|enum|func|protocol|let|var|typealias) +)?'

for target in $(cut -d' ' -f1 <<<"$declared" | sort -u); do
    folder=$(folder_of "$target")
    case $folder in Modules/*) continue ;; esac
    while IFS=: read -r file _ line; do
        module=$(sed -E "s/^$before([A-Za-z_0-9]+).*/\\7/" <<<"$line")
        allowed "$target" "$module" ||
            complain "$file imports $module, which Package.swift does not declare for $target"
    done < <(grep -rnE "^$before" "$folder" --include='*.swift')
done

# The folders of `Sources`, from those that know least to those that know most.
layers=$(sed -nE 's/^    "Sources\/([A-Za-z]+)": .*/\1/p' Package.swift)
layer_of() { # target
    local folder
    folder=$(folder_of "$1")
    case $folder in
        Sources/*) folder=${folder#Sources/}; grep -nxF "${folder%%/*}" <<<"$layers" | cut -d: -f1 ;;
    esac
}
while read -r target module; do
    [ -n "$module" ] || continue
    own=$(layer_of "$target")
    other=$(layer_of "$module")
    [ -z "$own" ] || [ -z "$other" ] || [ "$other" -le "$own" ] ||
        complain "$target depends on $module, which lies in a folder below its own"
done <<<"$declared"

only_importer() { # module target
    local others
    others=$(grep -rlE "^[[:space:]]*$before$1\b" Sources --include='*.swift' |
        grep -v "^$(folder_of "$2")/" || true)
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
only_importer CStacks PythonEmbedding

# Everything else speaks to the protocol `Storage`.
storage=$(folder_of ReferenceBackend)/Storage/SQLite
others=$(grep -rlE "^[[:space:]]*${before}GRDB\b" "$(folder_of ReferenceBackend)" --include='*.swift' |
    grep -v "^$storage/" || true)
[ -z "$others" ] || complain "the backend may only import GRDB in $storage, and does in: $others"

# Not a matter of imports, and as easily seen: what a lock holds is passed inout to a generic function, which wraps a bare
# function once more each time.
bare=$(grep -rnE '(BlockingLock|Mutex)<[^>]*(->|Observer\?)' Sources --include='*.swift' || true)
[ -z "$bare" ] || complain "a lock may hold a function only within a structure, see BlockingLock: $bare"

exit $failed
