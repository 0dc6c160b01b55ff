#!/usr/bin/env bash
# Counts the instructions of what is done most often (valgrind, callgrind) and compares them with
# Tests/Support/instructions/limits. Exits 1 where something takes more than it may. Of a debug build, which takes several times
# as many as a release build: what is seen is that something has grown.
#
#   Scripts/count-instructions.sh            count and compare
#   Scripts/count-instructions.sh --record   write what was counted, and a fifth more, as the limits
set -euo pipefail
cd "$(dirname "$0")/.."

program=.build/debug/instructions
limits=Tests/Support/instructions/limits
[ -x "$program" ] || { echo "build it first: swift build --build-tests" >&2; exit 1; }
command -v valgrind >/dev/null || { echo "valgrind is not installed: no instructions are counted"; exit 0; }
repetitions=$(sed -n 's/.*static let repetitions = //p' Tests/Support/instructions/Main.swift)

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
# Names of functions are all that is needed, and the debug information is of a kind that valgrind can't read.
objcopy --strip-debug "$program" "$folder/program"
valgrind --tool=callgrind --callgrind-out-file="$folder/counted" --toggle-collect='*counted_*' --quiet "$folder/program" ||
    { echo "the program under valgrind ended with $?" >&2; exit 1; }
callgrind_annotate --inclusive=yes --threshold=100 --show=Ir "$folder/counted" >"$folder/text"

failed=0
for name in call cron_next decode_tasks encode_result long_poll; do
    # The first time is counted too.
    count=$(awk -v name="counted_$name" -v all=$((repetitions + 1)) 'index($0, name) {
        gsub(",", "", $1); if ($1 > most) most = $1 } END { printf "%d", most / all }' "$folder/text")
    [ "$count" -gt 0 ] || { echo "nothing was counted of $name" >&2; exit 1; }
    if [ "${1:-}" = --record ]; then
        echo "$name $((count + count / 5))" >>"$folder/limits"
        echo "$name: $count instructions"
        continue
    fi
    limit=$(awk -v name="$name" '$1 == name { print $2 }' "$limits")
    verdict=ok
    [ "$count" -le "${limit:-0}" ] || { verdict=OVER failed=1; }
    printf '%-16s %9d instructions, at most %9d  %s\n' "$name" "$count" "${limit:-0}" "$verdict"
done
[ "${1:-}" != --record ] || cp "$folder/limits" "$limits"
exit "$failed"
