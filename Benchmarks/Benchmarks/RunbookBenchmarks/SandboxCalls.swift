import AgentModel
import Foundation
import PluginExecution
import PythonEmbedding
import Sandbox
import Threads

/// Calls through confined children, and what they are compared with.
enum SandboxCalls {
    static let script = """
        class Plugin:
            def square(self, number): return number ** 2
            def echo(self, value): return value
            def wedge(self): return sum(range(10 ** 12))
        """

    struct Failure: Error {
        let text: String
    }

    /// The executable that users run, built for release.
    static var executable: String {
        URL(filePath: #filePath).appending(path: "../../../.build/release/runbook-agent").standardized.path()
    }

    private static var host: SandboxHost { SandboxHost(executable: executable) }

    // MARK: What a child costs at least

    /// Nanoseconds for 64 bytes to a child over a socket pair and back.
    static func bareRoundTrip(repetitions: Int) throws -> Int {
        var ends: [Int32] = [-1, -1]
        guard socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0, &ends) == 0 else { throw Failure(text: "socketpair") }
        _ = fcntl(ends[0], F_SETFD, FD_CLOEXEC)
        let process = Process()
        process.executableURL = URL(filePath: "/bin/cat")
        process.standardInput = FileHandle(fileDescriptor: ends[1])
        process.standardOutput = FileHandle(fileDescriptor: ends[1])
        try process.run()
        close(ends[1])
        defer {
            close(ends[0])
            process.waitUntilExit()
        }
        var bytes = [UInt8](repeating: 1, count: 64)
        func roundTrip() throws {
            guard write(ends[0], bytes, bytes.count) == bytes.count, read(ends[0], &bytes, bytes.count) == bytes.count
            else { throw Failure(text: "the child does not answer") }
        }
        for _ in 0..<100 { try roundTrip() }
        let start = ContinuousClock.now
        for _ in 0..<repetitions { try roundTrip() }
        return start.duration(to: .now).wholeNanoseconds / repetitions
    }

    // MARK: Calls

    /// Nanoseconds from the caller's `await` to its next line: the median and the 99th percentile.
    static func roundTrip(calls: Int) async throws -> (median: Int, high: Int) {
        let executor = try SandboxExecutor(host: host)
        let id = try await load(executor)
        let invocation = Invocation(pluginID: id, function: "square", arguments: ExecutorCalls.arguments)
        var times: [Int] = []
        for number in 0..<calls + 100 {
            let start = ContinuousClock.now
            let outcome = await executor.execute(invocation)
            let time = start.duration(to: .now).wholeNanoseconds
            guard outcome.data == "4" else { throw Failure(text: "\(outcome)") }
            if number >= 100 { times.append(time) }
        }
        await executor.shutDown()
        times.sort()
        return (times[calls / 2], times[calls * 99 / 100])
    }

    /// Nanoseconds for an argument of 1 MiB and the same as the result, median, in both tiers.
    static func mebibyte(calls: Int) async throws -> (inProcess: Int, sandbox: Int) {
        let value = String(repeating: "x", count: 1 << 20)
        let inProcess = try InProcessExecutor(interpreter: .start()) {}
        let sandbox = try SandboxExecutor(host: host)
        var medians: [Int] = []
        for executor: any Executor in [inProcess, sandbox] {
            let invocation = Invocation(
                pluginID: try await load(executor), function: "echo", arguments: "{\"value\": \"\(value)\"}")
            var times: [Int] = []
            for _ in 0..<calls {
                let start = ContinuousClock.now
                let outcome = await executor.execute(invocation)
                times.append(start.duration(to: .now).wholeNanoseconds)
                guard outcome.data == value else { throw Failure(text: "\(outcome.status)") }
            }
            medians.append(times.sorted()[calls / 2])
            await executor.shutDown()
        }
        return (medians[0], medians[1])
    }

    // MARK: Processes

