#!/usr/bin/env bash
# Measures in Benchmarks/ and prints each figure beside its limit, all from the same run. Exits 1 if one is over.
#
#   Scripts/bench.sh           measure and compare
#   Scripts/bench.sh --table   only print the table of the last run again
set -euo pipefail
cd "$(dirname "$0")/.."

results=Benchmarks/.build/results
failed=0
if [ "${1:-}" != "--table" ]; then
    rm -rf "$results"
    mkdir -p "$results"
    # Metrics that count allocations and retains would slow down what is measured.
    export BENCHMARK_DISABLE_MALLOC_INTERPOSER=1 BENCHMARK_DISABLE_JEMALLOC=1
    # The children of the sandbox.
    swift build -c release --product runbook-agent
    swift package --package-path Benchmarks --disable-sandbox --allow-writing-to-directory "$results" \
        benchmark --format histogramSamples --path "$PWD/$results" --no-progress
fi

# Each file has a line that names the metric and its unit, and then a sample a line, in order.
median() {
    local file="$results/Current_run.RunbookBenchmarks.$1.$2.histogram.samples.tsv"
    if [ ! -s "$file" ]; then
        echo "bench.sh: there is no result of '$1' in $results; run Scripts/bench.sh without --table" >&2
        exit 1
    fi
    awk 'NR == 1 { if (/\(K\)/) scale = 1000; else if (/\(M\)/) scale = 1000000; else if (/\(G\)/) scale = 1000000000
                   else scale = 1; next }
         NF { sample[count++] = $1 }
         END { print sample[int(count / 2)] * scale }' "$file"
}

# How much longer the same takes with more of it: a line of name, sizes and times each.
growth=$(
    for kind in tasks:1000:10000:100000 changed_lists:1000:10000:100000 plugins:1000:3000:10000 \
        results:1000:10000:100000 opening:1000:10000:100000 history:1000:10000:100000; do
        IFS=: read -r name few more many <<<"$kind"
        echo "$name $few $more $many $(median "growth,_$name" small) $(median "growth,_$name" middle)" \
            "$(median "growth,_$name" large)"
    done
)
awk '
    BEGIN { printf "%-24s %8s %10s %10s %10s %9s\n", "growth", "most", "few s", "more s", "most s", "exponent" }
    {
        # Between the two larger ones: what is done once weighs in the smallest.
        exponent = log($7 / $6) / log($4 / $3)
        gsub("_", " ", $1)
        printf "%-24s %8d %10.3f %10.3f %10.3f %9.2f  %s\n", $1, $4, $5 / 1e9, $6 / 1e9, $7 / 1e9, exponent,
            exponent <= 1.25 ? "ok" : "OVER"
        if (exponent > 1.25) over = 1
    }
    END { exit over }' <<<"$growth" || failed=1

flawless=$(median 400_results,_flaky_backend small)
flaky=$(median 400_results,_flaky_backend large)
steady=$(median 20000_results,_flaky_backend small)
unsteady=$(median 20000_results,_flaky_backend large)
awk -v flawless="$flawless" -v flaky="$flaky" -v steady="$steady" -v unsteady="$unsteady" '
    BEGIN {
        limit = 50 * flawless / 1e9 + 5
        printf "%-40s %10.2f %10.2f s     %s\n", "400 results, 15 % faults", flaky / 1e9, limit,
            sprintf("%s, 50 x without faults (%.2f s) + request_timeout (5 s); median of 5", flaky / 1e9 <= limit ? "ok" : "OVER",
                flawless / 1e9)
        share = steady / unsteady
        printf "%-40s %10.2f %10.2f       %s\n", "throughput at 15 % faults, none hung", share, 1 / 3,
            sprintf("%s, of the throughput without faults; 95 %% of 20,000 results", share >= 1 / 3 ? "ok" : "OVER")
        exit flaky / 1e9 > limit || share < 1 / 3
    }' || failed=1
echo

floor=$(median floor nanoseconds)
handover=$(median hand-over nanoseconds)
call=$(median call,_work_always_waiting nanoseconds)
roundtrip=$(median call,_one_caller nanoseconds)
cron=$(median cron_next nanoseconds)
both=$(median 10000_tasks,_journal_and_delivery nanoseconds)
delivery=$(median 10000_tasks,_delivery_alone nanoseconds)
journal=$(median 10000_tasks,_journal_alone nanoseconds)
neither=$(median 10000_tasks,_neither nanoseconds)
load=$(median load_1000_plugins nanoseconds)
memory=$(median load_1000_plugins kibibytes)
child=$(median bare_child nanoseconds)
sandbox=$(median sandbox,_one_caller nanoseconds)
sandbox99=$(median sandbox,_one_caller high)
mebibyte=$(median sandbox,_1_MiB nanoseconds)
mebibyte_inside=$(median sandbox,_1_MiB high)
start=$(median sandbox,_start nanoseconds)
child_memory=$(median sandbox,_start kibibytes)
replacement=$(median sandbox,_replacement nanoseconds)
way_basis=$(median whole_way nanoseconds)
way=$(median whole_way middle)
way_many=$(median whole_way large)
way_sandbox=$(median whole_way high)

