#!/usr/bin/env bash
# Measures in Benchmarks/ and prints each figure beside its limit, all from the same run. Exits 1 if one is over.
#
#   Scripts/bench.sh           measure and compare
#   Scripts/bench.sh --table   only print the table of the last run again
set -euo pipefail
cd "$(dirname "$0")/.."

results=Benchmarks/.build/results
binaries=Benchmarks/.build/release
if [ "${1:-}" != "--table" ]; then
    rm -rf "$results"
    mkdir -p "$results"
    # Metrics that count allocations and retains would slow down what is measured.
    export BENCHMARK_DISABLE_MALLOC_INTERPOSER=1 BENCHMARK_DISABLE_JEMALLOC=1
    # One build: the agent, the backend and the client are built with the benchmarks.
    swift package --package-path Benchmarks --disable-sandbox --allow-writing-to-directory "$results" \
        benchmark --format histogramSamples --path "$PWD/$results" --no-progress
    Benchmarks/processes.py "$PWD/$binaries" "$results/processes"
fi

# The figures of whole processes: a name and a value a line. A row that this host has no packages for is left out.
process() { awk -v name="$1" '$1 == name { value = $2 } END { print value == "" ? "nan" : value }' "$results/processes"; }

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

table() {
failed=0
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
way_idempotent=$(median whole_way small)
figures=()
for name in first_line_reference first_line start_reference start idle_memory_reference idle_memory \
    idle_processor_share idle_wake_ups cost_reference cost cost_rate waiting_one waiting_many waiting_bytes \
    side_by_side_reference side_by_side celery; do
    figures+=(-v "p_$name=$(process "$name")")
done

awk -v floor="$floor" -v handover="$handover" -v call="$call" -v roundtrip="$roundtrip" -v cron="$cron" \
    -v load="$load" -v memory="$memory" -v both="$both" -v delivery="$delivery" -v journal="$journal" \
    -v neither="$neither" -v child="$child" -v sandbox="$sandbox" -v sandbox99="$sandbox99" \
    -v mebibyte="$mebibyte" -v mebibyte_inside="$mebibyte_inside" -v start="$start" \
    -v child_memory="$child_memory" -v replacement="$replacement" \
    -v way_basis="$way_basis" -v way="$way" -v way_many="$way_many" -v way_sandbox="$way_sandbox" \
    -v way_idempotent="$way_idempotent" "${figures[@]}" '
    function row(name, figure, limit, unit, basis, verdict) {
        verdict = figure <= limit ? "ok" : "OVER"
        if (figure > limit) over = 1
        printf "%-40s %10.2f %10.2f %-4s %6.2f  %-4s  %s\n", name, figure, limit, unit, figure / limit, verdict, basis
    }
    function least(name, figure, limit, unit, basis, verdict) {
        verdict = figure >= limit ? "ok" : "OVER"
        if (figure < limit) over = 1
        printf "%-40s %10.2f %10.2f %-4s %6.2f  %-4s  %s\n", name, figure, limit, unit, limit / figure, verdict, basis
    }
    BEGIN {
        printf "%-40s %10s %10s %-4s %6s\n", "", "measured", "limit", "", "ratio"
        printf "%-40s %10.2f %10s %-4s\n", "floor: loads, call, dumps in a bare loop", floor / 1e3, "", "µs"
        printf "%-40s %10.2f %10s %-4s\n", "one hand-over between two threads", handover / 1e3, "", "µs"
        row("a call, with work always waiting", call / 1e3, 1.2 * floor / 1e3, "µs",
            sprintf("1.2 x floor; it is %.2f x", call / floor))
        row("round trip of one async caller", roundtrip / 1e3, 1.5 * (floor + 2 * handover) / 1e3, "µs",
            "1.5 x (floor + 2 hand-overs)")
        basis = floor + child + 2 * handover
        printf "%-40s %10.2f %10s %-4s\n", "a bare socket pair to a child and back", child / 1e3, "", "µs"
        row("sandbox: round trip of one caller", sandbox / 1e3, 1.1 * basis / 1e3, "µs",
            sprintf("1.1 x (floor + child + 2 hand-overs); it is %.2f x", sandbox / basis))
        row("sandbox: the same, 99th percentile", sandbox99 / 1e3, 2 * basis / 1e3, "µs",
            sprintf("2 x the same; it is %.2f x", sandbox99 / basis))
        row("sandbox: 1 MiB there and back", mebibyte / 1e6, 2 * mebibyte_inside / 1e6 + 1, "ms",
            sprintf("2 x in-process (%.2f ms) + 1 ms", mebibyte_inside / 1e6))
        row("sandbox: start of a child until ready", start / 1e6, p_start_reference / 1e6, "ms",
            "a bare Python: start, a row in SQLite, 2 round trips")
        row("sandbox: memory of an idle child", child_memory / 1024, 8, "MB", "private, its keeper included")
        row("sandbox: replacing a wedged child", replacement / 1e6, 0.5 * start / 1e6, "ms",
            "0.5 x the start of a child; from its end to the next answer")
        # The floor is a thousandth of it.
        way_basis += floor
        printf "%-40s %10.2f %10s %-4s\n", "2 bare HTTP round trips, 4 fdatasync", way_basis / 1e6, "", "ms"
        row("task created -> result stored", way / 1e6, 1.5 * way_basis / 1e6, "ms",
            sprintf("1.5 x that; it is %.2f x", way / way_basis))
        row("the same with 10,000 schedules listed", way_many / 1e6, 1.5 * way_basis / 1e6, "ms",
            sprintf("1.5 x the same; it is %.2f x", way_many / way_basis))
        printf "%-40s %10.2f %10s %-4s\n", "the same in the sandbox, one schedule", way_sandbox / 1e6, "", "ms"
        printf "%-40s %10.2f %10s %-4s\n", "the same with idempotent = True", way_idempotent / 1e6, "", "ms"
        if (p_celery != "nan")
            row("the same, against Celery with Redis", way / 1e6, p_celery / 1e6, "ms",
                "ours, no slower than Celery; ours is on disk")
        row("printed -> shown by runbook run", p_first_line / 1e6, 3 * p_first_line_reference / 1e6, "ms",
            sprintf("3 x two bare round trips; it is %.1f x", p_first_line / p_first_line_reference))
        row("process start -> first result stored", p_start / 1e6, 2 * p_start_reference / 1e6, "ms",
            sprintf("2 x a bare Python that does the same; it is %.2f x", p_start / p_start_reference))
        row("idle agent, waiting: processor", 1000 * p_idle_processor_share, 1, "‰", "of one core")
        row("idle agent, waiting: wake-ups", p_idle_wake_ups, 2, "/s", "")
        row("idle agent: private memory", p_idle_memory / 1e6, 1.25 * p_idle_memory_reference / 1e6, "MB",
            sprintf("1.25 x a bare Python with libcurl and SQLite; it is %.2f x", p_idle_memory / p_idle_memory_reference))
        row("agent: processor time of a one-off", p_cost / 1e3, 2.5 * p_cost_reference / 1e3, "µs",
            sprintf("2.5 x (a bare POST, a row in SQLite, a call); %.0f /s", p_cost_rate))
        row("backend: memory of a waiting agent", p_waiting_bytes / 1000, 25, "KB", "of 5,000")
        row("backend: task -> agent, 5,000 waiting", p_waiting_many / 1e6, 2 * p_waiting_one / 1e6, "ms",
            "2 x with one waiting")
        least("sandbox: gain of 8 callers over one", p_side_by_side, 0.9 * p_side_by_side_reference, "x",
            sprintf("at least 0.9 x what two bare processes gain: %.2f x", p_side_by_side_reference))
        row("cron: next fire time, median", cron / 1e3, 0.2 * floor / 1e3, "µs", "0.2 x floor, over the vectors of the tests")
        row("load 1,000 plugins of 10 commands", load / 1e9, 400000 * floor / 1e9, "s", "400,000 x floor")
        row("memory of an idle plugin, at 1,000", memory / 1000, 100, "KiB", "resident, its thread included")
        printf "%-40s %10.0f %10s %-4s\n", "one-offs, neither journal nor delivery", 1e13 / neither, "", "/s"
        printf "%-40s %10.0f %10s %-4s\n", "one-offs, journal and no delivery", 1e13 / journal, "", "/s"
        printf "%-40s %10.0f %10s %-4s\n", "one-offs, delivered without journal", 1e13 / delivery, "", "/s"
        # More is better here, so the limit is the least.
        printf "%-40s %10.0f %10.0f %-4s %6.2f  %-4s  %s\n", "one-offs from list to delivered result", 1e13 / both,
            0.8e13 / delivery, "/s", 0.8 * both / delivery, both <= delivery / 0.8 ? "ok" : "OVER",
            sprintf("the journal costs %.0f %%, 20 %% at most", 100 * (1 - delivery / both))
        if (both > delivery / 0.8) over = 1
        exit over
    }' || failed=1
return "$failed"
}

version() { "$@" 2>/dev/null | head -n 1 || true; }

failed=0
text=$(table) || failed=1
echo "$text"
if [ "${1:-}" != "--table" ]; then
    {
        echo "# Measured"
        echo
        echo "What \`make bench\` printed, each figure beside a reference from the same run; [performance.md](../docs/performance.md)"
        echo "says what each is made of. \`OVER\` is a goal that is not reached."
        echo
        echo "- $(date -u +%F), commit $(git rev-parse --short HEAD 2>/dev/null || echo unknown)"
        echo "- $(nproc) processors: $(awk -F ': ' '/model name/ { print $2; exit }' /proc/cpuinfo), Linux $(uname -r)"
        echo "- $(version swift --version), Python $(pkg-config --modversion python3-embed), SQLite" \
            "$(pkg-config --modversion sqlite3 2>/dev/null || echo bundled), libcurl $(pkg-config --modversion libcurl)"
        echo
        echo '```text'
        echo "$text"
        echo '```'
    } >Benchmarks/RESULTS.md
fi
exit "$failed"