    /// Nanoseconds from asking for a child until it is confined and its interpreter is there, median.
    static func start(times count: Int) throws -> Int {
        let host = host
        let answer = BlockingQueue<Int?>()
        // It lives as long as the children, which the kernel ends with it.
        try PythonInterpreter.startPlainThread(name: "starter") {
            for _ in 0..<count {
                let start = ContinuousClock.now
                let child = try? SandboxChild.start(SandboxPolicy(), channels: 1, on: host)
                answer.push(child == nil ? nil : start.duration(to: .now).wholeNanoseconds)
                child?.end()
            }
        }
        let times = (0..<count).compactMap { _ in answer.pop() }
        guard times.count == count else { throw Failure(text: "a child did not start") }
        return times.sorted()[count / 2]
    }

    /// KiB that only an idle child with a plugin has, and the process that watches over it (proc(5), `smaps_rollup`).
    static func privateMemory() async throws -> Int {
        let executor = try SandboxExecutor(host: host)
        let id = try await load(executor)
        guard
            await executor.execute(.init(pluginID: id, function: "square", arguments: ExecutorCalls.arguments)).data
                == "4"
        else { throw Failure(text: "no answer") }
        // Another is kept ready: the average of both.
        var sums: [Int] = []
        for _ in 0..<500 where sums.count < 2 {
            sums = try family(of: getpid()).filter { $0.parent == getpid() }.map { keeper in
                try privateMemory(of: keeper.id)
                    + family(of: keeper.id).reduce(0) { try $0 + privateMemory(of: $1.id) }
            }
            if sums.count < 2 { try await Task.sleep(for: .milliseconds(10)) }
        }
        await executor.shutDown()
        guard sums.count == 2 else { throw Failure(text: "\(sums.count) children") }
        return sums.reduce(0, +) / 2
    }

    private static func family(of ancestor: Int32) throws -> [(id: Int32, parent: Int32)] {
        try FileManager.default.contentsOfDirectory(atPath: "/proc").compactMap { name in
            guard let id = Int32(name), let text = try? String(contentsOfFile: "/proc/\(name)/stat", encoding: .utf8),
                let fields = text.split(separator: ")").last?.split(separator: " "), let parent = Int32(fields[1]),
                parent == ancestor
            else { return nil }
            return (id, parent)
        }
    }

    private static func privateMemory(of process: Int32) throws -> Int {
        try String(contentsOfFile: "/proc/\(process)/smaps_rollup", encoding: .utf8).split(separator: "\n")
            .filter { $0.hasPrefix("Private_") }
            .reduce(0) { sum, line in sum + (line.split(separator: " ").dropFirst().first.flatMap { Int($0) } ?? 0) }
    }

    /// Nanoseconds from the moment a wedged child is to be ended to the next call's answer, median.
    static func replacement(times count: Int) async throws -> Int {
        let limit = Duration.milliseconds(50)
        let grace = Duration.milliseconds(1)
        let executor = try SandboxExecutor(
            host: host, policy: TimeLimitPolicy(askGrace: grace, injectGrace: grace, interpreterGrace: grace))
        let id = try await load(executor)
        var times: [Int] = []
        for _ in 0..<count {
            // So that one is ready again.
            try await Task.sleep(for: .milliseconds(300))
            let start = ContinuousClock.now
            let wedged = await executor.execute(Invocation(pluginID: id, function: "wedge", timeLimit: limit))
            let next = await executor.execute(
                Invocation(pluginID: id, function: "square", arguments: ExecutorCalls.arguments))
            // It is waited so long for the interpreter to say where the call is.
            let time = start.duration(to: .now) - limit - grace * 2 - .milliseconds(100)
            guard wedged.status == .timedOut, next.data == "4" else { throw Failure(text: "\(wedged) \(next)") }
            times.append(time.wholeNanoseconds)
        }
        await executor.shutDown()
        return times.sorted()[count / 2]
    }

    private static func load(_ executor: any Executor) async throws -> PluginID {
        let id = try PluginID("sandboxed")
        try await executor.load(
            PluginImage(
                id: id, script: Array(script.utf8), path: "/sandboxed.py", timeLimit: .seconds(3600),
                sandbox: SandboxPolicy()))
        return id
    }
}
