#!/usr/bin/env bash
# Shows that check-imports.sh, check-errors.sh and check-unused.sh fail where they should: once for each kind of fault, in a copy of the
# sources.
set -euo pipefail
cd "$(dirname "$0")/.."

copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT

fresh() {
    rm -rf "${copy:?}/"*
    cp -R Package.swift Sources Tests Modules Scripts docs "$copy"
}

passes() { # check
    "$copy/Scripts/$1.sh" >"$copy/output" 2>&1 || {
        echo "test-checks.sh: $1.sh refuses sources that have nothing wrong:" >&2
        cat "$copy/output" >&2
        exit 1
    }
}

refuses() { # check, what it says
    if "$copy/Scripts/$1.sh" >"$copy/output" 2>&1; then
        echo "test-checks.sh: $1.sh should have said '$2', and found nothing" >&2
        exit 1
    fi
    grep -qF "$2" "$copy/output" || {
        echo "test-checks.sh: $1.sh should have said '$2', and said:" >&2
        cat "$copy/output" >&2
        exit 1
    }
}

fresh
passes check-imports
passes check-errors
passes check-unused

echo 'private let fault = BlockingLock<(@Sendable () -> Void)?>(nil)' >"$copy/Sources/Support/CronSchedule/Fault.swift"
refuses check-imports 'a lock may hold a function only within a structure'

fresh
echo 'import GRDB' >"$copy/Sources/Support/CronSchedule/Fault.swift"
refuses check-imports 'imports GRDB, which Package.swift does not declare for CronSchedule'

fresh
echo '@testable import struct RunJournal.RunID' >"$copy/Tests/CronScheduleTests/Fault.swift"
refuses check-imports 'imports RunJournal, which Package.swift does not declare for CronScheduleTests'

fresh
echo 'internal import CPython' >"$copy/Sources/Agent/Agent/Fault.swift"
refuses check-imports 'CPython may only be imported by PythonEmbedding'

fresh
echo 'import GRDB' >"$copy/Sources/Backend/ReferenceBackend/Service/Fault.swift"
refuses check-imports 'the backend may only import GRDB in Sources/Backend/ReferenceBackend/Storage/SQLite'

fresh
sed -i 's/name: "CronSchedule", dependencies: \["Diagnostics"\]/name: "CronSchedule", dependencies: ["Diagnostics", "AgentModel"]/' \
    "$copy/Package.swift"
refuses check-imports 'CronSchedule depends on AgentModel, which lies in a folder below its own'

fresh
echo 'let fault = "journal.is_nowhere_explained"' >"$copy/Sources/Journal/RunJournal/Fault.swift"
refuses check-errors 'docs/errors.md has no row for journal.is_nowhere_explained'

fresh
echo '| `journal.is_nowhere_said` | | | |' >>"$copy/docs/errors.md"
refuses check-errors 'docs/errors.md has a row for journal.is_nowhere_said, which no source names'

fresh
echo 'public func nobodyCallsThis() {}' >"$copy/Sources/Journal/RunJournal/Fault.swift"
refuses check-unused 'Sources/Journal/RunJournal/Fault.swift:1: nothing uses nobodyCallsThis'

fresh
printf 'enum Fault {\n    case fault\n    case nobodyMakesThis(Int)\n}\nlet fault = Fault.fault\n' \
    >"$copy/Sources/Journal/RunJournal/Fault.swift"
refuses check-unused 'Sources/Journal/RunJournal/Fault.swift:3: nothing uses nobodyMakesThis'
