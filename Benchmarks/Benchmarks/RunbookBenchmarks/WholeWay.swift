import AgentModel
import BackendClient
import Foundation
import Logging
import ReferenceBackend

/// The whole way of one task: created at our backend, run by an agent in a process of its own, its result stored there.
enum WholeWay {
    private static let script = "class Plugin:\n    def square(self, number): return number ** 2\n"

    struct Failure: Error {
        let text: String
    }

    /// - Parameters:
    ///   - schedules: how many the agent has listed beside it.
    ///   - settings: of the agent, `key=value`.
    ///   - isIdempotent: the start of its runs isn't written down.
    /// - Returns: the median of nanoseconds from the creation to the result.
    static func created(
        toStored count: Int, schedules: Int, settings: [String] = [], isIdempotent: Bool = false
    ) async throws -> Int {
        let folder = FileManager.default.temporaryDirectory.appending(path: "runbook-bench-\(UUID())")
        defer { try? FileManager.default.removeItem(at: folder) }
        let server = try await BackendServer(
            BackendConfiguration(
                listen: ListenAddress(host: "127.0.0.1", port: 0), dataFolder: folder.appending(path: "backend"),
                creation: .ifMissing, authentication: .none),
            logger: Logger(label: "bench") { _ in SwiftLogNoOpLogHandler() })
        let (addresses, continuation) = AsyncStream<ListenAddress>.makeStream()
        let running = Task { try await server.run(handlesSignals: false) { continuation.yield($0) } }
        defer { running.cancel() }
        guard let address = await addresses.first(where: { _ in true }) else { throw Failure(text: "no backend") }
        let service = server.service
        let agent = try await service.agentID(atAddress: "127.0.0.1")
        let plugin = try await service.publish(
            NewPlugin(id: nil, name: "square", script: script, functions: ["square": "square"])
        ).document.id
        _ = try await service.assign(plugin, to: agent)
        let command = "\(plugin).square"
        for first in stride(from: 0, to: schedules, by: 1000) {
            // In a year that none of this sees.
            _ = try await service.createTasks(
                (first..<min(first + 1000, schedules)).map { _ in
                    NewTask(agentID: agent, command: command, cron: "0 0 1 1 * 0 2099", arguments: #"{"number": 2}"#)
                })
        }
        let process = Process()
        process.executableURL = URL(filePath: SandboxCalls.executable)
        // It is the only file of the configuration that it finds: none of this host.
        let configuration = folder.appending(path: "config.ini")
        try "[agent]\n[plugin:\(plugin)]\nidempotent = \(isIdempotent)\n".write(
            to: configuration, atomically: true, encoding: .utf8)
        process.arguments =
            [
                "run", "--config", configuration.path, "--log-level", "error", "--set",
                "server_url=http://127.0.0.1:\(address.port)", "--set",
                "auth=False",
                "--set", "plugin_directory=\(folder.path)/plugins", "--set", "state_directory=\(folder.path)/state",
            ] + settings.flatMap { ["--set", $0] }
        try process.run()
        defer {
            process.terminate()
            process.waitUntilExit()
        }
        while service.waitingAgents == 0 { try await Task.sleep(for: .milliseconds(5)) }
        var times: [Int] = []
        for number in 0..<count + 20 {
            let results = service.storedRuns()
            let start = ContinuousClock.now
            let task = try await service.createTask(
                NewTask(agentID: agent, command: command, arguments: #"{"number": 2}"#))
            guard let run = await results.first(where: { $0.taskID == task.document.id }),
                run.result.status == .succeeded
            else { throw Failure(text: "no result") }
            // The first ones fetch and load.
            if number >= 20 { times.append(start.duration(to: .now).wholeNanoseconds) }
            // It waits again, as between two things that people do.
            while service.waitingAgents == 0 { try await Task.sleep(for: .milliseconds(1)) }
            // More than fifty changes a second are not followed without a pause, and that is another question.
            try await Task.sleep(for: .milliseconds(30))
        }
        return times.sorted()[times.count / 2]
    }

    /// What that stands on: two round trips of HTTP over kept connections and four syncs of 4 KiB on the same disk.
    /// - Returns: the median of nanoseconds for all of it.
    static func basis(repetitions: Int) async throws -> Int {
        let folder = FileManager.default.temporaryDirectory
        let file = open(folder.appending(path: "runbook-bench-\(UUID())").path, O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
        guard file >= 0 else { throw Failure(text: "no file") }
        defer { close(file) }
        let server = try StaticServer(answers: [:], fallback: #"{"data":{"id":"1"}}"#)
        let http = try HTTPClient()
        let url = try HTTPURL("http://127.0.0.1:\(server.port)/x")
        let page = [UInt8](repeating: 7, count: 4096)
        var times: [Int] = []
        for number in 0..<repetitions {
            let start = ContinuousClock.now
            for _ in 0..<2 { _ = try await http.send(HTTPRequest(url: url)) }
            for part in 0..<4 {
                guard pwrite(file, page, page.count, off_t((number * 4 + part) * page.count)) == page.count,
                    fdatasync(file) == 0
                else { throw Failure(text: "sync") }
            }
            times.append(start.duration(to: .now).wholeNanoseconds)
        }
        await http.shutdown()
        return times.sorted()[times.count / 2]
    }
}