awk -v floor="$floor" -v handover="$handover" -v call="$call" -v roundtrip="$roundtrip" -v cron="$cron" \
    -v load="$load" -v memory="$memory" -v both="$both" -v delivery="$delivery" -v journal="$journal" \
    -v neither="$neither" -v child="$child" -v sandbox="$sandbox" -v sandbox99="$sandbox99" \
    -v mebibyte="$mebibyte" -v mebibyte_inside="$mebibyte_inside" -v start="$start" \
    -v child_memory="$child_memory" -v replacement="$replacement" \
    -v way_basis="$way_basis" -v way="$way" -v way_many="$way_many" -v way_sandbox="$way_sandbox" '
    function row(name, figure, limit, unit, basis, verdict) {
        verdict = figure <= limit ? "ok" : "OVER"
        if (figure > limit) over = 1
        printf "%-40s %10.2f %10.2f %-4s %6.2f  %-4s  %s\n", name, figure, limit, unit, figure / limit, verdict, basis
    }
    BEGIN {
        printf "%-40s %10s %10s %-4s %6s\n", "", "measured", "limit", "", "ratio"
        printf "%-40s %10.2f %10s %-4s\n", "floor: loads, call, dumps in a bare loop", floor / 1e3, "", "µs"
        printf "%-40s %10.2f %10s %-4s\n", "one hand-over between two threads", handover / 1e3, "", "µs"
        row("a call, with work always waiting", call / 1e3, 2 * floor / 1e3, "µs",
            sprintf("2 x floor; it is %.2f x", call / floor))
        row("round trip of one async caller", roundtrip / 1e3, 1.5 * (floor + 2 * handover) / 1e3, "µs",
            "1.5 x (floor + 2 hand-overs)")
        basis = floor + child + 2 * handover
        printf "%-40s %10.2f %10s %-4s\n", "a bare socket pair to a child and back", child / 1e3, "", "µs"
        row("sandbox: round trip of one caller", sandbox / 1e3, 1.5 * basis / 1e3, "µs",
            sprintf("1.5 x (floor + child + 2 hand-overs); it is %.2f x", sandbox / basis))
        row("sandbox: the same, 99th percentile", sandbox99 / 1e3, 3 * basis / 1e3, "µs",
            sprintf("3 x the same; it is %.2f x", sandbox99 / basis))
        row("sandbox: 1 MiB there and back", mebibyte / 1e6, 2 * mebibyte_inside / 1e6 + 1, "ms",
            sprintf("2 x in-process (%.2f ms) + 1 ms", mebibyte_inside / 1e6))
        row("sandbox: start of a child until ready", start / 1e6, 60, "ms", "")
        row("sandbox: memory of an idle child", child_memory / 1024, 8, "MB", "private, its keeper included")
        row("sandbox: replacing a wedged child", replacement / 1e6, 20, "ms", "from its end to the next answer")
        # The floor is a thousandth of it.
        way_basis += floor
        printf "%-40s %10.2f %10s %-4s\n", "2 bare HTTP round trips, 4 fdatasync", way_basis / 1e6, "", "ms"
        row("task created -> result stored", way / 1e6, 1.5 * way_basis / 1e6, "ms",
            sprintf("1.5 x that; it is %.2f x", way / way_basis))
        row("the same with 10,000 schedules listed", way_many / 1e6, 1.5 * way_basis / 1e6, "ms",
            sprintf("1.5 x the same; it is %.2f x", way_many / way_basis))
        printf "%-40s %10.2f %10s %-4s\n", "the same in the sandbox, one schedule", way_sandbox / 1e6, "", "ms"
        row("cron: next fire time, median", cron / 1e3, 1, "µs", "over the vectors of the tests")
        row("load 1,000 plugins of 10 commands", load / 1e9, 2, "s", "")
        row("memory of an idle plugin, at 1,000", memory / 1000, 100, "KiB", "resident, its thread included")
        printf "%-40s %10.0f %10s %-4s\n", "one-offs, neither journal nor delivery", 1e13 / neither, "", "/s"
        printf "%-40s %10.0f %10s %-4s\n", "one-offs, journal and no delivery", 1e13 / journal, "", "/s"
        printf "%-40s %10.0f %10s %-4s\n", "one-offs, delivered without journal", 1e13 / delivery, "", "/s"
        # More is better here, so the limit is the least.
        printf "%-40s %10.0f %10.0f %-4s %6.2f  %-4s  %s\n", "one-offs from list to delivered result", 1e13 / both,
            0.7e13 / delivery, "/s", 0.7 * both / delivery, both <= delivery / 0.7 ? "ok" : "OVER",
            sprintf("the journal costs %.0f %%, 30 %% at most", 100 * (1 - delivery / both))
        if (both > delivery / 0.7) over = 1
        exit over
    }' || failed=1
exit "$failed"
