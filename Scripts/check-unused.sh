#!/usr/bin/env bash
# Refuses a declaration of Sources that no source uses: one whose name stands nowhere but where it is declared.
#
# By name and not by meaning, so that it needs no index of the compiler's: what shares its name with something else is not
# found. What only tests use is dead too, unless it is listed here.
set -euo pipefail
cd "$(dirname "$0")/.."

# Called by the standard library, SwiftPM, SwiftNIO or the argument parser, which find them by their names.
called='callAsFunction|allValueStrings|appendLiteral|InboundIn|InboundOut|OutboundIn|OutboundOut|handlerAdded|channelActive'
called+='|EmbedFiles|createBuildCommands|handlerRemoved|channelInactive|channelReadComplete|userInboundEventTriggered|channelRead'
# Asked by tests and benchmarks, which have no other way to see or to do it.
tests='inFlight|waitingAgents|waitingTasks|registerAgent|sendAndWait|shutdownAndWait|lastFireTime'

find Sources -name '*.swift' -print0 | sort -z | xargs -0 awk -v known="^($called|$tests)\$" '
    {
        sub(/\/\/.*/, "")
        line = $0
        while (match(line, /[A-Za-z_][A-Za-z0-9_]*/)) {
            count[substr(line, RSTART, RLENGTH)]++
            line = substr(line, RSTART + RLENGTH)
        }
        line = $0
        while (match(line, /^ *(@[A-Za-z]+(\([^)]*\))?|public|private(\(set\))?|fileprivate|internal|static|final|mutating|nonisolated|override|consuming|indirect|lazy|weak|unowned) /))
            line = substr(line, RSTART + RLENGTH)
        if (match(line, /^ *(func|var|let|struct|class|enum|protocol|typealias|actor) +[A-Za-z_][A-Za-z0-9_]*/) ||
            match(line, /^ *case +[a-z][A-Za-z0-9_]*/)) {
            name = substr(line, RSTART, RLENGTH)
            sub(/^ *[a-z]+ +/, "", name)
            where[name] = FILENAME ":" FNR
        }
    }
    END {
        for (name in where) if (count[name] == 1 && name !~ known) {
            print where[name] ": nothing uses " name | "sort >&2"
            failed = 1
        }
        close("sort >&2")
        exit failed
    }'
