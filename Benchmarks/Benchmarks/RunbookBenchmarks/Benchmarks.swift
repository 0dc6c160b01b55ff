import Agent
import Benchmark

/// Every figure is a custom metric in nanoseconds (or what its name says), taken by the benchmark itself: what is
/// compared are whole loops, and `Scripts/bench.sh` reads their medians by these names.
let nanoseconds = BenchmarkMetric.custom("nanoseconds")
/// A second figure in nanoseconds, beside the first.
let high = BenchmarkMetric.custom("high")
let kibibytes = BenchmarkMetric.custom("kibibytes")
/// Nanoseconds for little, more and much of the same.
let small = BenchmarkMetric.custom("small")
let middle = BenchmarkMetric.custom("middle")
let large = BenchmarkMetric.custom("large")
let growthSizes = [1000, 10_000, 100_000]

let benchmarks: @Sendable () -> Void = {
    // As the agent does.
    MemoryArenas.bound()
    Benchmark.defaultConfiguration = .init(
        metrics: [nanoseconds], units: [nanoseconds: .count, kibibytes: .count], warmupIterations: 2,
        maxDuration: .seconds(60), maxIterations: 15)

    Benchmark("floor") { benchmark in
        benchmark.measurement(nanoseconds, await Floor.perCall(repetitions: 50_000))
    }
    Benchmark("hand-over") { benchmark in
        benchmark.measurement(nanoseconds, try HandOver.perHandOver(repetitions: 20_000))
    }
    Benchmark("call, work always waiting") { benchmark in
        benchmark.measurement(nanoseconds, try await ExecutorCalls.workerTimePerCall(callers: 200, calls: 100_000))
    }
    Benchmark("call, one caller") { benchmark in
        benchmark.measurement(nanoseconds, try await ExecutorCalls.roundTrip(calls: 5_000))
    }
    Benchmark("cron next") { benchmark in
        benchmark.measurement(nanoseconds, try CronVectors.median())
    }
    let throughput = Benchmark.Configuration(
        metrics: [nanoseconds], units: [nanoseconds: .count], warmupIterations: 1, maxDuration: .seconds(60),
        maxIterations: 7)
    Benchmark("10000 tasks, journal and delivery", configuration: throughput) { benchmark in
        benchmark.measurement(nanoseconds, try await TaskThroughput().journalled())
    }
    Benchmark("10000 tasks, delivery alone", configuration: throughput) { benchmark in
        benchmark.measurement(nanoseconds, try await TaskThroughput().unjournalled())
    }
    Benchmark("10000 tasks, journal alone", configuration: throughput) { benchmark in
        benchmark.measurement(nanoseconds, try await TaskThroughput().journalled(delivers: false))
    }
    Benchmark("10000 tasks, neither", configuration: throughput) { benchmark in
        benchmark.measurement(nanoseconds, try await TaskThroughput().unjournalled(delivers: false))
    }
    Benchmark("bare child") { benchmark in
        benchmark.measurement(nanoseconds, try SandboxCalls.bareRoundTrip(repetitions: 10_000))
    }
    let children = Benchmark.Configuration(
        metrics: [nanoseconds, high, kibibytes],
        units: [nanoseconds: .count, high: .count, kibibytes: .count], warmupIterations: 0,
        maxDuration: .seconds(60), maxIterations: 5)
    Benchmark("sandbox, one caller", configuration: children) { benchmark in
        let (median, percentile) = try await SandboxCalls.roundTrip(calls: 5_000)
        benchmark.measurement(nanoseconds, median)
        benchmark.measurement(high, percentile)
    }
    Benchmark("sandbox, 1 MiB", configuration: children) { benchmark in
        let (inProcess, sandbox) = try await SandboxCalls.mebibyte(calls: 50)
        benchmark.measurement(nanoseconds, sandbox)
        benchmark.measurement(high, inProcess)
    }
    Benchmark("sandbox, start", configuration: children) { benchmark in
        benchmark.measurement(nanoseconds, try SandboxCalls.start(times: 10))
        benchmark.measurement(kibibytes, try await SandboxCalls.privateMemory())
    }
    Benchmark("sandbox, replacement", configuration: children) { benchmark in
        benchmark.measurement(nanoseconds, try await SandboxCalls.replacement(times: 10))
    }
    let way = Benchmark.Configuration(
        metrics: [nanoseconds, small, middle, large, high],
        units: [nanoseconds: .count, small: .count, middle: .count, large: .count, high: .count], warmupIterations: 0,
        maxDuration: .seconds(60), maxIterations: 3)
    Benchmark("whole way", configuration: way) { benchmark in
        benchmark.measurement(nanoseconds, try await WholeWay.basis(repetitions: 200))
        benchmark.measurement(small, try await WholeWay.created(toStored: 200, schedules: 1, isIdempotent: true))
        benchmark.measurement(middle, try await WholeWay.created(toStored: 200, schedules: 1))
        benchmark.measurement(large, try await WholeWay.created(toStored: 100, schedules: 10_000))
        benchmark.measurement(
            high, try await WholeWay.created(toStored: 200, schedules: 1, settings: ["isolation=sandbox"]))
    }
    let once = Benchmark.Configuration(
        metrics: [nanoseconds, small, middle, large],
        units: [nanoseconds: .count, small: .count, middle: .count, large: .count], warmupIterations: 0,
        maxDuration: .seconds(600), maxIterations: 1)
    Benchmark("400 results, flaky backend", configuration: once) { benchmark in
        benchmark.measurement(small, try await FlakyDelivery.deliver(400, to: .faultless))
        // The median of several runs: one in five has a result that hangs twice in a row.
        var times: [Int] = []
        for seed in 0..<5 {
            times.append(try await FlakyDelivery.deliver(400, to: .flakyAndHanging, seed: UInt64(seed)))
        }
        benchmark.measurement(large, times.sorted()[times.count / 2])
    }
    Benchmark("20000 results, flaky backend", configuration: once) { benchmark in
        benchmark.measurement(small, try await FlakyDelivery.deliver(20_000, share: 0.95, to: .faultless))
        benchmark.measurement(large, try await FlakyDelivery.deliver(20_000, share: 0.95, to: .flaky))
    }
    func growth(_ name: String, of sizes: [Int], _ measure: @escaping @Sendable (Int) async throws -> Int) {
        Benchmark("growth, \(name)", configuration: once) { benchmark in
            for (metric, size) in zip([small, middle, large], sizes) {
                benchmark.measurement(metric, try await measure(size))
            }
        }
    }
    growth("tasks", of: growthSizes) { try await TaskThroughput(tasks: $0).journalled() }
    growth("changed lists", of: growthSizes) { try await ListGrowth.changedList($0) }
    growth("plugins", of: [1000, 3000, 10_000]) { try await ListGrowth.plugins($0) }
    growth("results", of: growthSizes) { try await JournalGrowth.measure($0).results }
    growth("opening", of: growthSizes) { try await JournalGrowth.measure($0).opening }
    growth("history", of: growthSizes) { try await JournalGrowth.measure($0).history }
    // Once: what the first loading costs is the question.
    Benchmark(
        "load 1000 plugins",
        configuration: .init(
            metrics: [nanoseconds, kibibytes], units: [nanoseconds: .count, kibibytes: .count], warmupIterations: 0,
            maxIterations: 1)
    ) { benchmark in
        let (time, memory) = try await PluginLoading.thousand()
        benchmark.measurement(nanoseconds, time)
        benchmark.measurement(kibibytes, memory)
    }
}

extension Duration {
    var wholeNanoseconds: Int { Int(components.seconds) * 1_000_000_000 + Int(components.attoseconds / 1_000_000_000) }
}
